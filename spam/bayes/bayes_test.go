package bayes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/mail"
	"mtad/spam/spamtest"
)

func lesson(class Class, ids string, words ...string) Lesson {
	l := Lesson{IDs: strings.Fields(ids), Class: class, Time: time.Unix(1000, 0), Now: time.Unix(2000, 0)}
	for _, w := range words {
		l.Tokens = append(l.Tokens, Token{HashOf([]byte(w)), w})
	}
	return l
}

// TestLearn learns once, changes its mind, and forgets.
func TestLearn(t *testing.T) {
	ctx, m := context.Background(), NewMemory()
	steps := []struct {
		what string
		do   func() (bool, error)
		done bool
		spam int64
		ham  int64
		word Count
	}{
		{"spam", func() (bool, error) { return Learn(ctx, m, lesson(Spam, "a b", "word")) }, true, 1, 0, Count{1, 0, 1000}},
		{"again", func() (bool, error) { return Learn(ctx, m, lesson(Spam, "a", "word")) }, false, 1, 0, Count{1, 0, 1000}},
		{"by another name", func() (bool, error) { return Learn(ctx, m, lesson(Spam, "c a", "word")) }, false, 1, 0, Count{1, 0, 1000}},
		{"unasked as ham", func() (bool, error) {
			l := lesson(Ham, "a", "word")
			l.Keep = true
			return Learn(ctx, m, l)
		}, false, 1, 0, Count{1, 0, 1000}},
		{"as ham", func() (bool, error) { return Learn(ctx, m, lesson(Ham, "a", "word")) }, true, 0, 1, Count{0, 1, 1000}},
		{"another", func() (bool, error) { return Learn(ctx, m, lesson(Ham, "d", "word", "more")) }, true, 0, 2, Count{0, 2, 1000}},
		{"forget", func() (bool, error) { return Forget(ctx, m, lesson(None, "x d", "word", "more")) }, true, 0, 1, Count{0, 1, 1000}},
		{"forget again", func() (bool, error) { return Forget(ctx, m, lesson(None, "d", "word")) }, false, 0, 1, Count{0, 1, 1000}},
		{"from tomorrow's tomorrow", func() (bool, error) {
			l := lesson(Spam, "e", "word")
			l.Time = time.Unix(2000+86401, 0)
			return Learn(ctx, m, l)
		}, true, 1, 1, Count{1, 1, 2000}},
		{"without a class", func() (bool, error) { return Forget(ctx, m, lesson(None, "e", "word")) }, true, 0, 1, Count{0, 1, 2000}},
		{"the last", func() (bool, error) { return Forget(ctx, m, lesson(None, "a", "word")) }, true, 0, 0, Count{}},
	}
	for _, s := range steps {
		done, err := s.do()
		mtatest.Check(t, err)
		if got := m.tokens[HashOf([]byte("word"))]; done != s.done || m.totals.Spam != s.spam || m.totals.Ham != s.ham || got != s.word {
			t.Errorf("%s: %v, %+v, %+v; want %+v", s.what, done, m.totals, got, s)
		}
	}
	if len(m.tokens) > 0 || len(m.seen) > 0 || m.totals.Tokens != 0 {
		t.Errorf("left: %v %v %+v", m.tokens, m.seen, m.totals)
	}
	if _, err := Learn(ctx, m, lesson(None, "a")); err == nil {
		t.Error("a message without a class was learned")
	}
}

