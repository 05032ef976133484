package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"mtad/config"
	"mtad/dns"
	"mtad/smtp"
)

// asker says at each stage what it will ask.
type asker struct {
	names map[Stage][]string
	block chan struct{} // holds its call
}

func (a *asker) Stages() Stages { return At(Mail) }

func (*asker) Access(Stage) (reads, writes Facts) { return Envelope, Scores }

func (a *asker) Filter(ctx context.Context, _ Stage, _ *View) (Verdict, error) {
	if a.block != nil {
		select {
		case <-a.block:
		case <-ctx.Done():
		}
	}
	return Verdict{}, nil
}

func (a *asker) Prefetch(s Stage, v *View) (out []dns.Question) {
	for _, n := range a.names[s] {
		if n == "panic" {
			panic("on purpose")
		}
		out = append(out, dns.Question{Name: n + v.Sender().Domain, Type: dns.TXT})
	}
	return out
}

// inTurn is an asker that can not be asked ahead.
type inTurn struct{ *asker }

func (inTurn) Access(Stage) (reads, writes Facts) { return AllFacts, Effects }

// silence is a resolver that comes back when its caller gives up.
type silence struct {
	mu    sync.Mutex
	asked []string
	came  chan struct{}
	left  chan struct{}
}

func (r *silence) Lookup(ctx context.Context, name string, _ dns.Type) (dns.Answer, error) {
	r.mu.Lock()
	r.asked = append(r.asked, name)
	r.mu.Unlock()
	r.came <- struct{}{}
	<-ctx.Done()
	r.left <- struct{}{}
	return dns.Answer{}, ctx.Err()
}

// await returns the next n questions.
func (r *silence) await(n int) []string {
	for range n {
		<-r.came
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.asked
	r.asked = nil
	slices.Sort(out)
	return out
}

func prefetching(t *testing.T, steps ...*Step) (*Flow, *silence) {
	t.Helper()
	for i, st := range steps {
		st.Name, st.OnError = fmt.Sprint(i), TempFail
	}
	r := &silence{came: make(chan struct{}, 1000), left: make(chan struct{}, 1000)}
	p, err := New("p", steps, Env{DNS: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Open(Client{}), r
}

// TestPrefetch checks that what a step will ask is asked when it is known, that it
// is not asked where the step itself is at it, and that it ends with the session.
func TestPrefetch(t *testing.T) {
	names := map[Stage][]string{Connect: {"early."}, Mail: {"late."}}
	wall := &asker{block: make(chan struct{})}
	flow, r := prefetching(t, &Step{Filter: &asker{names: names}}, &Step{Filter: wall}, &Step{Filter: inTurn{&asker{names: names}}})
	ctx := context.Background()
	flow.Run(ctx, Connect)
	if got := r.await(2); fmt.Sprint(got) != "[early. early.]" {
		t.Errorf("at Connect: %v", got)
	}
	flow.Begin(1, smtp.Address{Local: "a", Domain: "example.org"}, smtp.MailParams{})
	done := make(chan Fate)
	go func() { done <- flow.Run(ctx, Mail) }()
	if got := r.await(1); fmt.Sprint(got) != "[late.example.org]" {
		t.Errorf("at Mail: %v", got)
	}
	close(wall.block)
	if fate := <-done; fate.Action != Continue || flow.prefetched != 3 {
		t.Error(fate, flow.prefetched)
	}
	flow.Close()
	for range 3 {
		<-r.left
	}
}

func TestPrefetchIsBounded(t *testing.T) {
	var many []string
	for i := range 3 * maxPrefetch {
		many = append(many, fmt.Sprint("n", i, "."))
	}
	flow, r := prefetching(t, &Step{Filter: &asker{names: map[Stage][]string{Connect: {"panic"}}}},
		&Step{Filter: &asker{names: map[Stage][]string{Connect: many}}})
	ctx, flows := context.Background(), []*Flow{flow}
	for range 3 {
		flows = append(flows, flow.Pipeline().Open(Client{}))
	}
	sum := 0
	for _, f := range flows {
		f.Run(ctx, Connect)
		if sum += f.prefetched; f.prefetched > maxPrefetch {
			t.Errorf("%d questions of one flow", f.prefetched)
		}
	}
	if sum != maxPrefetchBusy {
		t.Errorf("%d questions at once", sum)
	}
	for _, f := range flows {
		f.Close()
	}
	for range sum {
		<-r.left
	}
}

// TestPrefetchCondition checks that nothing is asked for a step whose condition
// does not hold, or is not known to, or that is off.
func TestPrefetchCondition(t *testing.T) {
	for cond, want := range map[string]int{"score > 3": 0, `client.protocol == "lmtp"`: 0, `client.protocol == ""`: 1, "": 1, "off": 0} {
		st := &Step{Filter: &asker{names: map[Stage][]string{Connect: {"x."}}}}
		switch cond {
		case "":
		case "off":
			st.Mode = Off
		default:
			when, diags := config.ParseWhen(cond)
			if diags != nil {
				t.Fatal(diags)
			}
			if st.When, diags = config.CompileWhen(when, Variables()); diags != nil {
				t.Fatal(diags)
			}
		}
		flow, _ := prefetching(t, st)
		flow.Run(context.Background(), Connect)
		if flow.prefetched != want {
			t.Errorf("%s: %d questions, want %d", cond, flow.prefetched, want)
		}
		flow.Close()
	}
}
