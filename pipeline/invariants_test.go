//go:build invariants

package pipeline

import (
	"context"
	"sync/atomic"
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

func TestInvariants(t *testing.T) {
	mtatest.Breaks(t, "a revision was changed after it was shown", func() {
		transaction(t, with(t, nil, vandals{}).Open(Client{}), Accepted)
	})
}

// fickle declares, once it has been asked, that it reads what it said it does
// not.
type fickle struct{ asked atomic.Int32 }

func (*fickle) Stages() Stages { return At(Mail) }

func (f *fickle) Access(Stage) (reads, writes Facts) {
	if f.asked.Add(1) > 3 { // when the pipeline is made, and twice when it is asked ahead of its turn
		return AllFacts, NoFacts
	}
	return NoFacts, NoFacts
}

func (*fickle) Filter(context.Context, Stage, *View) (Verdict, error) { return Verdict{}, nil }

type tagger struct{}

func (tagger) Stages() Stages { return At(Mail) }

func (tagger) Filter(context.Context, Stage, *View) (Verdict, error) {
	return Verdict{Mods: []Modification{Tag{Name: "t"}}}, nil
}

func TestAskedTooEarly(t *testing.T) {
	mtatest.Breaks(t, "was asked too early", func() {
		transaction(t, with(t, nil, tagger{}, &fickle{}).Open(Client{}), Accepted)
	})
}
