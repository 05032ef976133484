package spamscore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/smtp"
	"mtad/spam"
	"mtad/spam/conf"
)

// many are accounts that all have preferences.
type many struct{ text, version string }

func (m *many) Preferences(context.Context, smtp.Address) (text, version string, ok bool, err error) {
	return m.text, m.version, true, nil
}

// Engines of accounts are kept as long as there is room, those that were asked last.
func TestPreferencesAreKept(t *testing.T) {
	base := spam.New(conf.Parse("rules", "body A /aaa/\n", conf.Options{}), spam.Options{})
	users := &many{"required_score 3\n" + strings.Repeat("# a comment\n", 2000), "1"}
	p := &prefs{users: users}
	engine := func(i int) *spam.Engine {
		t.Helper()
		mailbox, err := smtp.ParseAddress(fmt.Sprintf("user%d@example.org", i))
		mtatest.Check(t, err)
		e, ok, err := p.engine(t.Context(), base, mailbox)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		return e
	}
	first, second := engine(0), engine(1)
	if engine(0) != first {
		t.Error("made anew")
	}
	n := 2
	for p.size+users.size() <= maxPrefs {
		engine(n)
		n++
	}
	if n < 300 || engine(0) != first {
		t.Errorf("%d are kept", n)
	}
	engine(n)
	if p.size > maxPrefs || len(p.kept) != n || p.order.Len() != n {
		t.Errorf("%d octets, %d and %d of %d are kept", p.size, len(p.kept), p.order.Len(), n)
	}
	if engine(0) != first || engine(1) == second {
		t.Error("not the one that was asked last is kept")
	}
	users.version = "2"
	if engine(0) == first || len(p.kept) != n {
		t.Error("after a change")
	}
}

func (m *many) size() int { return len(m.text) + 4<<10 }
