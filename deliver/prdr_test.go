package deliver

import (
	"testing"

	"mtad/pipeline"
	"mtad/smtp"
)

func prdr(c *pipeline.Client, p *smtp.MailParams, _ *smtp.RcptParams) { p.PRDR = true }

// Where each recipient is answered, the client is told who refused, and nobody
// else is: no report, nothing held. A member of an alias that refuses never
// refuses the alias.
func TestAnsweredEach(t *testing.T) {
	w := newWorld(t)
	w.must(w.dir.AddAlias(t.Context(), "both@x.test", "ann@x.test"))
	w.must(w.dir.AddAlias(t.Context(), "both@x.test", "cid@x.test"))
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local == "ann" {
			return pipeline.Verdict{Action: pipeline.Reject, Reply: smtp.NewReply(550, 7, 1, "no")}
		}
		return pipeline.Verdict{}
	})
	for _, who := range []func(*pipeline.Client, *smtp.MailParams, *smtp.RcptParams){nothing, proved} {
		r := w.send("s@far.test", "ann@x.test bob@x.test both@x.test", hello, prdr, who)
		if r.Code != 250 || len(w.each) != 1 || w.each[1].Text != "no" {
			t.Errorf("%v, %v", r, w.each)
		}
	}
	w.quiet(0)
	expect(t, "bob", len(w.box("bob")), 2)
	expect(t, "cid", len(w.box("cid")), 2)

	r := w.send("s@far.test", "ann@x.test", hello, prdr)
	if r.Code != 550 || r.Text != "no" {
		t.Errorf("all refuse: %v", r)
	}
	w.send("s@far.test", "bob@x.test cid@x.test", hello, prdr)
	expect(t, "refused", len(w.each), 0)
	r = w.send("s@far.test", "both@x.test bob@x.test", hello, prdr)
	if r.Code != 250 || len(w.each) != 0 {
		t.Errorf("a member of an alias: %v, %v", r, w.each)
	}
	w.quiet(1) // nobody has proved to be the sender: the member's copy is held
}

func nothing(*pipeline.Client, *smtp.MailParams, *smtp.RcptParams) {}
