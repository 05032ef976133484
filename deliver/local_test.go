package deliver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// hand hands a message in, and waits until it is acted on.
func (w *world) hand(from, rcpts, body string) error {
	w.t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(body, "\n", "\r\n"))))
	w.must(err)
	w.handings++
	l := Local{Key: fmt.Sprint("7.", w.handings), By: "userid 7", Name: "Ann (work)", Message: m}
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

// What is handed in under a key is taken once: beside itself, after its answer, after a
// crash before its key was kept, and after it was refused.
func TestHandedOnce(t *testing.T) {
	w := newWorld(t)
	w.must(w.hand("ann@x.test", "bob@x.test", "\n"))
	send := func(to string) (message.ID, error) {
		return w.agent.Once(t.Context(), "7.key", func() (message.ID, error) {
			m, err := message.Parse(message.FromBytes([]byte("\r\n")))
			w.must(err)
			if _, err := w.agent.Once(t.Context(), "7.key", nil); !errors.Is(err, errBeingTaken) || !PutOff(err) {
				t.Errorf("while it is being taken: %v", err)
			}
			return w.agent.Submit(t.Context(), Local{Key: "7.key", Sender: w.addr("ann@x.test"), Message: m, Rcpts: []pipeline.Recipient{{Addr: w.addr(to)}}})
		})
	}
	if _, err := w.agent.Once(t.Context(), "7.key", func() (message.ID, error) { return 0, errNotNow }); !errors.Is(err, errNotNow) {
		t.Error(err)
	}
	first, err := send("bob@x.test")
	w.must(err)
	w.agent.acting.Wait()
	for range 2 {
		again, err := send("bob@x.test")
		if err != nil || again != first {
			t.Errorf("%v, %v, was %v", again, err, first)
		}
		w.stop()
		w.start()
	}
	if n := len(w.box("bob")); n != 2 {
		t.Errorf("bob has %d", n)
	}
	// The transaction that acts on it keeps the key, too.
	state, err := w.dir.State("handed in")
	w.must(err)
	w.must(state.Delete(t.Context(), "7.1"))
	w.must(state.Delete(t.Context(), "7.key"))
	m, err := message.Parse(message.FromBytes([]byte("\r\n")))
	w.must(err)
	id, err := w.agent.Submit(t.Context(), Local{Key: "7.key", Sender: w.addr("ann@x.test"), Message: m, Rcpts: []pipeline.Recipient{{Addr: w.addr("bob@x.test")}}})
	w.must(err)
	w.agent.acting.Wait()
	if again, err := send("bob@x.test"); again != id || err != nil {
		t.Errorf("%v, %v, was %v", again, err, id)
	}
}

// A name can neither begin a field nor leave the phrase.
func TestPhrase(t *testing.T) {
	for name, want := range map[string]string{
		"": "ann@x.test", "Ann": "Ann <ann@x.test>", `A "x" <b@c>, d`: `"A \"x\" <b@c>, d" <ann@x.test>`, "Jörg, x": "=?utf-8?b?SsO2cmcsIHg=?= <ann@x.test>",
		"a\r\nBcc: b@c\r\n\r\nx": "\"a\r\nBcc: b@c\r\n\r\nx\" <ann@x.test>",
	} {
		l := Local{Name: name, Sender: smtp.Address{Local: "ann", Domain: "x.test"}}
		if got := l.author("here.test"); got != want {
			t.Errorf("%q: %q", name, got)
		}
		m, err := message.Parse(message.FromBytes([]byte("\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		l.Message = m
		if fields := l.complete(1, "here.test", time.Now()).Header().Fields(); len(fields) != 4 {
			t.Errorf("%q: %d fields", name, len(fields))
		}
	}
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	w.must(w.agent.Verify(t.Context(), w.addr("ann@x.test"), []smtp.Address{w.addr("bob@x.test"), w.addr("nobody@x.test"), w.addr("z@far.test")}))
	w.agent.acting.Wait()
	contains(t, strings.Join(w.box("ann"), ""), "Subject: Mail Delivery Status Report\n", "Content-Type: multipart/report; report-type=delivery-status;", "\nAuto-Submitted: auto-replied\n",
		"\nOriginal-Recipient: rfc822; bob@x.test\nFinal-Recipient: rfc822; bob@x.test\nAction: deliverable\nStatus: 2.0.0\nDiagnostic-Code: smtp; 250 2.0.0 delivers to mailbox\n", "Subject: probe\n",
		"Final-Recipient: rfc822; nobody@x.test\nAction: undeliverable\nStatus: 5.1.1\n", "Final-Recipient: rfc822; z@far.test\nAction: deliverable\nStatus: 2.0.0\n")
	if got := w.box("bob"); len(got) > 0 {
		t.Errorf("%s", got)
	}
}
