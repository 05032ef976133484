package mail

import (
	"slices"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// seen is what SpamAssassin makes of a message.
type seen struct {
	Body, RawBody, Visible, Invisible []spamtest.Bytes
	Get                               map[string]*spamtest.Bytes
	HTML                              map[string]spamtest.Bytes
	Parts                             []struct {
		Type, Effective, Charset, Name spamtest.Bytes
	}
}

func lines(in [][]byte) string {
	var out strings.Builder
	for _, l := range in {
		out.WriteString(strings.ReplaceAll(string(l), "\n", "\\n") + "\n")
	}
	return out.String()
}

func perlLines(in []spamtest.Bytes) string {
	var out [][]byte
	for _, l := range in {
		out = append(out, []byte(l))
	}
	return lines(out)
}

func compare(t *testing.T, text []byte, want *seen) {
	t.Helper()
	m := Parse(text, Limits{50000, 500000})
	for what, p := range map[string][2]string{
		"body": {lines(m.Text(All)), perlLines(want.Body)}, "visible": {lines(m.Text(Visible)), perlLines(want.Visible)},
		"invisible": {lines(m.Text(Invisible)), perlLines(want.Invisible)}, "rawbody": {lines(m.RawText()), perlLines(want.RawBody)},
	} {
		if p[0] != p[1] {
			t.Errorf("%s:\n%s\nwant\n%s", what, p[0], p[1])
		}
	}
	var got, parts []string
	for _, p := range m.Leaves() {
		got = append(got, strings.Join([]string{p.Type, p.EffectiveType(), p.Charset, p.Name}, " "))
	}
	for _, p := range want.Parts {
		parts = append(parts, string(p.Type+" "+p.Effective+" "+p.Charset+" "+p.Name))
	}
	if !slices.Equal(got, parts) {
		t.Errorf("parts %q, want %q", got, parts)
	}
}

// TestAgainstPerl compares with SpamAssassin what messages are rendered to.
func TestAgainstPerl(t *testing.T) {
	seed, n := spamtest.Cases(100, 1000)
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for _, m := range spamtest.Corpus(seed, n) {
		t.Run(m.Name, func(t *testing.T) {
			var want seen
			o.About(t, "check", m.Text, &want)
			compare(t, m.Text, &want)
			spamtest.Keep(t, m.Name, m.Text)
		})
	}
}
