package config

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const redacted = "(redacted)"

// Secret is a value that no format verb, logger or encoder prints. Convert it
// to string where it is used.
type Secret string

// String hides the value.
func (Secret) String() string { return redacted }

// Format hides the value from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Size counts octets.
type Size int64

// Units of Size, as in a file: 10 * MB.
const (
	KB Size = 1 << (10 * (iota + 1))
	MB
	GB
)

// String is the size as one would write it: "10 * MB".
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{GB, "GB"}, {MB, "MB"}, {KB, "KB"}} {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + " * " + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Rate is a count of events in a span of time. The zero Rate is no limit.
type Rate struct {
	Count int64
	Per   time.Duration
}

// PerSecond is the rate as a number.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

// String is the rate as one would write it: "200/h".
func (r Rate) String() string {
	if r.Per <= 0 {
		return "0"
	}
	per := FormatDuration(r.Per)
	if rest, ok := strings.CutPrefix(per, "1"); ok && rest != "" && rest[0] > '9' && !strings.ContainsAny(rest, "0123456789") {
		per = rest
	}
	return strconv.FormatInt(r.Count, 10) + "/" + per
}

// ParseRate reads "200/h" or "10/5m"; "0" is no limit.
func ParseRate(s string) (Rate, error) {
	if s == "0" {
		return Rate{}, nil
	}
	bad := fmt.Errorf("%q is not a rate such as \"200/h\"", s)
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
	if !ok || err != nil || n < 0 {
		return Rate{}, bad
	}
	per = strings.TrimSpace(per)
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	d, err := ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, bad
	}
	return Rate{n, d}, nil
}

// Score is a number of points, written score(3).
type Score float64

// LookupKind is where a Lookup looks.
type LookupKind uint8

// The kinds of Lookup.
const (
	LookupValue LookupKind = iota // Text is itself the value
	LookupTable                   // Text is "TYPE:NAME", the name of a lookup table; a path in it is relative to the working directory, or absolute
	LookupStore                   // the store; Text is empty
)

// tableTypes are the types of lookup tables; true means that a path follows.
var tableTypes = map[string]bool{
	"file": true, "texthash": true, "hash": true, "btree": true, "lmdb": true, "dbm": true, "cdb": true,
	"regexp": true, "pcre": true, "cidr": true, "sqlite": true, "pgsql": true, "ldap": true, "mysql": true,
	"inline": false, "static": false, "unix": false, "tcp": false, "socketmap": false,
}

// Lookup is one place of a Source.
type Lookup struct {
	Kind LookupKind
	Text string
}

// Source is where a setting looks things up, in order.
type Source []Lookup

// Store is the Source written store().
func Store() Source { return Source{{Kind: LookupStore}} }

// Uses reports whether the source has a lookup of this kind.
func (s Source) Uses(k LookupKind) bool {
	return slices.ContainsFunc(s, func(l Lookup) bool { return l.Kind == k })
}

// Tables are the names of the lookup tables of the source, in order.
func (s Source) Tables() []string {
	var out []string
	for _, l := range s {
		if l.Kind == LookupTable {
			out = append(out, l.Text)
		}
	}
	return out
}

// Values are the literal values of the source, in order.
func (s Source) Values() []string {
	var out []string
	for _, l := range s {
		if l.Kind == LookupValue {
			out = append(out, l.Text)
		}
	}
	return out
}

// durationUnits are the units of durations, the longest first.
var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// ParseDuration reads whole numbers with units w, d, h, m, s and ms, added up:
// "3s", "1h30m", "2d". "0" needs no unit.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`%q is not a duration such as "3s", "5m" or "2d"`, s)
	if s == "0" {
		return 0, nil
	}
	if s == "" || len(s) > 40 {
		return 0, bad
	}
	var total time.Duration
	for rest := s; rest != ""; {
		d, tail, ok := durationTerm(rest)
		if !ok || total > math.MaxInt64-d {
			return 0, bad
		}
		total, rest = total+d, tail
	}
	return total, nil
}

// durationTerm reads one number and unit.
func durationTerm(s string) (d time.Duration, rest string, ok bool) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return 0, "", false
	}
	s = s[digits:]
	letters := len(s) - len(strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz"))
	for _, u := range durationUnits {
		if u.name == s[:letters] {
			return time.Duration(n) * u.unit, s[letters:], n <= math.MaxInt64/int64(u.unit)
		}
	}
	return 0, "", false
}

// FormatDuration is the shortest text ParseDuration reads as d; what is below
// a millisecond is dropped.
func FormatDuration(d time.Duration) string {
	if d < time.Millisecond {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if u.name == "w" { // 14d reads better than 2w
			continue
		}
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d %= u.unit
		}
	}
	return b.String()
}
