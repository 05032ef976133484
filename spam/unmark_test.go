package spam

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// TestUnmarkedAsPerl: what was marked is as it was before, as SpamAssassin has it.
func TestUnmarkedAsPerl(t *testing.T) {
	rules := t.TempDir()
	mtatest.Write(t, filepath.Join(rules, "10.cf"), "body ANY /e/\nscore ANY 6\n")
	o := spamtest.Start(t, ".", rules, spamtest.Site)
	for _, safe := range []string{"report_safe 0\nrewrite_header Subject *SPAM*\n", "report_safe 0\nrewrite_header From SPAM\n", "report_safe 1\n", "report_safe 2\nrewrite_header Subject *SPAM*\n"} {
		rs := conf.Parse("10.cf", "body ANY /e/\nscore ANY 6\nadd_header all Long _TESTS_ and much more text, which is so long that it must be folded somewhere in the middle of it\n"+safe, conf.Options{})
		e := New(rs, Options{})
		same, n := 0, mtatest.Fewer(60)
		for _, m := range spamtest.Corpus(7, n) {
			marked := e.Check(context.Background(), m.Text, scan.Facts{}).Report(Host{Name: "mx.example.org", Version: Version}).Rewrite()
			var perl struct{ Text spamtest.Bytes }
			o.About(t, "unmark", marked, &perl)
			got := unmarked(marked)
			if string(got) != string(perl.Text) {
				t.Errorf("%s, %q: %q, want %q", m.Name, safe, got, perl.Text)
			}
			if bytes.Equal(got, m.Text) {
				same++
			}
			if again := unmarked(m.Text); !bytes.Equal(again, m.Text) {
				t.Errorf("%s was never marked, and is changed", m.Name)
			}
		}
		if same < n*9/10 {
			t.Errorf("%q: only %d of %d are as they were", safe, same, n)
		}
	}
}
