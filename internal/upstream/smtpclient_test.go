package upstream

import (
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// talk runs go-smtp's client against a server that the test plays by hand.
func talk(t *testing.T, run func(*gosmtp.Client) error) (w *wire, done chan error) {
	t.Helper()
	l := listen(t)
	done = make(chan error, 1)
	go func() {
		c, err := gosmtp.Dial(l.Addr().String())
		if err == nil {
			defer c.Close()
			err = run(c)
		}
		done <- err
	}()
	w = accept(t, l)
	w.send("220 mx.test\r\n")
	w.line()
	w.send("250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
	return w, done
}

// What is sent is not what was written: a DKIM signature over it is broken.
func TestClientChangesOctets(t *testing.T) {
	const body = "Subject: x\r\n\r\none\ntwo\r\r\nthree\r\n"
	w, done := talk(t, func(c *gosmtp.Client) error {
		return c.SendMail("a@c.test", []string{"b@mx.test"}, strings.NewReader(body))
	})
	for _, reply := range []string{"250 ok", "250 ok", "354 go"} {
		w.line()
		w.send(reply + "\r\n")
	}
	var got strings.Builder
	for !strings.HasSuffix(got.String(), "\r\n.\r\n") {
		b, err := w.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(b)
	}
	w.send("250 ok\r\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got.String() == body+".\r\n" {
		reconsider(t, goSMTP, "the client sends octets as they are")
	}
}

// One command a round trip, though the server offers PIPELINING.
func TestClientDoesNotPipeline(t *testing.T) {
	w, _ := talk(t, func(c *gosmtp.Client) error {
		return c.SendMail("a@c.test", []string{"b@mx.test"}, strings.NewReader("x\r\n"))
	})
	if s := w.line(); !strings.HasPrefix(s, "MAIL") {
		t.Fatal(s)
	}
	if !w.silent() {
		reconsider(t, goSMTP, "the client pipelines: "+w.line())
	}
}

// Neither BDAT nor a context can be asked for.
func TestClientNoBDATNoContext(t *testing.T) {
	if n := has(names(&gosmtp.Client{}), "Bdat", "BDAT", "Chunk", "Context"); n != "" {
		reconsider(t, goSMTP, "the client has "+n)
	}
}
