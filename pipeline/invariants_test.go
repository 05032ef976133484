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

func TestInvariants(t *testing.T) {
	mtatest.Breaks(t, "a revision was changed after it was shown", func() {
		transaction(t, with(t, nil, vandals{}).Open(Client{}), Accepted)
	})
}
