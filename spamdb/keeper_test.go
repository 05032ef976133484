package spamdb

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

func keeper(t testing.TB, dir string) *Keeper {
	t.Helper()
	k := NewKeeper(open(t, dir), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { k.Close() })
	return k
}

// loaded waits until the copy in memory is there.
func loaded(t testing.TB, k *Keeper) {
	t.Helper()
	mtatest.Eventually(t, "copy in memory", 10*time.Second, func() bool {
		_, _, ok := k.site.memory.counts(nil)
		return ok
	})
}

// same compares the copy in memory with the database.
func same(t *testing.T, k *Keeper) {
	t.Helper()
	ctx := context.Background()
	var hashes []bayes.Hash
	mtatest.Check(t, k.site.inDatabase(ctx, func(tx *bayesTx) error {
		hashes = nil
		return tx.Each(func(e bayes.Entry) error { hashes = append(hashes, e.Hash); return nil }, nil)
	}))
	hashes = append(hashes, bayes.HashOf([]byte("unknown")))
	totals, counts, ok := k.site.memory.counts(hashes)
	if !ok || len(k.site.memory.tokens) != len(hashes)-1 {
		t.Fatalf("%v, %d tokens in memory, %d in the database", ok, len(k.site.memory.tokens), len(hashes)-1)
	}
	mtatest.Check(t, k.site.inDatabase(ctx, func(tx *bayesTx) error {
		wantTotals, want, err := tx.Counts(hashes)
		if totals != wantTotals || fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("totals %+v, want %+v, or counts differ", totals, wantTotals)
		}
		return err
	}))
}

// TestCopyFollows: whatever is written, while it is read and afterwards, the copy in
// memory is what the database has.
func TestCopyFollows(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	step := func(s bayes.Store) {
		var words []string
		for i := range 1 + r.IntN(30) {
			words = append(words, fmt.Sprint("w", i*10+r.IntN(10)))
		}
		l := lesson([]bayes.Class{bayes.Ham, bayes.Spam}[r.IntN(2)], now.Unix()-r.Int64N(1000), fmt.Sprint("id", r.IntN(50)), words...)
		var err error
		switch r.IntN(4) {
		case 0:
			_, err = bayes.Forget(ctx, s, l)
		case 1:
			err = bayes.Touch(ctx, s, []bayes.Hash{l.Tokens[0].Hash}, l.Time.Add(time.Hour), now.Add(2*time.Hour))
		default:
			_, err = bayes.Learn(ctx, s, l)
		}
		mtatest.Check(t, err)
	}
	k := keeper(t, dir)
	for range 100 { // some of it while it is read
		step(k.Bayes(Site))
	}
	loaded(t, k)
	same(t, k)
	for range 300 {
		step(k.Bayes(Site))
	}
	same(t, k)
	mtatest.Check(t, k.Bayes(Site).Update(ctx, func(w bayes.Writer) error { return w.Clear() }))
	same(t, k)
	step(k.Bayes(Site))
	same(t, k)
	mtatest.Check(t, k.Remove(ctx, Site))
	same(t, k)
}

// TestKeeperWrites: what was noted is written at the end at the latest, each owner's apart,
// and no more is kept than is bounded.
func TestKeeperWrites(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	db := open(t, dir)
	k := NewKeeper(db, slog.New(slog.DiscardHandler))
	loaded(t, k)
	word := bayes.HashOf([]byte("word"))
	for _, owner := range []string{Site, "alice@example.test"} {
		if !k.Learn(owner, lesson(bayes.Spam, 1000, "id", "word"), bayes.Expiry{}) {
			t.Error("not taken")
		}
	}
	mtatest.Check(t, k.Close())
	k = NewKeeper(db, slog.New(slog.DiscardHandler))
	loaded(t, k)
	k.Touch(Site, []bayes.Hash{word}, time.Unix(5000, 0), bayes.Expiry{})
	k.Touch("alice@example.test", []bayes.Hash{word}, time.Unix(6000, 0), bayes.Expiry{})
	many := make([]bayes.Hash, 2*maxTouched)
	for i := range many {
		many[i] = hash(int64(i))
	}
	k.Touch("bob@example.test", many, time.Unix(6000, 0), bayes.Expiry{})
	if k.waiting != maxTouched {
		t.Errorf("%d tokens wait, want %d", k.waiting, maxTouched)
	}
	mtatest.Check(t, k.Remove(ctx, "bob@example.test"))
	mtatest.Check(t, k.Close())
	for owner, atime := range map[string]int64{Site: 5000, "alice@example.test": 6000} {
		mtatest.Check(t, OpenBayes(db, owner).View(ctx, func(tx bayes.Reader) error {
			_, counts, err := tx.Counts([]bayes.Hash{word})
			if want := (bayes.Count{Spam: 1, ATime: atime}); err == nil && counts[0] != want {
				t.Errorf("%q: %+v, want %+v", owner, counts[0], want)
			}
			return err
		}))
	}
	for range maxLessons {
		k.Learn(Site, bayes.Lesson{}, bayes.Expiry{})
	}
	if k.Learn(Site, bayes.Lesson{}, bayes.Expiry{}) {
		t.Error("more was taken than there is room for")
	}
}

