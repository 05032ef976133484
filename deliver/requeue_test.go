package deliver

import (
	"errors"
	"strings"
	"testing"

	"mtad/directory"
	"mtad/queue"
	"mtad/selector"
)

// change does something to all that waits, as soon as none of it is being tried: a
// row says that an attempt is over a moment before the queue does.
func (w *world) change(a queue.Action) {
	w.t.Helper()
	want, err := w.queue.Match(w.t.Context(), selector.Selector{}, a)
	w.must(err)
	done := 0
	w.until("a change of the queue", func() bool {
		n, err := w.queue.Change(w.t.Context(), selector.Selector{}, a)
		if !errors.Is(err, queue.ErrUnderWay) && !errors.Is(err, queue.ErrNone) {
			w.must(err)
		}
		done += n.Items
		return done >= want.Items
	})
}

// Mail that waits for a host elsewhere is routed anew: its domain is ours by now.
func TestRequeue(t *testing.T) {
	w := newWorld(t)
	w.remote.setDown(true)
	w.send("ann@x.test", "bob@moved.test", hello, proved)
	w.send("ann@x.test", "ed@moved.test", hello, proved)
	list := w.quiet(2)
	if list[0].Size != int64(len(strings.ReplaceAll(hello, "\n", "\r\n"))) {
		t.Errorf("size %d", list[0].Size)
	}
	w.must(w.dir.AddDomain(t.Context(), "moved.test", directory.Local))
	_, err := w.dir.AddUser(t.Context(), "bob@moved.test", "secret")
	w.must(err)
	w.must(w.dir.AddAlias(t.Context(), "ed@moved.test", "cid@x.test", "ed@far.test"))
	w.change(queue.Requeue())
	left := w.quiet(1)
	if left[0].Rcpt != "ed@far.test" || left[0].Dest != "route:far" || len(w.box("cid")) != 1 {
		t.Errorf("%+v is left, cid has %d", left[0], len(w.box("cid")))
	}
	u, err := w.dir.User(t.Context(), "bob@moved.test")
	w.must(err)
	if u.ID == 0 || !strings.Contains(w.notes(), "stored in INBOX") {
		t.Error(w.notes())
	}
}

// An administrator sends mail another way than the configuration's, and the way
// stays with it.
func TestReroute(t *testing.T) {
	w := newWorld(t)
	w.remote.setDown(true)
	w.send("ann@x.test", "bob@far.test", hello, proved)
	w.quiet(1)
	for _, way := range []string{"smtp:[127.0.0.1]:1", "far", "lmtp:inet:127.0.0.1:1", "discard"} {
		w.change(queue.Reroute(way))
		want := map[string]string{"smtp:[127.0.0.1]:1": "refused", "far": "450 4.2.1 later", "lmtp:inet:127.0.0.1:1": "refused"}[way]
		w.until("an attempt by "+way, func() bool {
			list, err := w.queue.List(t.Context(), selector.Selector{}, 0)
			w.must(err)
			if len(list) == 0 {
				return way == "discard"
			}
			return want != "" && list[0].Route == way && strings.Contains(list[0].Reply, want)
		})
	}
	w.send("ann@x.test", "bob@far.test", hello, proved)
	w.quiet(1)
	w.until("a refusal of a way that there is none of", func() bool {
		_, err := w.queue.Change(t.Context(), selector.Selector{}, queue.Reroute("nowhere"))
		return err != nil && !errors.Is(err, queue.ErrUnderWay)
	})
}

// A bounce by hand is a report as of what expires.
func TestBounceByHand(t *testing.T) {
	w := newWorld(t)
	w.remote.setDown(true)
	w.send("ann@x.test", "bob@far.test", hello, proved)
	w.quiet(1)
	w.change(w.queue.Bounce("Bob has left us"))
	w.quiet(0)
	box := w.box("ann")
	if len(box) != 1 {
		t.Fatalf("ann has %d messages", len(box))
	}
	for _, want := range []string{
		"Action: failed", "Status: 5.4.7", "Final-Recipient: rfc822; bob@far.test", "Bob has left us; the last answer was: 450 4.2.1 later", "hello",
	} {
		if !strings.Contains(strings.ReplaceAll(box[0], "\n ", " "), want) {
			t.Errorf("no %q in\n%s", want, box[0])
		}
	}
}
