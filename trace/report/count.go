package report

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// mail is what a trace has told so far.
type mail struct {
	*Counter
	id    message.ID
	peer  string // address
	key   string // of the connection
	local bool   // a program on this machine handed it in
	own   bool   // events are the connection's own: they stand in each of its traces
	from  string
	size  int64
	drop  bool // a filter discarded it
	taken bool
	kept  bool // it was taken, then or later
	held  bool
	put   bool // deferred
	filed map[string]bool
}

// Add counts a trace: all that is known of an ID.
func (c *Counter) Add(t pipeline.Trace) {
	if at := t.ID.Time(); c.oldest.IsZero() || at.Before(c.oldest) {
		c.oldest = at
	}
	m := &mail{Counter: c, id: t.ID, own: true, filed: map[string]bool{}}
	m.kept = slices.ContainsFunc(t.Events, func(e pipeline.Event) bool { return e.Kind == pipeline.EventTaken })
	for i := range t.Events {
		e := &t.Events[i]
		m.learn(e)
		if !e.Time.Before(c.r.From) && e.Time.Before(c.r.To) {
			m.count(e)
		}
	}
}

// learn takes over what later events stand on.
func (m *mail) learn(e *pipeline.Event) {
	switch e.Kind {
	case pipeline.EventSession:
		m.session(e)
	case pipeline.EventMail:
		m.own = false
		if e.Rcpt == "" {
			m.from = strings.Trim(strings.TrimPrefix(e.Note, "from "), "<>")
		}
	case pipeline.EventTaken:
		m.own, m.size = false, e.Size
	}
}

func (m *mail) session(e *pipeline.Event) {
	switch {
	case e.Host != "":
		m.own, m.peer, m.key = true, "127.0.0.1", e.Host+e.Time.UTC().String()
		if a, err := netip.ParseAddrPort(e.Host); err == nil {
			m.peer = a.Addr().Unmap().String()
		}
	case strings.HasPrefix(e.Note, "made here: ") || strings.HasPrefix(e.Note, handedIn):
		m.local = strings.HasPrefix(e.Note, handedIn)
		if i := strings.LastIndex(e.Note, ", from <"); i >= 0 {
			m.from, _, _ = strings.Cut(e.Note[i+len(", from <"):], ">")
		}
	}
}

// handedIn begins the note of mail by a program on this machine.
const handedIn = "handed in by "

// maxTold is how many connections are told apart.
const maxTold = 100000

// fresh reports whether an event is counted for the first time.
func (m *mail) fresh(e *pipeline.Event) bool {
	if !m.own || m.key == "" {
		return true
	}
	if at, ok := m.told[m.key]; ok && e.Time.UnixNano() <= at {
		return false
	}
	if len(m.told) >= maxTold {
		clear(m.told)
	}
	m.told[m.key] = e.Time.UnixNano()
	return true
}

func (m *mail) count(e *pipeline.Event) {
	switch e.Kind {
	case pipeline.EventLogin:
		m.login(e)
	case pipeline.EventStep:
		if m.fresh(e) {
			m.step(m.id.String(), e)
			m.drop = m.drop || e.Action == pipeline.Discard.String() && !e.Shadow && !e.Masked
		}
	case pipeline.EventMail:
		if e.Rcpt != "" && e.Reply != "250" {
			m.rejected(e)
		}
	case pipeline.EventReply:
		m.reply(e)
	case pipeline.EventTaken:
		m.accept(e)
	case pipeline.EventQueue:
		m.queue(e)
	case pipeline.EventDeliver:
		m.deliver(e)
	case pipeline.EventRelay:
		m.relay(e)
	case pipeline.EventMade:
		if e.Err == "" && strings.HasPrefix(e.Note, "redirect ") {
			m.r.Totals.Forwarded++
		}
	}
}

func (m *mail) login(e *pipeline.Event) {
	if e.Action != "failed" {
		return
	}
	m.r.Totals.FailedLogins++
	addr := "127.0.0.1"
	if a, err := netip.ParseAddrPort(e.Host); err == nil {
		addr = a.Addr().Unmap().String()
	}
	m.entry(logins, addr).Count++
}

func (m *mail) rejected(e *pipeline.Event) {
	m.r.Totals.Rejected++
	m.hour(e.Time).Rejected++
	m.entry(rejects, m.reason(e.Reply)).Count++
}

// reason is a reply as it is counted, without what differs each time.
func (m *mail) reason(reply string) string {
	reply, _, _ = strings.Cut(reply, "\n")
	if i := strings.LastIndex(reply, " ["); i > 0 && strings.HasSuffix(reply, "]") {
		if _, err := message.ParseID(reply[i+2 : len(reply)-1]); err == nil {
			reply = reply[:i]
		}
	}
	return bound(reply)
}

