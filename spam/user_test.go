package spam_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

const userRules = `
allow_user_rules 1
required_score 5
body A /aaa/
score A 1
body B /bbb/
score B 0
header C Subject =~ /ccc/
score C 2
header D Subject !~ /ddd/
score D 0.5
header FRIEND eval:check_from_in_welcomelist()
score FRIEND -100
meta E A && C
score E 4
meta F B || D
score F 0.25
uri G /example/
score G 3
`

// An engine with preferences hits as one made of all the text.
func TestWith(t *testing.T) {
	const text = "From: x@example.org\nSubject: ccc\n\naaa bbb http://www.example.org/\n"
	base := spam.New(conf.Parse("rules", userRules, conf.Options{}), spam.Options{})
	for _, prefs := range []string{
		"", "score A 0", "score B 3", "score A 0\nscore B 0.1", "score C 0\nscore D 0\nscore G 0", "required_score 2", "welcomelist_from *@example.org",
		"body NEW /bbb/\nscore NEW 9", "body A /zzz/", "meta E A || B", "score G -1\nscore E 0", "score F 0\nscore A 0\nscore E 7",
	} {
		whole := spam.New(conf.Parse("rules", userRules+prefs, conf.Options{}), spam.Options{})
		want := whole.Check(t.Context(), []byte(text), scan.Facts{})
		mine := base.With("prefs", prefs)
		got := mine.Check(t.Context(), []byte(text), scan.Facts{})
		if got.Score != want.Score || got.Required != want.Required || !slices.Equal(got.Names(), want.Names()) || len(got.Unknown) != len(want.Unknown) {
			t.Errorf("%q: %v of %v by %v, want %v of %v by %v", prefs, got.Score, got.Required, got.Names(), want.Score, want.Required, want.Names())
		}
		if p := mine.Problems(); len(p) > 0 {
			t.Errorf("%q: %v", prefs, p)
		}
	}
	if p := base.With("prefs", "score A 1 2\ntrusted_networks 192.0.2.0/24\nnonsense").Problems(); len(p) == 0 {
		t.Error("what is not a user's is not told")
	}
}

// The same with the stock rules, over messages.
func TestWithStock(t *testing.T) {
	e := engine(t)
	const prefs = "required_score 3\nscore HTML_MESSAGE 0\nscore MISSING_HEADERS 0\nscore MIME_HTML_ONLY 7\nwelcomelist_from *@example.com\nscore BODY_8BITS 0\nscore SUBJ_ALL_CAPS 0\nscore __HAS_FROM 0\n"
	rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	whole := spam.New(rs.WithUser("prefs", prefs, conf.Options{Local: true}), spam.Options{})
	mine := e.With("prefs", prefs)
	if n := testing.AllocsPerRun(1, func() { e.With("prefs", prefs) }); n > 20_000 {
		t.Errorf("%v allocations: more than what is shared", n)
	}
	for _, m := range spamtest.Corpus(11, mtatest.Fewer(60)) {
		want, got := whole.Check(t.Context(), m.Text, scan.Facts{}), mine.Check(t.Context(), m.Text, scan.Facts{})
		if got.Score != want.Score || got.Required != 3 || hitText(got) != hitText(want) {
			t.Errorf("%s: %v %s, want %v %s", m.Name, got.Score, hitText(got), want.Score, hitText(want))
		}
	}
}

func hitText(r *spam.Result) string {
	all := map[string]bool{}
	for _, h := range append(slices.Clone(r.Hits), r.Sub...) {
		all[h.Rule] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(all)), " ")
}

func BenchmarkWith(b *testing.B) {
	e := engine(b)
	b.ReportAllocs()
	for b.Loop() {
		e.With("prefs", "required_score 3\nscore HTML_MESSAGE 0\nwelcomelist_from *@example.com\n")
	}
}
