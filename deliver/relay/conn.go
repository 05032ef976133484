package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mtad/smtp"
)

// conn is a connection to a host, past EHLO, TLS and AUTH.
type conn struct {
	cfg   *Config
	ctx   context.Context // of the message under way
	host  host
	lmtp  bool // the host speaks LMTP
	key   string
	net   net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	ext   map[string]string // EHLO keywords, in upper case, and their parameters
	tls   string
	used  int
	timer *time.Timer
}

// refused is a reply that ended a conversation before the first recipient.
type refused struct {
	reply smtp.Reply
	when  string
}

func (r *refused) Error() string { return fmt.Sprintf("relay: %s: %s", r.when, r.reply) }

// Errors of conversations.
var (
	errReply   = errors.New("relay: not an SMTP reply")
	errTLS     = errors.New("relay: TLS is demanded and not to be had")
	errNoAuth  = errors.New("relay: login is configured and not to be had")
	errTooMany = errors.New("relay: endless reply")
)

// resultOf makes a result of a fault: temporary, unless the host said otherwise.
func resultOf(err error, h host) Result {
	var r *refused
	if errors.As(err, &r) {
		reply := r.reply
		switch {
		case reply.OK():
			// Not the success that was due: as a result it would lose the message.
			reply = replyNonsense
		case reply.Permanent():
			// Being sent away by one host is no verdict on the recipient.
			reply = smtp.Reply{Code: 450, Enhanced: smtp.Code{4, 4, 0}, Text: r.when + " refused: " + reply.String()}
		}
		return Result{Reply: reply, Host: h.String()}
	}
	text := "Connection failed"
	var ne net.Error
	var dial *net.OpError
	var hs *handshakeError
	switch {
	case errors.As(err, &hs):
		return Result{Reply: smtp.NewReply(450, 7, 5, hs.reason()), Host: h.String()} // RFC 3463, 3.8
	case errors.As(err, &dial) && dial.Op == "dial":
		return Result{Reply: smtp.NewReply(450, 4, 1, noAnswer(dial)), Host: h.String()} // RFC 3463, 3.5
	case errors.Is(err, errTLS):
		return Result{Reply: smtp.NewReply(450, 7, 4, "Host offers no TLS, and the route demands it"), Host: h.String()}
	case errors.Is(err, errNoAuth):
		return Result{Reply: smtp.NewReply(450, 7, 0, "Host offers no login over TLS, and the route has one"), Host: h.String()}
	case errors.As(err, &ne) && ne.Timeout():
		text = "Host did not answer in time"
	case errors.Is(err, errReply) || errors.Is(err, errTooMany):
		text = "Host does not speak SMTP"
	}
	return Result{Reply: smtp.NewReply(450, 4, 2, text), Host: h.String()}
}

// noAnswer says why nobody answered.
func noAnswer(err *net.OpError) string {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return "No such socket"
	case errors.Is(err, syscall.EACCES):
		return "Not allowed to connect"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return "No way to the host"
	case err.Timeout():
		return "Connection timed out"
	}
	return "Connection failed"
}

// dial connects to the host and brings the conversation to where MAIL may come.
// Opportunistic TLS that fails is tried again without.
func (c *Client) dial(ctx context.Context, job *Job, h host) (*conn, error) {
	cn, err := c.open(ctx, job, h, true)
	var hs *handshakeError
	if errors.As(err, &hs) && job.Route.Security == Opportunistic && !job.Params.RequireTLS {
		c.cfg.Log.Info("relay: TLS failed, going on without", "host", h.String(), "err", hs)
		return c.open(ctx, job, h, false)
	}
	return cn, err
}

type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "relay: TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// reason is for the sender of the message and the administrator.
func (e *handshakeError) reason() string {
	var ne net.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(e.err, &cert):
		return "TLS handshake failed: the host's certificate is not valid for its name"
	case errors.As(e.err, &ne) && ne.Timeout():
		return "TLS handshake failed: the host did not answer in time"
	}
	return "TLS handshake failed"
}

