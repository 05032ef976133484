// Package scan is one message while rules look at it: what Mail::SpamAssassin::
// PerMsgStatus (4.0) is there. It answers what they ask for (fields and parts of
// fields, relays, links, addresses), and finds each answer once.
package scan

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mtad/spam/ask"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/regex"
	"mtad/spam/relay"
	"mtad/spam/uri"
)

// Facts are what the server knows of a message and its rules can not find in it. A
// field that is nil or empty stands for what is not known: rules that need it are
// unknown, they do not miss.
type Facts struct {
	SPF  *SPF
	DKIM []Signature
	// DKIMChecked: signatures were looked for, even if there is none.
	DKIMChecked bool
	DMARC       *DMARC
	ARC         string // pass, fail, none; "" is not known
	// EnvelopeFrom is the reverse-path, if HasEnvelope; else the header tells.
	EnvelopeFrom string
	HasEnvelope  bool
	// Bayes is what was learned, for the site or for whom the message is; nil is nothing.
	Bayes bayes.Store
	// Reputation is what is known of senders, by the site or by whom the message is for.
	Reputation Reputations
	Now        time.Time // the time that dates are compared with; zero is the present
}

// SPF are results of RFC 7208, as its words.
type SPF struct{ MailFrom, Helo string }

// Signature is a DKIM signature (RFC 6376) and what has become of it.
type Signature struct {
	Domain, Identity, Selector string
	Result                     string // pass, fail, temperror, permerror, neutral
	KeyBits                    int
	Testing                    bool // the key is said to be for tests
}

// DMARC is a result of RFC 7489; Policy is "" if the domain has none.
type DMARC struct{ Result, Policy string }

// Settings are what all messages have in common.
type Settings struct {
	Rules     *conf.Ruleset
	Redirects []uri.Redirect
	Resolver  ask.Resolver // nil: none is asked
	Local     bool         // tests over the network are off
	Blocks    *Blocks

	under  *Settings // of a user's: the site's
	shared sync.Map
	kept   atomic.Int64
}

// With are the settings with other rules, those of this one with a user's preferences.
func (s *Settings) With(rs *conf.Ruleset) *Settings {
	return &Settings{Rules: rs, Redirects: s.Redirects, Resolver: s.Resolver, Local: s.Local, Blocks: s.Blocks, under: s}
}

// maxKept bounds what is kept for all messages.
const maxKept = 10000

// Once gives what make makes, made once for all messages with a key: patterns in
// arguments, lists in another form. It must not be changed afterwards. What a string is
// the key of must not depend on scores, or on settings that users may change but for the
// Words and Values of the rules.
func (s *Settings) Once(key any, make func() any) any {
	for s.shares(key) {
		s = s.under
	}
	if v, ok := s.shared.Load(key); ok {
		return v
	}
	v := make()
	if s.kept.Add(1) <= maxKept {
		s.shared.Store(key, v)
	}
	return v
}

// shares reports whether what a key is of is the same as without a user's preferences.
func (s *Settings) shares(key any) bool {
	if s.under == nil || s.Rules.Whole() {
		return false
	}
	switch key.(type) {
	case string:
		return true
	case bayesKey:
		return !s.Rules.Touches("bayes_")
	}
	return !s.Rules.Touches("score")
}

// Scan is one message. It belongs to one goroutine.
type Scan struct {
	*Settings
	Context context.Context
	Mail    *mail.Message
	Path    *relay.Path
	Facts   Facts
	Budget  *regex.Budget
	Set     conf.ScoreSet // of the scores
	Ask     *ask.Inquiry  // nil: the DNS is not asked
	// Lists of addresses that FreeMail and others fill, by name, and whatever else a
	// function keeps between its calls for one message.
	Keep map[string]any
	// Bayes is what Bayes has said, if it was asked.
	Bayes *bayes.Result

	cuts     mail.Cuts
	got      map[string][]string
	names    map[string]bool // of the fields, in small letters
	logs     map[string][]string
	tags     map[string][]string
	links    *uri.List
	meta     map[string]string // pseudo-fields
	envelope *string
	envDone  bool
}

