package postfix

import (
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
