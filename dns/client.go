package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

// Client asks recursive name servers. Make one with NewClient.
type Client struct {
	servers []string // host:port
	timeout time.Duration
	tries   int
	cache   cache
	now     func() time.Time
	flights flights
}

// ClientConfig configures a Client. Zero fields mean the defaults named.
type ClientConfig struct {
	Servers []string         // host:port or host; those of /etc/resolv.conf
	Timeout time.Duration    // of one question to one server; 2 s
	Tries   int              // rounds through the servers; 2
	Cache   int              // answers kept; 10,000, of no more than 16 MiB together
	Now     func() time.Time // the clock
}

// NewClient makes a resolver. It fails if there is no name server to ask.
func NewClient(cfg ClientConfig) (*Client, error) {
	if len(cfg.Servers) == 0 {
		rc, err := mdns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("dns: read resolv.conf: %w", err)
		}
		if err == nil {
			for _, s := range rc.Servers {
				cfg.Servers = append(cfg.Servers, net.JoinHostPort(s, rc.Port))
			}
		}
	}
	if len(cfg.Servers) == 0 {
		cfg.Servers = []string{"127.0.0.1:53"} // resolv.conf(5): the local host
	}
	c := &Client{timeout: cfg.Timeout, tries: cfg.Tries, now: cfg.Now}
	for _, s := range cfg.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(s, "53")
		}
		c.servers = append(c.servers, s)
	}
	if c.timeout == 0 {
		c.timeout = 2 * time.Second
	}
	if c.tries == 0 {
		c.tries = 2
	}
	if c.now == nil {
		c.now = time.Now
	}
	size := cfg.Cache
	if size == 0 {
		size = 10000
	}
	c.cache = cache{entries: map[Question]entry{}, limit: size, octets: maxCached}
	c.flights.calls = map[Question]*flight{}
	return c, nil
}

// Lookup answers from the cache or asks the servers in turn.
func (c *Client) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	q := Question{canonical(name), t}
	if _, ok := mdns.IsDomainName(q.Name); !ok || len(q.Name) > 253 || q.Name == "" {
		return Answer{}, fmt.Errorf("%w: %q", ErrName, name)
	}
	if e, ok := c.cache.get(q, c.now()); ok {
		return e.answer, e.err
	}
	return c.flights.do(ctx, q, func() (Answer, error) {
		ans, ttl, err := c.ask(ctx, q)
		if err == nil || NotFound(err) {
			c.cache.put(q, entry{answer: ans, err: err, expires: c.now().Add(ttl)}, c.now())
		}
		return ans, err
	})
}

// ask tries each server, beginning at a random one, for as many rounds as
// configured.
func (c *Client) ask(ctx context.Context, q Question) (Answer, time.Duration, error) {
	var last error
	begin := rand.IntN(len(c.servers))
	for i := range c.tries * len(c.servers) {
		server := c.servers[(begin+i)%len(c.servers)]
		in, err := c.exchange(ctx, server, q)
		if err == nil && !answers(in, q) {
			err = errOther
		}
		if err == nil {
			var ans Answer
			var ttl time.Duration
			if ans, ttl, err = read(in, q); err == nil || NotFound(err) {
				return ans, ttl, err
			}
		}
		last = err
		if ctx.Err() != nil {
			last = ctx.Err() // so that others who wait for the answer ask again
			break
		}
	}
	return Answer{}, 0, fmt.Errorf("%w: %s %s: %w", ErrTemporary, q.Name, q.Type, last)
}

// exchange asks one server, over TCP if the answer does not fit a datagram.
func (c *Client) exchange(ctx context.Context, server string, q Question) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(q.Name), uint16(q.Type))
	m.SetEdns0(1232, false)
	m.AuthenticatedData = true // RFC 6840, 5.7: tell us if it is secure
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cl := &mdns.Client{Timeout: c.timeout}
	in, _, err := cl.ExchangeContext(ctx, m, server)
	if err == nil && in.Truncated {
		cl.Net = "tcp"
		in, _, err = cl.ExchangeContext(ctx, m, server)
	}
	return in, err
}

// Bounds of how long an answer is kept.
const (
	minTTL      = time.Second
	maxTTL      = time.Hour
	negativeTTL = time.Minute // where there is no SOA to tell (RFC 2308, 5)
)

// errOther is for a reply to a question that was not asked.
var errOther = errors.New("the server answers another question")

