package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// report is a delivery report taken apart by other people's code.
type parsedReport struct {
	head   mail.Header
	types  []string
	bodies []string
	status []textproto.MIMEHeader // of the message, then of each recipient
}

func parseReport(t testing.TB, raw string) parsedReport {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", typ, params, err)
	}
	r := parsedReport{head: m.Header}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 }) != (p.Header.Get("Content-Transfer-Encoding") == "8bit") {
			t.Errorf("part %s: encoding %q", p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"))
		}
		r.types, r.bodies = append(r.types, p.Header.Get("Content-Type")), append(r.bodies, string(b))
	}
	tr := textproto.NewReader(bufio.NewReader(strings.NewReader(r.bodies[1] + "\r\n")))
	for {
		h, err := tr.ReadMIMEHeader()
		if len(h) > 0 {
			r.status = append(r.status, h)
		}
		if err != nil || len(h) == 0 {
			return r
		}
	}
}

func testDSN(t *testing.T, original string) *dsn {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(original)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return &dsn{
		id: 5, hostname: "here.test", now: at, to: smtp.Address{Local: "s", Domain: "far.test"}, envID: "env 1", full: true, arrived: at, original: m,
		rcpts: []dsnRcpt{
			{addr: smtp.Address{Local: "a", Domain: "x.test"}, action: dsnFailed, reply: "550 5.1.1 no\nsuch user", host: "mx.test [192.0.2.1]:25"},
			{addr: smtp.Address{Local: "b", Domain: "x.test"}, action: dsnFailed, reply: "450 4.2.1 später"},
		},
	}
}

func TestReport(t *testing.T) {
	d := testDSN(t, "Subject: x\r\n\r\nbody\r\n")
	d.rcpts[0].params.OriginalRecipientType, d.rcpts[0].params.OriginalRecipient = "RFC822", "orig@x.test"
	raw, err := d.build()
	if err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, string(raw))
	expect(t, "to", r.head.Get("To"), "<s@far.test>")
	expect(t, "auto", r.head.Get("Auto-Submitted"), "auto-replied")
	expect(t, "encoding", r.head.Get("Content-Transfer-Encoding"), "8bit")
	if _, err := r.head.Date(); err != nil {
		t.Error(err)
	}
	expect(t, "types", r.types, []string{"text/plain; charset=utf-8", "message/delivery-status", "message/rfc822"})
	expect(t, "original", r.bodies[2], "Subject: x\r\n\r\nbody\r\n")
	if len(r.status) != 3 {
		t.Fatalf("%v", r.status)
	}
	for i, want := range []map[string]string{
		{"Reporting-Mta": "dns; here.test", "Original-Envelope-Id": "env 1", "Arrival-Date": "Sun, 22 Nov 2026 12:00:00 +0000"},
		{"Final-Recipient": "rfc822; a@x.test", "Original-Recipient": "rfc822; orig@x.test", "Action": "failed", "Status": "5.1.1", "Remote-Mta": "dns; mx.test", "Diagnostic-Code": "smtp; 550 5.1.1 no such user"},
		{"Final-Recipient": "rfc822; b@x.test", "Action": "failed", "Status": "5.2.1", "Diagnostic-Code": "smtp; 450 4.2.1 sp?ter"},
	} {
		for k, v := range want {
			expect(t, k, r.status[i].Get(k), v)
		}
	}
}

// How much is returned: RET, the size, and the kind of the report decide.
func TestReturned(t *testing.T) {
	big := "Subject: x\r\n\r\n" + strings.Repeat("x\r\n", 30000)
	for _, c := range []struct {
		original string
		full     bool
		action   dsnAction
		want     string
	}{
		{"Subject: x\r\n\r\nb\r\n", true, dsnFailed, "message/rfc822"}, {"Subject: x\r\n\r\nb\r\n", false, dsnFailed, "text/rfc822-headers"},
		{big, true, dsnFailed, "text/rfc822-headers"}, {"Subject: x\r\n\r\nb\r\n", true, dsnDelayed, "text/rfc822-headers"},
		{"Subject: x\r\n\r\nb\r\n", true, dsnDelivered, "text/rfc822-headers"},
	} {
		d := testDSN(t, c.original)
		d.full = c.full
		d.rcpts = d.rcpts[:1]
		d.rcpts[0].action, d.rcpts[0].until = c.action, d.now.Add(time.Hour)
		raw, err := d.build()
		if err != nil {
			t.Fatal(err)
		}
		r := parseReport(t, string(raw))
		expect(t, "returned", r.types[2], c.want)
		if c.want != "message/rfc822" {
			expect(t, "header", r.bodies[2], "Subject: x\r\n")
		}
		expect(t, "until", r.status[1].Get("Will-Retry-Until"), "Sun, 22 Nov 2026 13:00:00 +0000")
	}
}

