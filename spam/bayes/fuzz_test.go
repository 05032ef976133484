package bayes

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/spamtest"
)

// plain are settings without any file.
func plain(t testing.TB) *Settings {
	t.Helper()
	r, err := conf.Load(nil, conf.Options{Local: true})
	mtatest.Check(t, err)
	return NewSettings(r)
}

// FuzzTokens: any message makes tokens, each once, of a bounded length, and always the same.
func FuzzTokens(f *testing.F) {
	s := plain(f)
	s.source("all")
	for _, m := range append(spamtest.Corpus(1, 20), odd(20)...) {
		f.Add(m.Text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		make := func() []Token {
			m := mail.Parse(text, mail.Limits{Body: 50000, RawBody: 500000})
			in := s.Input(m)
			in.URIs = []string{string(text), "http://" + m.Header("subject")}
			in.HTMLURIs = []string{string(text), m.Header("to")}
			in.Metadata = []Metadata{{"x-spam-relays-trusted", m.Header("received")}}
			in.Addresses = func(v string) []Address { return []Address{{v, v}, {m.Header("to"), "a@" + v}} }
			MessageIDs(m)
			return s.Tokens(in)
		}
		tokens := make()
		seen := map[Hash]bool{}
		for _, k := range tokens {
			if seen[k.Hash] || k.Text == "" || len(k.Text) < maxKept && HashOf([]byte(k.Text)) != k.Hash {
				t.Errorf("%q (%s) is there twice, empty, or not what its hash says", k.Text, k.Hash)
			}
			seen[k.Hash] = true
		}
		if !slices.Equal(tokens, make()) {
			t.Error("the same message makes other tokens")
		}
	})
}

// FuzzBackup: what is read of a backup, and written, is read again as the same.
func FuzzBackup(f *testing.F) {
	f.Add([]byte("v\t3\tdb_version # this must be the first line!!!\nv\t2\tnum_spam\nv\t1\tnum_nonspam\nt\t1\t0\t100\t0123456789\ns\th\tid@host\n"))
	f.Add([]byte("v 2 db_version\nv 2 num_spam\nv 1 num_nonspam\nt 1 2 100 word\nt 1 2 99999999999 word\ns s <a b>\nx\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ctx, now := context.Background(), time.Unix(1e9, 0)
		m := NewMemory()
		if _, err := Import(ctx, m, bytes.NewReader(text), now, true); err != nil {
			if len(m.tokens)+len(m.seen) > 0 || m.totals != (Totals{}) {
				t.Errorf("a backup that can not be read (%v) has changed the store", err)
			}
			return
		}
		first := export(t, m)
		second := NewMemory()
		done, err := Import(ctx, second, bytes.NewReader(first), now, true)
		if err != nil || done.Skipped > 0 || second.totals != m.totals {
			t.Errorf("%v, %+v, %+v, want %+v: %q", err, done, second.totals, m.totals, first)
		}
		if a, b := sorted(first), sorted(export(t, second)); a != b {
			t.Errorf("%q is written again as %q", a, b)
		}
	})
}

func sorted(b []byte) string {
	l := strings.Split(string(b), "\n")
	sort.Strings(l)
	return strings.Join(l, "\n")
}
