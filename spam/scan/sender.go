package scan

import (
	"regexp"
	"slices"
	"strings"

	"mtad/spam/uri"
)

// EnvelopeFrom is the reverse-path: from the server, or from the header as far as that
// can be believed; ok is false if it is not known.
func (c *Scan) EnvelopeFrom() (from string, ok bool) {
	if !c.envDone {
		c.envDone = true
		c.envelope = c.findEnvelope()
	}
	if c.envelope == nil {
		return "", false
	}
	return *c.envelope, true
}

func (c *Scan) findEnvelope() *string {
	if c.Facts.HasEnvelope {
		return &c.Facts.EnvelopeFrom
	}
	if name := c.Rules.String("envelope_sender_header"); name != "" {
		return usable(c.Get(name + ":first:addr"))
	}
	last := c.Path.Untrusted
	if len(last) == 0 && len(c.Path.Trusted) > 0 {
		last = c.Path.Trusted[len(c.Path.Trusted)-1:]
	}
	if len(last) > 0 && last[0].HasEnvFrom {
		if e := usable([]string{last[0].EnvFrom}); e != nil {
			return e
		}
	}
	if x := c.First("X-Sender:first:addr"); strings.Contains(x, "@") {
		for _, r := range c.Get("Received") {
			if strings.Contains(r, "(fetchmail") {
				return nil
			}
		}
	}
	for _, name := range []string{"X-Envelope-From", "Envelope-Sender", "Return-Path"} {
		v := c.Get(name + ":first:addr")
		switch {
		case len(v) == 0:
		case !c.behindReceived(name):
			return &v[0]
		case name == "X-Envelope-From":
			return nil
		}
	}
	return nil
}

func usable(v []string) *string {
	if len(v) > 0 && (v[0] == "" || strings.IndexByte(v[0], '@') > 0) {
		return &v[0]
	}
	return nil
}

// behindReceived reports whether a field stands behind a Received field: then another
// server has written it.
func (c *Scan) behindReceived(name string) bool {
	seen := false
	for _, f := range c.Mail.Fields {
		switch {
		case strings.EqualFold(f.Name, "Received"):
			seen = true
		case seen && strings.EqualFold(f.Name, name):
			return true
		}
	}
	return false
}

// AllFrom are the addresses that a message may be said to come from, each once.
func (c *Scan) AllFrom() []string {
	if resent := c.Get("Resent-From:first:addr"); len(resent) > 0 {
		return resent
	}
	var out []string
	for _, what := range []string{"From:addr", "Envelope-Sender:addr", "Resent-Sender:addr", "X-Envelope-From:addr", "EnvelopeFrom:addr"} {
		for _, a := range c.Get(what) {
			for strings.Contains(a, "..") {
				a = strings.ReplaceAll(a, "..", ".")
			}
			if a != "" && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// FromDomains are the registered domains of AllFrom, each once.
func (c *Scan) FromDomains() []string {
	var out []string
	for _, a := range c.AllFrom() {
		if d, _ := uri.Domain(a, c.Rules.Domains()); d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

var forClause = regexp.MustCompile(` for <?(\S+@(\S+?))>?;`)

// AllTo are the addresses that a message may be said to go to, each once.
func (c *Scan) AllTo() []string {
	if resent := append(slices.Clone(c.Get("Resent-To:first:addr")), c.Get("Resent-Cc:first:addr")...); len(resent) > 0 {
		return resent
	}
	var out []string
	add := func(a string) {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	for i, r := range c.Get("Received") {
		if m := forClause.FindStringSubmatch(r); i < 3 && m != nil && uri.ValidHost(uri.ASCII(m[2])) {
			add(m[1])
		}
	}
	for _, name := range []string{"To", "Apparently-To", "Delivered-To", "Envelope-Recipients", "Apparently-Resent-To", "X-Envelope-To", "Envelope-To",
		"X-Delivered-To", "X-Original-To", "X-Rcpt-To", "X-Real-To", "Cc"} {
		for _, a := range c.Get(name + ":addr") {
			add(a)
		}
	}
	return out
}
