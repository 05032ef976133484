package relay

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mtad/dns"
	"mtad/message"
	"mtad/smtp"
)

// Timeouts are how long the client waits for each answer (RFC 5321, 4.5.3.2).
type Timeouts struct {
	Connect, Banner, Mail, Rcpt, DataStart, Block, FinalDot time.Duration
}

// DefaultTimeouts are those of behaviour.md.
var DefaultTimeouts = Timeouts{
	Connect: 30 * time.Second, Banner: 5 * time.Minute, Mail: 5 * time.Minute, Rcpt: 5 * time.Minute,
	DataStart: 2 * time.Minute, Block: 3 * time.Minute, FinalDot: 10 * time.Minute,
}

// Config of a Client. Zero fields mean sane defaults.
type Config struct {
	Hostname string // said in EHLO
	DNS      dns.Resolver
	Timeouts Timeouts
	TLS      *tls.Config // base of every handshake; names and verification are set for each
	Port     string      // of hosts found by MX; "25"
	// Self reports whether an address is one this server listens on for
	// mail: relaying there would loop. It may be nil.
	Self func(netip.AddrPort) bool
	// MaxHosts bounds the addresses tried in one attempt; 5 by default.
	MaxHosts int
	// IdleTime is how long an unused connection is kept, MaxIdle how many of
	// one destination, MaxUse how many messages one carries.
	IdleTime time.Duration
	MaxIdle  int
	MaxUse   int
	// Parting is how long a context that has ended still waits for the answer
	// to a message that was sent whole; 10 s by default.
	Parting time.Duration
	Log     *slog.Logger
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Security is what a route demands of TLS.
type Security string

// The levels of Security.
const (
	Opportunistic Security = ""         // used where offered, not verified
	Plain         Security = "none"     // never
	Encrypt       Security = "encrypt"  // demanded, not verified
	Verify        Security = "verify"   // demanded, and the certificate must fit the name
	Implicit      Security = "implicit" // from the first octet, verified (RFC 8314)
)

// Route says where a destination's mail goes.
type Route struct {
	Name     string   // of the configured route; "" is the domain's MX
	Hosts    []string // host:port, in order; empty: the MX of Domain. For LMTP also unix:path
	Domain   string   // of the recipients, or the one whose MX takes their mail
	Port     string   // of hosts found by MX; "": the client's
	LMTP     bool     // the host speaks LMTP (RFC 2033)
	Security Security
	Username string
	Password string
}

// Key names the destination: what shares connections and limits.
func (r *Route) Key() string {
	if r.Name != "" {
		return "route:" + r.Name
	}
	return r.Domain
}

// Job is one message for the recipients of one destination.
type Job struct {
	ID      message.ID
	Sender  smtp.Address
	Params  smtp.MailParams
	Rcpts   []Rcpt
	Message message.Bytes
	Route   Route
}

// Rcpt is a recipient of a job.
type Rcpt struct {
	Addr   smtp.Address
	Params smtp.RcptParams
}

// Result is what became of one recipient.
type Result struct {
	Reply smtp.Reply // the remote's, or ours in its place; 2xx is delivered
	Host  string     // who spoke: "mx.example.org [192.0.2.1]:25"; "" if nobody did
	TLS   string     // "TLSv1.3 TLS_AES_128_GCM_SHA256", or ""
	Dead  bool       // no host could be reached, or took the conversation: others need not try now
	DSN   bool       // the host has taken over the duty to report (RFC 3461, 5.2.2)
}

// Client sends mail. It is safe for use by several goroutines.
type Client struct {
	cfg Config

	mu     sync.Mutex
	idle   map[string][]*conn
	closed bool
}

// New makes a client. Close it to close its idle connections.
func New(cfg Config) *Client {
	if cfg.Timeouts == (Timeouts{}) {
		cfg.Timeouts = DefaultTimeouts
	}
	if cfg.Port == "" {
		cfg.Port = "25"
	}
	if cfg.MaxHosts == 0 {
		cfg.MaxHosts = 5
	}
	if cfg.IdleTime == 0 {
		cfg.IdleTime = 5 * time.Second
	}
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = 20
	}
	if cfg.MaxUse == 0 {
		cfg.MaxUse = 100
	}
	if cfg.Parting == 0 {
		cfg.Parting = 10 * time.Second
	}
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	return &Client{cfg: cfg, idle: map[string][]*conn{}}
}

