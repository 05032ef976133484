//go:build invariants

package pipeline

import (
	"context"
	"testing"

	"mtad/internal/mtatest"
)

// vandal is an edit that changes what it was to change a copy of.
type vandal struct{ Tag }

func (vandal) apply(s *state) error { s.env.Hold = "held by nobody"; return nil }

type vandals struct{}

func (vandals) Stages() Stages { return At(Mail) }

func (vandals) Filter(context.Context, Stage, *View) (Verdict, error) {
	return Verdict{Mods: []Modification{vandal{}}}, nil
}

// idle declares that it reads the scores.
type idle struct{ vandals }

func (idle) Access(Stage) (reads, writes Facts) { return Scores, 0 }

func TestInvariants(t *testing.T) {
	mtatest.Breaks(t, "a revision was changed after it was shown", func() {
		transaction(t, with(t, nil, vandals{}).Open(Client{}), Accepted)
	})
	p := with(t, nil, idle{})
	f := p.Open(Client{})
	c := &pending{view: f.View(), reads: Scores}
	f.state = f.state.edit()
	f.state.tags = append(f.state.tags, Tagged{Name: "not read"})
	f.foreseen(p.steps[0], c)
	f.state.scores = append(f.state.scores, Score{Points: 1})
	mtatest.Breaks(t, "s0 was asked before its turn", func() { f.foreseen(p.steps[0], c) })
}
