package managesieved

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/directory"
)

// What no command is is answered NO, and the session goes on, in step.
func TestMalformed(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	for _, command := range []string{
		"", " NOOP", "NOOP  \"x\"", "NOOP \"x", "NOOP \"a\\b\"", "\x00", "\xff\xfe", "LISTSCRIPTS x", "SETACTIVE", "SETACTIVE x", "SETACTIVE \"a\" \"b\"",
		"PUTSCRIPT", "PUTSCRIPT \"a\"", "PUTSCRIPT \"a\" keep;", "PUTSCRIPT \"a\" \"keep;\" x", "PUTSCRIPT \"a\" {5+}\r\nkeep;x", "PUTSCRIPT \"a\" {+}",
		"PUTSCRIPT \"a\" {5+}x", "HAVESPACE \"a\"", "HAVESPACE \"a\" x", "HAVESPACE \"a\" -1",
		"RENAMESCRIPT \"a\"", "GETSCRIPT {3+}\r\na\x00b", "DELETESCRIPT \"a\x00b\"", "GETSCRIPT \"" + strings.Repeat("a", 70000) + "\"",
		"GETSCRIPT {70000+}\r\n" + strings.Repeat("a", 70000), "LOGOUT now", "STARTTLS x", "UNAUTHENTICATE x", "CAPABILITY\tx",
		// A script in the wrong place is no command either.
		"AUTHENTICATE \"PLAIN\" {8+}\r\nLOGOUT\r\n", "NOPE {8+}\r\nLOGOUT\r\n x {8+}\r\nLOGOUT\r\n", "STARTTLS {8+}\r\nLOGOUT\r\n",
	} {
		c.want(command, "NO ")
		c.want("NOOP", "OK ")
	}
}

// Names that the directory does not take, and texts that are no script.
func TestBadNamesAndTexts(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	for _, name := range []string{"", "a\tb", "a\x7fb", "\xff", "a\xe2\x80\xa8b", strings.Repeat("x", 513)} {
		c.want(fmt.Sprintf("PUTSCRIPT \"%s\" \"keep;\"", name), "NO ")
	}
	for _, text := range []string{"", "keep;\x00", "\xff\xfe", "if", "keep", "require \"nope\";", strings.Repeat("(", 100000)} {
		c.want(put("a", text), "NO ")
	}
	list, err := s.dir.Scripts(t.Context(), s.users["alice"].ID, directory.Sieve)
	if err != nil || len(list) != 0 {
		t.Errorf("stored: %v, %v", list, err)
	}
}

// A literal that is too large is skipped if that is bearable, else the connection
// ends; a kind of literal that ManageSieve does not have ends it at once.
func TestHugeLiterals(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	c.send(fmt.Sprintf("PUTSCRIPT \"a\" {%d+}\r\n", directory.MaxScript+1))
	chunk := bytes.Repeat([]byte("# a line\r\n"), 1000)
	for sent := 0; sent <= directory.MaxScript; {
		n, err := c.conn.Write(chunk[:min(len(chunk), directory.MaxScript+1-sent)])
		check1(t, err)
		sent += n
	}
	c.want("", "NO (QUOTA/MAXSIZE) ")
	c.want("NOOP", "OK ")
	c.send("PUTSCRIPT \"a\" {4000000000+}\r\n")
	if got := c.eof(); got != "BYE \"Command is too long\"\r\n" {
		t.Errorf("4 GB: %q", got)
	}
	c = login(t, s)
	c.send("NOOP {99999999999999999999+}\r\nUNAUTHENTICATE\r\n") // the literal's octets are no command
	if got := c.eof(); !strings.HasSuffix(got, "BYE \"Command is too long\"\r\n") || strings.Contains(got, "Logged out") {
		t.Errorf("more than a number holds: %q", got)
	}
	c = login(t, s)
	c.send("PUTSCRIPT \"a\" {5}\r\n")
	if got := c.eof(); !strings.HasPrefix(got, "BYE ") {
		t.Errorf("synchronising: %q", got)
	}
}

// A line without end costs no memory, and ends.
func TestEndlessLine(t *testing.T) {
	s := newSite(t, nil)
	c := dial(t, s)
	c.answer()
	chunk := bytes.Repeat([]byte("A"), 64<<10)
	for range 200 { // more than is skipped
		check1(t, c.conn.SetWriteDeadline(time.Now().Add(20*time.Second)))
		if _, err := c.conn.Write(chunk); err != nil {
			return // the server has ended it
		}
	}
	t.Error("12 MB of a line were read")
}

