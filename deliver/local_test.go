package deliver

import (
	"strings"
	"testing"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// hand hands a message in, and waits until it is acted on.
func (w *world) hand(from, rcpts, body string) error {
	w.t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(body, "\n", "\r\n"))))
	w.must(err)
	l := Local{By: "userid 7", Name: "Ann (work)", Message: m}
	if from != "" {
		l.Sender = w.addr(from)
	}
	for r := range strings.FieldsSeq(rcpts) {
		l.Rcpts = append(l.Rcpts, pipeline.Recipient{Addr: w.addr(r)})
	}
	_, err = w.agent.Submit(w.t.Context(), l)
	w.agent.acting.Wait()
	return err
}

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(got, s) {
			t.Errorf("no %q in\n%s", s, got)
		}
	}
}

func TestSubmitLocal(t *testing.T) {
	w := newWorld(t)
	w.must(w.hand("ann@x.test", "bob@x.test nobody@x.test", "Subject: s\nBcc: secret@x.test\nReturn-Path: <x@y>\n\nbody\n"))
	got := strings.Join(w.box("bob"), "")
	contains(t, got, "Received: by here.test (mtad, from userid 7)\n\tid ", "@here.test>\nDate: ", "From: \"Ann (work)\" <ann@x.test>\nSubject: s\n\nbody\n")
	if strings.Contains(got, "secret") || strings.Contains(got, "x@y") {
		t.Errorf("private fields are left:\n%s", got)
	}
	contains(t, strings.Join(w.box("ann"), ""), "<nobody@x.test>", "550 5.1.1", "Subject: Undelivered mail")
}

// Where all recipients are nobody the program is not told, the sender is.
func TestSubmitLocalToNobody(t *testing.T) {
	w := newWorld(t)
	w.must(w.hand("ann@x.test", "nobody@x.test", "From: me\nDate: now\nMessage-ID: <1@x>\n\n"))
	bounce := strings.Join(w.box("ann"), "")
	contains(t, bounce, "550 5.1.1", "From: me\nDate: now\nMessage-ID: <1@x>\n")
	if err := w.hand("", "nobody@x.test", "\n"); err == nil || PutOff(err) {
		t.Errorf("nobody to tell: %v", err)
	}
}

func TestSubmitLocalResent(t *testing.T) {
	w := newWorld(t)
	w.must(w.hand("ann@x.test", "bob@x.test", "From: x\nResent-To: bob\nDate: then\n\n"))
	contains(t, strings.Join(w.box("bob"), ""), "\nResent-Message-ID: ", "\nResent-Date: ", "\nResent-From: \"Ann", "\nFrom: x\n", "\nDate: then\n")
}

// What a filter refuses comes back by mail; what it puts off is tried again by who
// handed it in.
func TestSubmitLocalRefused(t *testing.T) {
	w := newWorld(t)
	reply := smtp.NewReply(550, 7, 1, "not with me")
	w.onMade.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Client().Listener == "" {
			return pipeline.Verdict{}
		}
		return pipeline.Verdict{Action: pipeline.Reject, Reply: reply}
	})
	w.must(w.hand("ann@x.test", "bob@x.test", "\n"))
	contains(t, strings.Join(w.box("ann"), ""), "550 5.7.1 not with me")
	reply = smtp.NewReply(451, 7, 1, "later")
	w.onMade.set(func(*pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Action: pipeline.TempFail, Reply: reply}
	})
	if err := w.hand("ann@x.test", "bob@x.test", "\n"); !PutOff(err) {
		t.Errorf("got %v", err)
	}
	if got := w.box("bob"); len(got) > 0 {
		t.Errorf("%s", got)
	}
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	w.must(w.agent.Verify(t.Context(), w.addr("ann@x.test"), []smtp.Address{w.addr("bob@x.test"), w.addr("nobody@x.test"), w.addr("z@far.test")}))
	w.agent.acting.Wait()
	contains(t, strings.Join(w.box("ann"), ""), "Subject: Mail delivery status report", "delivers to mailbox bob@x.test",
		"Final-Recipient: rfc822; nobody@x.test\nAction: undeliverable\nStatus: 5.1.1\n", "Final-Recipient: rfc822; z@far.test\nAction: deliverable\nStatus: 2.0.0\n")
	if got := w.box("bob"); len(got) > 0 {
		t.Errorf("%s", got)
	}
}
