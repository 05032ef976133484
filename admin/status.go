package admin

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"mtad/pipeline"
)

func (s *Server) status(ctx context.Context, _ url.Values) (Status, error) {
	all, held, err := s.cfg.Queue.Count(ctx)
	if err != nil {
		return Status{}, err
	}
	records, octets := s.cfg.DB.Journal().Outstanding()
	st := Status{
		Info: s.cfg.Info, Listeners: empty(s.cfg.Listeners()),
		Queue: QueueStatus{all, held}, Journal: JournalStatus{records, octets},
		Traces: s.cfg.Traces.Stats(), Steps: []Step{},
	}
	for _, one := range s.cfg.Steps() {
		st.Steps = append(st.Steps, stepOf(one))
	}
	slices.SortStableFunc(st.Steps, func(a, b Step) int { return cmp.Compare(a.Pipeline, b.Pipeline) })
	return st, nil
}

func stepOf(st pipeline.Stats) Step {
	out := Step{
		Pipeline: st.Pipeline, Step: st.Step, Kind: st.Kind, Actions: map[string]int64{},
		Faults: st.Faults, Skipped: st.Skipped, BreakerOpen: st.BreakerOpen,
	}
	for _, n := range st.Took {
		out.Calls += n
	}
	for a, n := range st.Actions {
		out.Actions[a.String()] = n
	}
	if out.Calls > 0 {
		out.Mean = st.Total / time.Duration(out.Calls)
	}
	return out
}

func (s *Server) reload(ctx context.Context, _ none) (Reloaded, error) {
	restart, err := s.cfg.Reload(ctx)
	return Reloaded{empty(restart)}, err
}

func (s *Server) stop(context.Context, none) (Info, error) {
	s.cfg.Stop()
	return s.cfg.Info, nil
}
