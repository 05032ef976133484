package imapd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

func TestNewNeedsStoreAndLogin(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty Config was taken")
	}
	if _, err := New(Config{Mailbox: &mailbox.Store{}}); err == nil {
		t.Error("a Config without Authenticate was taken")
	}
}

func TestServeRefuses(t *testing.T) {
	s := newSite(t, nil)
	plain, err := New(Config{Mailbox: s.store, Authenticate: testAuthenticate})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := plain.Serve(t.Context(), l, true); err == nil {
		t.Error("implicit TLS without a certificate")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := plain.Serve(ctx, l, false); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := plain.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := plain.Serve(t.Context(), l, false); !errors.Is(err, ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}

// TestRefusals checks how errors read in the protocol, and that the text of one
// nobody foresaw stays inside.
func TestRefusals(t *testing.T) {
	s := newSite(t, nil)
	here, there := net.Pipe()
	defer here.Close()
	ses := newSession(t.Context(), s.server, s.server.NewConn(there), false)
	tests := []struct {
		err  error
		want string
		ends bool
	}{
		{&wire.SyntaxError{Text: "odd"}, "BAD  odd", false},
		{&wire.SyntaxError{Code: "TOOBIG", Text: "large"}, "BAD TOOBIG large", false},
		{fmt.Errorf("x: %w", mailbox.ErrNoFolder), "NO NONEXISTENT No such mailbox", false},
		{fmt.Errorf("x: %w", mailbox.ErrExists), "NO ALREADYEXISTS Mailbox already exists", false},
		{mailbox.ErrTooMany, "NO LIMIT Too many mailboxes or keywords", false},
		{errors.New("secret path /var"), "NO UNAVAILABLE Temporary failure, try again later", false},
		{fatal{errBabble}, "", true},
	}
	for _, tt := range tests {
		rep, err := ses.refusal(tt.err)
		switch {
		case (err != nil) != tt.ends:
			t.Errorf("%v: ends with %v", tt.err, err)
		case err == nil && rep.status+" "+rep.code+" "+rep.text != tt.want:
			t.Errorf("%v: %+v, want %q", tt.err, rep, tt.want)
		}
	}
}

// TestMalformed sends what no command is. Each is answered BAD, and the
// session goes on.
func TestMalformed(t *testing.T) {
	s := newSite(t, nil)
	s.put(t, "alice", "INBOX", plainMessage(1), mailbox.Flags{})
	c := login(t, s, "alice")
	c.ok("SELECT INBOX")
	deep := "SEARCH " + strings.Repeat("NOT ", 60) + "SEEN"
	for _, cmd := range []string{
		"", "UID", "UID NOOP", "NOOP now", "SELECT", "SELECT a b", "SELECT \"a", "FETCH", "FETCH 1", "FETCH 1 ", "FETCH 1:2:3 FLAGS",
		"FETCH 1 (FLAGS", "FETCH 1 FLAGS)", "FETCH 1 ALL FLAGS", "FETCH 1 (ALL)", "FETCH 1 BODY[", "FETCH 1 BODY[1", "FETCH 1 BODY[1.]",
		"FETCH 1 BODY[.1]", "FETCH 1 BODY[HEADER.FIELDS]", "FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 1 BODY[]<1>", "FETCH 1 BODY[]<1.2",
		"FETCH 1 BODY[TEXT.MIME]", "FETCH 1 (" + strings.Repeat("UID ", 600) + "UID)", "STORE 1 FLAGS", "STORE 1 FLAGS (\\Seen", "STORE 1 *FLAGS ()",
		"COPY 1", "COPY x INBOX", "MOVE 1 &x", "SEARCH", "SEARCH (", "SEARCH NOT", "SEARCH OR SEEN", "SEARCH BEFORE tomorrow", "SEARCH LARGER x",
		"SEARCH UID", "SEARCH RETURN ALL", "SEARCH HEADER x", deep, "SEARCH " + strings.Repeat("(", 60), "LIST", "LIST \"\"", "LIST (X) \"\" *",
		"LIST \"\" * RETURN", "LIST \"\" * RETURN (STATUS)", "LIST \"\" * RETURN (STATUS ())", "STATUS INBOX", "STATUS INBOX ()", "CREATE",
		"CREATE a (USE)", "CREATE a (FOO (\\Sent))", "RENAME a", "APPEND", "APPEND INBOX", "APPEND INBOX (\\Seen)", "APPEND INBOX \"x\" {3+}\r\nabc",
		"APPEND INBOX {3+}\r\nabcd", "ID", "ID x", "ID (\"a\")", "ENABLE", "IDLE x", "STARTTLS", "UID EXPUNGE", "UID EXPUNGE x", "NAMESPACE x",
		"LOGIN " + strings.Repeat("a", 70000), "SELECT {70000}", "SELECT {70000+}\r\n" + strings.Repeat("x", 70000),
	} {
		if _, tagged := c.do(cmd); !strings.HasPrefix(tagged, "BAD ") {
			t.Errorf("%.80q: %s", cmd, tagged)
		}
		c.ok("NOOP")
	}
}

func TestSectionName(t *testing.T) {
	for _, name := range []string{
		"[]", "[HEADER]", "[TEXT]", "[1]", "[1.2.3]", "[1.MIME]", "[2.HEADER]", "[HEADER.FIELDS (From To)]",
		"[1.HEADER.FIELDS.NOT (X-A)]", `[HEADER.FIELDS ("X(a")]`,
	} {
		r := wire.NewReader(strings.NewReader(name+"<5.7>\r\n"), &wire.Buffers{}, wire.Limits{}, nil)
		r.Begin()
		var it fetchItem
		readSection(r, &it)
		if err := r.End(); err != nil || it.name != "BODY"+name+"<5>" || it.section.length != 7 {
			t.Errorf("%s: %+v, %v", name, it, err)
		}
	}
}

func TestAppendSizes(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxMessageSize = 1 << 20 })
	c := login(t, s, "alice")
	c.ok("SELECT INBOX")
	for _, size := range []int{1, 4095, 4096, 65536, 300 << 10, 1 << 20} { // in memory, spooled, at the limit
		body := strings.Repeat("x", size)
		c.append("INBOX", body)
		got := c.ok("FETCH * (RFC822.SIZE BODY.PEEK[])")
		contains(t, got, fmt.Sprintf("RFC822.SIZE %d BODY[] {%d}\r\n%s)", size, size, body))
	}
	over := 1<<20 + 1
	if _, tagged := c.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", over, strings.Repeat("x", over))); !strings.HasPrefix(tagged, "NO [TOOBIG]") {
		t.Errorf("over the limit: %s", tagged)
	}
	if _, tagged := c.do("APPEND INBOX {5+}\r\nab\x00cd"); !strings.HasPrefix(tagged, "NO ") {
		t.Errorf("NUL: %s", tagged)
	}
	c.ok("NOOP")
	c.send("z APPEND INBOX {99999999999+}\r\n")
	if got := c.eof(); !strings.Contains(got, "* BYE [TOOBIG]") {
		t.Errorf("a flood: %q", got)
	}
}

