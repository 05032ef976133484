// Package cases states which rules hit which messages, for tests that hold this program's
// engine to it and SpamAssassin as well.
package cases

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// Case states whether a rule hits a message.
type Case struct {
	rule, message string
	hits          bool
}

// Hit says that a rule hits a message. The rule is a line of configuration with %s for its
// name.
func Hit(rule, message string) Case { return Case{rule, message, true} }

// Miss says that it does not.
func Miss(rule, message string) Case { return Case{rule, message, false} }

// Check looks whether all cases are so, here and, where it is installed, in SpamAssassin.
// config is what the rules need besides; room is the way to the directory "spam".
func Check(t *testing.T, room, config string, cases ...Case) {
	t.Helper()
	rules, names := config, map[string]string{}
	for _, c := range cases {
		if names[c.rule] == "" {
			names[c.rule] = fmt.Sprintf("T_%d", len(names))
			rules += fmt.Sprintf(c.rule, names[c.rule]) + "\n"
		}
	}
	check := func(t *testing.T, hits func(message []byte) map[string]bool) {
		t.Helper()
		for _, c := range cases {
			if got := hits([]byte(c.message))[names[c.rule]]; got != c.hits {
				t.Errorf("%s: %v, want %v, of\n%s", strings.ReplaceAll(c.rule, "%s ", ""), got, c.hits, c.message)
			}
		}
	}
	own := filepath.Join(room, "rules")
	t.Run("here", func(t *testing.T) { check(t, here(t, own, rules)) })
	t.Run("SpamAssassin", func(t *testing.T) { check(t, there(t, room, own, rules)) })
}

// here says what hits a message in this program.
func here(t *testing.T, own, rules string) func(message []byte) map[string]bool {
	file := filepath.Join(t.TempDir(), "cases.cf")
	mtatest.Write(t, file, rules)
	rs, err := conf.Load([]string{own, spamtest.Site, file}, conf.Options{Local: true})
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

// there says what hits it in SpamAssassin.
func there(t *testing.T, room, own, rules string) func(message []byte) map[string]bool {
	o := spamtest.Start(t, room, own, spamtest.Site, "text="+rules)
	return func(message []byte) map[string]bool {
		var v struct{ Hits map[string]float64 }
		o.About(t, "check", message, &v)
		hits := map[string]bool{}
		for rule := range v.Hits {
			hits[rule] = true
		}
		return hits
	}
}
