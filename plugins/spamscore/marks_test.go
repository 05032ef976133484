package spamscore

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// through gives a message as filters leave it, without what they say of themselves.
func through(t *testing.T, text string, filters ...pipeline.Filter) string {
	t.Helper()
	out, _ := throughPoints(t, text, filters...)
	return out
}

// throughPoints gives the sum of the points too.
func throughPoints(t *testing.T, text string, filters ...pipeline.Filter) (string, float64) {
	t.Helper()
	var steps []*pipeline.Step
	for i, f := range filters {
		steps = append(steps, &pipeline.Step{Name: fmt.Sprint("step", i), Filter: f, OnError: pipeline.TempFail})
	}
	p, err := pipeline.New("p", steps, pipeline.Env{})
	mtatest.Check(t, err)
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(text, "\n", "\r\n"))))
	mtatest.Check(t, err)
	flow := p.Open(pipeline.Client{Hostname: "mx.test", Helo: "client.test", Addr: netip.MustParseAddrPort("198.51.100.7:25")})
	defer flow.Close()
	flow.Begin(1, smtp.Address{Local: "a", Domain: "example.com"}, smtp.MailParams{})
	flow.SetMessage(m, nil, nil)
	flow.Run(context.Background(), pipeline.Message)
	out, err := message.ReadAll(flow.View().Message().Bytes())
	mtatest.Check(t, err)
	return strings.ReplaceAll(strings.ReplaceAll(string(out), "\r\n", "\n"), "X-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on mx.test\n", ""), flow.View().Score()
}

func ruled(t *testing.T, rules string, options ...string) pipeline.Filter {
	t.Helper()
	file := filepath.Join(t.TempDir(), "10.cf")
	mtatest.Write(t, file, rules+"\nclear_headers\n")
	f, err := build(fmt.Sprintf("rules = [%q]\n", file) + strings.Join(options, "\n"))
	mtatest.Check(t, err)
	return f
}

// A filter judges a message as it was before another has marked it, and makes each field what
// it was, whichever the sender had marked already.
func TestMarksAreUndone(t *testing.T) {
	mark := ruled(t, "rewrite_header Subject [_SCORE_]\nrewrite_header From BAD\nbody A /money/\nscore A 9")
	other := ruled(t, "rewrite_header Subject [SPAM]\nbody B /money/\nscore B 6")
	none := ruled(t, "header C From =~ /BAD/\nscore C 9\nrewrite_header Subject [SEEN]")
	for _, head := range []string{
		"From: a\nSubject: hi\n\tthere\n", "From: a\n", "Subject: (nonexistent)\n", "Subject: [9.0] one\nSubject: two\n", "Subject : one\nSubject: two\n", " no field\nFrom: a\nSubject: b\n",
	} {
		text := head + "\nmoney\n"
		want := text
		if head[0] == ' ' {
			want = "\n" + text
		}
		for _, before := range [][]pipeline.Filter{{mark}, {mark, mark}, {mark, other}, {mark, none}} {
			if got := through(t, text, append(before, none)...); got != want {
				t.Errorf("%q, %d filters: %q, want %q", head, len(before), got, want)
			}
		}
	}
	if got, want := through(t, "Subject: hi\n\nmoney\n", mark, other), "Subject: [SPAM] hi\nX-Spam-Prev-Subject: hi\n\nmoney\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Without headers a filter leaves the marks of another, and judges what was before them.
func TestMarksOfOthersAreNotJudged(t *testing.T) {
	mark := ruled(t, "rewrite_header Subject [SPAM]\nbody A /money/\nscore A 9")
	silent := ruled(t, "header B Subject =~ /SPAM/\nscore B 9", "headers = false")
	for _, filters := range [][]pipeline.Filter{{mark}, {mark, silent}} {
		got, points := throughPoints(t, "Subject: hi\n\nmoney\n", filters...)
		if want := "Subject: [SPAM] hi\nX-Spam-Prev-Subject: hi\n\nmoney\n"; got != want || points != 9 {
			t.Errorf("%d filters: %q with %v points, want %q with 9", len(filters), got, points, want)
		}
	}
}

// A template that is filled for many fields makes no huge message.
func TestMarksAreBounded(t *testing.T) {
	f := ruled(t, "rewrite_header Subject "+strings.Repeat("_HEADER(X)_", 20)+"\nbody A /money/\nscore A 9")
	text := "X: " + strings.Repeat("x", 10000) + "\n" + strings.Repeat("Subject: a\n", 900) + "\nmoney\n"
	if got := len(through(t, text, f)); got < len(text)+150000 || got > 400000 {
		t.Errorf("%d octets", got)
	}
}
