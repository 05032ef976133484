package milterkit

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// Asker is the mail server's side: it tells a milter of a session, and fails the
// test for whatever breaks the protocol.
type Asker struct {
	Offer, Agreed Terms

	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// Mail is a message as a mail server has it. Values are what stands behind the
// colon, with LF in folded fields.
type Mail struct {
	Helo, From string
	To         []string
	Fields     [][2]string
	Body       string
}

// Ask connects to a milter and negotiates.
func Ask(t testing.TB, network, addr string, offer Terms) *Asker {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, 10*time.Second)
	mtatest.Check(t, err)
	t.Cleanup(func() { conn.Close() })
	a := &Asker{t: t, conn: conn, in: bufio.NewReader(conn), Offer: offer}
	a.put('O', offer.append())
	code, data := a.get()
	if code != 'O' {
		t.Fatalf("the negotiation is answered with %q", code)
	}
	a.Agreed, err = parseTerms(data)
	mtatest.Check(t, err)
	if g := a.Agreed; g.Version < 2 || g.Version > offer.Version || g.Actions&^offer.Actions != 0 || g.Steps&^offer.Steps != 0 {
		t.Errorf("offered %+v, the milter wants %+v", offer, g)
	}
	return a
}

func (a *Asker) put(code byte, data string) {
	a.t.Helper()
	mtatest.Check(a.t, a.conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := a.conn.Write(Packet(code, data))
	mtatest.Check(a.t, err)
}

func (a *Asker) get() (code byte, data string) {
	a.t.Helper()
	code, data, err := read(a.in)
	mtatest.Check(a.t, err)
	return code, data
}

// macros are those that a milter is told before an event.
func (a *Asker) macros(event byte, pairs ...string) {
	a.put('D', string(event)+strings.Join(pairs, "\x00")+"\x00")
}

// tell tells of an event, if the milter wants to know, and returns the answer as
// transcripts have it, "" for continue.
func (a *Asker) tell(code byte, data string) string {
	a.t.Helper()
	k := kinds[code]
	if a.Agreed.Steps&k.skip != 0 || a.Agreed.Version < k.since {
		return ""
	}
	a.put(code, data)
	if a.Agreed.Steps&k.mute != 0 {
		return ""
	}
	answer, data := a.get()
	return a.verdict(code, answer, data)
}

// replied is what the data of a reply code must be, line by line.
var replied = regexp.MustCompile(`^([45])[0-9][0-9](?:[ -](?:([45])\.\d{1,3}\.\d{1,3} )?[ -~]*)?$`)

// verdict checks an answer that is no edit.
func (a *Asker) verdict(event, answer byte, data string) string {
	a.t.Helper()
	switch {
	case answer == 'y':
		return a.reply(data)
	case data != "":
		a.t.Errorf("%c: answer %q with %q", event, answer, data)
	case answer == 's' && a.Agreed.Steps&0x400 == 0:
		a.t.Errorf("%c: skip was not negotiated", event)
	case answer == 'd' && strings.ContainsRune("CHU", rune(event)):
		a.t.Errorf("%c: discard, where there is no message", event)
	case !strings.ContainsRune("acdrst4", rune(answer)):
		a.t.Errorf("%c: answer %q", event, answer)
	case answer == 'c':
		return ""
	}
	return string(answer)
}

func (a *Asker) reply(data string) string {
	text, ok := strings.CutSuffix(data, "\x00")
	lines := strings.Split(text, "\r\n")
	for i, l := range lines {
		m := replied.FindStringSubmatch(l)
		mark := " "
		if i < len(lines)-1 {
			mark = "-"
		}
		if m == nil || m[2] != "" && m[1] != m[2] || l[:3] != text[:3] || len(l) > 3 && l[3:4] != mark || len(l) > 510 {
			ok = false
		}
	}
	if !ok || strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
		a.t.Errorf("reply code with %q", data)
	}
	return traced.ReplaceAllString(text, "")
}

// refuses reports whether nothing more is told of what was answered so.
func refuses(answer string) bool { return answer != "" && answer != "s" }

// Session tells of a whole session with one message, and returns what came of it:
// an answer, or the message.
func (a *Asker) Session(m Mail) string {
	a.t.Helper()
	a.macros('C', "j", "mx.test", "{daemon_name}", "kit")
	if v := a.tell('C', "client.test\x004\x12\x67192.0.2.7\x00"); refuses(v) {
		return "connect: " + v
	}
	if v := a.tell('H', m.Helo+"\x00"); refuses(v) {
		return "helo: " + v
	}
	return a.Transaction(m)
}

// Transaction tells of one message of a session.
func (a *Asker) Transaction(m Mail) string {
	a.t.Helper()
	a.macros('M', "i", "QUEUEID", "{mail_addr}", strings.Trim(m.From, "<>"))
	if v := a.tell('M', m.From+"\x00"); refuses(v) {
		return "mail: " + v
	}
	var to []string
	for _, r := range m.To {
		a.macros('R', "{rcpt_addr}", strings.Trim(r, "<>"), "{rcpt_mailer}", "smtp")
		switch v := a.tell('R', r+"\x00"); {
		case v == "d":
			return "rcpt: d"
		case !refuses(v) || v == "a":
			to = append(to, r)
		}
	}
	if len(to) == 0 {
		a.put('A', "")
		return "no recipients"
	}
	if v := a.tell('T', ""); refuses(v) {
		return "data: " + v
	}
	m.To = to
	return a.content(m)
}

func (a *Asker) content(m Mail) string {
	d := newDraft(a, m)
	for _, f := range m.Fields {
		if v := a.tell('L', f[0]+"\x00"+d.outward(f[1])+"\x00"); refuses(v) {
			return "header: " + v
		} else if v == "s" {
			break
		}
	}
	if v := a.tell('N', ""); refuses(v) {
		return "eoh: " + v
	}
	for rest := m.Body; rest != ""; {
		n := min(len(rest), 65535)
		v := a.tell('B', rest[:n])
		if rest = rest[n:]; refuses(v) {
			return "body: " + v
		} else if v == "s" {
			break
		}
	}
	a.put('E', "")
	for {
		code, data := a.get()
		if code == 'p' {
			continue
		}
		if edit := draftEdits[code]; edit != nil {
			if err := edit(d, data); err != nil {
				a.t.Errorf("edit %c with %s: %v", code, show(data), err)
			}
			continue
		}
		if v := a.verdict('E', code, data); refuses(v) && v != "a" {
			return "eom: " + v
		}
		return d.String()
	}
}

// Abort ends a transaction.
func (a *Asker) Abort() { a.put('A', "") }

// Again ends the session and begins another on the same connection.
func (a *Asker) Again() { a.put('K', "") }

// Quit takes leave. What the milter still says then, it was not asked for.
func (a *Asker) Quit() {
	a.t.Helper()
	a.put('Q', "")
	if code, data, err := read(a.in); err == nil {
		a.t.Errorf("the milter said %q %s more than it was asked", code, show(data))
	}
	a.conn.Close()
}

// String names the terms.
func (t Terms) String() string {
	return fmt.Sprintf("version %d, actions %#x, steps %#x", t.Version, uint32(t.Actions), uint32(t.Steps))
}
