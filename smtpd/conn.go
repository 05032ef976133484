package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Errors that end a session.
var (
	errQuit       = errors.New("smtpd: client quit")
	errTooLong    = errors.New("smtpd: line too long")
	errEndless    = errors.New("smtpd: line without an end")
	errClosing    = errors.New("smtpd: closing")
	errClientGone = errors.New("smtpd: client is gone")
)

// conn is one client's connection. Its methods run on one goroutine, hurry
// apart.
type conn struct {
	srv    *Server
	cfg    *Config
	raw    net.Conn // the TCP connection
	net    net.Conn // raw, or TLS on it
	r      *bufio.Reader
	narrow *bufio.Reader // for commands, while r is the one for data; else nil
	out    []byte        // replies not yet written
	prefix netip.Prefix

	session  string // names it in logs
	flow     *pipeline.Flow
	release  func()
	lenient  bool
	trusted  bool          // in mynetworks
	end      time.Time     // of the session
	wait     time.Duration // for the next octet
	until    time.Time     // of the line that is being read; zero in message data
	hurrying atomic.Bool   // Shutdown wants us gone
	waiting  atomic.Bool   // for a command, between transactions

	mail     bool // MAIL was accepted
	rcpts    int
	given    []given  // where each is to be answered
	chunk    *chunked // a BDAT transfer under way
	errors   int
	authErrs int
	seen     *seen // nil unless somebody watches connections
}

func newConn(s *Server, nc net.Conn) *conn {
	addr := addressOf(nc.RemoteAddr())
	c := &conn{
		srv: s, cfg: &s.cfg, raw: nc, net: nc, session: message.NewID(s.cfg.Now()).String(),
		prefix: prefixOf(addr.Addr()),
		end:    time.Now().Add(s.cfg.Limits.SessionTimeout), trusted: s.cfg.Trusted(addr.Addr()),
		wait: s.cfg.Limits.CommandTimeout,
	}
	c.lenient = s.cfg.lenient(addr.Addr())
	return c
}

// Buffers for reading: a connection that waits for commands holds a small one,
// message data comes through a large one. The pools are shared by all
// connections.
const (
	commandBuffer = 4 << 10
	dataBuffer    = 16 << 10
)

// borrow takes a reader of the connection's from a pool.
func (c *conn) borrow(p *sync.Pool, size int) *bufio.Reader {
	r, ok := p.Get().(*bufio.Reader)
	if !ok {
		return bufio.NewReaderSize(deadlineReader{c}, size)
	}
	r.Reset(deadlineReader{c})
	return r
}

// giveBack returns a reader that holds nothing of the connection's.
func giveBack(p *sync.Pool, r *bufio.Reader) {
	r.Reset(nil)
	p.Put(r)
}

// widen turns to the large buffer, unless something is left in the small one.
func (c *conn) widen() {
	if c.narrow == nil && c.r.Buffered() == 0 {
		c.r, c.narrow = c.borrow(&c.srv.dataReaders, dataBuffer), c.r
	}
}

// slim turns back to the small buffer, unless something is left in the large one.
func (c *conn) slim() {
	if c.narrow != nil && c.r.Buffered() == 0 {
		giveBack(&c.srv.dataReaders, c.r)
		c.r, c.narrow = c.narrow, nil
	}
}

// log is made when something is to be said: most sessions say nothing.
func (c *conn) log() *slog.Logger {
	return c.cfg.Log.With("listener", c.cfg.Name, "session", c.session, "client", pipeline.Peer(addressOf(c.raw.RemoteAddr())))
}

// debug is for what is seldom wanted.
func (c *conn) debug(text string, err error) {
	if c.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		c.log().Debug(text, "err", err)
	}
}

// deadlineReader reads from the connection, waiting no longer than the session
// and the phase it is in allow.
type deadlineReader struct{ c *conn }

func (d deadlineReader) Read(p []byte) (int, error) {
	deadline := time.Now().Add(d.c.wait)
	if deadline.After(d.c.end) {
		deadline = d.c.end
	}
	if until := d.c.until; !until.IsZero() && deadline.After(until) {
		deadline = until
	}
	if err := d.c.net.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if d.c.hurrying.Load() && d.c.waiting.Load() {
		return 0, errClosing
	}
	return d.c.net.Read(p)
}

// hurry makes a connection that waits between transactions give up. Any
// goroutine may call it.
func (c *conn) hurry() {
	c.hurrying.Store(true)
	if c.waiting.Load() {
		c.raw.SetReadDeadline(time.Now())
	}
}

// stackRoom is what a session needs of its stack, with some to spare.
const stackRoom = 12 << 10

// growStack has the goroutine's stack grow at once, while there is next to nothing
// on it to copy, instead of doubling it several times from deep within the
// session: with a connection for each message that was a tenth of its cost.
//
//go:noinline
func growStack() {
	var room [stackRoom]byte
	runtime.KeepAlive(&room)
}

