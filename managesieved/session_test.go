package managesieved

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/directory"
	"mtad/imapd/wire"
	"mtad/sieve"
)

func TestNewNeeds(t *testing.T) {
	s := newSite(t, nil)
	for name, c := range map[string]Config{
		"directory": {Authenticate: s.authenticate}, "login": {Directory: s.dir},
		"certificate": {Directory: s.dir, Authenticate: s.authenticate, Implicit: true},
		"TLS":         {Directory: s.dir, Authenticate: s.authenticate, RequireTLS: true},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("a Config without %s was taken", name)
		}
	}
}

// secure makes a client speak TLS.
func (c *client) secure() {
	c.t.Helper()
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	check1(c.t, tc.Handshake())
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func TestStartTLS(t *testing.T) {
	s := newSite(t, func(c *Config) { c.RequireTLS = true })
	c := dial(t, s)
	if hello := c.answer(); !strings.Contains(hello, "\"SASL\" \"\"\r\n") || !strings.Contains(hello, "\"STARTTLS\"\r\n") {
		t.Errorf("before TLS: %s", hello)
	}
	c.want(aliceIn, "NO (ENCRYPT-NEEDED) ")
	c.want("STARTTLS", "OK ")
	c.secure()
	if hello := c.answer(); !strings.Contains(hello, "\"SASL\" \"PLAIN\"\r\n") || strings.Contains(hello, "STARTTLS") {
		t.Errorf("after STARTTLS: %s", hello)
	}
	c.want("STARTTLS", "NO ")
	c.want(aliceIn, "OK ")
	c.want("UNAUTHENTICATE", "OK ")
	c.want(aliceIn, "OK ") // TLS stays
}

func TestImplicitTLS(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Implicit = true })
	c := dial(t, s)
	c.secure()
	if hello := c.answer(); !strings.Contains(hello, "\"SASL\" \"PLAIN\"\r\n") {
		t.Errorf("greeting: %s", hello)
	}
	c.want(aliceIn, "OK ")
	c = dial(t, s)
	c.send("CAPABILITY\r\n") // no handshake: the session ends
	c.eof()
}

func TestNoTLS(t *testing.T) {
	s := newSite(t, func(c *Config) { c.TLS = nil })
	c := dial(t, s)
	if hello := c.answer(); strings.Contains(hello, "STARTTLS") {
		t.Errorf("greeting: %s", hello)
	}
	c.want("STARTTLS", "NO ")
}

// What comes in the clear behind STARTTLS is nobody's word.
func TestStartTLSInjection(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s)
	c.answer()
	c.send("STARTTLS\r\n" + aliceIn + "\r\n" + put("evil", "discard;") + "\r\n")
	if got := c.eof(); !strings.HasPrefix(got, "NO ") || strings.Contains(got, "OK") {
		t.Errorf("answer: %q", got)
	}
	list, err := s.dir.Scripts(t.Context(), s.users["alice"].ID, directory.Sieve)
	if err != nil || len(list) != 0 {
		t.Errorf("scripts: %v, %v", list, err)
	}
}

// remote is a client that is not on this machine.
type remote struct{ net.Conn }

func (remote) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestNoPasswordInTheClear(t *testing.T) {
	s := newSite(t, nil)
	here, there := net.Pipe()
	defer here.Close()
	s.server.Take(remote{there}, false)
	c := &client{t: t, conn: here, r: bufio.NewReader(here)}
	if hello := c.answer(); !strings.Contains(hello, "\"SASL\" \"\"\r\n") {
		t.Errorf("greeting: %s", hello)
	}
	c.want(aliceIn, "NO (ENCRYPT-NEEDED) ")
}

func TestTooManyFailures(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s)
	c.answer()
	wrong := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00wrong"))
	for range 3 {
		c.want(`AUTHENTICATE "PLAIN" "`+wrong+`"`, "NO ")
	}
	if got := c.eof(); got != "BYE \"Too many failed logins\"\r\n" {
		t.Errorf("then %q", got)
	}
}

// A login by literals, each way.
func TestLoginLiterals(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s)
	c.answer()
	c.want("AUTHENTICATE {5+}\r\nPLAIN {16+}\r\nAGFsaWNlAGFsaWNl", "OK ")
	c.want("UNAUTHENTICATE", "OK ")
	c.send("AUTHENTICATE \"PLAIN\"\r\n")
	if got := c.line(); got != "\"\"\r\n" {
		t.Fatalf("challenge %q", got)
	}
	c.want("{16+}\r\nAGFsaWNlAGFsaWNl", "OK ")
}

