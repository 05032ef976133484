package compat

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"mtad/admin"
	"mtad/maildrop"
	"mtad/pipeline"
	"mtad/smtp"
	"mtad/smtpd"
)

// dialogue speaks SMTP on standard input and output (-bs): mail is handed in as any
// other of the user's.
func (e *Env) dialogue(ctx context.Context, m *mailing) error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	p, err := pipeline.New("sendmail", nil, pipeline.Env{})
	if err != nil {
		return err
	}
	limits := e.Local(m.config)
	srv, err := smtpd.New(smtpd.Config{
		Name: "sendmail", Hostname: host, SMTPUTF8: true, DSN: true, Limits: smtpd.Limits{MessageSize: limits.Size, Recipients: limits.Rcpts},
		Pipeline: func() (*pipeline.Pipeline, func()) { return p, func() {} },
		Trusted:  func(netip.Addr) bool { return true },
		Route: func(context.Context, *pipeline.View, smtp.Address) smtpd.Route {
			return smtpd.Route{Class: pipeline.Relayed}
		},
		Accept: func(ctx context.Context, f *pipeline.Flow, _ func() error) (smtp.Reply, map[pipeline.RcptID]smtp.Reply) {
			return e.accept(ctx, m, f.View()), nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	l := &single{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- &stdio{Reader: &crlf{in: bufio.NewReader(e.In)}, Writer: e.Out, end: l.Close}
	err = srv.Serve(ctx, l)
	return errors.Join(ignoreClosed(err), srv.Shutdown(ctx))
}

// crlf reads lines that end in LF, as people and scripts write them, as they end in
// SMTP. Where a line ends is for them to say: nobody else's mail is here.
type crlf struct {
	in   *bufio.Reader
	cr   bool // the last octet was CR
	owed bool // LF comes next
}

func (c *crlf) Read(b []byte) (n int, err error) {
	for n < len(b) && (n == 0 || c.owed || c.in.Buffered() > 0) {
		if c.owed {
			b[n], c.owed, c.cr = '\n', false, false
			n++
			continue
		}
		o, err := c.in.ReadByte()
		if err != nil {
			return n, err
		}
		if c.owed = o == '\n' && !c.cr; c.owed {
			o = '\r'
		}
		b[n], c.cr = o, o == '\r'
		n++
	}
	return n, nil
}

// stdio is standard input and output as a connection, which ends the listener with it.
type stdio struct {
	io.Reader
	io.Writer
	end func() error
}

func (s *stdio) Close() error { return s.end() }

func (*stdio) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func (*stdio) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// Deadlines are for the network: who runs a program at hand may take their time.
func (*stdio) SetDeadline(time.Time) error { return nil }

func (*stdio) SetReadDeadline(time.Time) error { return nil }

func (*stdio) SetWriteDeadline(time.Time) error { return nil }

func ignoreClosed(err error) error {
	if errors.Is(err, smtpd.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept hands in a message of the dialogue.
func (e *Env) accept(ctx context.Context, m *mailing, v *pipeline.View) smtp.Reply {
	env := m.env
	if env.Sender = v.Sender().String(); v.Sender().IsZero() {
		env.Sender = maildrop.Nobody
	}
	params := v.SenderParams()
	env.Return, env.ID, env.Body = string(params.Return), params.EnvelopeID, string(params.Body)
	if env.Body == "BINARYMIME" {
		env.Body = "8BITMIME"
	}
	for _, r := range v.Rcpts() {
		env.Rcpts = append(env.Rcpts, r.Addr.String())
		p := maildrop.Params{Type: string(r.Params.OriginalRecipientType), Original: r.Params.OriginalRecipient}
		for _, n := range r.Params.Notify {
			p.Notify = append(p.Notify, string(n))
		}
		env.Each = append(env.Each, p)
	}
	err := e.handIn(ctx, m.config, env, v.Message().Bytes())
	var a *admin.Error
	switch {
	case err == nil:
		return smtp.NewReply(250, 0, 0, "Ok: queued")
	case errors.As(err, &a) && a.Code == admin.BadData:
		return smtp.NewReply(554, 3, 0, Clean(a.Text))
	}
	return smtp.NewReply(451, 3, 0, "Can not hand the message in now")
}

// single is a listener of one connection.
type single struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case c := <-s.conn:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (*single) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
