package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// table answers from a map; a name that it has not waits until the end.
type table struct {
	answers map[string]Answer
	asked   atomic.Int32
	busy    atomic.Int32
	most    atomic.Int32
	release chan struct{}
}

func (t *table) Lookup(ctx context.Context, q Question) (Answer, error) {
	t.asked.Add(1)
	n := t.busy.Add(1)
	defer t.busy.Add(-1)
	for {
		if m := t.most.Load(); n <= m || t.most.CompareAndSwap(m, n) {
			break
		}
	}
	if t.release != nil {
		<-t.release
	}
	if a, ok := t.answers[q.Name+" "+q.Type]; ok {
		if a.Code == 2 {
			return a, errors.New("server says SERVFAIL")
		}
		return a, nil
	}
	<-ctx.Done()
	return Answer{}, ctx.Err()
}

func a(text string) Answer { return Answer{Records: []Record{{Type: "A", Text: text}}} }

// TestEachOnce: a question is asked once, whoever asks, and however it is written.
func TestEachOnce(t *testing.T) {
	r := &table{answers: map[string]Answer{"a.test A": a("127.0.0.2"), "a.test TXT": {}, "fail.test A": {Code: 2}, "none.test A": {Code: 3}}}
	i := New(t.Context(), r, Limits{})
	defer i.Close()
	for _, name := range []string{"a.test", "A.Test", "a.test."} {
		i.Open()
		if got := i.Ask(name, "a"); got.State != Pending || len(i.Wanted()) != 1 || !i.Pending(i.Wanted()) {
			t.Errorf("%s: %+v, wanted %v", name, got, i.Wanted())
		}
	}
	i.Ask("a.test", "TXT")
	i.Ask("fail.test", "A")
	i.Ask("none.test", "A")
	for i.Wait() {
	}
	if n := r.asked.Load(); n != 4 {
		t.Errorf("%d questions", n)
	}
	for _, c := range []struct{ name, want string }{{"a.test", "1 0 127.0.0.2 "}, {"fail.test", "2 2  fail.test A: server says SERVFAIL"}, {"none.test", "1 3  "}} {
		got := i.Ask(c.name, "A")
		text := ""
		if len(got.Records) > 0 {
			text = got.Records[0].Text
		}
		if s := fmt.Sprint(int(got.State), got.Code, " ", text, " ", got.Why); strings.Join(strings.Fields(s), " ") != strings.Join(strings.Fields(c.want), " ") {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

// TestShrinking: with most answers there, the rest has the shorter time.
func TestShrinking(t *testing.T) {
	r := &table{answers: map[string]Answer{}}
	for n := range 99 {
		r.answers[fmt.Sprintf("n%d.test A", n)] = a("127.0.0.2")
	}
	i := New(t.Context(), r, Limits{Timeout: Timeout{time.Hour, 10 * time.Millisecond}, Zones: map[string]Timeout{"zone.test": {time.Millisecond, time.Millisecond}}})
	defer i.Close()
	for n := range 99 {
		i.Ask(fmt.Sprintf("n%d.test", n), "A")
	}
	for len(i.pending) > 0 && i.Wait() {
	}
	i.Ask("lost.zone.test", "A")
	for i.Wait() {
	}
	if got := i.Ask("lost.zone.test", "A"); got.State != Lost || !strings.Contains(got.Why, "no answer in") {
		t.Errorf("%+v", got)
	}
	if got := i.Ask("late.test", "A"); got.State != Lost || got.Why != "the time for the DNS was over" {
		t.Errorf("%+v", got)
	}
	last := i.limits.Timeout
	i.pending[Question{"x.test", "A"}] = &asked{&Reply{}, time.Now(), last}
	i.started = 100
	if d := time.Until(i.deadline()); d > 73*time.Second || d < 70*time.Second {
		t.Errorf("99 of 100 are answered: %v are left of an hour", d)
	}
}

// TestBounds: no more questions than may be, no more at once, none that is refused, and
// none beyond the message's time.
func TestBounds(t *testing.T) {
	r := &table{answers: map[string]Answer{}, release: make(chan struct{})}
	for n := range 20 {
		r.answers[fmt.Sprintf("n%d.test A", n)] = a("127.0.0.2")
	}
	i := New(t.Context(), r, Limits{Questions: 10, Parallel: 3, Refuse: func(name string) (bool, string) {
		return strings.HasSuffix(name, ".no"), map[string]string{"why.no": "blocked"}[name]
	}})
	var states []State
	for n := range 12 {
		states = append(states, i.Ask(fmt.Sprintf("n%d.test", n), "A").State)
	}
	close(r.release)
	for i.Wait() {
	}
	if r.most.Load() > 3 || states[9] != Pending || states[10] != Lost {
		t.Errorf("%d at once, %v", r.most.Load(), states)
	}
	if got := i.Ask("x.no", "A"); got.State != Refused {
		t.Errorf("%+v", got)
	}
	if got := i.Ask("why.no", "A"); got.State != Lost || got.Why != "blocked" {
		t.Errorf("%+v", got)
	}
	i.Close()
	ctx, cancel := context.WithCancel(t.Context())
	i = New(ctx, &table{}, Limits{})
	defer i.Close()
	i.Ask("x.test", "A")
	cancel()
	for i.Wait() {
	}
	if got := i.Ask("x.test", "A"); got.State != Lost || got.Why != "the time for the message was over" {
		t.Errorf("%+v", got)
	}
}
