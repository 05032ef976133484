package spam_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

const circuitRules = `
loadplugin Mail::SpamAssassin::Plugin::Shortcircuit
header SC_FREE Subject =~ /free/i
shortcircuit SC_FREE spam
header SC_LIST exists:List-Id
score SC_LIST -2
shortcircuit SC_LIST ham
body SC_BODY /lottery|prescription/i
score SC_BODY 3
priority SC_BODY -150
shortcircuit SC_BODY on
header __SC_MAILER exists:X-Mailer
meta SC_META __SC_MAILER && SC_PART
score SC_META -0.5
priority SC_META -60
shortcircuit SC_META on
uri SC_PART /example/
score SC_PART 0.3
header SC_OFF exists:Date
shortcircuit SC_OFF spam
shortcircuit SC_OFF off
`

// TestShortcircuitAsPerl compares the hits and scores of checks that a hit may end.
func TestShortcircuitAsPerl(t *testing.T) {
	mtatest.Program(t, "spamassassin")
	site, rules := netSite(t, circuitRules), stockDir(t)
	rs, err := conf.Load([]string{rules, site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	if len(rs.Problems) > 0 {
		t.Error(rs.Problems)
	}
	e, o := spam.New(rs, spam.Options{}), spamtest.Start(t, ".", rules, site)
	cut := map[string]int{}
	n := max(60, *agreementSize-40)
	if mtatest.Race {
		n = 40
	}
	for _, m := range spamtest.Corpus(*agreementSeed, n) {
		var v verdict
		o.About(t, "check", m.Text, &v)
		r := e.Check(context.Background(), m.Text, scan.Facts{})
		cut[r.Shortcircuit]++
		compareHits(t, m.Name, r, &v, func(rule string) bool { return rule != "__HAS_ANY_EMAIL" }, map[string]int{})
		if d := r.Score - v.Score; d > 0.01 || d < -0.01 {
			t.Errorf("%s: %.4f, SpamAssassin %.4f", m.Name, r.Score, v.Score)
		}
	}
	if cut["spam"] == 0 || cut[""] == 0 || cut["ham"] == 0 {
		t.Errorf("ended: %v", cut)
	}
}

// TestShortcircuitScore: a score beyond bounds ends the check at the next hit.
func TestShortcircuitScore(t *testing.T) {
	rs := conf.Parse("x.cf", `loadplugin Mail::SpamAssassin::Plugin::Shortcircuit
shortcircuit_max_spam_score 4
shortcircuit_min_ham_score -1
header A exists:A
score A 5
header B exists:B
score B -2
body C /x/
uri D /example/
rawbody E /x/
util_rb_tld com
`, conf.Options{})
	e := spam.New(rs, spam.Options{})
	for text, want := range map[string]string{
		"A: 1\n\nx http://example.com/\n": "A,C,SHORTCIRCUIT 6.001 spam", "B: 1\n\nx http://example.com/\n": "B,C,SHORTCIRCUIT -1.001 ham", "S: 1\n\nx http://example.com/\n": "C,D,E 3 ",
	} {
		r := e.Check(t.Context(), []byte(text), scan.Facts{})
		if got := fmt.Sprint(strings.Join(r.Names(), ","), " ", r.Score, " ", r.Shortcircuit); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestShortcircuitTags: what templates say of it.
func TestShortcircuitTags(t *testing.T) {
	rs := conf.Parse("x.cf", circuitRules+"add_header all SC _SC_ _SCRULE_ _SCTYPE_\n", conf.Options{})
	e := spam.New(rs, spam.Options{})
	for text, want := range map[string]string{"Subject: free\n\nx\n": "SC_FREE (spam) SC_FREE spam", "Subject: x\n\nlottery\n": "SC_BODY (spam) SC_BODY spam", "Subject: x\n\nx\n": "no none no"} {
		r := e.Check(t.Context(), []byte(text), scan.Facts{})
		if u, err := r.AutoLearn(t.Context(), bayes.NewMemory()); err != nil || (u.Status == "disabled") != (r.Shortcircuit != "") {
			t.Errorf("%q: learned unasked: %+v %v", text, u.Decision, err)
		}
		if h := r.Report(spam.Host{}).Headers(); !strings.Contains(h, "X-Spam-SC: "+want+"\n") {
			t.Errorf("%q: %s\nwants %s", text, h, want)
		}
	}
}

// TestUnloadedPlugins: what a plugin would do that no line has loaded is not done, and told of,
// as SpamAssassin's lint does.
func TestUnloadedPlugins(t *testing.T) {
	const rules = `header SC exists:Subject
score SC 2
shortcircuit SC spam
use_dcc 1
body PDFS eval:pdf_count(0, 5)
body PLAIN /x/
`
	const loaded = "loadplugin Mail::SpamAssassin::Plugin::Shortcircuit\nloadplugin Mail::SpamAssassin::Plugin::PDFInfo\nloadplugin Mail::SpamAssassin::Plugin::DCC\n"
	for before, want := range map[string]string{"": "PLAIN SC", loaded: "SC SHORTCIRCUIT"} {
		site := netSite(t, before+rules)
		rs, err := conf.Load([]string{"rules", site}, conf.Options{Local: true})
		mtatest.Check(t, err)
		e := spam.New(rs, spam.Options{})
		text := []byte("From: a@b.example\nTo: c@d.example\nDate: Thu, 26 Nov 2026 12:00:00 +0000\nMessage-ID: <1@b.example>\nSubject: x\n\nx\n")
		r := e.Check(t.Context(), text, scan.Facts{})
		var v struct{ Hits map[string]float64 }
		spamtest.Start(t, ".", "rules", site).About(t, "check", text, &v)
		here := slices.DeleteFunc(slices.Sorted(slices.Values(r.Names())), func(name string) bool { return rs.Rule(name) == nil && name != "SHORTCIRCUIT" })
		there := slices.DeleteFunc(slices.Sorted(maps.Keys(v.Hits)), func(name string) bool { return strings.HasPrefix(name, "__") })
		if strings.Join(here, " ") != want || !slices.Equal(here, there) {
			t.Errorf("%q: %v hit, %v there, want %s", before, here, there, want)
		}
		told := fmt.Sprint(rs.Problems, e.Cannot())
		for _, fault := range []string{"more.cf:3: shortcircuit is of the plugin Shortcircuit, which no line loads", "more.cf:4: use_dcc is of the plugin DCC", "PDFS:pdf_count is of the plugin PDFInfo"} {
			if strings.Contains(told, fault) != (before == "") {
				t.Errorf("%q: told is %s", before, told)
			}
		}
	}
	rs := conf.Parse("own.cf", "body A /x/\nmimeheader B Content-Type =~ /x/\nshortcircuit A on\nheader C eval:check_for_fake_aol_relay_in_rcvd()\n", conf.Options{})
	if e := spam.New(rs, spam.Options{}); len(rs.Problems) != 1 || rs.Problems[0].Line != 3 || len(e.Cannot()) > 0 {
		t.Errorf("rules of one's own, without any plugin: %v %v", rs.Problems, e.Cannot())
	}
}
