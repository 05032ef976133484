package pipeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// declared is a filter with the same Access at every stage.
type declared struct{ reads, writes Facts }

func (declared) Stages() Stages                       { return At(Message) }
func (d declared) Access(Stage) (reads, writes Facts) { return d.reads, d.writes }
func (declared) Filter(context.Context, Stage, *View) (Verdict, error) {
	return Verdict{}, nil
}

// TestPlan checks who may begin with whom, and when the last has answered.
func TestPlan(t *testing.T) {
	all := declared{AllFacts, AllFacts}
	judge := declared{Header | Body, Scores}
	sum := declared{Scores, Tags}
	for _, c := range []struct {
		filters []declared
		want    string
	}{
		{[]declared{all, all}, "0 1s, 1 2s"},
		{[]declared{judge, judge, judge}, "0 1s, 0 1s, 0 1s"},
		{[]declared{judge, judge, sum}, "0 1s, 0 1s, 2 2s"},
		{[]declared{all, judge, judge, sum, judge}, "0 1s, 1 2s, 1 2s, 3 3s, 1 3s"},
		{[]declared{judge, {Header, Effects}, judge}, "0 1s, 1 2s, 0 2s"},
		{[]declared{judge, {Header, Header}, judge}, "0 1s, 0 1s, 2 2s"},
		{[]declared{all, {NoFacts, Scores}}, "0 1s, 0 1s"},
	} {
		var steps []*Step
		for i, f := range c.filters {
			steps = append(steps, &Step{Name: fmt.Sprint(i), Filter: f, Timeout: time.Second, OnError: TempFail})
		}
		p, err := New("p", steps, Env{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, turn := range p.Plan(Message) {
			got = append(got, turn.With.Name+" "+turn.Worst.String())
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%v: %s, want %s", c.filters, s, c.want)
		}
		p.Close()
	}
}
