package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Address is a mailbox, local-part and domain, as SMTP carries it (RFC 5321,
// 4.1.2). The zero value is the null reverse-path "<>".
type Address struct {
	Local  string `json:"l,omitempty"` // without quotes
	Domain string `json:"d,omitempty"` // as given; "" for an unqualified name such as postmaster
}

// Limits of RFC 5321, 4.5.3.1.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 256
)

// Errors of addresses; what ParsePath returns wraps one of them.
var (
	ErrSyntax = errors.New("syntax")
	ErrLength = errors.New("too long")
)

// IsZero reports the null path.
func (a Address) IsZero() bool { return a == Address{} }

// String writes the address without angle brackets, the local-part quoted where
// it must be.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	l := a.Local
	if !isDotString(l) {
		l = quote(l)
	}
	if a.Domain == "" {
		return l
	}
	return l + "@" + a.Domain
}

// Path writes the address as MAIL and RCPT want it, in angle brackets.
func (a Address) Path() string { return "<" + a.String() + ">" }

// Key is the address for comparing: the whole in lower case. Local-parts may
// differ in case elsewhere (RFC 5321, 2.4); here they do not.
func (a Address) Key() string { return strings.ToLower(a.String()) }

// Equal compares two addresses without regard to case.
func (a Address) Equal(b Address) bool {
	return strings.EqualFold(a.Local, b.Local) && strings.EqualFold(a.Domain, b.Domain)
}

// ASCII reports whether the address needs no SMTPUTF8 (RFC 6531).
func (a Address) ASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// ToASCII is the address with the A-labels of its domain (RFC 5890, 2.3.2.1). ok is
// false if there is no such address: the local-part has no other form.
func (a Address) ToASCII() (out Address, ok bool) {
	if a.ASCII() {
		return a, true
	}
	if !isASCII(a.Local) {
		return a, false
	}
	domain, err := idna.Lookup.ToASCII(a.Domain)
	return Address{a.Local, domain}, err == nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// atomByte is atext of RFC 5322, 3.2.3, with the UTF-8 of RFC 6531, 3.3.
func atomByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= utf8.RuneSelf:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDotString(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] == '.' {
			if i == 0 || i == len(s)-1 || s[i-1] == '.' {
				return false
			}
		} else if !atomByte(s[i]) {
			return false
		}
	}
	return true
}

// ParseAddress reads local@domain, the local-part quoted or not. The domain may
// be missing.
func ParseAddress(s string) (Address, error) {
	a, rest, err := parseMailbox(s, false)
	if err != nil {
		return Address{}, err
	}
	if rest != "" {
		return Address{}, fmt.Errorf("smtp: address %q: unexpected %q: %w", s, rest, ErrSyntax)
	}
	return a, nil
}

// ParsePath reads a reverse- or forward-path at the start of s and returns what
// follows it. A source route is read and dropped (RFC 5321, 4.1.1.3). With lax
// the angle brackets may be missing, as people type at a server by hand, and
// white space may stand around the address; dots may stand in odd places.
func ParsePath(s string, lax bool) (a Address, rest string, err error) {
	if lax {
		s = strings.TrimLeft(s, " \t")
	}
	inner, bracket := strings.CutPrefix(s, "<")
	switch {
	case !bracket && !lax:
		return a, s, fmt.Errorf("smtp: path does not begin with <: %w", ErrSyntax)
	case !bracket:
		return parseMailbox(s, true)
	}
	if rest, ok := strings.CutPrefix(inner, ">"); ok {
		return Address{}, rest, nil
	}
	if lax {
		inner = strings.TrimLeft(inner, " \t")
	}
	inner, err = skipRoute(inner)
	if err != nil {
		return a, s, err
	}
	a, rest, err = parseMailbox(inner, lax)
	if err != nil {
		return a, s, err
	}
	if lax {
		rest = strings.TrimLeft(rest, " \t")
	}
	rest, ok := strings.CutPrefix(rest, ">")
	if !ok {
		return a, s, fmt.Errorf("smtp: path does not end with >: %w", ErrSyntax)
	}
	if len(s)-len(rest) > MaxPath+lenRoute(s) {
		return a, s, fmt.Errorf("smtp: path: %w", ErrLength)
	}
	return a, rest, nil
}

func lenRoute(s string) int {
	if strings.HasPrefix(s, "<@") {
		return strings.IndexByte(s, ':')
	}
	return 0
}

