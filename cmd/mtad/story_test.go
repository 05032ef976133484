package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mtad/admin"
	"mtad/pipeline"
)

var update = flag.Bool("update", false, "write testdata/story.txt anew")

// everything is a trace with one event of each shape.
func everything() admin.Trace {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	events := []pipeline.Event{
		{Kind: pipeline.EventSession, Host: "192.0.2.1:4711", Note: "connected to mx"},
		{Kind: pipeline.EventSession, Note: "TLSv1.3 TLS_AES_128_GCM_SHA256"},
		{Kind: pipeline.EventStep, Stage: "connect", Step: "rbl", Filter: "rbl", Action: "continue", Took: 4200 * time.Microsecond},
		{Kind: pipeline.EventMail, Note: "from <ann@good.test>"},
		{Kind: pipeline.EventStep, Stage: "mail", Step: "my-spf", Filter: "spf", Action: "reject", Reply: "550 5.7.23 No", Note: "matched all", Mods: []string{`add-score spf 3.0 "x"`}},
		{Kind: pipeline.EventStep, Stage: "rcpt", Step: "greylist", Filter: "greylist", Action: "tempfail", Reply: "451 4.7.1 Later", Rcpt: "bob@here.test", Shadow: true},
		{Kind: pipeline.EventStep, Stage: "message", Step: "clamav", Filter: "milter", Action: "tempfail", Reply: "451 4.7.1 Service unavailable, try again later", Err: "milter: dial unix /run/clamav: connection refused\nstack", Masked: true},
		{Kind: pipeline.EventStep, Stage: "deliver", Step: "sort", Filter: "lua", Action: "discard", Rcpt: "bob@here.test"},
		{Kind: pipeline.EventMail, Rcpt: "bob@here.test", Reply: "250", Note: "local"},
		{Kind: pipeline.EventMail, Rcpt: "no@here.test", Reply: "550 5.1.1 No such user here"},
		{Kind: pipeline.EventReply, Step: "spf", Reply: "550 5.7.1 " + strings.Repeat("many words ", 20)},
		{Kind: pipeline.EventReply, Reply: "250 2.0.0 Ok"},
		{Kind: pipeline.EventReply, Reply: "451 4.0.0 Later"},
		{Kind: pipeline.EventQueue, Note: "queued for x@far.test", Host: "route:sink", Rcpt: "x@far.test"},
		{Kind: pipeline.EventDeliver, Rcpt: "list@here.test", Host: "bob@here.test", Note: "stored in INBOX as UID 7"},
		{Kind: pipeline.EventDeliver, Rcpt: "bob@here.test", Note: "discarded for this recipient"},
		{Kind: pipeline.EventRelay, Rcpt: "x@far.test", Host: "mx.far.test [192.0.2.9]:25", Note: "TLSv1.3", Action: "deferred", Reply: "450 4.2.0 Not now", Took: 3 * time.Second},
		{Kind: pipeline.EventRelay, Rcpt: "x@far.test", Action: "failed", Reply: "550 5.4.4 No host"},
		{Kind: pipeline.EventMade, Rcpt: "ann@good.test", Note: "report 0123456789abc", Err: "deliver: refused"},
		{Kind: "later", Rcpt: "x@y", Host: "h", Action: "a", Reply: "r", Note: "n"},
		{Kind: pipeline.EventSession, Note: "\x1b]0;evil\x07 \r\n550 forged"},
		{Kind: pipeline.EventStep, Stage: "data", Step: "x", Filter: "x", Action: "continue", Mods: []string{strings.Repeat("ü", 150)}},
	}
	for i := range events {
		events[i].Time = at.Add(time.Duration(i*i) * 7 * time.Millisecond)
	}
	return admin.Trace{ID: "0sac6jx3szf3b", Events: events}
}

// TestStory compares with testdata/story.txt, which a person has looked at.
func TestStory(t *testing.T) {
	t.Setenv("TZ", "UTC")
	var b bytes.Buffer
	check(t, printStory(&b, everything()))
	_, got, _ := strings.Cut(b.String(), "\n")
	const file = "testdata/story.txt"
	if *update {
		check(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if got != string(want) {
		t.Errorf("the story changed; if that is right, run with -update\n%s", got)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.ContainsAny(line, "\x1b\r\x07") {
			t.Errorf("not safe for a terminal: %q", line)
		}
	}
	if err := printStory(failing{}, everything()); err == nil {
		t.Error("nobody noticed that the disk is full")
	}
	check(t, printStory(&b, admin.Trace{ID: "x"}))
}

func TestLiveLines(t *testing.T) {
	var b bytes.Buffer
	check(t, printLive(&b, everything()))
	if n := strings.Count(b.String(), "\n"); n != len(everything().Events) {
		t.Errorf("%d lines for %d events", n, len(everything().Events))
	}
	if !strings.Contains(b.String(), "reject  spf  matched all  550 5.7.23 No\n") {
		t.Errorf("a refusal without its words:\n%s", b.String())
	}
	if err := printLive(failing{}, everything()); err == nil {
		t.Error("nobody noticed that the terminal is gone")
	}
}

func TestPaint(t *testing.T) {
	l := lineOf(pipeline.Event{Kind: pipeline.EventReply, Reply: "250 2.0.0 Ok"})
	if got := l.text(paint{true}); !strings.Contains(got, colorGood+"250 2.0.0 Ok"+colorOff) {
		t.Errorf("got %q", got)
	}
	if got := l.text(paint{}); strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestFold(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string
	}{
		{"", ""},
		{"short", "short"},
		{"exactly 10", "exactly 10"},
		{"one two three four", "one two|three four"},
		{"abcdefghijklmnop", "abcdefghij|klmnop"},
		{"üüüüü üüüüü üüüüü", "üüüüü|üüüüü|üüüüü"},
	} {
		if got := strings.Join(fold(tc.text, 10), "|"); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.text, got, tc.want)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("some words of a reply", 5)
	f.Add("\xff\xfe", 1)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < 1 || width > 1000 || len(text) > 10000 {
			return
		}
		for _, l := range fold(clean(text), width) {
			if utf8.RuneCountInString(l) > width {
				t.Errorf("%q is longer than %d", l, width)
			}
		}
	})
}
