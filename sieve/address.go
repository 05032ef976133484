package sieve

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Address is an e-mail address. The zero Address is the null reverse-path.
type Address struct {
	Local   string // without quotes
	Domain  string
	Invalid string // what stood there, if it is no address; the rest is empty
}

// String is the whole address, as ":all" compares it.
func (a Address) String() string {
	switch {
	case a.Invalid != "":
		return a.Invalid
	case a.Domain == "":
		return a.Local
	}
	return a.Local + "@" + a.Domain
}

// addressTags are the address parts of RFC 5228, 2.7.4. An address that is not
// valid has only the whole.
var addressTags = []tagRow{
	{name: "all", group: groupPart, part: func(a Address, _ *Options) (string, bool) { return a.String(), true }},
	{name: "localpart", group: groupPart, part: func(a Address, _ *Options) (string, bool) { return a.Local, a.Invalid == "" }},
	{name: "domain", group: groupPart, part: func(a Address, _ *Options) (string, bool) { return a.Domain, a.Invalid == "" }},
}

var errAddress = errors.New("no address that mail can be sent to")

// parseOutbound reads the address of a redirect: local@domain, or a name and
// that in angle brackets (RFC 5228, 2.4.2.3).
func parseOutbound(s string) (Address, error) {
	s = strings.Trim(s, " \t")
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		if !validPhrase(s[:i]) {
			return Address{}, errAddress
		}
		s = strings.Trim(s[i+1:len(s)-1], " \t")
	}
	i := strings.LastIndexByte(s, '@')
	if i <= 0 || len(s) > 320 || !utf8.ValidString(s) {
		return Address{}, errAddress
	}
	local, ok := parseLocal(s[:i])
	if !ok || len(local) > 64 || !validDomain(s[i+1:]) {
		return Address{}, errAddress
	}
	return Address{Local: local, Domain: s[i+1:]}, nil
}

// validPhrase reports whether s can be a display name (RFC 5322, 3.2.5).
func validPhrase(s string) bool {
	inside := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			inside = !inside
		case c == '\\' && inside:
			i++
		case c < ' ' && c != '\t', !inside && strings.IndexByte("<>()[]:;@\\,", c) >= 0:
			return false
		}
	}
	return !inside
}

// parseLocal reads a dot-atom or a quoted string (RFC 5322, 3.4.1).
func parseLocal(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		for word := range strings.SplitSeq(s, ".") {
			if word == "" || strings.ContainsFunc(word, notAtom) {
				return "", false
			}
		}
		return s, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return b.String(), i == len(s)-1 && b.Len() > 0
		case c == '\\' && i+1 < len(s):
			i++
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

// notAtom is what no atom may hold (RFC 5322, 3.2.3); UTF-8 may stand in it
// (RFC 6532, 3.2).
func notAtom(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,."`, r)
}

// validDomain reports whether s can be mail's domain: a name, or a literal.
func validDomain(s string) bool {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return len(s) > 2 && !strings.ContainsAny(s[1:len(s)-1], "[]\\ \t\r\n<>")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notLabel) {
			return false
		}
	}
	return len(s) <= 255
}

func notLabel(r rune) bool {
	return r < utf8.RuneSelf && r != '-' && r != '_' && (r >= 0x7f || !isDigit(byte(r)) && !isNameStart(byte(r)))
}
