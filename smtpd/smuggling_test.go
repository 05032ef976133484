package smtpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// pieces is a connection whose octets come in pieces of the test's choice, as
// TCP segments may. It ends with its last piece.
type pieces struct {
	in  []string
	out strings.Builder
	end chan struct{}
	one sync.Once
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in[0])
	if p.in[0] = p.in[0][n:]; p.in[0] == "" {
		p.in = p.in[1:]
	}
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *pieces) Close() error                     { p.one.Do(func() { close(p.end) }); return nil }
func (p *pieces) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }
func (p *pieces) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 4000} }
func (p *pieces) SetDeadline(time.Time) error      { return nil }
func (p *pieces) SetReadDeadline(time.Time) error  { return nil }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }

// A taken message, and who was said to send it.
type taken struct{ sender, text string }

// player plays whole sessions against one server, without a network.
type player struct {
	srv   *Server
	mails []taken
}

func newPlayer(t testing.TB) *player {
	t.Helper()
	p := &player{}
	pipe, err := pipeline.New("test", nil, pipeline.Env{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	p.srv, err = New(Config{
		Name: "test", Hostname: "mx.test", Now: clock, Route: route, Accept: p.accept,
		Pipeline: func() (*pipeline.Pipeline, func()) { return pipe, func() {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *player) accept(_ context.Context, f *pipeline.Flow, _ func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
	b, err := message.ReadAll(f.View().Message().Bytes())
	if err != nil {
		return smtp.NewReply(451, 3, 0, "read"), nil
	}
	_, text, _ := strings.Cut(string(b), " +0000\r\n") // below our Received
	if f.View().Message().Header().Len() == 1 {
		text = strings.TrimPrefix(text, "\r\n") // put between our Received and a body without a header
	}
	p.mails = append(p.mails, taken{f.View().Sender().Local, text})
	return smtp.NewReply(250, 0, 0, "Ok: queued"), nil
}

// play has the server read a session and returns what it answered and took.
func (p *player) play(in ...string) (replies string, mails []taken) {
	c := &pieces{in: in, end: make(chan struct{})}
	p.mails = nil
	p.srv.welcome(context.Background(), c)
	p.srv.idle.Wait()
	return c.out.String(), p.mails
}

const (
	envelope = "EHLO c.test\r\nMAIL FROM:<good@b.test>\r\nRCPT TO:<c@d.test>\r\n"
	evil     = "MAIL FROM:<evil@x.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nevil\r\n.\r\n"
)

// Everything that some server was ever found to take for the end of data (RFC
// 5321, 4.1.1.4 knows one), with a smuggled transaction behind it. want are the
// bodies of the good sender's messages; what is smuggled is never one.
var endTricks = []struct {
	name, data string
	reply      string // to the data
	want       []string
	over       bool // the session ends: nothing behind is anybody's command
}{
	{"LF . LF", "x\n.\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"LF . CR LF", "x\n.\r\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"CR LF . LF", "x\r\n.\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"CR . CR", "x\r.\r", "550 5.5.2 Bare CR", nil, false},
	{"CR . CR LF", "x\r.\r\n", "550 5.5.2 Bare CR", nil, false},
	{"CR LF . CR", "x\r\n.\r", "550 5.5.2 Bare CR", nil, false},
	{"LF . CR", "x\n.\r", "550 5.5.2 Line ends in a bare LF", nil, false},
	{"CR . LF", "x\r.\n", "550 5.5.2 Line ends in a bare LF", nil, false},
	{"CR LF . CR CR LF", "x\r\n.\r\r\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"CR LF CR . CR LF", "x\r\n\r.\r\n", "550 5.5.2 Bare CR", nil, false},
	{"LF CR . LF CR", "x\n\r.\n\r", "550 5.5.2 Line ends in a bare LF", nil, false},
	{"LF LF . LF LF", "x\n\n.\n\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"CR LF NUL . CR LF", "x\r\n\x00.\r\n", "550 5.5.2 NUL", nil, false},
	{"CR LF . NUL CR LF", "x\r\n.\x00\r\n", "550 5.5.2 NUL", nil, false},
	{"CR NUL LF . CR LF", "x\r\x00\n.\r\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"CR LF . CR NUL LF", "x\r\n.\r\x00\n", "550 5.5.2 Line ends in a bare LF", nil, false},
	{"LF first", "\n.\r\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"a dot and LF first", ".\n", "550 5.5.2 Line ends in a bare LF", nil, true},
	{"a dot and CR first", ".\r", "550 5.5.2 Bare CR", nil, false},
	{"NEL, VT, FF, LS for line ends", "x\u0085.\u0085x\v.\vx\f.\fx\u2028.\u2028\r\n", "250", []string{"x\u0085.\u0085x\v.\vx\f.\fx\u2028.\u2028\r\nMAIL FROM"}, false},
	{"two dots", "x\r\n..\r\n", "250", []string{"x\r\n.\r\nMAIL FROM"}, false},
	{"dot and blank", "x\r\n. \r\n", "250", []string{"x\r\n \r\nMAIL FROM"}, false},
	{"dot and tab", "x\r\n.\t\r\n", "250", []string{"x\r\n\t\r\nMAIL FROM"}, false},
	{"blank and dot", "x\r\n .\r\n", "250", []string{"x\r\n .\r\nMAIL FROM"}, false},
	{"dot and backspace", "x\r\n.\b\r\n", "250", []string{"x\r\n\b\r\nMAIL FROM"}, false},
	{"quoted-printable", "x=0D=0A.=0D=0A\r\n", "250", []string{"x=0D=0A.=0D=0A\r\nMAIL FROM"}, false},
}

// No end of data but one makes a message end, however the octets come, and what
// stands behind a false one never is a command.
func TestEndTricks(t *testing.T) {
	p := newPlayer(t)
	for _, c := range endTricks {
		t.Run(c.name, func(t *testing.T) {
			session := envelope + "DATA\r\n" + c.data + evil + "QUIT\r\n"
			whole, _ := p.play(session)
			for cut := len(envelope); cut < len(session); cut++ {
				replies, mails := p.play(session[:cut], session[cut:])
				checkTrick(t, fmt.Sprintf("cut before %q", session[cut:]), replies, mails, c.reply, c.want)
				if traceID.ReplaceAllString(replies, "") != traceID.ReplaceAllString(whole, "") {
					t.Fatalf("cut at %d it answers\n%s\nand whole\n%s", cut, replies, whole)
				}
			}
			one := strings.Split(session, "")
			replies, mails := p.play(one...)
			checkTrick(t, "octet by octet", replies, mails, c.reply, c.want)
			if over := !strings.Contains(replies, "\r\n221 "); over != c.over {
				t.Errorf("session over: %v, want %v\n%s", over, c.over, replies)
			}
		})
	}
}

func checkTrick(t *testing.T, how, replies string, mails []taken, reply string, want []string) {
	t.Helper()
	_, after, ok := strings.Cut(replies, "\r\n354 ")
	if _, after, _ = strings.Cut(after, "\r\n"); !ok || !strings.HasPrefix(after, reply) {
		t.Fatalf("%s: answered %q, want %q", how, after, reply)
	}
	if strings.Contains(after, "354 ") || len(mails) != len(want) {
		t.Fatalf("%s: messages %q; replies %q", how, mails, after)
	}
	for i, m := range mails {
		if m.sender != "good" || !strings.HasPrefix(m.text, want[i]) {
			t.Fatalf("%s: took %q", how, m)
		}
	}
}

// endOf is the end of data as RFC 5321, 4.1.1.4 has it, found by other means
// than the server's: the first CR LF . CR LF, the CR LF before DATA's first
// octet counting. dirty says that the message has a CR, LF or NUL it must not.
func endOf(s string) (text, rest string, dirty bool) {
	text, rest, _ = strings.Cut("\r\n"+s, "\r\n.\r\n")
	text = strings.ReplaceAll(text+"\r\n", "\r\n.", "\r\n")[2:]
	return text, rest, strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00")
}

// All strings of the octets that matter, up to a length, with a transaction
// behind them: the server finds the end where the model does, or refuses.
func TestEveryShortEnd(t *testing.T) {
	p := newPlayer(t)
	const alphabet = "\r\n.a\x00"
	length := 6
	if testing.Short() {
		length = 4
	}
	var try func(s string)
	try = func(s string) {
		session := s + "b\r\n.\r\n" + evil
		text, rest, dirty := endOf(session)
		replies, mails := p.play(envelope + "DATA\r\n" + session)
		var senders string
		for _, m := range mails {
			senders += m.sender + " "
			if m.sender == "good" && m.text != strings.TrimPrefix(text, "\r\n") {
				t.Errorf("%q was taken as %q, want %q", s, m.text, text)
			}
		}
		want := []string{"good "}
		if dirty {
			want[0] = ""
		}
		if strings.HasPrefix(rest, "MAIL") { // a true end stood where it should: another message follows
			want[0] += "evil "
		} else {
			want = append(want, want[0]+"evil ") // "b" and a dot are no commands; the next are
		}
		if dirty {
			want = append(want, "") // the session may have ended
		}
		if !slices.Contains(want, senders) {
			t.Errorf("%q: senders %q, want one of %q\n%s", s, senders, want, replies)
		}
		if len(s) < length {
			for _, c := range alphabet {
				try(s + string(c))
			}
		}
	}
	try("")
}

// BDAT counts octets: nothing in them ends anything, wherever chunks are cut,
// and CR and LF come in pairs across chunks too.
func TestChunkTricks(t *testing.T) {
	p := newPlayer(t)
	for _, text := range []string{
		"x\r\n.\r\n" + evil, "x\n.\n" + evil, "x\r.\r" + evil, ".\r\n", "x\r\n.\r", "x\x00\r\n", "\r\n.\r\n\r\n.\r\n", "x",
	} {
		dirty := strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00")
		for cut := 0; cut <= len(text); cut++ {
			session := fmt.Sprintf("%sBDAT %d\r\n%sBDAT %d LAST\r\n%sNOOP\r\nQUIT\r\n", envelope, cut, text[:cut], len(text)-cut, text[cut:])
			replies, mails := p.play(session)
			octets, _ := p.play(strings.Split(session, "")...)
			if traceID.ReplaceAllString(octets, "") != traceID.ReplaceAllString(replies, "") {
				t.Fatalf("%q cut at %d: octet by octet it answers\n%s\nand whole\n%s", text, cut, octets, replies)
			}
			switch {
			case dirty && (len(mails) > 0 || !strings.Contains(replies, "\r\n550 5.5.2 ")):
				t.Fatalf("%q cut at %d: %q\n%s", text, cut, mails, replies)
			case !dirty && (len(mails) != 1 || mails[0] != taken{"good", strings.TrimPrefix(text, "\r\n")}):
				t.Fatalf("%q cut at %d: took %q\n%s", text, cut, mails, replies)
			}
			if !strings.HasSuffix(replies, "250 2.0.0 Ok\r\n221 2.0.0 mx.test Bye\r\n") {
				t.Fatalf("%q cut at %d: after it\n%s", text, cut, replies)
			}
		}
	}
}

// A chunk without a believable size ends the session: its octets would be
// commands. DATA and BDAT do not mix.
func TestChunkSizes(t *testing.T) {
	p := newPlayer(t)
	for _, arg := range []string{
		"", " ", "x", "-1", "+1", "0x10", "1e3", "99999999999999999999", "1 2", "1 LAST LAST", "1 FIRST", "1,LAST", "١", "1\tLAST", "LAST",
	} {
		replies, mails := p.play(envelope + "BDAT " + arg + "\r\n" + evil)
		if len(mails) > 0 || strings.Contains(replies, "354 ") {
			t.Errorf("BDAT %q: %q\n%s", arg, mails, replies)
		}
	}
	for _, s := range []string{
		"BDAT 3\r\nabcDATA\r\nx\r\n.\r\n" + evil,
		"BDAT 3\r\nabcMAIL FROM:<evil@x.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 2 LAST\r\n\r\n",
		"BDAT 3\r\nabcEHLO again.test\r\nBDAT 2 LAST\r\n\r\n",
	} {
		_, mails := p.play(envelope + s)
		for _, m := range mails {
			if m.sender == "good" && !strings.HasPrefix(m.text, "abc") || m.sender != "good" && !strings.Contains(s, "DATA") {
				t.Errorf("%q: took %q", s, mails)
			}
		}
	}
}