// skipRoute drops "@a,@b:" (RFC 5321, C).
func skipRoute(s string) (string, error) {
	for strings.HasPrefix(s, "@") {
		domain, rest, err := parseDomain(s[1:])
		if err != nil || domain == "" || rest == "" {
			return s, fmt.Errorf("smtp: source route: %w", ErrSyntax)
		}
		switch {
		case rest[0] == ':':
			return rest[1:], nil
		case strings.HasPrefix(rest, ",@"):
			s = rest[1:]
		default:
			return s, fmt.Errorf("smtp: source route: %w", ErrSyntax)
		}
	}
	return s, nil
}

func parseMailbox(s string, lax bool) (a Address, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		a.Local, rest, err = parseQuoted(s)
	} else {
		a.Local, rest, err = parseLocal(s, lax)
	}
	if err != nil {
		return Address{}, s, err
	}
	if len(a.Local) > MaxLocal {
		return Address{}, s, fmt.Errorf("smtp: local-part: %w", ErrLength)
	}
	after, at := strings.CutPrefix(rest, "@")
	if !at {
		return a, rest, nil
	}
	a.Domain, rest, err = parseDomain(after)
	if err != nil {
		return Address{}, s, err
	}
	return a, rest, nil
}

// parseLocal reads a dot-string. Lax lets dots stand where they should not:
// such addresses exist.
func parseLocal(s string, lax bool) (local, rest string, err error) {
	i := 0
	for i < len(s) && (s[i] == '.' || atomByte(s[i])) {
		i++
	}
	local = s[:i]
	if i == 0 || !lax && !isDotString(local) || !validText(local) {
		return "", s, fmt.Errorf("smtp: local-part: %w", ErrSyntax)
	}
	return local, s[i:], nil
}

// validText reports whether s is UTF-8 without the control characters U+0080 to
// U+009F, which mean to terminals and logs what those of US-ASCII do.
func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// parseQuoted reads a quoted-string local-part (RFC 5321, 4.1.2).
func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"' && b.Len() == 0:
			return "", s, fmt.Errorf("smtp: empty local-part: %w", ErrSyntax)
		case c == '"' && validText(b.String()):
			return b.String(), s[i+1:], nil
		case c == '"':
			return "", s, fmt.Errorf("smtp: local-part is not UTF-8: %w", ErrSyntax)
		case c == '\\' && i+1 < len(s):
			i++
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			break
		}
		b.WriteByte(c)
	}
	return "", s, fmt.Errorf("smtp: quoted local-part: %w", ErrSyntax)
}

// parseDomain reads a domain or an address literal.
func parseDomain(s string) (domain, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", s, fmt.Errorf("smtp: address literal: %w", ErrSyntax)
		}
		if _, ok := ParseLiteral(s[:end+1]); !ok {
			return "", s, fmt.Errorf("smtp: address literal %s: %w", s[:end+1], ErrSyntax)
		}
		return s[:end+1], s[end+1:], nil
	}
	i := 0
	for i < len(s) && domainByte(s[i]) {
		i++
	}
	if !ValidDomain(s[:i]) {
		return "", s, fmt.Errorf("smtp: domain %q: %w", s[:i], ErrSyntax)
	}
	return strings.TrimSuffix(s[:i], "."), s[i:], nil
}

func domainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c >= utf8.RuneSelf
}

// ValidDomain reports whether s is a domain name: labels of letters, digits,
// hyphens and underscores (which exist), at most 63 octets each and 255 in all.
// A final dot is allowed.
func ValidDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > MaxDomain || !validText(s) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !domainByte(label[i]) {
				return false
			}
		}
	}
	return true
}

// ParseLiteral reads an address literal, [192.0.2.1] or [IPv6:2001:db8::1]
// (RFC 5321, 4.1.3).
func ParseLiteral(s string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(s, "[")
	inner, ok2 := strings.CutSuffix(inner, "]")
	if !ok || !ok2 {
		return netip.Addr{}, false
	}
	v6 := len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:")
	if v6 {
		inner = inner[5:]
	}
	a, err := netip.ParseAddr(inner)
	if err != nil || a.Zone() != "" || a.Is4() == v6 {
		return netip.Addr{}, false
	}
	return a, true
}

// ValidHelo reports whether s may stand after HELO or EHLO: a domain or an
// address literal (RFC 5321, 4.1.1.1).
func ValidHelo(s string) bool {
	if _, ok := ParseLiteral(s); ok {
		return true
	}
	return ValidDomain(s)
}
