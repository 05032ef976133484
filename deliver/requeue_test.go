package deliver

import (
	"strings"
	"testing"

	"mtad/directory"
	"mtad/queue"
	"mtad/selector"
)

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
	n, err := w.queue.Change(t.Context(), selector.Selector{}, queue.Requeue())
	w.must(err)
	if n.Items != 2 {
		t.Errorf("%+v", n)
	}
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
		if _, err := w.queue.Change(t.Context(), selector.Selector{}, queue.Reroute(way)); err != nil {
			t.Fatal(way, err)
		}
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
	if _, err := w.queue.Change(t.Context(), selector.Selector{}, queue.Reroute("nowhere")); err == nil {
		t.Error("a way that there is none of is taken")
	}
}

// A bounce by hand is a report as of what expires.
func TestBounceByHand(t *testing.T) {
	w := newWorld(t)
	w.remote.setDown(true)
	w.send("ann@x.test", "bob@far.test", hello, proved)
	w.quiet(1)
	_, err := w.queue.Change(t.Context(), selector.Selector{}, w.queue.Bounce("Bob has left us"))
	w.must(err)
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
