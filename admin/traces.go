package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/trace"
)

func traceOf(t pipeline.Trace) Trace { return Trace{t.ID.String(), t.Events} }

// parseID reads the argument "id".
func parseID(q url.Values) (message.ID, error) {
	id, err := message.ParseID(q.Get("id"))
	if err != nil {
		return 0, &Error{Usage, err.Error()}
	}
	return id, nil
}

func (s *Server) lastTraces(ctx context.Context, q url.Values) ([]Trace, error) {
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n < 1 || n > trace.MaxLast {
		return nil, &Error{Usage, "how many traces? from 1 to " + strconv.Itoa(trace.MaxLast)}
	}
	found, err := s.cfg.Traces.Last(ctx, n)
	if err != nil {
		return nil, err
	}
	out := []Trace{}
	for _, t := range found {
		out = append(out, traceOf(t))
	}
	return out, nil
}

func (s *Server) oneTrace(ctx context.Context, q url.Values) (Trace, error) {
	id, err := parseID(q)
	if err != nil {
		return Trace{}, err
	}
	t, err := s.cfg.Traces.Get(ctx, id)
	if errors.Is(err, trace.ErrNone) {
		return Trace{}, &Error{No, "nothing is known of " + id.String() + ": it was never here, or so long ago that its trace is forgotten"}
	}
	return traceOf(t), err
}

// liveTraces writes each trace as it comes, a JSON object a line, until the
// caller leaves.
func (s *Server) liveTraces(w http.ResponseWriter, r *http.Request) error {
	traces, cancel := s.cfg.Traces.Subscribe()
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	rc, enc := http.NewResponseController(w), json.NewEncoder(w)
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.Flush()); err != nil {
		return nil // the caller has left
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-s.live.Done():
			return nil
		case t, ok := <-traces:
			if !ok || rc.SetWriteDeadline(time.Now().Add(writeTime)) != nil {
				return nil
			}
			if errors.Join(enc.Encode(traceOf(t)), rc.Flush()) != nil {
				return nil
			}
		}
	}
}
