package postfix

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)

func written(t *testing.T, traces ...pipeline.Trace) string {
	t.Helper()
	var out strings.Builder
	w := New(func(l Line) { out.WriteString(l.String("mx") + "\n") }, "")
	for _, tr := range traces {
		w.Write(tr)
	}
	w.Flush()
	return out.String()
}

func TestLines(t *testing.T) {
	id := message.NewID(at)
	session := []pipeline.Event{
		{Time: at, Kind: pipeline.EventSession, Host: "192.0.2.1:4711", Note: "connected to mx"},
		{Time: at, Kind: pipeline.EventSession, Note: "EHLO a.example"},
		{Time: at, Kind: pipeline.EventMail, Note: "from <a@a.example>"},
	}
	got := written(t,
		pipeline.Trace{ID: id, Events: append(session,
			pipeline.Event{Time: at, Kind: pipeline.EventMail, Rcpt: "x@b.example", Reply: "550 5.1.1 No such user here", Note: string(pipeline.NoSuch)},
			pipeline.Event{Time: at, Kind: pipeline.EventMail, Rcpt: "b@b.example", Reply: "250"},
			pipeline.Event{Time: at, Kind: pipeline.EventTaken, Size: 400, Note: "<m@a.example>"})},
		pipeline.Trace{ID: id, Events: []pipeline.Event{{Time: at, Kind: pipeline.EventQueue, Rcpt: "b@b.example"}}},
		pipeline.Trace{ID: id, Events: []pipeline.Event{{Time: at, Kind: pipeline.EventRelay, Rcpt: "b@b.example", Host: "h [192.0.2.9]:25", Action: "deferred", Reply: "450 4.2.0 later"}}},
		pipeline.Trace{ID: id, Events: []pipeline.Event{{Time: at, Kind: pipeline.EventRelay, Rcpt: "b@b.example", Host: "h [192.0.2.9]:25", Action: "delivered", Reply: "250 2.0.0 ok"}}})
	for _, want := range []string{
		": connect from unknown[192.0.2.1]\n", "Mar  4 05:06:07 mx postfix/smtpd[",
		ID(id) + ": client=unknown[192.0.2.1]\n", "550 5.1.1 <x@b.example>: Recipient address rejected: User unknown in local recipient table; from=<a@a.example> to=<x@b.example> proto=ESMTP helo=<a.example>\n", ": message-id=<m@a.example>\n",
		": from=<a@a.example>, size=400, nrcpt=1 (queue active)\n",
		"to=<b@b.example>, relay=h[192.0.2.9]:25, delay=", "dsn=4.2.0, status=deferred (450 4.2.0 later)\n", "status=sent (250 2.0.0 ok)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Count(got, ": removed\n") != 1 || !strings.HasSuffix(got, ": removed\n") {
		t.Errorf("removed once, at the end:\n%s", got)
	}
	back, err := message.ParseID(ID(id))
	if err != nil || back != id {
		t.Errorf("ParseID(%s) = %v, %v", ID(id), back, err)
	}
}

// Nothing that a peer says begins a line, ends its brackets or makes it long.
func TestForged(t *testing.T) {
	evil := "x>\r\nMar  4 05:06:07 mx postfix/smtpd[1]: connect from evil[6.6.6.6]\u2028\x1b[0m, rip=6.6.6.6" + strings.Repeat("é", 5000)
	got := written(t, pipeline.Trace{ID: 1, Events: []pipeline.Event{
		{Time: at, Kind: pipeline.EventSession, Host: "192.0.2.1:1"},
		{Time: at, Kind: pipeline.EventSession, Note: "EHLO " + evil},
		{Time: at, Kind: pipeline.EventLogin, Stage: "smtp", Action: "failed", Host: "192.0.2.1:1", Note: evil + " by LOGIN"},
		{Time: at, Kind: pipeline.EventMail, Note: "from <" + evil + ">"},
		{Time: at, Kind: pipeline.EventMail, Rcpt: evil, Reply: "550 5.7.1 " + evil},
		{Time: at, Kind: pipeline.EventTaken, Size: 1, Note: evil},
		{Time: at, Kind: pipeline.EventRelay, Rcpt: evil, Host: evil, Action: "failed", Reply: evil},
	}})
	for line := range strings.Lines(got) {
		if len(line) > maxLine+100 || !strings.HasPrefix(line, "Mar  4 05:06:07 mx ") || strings.ContainsAny(line[:len(line)-1], "\r\n\x1b\u2028") {
			t.Errorf("bad line %q", line)
		}
		if strings.Contains(line, "[6.6.6.6]: ") || strings.Contains(line, " rip=6.6.6.6") {
			t.Errorf("forged address in %q", line)
		}
	}
	if n := strings.Count(got, "\n"); n != 8 {
		t.Errorf("%d lines:\n%s", n, got)
	}
}