func (c *Client) open(ctx context.Context, job *Job, h host, mayTLS bool) (*conn, error) {
	dctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Connect)
	defer cancel()
	network, addr := h.network()
	nc, err := c.cfg.Dial(dctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("relay: connect to %s: %w", h, err)
	}
	cn := &conn{cfg: &c.cfg, ctx: ctx, host: h, lmtp: job.Route.LMTP, key: h.key(&job.Route), net: nc}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := cn.start(ctx, job, mayTLS); err != nil {
		nc.Close()
		return nil, err
	}
	return cn, nil
}

// start does everything up to MAIL.
func (cn *conn) start(ctx context.Context, job *Job, mayTLS bool) error {
	rt := &job.Route
	cn.buffer()
	if rt.Security == Implicit {
		if err := cn.handshake(ctx, rt); err != nil {
			return err
		}
	}
	banner, err := cn.read(cn.cfg.Timeouts.Banner)
	if err != nil {
		return err
	}
	if banner.Code != 220 {
		return &refused{banner, "greeting"}
	}
	if err := cn.ehlo(); err != nil {
		return err
	}
	if err := cn.startTLS(ctx, job, mayTLS); err != nil {
		return err
	}
	return cn.login(rt)
}

func (cn *conn) buffer() {
	cn.r = bufio.NewReaderSize(cn.net, 4096)
	cn.w = bufio.NewWriterSize(cn.net, 16<<10)
}

// startTLS encrypts the conversation as the route and the message demand.
func (cn *conn) startTLS(ctx context.Context, job *Job, may bool) error {
	rt := &job.Route
	must := rt.Security == Encrypt || rt.Security == Verify || job.Params.RequireTLS
	_, offered := cn.ext["STARTTLS"]
	switch {
	case cn.tls != "" || rt.Security == Plain && !must || cn.host.path != "":
		return nil
	case must && !offered:
		return errTLS
	case !offered || !may:
		return nil
	}
	reply, err := cn.cmd(cn.cfg.Timeouts.Mail, "STARTTLS")
	if err != nil {
		return err
	}
	if reply.Code != 220 {
		if must {
			return &refused{reply, "STARTTLS"}
		}
		return nil
	}
	if cn.r.Buffered() > 0 {
		return fmt.Errorf("%w: octets before the handshake", errReply)
	}
	if err := cn.handshake(ctx, rt); err != nil {
		return err
	}
	return cn.ehlo()
}

func (cn *conn) handshake(ctx context.Context, rt *Route) error {
	cfg := cn.cfg.TLS.Clone()
	cfg.ServerName = strings.TrimSuffix(cn.host.name, ".")
	cfg.InsecureSkipVerify = rt.Security != Verify && rt.Security != Implicit
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	t := tls.Client(cn.net, cfg)
	ctx, cancel := context.WithTimeout(ctx, cn.cfg.Timeouts.Connect)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	s := t.ConnectionState()
	cn.net, cn.tls = t, tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite)
	cn.buffer()
	return nil
}

// ehlo says EHLO, or HELO to a host that knows no better (RFC 5321, 3.2). By LMTP
// there is LHLO alone (RFC 2033, 4.1).
func (cn *conn) ehlo() error {
	cn.ext = map[string]string{}
	hello := "EHLO"
	if cn.lmtp {
		hello = "LHLO"
	}
	reply, err := cn.cmd(cn.cfg.Timeouts.Mail, hello+" "+cn.cfg.Hostname)
	if err != nil {
		return err
	}
	if accepts(reply) {
		for _, line := range strings.Split(reply.Text, "\n")[1:] {
			k, v, _ := strings.Cut(line, " ")
			cn.ext[strings.ToUpper(k)] = v
		}
		return nil
	}
	if cn.lmtp || reply.Temporary() {
		return &refused{reply, hello}
	}
	if reply, err = cn.cmd(cn.cfg.Timeouts.Mail, "HELO "+cn.cfg.Hostname); err != nil {
		return err
	}
	if !accepts(reply) {
		return &refused{reply, "HELO"}
	}
	return nil
}

// login says AUTH PLAIN, never in the clear but on loopback.
func (cn *conn) login(rt *Route) error {
	if rt.Username == "" {
		return nil
	}
	plain := false
	for _, m := range strings.Fields(cn.ext["AUTH"]) {
		plain = plain || strings.EqualFold(m, "PLAIN")
	}
	if !plain || cn.tls == "" && !cn.host.local() {
		return errNoAuth
	}
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + rt.Username + "\x00" + rt.Password))
	reply, err := cn.cmd(cn.cfg.Timeouts.Mail, "AUTH PLAIN "+secret)
	if err != nil {
		return err
	}
	if reply.Code != 235 {
		return &refused{reply, "AUTH"}
	}
	return nil
}

