package spam_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
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
uri G2 /www/
score G2 0
rawbody H /a b/
score H 0
full I /Subject/
score I 0
header J exists:Subject
score J 0
header K exists:From
header L To =~ /nobody/ [if-unset: nobody]
score L 0
mimeheader N Content-Type =~ /html/
score N 0
mimeheader O Content-Type !~ /html/
mimeheader P Content-Type =~ /plain/
uri_detail Q domain =~ /example/
score Q 0
uri_detail R domain =~ /example/
body S eval:check_for_missing_hashbang()
score S 0
header T eval:check_for_missing_to_header()
score T 0
header U eval:check_for_no_such_thing()
score U 0
meta V E || F || NOTHING
meta W V && !X
score W 0
meta X A > 2
score X 0
meta Y Z && A
meta Z Y
score Z 0
body CAP /(?<WORD>bbb)/
body USE /%{WORD} h/
score USE 0
rawbody __SUB /aaa/
meta AA __SUB + B > 0
header BL eval:check_from_in_blocklist()
score BL 0
`

// An engine with preferences hits as one made of all the text.
func TestWith(t *testing.T) {
	const text = "From: x@example.org\nSubject: ccc\n\naaa bbb http://www.example.org/\n"
	base := spam.New(conf.Parse("rules", userRules, conf.Options{}), spam.Options{})
	for _, prefs := range []string{
		"", "score A 0", "score B 3", "score A 0\nscore B 0.1", "score C 0\nscore D 0\nscore G 0", "required_score 2", "welcomelist_from *@example.org",
		"body NEW /bbb/\nscore NEW 9", "body A /zzz/", "meta E A || B", "score G -1\nscore E 0", "score F 0\nscore A 0\nscore E 7",
		"score F 0\nscore E 0", "score W 2", "score W 2\nscore X 3", "score V 0\nscore W 1", "score __SUB 0", "score G2 1\nscore G 0\nscore H 1\nscore I 1\nscore J 1",
		"score K 0\nscore L 2\nscore N 1\nscore O 0\nscore P 0", "score O 0\nscore N 0.5", "score Q 1\nscore R 0", "score S 1", "score T 1", "score U 1", "score Z 1\nscore Y 1",
		"score CAP 0\nscore USE 1", "score USE 2", "score BL 100\nblocklist_from x@example.org", "score NOSUCH 3", "score A (1)\nscore A (1)", "describe A text\nscore N 2",
		"score G2 1\nbody NEW /bbb/\nscore W 3",
	} {
		whole := spam.New(conf.Parse("rules", userRules+prefs, conf.Options{}), spam.Options{})
		want := whole.Check(t.Context(), []byte(text), scan.Facts{})
		mine := base.With("prefs", prefs)
		got := mine.Check(t.Context(), []byte(text), scan.Facts{})
		if got.Score != want.Score || got.Required != want.Required || !slices.Equal(got.Names(), want.Names()) || !slices.Equal(got.Unknown, want.Unknown) {
			t.Errorf("%q: %v of %v by %v, %v, want %v of %v by %v, %v", prefs, got.Score, got.Required, got.Names(), got.Unknown, want.Score, want.Required, want.Names(), want.Unknown)
		}
		for _, name := range whole.Rules() {
			a, why := mine.State(name)
			if b, whyToo := whole.State(name); a != b || why != whyToo {
				t.Errorf("%q: %s is %s %q, want %s %q", prefs, name, a, why, b, whyToo)
			}
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
	if n := testing.AllocsPerRun(1, func() { e.With("prefs", prefs) }); n > 100 {
		t.Errorf("%v allocations: more than what is not shared", n)
	}
	for _, m := range spamtest.Corpus(11, mtatest.Fewer(60)) {
		want, got := whole.Check(t.Context(), m.Text, scan.Facts{}), mine.Check(t.Context(), m.Text, scan.Facts{})
		if got.Score != want.Score || got.Required != 3 || hitText(got) != hitText(want) {
			t.Errorf("%s: %v %s, want %v %s", m.Name, got.Score, hitText(got), want.Score, hitText(want))
		}
	}
}

// The same with any scores, of half of the rules that can hit; with Bayes too, and with
// preferences on top of preferences.
func TestWithAnyScores(t *testing.T) {
	rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	options := spam.Options{Bayes: true}
	e := spam.New(rs, options)
	random := rand.New(rand.NewPCG(1, 2))
	messages := spamtest.Corpus(12, 30)
	st := spam.Direct{Store: bayes.NewMemory()}
	mtatest.Check(t, st.Store.Update(t.Context(), func(w bayes.Writer) error { return w.Put(bayes.Totals{Spam: 500, Ham: 500}, nil) }))
	for range mtatest.Fewer(4) {
		var first, second strings.Builder
		for _, name := range e.Rules() {
			if random.IntN(2) == 0 {
				fmt.Fprintf(&first, "score %s %d\n", name, random.IntN(3))
			}
			if random.IntN(20) == 0 {
				fmt.Fprintf(&second, "score %s %d\n", name, random.IntN(3))
			}
		}
		whole := spam.New(rs.WithUser("first", first.String(), conf.Options{Local: true}).WithUser("second", second.String(), conf.Options{Local: true}), options)
		mine := e.With("first", first.String()).With("second", second.String())
		for i, m := range messages {
			var f scan.Facts
			if i%2 == 0 {
				f.Bayes = st.Store
			}
			want, got := whole.Check(t.Context(), m.Text, f), mine.Check(t.Context(), m.Text, f)
			if got.Score != want.Score || hitText(got) != hitText(want) || !slices.Equal(got.Unknown, want.Unknown) || got.Set != want.Set {
				t.Errorf("%s: %v %s %v, want %v %s %v", m.Name, got.Score, hitText(got), got.Unknown, want.Score, hitText(want), want.Unknown)
			}
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
