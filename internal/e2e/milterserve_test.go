//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// everyStage is a rule for each stage, and each edit that a milter may make.
const everyStage = `
function connect(msg) msg:set_tag("seen", msg.client.addr) end

function helo(msg)
  if msg.client.helo == "bad.test" then msg:reject("Not bad.test", 553) end
end

function mail(msg)
  if msg.sender == "bad@x.test" then msg:tempfail("100% later") end
end

function rcpt(msg)
  if msg.rcpt:match("^no@") then msg:reject("Not for no") end
end

function data(msg)
  if msg.sender == "nodata@x.test" then msg:reject("No data from you", 554) end
end

local edits = {
  refused = function(msg) msg:reject("Spam") end,
  dropped = function(msg) msg:discard() end,
  sender = function(msg) msg:set_sender("new@example.test") end,
  rcpts = function(msg) msg:add_rcpt("added@far.test"); msg:remove_rcpt("one@far.test") end,
  fields = function(msg)
    msg:insert_header("X-Top", msg.client.helo .. " " .. msg:tag("seen"))
    msg:set_header("Subject", "changed")
    msg:remove_header("X-Gone")
    msg:add_header("X-End", "one two")
  end,
  held = function(msg) msg:hold("for a look") end,
}

function message(msg)
  local edit = edits[msg.subject]
  if edit then edit(msg) end
end
`

// behindPostfix is mtad with a listener for mail servers beside the SMTP one of
// the same pipeline, and a Postfix that asks it.
func behindPostfix(t *testing.T) (s *server, hop *mtatest.Hop, direct, through string) {
	port := freePort(t)
	hop = mtatest.StartHop(t, local(port), nil)
	socket := filepath.Join(mtatest.OpenDir(t), "mtad.sock")
	s = newServer(t, toHop(port), replace(`listener "submission" {`, `listener "front" {
  protocol    = "milter"
  addr        = ["unix:`+socket+`"]
  socket_mode = "0666"
  pipeline    = "inbound"
}
listener "submission" {`))
	write(t, filepath.Join(s.dir, "rules", "local.lua"), everyStage)
	s.start()
	return s, hop, local(s.SMTP), mtatest.Postfix(t, local(port), "unix:"+socket)[0]
}

// attempt sends a message by SMTP and returns the refusal, "" for none.
func attempt(t *testing.T, addr, helo, from string, to []string, data string) string {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	if err = c.Hello(helo); err == nil {
		if err = c.Mail(from, nil); err == nil {
			for _, r := range to {
				if err = c.Rcpt(r, nil); err != nil {
					break
				}
			}
		}
		if err == nil {
			err = sendData(c, data)
		}
	}
	var refused *gosmtp.SMTPError
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %d.%d.%d %s", refused.Code, refused.EnhancedCode[0], refused.EnhancedCode[1], refused.EnhancedCode[2], refused.Message)
	case err != nil:
		t.Fatal(err)
	}
	return ""
}

func sendData(c *gosmtp.Client, data string) error {
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(data)); err != nil {
		return err
	}
	return w.Close()
}

