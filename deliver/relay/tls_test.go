package relay

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// sink is a backend of go-smtp's server that takes everything.
type sink struct{ mails chan string }

func (s sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return s, nil }
func (sink) Reset()                                            {}
func (sink) Logout() error                                     { return nil }
func (sink) Mail(string, *gosmtp.MailOptions) error            { return nil }
func (sink) Rcpt(string, *gosmtp.RcptOptions) error            { return nil }
func (s sink) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.mails <- string(b)
	return err
}

// secure starts go-smtp's server with a certificate for mx.there.test.
func secure(t *testing.T, implicit bool) (s sink, addr string, roots *x509.CertPool) {
	t.Helper()
	cert, roots := mtatest.Certificate(t, "mx.there.test")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = sink{make(chan string, 10)}
	srv := gosmtp.NewServer(s)
	srv.Domain = "mx.there.test"
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	serve := l
	if implicit {
		serve = tls.NewListener(l, srv.TLSConfig)
	}
	go srv.Serve(serve)
	t.Cleanup(func() { srv.Close() })
	return s, l.Addr().String(), roots
}

// What each level of security demands of go-smtp's server, whose certificate is
// for mx.there.test and known or not.
func TestSecurity(t *testing.T) {
	for _, c := range []struct {
		security Security
		known    bool
		name     string // of the host
		want     string
	}{
		{Opportunistic, false, "mx.there.test", "250 TLS"},
		{Plain, false, "mx.there.test", "250"},
		{Encrypt, false, "other.there.test", "250 TLS"},
		{Verify, true, "mx.there.test", "250 TLS"},
		{Verify, false, "mx.there.test", "450"},
		{Verify, true, "other.there.test", "450"},
		{Implicit, true, "mx.there.test", "250 TLS"},
		{Implicit, false, "mx.there.test", "450"},
	} {
		s, addr, roots := secure(t, c.security == Implicit)
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		cl := client(t, func(cfg *Config) {
			cfg.DNS = zone(t, "mx.there.test A 127.0.0.1\nother.there.test A 127.0.0.1\n")
			cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
			if c.known {
				cfg.TLS.RootCAs = roots
			}
		})
		j := newJob(text, "x@there.test")
		j.Route = Route{Name: "r", Hosts: []string{c.name + ":" + port}, Security: c.security}
		res := cl.Deliver(t.Context(), j)[0]
		got := res.Reply.String()[:3]
		if strings.HasPrefix(res.TLS, "TLS 1.3 ") {
			got += " TLS"
		}
		if got != c.want {
			t.Errorf("%q, known %v, %s: got %s (%s), want %s", c.security, c.known, c.name, got, res.Reply, c.want)
		}
		if res.Reply.OK() {
			if m := <-s.mails; m != text {
				t.Errorf("%q arrived", m)
			}
		}
	}
}
