// Package report counts what traces tell of a time: pflogsumm's sections, a table
// of the filters, and what needs attention. Over the same mail the counts are those
// that pflogsumm takes from the lines of package postfix.
package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"mtad/pipeline"
)

// Report is what happened from one time to another.
type Report struct {
	From      time.Time   `json:"from"`
	To        time.Time   `json:"to"`
	Since     time.Time   `json:"since,omitzero"` // what is older is forgotten: the report has a part of its time only
	Partial   string      `json:"partial,omitempty"`
	Totals    Totals      `json:"totals"`
	Attention []Attention `json:"attention"`
	Hours     []Times     `json:"hours"` // those in which something happened
	Filters   []Filter    `json:"filters"`
	Domains   []Domain    `json:"recipient_domains"`

	SendersByCount    []Entry `json:"senders"`
	SendersBySize     []Entry `json:"senders_by_size"`
	SendingDomains    []Entry `json:"sending_domains"`
	RecipientsByCount []Entry `json:"recipients"`
	RecipientsBySize  []Entry `json:"recipients_by_size"`
	Deferrals         []Entry `json:"deferral_reasons"`
	Bounces           []Entry `json:"bounce_reasons"`
	Rejects           []Entry `json:"reject_reasons"`
	Logins            []Entry `json:"failed_logins"` // by client address
}

// Totals are pflogsumm's, and some more.
type Totals struct {
	Received         int64 `json:"received"`
	Delivered        int64 `json:"delivered"`
	Forwarded        int64 `json:"forwarded"`
	Deferred         int64 `json:"deferred"`  // messages
	Deferrals        int64 `json:"deferrals"` // attempts
	Bounced          int64 `json:"bounced"`
	Expired          int64 `json:"expired"` // given up; pflogsumm counts them nowhere
	Rejected         int64 `json:"rejected"`
	Held             int64 `json:"held"`
	Discarded        int64 `json:"discarded"`
	Made             int64 `json:"made"` // here: bounces, auto-replies, forwards
	BytesReceived    int64 `json:"bytes_received"`
	BytesDelivered   int64 `json:"bytes_delivered"`
	Senders          int64 `json:"senders"`
	SendingDomains   int64 `json:"sending_domains"`
	Recipients       int64 `json:"recipients"`
	RecipientDomains int64 `json:"recipient_domains"`
	FailedLogins     int64 `json:"failed_logins"`
	AtLeast          bool  `json:"at_least,omitempty"` // there were too many to tell each from each
}

// Times are the counts of an hour.
type Times struct {
	Hour      time.Time `json:"hour"`
	Received  int64     `json:"received"`
	Delivered int64     `json:"delivered"`
	Deferred  int64     `json:"deferred"`
	Bounced   int64     `json:"bounced"`
	Rejected  int64     `json:"rejected"`
}

// Entry is a name and how often it came.
type Entry struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
	Bytes int64  `json:"bytes,omitempty"`
}

// Domain is what became of the mail for one.
type Domain struct {
	Name      string        `json:"name"`
	Delivered int64         `json:"delivered"`
	Bytes     int64         `json:"bytes"`
	Deferrals int64         `json:"deferrals"`
	Bounced   int64         `json:"bounced"`
	MeanDelay time.Duration `json:"mean_delay"`
	MaxDelay  time.Duration `json:"max_delay"`
	LastReply string        `json:"last_reply,omitempty"` // of a remote host
	LastHost  string        `json:"last_host,omitempty"`

	last  time.Time
	delay time.Duration // of all deliveries
}

// Filter is what one step of the pipelines did.
type Filter struct {
	Step     string        `json:"step"`
	Kind     string        `json:"kind"`
	Seen     int64         `json:"seen"`
	Pass     int64         `json:"pass"`
	Score    int64         `json:"score"` // verdicts that changed it
	Reject   int64         `json:"reject"`
	Tempfail int64         `json:"tempfail"`
	Errors   int64         `json:"errors"`
	P50      time.Duration `json:"p50"`
	P95      time.Duration `json:"p95"`
	Failed   string        `json:"failed,omitempty"` // the ID of the last error's trace

	took histogram
}

// Attention is something to look at, and how.
type Attention struct {
	What    string `json:"what"`
	Command string `json:"command,omitempty"` // the one to run next
}

// Counter makes a Report. It is for one goroutine.
type Counter struct {
	r        Report
	opts     Options
	hours    map[time.Time]*Times
	filters  map[string]*Filter
	domains  bounded[*Domain]
	lists    [listCount]bounded[*Entry]
	told     map[string]int64 // connections: the newest of their own events that was counted
	bounceID string           // of the last bounce's trace
	oldest   time.Time
}