// TestPostfixAsksMtad sends the same mail to mtad, and to a Postfix that has mtad
// for its milter: the same replies, the same mail at the next hop.
func TestPostfixAsksMtad(t *testing.T) {
	t.Parallel()
	s, hop, direct, through := behindPostfix(t)
	received := regexp.MustCompile(`(?m)^Received: from .*\r\n(?:[ \t].*\r\n)*`)
	traced := regexp.MustCompile(` \[[0-9a-z]{13}\]$`)
	for _, c := range []struct {
		subject, helo, from string
		to                  []string
		replies             string // part of the refusal
		mail                int
	}{
		{"plain", "client.test", "a@x.test", []string{"one@far.test"}, "", 1},
		{"helo", "bad.test", "a@x.test", []string{"one@far.test"}, "553", 0},
		{"mail", "client.test", "bad@x.test", []string{"one@far.test"}, "100% later", 0},
		{"rcpt", "client.test", "a@x.test", []string{"one@far.test", "no@far.test"}, "550 5.7.1 Not for no", 0},
		{"data", "client.test", "nodata@x.test", []string{"one@far.test"}, "554 5.7.1 No data from you", 0},
		{"refused", "client.test", "a@x.test", []string{"one@far.test"}, "550 5.7.1 Spam", 0},
		{"dropped", "client.test", "a@x.test", []string{"one@far.test"}, "", 0},
		{"sender", "client.test", "a@x.test", []string{"one@far.test"}, "", 1},
		{"rcpts", "client.test", "a@x.test", []string{"one@far.test", "two@far.test"}, "", 1},
		{"fields", "client.test", "a@x.test", []string{"one@far.test"}, "", 1},
	} {
		data := strings.Replace(letter("a@x.test", "one@far.test", c.subject, "Hello\n.dot\n"), "Date:", "X-Gone: 1\r\nX-Stays:  two\r\n\tspaces\r\nX-Gone: 2\r\nDate:", 1)
		var came [2]string
		for i, addr := range []string{direct, through} {
			hop.Take()
			reply := traced.ReplaceAllString(attempt(t, addr, c.helo, c.from, c.to, data), "")
			if !strings.Contains(reply, c.replies) || (reply == "") != (c.replies == "") {
				t.Errorf("%s, %d: refused with %q, want %q", c.subject, i, reply, c.replies)
			}
			came[i] = reply + "\n"
			if c.mail == 0 {
				continue
			}
			for _, d := range hop.Await(t, c.mail) {
				slices.Sort(d.To)
				came[i] += fmt.Sprintf("%s %v\n%s", d.From, d.To, received.ReplaceAllString(d.Data, ""))
			}
		}
		if came[0] != came[1] {
			t.Errorf("%s: directly\n%s\nthrough Postfix\n%s\n%s", c.subject, came[0], came[1], s.do("trace", "last"))
		}
	}
	if n := len(hop.Take()); n > 1 {
		t.Errorf("%d messages more at the next hop", n)
	}
}

// TestPostfixHolds checks that what a filter holds lies in Postfix's queue, and
// that the trace names it as Postfix does.
func TestPostfixHolds(t *testing.T) {
	t.Parallel()
	s, _, _, through := behindPostfix(t)
	if reply := attempt(t, through, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", "held", "x")); reply != "" {
		t.Fatal(reply)
	}
	s.lastSays(`hold "for a look"`, "queue ID ", "at mx.example.org")
}

// TestMilterServe checks the command: a server that is a milter and nothing else,
// for the address and the pipeline that its flags name.
func TestMilterServe(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := newServer(t, toHop(port))
	s.start() // which writes what the configuration names
	s.stop()
	write(t, filepath.Join(s.dir, "rules", "local.lua"), everyStage)
	addr := local(freePort(t))
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, `no listener has protocol = "milter"`},
		{[]string{"--listen", "nowhere"}, "want unix:/path or host:port"},
		{[]string{"--listen", addr}, "say which pipeline"},
		{[]string{"--listen", addr, "--pipeline", "inbond"}, `there is no pipeline "inbond"`},
		{[]string{"--pipeline", "inbound"}, "--pipeline needs --listen"},
	} {
		out, code := s.mtad(append([]string{"milter", "serve"}, c.args...)...)
		if code == 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit %d, no %q in %s", c.args, code, c.want, out)
		}
	}
	p := mtatest.Spawn(t, "", stopLimit, mtadPath, "-c", s.config(), "milter", "serve", "--listen", addr, "--pipeline", "inbound")
	p.Await(t, "msg=serving")
	postfix := mtatest.Postfix(t, local(port), "inet:"+addr)[0]
	if reply := attempt(t, postfix, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", "refused", "x")); !strings.Contains(reply, "Spam") {
		t.Errorf("refused with %q", reply)
	}
	if reply := attempt(t, postfix, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", "fields", "x")); reply != "" {
		t.Error(reply)
	}
	mustSay(t, hop.Await(t, 1)[0].Data, "X-Top: client.test 127.0.0.1", "Subject: changed", "X-End: one two")
	mustSay(t, s.do("status"), "milter", addr)
	s.do("reload")
	p.Await(t, "configuration reloaded")
}