// in checks that lines with these texts come in this order.
func in(t *testing.T, got string, want ...string) {
	t.Helper()
	rest := got
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("no %q, or not at its place, in\n%s", w, got)
		}
		rest = after
	}
}

// come is how a message from a client gets here.
func come(id message.ID) pipeline.Trace {
	return pipeline.Trace{ID: id, Events: []pipeline.Event{
		{Time: at, Kind: pipeline.EventSession, Host: "192.0.2.1:4711", Note: "connected to mx" + pipeline.VerifiedName + "mail.a.example"},
		{Time: at.Add(1), Kind: pipeline.EventSession, Note: "EHLO a.example"},
		{Time: at.Add(2), Kind: pipeline.EventMail, Note: "from <a@a.example>"},
		{Time: at.Add(3), Kind: pipeline.EventMail, Rcpt: "b@b.example", Reply: "250"},
		{Time: at.Add(4), Kind: pipeline.EventTaken, Size: 400, Note: "<m@a.example>"},
		{Time: at.Add(5), Kind: pipeline.EventReply, Reply: "250 2.0.0 Ok"},
	}}
}

func one(id message.ID, e pipeline.Event) pipeline.Trace {
	e.Time = at.Add(time.Second)
	return pipeline.Trace{ID: id, Events: []pipeline.Event{e}}
}

// What becomes of a message may be told before its arrival is; pflogsumm wants it
// behind.
func TestArrivalComesFirst(t *testing.T) {
	id, other := message.NewID(at), message.NewID(at)
	stored := one(id, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "b@b.example", Host: "b@b.example", Note: "stored in INBOX"})
	got := written(t, stored, come(other), come(id))
	in(t, got, ID(id)+": client=mail.a.example[192.0.2.1]", "(queue active)", ID(id)+": to=<b@b.example>, relay=virtual", ID(id)+": removed")
	if strings.Count(got, ": connect from ") != 1 {
		t.Errorf("one connection, told of more often:\n%s", got)
	}
	// What came in vain is told of all the same.
	in(t, written(t, stored), "status=sent")
	late := one(other, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "x@b.example", Host: "x@b.example"})
	late.Events[0].Time = at.Add(time.Minute)
	in(t, written(t, stored, late), "to=<b@b.example>", "to=<x@b.example>")
}

// A message is removed when nobody waits for it any more, held ones apart.
func TestRemoved(t *testing.T) {
	id := message.NewID(at)
	queued := pipeline.Trace{ID: id, Events: []pipeline.Event{
		{Time: at, Kind: pipeline.EventDeliver, Rcpt: "b@b.example", Host: "b@b.example"},
		{Time: at, Kind: pipeline.EventQueue, Rcpt: "c@c.example", Note: "queued for c@c.example"},
		{Time: at, Kind: pipeline.EventQueue, Rcpt: "d@b.example", Note: "held: look (at it)"},
	}}
	sent := one(id, pipeline.Event{Kind: pipeline.EventRelay, Stage: "lmtp", Rcpt: "c@c.example", Host: "h [192.0.2.9]:24", Action: "delivered", Reply: "250 ok"})
	for name, last := range map[string]pipeline.Event{
		"to=<d@b.example>, relay=virtual":    {Kind: pipeline.EventDeliver, Stage: "queue", Rcpt: "d@b.example", Host: "d@b.example"},
		": removed":                          {Kind: pipeline.EventQueue, Action: "deleted", Size: 1},
		"status=expired, returned to sender": {Kind: pipeline.EventQueue, Action: "expired", Host: "a@a.example"},
	} {
		before := written(t, come(id), queued, sent)
		in(t, before, "hold: END-OF-MESSAGE from mail.a.example[192.0.2.1]: look {at it}; from=<a@a.example> proto=ESMTP helo=<a.example>",
			"postfix/lmtp[", "relay=h[192.0.2.9]:24", "status=sent (250 2.0.0 ok)")
		if strings.Contains(before, "removed") {
			t.Errorf("removed too early:\n%s", before)
		}
		after := written(t, come(id), queued, sent, one(id, pipeline.Event{Kind: pipeline.EventQueue, Action: "released"}), one(id, last))
		in(t, after, "postfix/postsuper[", "released from hold", name)
		if !strings.HasSuffix(after, ": removed\n") || strings.Count(after, ": removed\n") != 1 {
			t.Errorf("%s: not removed once, at the end:\n%s", name, after)
		}
	}
	if got := written(t, one(7, pipeline.Event{Kind: pipeline.EventRelay, Rcpt: "c@c.example", Action: "delivered", Reply: "250 ok"})); strings.Contains(got, "removed") {
		t.Errorf("of mail from before the start nobody knows:\n%s", got)
	}
}

