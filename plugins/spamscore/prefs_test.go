package spamscore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
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

// late is a filter whose time was over.
type late struct{}

func (late) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (late) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.AddScore{Name: "A", Points: 2}, pipeline.AddScore{Name: "TIME_LIMIT_EXCEEDED", Points: 3}}}, nil
}

// What a message got because the time was over, a recipient's own check, which has time, takes
// back; one that has none takes nothing back.
func TestLateIsCorrected(t *testing.T) {
	p, err := pipeline.New("p", []*pipeline.Step{{Name: "late", Filter: late{}, OnError: pipeline.TempFail}}, pipeline.Env{})
	mtatest.Check(t, err)
	flow := p.Open(pipeline.Client{Hostname: "mx.test"})
	defer flow.Close()
	flow.Begin(1, smtp.Address{Local: "a", Domain: "example.com"}, smtp.MailParams{})
	m, err := message.Parse(message.FromBytes([]byte("Subject: a\r\n\r\n")))
	mtatest.Check(t, err)
	flow.SetMessage(m, nil, nil)
	flow.Run(t.Context(), pipeline.Message)
	for setting, want := range map[string]string{"": "[add-score A -2.0 \"not by the recipient's rules\" add-score TIME_LIMIT_EXCEEDED -3.0 \"not by the recipient's rules\"]", "time_limit 0.000000001\n": "[]"} {
		e := spam.New(conf.Parse("rules", setting+"score TIME_LIMIT_EXCEEDED 3\nbody A /aaa/\n", conf.Options{}), spam.Options{})
		r := e.Check(t.Context(), []byte("Subject: a\n\n"), spam.Facts{})
		if got := fmt.Sprint(corrections(flow.View(), e, r)); got != want {
			t.Errorf("%q: %s, want %s", setting, got, want)
		}
	}
}