func TestConnectionLimits(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxConnections = 1 })
	dial(t, s).answer()
	if got := dial(t, s).eof(); got != "BYE (TRYLATER) \"Too many connections\"\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestTimeouts(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"login": func(c *Config) { c.LoginTimeout = 20 * time.Millisecond },
		"idle":  func(c *Config) { c.IdleTimeout = 20 * time.Millisecond },
	} {
		c := dial(t, newSite(t, change))
		if got := c.eof(); !strings.HasSuffix(got, "BYE \"Idle for too long\"\r\n") { // behind the greeting, if that was in time
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A client that stops within a literal holds no session for ever.
func TestSlowLiteral(t *testing.T) {
	s := newSite(t, func(c *Config) { c.StallTimeout = 50 * time.Millisecond })
	c := login(t, s)
	c.send("PUTSCRIPT \"a\" {500000+}\r\nkeep;")
	if got := c.eof(); got != "BYE \"Idle for too long\"\r\n" {
		t.Errorf("got %q", got)
	}
}

// Logging out sets the clock of those who are not logged in.
func TestUnauthenticateTimeout(t *testing.T) {
	var c *client
	for timeout, in := 100*time.Millisecond, false; !in; timeout *= 3 {
		c = dial(t, newSite(t, func(c *Config) { c.LoginTimeout = timeout }))
		in = !strings.HasPrefix(c.answer(), "BYE") && strings.HasPrefix(c.do(aliceIn), "OK") // else the machine is busy
		if !in && timeout > 10*time.Second {
			t.Fatal("there is no time to log in")
		}
	}
	c.want("UNAUTHENTICATE", "OK ")
	if got := c.eof(); got != "BYE \"Idle for too long\"\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestShutdown(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	check1(t, s.server.Shutdown(ctx))
	if got := c.eof(); got != "BYE (TRYLATER) \"Server is shutting down\"\r\n" {
		t.Errorf("got %q", got)
	}
}

// Accounts see their own scripts.
func TestAccountsAreApart(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	c.ok(put("mine", "keep;"))
	c.ok("UNAUTHENTICATE")
	c.ok(`AUTHENTICATE "PLAIN" "AGJvYgBib2I="`)
	if got := c.do("LISTSCRIPTS"); got != "OK \"Completed\"\r\n" {
		t.Errorf("bob sees %q", got)
	}
	c.want(`GETSCRIPT "mine"`, "NO (NONEXISTENT) ")
	c.want(`DELETESCRIPT "mine"`, "NO (NONEXISTENT) ")
}

func TestQuotas(t *testing.T) {
	s := newSite(t, nil)
	s.change(func(o *sieve.Options) { o.Limits.Script = 100 })
	c := login(t, s)
	long := "keep; #" + strings.Repeat("x", 100)
	c.want(put("a", long), "NO (QUOTA/MAXSIZE) ")
	c.want(fmt.Sprintf("PUTSCRIPT \"a\" %q", long), "NO (QUOTA/MAXSIZE) ")
	c.want(`HAVESPACE "a" 101`, "NO (QUOTA/MAXSIZE) ")
	c.want(`HAVESPACE "a" 100`, "OK ")
	for i := range 50 {
		c.ok(put(fmt.Sprint(i), "keep;"))
	}
	c.want(put("a", "keep;"), "NO (QUOTA/MAXSCRIPTS) ")
	c.want(`HAVESPACE "a" 1`, "NO (QUOTA/MAXSCRIPTS) ")
	c.want(put("7", "stop;"), "OK ")
}

// What comes back is what was sent, to the octet.
func TestRoundTrip(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	for i, text := range []string{
		"keep;", "# bare\nkeep;\n", "# {5+}\r\nkeep;\r\n", "# Größe\r\n\r\n", "#" + strings.Repeat("x", directory.MaxScript-3) + "\r\n",
	} {
		c.ok(put("x", text))
		want := fmt.Sprintf("{%d}\r\n%s\r\nOK \"Completed\"\r\n", len(text), text)
		if got := c.do(`GETSCRIPT "x"`); got != want {
			t.Errorf("%d: %.80q of %d octets", i, got, len(got))
		}
	}
}

// A script that the server would no longer take is not activated.
func TestSetActiveChecksAgain(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	c.ok(put("copies", `require "copy"; redirect :copy "a@example.net";`))
	s.change(func(o *sieve.Options) { o.Without = []string{"copy"} })
	c.want(`SETACTIVE "copies"`, "NO ")
}

// A script that includes one that can not be read now is not to blame, and the
// client is told nothing of why.
func TestIncludeFails(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Options = func(context.Context, Account) sieve.Options {
			return sieve.Options{Include: func(string, string) (string, error) { return "", errors.New("no disk at /var/secret") }}
		}
	})
	c := login(t, s)
	for _, command := range []string{"CHECKSCRIPT", `PUTSCRIPT "a"`} {
		if got := c.do(command + ` "require \"include\"; include \"b\";"`); got != "NO (TRYLATER) \"Temporary failure, try again later\"\r\n" {
			t.Errorf("%s: %q", command, got)
		}
	}
	check1(t, s.dir.PutScript(t.Context(), s.users["alice"].ID, directory.Sieve, "a", `require "include"; include "b";`))
	c.want(`SETACTIVE "a"`, "NO (TRYLATER) ")
}

// Texts of errors that nobody foresaw stay inside.
func TestRefusals(t *testing.T) {
	s := newSite(t, nil)
	here, there := net.Pipe()
	defer here.Close()
	ses := newSession(t.Context(), s.server, s.server.NewConn(there), false)
	for _, c := range []struct {
		err  error
		want string
		ends bool
	}{
		{&wire.SyntaxError{Text: "odd"}, "NO \"odd\"\r\n", false},
		{fmt.Errorf("x: %w", directory.ErrNoScript), "NO (NONEXISTENT) \"There is no script of that name\"\r\n", false},
		{errors.New("secret path /var"), "NO (TRYLATER) \"Temporary failure, try again later\"\r\n", false},
		{fatal{errBabble}, "", true},
	} {
		rep, err := ses.refusal(c.err)
		if (err != nil) != c.ends || !c.ends && rep.String() != c.want {
			t.Errorf("%v: %q, %v", c.err, rep.String(), err)
		}
	}
}

// Without options, scripts may be written in all of the language.
func TestDefaultOptions(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Options = nil })
	hello := dial(t, s).answer()
	if !strings.Contains(hello, `"SIEVE" "`+strings.Join(sieve.Extensions(), " ")+`"`) {
		t.Errorf("greeting: %s", hello)
	}
}