// TestUpdateFails: nothing stays of what a function did that fails.
func TestUpdateFails(t *testing.T) {
	ctx, m := context.Background(), NewMemory()
	_, err := Learn(ctx, m, lesson(Spam, "a", "one", "two"))
	mtatest.Check(t, err)
	tokens, seen, totals := maps.Clone(m.tokens), maps.Clone(m.seen), m.totals
	broken := errors.New("broken")
	for name, f := range map[string]func(Writer){
		"put and mark": func(w Writer) {
			w.Put(Totals{Spam: 9}, []Entry{{HashOf([]byte("one")), Count{}}, {HashOf([]byte("new")), Count{1, 1, 1}}, {HashOf([]byte("new")), Count{2, 1, 1}}})
			w.Mark("a", None)
			w.Mark("b", Ham)
		},
		"clear": func(w Writer) {
			w.Mark("b", Ham)
			w.Put(Totals{}, []Entry{{HashOf([]byte("two")), Count{}}})
			w.Clear()
			w.Put(Totals{Ham: 3}, []Entry{{HashOf([]byte("new")), Count{1, 1, 1}}})
			w.Clear()
			w.Mark("c", Ham)
		},
	} {
		err := m.Update(ctx, func(w Writer) error {
			f(w)
			return broken
		})
		if !errors.Is(err, broken) || !maps.Equal(m.tokens, tokens) || !maps.Equal(m.seen, seen) || m.totals != totals {
			t.Errorf("%s: %v; %v %v %+v", name, err, m.tokens, m.seen, m.totals)
		}
	}
}

// failing is a store of which every call fails.
type failing struct{ error }

func (f failing) View(context.Context, func(Reader) error) error   { return f }
func (f failing) Update(context.Context, func(Writer) error) error { return f }

