package imapd

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestGolden runs the dialogues in testdata/dialogue. Commands:
//
//	message NAME      defines a message; its lines end in CRLF
//	deliver FOLDER... puts a message (the input names it, then its flags) into alice's folder
//	imap NAME         sends the input on the connection NAME, which is opened when it is first used, and
//	                  shows what comes back. "{NAME}" is that message as a synchronising
//	                  literal, "{NAME+}" as the other kind. "C: " is shown for what was sent.
//
// UIDVALIDITY is shown as V, whatever it is.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/dialogue", func(t *testing.T, path string) {
		g := &golden{site: newSite(t, func(c *Config) { c.MaxMessageSize = 100000 }), clients: map[string]*client{}, messages: map[string]string{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "message":
				g.messages[d.CmdArgs[0].Key] = crlf(d.Input + "\n")
				return "ok\n"
			case "deliver":
				words := strings.Fields(d.Input)
				g.site.put(t, "alice", d.CmdArgs[0].Key, g.messages[words[0]], toFlags(words[1:]))
				return "ok\n"
			case "imap":
				return g.talk(t, d.CmdArgs[0].Key, d.Input)
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

type golden struct {
	site     *site
	clients  map[string]*client
	messages map[string]string

	inLiteral bool // the next line begins with a literal's octets
}

var (
	placeholder = regexp.MustCompile(`\{([a-z]+)(\+?)\}$`)
	unasked     = regexp.MustCompile(`\{\d+\+\}$`)
	validity    = regexp.MustCompile(`(UIDVALIDITY|COPYUID|APPENDUID) \d+`)
	tagOf       = regexp.MustCompile(`^[a-z0-9]+ `)
)

// talk sends lines one after the other. A line that begins with a tag waits for
// that tag's answer, one that ends in a synchronising literal for the request
// to go on, and IDLE for "+".
func (g *golden) talk(t *testing.T, name, input string) string {
	c := g.clients[name]
	var out strings.Builder
	if c == nil {
		c = dial(t, g.site.addr)
		g.clients[name] = c
		if !strings.HasPrefix(name, "raw") {
			c.line()
			c.ok("LOGIN alice alice")
		} else {
			out.WriteString("S: " + c.line() + "\n")
		}
	}
	for _, l := range strings.Split(input, "\n") {
		if m := tagOf.FindString(l); m != "" && !g.inLiteral {
			c.tag = m
		}
		more := g.sendLine(c, l)
		if g.inLiteral = unasked.MatchString(l); g.inLiteral {
			continue
		}
		if !g.read(c, &out, c.tag, more) {
			delete(g.clients, name)
			break
		}
	}
	return validity.ReplaceAllString(strings.ReplaceAll(out.String(), "\r\n", "\n"), "$1 V")
}

// sendLine sends a line with the message it names, and reports whether a
// continuation is to be waited for.
func (g *golden) sendLine(c *client, l string) bool {
	c.t.Helper()
	m := placeholder.FindStringSubmatch(l)
	if m == nil {
		c.send(l + "\r\n")
		return strings.HasSuffix(l, "IDLE") || strings.HasSuffix(l, "AUTHENTICATE PLAIN") || literalEnd.MatchString(l+"\r\n")
	}
	body := g.messages[m[1]]
	head := strings.TrimSuffix(l, m[0]) + "{" + strconv.Itoa(len(body)) + m[2] + "}\r\n"
	c.send(head)
	if m[2] == "" {
		if r := c.line(); !strings.HasPrefix(r, "+") {
			c.t.Fatalf("no continuation: %s", r)
		}
	}
	c.send(body + "\r\n")
	return false
}

// read shows responses up to the tagged one, or to "+" if that is awaited. It
// reports whether the connection is still open.
func (g *golden) read(c *client, out *strings.Builder, tag string, more bool) bool {
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			c.t.Fatal(err)
		}
		if _, err := c.r.Peek(1); err != nil {
			if !errors.Is(err, io.EOF) {
				c.t.Fatalf("waiting for %q: %v after\n%s", tag, err, out)
			}
			out.WriteString("(closed)\n")
			return false
		}
		l := c.line()
		out.WriteString("S: " + l + "\n")
		if tag != "" && strings.HasPrefix(l, tag) || more && strings.HasPrefix(l, "+") || tag == "" && strings.HasPrefix(l, "* BAD") {
			return true
		}
	}
}
