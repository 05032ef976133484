package lookup

import (
	"context"
	"strings"

	"mtad/smtp"
)

// AddressQuery says by which parts of an address tables are asked, the most
// particular first: user+detail@domain, user@domain, with Name user+detail and user,
// with Domain @domain (virtual(5), canonical(5), transport(5)).
type AddressQuery struct {
	Separator string // recipient_delimiter: each character is one; "" none
	Name      bool
	Domain    bool
}

// AddressHit is what was found of an address.
type AddressHit struct {
	Key, Value string

	of        smtp.Address
	rest      string // "+detail", if Key does not have it
	separator string
}

// Keys are the keys of an address.
func (q AddressQuery) Keys(a smtp.Address) []string {
	domain := strings.ToLower(a.Domain)
	base, _, ok := SplitDetail(a.Local, q.Separator)
	locals := []string{a.Local}
	if ok {
		locals = append(locals, base)
	}
	var keys []string
	for _, l := range locals {
		keys = append(keys, smtp.Address{Local: l, Domain: domain}.String())
	}
	if q.Name && domain != "" {
		for _, l := range locals {
			keys = append(keys, smtp.Address{Local: l}.String())
		}
	}
	if q.Domain && domain != "" {
		keys = append(keys, "@"+domain)
	}
	return keys
}

// FindAddress asks for an address.
func (ts Tables) FindAddress(ctx context.Context, a smtp.Address, q AddressQuery) (hit AddressHit, ok bool, err error) {
	if len(ts) == 0 {
		return hit, false, nil
	}
	value, key, ok, err := ts.Find(ctx, q.Keys(a)...)
	if err != nil || !ok {
		return hit, false, err
	}
	hit = AddressHit{Key: key, Value: value, of: a, separator: q.Separator}
	base, _, split := SplitDetail(a.Local, q.Separator)
	if split && (key == smtp.Address{Local: base, Domain: strings.ToLower(a.Domain)}.String() || key == smtp.Address{Local: base}.String()) {
		hit.rest = a.Local[len(base):]
	}
	return hit, true, nil
}

// Address reads one address of the value. "@other" keeps the local-part; a detail that
// the key did not have goes on (postconf(5), propagate_unmatched_extensions).
func (h AddressHit) Address(text string) (smtp.Address, error) {
	if domain, ok := strings.CutPrefix(text, "@"); ok {
		return smtp.Address{Local: h.of.Local, Domain: domain}, nil
	}
	to, err := smtp.ParseAddress(text)
	if err == nil && !strings.ContainsAny(to.Local, h.separator) {
		to.Local += h.rest
	}
	return to, err
}

// SplitDetail takes the detail off a local-part. A few names that have a separator
// in them are whole (postconf(5), recipient_delimiter).
func SplitDetail(local, separator string) (base, detail string, ok bool) {
	lower := strings.ToLower(local)
	if lower == "double-bounce" || lower == "mailer-daemon" || strings.HasPrefix(lower, "owner-") || strings.HasSuffix(lower, "-request") {
		separator = strings.ReplaceAll(separator, "-", "")
	}
	i := strings.IndexAny(local, separator)
	if i <= 0 {
		return local, "", false
	}
	return local[:i], local[i+1:], true
}