// serve runs the session to its end.
func (c *conn) serve(ctx context.Context) {
	growStack()
	c.r = c.borrow(&c.srv.commandReaders, commandBuffer)
	defer c.giveBackReaders()
	ctx, cancel := context.WithDeadline(ctx, c.end)
	defer cancel()
	defer func() { c.net.Close() }()
	defer c.guard()
	if err := c.start(ctx); err != nil {
		c.debug("session over before it began", err)
		return
	}
	defer c.close()
	if c.greet(ctx) {
		err := c.loop(ctx)
		c.farewell(err)
		c.seen.end(err)
	}
	c.flush()
}

// giveBackReaders ends reading.
func (c *conn) giveBackReaders() {
	if c.narrow != nil {
		giveBack(&c.srv.dataReaders, c.r)
		c.r, c.narrow = c.narrow, nil
	}
	giveBack(&c.srv.commandReaders, c.r)
	c.r = nil
}

// guard keeps a fault of ours in one session from ending all the others.
func (c *conn) guard() {
	if p := recover(); p != nil {
		c.log().Error("session panicked", "panic", p, "stack", string(debug.Stack()))
		c.reply(smtp.NewReply(421, 3, 0, c.cfg.Hostname+" Internal error"))
		c.flush()
	}
}

// close ends the flow. What an unfinished transaction came to is traced.
func (c *conn) close() {
	c.endTransaction(pipeline.Aborted)
	c.seen.tell(c)
	c.flow.Close()
	c.release()
}

// start sets the session up: TLS if it is implicit, the pipeline, the client's
// names.
func (c *conn) start(ctx context.Context) error {
	addr := addressOf(c.raw.RemoteAddr())
	client := pipeline.Client{
		Session: c.session, Listener: c.cfg.Name, Protocol: c.cfg.protocol(),
		Hostname: c.cfg.Hostname, Addr: addr, Local: addressOf(c.raw.LocalAddr()),
		Trusted: c.trusted,
	}
	if c.cfg.Implicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
		client.TLS = c.tlsInfo()
	}
	if c.cfg.Names != nil && addr.IsValid() {
		client.Name, client.Reverse, client.NameTemp = c.cfg.Names(ctx, addr.Addr())
	}
	c.enter(client)
	return nil
}

// enter begins the way through the pipeline.
func (c *conn) enter(client pipeline.Client) {
	p, release := c.cfg.Pipeline()
	c.flow, c.release = p.Open(client), release
	note := "connected to " + c.cfg.Name
	if client.Name != "" && client.Name != "localhost" {
		note += pipeline.VerifiedName + client.Name
	}
	e := pipeline.Event{Time: c.cfg.Now(), Kind: pipeline.EventSession, Host: client.Peer(), Note: note}
	c.flow.Record(e)
	c.seen = c.watch(e)
}

// greet asks the filters about the connection and sends the banner. It reports
// whether the session goes on.
func (c *conn) greet(ctx context.Context) bool {
	if c.early(ctx) {
		c.flow.SetClient(func(cl *pipeline.Client) { cl.Early = true })
	}
	fate := c.flow.Run(ctx, pipeline.Connect)
	c.flow.Settle(pipeline.Connect)
	if fate.Refused() {
		reply := fate.Reply
		if reply.Permanent() {
			reply.Code = 554 // the only one a banner may have (RFC 5321, 3.1)
		} else {
			reply.Code = 421
			reply.Enhanced[0] = 4
		}
		reply = c.traced(reply)
		c.reply(reply)
		c.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Step: fate.Step, Reply: reply.String()})
		c.traceSession()
		return false
	}
	c.reply(smtp.Reply{Code: 220, Text: c.cfg.Hostname + map[bool]string{false: " ESMTP mtad", true: " LMTP mtad"}[c.cfg.LMTP]})
	return true
}