// Deliver tries the job once. There is a result for each recipient, in order.
func (c *Client) Deliver(ctx context.Context, job *Job) []Result {
	hosts, reply := c.hosts(ctx, &job.Route)
	if !reply.IsZero() {
		return all(job, Result{Reply: reply, Dead: reply.Temporary()})
	}
	last := Result{Reply: smtp.NewReply(451, 4, 1, "No host of "+job.Route.Key()+" could be reached")}
	for _, h := range hosts {
		results, next := c.tryHost(ctx, job, h)
		if !next {
			return results
		}
		last = results[0]
		if ctx.Err() != nil {
			break
		}
	}
	last.Dead = ctx.Err() == nil
	return all(job, last)
}

// tryHost delivers to one host. next reports that another host may do better:
// this one could not be reached, or sent us away before the first recipient.
func (c *Client) tryHost(ctx context.Context, job *Job, h host) (results []Result, next bool) {
	cn, fresh, err := c.connect(ctx, job, h)
	if err != nil {
		return all(job, resultOf(err, h)), true
	}
	results, err = cn.send(ctx, job)
	if err != nil && !fresh && results == nil {
		// A pooled connection that the host had closed meanwhile.
		cn.close()
		if cn, err = c.dial(ctx, job, h); err != nil {
			return all(job, resultOf(err, h)), true
		}
		results, err = cn.send(ctx, job)
	}
	if err != nil {
		cn.close()
		if results == nil {
			return all(job, resultOf(err, h)), true
		}
		return results, false
	}
	c.put(cn)
	return results, false
}

func all(job *Job, r Result) []Result {
	out := make([]Result, len(job.Rcpts))
	for i := range out {
		out[i] = r
	}
	return out
}

// Close closes the idle connections; those in use are closed when their message
// is done.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	idle := slices.Concat(slices.Collect(maps.Values(c.idle))...)
	clear(c.idle)
	c.mu.Unlock()
	var leaving sync.WaitGroup
	for _, cn := range idle {
		if cn.timer.Stop() {
			leaving.Go(cn.quit)
		}
	}
	leaving.Wait()
	return nil
}

// connect takes a pooled connection of the host, or makes one.
func (c *Client) connect(ctx context.Context, job *Job, h host) (cn *conn, fresh bool, err error) {
	if cn := c.take(h.key(&job.Route)); cn != nil {
		if cn.tls != "" || !job.Params.RequireTLS {
			return cn, false, nil
		}
		go cn.quit()
	}
	cn, err = c.dial(ctx, job, h)
	return cn, true, err
}

func (c *Client) take(key string) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.idle[key]
	if len(list) == 0 {
		return nil
	}
	cn := list[len(list)-1]
	if c.idle[key] = list[:len(list)-1]; len(list) == 1 {
		delete(c.idle, key)
	}
	if !cn.timer.Stop() {
		return nil // its time was up this moment
	}
	return cn
}

// put keeps a connection for the next message, if there is room.
func (c *Client) put(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn.used++
	if c.closed || cn.used >= c.cfg.MaxUse || len(c.idle[cn.key]) >= c.cfg.MaxIdle {
		go cn.quit()
		return
	}
	cn.timer = time.AfterFunc(c.cfg.IdleTime, func() { c.expire(cn) })
	c.idle[cn.key] = append(c.idle[cn.key], cn)
}

// expire closes a connection whose idle time is up.
func (c *Client) expire(cn *conn) {
	c.mu.Lock()
	list := c.idle[cn.key]
	for i, other := range list {
		if other == cn {
			list[i] = list[len(list)-1]
			c.idle[cn.key] = list[:len(list)-1]
			break
		}
	}
	if len(c.idle[cn.key]) == 0 {
		delete(c.idle, cn.key)
	}
	c.mu.Unlock()
	cn.quit()
}