func TestInternationalReport(t *testing.T) {
	d := testDSN(t, "Subject: ä\r\n\r\nö\r\n")
	d.rcpts[0].addr.Local = "ä"
	raw, err := d.build()
	if err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, string(raw))
	expect(t, "type", r.types[1], "message/global-delivery-status")
	expect(t, "rcpt", r.status[1].Get("Final-Recipient"), "utf-8; ä@x.test")
	expect(t, "returned", r.types[2], "message/rfc822") // as it came: nobody asked for SMTPUTF8

	d.global, d.rcpts[0].addr.Local = true, "a"
	for full, want := range map[bool]string{true: "message/global", false: "message/global-headers"} {
		d.full = full
		raw, err := d.build()
		if err != nil {
			t.Fatal(err)
		}
		r := parseReport(t, string(raw))
		expect(t, "type", r.types[1], "message/delivery-status")
		expect(t, "returned", r.types[2], want)
	}
	d.rcpts[0].params.OriginalRecipientType, d.rcpts[0].params.OriginalRecipient = "UTF-8", "ä@x.test"
	if raw, err = d.build(); err != nil {
		t.Fatal(err)
	}
	r = parseReport(t, string(raw))
	expect(t, "type", r.types[1], "message/global-delivery-status")
	expect(t, "original", r.status[1].Get("Original-Recipient"), "utf-8; ä@x.test")
}

func TestWants(t *testing.T) {
	for _, c := range []struct{ notify, want string }{
		{"", "failed delayed"}, {"NEVER", ""}, {"SUCCESS", "delivered relayed expanded"}, {"FAILURE", "failed"}, {"DELAY,FAILURE", "failed delayed"},
	} {
		var p smtp.RcptParams
		for n := range strings.SplitSeq(c.notify, ",") {
			if n != "" {
				p.Notify = append(p.Notify, gosmtp.DSNNotify(n))
			}
		}
		var got []string
		for _, a := range []dsnAction{dsnFailed, dsnDelayed, dsnDelivered, dsnRelayed, dsnExpanded} {
			if wants(p, a) {
				got = append(got, string(a))
			}
		}
		expect(t, c.notify, strings.Join(got, " "), c.want)
	}
}

func notify(n ...gosmtp.DSNNotify) func(*pipeline.Client, *smtp.MailParams, *smtp.RcptParams) {
	return func(_ *pipeline.Client, m *smtp.MailParams, r *smtp.RcptParams) {
		r.Notify, m.Return, m.EnvelopeID = n, gosmtp.DSNReturnHeaders, "e1"
	}
}

// A failure at another host comes back to the sender; one of a bounce to nobody.
func TestBounce(t *testing.T) {
	w := newWorld(t)
	w.send("cid@x.test", "refuse1@far.test refuse2@far.test good@far.test", hello, proved, notify(gosmtp.DSNNotifyFailure))
	w.quiet(0)
	box := w.box("cid")
	if len(box) != 1 {
		t.Fatalf("%d bounces", len(box))
	}
	_, raw, _ := strings.Cut(box[0], "\n")
	if !strings.HasPrefix(raw, "Return-Path: <>\nDelivered-To: cid@x.test\n") {
		t.Errorf("%q", raw)
	}
	r := parseReport(t, strings.ReplaceAll(raw, "\n", "\r\n"))
	expect(t, "recipients", len(r.status), 3)
	expect(t, "envelope", r.status[0].Get("Original-Envelope-Id"), "e1")
	expect(t, "code", r.status[1].Get("Diagnostic-Code"), "smtp; 550 5.1.1 no such user")
	expect(t, "returned", r.types[2], "text/rfc822-headers")

	w.send("", "refuse@far.test", hello)
	w.send("cid@x.test", "refuse@far.test", hello, notify(gosmtp.DSNNotifyNever))
	w.send("gone@x.test", "refuse@far.test", hello) // the bounce finds nobody
	w.quiet(0)
	if len(w.box("cid")) != 1 || len(w.remote.got()) != 1 {
		t.Errorf("%d and %d: someone was told who must not be", len(w.box("cid")), len(w.remote.got()))
	}
}