// early waits for the greeting's delay and reports whether the client talked
// before it.
func (c *conn) early(ctx context.Context) bool {
	if c.cfg.LMTP {
		return false // its clients are no strangers
	}
	if c.cfg.GreetDelay > 0 {
		t := time.NewTimer(c.cfg.GreetDelay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
	return !c.cfg.Implicit && pending(c.raw) == talking
}

// loop reads commands and runs them until the session ends.
func (c *conn) loop(ctx context.Context) error {
	for {
		c.slim()
		c.wait = c.cfg.Limits.CommandTimeout
		c.waiting.Store(!c.mail)
		line, err := c.readLine()
		c.waiting.Store(false)
		switch {
		case errors.Is(err, errTooLong):
			if err := c.refuse(ctx, smtp.NewReply(500, 5, 2, "Line too long")); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if err := c.command(ctx, line); err != nil {
			return err
		}
		if c.hurrying.Load() && !c.mail {
			return errClosing
		}
	}
}

// farewell says why the server ends the session, where the client did not.
func (c *conn) farewell(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, errQuit) || errors.Is(err, io.EOF):
	case errors.Is(err, errEndless):
		c.reply(smtp.NewReply(500, 5, 2, "Line without an end, closing"))
	case errors.Is(err, errClosing) || c.hurrying.Load():
		c.reply(smtp.NewReply(421, 3, 2, c.cfg.Hostname+" Shutting down"))
	case errors.As(err, &timeout) && timeout.Timeout():
		c.reply(smtp.NewReply(421, 4, 2, c.cfg.Hostname+" Timed out waiting for you"))
	}
	c.debug("session over", err)
}

// readLine reads one command without its line break. Replies are written before
// it waits for the client, so that a batch of pipelined commands costs one
// write (RFC 2920, 3.2). A command may end in a bare LF: people type them, and
// no harm can come of it outside of message data. The time for it does not start
// anew with every octet.
func (c *conn) readLine() ([]byte, error) {
	c.until = time.Now().Add(c.wait)
	defer func() { c.until = time.Time{} }()
	for {
		if buf, _ := c.r.Peek(c.r.Buffered()); len(buf) > 0 {
			if i := bytes.IndexByte(buf, '\n'); i >= 0 {
				c.r.Discard(i + 1)
				if i >= c.cfg.Limits.CommandLine {
					return nil, errTooLong
				}
				return bytes.TrimSuffix(buf[:i], crByte), nil
			}
			if len(buf) >= min(c.cfg.Limits.CommandLine, c.r.Size()) {
				return nil, c.skipLine()
			}
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

var crByte = []byte("\r")

// fill writes what is to be written and waits for more octets.
func (c *conn) fill() error {
	if err := c.flush(); err != nil {
		return err
	}
	_, err := c.r.Peek(c.r.Buffered() + 1)
	return err
}

// maxSkip is how many octets of a line that is too long are read before the
// client is given up.
const maxSkip = 1 << 20

// skipLine reads to the end of a line that is too long.
func (c *conn) skipLine() error {
	for n := 0; n < maxSkip; {
		part, err := c.r.ReadSlice('\n')
		if err == nil {
			return errTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		n += len(part)
	}
	return errEndless
}

// reply queues a reply.
// Text beyond US-ASCII is for clients that asked for SMTPUTF8 (RFC 6531, 3.7.4.2).
func (c *conn) reply(r smtp.Reply) {
	if c.flow == nil || !c.flow.View().SenderParams().UTF8 {
		r.Text = ascii(r.Text)
	} else {
		r.Text = strings.ToValidUTF8(r.Text, "?")
	}
	c.out = r.Append(c.out)
}

// ascii puts "?" in place of every character that is none of US-ASCII.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
}

// flush writes the queued replies in one go.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.net.SetWriteDeadline(time.Now().Add(min(c.cfg.Limits.CommandTimeout, time.Minute)))
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > 16<<10 {
		c.out = nil
	}
	return err
}

// refuse answers a command with an error and counts it: from SlowErrors on the
// answer is delayed, at MaxErrors the session ends.
func (c *conn) refuse(ctx context.Context, r smtp.Reply) error {
	c.errors++
	c.reply(r)
	if c.errors >= c.cfg.Limits.MaxErrors {
		c.reply(smtp.NewReply(421, 7, 0, c.cfg.Hostname+" Too many errors"))
		return errQuit
	}
	if r.Code == 421 {
		return errQuit
	}
	if c.errors < c.cfg.Limits.SlowErrors {
		return nil
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

// traced adds the ID under which the reply can be asked about.
func (c *conn) traced(r smtp.Reply) smtp.Reply { return r.Suffixed(" [" + c.flow.TraceID() + "]") }

// handshake makes the connection TLS.
func (c *conn) handshake(ctx context.Context) error {
	t := tls.Server(c.raw, c.cfg.TLS)
	ctx, cancel := context.WithTimeout(ctx, min(c.cfg.Limits.CommandTimeout, time.Minute))
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.net = t
	c.r.Reset(deadlineReader{c})
	return nil
}

// tlsInfo describes the encrypted connection.
func (c *conn) tlsInfo() *pipeline.TLS {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	info := &pipeline.TLS{
		Version: tls.VersionName(s.Version), Cipher: tls.CipherSuiteName(s.CipherSuite),
		Bits: cipherBits(s.CipherSuite), ServerName: s.ServerName, Verified: len(s.VerifiedChains) > 0,
	}
	info.Version = "TLSv1." + info.Version[len(info.Version)-1:]
	if len(s.PeerCertificates) > 0 {
		info.PeerSubject = s.PeerCertificates[0].Subject.String()
		info.PeerIssuer = s.PeerCertificates[0].Issuer.String()
	}
	return info
}

// cipherBits is the key length of a suite: all that Go offers from TLS 1.2 on
// have 128 or 256 bits.
func cipherBits(id uint16) int {
	name := tls.CipherSuiteName(id)
	if bytes.Contains([]byte(name), []byte("AES_128")) {
		return 128
	}
	return 256
}