// answers reports whether a reply is to a question. Of faults some servers do not repeat
// it.
func answers(in *mdns.Msg, q Question) bool {
	if in.Rcode != mdns.RcodeSuccess && in.Rcode != mdns.RcodeNameError {
		return true
	}
	return len(in.Question) == 1 && canonical(in.Question[0].Name) == q.Name && in.Question[0].Qtype == uint16(q.Type)
}

// read makes an Answer of a reply.
func read(in *mdns.Msg, q Question) (Answer, time.Duration, error) {
	switch in.Rcode {
	case mdns.RcodeSuccess:
	case mdns.RcodeNameError:
		return Answer{}, negative(in), fmt.Errorf("%w: %s", ErrNoName, q.Name)
	default:
		return Answer{}, 0, Rcode(in.Rcode)
	}
	ans := Answer{Secure: in.AuthenticatedData}
	ttl := maxTTL
	for _, rr := range in.Answer {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
		if rec, ok := convert(rr); ok && rec.Type == q.Type {
			ans.Records = append(ans.Records, rec)
		}
	}
	if len(ans.Records) == 0 {
		return Answer{}, negative(in), fmt.Errorf("%w: %s %s", ErrNoData, q.Name, q.Type)
	}
	return ans, max(ttl, minTTL), nil
}

// negative is how long "no" may be kept (RFC 2308, 5).
func negative(in *mdns.Msg) time.Duration {
	for _, rr := range in.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			ttl := time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
			return min(max(ttl, minTTL), maxTTL)
		}
	}
	return negativeTTL
}

// maxCached bounds what answers are kept, in octets.
const maxCached = 16 << 20

// cache keeps answers until they expire. When it is full, what has expired goes,
// and then whatever the map yields first. One that takes much of it is not kept.
type cache struct {
	mu      sync.Mutex
	entries map[Question]entry
	limit   int // entries
	octets  int // of all
	size    int // octets that there are
}

type entry struct {
	answer  Answer
	err     error
	expires time.Time
	size    int
}

// overhead is what an entry or a record takes beside its text, in octets.
const overhead = 100

func (e *entry) measure(q Question) {
	e.size = overhead + len(q.Name)
	for _, r := range e.answer.Records {
		e.size += overhead + len(r.Text)
		for _, s := range r.Strings {
			e.size += len(s)
		}
	}
}

func (c *cache) get(q Question, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	return e, ok && now.Before(e.expires)
}

func (c *cache) put(q Question, e entry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.measure(q)
	if e.size > c.octets/64 {
		return
	}
	c.remove(q)
	if len(c.entries) >= c.limit || c.size+e.size > c.octets {
		c.shrink(now)
	}
	c.entries[q] = e
	c.size += e.size
}

func (c *cache) remove(q Question) {
	c.size -= c.entries[q].size
	delete(c.entries, q)
}

// shrink makes room for a tenth of the cache.
func (c *cache) shrink(now time.Time) {
	for q, e := range c.entries {
		if !now.Before(e.expires) {
			c.remove(q)
		}
	}
	for q := range c.entries {
		if len(c.entries) <= c.limit*9/10 && c.size <= c.octets*9/10 {
			return
		}
		c.remove(q)
	}
}

// flights joins the same question asked at the same time into one.
type flights struct {
	mu    sync.Mutex
	calls map[Question]*flight
}

type flight struct {
	done   chan struct{}
	answer Answer
	err    error
}

// do runs f, or waits for the one that runs for the same question. If that one
// fails because its own caller gave up, f runs after all.
func (fl *flights) do(ctx context.Context, q Question, f func() (Answer, error)) (Answer, error) {
	fl.mu.Lock()
	if running := fl.calls[q]; running != nil {
		fl.mu.Unlock()
		select {
		case <-running.done:
		case <-ctx.Done():
			return Answer{}, fmt.Errorf("%w: %s %s: %w", ErrTemporary, q.Name, q.Type, ctx.Err())
		}
		if errors.Is(running.err, context.Canceled) || errors.Is(running.err, context.DeadlineExceeded) {
			return f()
		}
		return running.answer, running.err
	}
	own := &flight{done: make(chan struct{})}
	fl.calls[q] = own
	fl.mu.Unlock()
	own.err = ErrTemporary // should f not come back
	defer func() {
		fl.mu.Lock()
		delete(fl.calls, q)
		fl.mu.Unlock()
		close(own.done)
	}()
	own.answer, own.err = f()
	return own.answer, own.err
}
