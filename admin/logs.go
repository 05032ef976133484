package admin

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"mtad/pipeline"
	"mtad/trace/report"
)

// LogLine is a line of the server's log, in the form that the log has.
type LogLine struct {
	Seq   uint64    `json:"seq"` // of the line since the server began, from 1
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
}

// Log is what the server keeps of its log in memory, and where the rest is.
type Log struct {
	To    string    `json:"to"` // log_to: stderr, syslog, syslog:/path
	Lines []LogLine `json:"lines"`
}

func (s *Server) log(_ context.Context, q url.Values) (Log, error) {
	after, err := strconv.ParseUint(q.Get("after"), 10, 64)
	if err != nil {
		return Log{}, &Error{Usage, "after: want the number of a line"}
	}
	if s.cfg.LogLines == nil {
		return Log{Lines: []LogLine{}}, nil
	}
	to, lines := s.cfg.LogLines(after)
	return Log{to, empty(lines)}, nil
}

// LogLines reads the server's log behind a line; behind 0 is all that is kept.
func (c *Client) LogLines(ctx context.Context, after uint64) (Log, error) {
	return read[Log](ctx, c, "/v1/log", url.Values{"after": {strconv.FormatUint(after, 10)}})
}

// reportTime is how long counting may take: a report that is not done says so.
const reportTime = callTime - 10*time.Second

// maxTop is how long the lists of a report may be.
const maxTop = 1000

func (s *Server) report(ctx context.Context, q url.Values) (*report.Report, error) {
	var from, to time.Time
	top, err := strconv.Atoi(q.Get("top"))
	if err := errors.Join(err, from.UnmarshalText([]byte(q.Get("from"))), to.UnmarshalText([]byte(q.Get("to")))); err != nil || top < 1 || top > maxTop {
		return nil, &Error{Usage, "want from and to as in RFC 3339, and top from 1 to " + strconv.Itoa(maxTop)}
	}
	until, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	full, err := s.cfg.Traces.Full(until)
	if err != nil {
		return nil, err
	}
	counter := report.New(report.Options{From: from, To: to, Top: top, Full: full})
	err = s.cfg.Traces.Each(until, from, func(t pipeline.Trace) error {
		counter.Add(t)
		return nil
	})
	late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	if err != nil && !late {
		return nil, err
	}
	r := counter.Report()
	if late {
		r.Partial = "counting took too long; ask for a shorter time"
	}
	return r, s.lookAround(ctx, r)
}

// lookAround adds what needs attention now, whatever the time of the report.
func (s *Server) lookAround(ctx context.Context, r *report.Report) error {
	all, held, err := s.cfg.Queue.Count(ctx)
	if err != nil {
		return err
	}
	if held > 0 {
		r.Look("mtad queue list --status held", "mail for %s is held", report.Recipients(int64(held)))
	}
	if waiting := all - held; waiting > 0 {
		r.Look("mtad queue shape", "mail for %s waits in the queue", report.Recipients(int64(waiting)))
	}
	for _, st := range s.cfg.Steps() {
		if st.BreakerOpen {
			r.Look("mtad status", "filter %s is not asked any more: it failed too often", st.Step)
		}
	}
	if n := s.cfg.Traces.Stats().Dropped; n > 0 {
		r.Look("", "%d traces were lost since the server began: this report counts too little", n)
	}
	return nil
}

// Report counts what happened from one time to before another; top is how long
// its lists get.
func (c *Client) Report(ctx context.Context, from, to time.Time, top int) (*report.Report, error) {
	return read[*report.Report](ctx, c, "/v1/report", url.Values{
		"from": {from.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}, "top": {strconv.Itoa(top)},
	})
}
