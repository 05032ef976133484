package spam

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// TestOwnRules: the rules that are there without SpamAssassin's, and what they make of
// a few messages.
func TestOwnRules(t *testing.T) {
	rs := conf.Parse("10_mtad.cf", ownRules, conf.Options{})
	for _, p := range rs.Problems {
		t.Error(p)
	}
	e := New(rs, Options{Net: true})
	for name, why := range e.Cannot() {
		t.Errorf("%s can not run: %s", name, why)
	}
	for _, r := range rs.Rules() {
		if !r.Sub() && rs.Description(r.Name) == "" {
			t.Errorf("%s has no description", r.Name)
		}
	}
	const head = "From: a@example.com\nTo: b@example.org\nDate: Thu, 26 Nov 2026 10:00:00 +0000\nMessage-ID: <1@example.com>\n"
	facts := scan.Facts{SPF: &scan.SPF{MailFrom: "pass", Helo: "none"}, DKIMChecked: true}
	for text, want := range map[string]string{
		head + "Subject: Lunch\n\nShall we meet at noon?\n":                                           "",
		head + "Subject: x\n\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n": "GTUBE",
		"Subject: x\n\nhi\n":                             "MISSING_DATE MISSING_FROM MISSING_MID MISSING_TO",
		head + "Subject: BUY THIS NOW TODAY\n\nV1agra\n": "PILLS SUBJECT_CAPITALS",
		head + "Subject: x\n\nI am the beneficiary of $25,500,000.00 and 100% risk free.\n":                                              "ADVANCE_FEE",
		head + "Subject: x\n\nYour account is suspended. Please verify your account at http://x.com/y .\n":                               "ACCOUNT_PHISH",
		head + "Subject: x\nContent-Type: text/html\n\n<a href=\"http://evil.com/\">https://bank.com/</a><script>x</script>":             "LINK_NOT_AS_SHOWN SCRIPT_IN_HTML",
		head + "Subject: x\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"invoice.pdf.exe\"\n\nMZ": "DOUBLE_EXTENSION PROGRAM_ATTACHED",
	} {
		r := e.Check(context.Background(), []byte(text), facts)
		if got := strings.Join(r.Names(), " "); got != want || len(r.Unknown) > 0 {
			t.Errorf("%.120q: %q, want %q; unknown %v", text, got, want, r.Unknown)
		}
	}
	r := e.Check(context.Background(), []byte(head+"\nx"), scan.Facts{})
	var unknown []string
	for _, u := range r.Unknown {
		unknown = append(unknown, u.Rule)
	}
	if want := []string{"DKIM_VALID_AU", "SPF_FAIL", "SPF_SOFTFAIL"}; !slices.Equal(unknown, want) {
		t.Errorf("without results unknown are %q, want %q", unknown, want)
	}
}

// Where the rules' directories are empty, that is an error if they were named.
func TestNoRules(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadRules([]string{dir}, conf.Options{}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	settings := filepath.Join(dir, "10.cf")
	mtatest.Write(t, settings, "required_score 6\nbdy X /x/\n")
	if _, err := LoadRules([]string{dir}, conf.Options{}); !errors.Is(err, ErrNoRules) || !strings.Contains(err.Error(), settings+":2: ") {
		t.Error(err)
	}
	rs, err := LoadRules([]string{}, conf.Options{})
	if err != nil || len(rs.Rules()) == 0 {
		t.Errorf("%v: the rules that are built in are wanted", err)
	}
}
