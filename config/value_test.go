package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text string
		want time.Duration // -1 is refused
	}{
		{"3s", 3 * time.Second},
		{"5m", 5 * time.Minute},
		{"2d", 2 * day},
		{"1w", 7 * day},
		{"1h30m", 90 * time.Minute},
		{"250ms", 250 * time.Millisecond},
		{"0", 0},
		{"0s", 0},
		{"1d1h1m1s1ms", day + time.Hour + time.Minute + time.Second + time.Millisecond},
		{"", -1},
		{"3", -1},
		{"s", -1},
		{"3 s", -1},
		{"-3s", -1},
		{"3x", -1},
		{"1.5h", -1},
		{"9999999w", -1},
		{"100000d100000d", -1},
		{"99999999999999999999s", -1},
		{strings.Repeat("1s", 30), -1},
		{"3sm", -1},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if (err != nil) != (tt.want == -1) || err == nil && got != tt.want {
			t.Errorf("ParseDuration(%q) = %v, %v", tt.text, got, err)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	tests := map[time.Duration]string{
		0: "0s", time.Nanosecond: "0s", -time.Second: "0s", 90 * time.Second: "1m30s", 48 * time.Hour: "2d",
		14 * 24 * time.Hour: "14d", time.Millisecond: "1ms", 25*time.Hour + time.Second: "1d1h1s",
	}
	for d, want := range tests {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
	for _, d := range []time.Duration{time.Millisecond, time.Second, 1234567 * time.Millisecond, math.MaxInt64 / time.Millisecond * time.Millisecond} {
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Errorf("%v became %v, %v", d, back, err)
		}
	}
}

func TestRate(t *testing.T) {
	tests := []struct {
		text, shown string
		perSecond   float64
	}{
		{"200/h", "200/h", 200.0 / 3600},
		{"10/5m", "10/5m", 10.0 / 300},
		{"1/s", "1/s", 1},
		{"3/1d", "3/d", 3.0 / 86400},
		{"7/ms", "7/ms", 7000},
		{"5/60s", "5/m", 5.0 / 60},
		{"1/10s", "1/10s", 0.1},
		{"2/1m30s", "2/1m30s", 2.0 / 90},
		{"0", "0", 0},
	}
	for _, tt := range tests {
		r, err := ParseRate(tt.text)
		if err != nil || r.String() != tt.shown || math.Abs(r.PerSecond()-tt.perSecond) > 1e-12 {
			t.Errorf("%q: %v %v %v", tt.text, r, r.PerSecond(), err)
		}
		if back, err := ParseRate(r.String()); err != nil || back != r {
			t.Errorf("%q does not survive: %v, %v", tt.text, back, err)
		}
	}
	for _, text := range []string{"", "/", "200", "/h", "x/h", "-1/h", "1/0s", "1/x", "1.5/h", "1/h/h"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q is taken as %v", text, r)
		}
	}
}

func TestSizeString(t *testing.T) {
	tests := map[Size]string{0: "0", 1: "1", 1023: "1023", KB: "1 * KB", 1536: "1536", 50 * MB: "50 * MB", 2 * GB: "2 * GB", GB + MB: "1025 * MB"}
	for size, want := range tests {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(size), got, want)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	type holder struct {
		S Secret
		P *Secret
	}
	s := Secret("hunter2")
	h := holder{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, h)
		fmt.Fprintf(&out, verb, []Secret{s})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("printed: %s", &out)
	}
	if string(s) != "hunter2" {
		t.Error("the secret is lost")
	}
}

func TestSource(t *testing.T) {
	s := Source{{LookupValue, "a"}, {LookupTable, "file:/x"}, {LookupStore, ""}, {LookupValue, "b"}}
	if !s.Uses(LookupStore) || Store().Uses(LookupTable) || strings.Join(s.Values(), " ") != "a b" {
		t.Errorf("%v", s)
	}
	if got := s.String(); got != `["a", "file:/x", store(), "b"]` {
		t.Error(got)
	}
	if got := Store().String(); got != "store()" {
		t.Error(got)
	}
}

func TestTypeNames(t *testing.T) {
	for typ := TypeBool; typ <= TypeWhen; typ++ {
		if typ.String() == "" || typ.info().want == "" || typ.info().zero == nil {
			t.Errorf("type %d is not described", typ)
		}
		if _, ok := converters[typ]; !ok && typ != TypeWhen {
			t.Errorf("no converter for %s", typ)
		}
	}
	if Type(99).String() != "invalid" || ValueType(99).String() != "nothing" {
		t.Error("names of what is no type")
	}
}
