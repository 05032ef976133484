package relay

import (
	"regexp"
	"strings"
)

// octets is a set of octets.
type octets [256]bool

func octetSet(in func(c byte) bool) *octets {
	o := &octets{}
	for i := range o {
		o[i] = in(byte(i))
	}
	return o
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// edge reports whether a word begins or ends at p.
func edge(s string, p int) bool {
	return (p > 0 && isWord(s[p-1])) != (p < len(s) && isWord(s[p]))
}

// quad is where four decimal numbers with dots between them end, -1 if there are none
// at p.
func quad(s string, p int) int {
	for i := range 4 {
		if i > 0 {
			if p >= len(s) || s[p] != '.' {
				return -1
			}
			p++
		}
		n, v := 0, 0
		for ; p+n < len(s) && n < 4 && isDigit(s[p+n]); n++ {
			v = 10*v + int(s[p+n]-'0')
		}
		if n == 0 || n > 3 || v > 255 || n > 1 && s[p] == '0' {
			return -1
		}
		p += n
	}
	return p
}

// shape counts the groups of hexadecimal digits in an address of version 6, and says
// whether "::" stands for others; ok is false if it is none. If open, it is the part
// before an address of version 4, with ":" at its end.
func shape(s string, open bool) (n int, short, ok bool) {
	left, right, short := strings.Cut(s, "::")
	last := &left
	if short {
		last = &right
	}
	if open && *last != "" {
		if *last, ok = strings.CutSuffix(*last, ":"); !ok || *last == "" {
			return 0, false, false
		}
	}
	l, okL := groups(left)
	r, okR := groups(right)
	return l + r, short, okL && okR
}

// groups counts groups of up to four digits with ":" between them.
func groups(s string) (n int, ok bool) {
	if s == "" {
		return 0, true
	}
	for {
		i := strings.IndexByte(s, ':')
		if i == 0 || i > 4 || i < 0 && len(s) > 4 || s == "" {
			return 0, false
		}
		n++
		if i < 0 {
			return n, true
		}
		s = s[i+1:]
	}
}

// addressAt finds the addresses that may begin at p, as SpamAssassin looks for them:
// of version 4, or of version 6 in any way of writing (RFC 4291, 2.2), perhaps behind
// "IPv6:". It gives the ends, the one to be preferred first.
func addressAt(s string, p int) (ends [2]int, n int) {
	if p >= len(s) {
		return ends, 0
	}
	c := s[p]
	if isDigit(c) && (p == 0 || !isWord(s[p-1]) && s[p-1] != ':') {
		if e := quad(s, p); e > 0 && edge(s, e) {
			ends[n] = e
			n++
		}
	}
	q := p
	switch {
	case len(s)-p > 5 && c|0x20 == 'i' && strings.EqualFold(s[p:p+5], "ipv6:"):
		q = p + 5
	case !isHex(c) && c != ':', p > 0 && (isHex(s[p-1]) || s[p-1] == ':'):
		return ends, n
	}
	e, colon := q, -1
	for ; e < len(s) && (isHex(s[e]) || s[e] == ':'); e++ {
		if s[e] == ':' {
			colon = e
		}
	}
	if colon < 0 {
		return ends, n
	}
	if v := quad(s, colon+1); v > 0 && (v == len(s) || !isHex(s[v]) && s[v] != ':') {
		if g, short, ok := shape(s[q:colon+1], true); ok && (short && g <= 5 || !short && g == 6) {
			ends[n] = v
			n++
		}
	}
	if g, short, ok := shape(s[q:e], false); ok && n < len(ends) && (short && g <= 7 || !short && g == 8) {
		ends[n] = e
		n++
	}
	return ends, n
}

// FindIP finds the first address of IP version 4 or 6 in a line, "" if there is none.
func FindIP(line string) string {
	for p := range len(line) {
		if c := line[p]; !isHex(c) && c != ':' && c|0x20 != 'i' || p > 0 && line[p-1] == '.' || !edge(line, p) {
			continue
		}
		ends, n := addressAt(line, p)
		for _, e := range ends[:n] {
			if edge(line, e) && (e == len(line) || line[e] != '.') {
				return line[p:e]
			}
		}
	}
	return ""
}

// firstIP is an address anywhere in a line, whatever stands around it.
func firstIP(line string) string {
	for p := range len(line) {
		if ends, n := addressAt(line, p); n > 0 {
			return line[p:ends[0]]
		}
	}
	return ""
}

const (
	privateV4 = `(?:10|127|169\.254|172\.(?:1[6-9]|2[0-9]|3[01])|192\.168|100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7]))\.`
	zero      = `0{1,4}:`
	// How the first ten octets of an address of version 4 in version 6 are written.
	zeros = `(?:(?:` + zero + `){5}|::(?:` + zero + `){0,4}|(?:` + zero + `){1,4}:|0{1,4}::(?:` + zero + `){1,3}|` + zero + zero + `:0{1,2}:|` + zero + zero + zero + `:0:)`
	one   = `0{0,3}1`
)

// private are networks that are not of the Internet: of RFC 1918, RFC 3927, RFC 6598,
// the machine's own and, of version 6, those of the link.
var private = regexp.MustCompile(`(?i)^(?:` + privateV4 + `|(?:IPv6:)?(?:` + zeros + `ffff:` + privateV4 + `|fe[89ab][0-9a-f]:|` + loopback + `(?:$|[^a-f0-9:])))`)

// loopback is "::1", however its zeros are written.
const loopback = `(?:(?:` + zero + `){7}` + one + `|:(?::0{1,4}){0,6}:` + one + `|` + zero + `(?::0{1,4}){0,5}:` + one + `|(?:` + zero + `){2}(?::0{1,4}){0,4}:` + one +
	`|(?:` + zero + `){3}(?::0{1,4}){0,3}:` + one + `|(?:` + zero + `){4}(?::0{1,4}){0,2}:` + one + `|(?:` + zero + `){5}(?::0{1,4}){0,1}:` + one + `|(?:` + zero + `){6}:` + one + `)`

// Private reports whether an address is none of the Internet: of a site, of the link, or of the machine.
func Private(ip string) bool { return private.MatchString(ip) }

var (
	ownMapped = regexp.MustCompile(`(?i)^` + zeros + `ffff:127\.0\.0\.1`)
	ownPlain  = regexp.MustCompile(`^` + loopback)
)

// localAt finds names and addresses of the machine itself that may begin at p.
func localAt(s string, p int) (ends [2]int, n int) {
	const name, tail = "localhost", ".localdomain"
	rest := s[p:]
	if len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
		if t := rest[len(name):]; len(t) >= len(tail) && strings.EqualFold(t[:len(tail)], tail) {
			return [2]int{p + len(name) + len(tail), p + len(name)}, 2
		}
		return [2]int{p + len(name)}, 1
	}
	if strings.HasPrefix(rest, "127.0.0.1") && edge(s, p) && edge(s, p+9) && (p == 0 || s[p-1] != ':') {
		return [2]int{p + 9}, 1
	}
	q := p
	if len(rest) >= 5 && strings.EqualFold(rest[:5], "ipv6:") {
		q += 5
	} else if p > 0 && (isHex(s[p-1]) || s[p-1] == ':') {
		return ends, 0
	}
	for _, re := range []*regexp.Regexp{ownMapped, ownPlain} {
		if m := re.FindString(s[q:]); m != "" {
			if e := q + len(m); e == len(s) || !isHex(s[e]) && s[e] != ':' {
				return [2]int{e}, 1
			}
		}
	}
	return ends, 0
}
