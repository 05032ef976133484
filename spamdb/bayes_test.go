package spamdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/bayes"
	"mtad/store"
)

var now = time.Unix(1_800_000_000, 0)

func open(t testing.TB, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(dir, store.Options{}, Schema())
	mtatest.Check(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// state is all that a store knows: its backup, in order, and its totals.
func state(t testing.TB, s bayes.Store) string {
	t.Helper()
	var out bytes.Buffer
	mtatest.Check(t, bayes.Export(context.Background(), s, &out))
	lines := strings.Split(out.String(), "\n")
	slices.Sort(lines)
	mtatest.Check(t, s.View(context.Background(), func(r bayes.Reader) error {
		totals, _, err := r.Counts(nil)
		lines = append(lines, fmt.Sprintf("%+v", totals))
		return err
	}))
	return strings.Join(lines, "\n")
}

func lesson(class bayes.Class, at int64, id string, words ...string) bayes.Lesson {
	l := bayes.Lesson{IDs: []string{id}, Class: class, Time: time.Unix(at, 0), Now: now}
	for _, w := range words {
		l.Tokens = append(l.Tokens, bayes.Token{Hash: bayes.HashOf([]byte(w)), Text: w})
	}
	return l
}

// TestBayesAsMemory does the same here and in memory, at random, for two owners, and
// opens the database again in between.
func TestBayesAsMemory(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	db := open(t, dir)
	owners := []string{Site, "alice@example.test"}
	memory := map[string]*bayes.Memory{Site: bayes.NewMemory(), owners[1]: bayes.NewMemory()}
	r := rand.New(rand.NewPCG(1, 1))
	words := func() (out []string) {
		for range 1 + r.IntN(12) {
			out = append(out, fmt.Sprint("word", r.IntN(60)))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	for step := range 1500 {
		owner := owners[r.IntN(2)]
		class := []bayes.Class{bayes.Ham, bayes.Spam}[r.IntN(2)]
		l := lesson(class, now.Unix()-r.Int64N(1000), fmt.Sprint("id", r.IntN(40)), words()...)
		kind := r.IntN(20)
		do := func(s bayes.Store) (any, error) {
			switch {
			case kind < 12:
				return bayes.Learn(ctx, s, l)
			case kind < 16:
				return bayes.Forget(ctx, s, l)
			case kind < 19:
				return nil, bayes.Touch(ctx, s, []bayes.Hash{l.Tokens[0].Hash, bayes.HashOf([]byte("unknown"))}, l.Time.Add(time.Hour), now.Add(2*time.Hour))
			}
			errBroken := errors.New("broken")
			err := s.Update(ctx, func(w bayes.Writer) error {
				return errors.Join(w.Mark("x", bayes.Spam), w.Clear(), errBroken)
			})
			if errors.Is(err, errBroken) {
				err = nil
			}
			return nil, err
		}
		want, err := do(memory[owner])
		mtatest.Check(t, err)
		got, err := do(OpenBayes(db, owner))
		mtatest.Check(t, err)
		if got != want {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
		if step%500 == 499 {
			mtatest.Check(t, db.Close())
			db = open(t, dir)
			for _, o := range owners {
				if got, want := state(t, OpenBayes(db, o)), state(t, memory[o]); got != want {
					t.Fatalf("step %d: %q has\n%s\nwant\n%s", step, o, got, want)
				}
			}
		}
	}
	mtatest.Check(t, OpenBayes(db, owners[1]).Remove(ctx))
	mtatest.Check(t, OpenBayes(db, "nobody@example.test").Remove(ctx))
	if got, want := state(t, OpenBayes(db, owners[1])), state(t, bayes.NewMemory()); got != want {
		t.Errorf("removed, and there is\n%s", got)
	}
	if got, want := state(t, OpenBayes(db, Site)), state(t, memory[Site]); got != want {
		t.Errorf("the site's went with another's:\n%s", got)
	}
}

// TestBackup: what one store has exported another imports, in place of what it had.
func TestBackup(t *testing.T) {
	ctx := context.Background()
	b := OpenBayes(open(t, t.TempDir()), Site)
	_, err := bayes.Learn(ctx, b, lesson(bayes.Spam, 1000, "old", "old"))
	mtatest.Check(t, err)
	m := bayes.NewMemory()
	for i := range 50 {
		_, err := bayes.Learn(ctx, m, lesson([]bayes.Class{bayes.Ham, bayes.Spam}[i%2], 1000+int64(i), fmt.Sprint("id", i), fmt.Sprint("w", i%7), fmt.Sprint("v", i)))
		mtatest.Check(t, err)
	}
	var out bytes.Buffer
	mtatest.Check(t, bayes.Export(ctx, m, &out))
	_, err = bayes.Import(ctx, b, bytes.NewReader(out.Bytes()), now, true)
	mtatest.Check(t, err)
	if got, want := state(t, b), state(t, m); got != want {
		t.Errorf("imported:\n%s\nwant\n%s", got, want)
	}
	before := state(t, b)
	if _, err := bayes.Import(ctx, b, strings.NewReader("v\t3\tdb_version\nt\t1\t1\t1\t0123456789\n"), now, true); err == nil || !strings.Contains(err.Error(), "what the site has learned") {
		t.Errorf("half a backup: %v", err)
	}
	if state(t, b) != before {
		t.Error("half a backup was kept")
	}
}

// TestMessagesBounded: the names of messages do not grow for ever.
func TestMessagesBounded(t *testing.T) {
	ctx := context.Background()
	b := OpenBayes(open(t, t.TempDir()), "bob@example.test")
	b.limit = 300
	for i := range 1000 {
		_, err := bayes.Learn(ctx, b, lesson(bayes.Ham, 1000, fmt.Sprint("id", i), "word"))
		mtatest.Check(t, err)
	}
	n := 0
	mtatest.Check(t, b.View(ctx, func(r bayes.Reader) error {
		n = 0
		if c, err := r.Seen("id999"); c != bayes.Ham || err != nil {
			t.Errorf("the last is %v, %v", c, err)
		}
		if c, err := r.Seen("id0"); c != bayes.None || err != nil {
			t.Errorf("the first is %v, %v", c, err)
		}
		return r.Each(nil, func(string, bayes.Class) error { n++; return nil })
	}))
	if n > 300 || n < 290 {
		t.Errorf("%d messages are known, want 297 to 300", n)
	}
}

// BenchmarkCounts looks 300 tokens up among 100,000, as for a message.
func BenchmarkCounts(b *testing.B) {
	ctx := context.Background()
	s := OpenBayes(open(b, b.TempDir()), Site)
	var entries []bayes.Entry
	var hashes []bayes.Hash
	for i := range 100_000 {
		h := bayes.HashOf(fmt.Append(nil, i))
		entries = append(entries, bayes.Entry{Hash: h, Count: bayes.Count{Spam: 1, Ham: int64(i % 3), ATime: 1}})
		if i%333 == 0 {
			hashes = append(hashes, h)
		}
	}
	mtatest.Check(b, s.Update(ctx, func(w bayes.Writer) error { return w.Put(bayes.Totals{Spam: 300, Ham: 300, Tokens: 100_000}, entries) }))
	b.ReportAllocs()
	for b.Loop() {
		mtatest.Check(b, s.View(ctx, func(r bayes.Reader) error {
			_, _, err := r.Counts(hashes)
			return err
		}))
	}
}

// BenchmarkLearn learns messages of 1,300 tokens.
func BenchmarkLearn(b *testing.B) {
	ctx := context.Background()
	s := OpenBayes(open(b, b.TempDir()), Site)
	r := rand.New(rand.NewPCG(1, 1))
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		var words []string
		for i := range 1300 {
			words = append(words, fmt.Sprint(i, r.IntN(20)))
		}
		_, err := bayes.Learn(ctx, s, lesson(bayes.Spam, 1000, fmt.Sprint(n), words...))
		mtatest.Check(b, err)
	}
}