// Ten thousand commands at once are answered, each in its turn.
func TestFlood(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	const n = 10000
	go func() {
		var in strings.Builder
		for i := range n {
			fmt.Fprintf(&in, "NOOP \"%d\"\r\n", i)
		}
		_, _ = c.conn.Write([]byte(in.String())) // what is missing is missed below
	}()
	for i := range n {
		if got := c.line(); got != fmt.Sprintf("OK (TAG \"%d\") \"Done\"\r\n", i) {
			t.Fatalf("%d: %q", i, got)
		}
	}
	c.send(strings.Repeat("NOPE\r\n", 20))
	if got := c.eof(); strings.Count(got, "NO ") != 20 || !strings.HasSuffix(got, "BYE \"Too many commands that make no sense\"\r\n") {
		t.Errorf("after nonsense: %q", got)
	}
}

// fuzzConn plays a client that sends everything at once and reads what comes.
type fuzzConn struct {
	in  *strings.Reader
	out bytes.Buffer
}

func (f *fuzzConn) Read(p []byte) (int, error)       { return f.in.Read(p) }
func (f *fuzzConn) Write(p []byte) (int, error)      { return f.out.Write(p) }
func (f *fuzzConn) Close() error                     { return nil }
func (f *fuzzConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (f *fuzzConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (f *fuzzConn) SetDeadline(time.Time) error      { return nil }
func (f *fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (f *fuzzConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession runs whole sessions, before login and after. Whatever a client
// sends: the server does not panic, does not hang, and all that it writes are
// responses.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"CAPABILITY\r\nNOOP \"a\"\r\nNOOP {3+}\r\na\"b\r\nLOGOUT\r\n",
		"HAVESPACE \"x\" 10\r\nPUTSCRIPT \"x\" {5+}\r\nkeep;\r\nSETACTIVE \"x\"\r\nLISTSCRIPTS\r\nGETSCRIPT \"x\"\r\nDELETESCRIPT \"x\"\r\nSETACTIVE \"\"\r\nDELETESCRIPT \"x\"\r\n",
		"PUTSCRIPT \"y\" \"if\"\r\nCHECKSCRIPT {20+}\r\nrequire \"include\";\r\n\r\n",
		"PUTSCRIPT \"a\" \"require \\\"include\\\"; include \\\"b\\\";\"\r\nRENAMESCRIPT \"a\" \"b\"\r\nSETACTIVE \"b\"\r\n",
		"UNAUTHENTICATE\r\nAUTHENTICATE \"PLAIN\"\r\n\"*\"\r\n" + aliceIn + "\r\nAUTHENTICATE \"PLAIN\" {0+}\r\n\r\n",
		"STARTTLS\r\n", "{5}\r\n", "PUTSCRIPT \"a\" {5}\r\n", "NOPE {5+}\r\nabcde {99+}\r\n", "\r\n\r\n", "GETSCRIPT \"\\\"\\\\\"\r\n",
		"PUTSCRIPT \"\xff\" \"keep;\"\r\nGETSCRIPT \"a\x00\"\r\nHAVESPACE \"x\" 4294967296\r\n",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	s := newSite(f, func(c *Config) { c.TLS, c.Logger = nil, slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, in string, loggedIn bool) {
		if loggedIn {
			in = aliceIn + "\r\n" + in
		}
		conn := &fuzzConn{in: strings.NewReader(in)}
		ses := newSession(t.Context(), s.server, s.server.NewConn(conn), false)
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			ses.talk()
		}()
		select {
		case p := <-panicked:
			if p != nil {
				t.Fatalf("panic: %v", p)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("hangs")
		}
		checkResponses(t, conn.out.String())
	})
}

// checkResponses reads what a server said as the grammar has it: lines of
// strings, atoms and one list of them.
func checkResponses(t *testing.T, out string) {
	t.Helper()
	for rest := out; rest != ""; {
		before := rest
		var good bool
		if rest, good = skipLine(rest); !good {
			t.Fatalf("not a response: %.200q", before)
		}
	}
}

func skipLine(s string) (rest string, good bool) {
	for !strings.HasPrefix(s, "\r\n") {
		switch {
		case s == "":
			return s, false
		case s[0] == '"':
			n := 1
			for n < len(s) && s[n] != '"' {
				if s[n] == '\\' {
					n++
				}
				if n < len(s) && strings.IndexByte("\r\n\x00", s[n]) >= 0 {
					return s, false
				}
				n++
			}
			if n >= len(s) {
				return s, false
			}
			s = s[n+1:]
		case s[0] == '{':
			var n int
			head, after, ok := strings.Cut(s, "\r\n")
			if _, err := fmt.Sscanf(head, "{%d}", &n); err != nil || !ok || n > len(after) {
				return s, false
			}
			s = after[n:]
		case s[0] >= 'A' && s[0] <= 'Z' || strings.IndexByte(" ()/-", s[0]) >= 0:
			s = s[1:]
		default:
			return s, false
		}
	}
	return s[2:], true
}
