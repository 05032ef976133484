// Package resolve answers the questions of package ask with a resolver of package dns.
package resolve

import (
	"context"
	"errors"
	"fmt"

	"mtad/dns"
	"mtad/spam/ask"
	"mtad/spam/conf"
)

// types are the records that a rule can ask for.
var types = map[string]dns.Type{"A": dns.A, "AAAA": dns.AAAA, "NS": dns.NS, "CNAME": dns.CNAME, "PTR": dns.PTR, "MX": dns.MX, "TXT": dns.TXT, "TLSA": dns.TLSA}

// Bounds of an answer: one message may ask some hundreds of questions of a domain that
// wants to cost much.
const (
	maxRecords = 256
	maxOctets  = 16 << 10
)

type resolver struct{ dns dns.Resolver }

// With makes a resolver for rules of one of the server; nil of nil.
func With(r dns.Resolver) ask.Resolver {
	if r == nil {
		return nil
	}
	return resolver{r}
}

// New makes one of the name servers that the rules' dns_server lines name, or else of
// this machine's.
func New(rules *conf.Ruleset) (ask.Resolver, error) {
	c, err := dns.NewClient(dns.ClientConfig{Servers: rules.Words("dns_server")})
	if err != nil {
		return nil, err
	}
	return With(c), nil
}

// Lookup asks. That there is no such name is an answer.
func (r resolver) Lookup(ctx context.Context, q ask.Question) (ask.Answer, error) {
	t, ok := types[q.Type]
	if !ok {
		return ask.Answer{}, fmt.Errorf("records of type %s are not asked for", q.Type)
	}
	a, err := r.dns.Lookup(ctx, q.Name, t)
	var code dns.Rcode
	switch {
	case errors.Is(err, dns.ErrNoName):
		return ask.Answer{Code: 3}, nil
	case errors.Is(err, dns.ErrNoData), errors.Is(err, dns.ErrName):
		return ask.Answer{}, nil
	case errors.As(err, &code):
		return ask.Answer{Code: int(code)}, err
	case err != nil:
		return ask.Answer{}, err
	}
	var out ask.Answer
	size := 0
	for _, rec := range a.Records {
		if size += len(rec.Text); len(out.Records) == maxRecords || size > maxOctets {
			return ask.Answer{}, fmt.Errorf("the answer has more than %d records or %d octets", maxRecords, maxOctets)
		}
		out.Records = append(out.Records, ask.Record{Type: rec.Type.String(), Text: text(rec), Strings: rec.Strings})
	}
	return out, nil
}

// text is a record's data as in a master file (RFC 1035, 5).
func text(r dns.Record) string {
	switch r.Type {
	case dns.NS, dns.CNAME, dns.PTR:
		return r.Text + "."
	case dns.MX:
		return fmt.Sprintf("%d %s.", r.Pref, r.Text)
	}
	return r.Text
}
