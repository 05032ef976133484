package pipeline

import "time"

// Turn is a step's part in a stage, as it is known before there is a message.
type Turn struct {
	Step          *Step
	Reads, Writes Facts
	Later         bool          // its sessions say more: a milter negotiates; until then it is all
	With          *Step         // the one during whose call it may begin; itself: it waits for its turn
	Worst         time.Duration // when it has answered, if each step takes all of its time
}

// Plan is who is asked at a stage, in order, and who of them together.
func (p *Pipeline) Plan(s Stage) []Turn {
	var turns []Turn
	for _, st := range p.steps {
		if st.Mode == Off || !st.Stages().Has(s) {
			continue
		}
		t := Turn{Step: st, With: st}
		t.Reads, t.Writes = st.Access(s)
		if _, opens := st.Filter.(Opener); opens && (s == Message || !st.retracts()) {
			t.Reads, t.Writes, t.Later = AllFacts, AllFacts, true
		}
		turns = append(turns, t)
	}
	for j := range turns {
		turns[j].place(s, turns[:j])
	}
	return turns
}

// place finds the earliest call that the step may begin with, and the worst time
// that follows from it.
func (t *Turn) place(s Stage, before []Turn) {
	var begin, turn time.Duration // its own, and that of the step before it
	if n := len(before); n > 0 {
		turn = before[n-1].Worst
	}
	begin = turn
	written := NoFacts
	for i := len(before) - 1; i >= 0 && t.Step.mayBeEarly(s) && !t.Later; i-- {
		if written |= before[i].Writes; written&t.Reads != 0 {
			break
		}
		t.With, begin = before[i].Step, 0
		if i > 0 {
			begin = before[i-1].Worst
		}
	}
	t.Worst = max(turn, begin+t.Step.TimeoutAt(s))
}