// New begins a scan of a message. It must be closed.
func New(ctx context.Context, s *Settings, text []byte, f Facts, b *regex.Budget) *Scan {
	m := mail.Parse(text, mail.Limits{Body: s.Rules.Count("body_part_scan_size"), RawBody: s.Rules.Count("rawbody_part_scan_size")})
	c := &Scan{Settings: s, Context: ctx, Mail: m, Facts: f, Budget: b, Ask: s.inquiry(ctx), Keep: map[string]any{}, got: make(map[string][]string, 64), tags: map[string][]string{}, meta: map[string]string{}}
	if c.Facts.Now.IsZero() {
		c.Facts.Now = time.Now()
	}
	c.Path = relay.Parse(m, relay.Networks{Trusted: s.Rules.Nets("trusted_networks"), Internal: s.Rules.Nets("internal_networks"), MSA: s.Rules.Nets("msa_networks"),
		Origins: s.Rules.Words("originating_ip_headers")})
	c.domainTags()
	c.signerTags()
	return c
}

// domainTags sets what rules ask DNS lists about: the domains of sender and author.
func (c *Scan) domainTags() {
	for name, list := range map[string][]*relay.Relay{"TRUSTED": c.Path.Trusted, "UNTRUSTED": c.Path.Untrusted, "INTERNAL": c.Path.Internal, "EXTERNAL": c.Path.External} {
		c.SetTag("RELAYS"+name, relay.Join(list))
	}
	if hosts := c.Get("EnvelopeFrom:first:addr:host"); len(hosts) > 0 {
		d := uri.ASCII(hosts[0])
		c.SetTag("SENDERDOMAIN", d)
		c.meta["x-senderdomain"] = d
	}
	var domains []string
	for _, h := range c.Get("From:addr:host") {
		if d := uri.ASCII(h); !contains(domains, d) {
			domains = append(domains, d)
		}
	}
	if domains != nil {
		c.SetTag("AUTHORDOMAIN", domains...)
		c.meta["x-authordomain"] = strings.Join(domains, " ")
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// SetTag sets a tag of templates and of askdns: one value or several.
func (c *Scan) SetTag(name string, values ...string) { c.tags[name] = values }

// Tag gives a tag's values, nil if it is not set.
func (c *Scan) Tag(name string) []string { return c.tags[name] }

// Note keeps what a function says of its rule's hit, for the report.
func (c *Scan) Note(rule, text string) {
	if c.logs == nil {
		c.logs = map[string][]string{}
	}
	if len(c.logs[rule]) < 20 {
		c.logs[rule] = append(c.logs[rule], text)
	}
}

// Log is what was noted of a rule.
func (c *Scan) Log(rule string) []string { return c.logs[rule] }

// Body is the text as rules of type body see it.
func (c *Scan) Body() [][]byte { return c.Mail.Text(mail.All) }

// Links are the links of the message.
func (c *Scan) Links() *uri.List {
	if c.links != nil {
		return c.links
	}
	c.links = uri.NewList(c.Rules.Domains(), c.Redirects)
	for _, line := range c.Body() {
		c.links.AddText(line)
	}
	for _, h := range c.Mail.HTMLs() {
		c.links.Truncated = c.links.Truncated || h.Truncated
		c.links.Dropped = c.links.Dropped || h.Dropped
		for u, l := range h.URIs {
			c.links.AddLink(u, l.Types, l.Text)
		}
	}
	if c.Rules.Bool("parse_dkim_uris") {
		for _, name := range []string{"DomainKey-Signature", "DKIM-Signature"} {
			for _, v := range c.Get(name) {
				for _, m := range signer.FindAllStringSubmatch(v, 20) {
					c.links.AddSigner(strings.Join(mail.Words(m[1]), ""))
				}
			}
		}
	}
	return c.links
}