// TestAccountsAreApart looks for bob's mail as alice.
func TestAccountsAreApart(t *testing.T) {
	s := newSite(t, nil)
	s.put(t, "bob", "INBOX", plainMessage(1), mailbox.Flags{})
	c := login(t, s, "alice")
	contains(t, c.ok("SELECT INBOX"), "* 0 EXISTS")
	s.put(t, "bob", "INBOX", plainMessage(2), mailbox.Flags{})
	if got := c.ok("NOOP"); len(got) != 0 {
		t.Errorf("told of bob's mail: %s", got)
	}
}

// TestCapabilitiesAreServed sends one command for each extension that is
// advertised.
func TestCapabilitiesAreServed(t *testing.T) {
	s := newSite(t, nil)
	s.put(t, "alice", "INBOX", plainMessage(1), mailbox.Flags{})
	c := login(t, s, "alice")
	c.ok("SELECT INBOX")
	proofs := map[string]string{
		"ID": "ID NIL", "ENABLE": "ENABLE X", "IDLE": "", "NAMESPACE": "NAMESPACE", "UIDPLUS": "UID EXPUNGE 1", "MOVE": "MOVE 1 Trash",
		"UNSELECT": "UNSELECT", "CHILDREN": `LIST "" * RETURN (CHILDREN)`, "LIST-EXTENDED": `LIST (SUBSCRIBED) "" (* %)`,
		"LIST-STATUS": `LIST "" * RETURN (STATUS (MESSAGES))`, "SPECIAL-USE": `LIST (SPECIAL-USE) "" *`,
		"CREATE-SPECIAL-USE": `CREATE x (USE (\Junk))`, "ESEARCH": "UID SEARCH RETURN (COUNT) ALL", "WITHIN": "SEARCH YOUNGER 60",
	}
	for _, name := range strings.Fields(extensions) {
		cmd, known := proofs[name]
		if !known {
			t.Errorf("%s is advertised, but nothing proves it", name)
		}
		if cmd == "" { // a test of its own
			continue
		}
		c.ok(cmd)
		if _, tagged := c.do("CHECK"); strings.HasPrefix(tagged, "BAD") {
			c.ok("SELECT INBOX")
		}
	}
}
