package deliver

import (
	"context"
	"errors"
	"testing"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// A client that leaves, or a deadline that passes, at each boundary of the way to
// the commit: before it nothing is stored, after it everything stays.
func TestLateVerdicts(t *testing.T) {
	for _, where := range []string{"message stage", "deliver stage", "before the commit", "after the commit", "never"} {
		for _, what := range []string{"client", "deadline"} {
			t.Run(what+" "+where, func(t *testing.T) {
				w := newWorld(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var left error
				happen := func(here string) {
					switch {
					case here != where:
					case what == "client":
						left = errors.New("gone")
					default:
						cancel()
					}
				}
				at := func(stage string) func(*pipeline.View) pipeline.Verdict {
					return func(*pipeline.View) pipeline.Verdict { happen(stage); return pipeline.Verdict{} }
				}
				w.onMessage.set(at("message stage"))
				w.onDeliver.set(at("deliver stage"))
				reply := late(ctx, w, func() error {
					happen("before the commit")
					return left
				})
				happen("after the commit")
				w.agent.acting.Wait()
				want, n := replyQueued, 1
				switch {
				case where == "after the commit" || where == "never":
				case what == "client":
					want, n = replyGone, 0
				case where == "before the commit":
					want, n = replyLate, 0
				case reply.Temporary():
					want, n = reply, 0
				}
				expect(t, "reply", reply, want)
				for range 2 { // as it is, and after a restart
					w.until("the remote's copy", func() bool { return len(w.remote.got()) >= n })
					expect(t, "ann", len(w.box("ann")), n)
					expect(t, "remote", len(w.remote.got()), n)
					w.stop()
					w.start()
					w.quiet(0)
				}
			})
		}
	}
}

// late brings a message for ann and for another host; the filters and gone do what
// the test wants.
func late(ctx context.Context, w *world, gone func() error) smtp.Reply {
	m, err := message.Parse(message.FromBytes([]byte("Subject: x\r\n\r\nx\r\n")))
	w.must(err)
	f := w.listener.Open(pipeline.Client{Protocol: "smtp", Hostname: "here.test", Session: "s"})
	defer f.Close()
	f.Begin(message.NewID(w.clock.Now()), w.addr("s@far.test"), smtp.MailParams{})
	f.AddRcpt(pipeline.Recipient{Addr: w.addr("ann@x.test")})
	f.AddRcpt(pipeline.Recipient{Addr: w.addr("out@far.test")})
	f.SetMessage(m, nil, nil)
	if fate := f.Run(ctx, pipeline.Message); fate.Refused() {
		return fate.Reply
	}
	reply, _ := w.agent.Accept(ctx, f, gone)
	return reply
}