// The lists of names.
const (
	senders = iota
	sendingDomains
	recipients
	deferrals
	bounces
	rejects
	logins
	listCount
)

// Options of New.
type Options struct {
	From, To time.Time
	Top      int  // how long lists get
	Full     bool // what is older than the oldest trace is forgotten
}

// New begins to count what happens from one time to before another.
func New(opts Options) *Counter {
	c := &Counter{
		r: Report{From: opts.From, To: opts.To}, opts: opts,
		hours: map[time.Time]*Times{}, filters: map[string]*Filter{}, told: map[string]int64{},
	}
	for i := range c.lists {
		c.lists[i].weight = func(e *Entry) int64 { return e.Count }
	}
	c.domains.weight = func(d *Domain) int64 { return d.Delivered + d.Deferrals + d.Bounced }
	return c
}

func (c *Counter) entry(list int, name string) *Entry {
	return c.lists[list].get(name, func() *Entry { return &Entry{Name: name} })
}

func (c *Counter) hour(at time.Time) *Times {
	h := at.Local().Truncate(time.Hour)
	t := c.hours[h]
	if t == nil {
		t = &Times{Hour: h}
		if len(c.hours) < maxHours {
			c.hours[h] = t
		}
	}
	return t
}

// maxHours is how many hours are told apart.
const maxHours = 24 * 62

// Report is what was counted. The Counter is done with.
func (c *Counter) Report() *Report {
	r := &c.r
	if c.opts.Full && c.oldest.After(r.From) {
		r.Since = c.oldest
	}
	for _, t := range c.hours {
		r.Hours = append(r.Hours, *t)
	}
	slices.SortFunc(r.Hours, func(a, b Times) int { return a.Hour.Compare(b.Hour) })
	for _, f := range c.filters {
		f.P50, f.P95 = f.took.quantile(0.5), f.took.quantile(0.95)
		r.Filters = append(r.Filters, *f)
	}
	slices.SortFunc(r.Filters, func(a, b Filter) int {
		return cmp.Or(cmp.Compare(b.Seen, a.Seen), strings.Compare(a.Step, b.Step))
	})
	for _, d := range c.domains.top(c.opts.Top, c.domains.weight) {
		if d.Delivered > 0 {
			d.MeanDelay = d.delay / time.Duration(d.Delivered)
		}
		r.Domains = append(r.Domains, *d)
	}
	bySize := func(e *Entry) int64 { return e.Bytes }
	r.SendersByCount, r.SendersBySize = c.list(senders, nil), c.list(senders, bySize)
	r.RecipientsByCount, r.RecipientsBySize = c.list(recipients, nil), c.list(recipients, bySize)
	r.SendingDomains, r.Deferrals, r.Bounces = c.list(sendingDomains, nil), c.list(deferrals, nil), c.list(bounces, nil)
	r.Rejects, r.Logins = c.list(rejects, nil), c.list(logins, nil)
	r.Totals.Senders, r.Totals.SendingDomains = c.lists[senders].seen(), c.lists[sendingDomains].seen()
	r.Totals.Recipients, r.Totals.RecipientDomains = c.lists[recipients].seen(), c.delivering()
	for _, l := range c.lists[:recipients+1] {
		r.Totals.AtLeast = r.Totals.AtLeast || l.cut
	}
	r.Totals.AtLeast = r.Totals.AtLeast || c.domains.cut
	c.attend()
	return r
}

// delivering is how many domains got mail.
func (c *Counter) delivering() int64 {
	var n int64
	for _, d := range c.domains.m {
		if d.Delivered > 0 {
			n++
		}
	}
	return n
}

func (c *Counter) list(which int, by func(*Entry) int64) []Entry {
	if by == nil {
		by = c.lists[which].weight
	}
	out := []Entry{}
	for _, e := range c.lists[which].top(c.opts.Top, by) {
		out = append(out, *e)
	}
	return out
}

// step counts what a filter said.
func (c *Counter) step(id string, e *pipeline.Event) {
	f := c.filters[e.Step]
	if f == nil {
		f = &Filter{Step: e.Step, Kind: e.Filter}
		if len(c.filters) < maxFilters {
			c.filters[e.Step] = f
		}
	}
	f.Seen++
	f.took.add(e.Took)
	if slices.ContainsFunc(e.Mods, func(m string) bool { return strings.HasPrefix(m, "add-score ") }) {
		f.Score++
	}
	switch {
	case e.Err != "":
		f.Errors++
		f.Failed = id
	case e.Action == pipeline.TempFail.String():
		f.Tempfail++
	case e.Action == pipeline.Reject.String() || e.Action == pipeline.Disconnect.String():
		f.Reject++
	default:
		f.Pass++
	}
}

// maxFilters is how many steps are told apart.
const maxFilters = 1000
