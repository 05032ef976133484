package scan

import (
	"context"
	"strings"
	"sync"
	"time"

	"mtad/spam/ask"
	"mtad/spam/conf"
)

// Blocks are the zones that are not asked for a while, for all messages: a rule of
// dns_block_rule has hit, as their owners refuse to answer.
type Blocks struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// Add blocks a zone; it reports false if it is blocked already.
func (b *Blocks) Add(zone string, now time.Time, d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.until[zone]) {
		return false
	}
	if b.until == nil {
		b.until = map[string]time.Time{}
	}
	b.until[zone] = now.Add(d)
	return true
}

// Find gives the blocked zone that a name is in, "" if there is none.
func (b *Blocks) Find(name string, now time.Time) string {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for zone := name; zone != "" && len(b.until) > 0; _, zone, _ = strings.Cut(zone, ".") {
		if now.Before(b.until[zone]) {
			return zone
		}
	}
	return ""
}

// inquiry begins to ask the DNS for one message: nil if there is none to be asked.
func (s *Settings) inquiry(ctx context.Context) *ask.Inquiry {
	if s.Local || s.Resolver == nil || dnsOff(s.Rules) {
		return nil
	}
	l := ask.Limits{Zones: map[string]ask.Timeout{}, Refuse: s.refuse}
	for zone, t := range s.Rules.Timeouts() {
		if zone == "" {
			l.Timeout = ask.Timeout{Initial: t.Max, Min: t.Min}
		} else {
			l.Zones[zone] = ask.Timeout{Initial: t.Max, Min: t.Min}
		}
	}
	return ask.New(ctx, s.Resolver, l)
}

// dnsOff reports whether dns_available says no.
func dnsOff(r *conf.Ruleset) bool {
	word := strings.ToLower(r.String("dns_available"))
	return word == "no" || word == "0"
}

func (s *Settings) refuse(name string) (refused bool, why string) {
	if s.Rules.Denied(name) {
		return true, ""
	}
	if zone := s.Blocks.Find(name, time.Now()); zone != "" {
		return true, zone + " refuses to answer: it is not asked for a while (dns_block_rule)"
	}
	return false, ""
}

// Close ends what is still asked.
func (c *Scan) Close() {
	if c.Ask != nil {
		c.Ask.Close()
	}
}

// Common gives the values of the tags that every message has, "" where it has nothing
// for one; ok is false for other tags. arg is what stands in brackets behind the name.
func (c *Scan) Common(name, arg string) (value string, ok bool) {
	first, last := "", ""
	if n := len(c.Path.Trusted); n > 0 {
		first = c.Path.Trusted[n-1].IP
	}
	rdns, helo := "", ""
	if len(c.Path.External) > 0 {
		last, rdns, helo = c.Path.External[0].IP, c.Path.External[0].RDNS, c.Path.External[0].Helo
	}
	switch name {
	case "FIRSTTRUSTEDIP":
		return first, true
	case "FIRSTTRUSTEDREVIP":
		return Reverse(first), true
	case "LASTEXTERNALIP":
		return last, true
	case "LASTEXTERNALREVIP":
		return Reverse(last), true
	case "LASTEXTERNALRDNS":
		return rdns, true
	case "LASTEXTERNALHELO":
		return helo, true
	case "HEADER":
		v, _ := c.Joined(arg)
		return v, true
	}
	return "", false
}

// signerTags sets the tags of the signatures that hold.
func (c *Scan) signerTags() {
	tags := map[string][]string{}
	for _, d := range c.Facts.DKIM {
		if d.Result != "pass" {
			continue
		}
		for name, v := range map[string]string{"DKIMDOMAIN": d.Domain, "DKIMIDENTITY": d.Identity, "DKIMSELECTOR": d.Selector} {
			if v != "" && !contains(tags[name], v) {
				tags[name] = append(tags[name], v)
			}
		}
	}
	for name, values := range tags {
		c.SetTag(name, values...)
	}
}