// bound shortens what others say.
func bound(s string) string {
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

func (m *mail) reply(e *pipeline.Event) {
	switch {
	case e.Reply == "" || m.peer == "" || !m.fresh(e):
	case e.Reply[0] != '2' && e.Reply[0] != '3':
		m.rejected(e)
	case m.drop && !m.taken:
		m.r.Totals.Discarded++
	}
}

func (m *mail) accept(e *pipeline.Event) {
	m.taken = true
	if m.peer == "" && !m.local {
		m.r.Totals.Made++
		return
	}
	m.r.Totals.Received++
	m.r.Totals.BytesReceived += e.Size
	m.hour(e.Time).Received++
	sender, domain := address(m.from)
	if domain == "" {
		sender, domain = "<>", cmp.Or(m.peer, "pickup")
	}
	for list, name := range map[int]string{senders: sender, sendingDomains: domain} {
		n := m.entry(list, name)
		n.Count++
		n.Bytes += e.Size
	}
}

// address is an address with its domain in lower case, and the domain.
func address(s string) (addr, domain string) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return bound(s), bound(s)
	}
	domain = strings.ToLower(s[i+1:])
	return bound(s[:i+1] + domain), bound(domain)
}

func (m *mail) queue(e *pipeline.Event) {
	switch {
	case e.Action == "expired":
		m.r.Totals.Expired++
		m.bounceID = m.id.String()
	case e.Action == "" && strings.HasPrefix(e.Note, "held: ") && !m.held:
		m.held = true
		m.r.Totals.Held++
	}
}

func (m *mail) deliver(e *pipeline.Event) {
	place := e.Rcpt + " " + e.Host
	if m.filed[place] {
		return // stored in several folders: one delivery
	}
	m.filed[place] = true
	if e.Action == "redirected" || e.Host == "" && !m.kept {
		return // what was made of it is counted; or nothing was left to deliver
	}
	to := e.Host
	if to == "" {
		to = e.Rcpt
	}
	m.delivered(e, to)
}

func (m *mail) delivered(e *pipeline.Event, to string) *Domain {
	m.r.Totals.Delivered++
	m.r.Totals.BytesDelivered += m.size
	m.hour(e.Time.Add(e.Took)).Delivered++
	addr, d := m.domain(to)
	d.Delivered++
	d.Bytes += m.size
	delay := max(e.Time.Add(e.Took).Sub(m.id.Time()), 0)
	d.delay += delay
	d.MaxDelay = max(d.MaxDelay, delay)
	n := m.entry(recipients, addr)
	n.Count++
	n.Bytes += m.size
	return d
}

func (m *mail) domain(to string) (addr string, d *Domain) {
	addr, name := address(to)
	return addr, m.domains.get(name, func() *Domain { return &Domain{Name: name} })
}

func (m *mail) relay(e *pipeline.Event) {
	_, d := m.domain(e.Rcpt)
	switch e.Action {
	case "delivered":
		m.delivered(e, e.Rcpt)
	case "deferred":
		m.r.Totals.Deferrals++
		if !m.put {
			m.put = true
			m.r.Totals.Deferred++
		}
		d.Deferrals++
		m.hour(e.Time.Add(e.Took)).Deferred++
		m.entry(deferrals, m.reason(e.Reply)).Count++
	case "failed":
		m.r.Totals.Bounced++
		d.Bounced++
		m.hour(e.Time.Add(e.Took)).Bounced++
		m.entry(bounces, m.reason(e.Reply)).Count++
		m.bounceID = m.id.String()
	default:
		return // postponed: nothing was said
	}
	if at := e.Time.Add(e.Took); e.Reply != "" && !at.Before(d.last) {
		d.last, d.LastReply, d.LastHost = at, m.reason(e.Reply), bound(e.Host)
	}
}

// histogram counts durations in steps of a tenth or so.
type histogram [histogramSteps]int64

const (
	histogramSteps  = 200
	histogramLeast  = time.Microsecond
	histogramGrowth = 1.12
)

func (h *histogram) add(d time.Duration) {
	i := 0
	for edge := float64(histogramLeast); float64(d) > edge && i < histogramSteps-1; i++ {
		edge *= histogramGrowth
	}
	h[i]++
}

// quantile is the time that a share of the calls took at most, to a tenth.
func (h *histogram) quantile(share float64) time.Duration {
	var all int64
	for _, n := range h {
		all += n
	}
	var sum int64
	edge := float64(histogramLeast)
	for _, n := range h {
		sum += n
		if all > 0 && float64(sum) >= share*float64(all) {
			return time.Duration(edge)
		}
		edge *= histogramGrowth
	}
	return 0
}
