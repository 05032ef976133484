package dns

import (
	"context"
	"sync"
)

// Asked is one question and what came back.
type Asked struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Answers []string `json:"answers,omitempty"`
	More    int      `json:"more,omitempty"` // answers that were not kept
	Err     string   `json:"err,omitempty"`
}

// Bounds of what a Recorder keeps: questions, answers of each, and octets of each of
// these.
const (
	maxAsked   = 100
	maxAnswers = 20
	maxText    = 1024
)

// Recorder remembers what was asked under a context, so that a session can be
// explained. It keeps the first 100 questions, and of each the first 20 answers. It
// may be used by several goroutines.
type Recorder struct {
	mu    sync.Mutex
	asked []Asked
}

// Asked returns what was asked so far, in the order the answers came.
func (r *Recorder) Asked() []Asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[:len(r.asked):len(r.asked)]
}

func (r *Recorder) add(name string, t Type, ans Answer, err error) {
	a := Asked{Name: canonical(name), Type: t.String()}
	for i, rec := range ans.Records {
		if i == maxAnswers {
			a.More = len(ans.Records) - i
			break
		}
		text := rec.Text
		if len(text) > maxText {
			text = text[:maxText] + "..."
		}
		a.Answers = append(a.Answers, text)
	}
	if err != nil {
		a.Err = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) < maxAsked {
		r.asked = append(r.asked, a)
	}
}

type recorderKey struct{}

// WithRecorder returns a context under which a Recorded resolver tells r what it
// is asked.
func WithRecorder(ctx context.Context, r *Recorder) context.Context {
	return context.WithValue(ctx, recorderKey{}, r)
}

// Recorded is a Resolver that asks another and tells the context's Recorder, if
// it has one.
type Recorded struct{ Resolver Resolver }

// Lookup asks and records.
func (d Recorded) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	ans, err := d.Resolver.Lookup(ctx, name, t)
	if r, ok := ctx.Value(recorderKey{}).(*Recorder); ok {
		r.add(name, t, ans, err)
	}
	return ans, err
}