// An attempt may be told of before what put the message into the queue is.
func TestAttemptBeforeQueue(t *testing.T) {
	id := message.NewID(at)
	queued := one(id, pipeline.Event{Kind: pipeline.EventQueue, Rcpt: "c@c.example", Note: "queued for c@c.example"})
	tried := func(action string) pipeline.Trace {
		return one(id, pipeline.Event{Kind: pipeline.EventRelay, Rcpt: "c@c.example", Host: "h [192.0.2.9]:25", Action: action, Reply: "450 4.0.0 later"})
	}
	for _, order := range [][]pipeline.Trace{
		{tried("deferred"), come(id), queued}, {come(id), tried("deferred"), queued}, {tried("deferred"), queued, come(id)},
	} {
		got := written(t, order...)
		in(t, got, "(queue active)", "status=deferred")
		if strings.Contains(got, "removed") {
			t.Errorf("it waits in the queue:\n%s", got)
		}
		in(t, written(t, append(order, tried("delivered"))...), "status=deferred", "status=sent", ": removed\n")
	}
	got := written(t, come(id), tried("delivered"), queued)
	in(t, got, "(queue active)", "status=sent", ": removed\n")
	if strings.Count(got, "removed") != 1 {
		t.Errorf("removed more than once:\n%s", got)
	}
}

func TestPrograms(t *testing.T) {
	id := message.NewID(at)
	for want, e := range map[string]pipeline.Event{
		"postfix/pipe[":          {Kind: pipeline.EventRelay, Stage: "pipe", Rcpt: "c@c.example", Host: "route x", Action: "failed", Reply: "550 5.3.0 no"},
		"postfix/local[":         {Kind: pipeline.EventRelay, Stage: "local", Rcpt: "c@c.example", Host: "|rm -rf [1.2.3.4]", Action: "delivered", Reply: "250 ok"},
		"postfix/error[":         {Kind: pipeline.EventRelay, Stage: "error", Rcpt: "c@c.example", Host: "error", Action: "failed", Reply: "550 no"},
		"postfix/discard[":       {Kind: pipeline.EventDeliver, Rcpt: "c@c.example", Host: "c@c.example", Action: "discarded", Note: "not stored: a rule discarded it"},
		"postfix/bounce[":        {Kind: pipeline.EventMade, Rcpt: "a@a.example", Action: "delayed", Note: "report " + id.String()},
		"forwarded as " + ID(id): {Kind: pipeline.EventMade, Host: "c@c.example", Rcpt: "x@home.example", Note: "redirect " + id.String()},
	} {
		got := written(t, come(id), one(id, e))
		if !strings.Contains(got, want) || strings.Contains(got, "[1.2.3.4]") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := written(t, come(id), one(id, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "c@c.example", Host: "c@c.example", Action: "redirected"})); strings.Contains(got, "to=<c@c.example>") {
		t.Errorf("redirected is not delivered:\n%s", got)
	}
	handed := pipeline.Trace{ID: id, Events: []pipeline.Event{
		{Time: at, Kind: pipeline.EventSession, Note: "handed in by userid 7, from <a@b.example>"}, {Time: at, Kind: pipeline.EventTaken, Size: 4},
	}}
	in(t, written(t, handed), "postfix/pickup[", ID(id)+": uid=7 from=<a@b.example>", "(queue active)")
	dropped := come(id)
	dropped.Events[4] = pipeline.Event{Time: at.Add(4), Kind: pipeline.EventStep, Step: "rules", Action: "discard"}
	in(t, written(t, dropped), ID(id)+": discard: END-OF-MESSAGE from mail.a.example[192.0.2.1]: rules; from=<a@a.example>")
}