// BenchmarkCountsInMemory looks 300 tokens up among 100,000, as for a message.
func BenchmarkCountsInMemory(b *testing.B) {
	ctx := context.Background()
	k := keeper(b, b.TempDir())
	loaded(b, k)
	var entries []bayes.Entry
	var hashes []bayes.Hash
	for i := range 100_000 {
		h := bayes.HashOf(fmt.Append(nil, i))
		entries = append(entries, bayes.Entry{Hash: h, Count: bayes.Count{Spam: 1, Ham: int64(i % 3), ATime: 1}})
		if i%333 == 0 {
			hashes = append(hashes, h)
		}
	}
	s := k.Bayes(Site)
	mtatest.Check(b, s.Update(ctx, func(w bayes.Writer) error { return w.Put(bayes.Totals{Spam: 300, Ham: 300, Tokens: 100_000}, entries) }))
	b.ReportAllocs()
	for b.Loop() {
		mtatest.Check(b, s.View(ctx, func(r bayes.Reader) error {
			_, _, err := r.Counts(hashes)
			return err
		}))
	}
}

// TestSenders: what messages change of what is known of senders is added up, each owner's
// apart; who was silent for long, or is too many, is forgotten.
func TestSenders(t *testing.T) {
	ctx, db := context.Background(), open(t, t.TempDir())
	k := NewKeeper(db, slog.New(slog.DiscardHandler))
	change := func(key string, remove bool, count int64, total float64) []scan.ReputationChange {
		return []scan.ReputationChange{{Key: key, Remove: remove, Reputation: scan.Reputation{Count: count, Total: total}}}
	}
	const odd = "\xff|ip=none"
	k.Repute(Site, change("a|ip=none", false, 1, 2.5))
	k.Repute(Site, change("a|ip=none", false, 1, 3))
	k.Repute(Site, change("b|ip=none", false, 1, 1))
	k.Repute(Site, change("b|ip=none", true, 1, -10))
	k.Repute(Site, change("b|ip=none", false, 1, 1))
	k.Repute(Site, change(odd, false, 1, 1))
	k.Repute("alice@example.test", change("a|ip=none", false, 1, 7))
	mtatest.Check(t, k.Close())
	mtatest.Check(t, k.Reputation(Site).Change(ctx, change("a|ip=none", false, -1, 0)))
	look := func(owner string) string {
		out, err := k.Reputation(owner).Look(ctx, []string{"none", "a|ip=none", "b|ip=none", odd})
		mtatest.Check(t, err)
		return fmt.Sprint(out)
	}
	if got, want := look(Site), "[{0 0} {1 5.5} {2 -9} {1 1}]"; got != want {
		t.Errorf("the site knows %s, want %s", got, want)
	}
	mtatest.Check(t, k.sweepSenders(ctx, time.Now().Unix()-1000, 2))
	mtatest.Check(t, k.sweepSenders(ctx, time.Now().Unix()-1000, 10))
	if got, want := look("alice@example.test"), "[{0 0} {1 7} {0 0} {0 0}]"; got != want && got != "[{0 0} {0 0} {0 0} {0 0}]" {
		t.Errorf("Alice knows %s, want %s", got, want)
	}
	mtatest.Check(t, k.sweepSenders(ctx, time.Now().Unix()+1000, 10))
	if got, want := look(Site), "[{0 0} {0 0} {0 0} {0 0}]"; got != want {
		t.Errorf("all were silent, and the site knows %s", got)
	}
	k.Repute("alice@example.test", change("a|ip=none", false, 1, 7))
	mtatest.Check(t, k.Reputation("alice@example.test").Change(ctx, change("a|ip=none", false, 1, 7)))
	mtatest.Check(t, k.Remove(ctx, "alice@example.test"))
	if got, want := look("alice@example.test"), "[{0 0} {0 0} {0 0} {0 0}]"; got != want {
		t.Errorf("removed, and Alice knows %s", got)
	}
}

// TestJudgeKnowsSenders: who has sent spam before is less welcome, until somebody says that
// it was none.
func TestJudgeKnowsSenders(t *testing.T) {
	ctx := context.Background()
	rs := conf.Parse("test", "loadplugin Mail::SpamAssassin::Plugin::TxRep\nuse_txrep 1\nheader TXREP eval:check_senders_reputation()\nbody PRIZE /prize/\nscore PRIZE 8\nbayes_auto_learn 0\n", conf.Options{})
	k := keeper(t, t.TempDir())
	j := &spam.Judge{Engine: spam.New(rs, spam.Options{Bayes: true}), Learned: k}
	check := func(n int, text string) float64 {
		r := j.Check(ctx, fmt.Appendf(nil, "From: a@example.com\nSubject: %d\n\n%s %d\n", n, text, n), spam.Facts{})
		k.writeSenders()
		if len(r.Unknown) > 0 {
			t.Errorf("%+v", r.Unknown)
		}
		return r.Score
	}
	if got := check(0, "hello"); got != 0 {
		t.Errorf("the first has %v", got)
	}
	for i := range 5 {
		check(i+1, "prize")
	}
	before := check(10, "hello")
	for i := range 5 {
		changed, err := j.Teach(ctx, fmt.Appendf(nil, "From: a@example.com\nSubject: %d\n\nprize %d\n", i+1, i+1), bayes.Ham)
		mtatest.Check(t, err)
		if !changed {
			t.Error("known as ham before")
		}
	}
	if after := check(11, "hello"); before < 1 || after >= 0 {
		t.Errorf("behind spam a message has %v, behind ham %v", before, after)
	}
}