// TestStoreFails: what the store says is not lost.
func TestStoreFails(t *testing.T) {
	ctx, s := context.Background(), failing{errors.New("disk is full")}
	calls := map[string]func() error{
		"learn":  func() error { _, err := Learn(ctx, s, lesson(Spam, "a")); return err },
		"forget": func() error { _, err := Forget(ctx, s, lesson(Spam, "a")); return err },
		"touch":  func() error { return Touch(ctx, s, nil, time.Time{}, time.Time{}) },
		"expire": func() error { _, err := Expiry{}.Expire(ctx, s, time.Time{}); return err },
		"export": func() error { return Export(ctx, s, &bytes.Buffer{}) },
		"import": func() error { _, err := Import(ctx, s, strings.NewReader(""), time.Time{}, true); return err },
		"score":  func() error { _, err := plain(t).Score(ctx, s, nil); return err },
	}
	for name, f := range calls {
		if err := f(); !errors.Is(err, s.error) && !strings.Contains(fmt.Sprint(err), "disk is full") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTouch: only what is known gets younger, and never older.
func TestTouch(t *testing.T) {
	ctx, m := context.Background(), NewMemory()
	_, err := Learn(ctx, m, lesson(Spam, "a", "one"))
	mtatest.Check(t, err)
	one, two := HashOf([]byte("one")), HashOf([]byte("two"))
	for _, c := range []struct{ when, now, want int64 }{{900, 5000, 1000}, {1500, 5000, 1500}, {9000, 5000, 5000}} {
		mtatest.Check(t, Touch(ctx, m, []Hash{one, two}, time.Unix(c.when, 0), time.Unix(c.now, 0)))
		if m.tokens[one].ATime != c.want || len(m.tokens) != 1 || m.totals.Newest != c.want {
			t.Errorf("%+v: %v %+v", c, m.tokens, m.totals)
		}
	}
}

// TestImportRefuses what is no backup, and leaves all as it was.
func TestImportRefuses(t *testing.T) {
	ctx, m := context.Background(), NewMemory()
	_, err := Learn(ctx, m, lesson(Spam, "a", "one"))
	mtatest.Check(t, err)
	const head = "v\t3\tdb_version\n"
	for text, want := range map[string]string{
		"":                                     "is empty",
		"t\t1\t1\t1\t0123456789\n":             "line 1",
		"v\t4\tdb_version\n":                   "version 4",
		head + "v\t1\tnum_spam\n":              "num_nonspam",
		head + strings.Repeat("x", 1e5) + "\n": "too long",
		head + "v\t-300\tnum_spam\nv\t1\tnum_nonspam\nt\t1\t0\t5\t0123456789\n": `line 2: num_spam is "-300", which is no number of messages`,
		head + "v\t1\tnum_spam\nv\t7x\tnum_nonspam\n":                           `line 3: num_nonspam is "7x"`,
		head + "v\t99999999999999999999\tnum_spam\nv\t1\tnum_nonspam\n":         `num_spam is "99999999999999999999"`,
		head + "v\t1\tnum_spam\nv\t1\tnum_nonspam\nt\t1\t0\t5\t01234":           "cut off",
	} {
		if _, err := Import(ctx, m, strings.NewReader(text), time.Now(), true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	if m.totals.Spam != 1 || len(m.tokens) != 1 || len(m.seen) != 1 {
		t.Errorf("%+v %v %v", m.totals, m.tokens, m.seen)
	}
}

// TestImportDoubts a backup that was cut off at the end of a line, or that would lose much,
// and takes it if it is told to.
func TestImportDoubts(t *testing.T) {
	const head = "v\t3\tdb_version\nv\t%d\tnum_spam\nv\t0\tnum_nonspam\n"
	const token, name = "t\t1\t0\t5\t012345678%d\n", "s\ts\tid%d\n"
	backup := func(messages, tokens, names int) string {
		text := fmt.Sprintf(head, messages)
		for i := range tokens {
			text += fmt.Sprintf(token, i)
		}
		for i := range names {
			text += fmt.Sprintf(name, i)
		}
		return text
	}
	for _, c := range []struct {
		before, text, want string
	}{
		{backup(4, 8, 4), backup(4, 8, 4), ""}, {backup(4, 8, 4), backup(2, 4, 1), ""}, {backup(0, 0, 0), backup(0, 0, 0), ""},
		{backup(0, 0, 0), backup(4, 0, 0), "of 4 messages and has no tokens: it is cut off"},
		{backup(0, 0, 0), backup(4, 8, 0), "has the name of none, which come last: it is cut off"},
		{backup(4, 8, 4), backup(4, 3, 4), "less than half of what would be replaced: 3 tokens of 4 messages, instead of 8 of 4"},
		{backup(0, 0, 0), strings.Replace(backup(4, 8, 4), "t\t1\t0", "t\t5\t0", 1), "is of 4 spam and 0 ham, and has tokens of 5 spam or 0 ham: num_spam"},
		{backup(0, 0, 0), strings.Replace(backup(4, 8, 4), "t\t1\t0", "t\t1\t1", 1), "of 1 spam or 1 ham"},
		{backup(4, 8, 4), backup(1, 8, 1), "less than half"}, {backup(4, 8, 4), backup(0, 0, 0), "less than half"},
	} {
		ctx, m := context.Background(), NewMemory()
		_, err := Import(ctx, m, strings.NewReader(c.before), time.Now(), true)
		mtatest.Check(t, err)
		was := m.totals
		done, err := Import(ctx, m, strings.NewReader(c.text), time.Now(), false)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || m.totals != was) {
			t.Errorf("%q over %q: %v, want %q", c.text, c.before, err, c.want)
		}
		if err == nil && (done.Before != was || done.Now != m.totals) {
			t.Errorf("%q over %q: %+v", c.text, c.before, done)
		}
		if _, err = Import(ctx, m, strings.NewReader(c.text), time.Now(), true); err != nil {
			t.Errorf("%q with force: %v", c.text, err)
		}
	}
}

// TestImportSkips lines that say nothing, as sa-learn does, and tells of numbers that can not be.
func TestImportSkips(t *testing.T) {
	m := NewMemory()
	text := "v\t3\tdb_version\nv\t5\tnum_spam\nv\t7\tnum_nonspam\nv\t1\tother\n" +
		"t\t0\t0\t5\t0123456789\nt\t-1\t2\t5000\t0123456789\nt\t1\t1\t5\t01234\nt\t1\t1\t5\tzzzzzzzzzz\nt\t3\t0\t70\t0123456789\n" +
		"t\t1\t0\t-70\taaaaaaaaaa\nt\t1\t0\t1000\tbbbbbbbbbb\nt\t1\t0\t1001\tcccccccccc\nt\t1\t-2\t9999999\tdddddddddd\nt\tx\t1\t1\teeeeeeeeee\nt\t1\t1\t1e3\teeeeeeeeee\n" +
		"t\t-1\t-1\t1\teeeeeeeeee\ns\tx\tid\ns\th\t\ns\ts\tan id\nwhat\n"
	done, err := Import(context.Background(), m, strings.NewReader(text), time.Unix(1000, 0), true)
	mtatest.Check(t, err)
	all := func(b byte) Hash { return Hash{b, b, b, b, b} }
	want := map[Hash]Count{{0x01, 0x23, 0x45, 0x67, 0x89}: {3, 0, 70}, all(0xaa): {1, 0, 0}, all(0xbb): {1, 0, 1000}, all(0xcc): {1, 0, 1000}, all(0xdd): {1, 0, 1000}}
	if done.Tokens != 5 || done.Messages != 1 || done.Skipped != 10 || done.Negative != 3 || done.Future != 3 || !maps.Equal(m.tokens, want) || m.seen["an id"] != Spam || m.totals.Ham != 7 || m.totals.Spam != 5 {
		t.Errorf("%+v %v %v %+v", done, m.tokens, m.seen, m.totals)
	}
}

// TestScoreNeeds: without enough learned, or tokens that say something, there is no probability.
func TestScoreNeeds(t *testing.T) {
	ctx, m, s := context.Background(), NewMemory(), plain(t)
	s.MinSpam, s.MinHam = 1, 2
	score := func(words ...string) *Result {
		r, err := s.Score(ctx, m, lesson(None, "", words...).Tokens)
		mtatest.Check(t, err)
		return r
	}
	learn := func(c Class, id string, words ...string) {
		_, err := Learn(ctx, m, lesson(c, id, words...))
		mtatest.Check(t, err)
	}
	expect := func(r *Result, reason string) {
		t.Helper()
		if r.Scored || !strings.Contains(r.Reason, reason) || r.Between(0, 1) {
			t.Errorf("%+v, want %s", r, reason)
		}
	}
	expect(score("one"), "only 0 spam")
	learn(Spam, "a", "one", "both")
	learn(Ham, "b", "two", "both")
	expect(score("one"), "only 1 ham")
	learn(Ham, "c", "two", "three")
	expect(score("none"), "none of the tokens was learned")
	expect(score("both"), "none of the tokens is a sign")
	r := score("one", "both", "none")
	if !r.Scored || r.Known != 2 || r.Tokens != 3 || len(r.Spammy) != 1 || len(r.Hashes()) != 1 || !r.Between(0.5, 0.9) || r.Between(0.9, 1) {
		t.Errorf("%+v", r)
	}
	if got := r.SpammyTokens("1,medium", time.Unix(1000, 0)); got != "0.987-1-1--one" {
		t.Errorf("%q", got)
	}
	if got := r.SpammyTokens("1,odd", time.Unix(1000, 0)); !strings.HasPrefix(got, "Invalid format") {
		t.Errorf("%q", got)
	}
	if got := r.HammyTokens("", time.Unix(1000, 0)); got != "" {
		t.Errorf("%q", got)
	}
	s.Hapaxes = false
	expect(score("one"), "none of the tokens was learned")
}

// TestCombineExtremes: many signs of one kind do not become infinite.
func TestCombineExtremes(t *testing.T) {
	for _, p := range []float64{1e-5, 0.5, 1 - 1e-5} {
		probs := make([]float64, 5000)
		for i := range probs {
			probs[i] = p
		}
		if got := Combine(200, 300, probs); math.IsNaN(got) || math.Abs(got-math.Round(p*2)/2) > 0.02 {
			t.Errorf("%v: %v", p, got)
		}
	}
}

// TestBounds: what makes very many tokens is cut off.
func TestBounds(t *testing.T) {
	s := plain(t)
	var line strings.Builder
	for i := range 60000 {
		fmt.Fprintf(&line, "w%07d ", i)
	}
	text := []byte(line.String())
	lines := bytes.SplitAfter(text, []byte("00 "))
	in := &Input{Visible: lines, Fields: []mail.Field{{Name: "X-A", Value: string(text[:60000])}, {Name: "X-B", Value: string(text[:60000])}, {Name: "X-A", Value: "late"}}}
	n := len(s.Tokens(in))
	if n < 50000 || n > 58000 {
		t.Errorf("%d tokens", n)
	}
}

func benchInput(b *testing.B) (*Settings, *Input) {
	_, s := settings(b, "")
	var text bytes.Buffer
	text.WriteString(string(spamtest.Corpus(1, 1)[0].Text))
	words := strings.Fields("Meeting tomorrow please find the attached report about Quarterly results and www.example.com prices info@example.net budget")
	for i := 0; text.Len() < 10<<10; i++ {
		fmt.Fprintf(&text, "%s%d ", words[i%len(words)], i%97)
		if i%12 == 0 {
			text.WriteString("\n\n")
		}
	}
	in := s.Input(mail.Parse(text.Bytes(), mail.Limits{}))
	in.URIs = []string{"http://www.example.com/path?x=1", "mailto:info@example.net"}
	in.Addresses = func(v string) []Address { return []Address{{"John Smith", "john@mail.example.net"}} }
	return s, in
}

// BenchmarkTokens makes tokens of a message of 10 KiB.
func BenchmarkTokens(b *testing.B) {
	s, in := benchInput(b)
	b.ReportAllocs()
	b.SetBytes(10 << 10)
	for b.Loop() {
		s.Tokens(in)
	}
	b.ReportMetric(float64(len(s.Tokens(in))), "tokens")
}

// BenchmarkScore finds the probability of a message of 300 tokens, of which all are known.
func BenchmarkScore(b *testing.B) {
	s, m := plain(b), NewMemory()
	var l Lesson
	for i := range 300 {
		l.Tokens = append(l.Tokens, Token{HashOf([]byte{byte(i), byte(i >> 8)}), "x"})
		m.tokens[l.Tokens[i].Hash] = Count{int64(i % 7), 1 + int64(i%5), 0}
	}
	m.totals = Totals{Spam: 1000, Ham: 1000}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Score(context.Background(), m, l.Tokens); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLongDomains: names with thousands of dots, which no domain has, do not make a
// token for each that is as long as the rest.
func TestLongDomains(t *testing.T) {
	s := plain(t)
	dots := strings.Repeat("abc.", 4000)
	in := &Input{URIs: []string{"http://" + dots, "x@" + dots}, Visible: [][]byte{[]byte(dots)}, Fields: []mail.Field{{Name: "To", Value: "x"}},
		Addresses: func(string) []Address { return []Address{{dots, "x@" + dots}} }}
	tokens := s.Tokens(in)
	if len(tokens) > 30 {
		t.Errorf("%d tokens", len(tokens))
	}
	for _, k := range tokens {
		if len(k.Text) > maxKept {
			t.Errorf("a token keeps %d octets", len(k.Text))
		}
	}
	at := "x@" + strings.Repeat("ab.", 300) + "example"
	if n := len(s.Tokens(&Input{Visible: [][]byte{[]byte(at)}})); n < 300 {
		t.Errorf("%d tokens of an address that may be one", n)
	}
}

// TestTokenBounds: a source with more tokens than are made of one is told of.
func TestTokenBounds(t *testing.T) {
	s := plain(t)
	many := func(n int) (lines [][]byte) {
		for i := range n {
			lines = append(lines, fmt.Appendf(nil, "alpha%d gamma%d\n", i, i))
		}
		return lines
	}
	for _, c := range []struct {
		in   Input
		want string
	}{
		{Input{Visible: many(20000), Fields: []mail.Field{{Name: "X-A", Value: "alpha"}}}, ""}, {Input{Visible: many(30000)}, "tokens: 50000 of the text"},
		{Input{Fields: []mail.Field{{Name: "X-A", Value: strings.Repeat("alpha gamma ", 5300)}}}, "tokens: 10000 of the header"},
	} {
		got := ""
		c.in.Cut = func(format string, bound int) { got = fmt.Sprintf(format, bound) }
		s.Tokens(&c.in)
		if got != c.want {
			t.Errorf("cut %q, want %q", got, c.want)
		}
	}
}