func TestConnections(t *testing.T) {
	var out strings.Builder
	w := New(func(l Line) { out.WriteString(l.String("mx") + "\n") }, "")
	began := come(1).Events[0]
	w.Connection(began)
	w.Write(come(message.NewID(at)))
	for _, how := range []string{"quit", "lost connection after DATA"} {
		gone := began
		gone.Time, gone.Took, gone.Action, gone.Mods = at.Add(time.Minute), time.Minute, how, []string{"ehlo=1", "rcpt=1/2", "commands=2/3"}
		w.Connection(gone)
	}
	w.Login(Login{Time: at, User: "a b", Mechanism: "PLAIN", Remote: netip.MustParseAddrPort("[::ffff:192.0.2.5]:1"), Failures: 3, Took: 7 * time.Second})
	w.Login(Login{Time: at, OK: true, User: "ann@a.example", Mechanism: "PLAIN", Remote: netip.MustParseAddrPort("[2001:db8::1]:1"), Local: netip.MustParseAddrPort("192.0.2.9:993"), TLS: true})
	w.Note(at, Warning, "mtad", "odd [1.2.3.4] thing")
	got := out.String()
	in(t, got, ": connect from mail.a.example[192.0.2.1]\n", ": client=", ": disconnect from mail.a.example[192.0.2.1] ehlo=1 rcpt=1/2 commands=2/3\n",
		": lost connection after DATA from mail.a.example[192.0.2.1]\n", ": disconnect from",
		"mx dovecot[", ": imap-login: Disconnected (auth failed, 3 attempts in 7 secs): user=<a?b>, method=PLAIN, rip=192.0.2.5\n",
		": imap-login: Login: user=<ann@a.example>, method=PLAIN, rip=2001:db8::1, lip=192.0.2.9, TLS\n",
		" postfix/mtad[", ": warning: odd {1.2.3.4} thing\n")
	if len(w.told) != 0 || strings.Count(got, ": connect from") != 1 {
		t.Errorf("%d connections are remembered\n%s", len(w.told), got)
	}
}

// Nothing that is remembered grows for ever.
func TestRemembersWithinBounds(t *testing.T) {
	n := 0
	w := New(func(Line) { n++ }, "")
	for i := range 3 * maxKept {
		tr := come(message.NewID(at))
		tr.Events[0].Host = fmt.Sprintf("192.0.2.1:%d", i)
		w.Write(tr)
		w.Write(one(message.NewID(at), pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "b@b.example", Host: "b@b.example"}))
	}
	if len(w.mails) > maxKept || len(w.told) > maxKept || len(w.late) > maxLate+1 {
		t.Errorf("%d messages, %d connections, %d late traces", len(w.mails), len(w.told), len(w.late))
	}
	w.Flush()
	if want := 3 * maxKept * 5; n != want {
		t.Errorf("%d lines, want %d", n, want)
	}
}

// BenchmarkMessage is what a message's lines cost.
func BenchmarkMessage(b *testing.B) {
	w := New(func(Line) {}, "")
	id := message.NewID(at)
	stored := one(id, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "b@b.example", Host: "b@b.example"})
	b.ReportAllocs()
	for b.Loop() {
		w.Write(come(id))
		w.Write(stored)
	}
}

// Delays are plain numbers, however short or long: what reads logs knows no
// exponents.
func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0", 54 * time.Microsecond: "0", 8600 * time.Microsecond: "0.01", 84 * time.Millisecond: "0.08", time.Second: "1",
		1260 * time.Millisecond: "1.3", 9960 * time.Millisecond: "10", 371200 * time.Millisecond: "371", 52 * time.Hour: "187200",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
