package imapd

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/mailbox"
)

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

// FuzzCommands runs whole sessions. Whatever a client sends: the server does
// not panic, does not hang, and every line it writes is a response.
func FuzzCommands(f *testing.F) {
	for _, seed := range []string{
		"a FETCH 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (Subject)]<0.5> ENVELOPE BODYSTRUCTURE)\r\n",
		"a UID SEARCH RETURN (MIN COUNT) OR NOT SEEN (FROM x 1:2) CHARSET x\r\n",
		"a SEARCH CHARSET UTF-8 BODY {3+}\r\nabc TEXT \"d\" SENTON 1-Jan-2026 LARGER 5\r\n",
		"a STORE 1 +FLAGS.SILENT (\\Seen $x)\r\nb EXPUNGE\r\n",
		"a APPEND INBOX (\\Seen) \" 1-Feb-2026 10:00:00 +0000\" {5+}\r\nhello\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a*\" %) RETURN (STATUS (MESSAGES) CHILDREN)\r\n",
		"a CREATE &AOQ-/b (USE (\\Sent))\r\nb RENAME &AOQ- INBOX/c\r\nc DELETE INBOX/c\r\n",
		"a UID MOVE 1:* Archive\r\nb UID COPY 1 INBOX\r\nc CLOSE\r\n",
		"a IDLE\r\nDONE\r\nb ID (\"a\" NIL)\r\nc STATUS INBOX (RECENT UNSEEN)\r\n",
		"a APPEND INBOX {241+}\r\nFrom: \"a\" <b@c>, d: e@f, g@h;\r\nContent-Type: multipart/mixed; boundary=x; a*0*=utf-8'en'%41\r\n\r\n--x\r\n" +
			"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?=C3=A4?=\r\nIn-Reply-To: <y>\r\n\r\nz\r\n--x\r\nContent-Disposition: attachment; filename=\"\\\"\"\r\n\r\n--x--\r\n" +
			"\r\nb FETCH * (BODYSTRUCTURE BODY ENVELOPE BODY[1.MIME] BODY[1.HEADER] BODY[2] RFC822.TEXT)\r\n",
		"a UID STORE 1:* -FLAGS (\\Deleted a b c)\r\nb UID EXPUNGE 1:*\r\nc UNSELECT\r\nd EXAMINE INBOX\r\ne STORE 1 FLAGS ()\r\nf CHECK\r\ng NAMESPACE\r\n",
		"a SUBSCRIBE &AOQ-\r\nb LSUB \"\" *\r\nc UNSUBSCRIBE x\r\nd ENABLE X\r\ne NOOP\r\nf CAPABILITY\r\ng SEARCH KEYWORD a UNKEYWORD b OLDER 5 HEADER x \"\" UID 1:5,* (ON 01-Jan-2026)\r\n",
		"a LOGOUT\r\n", "{5}\r\n", "a {5+}\r\n", "\r\n\r\n",
	} {
		f.Add(seed)
	}
	box := newStore(f)
	srv, err := New(Config{Mailbox: box, Authenticate: testAuthenticate, Now: testNow, MaxMessageSize: 1000, FailureDelay: time.Nanosecond})
	if err != nil {
		f.Fatal(err)
	}
	if err := box.Provision(f.Context(), 1); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		site := &site{store: srv.config.Mailbox}
		if n := countInbox(t, site); n < 3 {
			site.put(t, "alice", "INBOX", crlf(fuzzMessage), mailbox.Flags{})
		}
		conn := &fuzzConn{in: strings.NewReader("x LOGIN alice alice\r\ny SELECT INBOX\r\n" + in)}
		ses := newSession(t.Context(), srv, srv.NewConn(conn), false)
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { // serve would hide a panic in the log
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			ses.greet()
			for ses.state != loggedOut {
				if err := ses.next(); err != nil {
					ses.farewell(err)
					break
				}
			}
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("hangs")
		}
		checkResponses(t, conn.out.String())
	})
}

func countInbox(t *testing.T, s *site) uint32 {
	f, err := s.store.Folder(t.Context(), 1, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.store.Status(t.Context(), f.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st.Messages
}

// checkResponses reads the stream as a client does.
func checkResponses(t *testing.T, out string) {
	t.Helper()
	for rest := out; rest != ""; {
		line, after, found := strings.Cut(rest, "\r\n")
		if !found {
			return // cut off, by the end of the session
		}
		for {
			m := literalEnd.FindStringSubmatch(line + "\r\n")
			if m == nil {
				break
			}
			n, _ := strconv.Atoi(m[1]) // the expression matches digits only
			if n > len(after) {
				return
			}
			var more string
			more, after, _ = strings.Cut(after[n:], "\r\n")
			line = more
		}
		if head, _, ok := strings.Cut(rest, " "); !ok || head == "" || strings.ContainsAny(head, "\r\n") {
			t.Fatalf("not a response: %q", rest[:min(len(rest), 80)])
		}
		rest = after
	}
}

const fuzzMessage = `From: a@example.net
Subject: fuzz
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8

hello
--b
Content-Type: message/rfc822

Subject: inner

inside
--b--
`
