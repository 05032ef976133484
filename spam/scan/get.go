package scan

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/mail"
	"mtad/spam/relay"
	"mtad/spam/uri"
)

var signer = regexp.MustCompile(`\bd\s*=\s*([^;]+)`)

// request is what is asked of a field: its name and what of it.
type request struct {
	name                                                    string
	raw, addr, phrase, host, domain, ip, revip, first, last bool
}

func parseRequest(s string) (r request) {
	name, mods, _ := strings.Cut(s, ":")
	r.name = name
	for m := range strings.SplitSeq(mods, ":") {
		switch m {
		case "raw":
			r.raw = true
		case "addr":
			r.addr = true
		case "name":
			r.phrase = true
		case "host":
			r.host = true
		case "domain":
			r.host, r.domain = true, true
		case "ip":
			r.ip = true
		case "revip":
			r.ip, r.revip = true, true
		case "first":
			r.first = true
		case "last":
			r.last = true
		}
	}
	return r
}

// Get gives what is asked for: "Subject", "From:addr", "ALL", "X-Spam-Relays-External",
// "EnvelopeFrom:first:addr:host". Fields end with "\n"; parts of fields do not. What
// is not there is nil.
func (c *Scan) Get(what string) []string {
	if v, ok := c.got[what]; ok {
		return v
	}
	r := parseRequest(what)
	v := c.fields(r)
	switch {
	case len(v) == 0:
	case r.first:
		v = v[:1]
	case r.last:
		v = v[len(v)-1:]
	}
	if r.addr || r.phrase {
		v = c.mailboxes(v, r)
	}
	switch {
	case r.host:
		v = c.hosts(v, r)
	case r.ip:
		v = addresses(v, r.revip)
	}
	c.got[what] = v
	return v
}

// First gives the first of what is asked for, without the end of its line.
func (c *Scan) First(what string) string {
	if v := c.Get(what); len(v) > 0 {
		return strings.TrimSuffix(v[0], "\n")
	}
	return ""
}

// Joined gives all of what is asked for as header rules see it; ok is false if there
// is nothing.
func (c *Scan) Joined(what string) (text string, ok bool) {
	v := c.Get(what)
	if len(v) == 0 {
		return "", false
	}
	if strings.HasSuffix(v[0], "\n") {
		return strings.Join(v, ""), true
	}
	return strings.Join(v, "\n"), true
}

// Has reports whether there is a field, or what else is asked for.
func (c *Scan) Has(what string) bool { return len(c.Get(what)) > 0 }

// Plain is the name, in small letters, of the field that is asked for; "" if what is
// asked for is made of others or of what is known beside the message.
func Plain(what string) string {
	name, _, _ := strings.Cut(strings.ToLower(what), ":")
	switch name {
	case "all", "all-trusted", "all-internal", "all-untrusted", "all-external", "messageid", "envelopefrom", "tocc":
		return ""
	}
	if strings.HasPrefix(name, "x-spam-relays-") {
		return ""
	}
	return name
}

// Lacks reports whether there is no field of a name that Plain has given.
func (c *Scan) Lacks(name string) bool {
	if c.names == nil {
		c.names = make(map[string]bool, len(c.Mail.Fields))
		for _, f := range c.Mail.Fields {
			c.names[strings.ToLower(f.Name)] = true
		}
	}
	_, pseudo := c.meta[name]
	return !pseudo && !c.names[name]
}

// fields gives whole fields.
func (c *Scan) fields(r request) []string {
	switch r.name {
	case "ALL":
		return c.all(r.raw)
	case "ALL-TRUSTED":
		return c.between(-1, c.Path.LastTrusted+1, r.raw)
	case "ALL-INTERNAL":
		return c.between(-1, c.Path.LastInternal+1, r.raw)
	case "ALL-UNTRUSTED":
		return c.between(c.Path.LastTrusted+1, -1, r.raw)
	case "ALL-EXTERNAL":
		return c.between(c.Path.LastInternal+1, -1, r.raw)
	case "MESSAGEID":
		var out []string
		for _, name := range []string{"X-Message-Id", "Resent-Message-Id", "X-Original-Message-ID", "Message-Id"} {
			for _, v := range c.named(name, r.raw) {
				if v != "" {
					out = append(out, v)
				}
			}
		}
		return out
	}
	switch strings.ToLower(r.name) {
	case "envelopefrom":
		if e, ok := c.EnvelopeFrom(); ok {
			return []string{e}
		}
		return nil
	case "x-spam-relays-untrusted":
		return []string{relay.Join(c.Path.Untrusted)}
	case "x-spam-relays-trusted":
		return []string{relay.Join(c.Path.Trusted)}
	case "x-spam-relays-external":
		return []string{relay.Join(c.Path.External)}
	case "x-spam-relays-internal":
		return []string{relay.Join(c.Path.Internal)}
	case "tocc":
		return append(c.named("To", r.raw), c.named("Cc", r.raw)...)
	}
	return c.plain(r)
}

