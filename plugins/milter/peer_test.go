package milter

import (
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"mtad/milterd/wire"
	"mtad/pipeline"
)

// goMilter is a milter of emersion/go-milter, an implementation that shares
// nothing with ours but constants.
type goMilter struct {
	gomilter.NoOpMilter
	seen *seen
}

type seen struct {
	mu   sync.Mutex
	what []string
	body int
}

func (s *seen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what = append(s.what, fmt.Sprintf(format, args...))
}

func (m *goMilter) Connect(host, family string, port uint16, addr net.IP, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.note("connect %s %s %d %s", host, family, port, addr)
	return gomilter.RespContinue, nil
}

func (m *goMilter) Helo(name string, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.note("helo %s", name)
	return gomilter.RespContinue, nil
}

func (m *goMilter) MailFrom(from string, mod *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.note("mail %s %s", from, mod.Macros["{mail_addr}"])
	return gomilter.RespContinue, nil
}

func (m *goMilter) RcptTo(to string, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.note("rcpt %s", to)
	if strings.HasPrefix(to, "bad") {
		return gomilter.NewResponseStr('y', "550 5.1.1 bad"), nil
	}
	return gomilter.RespContinue, nil
}

func (m *goMilter) Headers(h textproto.MIMEHeader, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.note("subject %s", h.Get("Subject"))
	return gomilter.RespContinue, nil
}

func (m *goMilter) BodyChunk(chunk []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.seen.mu.Lock()
	defer m.seen.mu.Unlock()
	m.seen.body += len(chunk)
	return gomilter.RespContinue, nil
}

func (m *goMilter) Body(mod *gomilter.Modifier) (gomilter.Response, error) {
	for _, err := range []error{
		mod.AddHeader("X-Added", "yes"), mod.InsertHeader(0, "X-First", "yes"), mod.ChangeHeader(1, "Subject", "changed"),
		mod.AddRecipient("new@example.org"), mod.DeleteRecipient("bob@example.net"), mod.ChangeFrom("<s@example.net>"),
		mod.ReplaceBody([]byte("new\r\nbody\r\n")), mod.Quarantine("odd"),
	} {
		if err != nil {
			return nil, err
		}
	}
	return gomilter.RespAccept, nil
}

func TestGoMilter(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := &seen{}
	server := gomilter.Server{
		NewMilter: func() gomilter.Milter { return &goMilter{seen: got} },
		Actions:   wire.Offer(6).Actions &^ gomilter.OptSetSymList,
		Protocol:  gomilter.OptNoUnknown,
	}
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(ln) })
	t.Cleanup(func() { server.Close(); wg.Wait() })

	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 5000)
	p := newTestPipeline(t, step(newTestFilter(t, `connect = "inet:`+ln.Addr().String()+`"`)))
	r := drive(t, p, mail{client: testClient, from: "a@example.net", to: []string{"bob@example.net", "bad@example.net"}, data: "Subject: one\r\n\r\n" + body})
	if r.fate.Action != pipeline.Continue {
		t.Fatalf("%v\n%s", r.fate, explain(r.trace))
	}
	want := "connect client.example.net tcp4 4711 192.0.2.7\nhelo client.example.net\nmail a@example.net a@example.net\n" +
		"rcpt bob@example.net\nrcpt bad@example.net\nsubject one"
	if s := strings.Join(got.what, "\n"); s != want {
		t.Errorf("the milter saw\n%s\nwant\n%s", s, want)
	}
	if got.body != len(body) {
		t.Errorf("it saw %d octets of the body, want %d", got.body, len(body))
	}
	wantMessage := "X-First: yes\r\n" + testReceived + "Subject: changed\r\nX-Added: yes\r\n\r\nnew\r\nbody\r\n"
	if r.message != wantMessage {
		t.Errorf("got\n%s\nwant\n%s", r.message, wantMessage)
	}
	rcpts := r.view.Rcpts()
	if len(rcpts) != 1 || rcpts[0].Addr.String() != "new@example.org" || r.view.Sender().String() != "s@example.net" {
		t.Errorf("envelope: %v, %v", r.view.Sender(), rcpts)
	}
	if _, q := r.view.Held(); q != "odd" {
		t.Errorf("quarantine: %q", q)
	}
}
