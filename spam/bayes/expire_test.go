package bayes

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

const day = 86400

// aged makes a backup of many tokens: most of them are younger than ten days, some
// about a month, and some older.
func aged(now time.Time, young, month, old int) []byte {
	var out bytes.Buffer
	out.WriteString("v\t3\tdb_version # this must be the first line!!!\nv\t300\tnum_spam\nv\t310\tnum_nonspam\n")
	r := rand.New(rand.NewPCG(1, 2))
	write := func(n int, least, most int64) {
		for range n {
			at := now.Unix() - least*day - r.Int64N((most-least)*day)
			fmt.Fprintf(&out, "t\t%d\t%d\t%d\t%010x\n", r.IntN(20), 1+r.IntN(20), at, r.Int64N(1<<40))
		}
	}
	write(young, 0, 10)
	write(month, 28, 31)
	write(old, 33, 60)
	return out.Bytes()
}

// magic are the totals as "sa-learn --dump magic" has them.
func magic(t *testing.T, state string) Totals {
	t.Helper()
	var out Totals
	fields := map[string]*int64{"nspam": &out.Spam, "nham": &out.Ham, "ntokens": &out.Tokens, "oldest atime": &out.Oldest, "newest atime": &out.Newest,
		"last expire atime delta": &out.ExpireAge, "last expire reduction count": &out.Expired}
	for line := range strings.Lines(string(saLearn(t, state, "--dump", "magic"))) {
		value, name, _ := strings.Cut(line, "non-token data: ")
		if to := fields[strings.TrimSpace(name)]; to != nil {
			*to, _ = number([]byte(strings.Fields(value)[2]))
		}
	}
	return out
}

// TestExpiryAgainstPerl expires the same tokens here and there: first by looking for an
// age, then by what was found before.
func TestExpiryAgainstPerl(t *testing.T) {
	t.Parallel()
	now := time.Now()
	usual, sizes := [3]int{114000, 3000, 13000}, []int{150000, 135000}
	if mtatest.Race {
		usual, sizes = [3]int{101000, 0, 3500}, sizes[:1]
	}
	for name, n := range map[string][3]int{"usual": usual, "nothing old": {130000, 0, 0}} {
		if name != "usual" && !long() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			backup := aged(now, n[0], n[1], n[2])
			state, path := t.TempDir(), filepath.Join(t.TempDir(), "backup")
			mtatest.Check(t, os.WriteFile(path, backup, 0o600))
			saLearn(t, state, "--restore", path)
			mine := imported(t, backup)
			for _, most := range sizes {
				a := ask(t, "state="+state, fmt.Sprintf("text=bayes_expiry_max_db_size %d", most))
				a.Ask(t, "expire", nil)
				taken, err := Expiry{MaxTokens: float64(most), Force: true}.Expire(context.Background(), mine, now)
				mtatest.Check(t, err)
				got, want := mine.totals, magic(t, state)
				got.LastExpire = 0
				if got != want {
					t.Errorf("at most %d: %+v, want %+v", most, got, want)
				}
				t.Logf("at most %d: %d taken, %d left", most, taken, got.Tokens)
			}
			sameBackups(t, export(t, mine), saLearn(t, state, "--backup"))
		})
	}
}

// TestExpiryDue has a store that is not looked into, for one reason each.
func TestExpiryDue(t *testing.T) {
	now := time.Unix(1<<30, 0)
	full := Totals{Tokens: 160000, Oldest: now.Unix() - 90*day, Newest: now.Unix()}
	auto := Expiry{MaxTokens: 150000, Auto: true}
	for name, c := range map[string]struct {
		e    Expiry
		t    Totals
		want bool
	}{
		"due":           {auto, full, true},
		"off":           {Expiry{MaxTokens: 150000}, full, false},
		"forced":        {Expiry{Force: true}, Totals{}, true},
		"just done":     {auto, Totals{Tokens: 160000, Oldest: full.Oldest, Newest: full.Newest, LastExpire: now.Unix() - 43199}, false},
		"small":         {auto, Totals{Tokens: 149999, Oldest: full.Oldest, Newest: full.Newest}, false},
		"least":         {Expiry{MaxTokens: 10, Auto: true}, Totals{Tokens: 100000, Oldest: full.Oldest, Newest: full.Newest}, false},
		"of one day":    {auto, Totals{Tokens: 160000, Oldest: now.Unix() - 43199, Newest: now.Unix()}, false},
		"half a day on": {auto, Totals{Tokens: 160000, Oldest: now.Unix() - 43200, Newest: now.Unix()}, true},
	} {
		if got := c.e.due(c.t, now.Unix()); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestExpiryKeepsEnough: an age from the last expiry that would take too much takes nothing.
func TestExpiryKeepsEnough(t *testing.T) {
	now := time.Now()
	m := imported(t, aged(now, 99000, 0, 6000))
	m.totals.ExpireAge, m.totals.Expired, m.totals.LastExpire = 32*day, 5000, now.Unix()-day
	taken, err := Expiry{MaxTokens: 1000, Force: true}.Expire(context.Background(), m, now)
	mtatest.Check(t, err)
	if taken != 0 || m.totals.Tokens != 105000 || m.totals.ExpireAge != 0 || m.totals.LastExpire != now.Unix() {
		t.Errorf("%d taken, %+v", taken, m.totals)
	}
}

// TestExpiryNotWorthIt: fewer than a thousand tokens too many stay.
func TestExpiryNotWorthIt(t *testing.T) {
	now := time.Now()
	m := imported(t, aged(now, 100500, 0, 300))
	taken, err := Expiry{MaxTokens: 1000, Force: true}.Expire(context.Background(), m, now)
	mtatest.Check(t, err)
	if taken != 0 || m.totals.Tokens != 100800 || m.totals.LastExpire != now.Unix() {
		t.Errorf("%d taken, %+v", taken, m.totals)
	}
}