// Success is reported where it was asked for and nobody after us will.
func TestSuccess(t *testing.T) {
	w := newWorld(t)
	w.send("cid@x.test", "ann@x.test good@far.test", hello, notify(gosmtp.DSNNotifySuccess))
	w.quiet(0)
	w.until("two reports", func() bool { return len(w.box("cid")) == 2 })
	all := strings.Join(w.box("cid"), "")
	if !strings.Contains(all, "Action: delivered") || !strings.Contains(all, "Action: relayed") {
		t.Error(all)
	}
}

// The members of an alias are one recipient to the sender.
func TestAliasInReport(t *testing.T) {
	w := newWorld(t)
	w.must(w.dir.AddAlias(t.Context(), "al@x.test", "ann@x.test", "bob@x.test"))
	w.send("cid@x.test", "al@x.test", hello, notify(gosmtp.DSNNotifySuccess))
	box := w.box("cid")
	if len(box) != 1 || strings.Count(box[0], "Final-Recipient: rfc822; al@x.test\n") != 1 || strings.Contains(box[0], "bob") {
		t.Errorf("%q", box)
	}
}

// What is put off is tried again, warned about once, and given up.
func TestDelayAndExpiry(t *testing.T) {
	w := newWorld(t)
	w.remote.setDown(true)
	w.send("cid@x.test", "good@far.test", hello, proved)
	w.quiet(1)
	w.clock.Add(5 * time.Hour)
	w.retry("deferred")
	w.until("the warning", func() bool { return len(w.box("cid")) == 1 })
	if got := w.box("cid")[0]; !strings.Contains(got, "Action: delayed\nStatus: 4.2.1\n") || !strings.Contains(got, "Will-Retry-Until: Fri, 27 Nov 2026 12:00:00 +0000") {
		t.Error(got)
	}
	w.until("the end of the attempt", func() bool { it := w.quiet(1)[0]; return it.Attempts == 2 && it.Warned })
	w.clock.Add(5 * 24 * time.Hour)
	w.retry("deferred")
	w.quiet(0)
	box := w.box("cid")
	if len(box) != 2 || !strings.Contains(box[1], "Status: 5.4.7") || !strings.Contains(box[1], "the last answer was") {
		t.Errorf("%q", box)
	}
	// It gets well in time.
	w.send("cid@x.test", "good@far.test", hello, proved)
	w.quiet(1)
	w.remote.setDown(false)
	w.clock.Add(2 * time.Minute)
	w.retry("deferred")
	w.quiet(0)
	expect(t, "remote", len(w.remote.got()), 1)
}

// Mail made here that a filter puts off is made later, and lost in no case.
func TestMadeLater(t *testing.T) {
	w := newWorld(t)
	w.onMade.set(func(*pipeline.View) pipeline.Verdict { return pipeline.Verdict{Action: pipeline.TempFail} })
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local == "ann" {
			return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Redirect{Addr: w.addr("bob@x.test")}}}
		}
		return pipeline.Verdict{}
	})
	w.send("s@far.test", "ann@x.test", hello)
	w.quiet(1)
	w.onMade.set(nil)
	w.retry("deferred")
	w.quiet(0)
	expect(t, "bob", len(w.box("bob")), 1)
	expect(t, "ann", len(w.box("ann")), 0)

	// Put off first, refused then: it stays with the one who redirects.
	w.onMade.set(func(*pipeline.View) pipeline.Verdict { return pipeline.Verdict{Action: pipeline.TempFail} })
	w.send("s@far.test", "ann@x.test", hello)
	w.quiet(1)
	w.onMade.set(func(*pipeline.View) pipeline.Verdict { return pipeline.Verdict{Action: pipeline.Reject} })
	w.retry("deferred")
	w.quiet(0)
	expect(t, "kept", len(w.box("ann")), 1)
}

func TestForged(t *testing.T) {
	for field, want := range map[string]bool{
		"Authentication-Results: here.test; spf=pass\r\n": true, "Authentication-Results: HERE.test 1; none\r\n": true, "Authentication-Results: other.test; spf=pass\r\n": false,
		"X-Spam-Score: -100\r\n": true, "X-Spam: x\r\n": false, "Subject: x\r\n": false, "Authentication-Results: here.test\r\n": true,
	} {
		m, err := message.Parse(message.FromBytes([]byte(field + "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		if got := Forged(m.Header().Fields()[0], "here.test"); got != want {
			t.Errorf("%q: %v", field, got)
		}
	}
}