// plain gives the fields of a name, or a pseudo-field that a function has set.
func (c *Scan) plain(r request) []string {
	var out []string
	for _, f := range c.Mail.Fields {
		if strings.EqualFold(f.Name, r.name) {
			if r.raw || r.addr || r.phrase {
				out = append(out, f.Raw)
			} else {
				out = append(out, f.Value+"\n")
			}
		}
	}
	if out == nil {
		if v, ok := c.meta[strings.ToLower(r.name)]; ok {
			out = []string{v}
		}
	}
	return out
}

// SetField sets a pseudo-field, which rules find if the message has none of its name.
func (c *Scan) SetField(name, value string) { c.meta[strings.ToLower(name)] = value }

var rawFold = regexp.MustCompile(`\r?\n\s+`)

// named gives the fields of a name, decoded, or as they stand but for folds.
func (c *Scan) named(name string, raw bool) []string {
	var out []string
	for _, f := range c.Mail.Fields {
		switch {
		case !strings.EqualFold(f.Name, name):
		case raw:
			out = append(out, rawFold.ReplaceAllString(f.Raw, " "))
		default:
			out = append(out, f.Value+"\n")
		}
	}
	return out
}

// maxHeader bounds all fields together, in octets.
const maxHeader = 65536

// all gives every field with its name.
func (c *Scan) all(raw bool) []string {
	if raw {
		return rawFields(c.Mail.Head)
	}
	var out []string
	size := 0
	for _, f := range c.Mail.Fields {
		line := f.Name + ": " + f.Value + "\n"
		if size += len(line); size > maxHeader {
			c.Mail.CutHeader(maxHeader)
			break
		}
		out = append(out, line)
	}
	return out
}

// rawFields parts a header into fields, folds kept. An empty line that ends in CR LF
// counts as one, as it does in Perl.
func rawFields(head []byte) []string {
	var out, field []string // joined at once: a field may have a line for every two octets
	for _, line := range strings.SplitAfter(string(head), "\n") {
		fold := line != "" && (line[0] == ' ' || line[0] == '\t')
		switch {
		case line == "" || line == "\n" || fold && field == nil:
		case fold:
			field = append(field, line)
		default:
			if field != nil {
				out = append(out, strings.Join(field, ""))
			}
			field = append(field[:0], line)
		}
	}
	if field != nil {
		out = append(out, strings.Join(field, ""))
	}
	return out
}

// between gives the fields from one Received field to another; -1 is no bound.
func (c *Scan) between(from, to int, raw bool) []string {
	if to < -1 {
		return nil
	}
	var out []string
	at := -1
	for _, line := range c.all(raw) {
		if len(line) >= 9 && strings.EqualFold(line[:9], "Received:") {
			at++
		}
		switch {
		case from >= 0 && at < from:
		case to < 0 || at < to:
			out = append(out, line)
		case at == to:
			return append(out, line)
		}
	}
	return out
}

// mailboxes gives the addresses or the names of fields.
func (c *Scan) mailboxes(fields []string, r request) []string {
	var out []string
	for _, f := range fields {
		for _, a := range uri.Addresses(f) {
			switch {
			case r.addr && a.HasAddress:
				out = append(out, a.Address)
			case !r.addr && a.HasPhrase && r.raw:
				out = append(out, a.Phrase)
			case !r.addr && a.HasPhrase:
				out = append(out, phrase(a.Phrase))
			}
		}
	}
	return out
}

func phrase(s string) string {
	s = mail.DecodeWords(s)
	if mail.Blank([]byte(s)) {
		return s
	}
	s = strings.Join(mail.Words(s), " ")
	if len(s) > 1 && s[0] == '\'' && s[len(s)-1] == '\'' {
		s = s[1 : len(s)-1]
	}
	return s
}

func (c *Scan) hosts(lines []string, r request) []string {
	var out []string
	for _, line := range lines {
		host := ""
		if r.addr {
			if i := strings.LastIndexByte(line, '@'); i >= 0 && i+1 < len(line) {
				host, _, _ = strings.Cut(line[i+1:], " ")
			}
		} else {
			host = uri.HostIn(line, c.Rules.Domains())
		}
		if host != "" && r.domain {
			_, host = c.Rules.Domains().Split(host)
		}
		if host != "" {
			out = append(out, host)
		}
	}
	return out
}

// addresses gives the first address of IP in each line; reversed as DNS lists want it.
func addresses(lines []string, reverse bool) []string {
	var out []string
	for _, line := range lines {
		ip := relay.FindIP(line)
		if ip == "" {
			continue
		}
		if reverse {
			ip = Reverse(ip)
		}
		if ip != "" {
			out = append(out, ip)
		}
	}
	return out
}

// Reverse writes an address for a question to a DNS list (RFC 5782, 2.1 and 2.4): "" if it is none.
func Reverse(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	var parts []string
	if a.Is4() {
		parts = strings.Split(a.String(), ".")
	} else {
		parts = strings.Split(strings.ReplaceAll(a.WithZone("").StringExpanded(), ":", ""), "")
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}
