package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/message"
)

// run opens the session and sends.
func (s *sending) run(ctx context.Context) error {
	fmt.Fprintf(s.out, "= connecting to %s\n", s.server)
	c, err := s.open(ctx)
	if err != nil {
		return refusal(err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	show := &dialogue{w: s.out}
	c.DebugWriter = show
	if st, ok := c.TLSConnectionState(); ok {
		fmt.Fprintf(s.out, "= %s\n", tls.VersionName(st.Version))
	}
	if err := c.Hello(s.helo); err != nil {
		return refusal(err)
	}
	if user, password, ok := strings.Cut(s.auth, ":"); ok {
		if err := c.Auth(sasl.NewPlainClient("", user, password)); err != nil {
			return refusal(err)
		}
	}
	var refused error
	for i := range s.count {
		show.brief = s.count > 1
		if i > 0 && refused != nil {
			if err := c.Reset(); err != nil {
				return refusal(err)
			}
		}
		if err := s.send(c, show); err != nil {
			refused = err
			if !isReply(err) {
				break
			}
		}
	}
	show.brief = false
	if refused == nil || isReply(refused) {
		if err := c.Quit(); refused == nil {
			refused = err
		}
	}
	return refusal(refused)
}

// open connects, pretends, and begins TLS.
func (s *sending) open(ctx context.Context) (*gosmtp.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.server)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(s.server)
	implicit := s.tls && (port == "465" || s.listener != nil && s.listener.TLS == "implicit")
	if s.listener != nil && s.listener.TLS == "implicit" {
		implicit = true
	}
	if implicit {
		t := tls.Client(conn, s.tlsConfig())
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = t
	}
	if s.client != "" {
		if err := s.pretend(ctx, conn); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if s.tls && !implicit {
		return gosmtp.NewClientStartTLS(conn, s.tlsConfig())
	}
	return gosmtp.NewClient(conn), nil
}

// pretend says by XCLIENT who the client is to be; the server then greets anew,
// or refuses.
func (s *sending) pretend(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := skipGreeting(conn); err != nil {
		return err
	}
	addr := s.client
	if strings.Contains(addr, ":") {
		addr = "IPV6:" + addr
	}
	fmt.Fprintf(s.out, "> XCLIENT ADDR=%s\n", addr)
	if _, err := fmt.Fprintf(conn, "XCLIENT ADDR=%s\r\n", addr); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// maxGreeting bounds a greeting.
const maxGreeting = 8 << 10

// skipGreeting reads the greeting octet by octet: what follows it is for
// somebody else to read.
func skipGreeting(r io.Reader) error {
	var line []byte
	var one [1]byte
	for total := 0; total < maxGreeting; total++ {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		if one[0] != '\n' {
			line = append(line, one[0])
			continue
		}
		if len(line) < 4 || line[3] != '-' {
			if !bytes.HasPrefix(line, []byte("220")) {
				return fmt.Errorf("greeting: %s", bytes.TrimSpace(line))
			}
			return nil
		}
		line = line[:0]
	}
	return errors.New("greeting: too long")
}

// tlsConfig trusts the usual authorities and the certificate of our own
// configuration.
func (s *sending) tlsConfig() *tls.Config {
	host, _, _ := net.SplitHostPort(s.server)
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if s.listener == nil || s.own.tls == nil {
		return cfg
	}
	cfg.ServerName = s.own.top.Hostname
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(s.own.tls.Cert); err == nil {
		pool.AppendCertsFromPEM(pem)
	}
	cfg.RootCAs = pool
	return cfg
}

// send runs one transaction. Recipients that are refused are left out.
func (s *sending) send(c *gosmtp.Client, show *dialogue) error {
	data := s.message(time.Now())
	if err := c.Mail(s.from, s.mailOptions(c, data)); err != nil {
		return err
	}
	var refused error
	left := 0
	for _, to := range s.to {
		if err := c.Rcpt(to, nil); err != nil {
			refused = err
			continue
		}
		left++
	}
	if left == 0 {
		return refused
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	show.mute = true
	defer func() { show.mute = false }()
	if _, err := w.Write(data); err != nil {
		return err
	}
	res, err := w.CloseWithResponse()
	if err != nil {
		fmt.Fprintf(s.out, "< %s\n", replyText(err))
		return err
	}
	fmt.Fprintf(s.out, "< 250 %s\n", clean(res.StatusText))
	return refused
}

func (s *sending) mailOptions(c *gosmtp.Client, data []byte) *gosmtp.MailOptions {
	opts := &gosmtp.MailOptions{}
	if ok, _ := c.Extension("SIZE"); ok {
		opts.Size = int64(len(data))
	}
	for _, a := range append([]string{s.from}, s.to...) {
		opts.UTF8 = opts.UTF8 || !ascii(a)
	}
	return opts
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// message is the file, or one that is made.
func (s *sending) message(now time.Time) []byte {
	if s.file != "" {
		return []byte(s.body)
	}
	var b bytes.Buffer
	_, domain, ok := strings.Cut(s.from, "@")
	if !ok {
		domain = "localhost"
	}
	for _, f := range []struct{ name, value string }{
		{"Date", now.Format(message.DateFormat)},
		{"From", headerAddress(s.from)},
		{"To", strings.Join(s.to, ", ")},
		{"Message-ID", "<" + message.NewID(now).String() + ".send@" + domain + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", s.subject)},
	} {
		b.Write(message.FormatField(f.name, f.value))
	}
	if !ascii(s.body) {
		b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n" + s.body)
	if !strings.HasSuffix(s.body, "\n") {
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// headerAddress is the sender as From shows it; the null sender has a name.
func headerAddress(from string) string {
	if from == "" {
		return "MAILER-DAEMON"
	}
	return from
}
