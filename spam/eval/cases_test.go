package eval_test

import (
	"context"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

func engine(t *testing.T, files ...string) func([]byte) map[string]bool {
	rs, err := conf.Load(files, conf.Options{Local: true})
	mtatest.Check(t, err)
	for _, p := range rs.Problems {
		t.Error(p)
	}
	e := spam.New(rs, spam.Options{})
	for name, why := range e.Cannot() {
		t.Errorf("%s: %s", name, why)
	}
	return func(message []byte) map[string]bool {
		hits := map[string]bool{}
		for _, h := range e.Check(context.Background(), message, scan.Facts{}).Hits {
			hits[h.Rule] = true
		}
		return hits
	}
}

func hit(rule, message string) spamtest.Case  { return spamtest.Hit(rule, message) }
func miss(rule, message string) spamtest.Case { return spamtest.Miss(rule, message) }

func header(call string) string { return "header %s eval:" + call }
func body(call string) string   { return "body %s eval:" + call }

// fields is a message with these in its header.
func fields(f ...string) string { return strings.Join(f, "\n") + "\n\nbody\n" }

// TestHeaderLimits: what is cut short is said to be.
func TestHeaderLimits(t *testing.T) {
	cut := header("check_msg_parse_flags('truncated_header')")
	long := func(n int, each string) string { return strings.Repeat(each, n) }
	spamtest.Check(t, "..", "", []spamtest.Case{
		miss(cut, fields(long(256, "n")+": x")), hit(cut, fields(long(257, "n")+": x")),
		miss(cut, fields("X: "+long(8190, "v"))), hit(cut, fields("X: "+long(8191, "v"))),
		miss(cut, fields("X:"+long(8191, "v"))), hit(cut, fields("X:"+long(8192, "v"))),
	}, engine)
}
