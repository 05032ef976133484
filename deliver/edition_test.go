package deliver

import (
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// Each action of a plan takes the message as it was made for it, also when the
// plan is carried out by the next process.
func TestEditions(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local != "ann" {
			return pipeline.Verdict{}
		}
		m := v.Message()
		h, _ := m.Header().Insert(0, []byte("X-One: 1\r\n"))
		body := m.WithBody(message.FromBytes([]byte("other\r\n")))
		return pipeline.Verdict{Mods: []pipeline.Modification{
			pipeline.AddHeader{Name: "X-Own", Value: "kept"},
			pipeline.FileInto{Folder: "came", Copy: true, Edition: pipeline.Edition{Message: m}},
			pipeline.FileInto{Folder: "one", Copy: true, Edition: pipeline.Edition{Message: m.WithHeader(h)}},
			pipeline.FileInto{Folder: "own", Copy: true},
			pipeline.Redirect{Addr: w.addr("bob@x.test"), Copy: true, Edition: pipeline.Edition{Message: body}},
		}}
	})
	w.send("s@far.test", "ann@x.test", hello)
	w.quiet(0)
	const head = "Return-Path: <s@far.test>\nDelivered-To: ann@x.test\n"
	want := map[string]string{
		"INBOX": head + "Subject: hi\nX-Own: kept\n\n", "own": head + "Subject: hi\nX-Own: kept\n\n",
		"came": head + "Subject: hi\n\n", "one": head + "X-One: 1\nSubject: hi\n\n",
	}
	for _, got := range w.box("ann") {
		folder, _, _ := strings.Cut(got, " ")
		if _, text, _ := strings.Cut(got, "\n"); want[folder] == "" || !strings.HasPrefix(text, want[folder]) {
			t.Errorf("%s:\n%s", folder, got)
		}
		delete(want, folder)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if got := w.box("bob"); len(got) != 1 || !strings.HasSuffix(got[0], "Delivered-To: ann@x.test\nSubject: hi\n\nother\n") {
		t.Errorf("redirected: %q", got)
	}
}

// An edition that is too large for the record is refused before the reply.
func TestEditionTooLarge(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		m := v.Message().WithBody(message.FromBytes(make([]byte, maxEdited+1)))
		return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.FileInto{Folder: "x", Edition: pipeline.Edition{Message: m}}}}
	})
	if r := w.send("s@far.test", "ann@x.test", hello); r.Code != replyEdited.Code {
		t.Errorf("got %v", r)
	}
}

// A response that is sent once is sent again when its time is over; a copy of it
// is kept where the rule wants it.
func TestOnce(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Respond{
			To: v.Sender(), Data: []byte("Subject: away\r\n\r\nx\r\n"), Why: "vacation",
			Once: "v" + v.Sender().String(), For: time.Hour, Fcc: &pipeline.FileInto{Folder: "Sent", Flags: []string{"\\Seen"}},
		}}}
	})
	for range 2 {
		w.send("s@far.test", "ann@x.test", hello)
	}
	w.send("other@far.test", "ann@x.test", hello)
	w.quiet(0)
	w.until("two answers", func() bool { return len(w.remote.got()) == 2 })
	var sent int
	for _, m := range w.box("ann") {
		if strings.HasPrefix(m, "Sent ") && strings.Contains(m, "Subject: away") {
			sent++
		}
	}
	expect(t, "copies", sent, 2)
	w.clock.Add(2 * time.Hour)
	w.send("s@far.test", "ann@x.test", hello)
	w.until("a third answer", func() bool { return len(w.remote.got()) == 3 })
}

// What rules remember is remembered once the message is where it should be, and
// not if it was refused.
func TestRemember(t *testing.T) {
	w := newWorld(t)
	refuse := true
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		out := pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Remember{Key: "seen", For: time.Hour}}}
		if refuse && v.Mailbox().Local == "bob" {
			out.Action = pipeline.TempFail
		}
		return out
	})
	seen := func(user string) bool {
		kv, err := w.dir.State("rules." + user)
		w.must(err)
		_, ok, err := kv.Get(t.Context(), "seen")
		w.must(err)
		return ok
	}
	w.send("s@far.test", "bob@x.test", hello)
	w.quiet(0)
	if seen("bob") {
		t.Error("remembered what was put off")
	}
	refuse = false
	w.send("s@far.test", "bob@x.test", hello)
	w.until("the mark", func() bool { return seen("bob") })
	if seen("ann") {
		t.Error("remembered for somebody else")
	}
}
