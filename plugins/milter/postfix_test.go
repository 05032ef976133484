package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// send gives Postfix the mail and waits for what comes out.
func send(t *testing.T, addr string, hop *mtatest.Hop, m mail) (d mtatest.Delivery, refusal string) {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	mtatest.Check(t, err)
	defer c.Close()
	mtatest.Check(t, c.Hello("client.example.net"))
	if err := c.Mail(m.from, &gosmtp.MailOptions{Body: gosmtp.Body8BitMIME}); err != nil {
		return d, reply1(err)
	}
	for _, to := range m.to {
		if err := c.Rcpt(to, nil); err != nil {
			refusal = reply1(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return d, refusal
	}
	before := len(hop.Deliveries())
	io.WriteString(w, m.data)
	if err := w.Close(); err != nil {
		return d, reply1(err)
	}
	c.Quit()
	return hop.Await(t, before+1)[before], refusal
}

func reply1(err error) string {
	var e *gosmtp.SMTPError
	if errors.As(err, &e) {
		return fmt.Sprintf("%d %d.%d.%d %s", e.Code, e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2], e.Message)
	}
	return err.Error()
}

// localClient is the client that Postfix sees.
func localClient() pipeline.Client {
	c := testClient
	c.Addr, c.Local = netip.MustParseAddrPort("127.0.0.1:4711"), netip.MustParseAddrPort("127.0.0.1:25")
	c.Name, c.Reverse = "localhost", "localhost"
	return c
}

// differ shows the first lines that are not the same.
func differ(t *testing.T, what, ours, theirs string) {
	t.Helper()
	if ours == theirs {
		return
	}
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	t.Errorf("%s differ at line %d\nours:\n%s\nPostfix:\n%s", what, i+1,
		strings.Join(a[i:min(i+5, len(a))], "\n"), strings.Join(b[i:min(i+5, len(b))], "\n"))
}

const oddMail = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Alice <alice@example.org>\r\nTo:bob@example.net\r\nSubject:   two  spaces\r\n\tand a fold\r\n" +
	"X-A: 1\r\nX-A:\t2\r\nx-a: 3\r\nX-Empty:\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n" +
	"Hello,\r\n\r\n..world.  \r\n.\r\n\xe4\xf6\r\n\r\n"

// comparisons are what a milter does, one script each.
var comparisons = []struct{ name, script string }{
	{"nothing", ""},
	{"headers", `E h"X-Add|added|" ; h"X-Fold|a\n\tb|" ; i"\x00\x00\x00\x00X-Top|0|" ; i"\x00\x00\x00\x03X-Three|3|" ; i"\x00\x00\x00\x63X-End|end|" ; c`},
	{"insert at one", `E i"\x00\x00\x00\x01X-One|1|" ; i"\x00\x00\x00\x01X-One|again|" ; m"\x00\x00\x00\x01Received|changed|" ; c`},
	{"change", `E m"\x00\x00\x00\x02X-A||" ; m"\x00\x00\x00\x02X-A|three|" ; h"X-A|four|" ; m"\x00\x00\x00\x03X-A|changed|" ; m"\x00\x00\x00\x09X-A|six|" ; m"\x00\x00\x00\x09X-A||" ; m"\x00\x00\x00\x00Subject|new|" ; c`},
	{"values", `E h"X-Long|` + strings.Repeat("word ", 40) + `end|" ; h"X-Space|  two|" ; h"X-Tab|\ttab|" ; h"X-Fold|a\n b|" ; c`},
	{"body", `E b"one\ntwo\r" ; b"\nthree\r\n.dot\r\n" ; b"four" ; c`},
	{"empty body", `E b"" ; c`},
	{"envelope", `E +"<c@example.org>|" ; 2"<d@example.org>|NOTIFY=NEVER|" ; -"<bob@example.net>|" ; e"<new@example.net>|" ; c`},
	{"rejects", `E y"554-5.7.1 Two\r\n554 5.7.1 lines|"`},
	{"rejects plainly", `E r`},
	{"fails", `E t`},
	{"rejects a recipient", "R r\nR c"},
	{"rejects the sender", `M y"451 4.3.0 100%% full|"`},
	{"accepts early", `L a`},
	{"skips", "L c\nB s"},
}

// comparison is one script for a milter that wants some steps.
type comparison struct {
	script string
	terms  wire.Terms
	theirs *fake  // what Postfix talks to
	addr   string // where Postfix listens
}

// TestAgainstPostfix sends the same mail through Postfix and through the
// pipeline, with the same milter, and compares what the milter saw, what came
// out, and what the client was told. Each side of each comparison has a milter
// of its own: Postfix takes leave of it some time after the client has left.
func TestAgainstPostfix(t *testing.T) {
	hop := mtatest.StartHop(t, "127.0.0.1:0", nil)
	names, all, milters := []string(nil), []*comparison(nil), []string(nil)
	for _, steps := range []gomilter.OptProtocol{0, gomilter.OptHeaderLeadingSpace | gomilter.OptSkip, gomilter.OptNoHeaderReply | gomilter.OptNoBodyReply} {
		for _, c := range comparisons {
			tm := wire.Terms{Version: 6, Actions: wire.Offer(6).Actions, Steps: steps}
			theirs := newFake(t, tm)
			theirs.follow(c.script)
			names = append(names, fmt.Sprintf("%s %#x", c.name, uint32(steps)))
			all = append(all, &comparison{script: c.script, terms: tm, theirs: theirs})
			milters = append(milters, "inet:"+theirs.ln.Addr().String())
		}
	}
	for i, addr := range mtatest.Postfix(t, hop.Addr, milters...) {
		all[i].addr = addr
	}
	for i, c := range all {
		t.Run(names[i], func(t *testing.T) { c.run(t, hop) })
	}
}

func (c *comparison) run(t *testing.T, hop *mtatest.Hop) {
	m := mail{client: localClient(), from: "alice@example.org", params: "BODY=8BITMIME", to: []string{"bob@example.net", "carol@example.net"}, data: oddMail}
	d, refusal := send(t, c.addr, hop, m)
	c.theirs.await(t)

	fake := newFake(t, c.terms)
	fake.follow(c.script)
	r := drive(t, newTestPipeline(t, step(newTestFilter(t, fake.config()))), m)
	fake.await(t)

	differ(t, "events", events(fake.take()), events(c.theirs.take()))
	if d.Data == "" || refusal != "" {
		differ(t, "replies", strings.ReplaceAll(said(r), " / ", "\n"), refusal)
	}
	if d.Data == "" {
		return
	}
	differ(t, "messages", mtatest.Alike(r.message), mtatest.Alike(d.Data))
	differ(t, "senders", r.view.Sender().String(), d.From)
	var to []string
	for _, rcpt := range r.view.Rcpts() {
		to = append(to, rcpt.Addr.String())
	}
	slices.Sort(to)
	slices.Sort(d.To)
	differ(t, "recipients", strings.Join(to, "\n"), strings.Join(d.To, "\n"))
}

// said is the refusal in a trace, "" if there is none.
func said(r result) string {
	for _, e := range r.trace.Events {
		if e.Reply != "" {
			return e.Reply
		}
	}
	return ""
}

// events are the packets from MAIL to the end of the message.
func events(log []string) string {
	var b bytes.Buffer
	for _, l := range log {
		if strings.HasPrefix(l, "> M") || b.Len() > 0 {
			if strings.HasPrefix(l, "> A") || strings.HasPrefix(l, "> Q") || strings.HasPrefix(l, "> K") {
				break
			}
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

func TestAgainstPostfixWithOpenDKIM(t *testing.T) {
	socket, _ := mtatest.OpenDKIM(t, "example.org", "s", "Canonicalization relaxed/simple")
	compareMilter(t, socket, plainMail)
}

func TestAgainstPostfixWithSpamassMilter(t *testing.T) {
	socket := mtatest.SpamassMilter(t, mtatest.Spamd(t))
	compareMilter(t, socket, plainMail, strings.Replace(plainMail, "Hello", mtatest.GTUBE, 1))
}

func compareMilter(t *testing.T, socket string, messages ...string) {
	t.Helper()
	hop := mtatest.StartHop(t, "127.0.0.1:0", nil)
	addr := mtatest.Postfix(t, hop.Addr, "unix:"+socket)[0]
	// SpamAssassin compares Date with the macro b.
	p := newPipelineAt(t, time.Now, patient(newTestFilter(t, `connect = "unix:`+socket+`"`)))
	for _, data := range messages {
		m := mail{client: localClient(), from: "alice@example.org", to: []string{"bob@example.net"}, data: data}
		d, refusal := send(t, addr, hop, m)
		if refusal != "" {
			t.Fatal(refusal)
		}
		differ(t, "messages", mtatest.Alike(drive(t, p, m).message), mtatest.Alike(d.Data))
	}
}
