package spamtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
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

// Check looks whether all cases are so: with engine, which makes rules of files ready and
// says what hits a message, and, where it is installed, with SpamAssassin itself. config
// is what the rules need besides; room is the way to the directory "spam".
func Check(t *testing.T, room, config string, cases []Case, engine func(t *testing.T, files ...string) func(message []byte) map[string]bool) {
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
	t.Run("here", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cases.cf")
		mtatest.Write(t, file, rules)
		check(t, engine(t, own, Site, file))
	})
	t.Run("SpamAssassin", func(t *testing.T) {
		o := Start(t, room, own, Site, "text="+rules)
		check(t, func(message []byte) map[string]bool {
			var v struct{ Hits map[string]float64 }
			o.About(t, "check", message, &v)
			hits := map[string]bool{}
			for rule := range v.Hits {
				hits[rule] = true
			}
			return hits
		})
	})
}
