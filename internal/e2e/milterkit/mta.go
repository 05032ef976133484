package milterkit

import (
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// MTA is a mail server that asks a milter about mail and gives it to a next hop.
// What is compared with another MTA's is Transcript.
type MTA struct {
	Name string
	Addr string // where it takes mail
	Hop  *mtatest.Hop
}

// Session is what a client says. A line is a command; "DATA" is followed by the
// message, if the server wants it. Commands that make no sense after a refusal
// are left out.
type Session struct {
	Say  []string
	Data string
	Gone bool // what is accepted does not come to the next hop
}

// Plain is a session with one message for some recipients.
func Plain(data string, to ...string) Session {
	say := []string{"EHLO client.test", "MAIL FROM:<ann@x.test>"}
	for _, r := range to {
		say = append(say, "RCPT TO:<"+r+">")
	}
	return Session{Say: append(say, "DATA", "QUIT"), Data: data}
}

// client is one session under way.
type client struct {
	t        testing.TB
	conn     *textproto.Conn
	out      []string
	from     bool // a transaction is under way
	rcpts    int
	accepted int
	closed   bool
}

// Play has the session with the mail server. What it returns has a line for each
// reply, whole where it is a refusal, and the messages that came to the next hop.
func (a *MTA) Play(t testing.TB, s Session) string {
	t.Helper()
	for _, d := range a.Hop.Take() {
		t.Errorf("%s: a message too many:\n%s", a.Name, d.Data)
	}
	conn, err := net.DialTimeout("tcp", a.Addr, 10*time.Second)
	mtatest.Check(t, err)
	defer conn.Close()
	mtatest.Check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := &client{t: t, conn: textproto.NewConn(conn)}
	c.hear("banner")
	for _, line := range s.Say {
		c.say(line, s.Data)
	}
	if !s.Gone && c.accepted > 0 {
		mtatest.Eventually(t, "mail of "+a.Name+" at the next hop", 10*time.Second, func() bool { return len(a.Hop.Deliveries()) >= c.accepted })
		c.out = append(c.out, deliveries(a.Hop.Take()))
	}
	return strings.Join(c.out, "\n")
}

func deliveries(all []mtatest.Delivery) string {
	var b strings.Builder
	slices.SortFunc(all, func(a, b mtatest.Delivery) int { return strings.Compare(a.From, b.From) })
	for _, d := range all {
		slices.Sort(d.To)
		fmt.Fprintf(&b, "from <%s> to %s\n%s", d.From, strings.Join(d.To, " "), mtatest.Alike(d.Data))
	}
	return b.String()
}

// traced is what mtad ends a refusal with: the name of its trace.
var traced = regexp.MustCompile(` \[[0-9a-z]{13}\]`)

// words are what mail servers say by themselves, each in its own words; the codes
// are compared.
var words = strings.NewReplacer(
	"Service unavailable, try again later", "FAULT", "Service unavailable - try again later", "FAULT", // mtad, Postfix
	"4.7.0 Closing the connection", "CLOSING", "4.7.0 Server closing connection", "CLOSING",
	"Error: command not recognized", "UNKNOWN", "Command not recognized", "UNKNOWN",
	"Error: nested MAIL command", "NESTED", "One transaction at a time; RSET ends it", "NESTED",
)

// hear reads a reply: of one that is no refusal only the first digit counts.
func (c *client) hear(what string) (code int) {
	code, text, err := c.conn.ReadResponse(0)
	switch {
	case err != nil && code == 0:
		c.closed = true
		c.out = append(c.out, what+": closed")
	case code < 400:
		c.out = append(c.out, fmt.Sprintf("%s: %dxx", what, code/100))
	default:
		c.out = append(c.out, fmt.Sprintf("%s: %d %s", what, code, words.Replace(traced.ReplaceAllString(text, ""))))
		c.closed = c.closed || code == 421
	}
	return code
}

// sensible reports whether a command is to be said at all.
func (c *client) sensible(verb string) bool {
	switch verb {
	case "RCPT":
		return c.from
	case "DATA":
		return c.rcpts > 0
	}
	return true
}

func (c *client) say(line, data string) {
	verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
	if c.closed || !c.sensible(verb) {
		return
	}
	if err := c.conn.PrintfLine("%s", line); err != nil {
		c.closed = true
		c.out = append(c.out, verb+": closed")
		return
	}
	ok := c.hear(line)/100 == 2
	switch verb {
	case "MAIL":
		c.from, c.rcpts = ok, 0
	case "RCPT":
		if ok {
			c.rcpts++
		}
	case "RSET", "EHLO", "HELO":
		c.from, c.rcpts = false, 0
	case "DATA":
		if strings.HasSuffix(c.out[len(c.out)-1], "3xx") {
			c.content(data)
		}
		c.from, c.rcpts = false, 0
	}
}

// content sends the message, octet for octet but for the dots of SMTP (RFC 5321,
// 4.5.2).
func (c *client) content(data string) {
	data = strings.ReplaceAll("\n"+data, "\n.", "\n..")[1:]
	if !strings.HasSuffix(data, "\r\n") {
		data += "\r\n"
	}
	c.conn.W.WriteString(data + ".\r\n")
	if err := c.conn.W.Flush(); err != nil {
		c.closed = true
		c.out = append(c.out, "message: closed")
		return
	}
	if c.hear("message")/100 == 2 {
		c.accepted++
	}
}

// refused finds a refusal in a transcript.
var refused = regexp.MustCompile(`(?m)^[^<>\n]*(?:<\S*>)?[^<>\n]*: ([45])\d\d `)

// Fate is what came of the mail of a transcript, whenever it was said: it arrived,
// or with which class of codes it was refused first.
func Fate(transcript string) string {
	if strings.Contains(transcript, "\nfrom <") {
		return "arrived"
	}
	if m := refused.FindStringSubmatch(transcript); m != nil {
		return m[1] + "xx"
	}
	return "dropped"
}

// Events are the events that a milter noted, from HELO on: how a session ends is
// every mail server's own affair, and the connection has ports.
func Events(log []string) string {
	var b strings.Builder
	for _, l := range log {
		if len(l) > 2 && l[0] == '>' && !strings.ContainsRune("OCAQK", rune(l[2])) {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// Differ is the first lines that are not the same, "" if all are.
func Differ(nameA, a, nameB, b string) string {
	if a == b {
		return ""
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	i := 0
	for i < min(len(x), len(y)) && x[i] == y[i] {
		i++
	}
	part := func(lines []string) string {
		return fmt.Sprintf("%.1500q", lines[max(0, min(i-1, len(lines))):min(i+4, len(lines))])
	}
	return fmt.Sprintf("line %d\n%s: %s\n%s: %s", i+1, nameA, part(x), nameB, part(y))
}
