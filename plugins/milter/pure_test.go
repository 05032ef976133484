package milter

import (
	"context"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/internal/e2e/milterkit"
	"mtad/pipeline"
)

// meeting is a filter in front of a milter's: it answers only once another call
// has come, or its deadline.
type meeting struct {
	*filter
	mu   *sync.Mutex
	here *int
	all  chan struct{}
}

func (m meeting) Open(ctx context.Context, v *pipeline.View) (pipeline.Session, error) {
	s, err := m.filter.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	return meetingSession{s.(*session), m}, nil
}

type meetingSession struct {
	*session
	m meeting
}

func (s meetingSession) Filter(ctx context.Context, stage pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	if stage == pipeline.Message {
		s.m.mu.Lock()
		if *s.m.here++; *s.m.here == 3 {
			close(s.m.all)
		}
		s.m.mu.Unlock()
		select {
		case <-s.m.all:
		case <-ctx.Done():
			return pipeline.Verdict{}, ctx.Err()
		}
	}
	return s.session.Filter(ctx, stage, v)
}

// TestPure checks that milters which only judge have a message at the same time,
// and that one which may do more, or edits what the next one sees, has not.
func TestPure(t *testing.T) {
	for name, c := range map[string]struct {
		option   string
		actions  gomilter.OptAction
		together bool
	}{
		"pure":                 {"pure = true", 0, true},
		"not pure":             {"pure = false", 0, false},
		"pure, but they edit":  {"pure = true", gomilter.OptAddHeader, false},
		"pure, and quarantine": {"pure = true", gomilter.OptQuarantine, false},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			here, all := 0, make(chan struct{})
			var steps []*pipeline.Step
			for i := range 3 {
				fake := milterkit.NewMilter(t, milterkit.Terms{Version: 6, Actions: c.actions})
				st := step(meeting{newTestFilter(t, configFor(fake)+"\n"+c.option), &mu, &here, all})
				st.Name += string(rune('0' + i))
				st.Timeout = 20 * time.Second
				if !c.together {
					st.Timeout, st.OnError = 300*time.Millisecond, pipeline.Continue
				}
				steps = append(steps, st)
			}
			r := drive(t, newTestPipeline(t, steps...), mail{client: testClient, from: "a@example.net", to: []string{"b@example.org"}, data: "Subject: a\r\n\r\nbody\r\n"})
			faults := 0
			for _, e := range r.trace.Events {
				if e.Err != "" {
					faults++
				}
			}
			if met := faults == 0; met != c.together {
				t.Errorf("together %v, want %v\n%s", met, c.together, explain(r.trace))
			}
		})
	}
}