// cmd sends one command and reads its reply.
func (cn *conn) cmd(wait time.Duration, line string) (smtp.Reply, error) {
	cn.w.WriteString(line)
	cn.w.WriteString("\r\n")
	if err := cn.flush(wait); err != nil {
		return smtp.Reply{}, err
	}
	return cn.read(wait)
}

// wait gives the next reads and writes so much time, or none once the context
// has ended: its AfterFunc may have come before the deadline set here.
func (cn *conn) wait(d time.Duration) {
	cn.net.SetDeadline(time.Now().Add(d))
	if cn.ctx.Err() != nil {
		cn.net.SetDeadline(time.Unix(1, 0))
	}
}

func (cn *conn) flush(wait time.Duration) error {
	cn.wait(wait)
	if err := cn.w.Flush(); err != nil {
		return fmt.Errorf("relay: %s: %w", cn.host, err)
	}
	return nil
}

// Bounds of a reply.
const (
	maxReplyLines = 200
	maxReplyText  = 16 << 10 // octets kept; the rest is read and dropped
)

// read waits so long for one reply.
func (cn *conn) read(wait time.Duration) (smtp.Reply, error) {
	cn.wait(wait)
	return cn.reply()
}

// reply reads one reply (RFC 5321, 4.2).
func (cn *conn) reply() (smtp.Reply, error) {
	var r smtp.Reply
	for n := range maxReplyLines {
		line, err := cn.r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = errReply
			}
			return r, fmt.Errorf("relay: %s: %w", cn.host, err)
		}
		text := strings.TrimRight(string(line), "\r\n")
		code, more, rest, ok := parseLine(text)
		if !ok || n > 0 && code != r.Code {
			return r, fmt.Errorf("relay: %s: %w: %q", cn.host, errReply, brief(text))
		}
		r.Code = code
		if len(r.Text)+len(rest) < maxReplyText {
			addLine(&r, rest, n)
		}
		if !more {
			return r, nil
		}
	}
	return r, fmt.Errorf("relay: %s: %w", cn.host, errTooMany)
}

// addLine adds a line's text; its enhanced code goes where it belongs, if it is
// of the reply's class (RFC 2034, 4).
func addLine(r *smtp.Reply, text string, n int) {
	first, rest, _ := strings.Cut(text, " ")
	if code, ok := smtp.ParseCode(first); ok && code[0] == r.Code/100 {
		r.Enhanced, text = code, rest
	}
	text = strings.Map(printable, strings.ToValidUTF8(text, "?"))
	if n > 0 {
		r.Text += "\n"
	}
	r.Text += text
}

// printable keeps control characters of a peer out of logs and reports.
func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return '?'
	}
	return r
}

// parseLine takes "250-5.1.0 text" apart.
func parseLine(s string) (code int, more bool, rest string, ok bool) {
	if len(s) < 3 || s[0] < '2' || s[0] > '5' {
		return 0, false, "", false
	}
	code, err := strconv.Atoi(s[:3])
	if err != nil || code < 200 || code > 599 {
		return 0, false, "", false
	}
	if len(s) == 3 {
		return code, false, "", true
	}
	if s[3] != ' ' && s[3] != '-' {
		return 0, false, "", false
	}
	return code, s[3] == '-', s[4:], true
}

func brief(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// accepts reports a 2xx reply. 354 is one to DATA alone; anywhere else it is
// nonsense, and no word of acceptance.
func accepts(r smtp.Reply) bool { return r.Code >= 200 && r.Code < 300 }

// quit takes leave without waiting for long.
func (cn *conn) quit() {
	cn.net.SetDeadline(time.Now().Add(2 * time.Second))
	cn.w.WriteString("QUIT\r\n")
	if cn.w.Flush() == nil {
		cn.r.ReadSlice('\n')
	}
	cn.net.Close()
}

func (cn *conn) close() { cn.net.Close() }
