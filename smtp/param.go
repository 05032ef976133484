package smtp

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	gosmtp "github.com/emersion/go-smtp"
)

// MailParams are the ESMTP parameters of MAIL. Raw keeps them as they came, in
// order, for filters that speak the milter protocol.
type MailParams struct {
	gosmtp.MailOptions
	PRDR bool     `json:",omitempty"` // each recipient is to be answered (draft-hall-prdr)
	Raw  []string `json:",omitempty"`
}

// RcptParams are the ESMTP parameters of RCPT.
type RcptParams struct {
	gosmtp.RcptOptions
	Raw []string `json:",omitempty"`
}

// ParamError is a parameter that can't be taken. Unknown ones answer 555, the
// others 501 (RFC 5321, 4.1.1.11).
type ParamError struct {
	Param   string
	Unknown bool
	Why     string
}

func (e *ParamError) Error() string { return fmt.Sprintf("smtp: parameter %s: %s", e.Param, e.Why) }

type (
	mailParam func(*MailParams, string) error
	rcptParam func(*RcptParams, string) error
)

var mailTable = map[string]mailParam{
	"SIZE":       mailSize,
	"BODY":       mailBody,
	"SMTPUTF8":   func(p *MailParams, v string) error { p.UTF8 = true; return empty(v) },
	"REQUIRETLS": func(p *MailParams, v string) error { p.RequireTLS = true; return empty(v) },
	"PRDR":       func(p *MailParams, v string) error { p.PRDR = true; return empty(v) },
	"RET":        mailRet,
	"ENVID":      mailEnvID,
	"AUTH":       mailAuth,
}

var rcptTable = map[string]rcptParam{
	"NOTIFY": rcptNotify,
	"ORCPT":  rcptORcpt,
}

// ParseMailParams reads what follows the path of MAIL. allowed says which
// keywords the server has offered.
func ParseMailParams(s string, allowed func(keyword string) bool) (MailParams, error) {
	var p MailParams
	err := eachParam(s, func(raw, key, value string) error {
		set := mailTable[key]
		if set == nil || !allowed(key) {
			return &ParamError{key, true, "not offered"}
		}
		p.Raw = append(p.Raw, raw)
		return named(key, set(&p, value))
	})
	return p, err
}

// ParseRcptParams reads what follows the path of RCPT.
func ParseRcptParams(s string, allowed func(keyword string) bool) (RcptParams, error) {
	var p RcptParams
	err := eachParam(s, func(raw, key, value string) error {
		set := rcptTable[key]
		if set == nil || !allowed(key) {
			return &ParamError{key, true, "not offered"}
		}
		p.Raw = append(p.Raw, raw)
		return named(key, set(&p, value))
	})
	return p, err
}

// eachParam calls f for each keyword[=value]; a keyword may come once.
func eachParam(s string, f func(raw, key, value string) error) error {
	seen := map[string]bool{}
	for _, raw := range strings.Fields(s) {
		key, value, eq := strings.Cut(raw, "=")
		key = strings.ToUpper(key)
		switch {
		case !isKeyword(key):
			return &ParamError{raw, false, "is no keyword"}
		case seen[key]:
			return &ParamError{key, false, "came twice"}
		case eq && value == "":
			return &ParamError{key, false, "has an empty value"}
		}
		seen[key] = true
		if err := f(raw, key, value); err != nil {
			return err
		}
	}
	return nil
}

func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

func named(key string, err error) error {
	if err != nil {
		return &ParamError{key, false, err.Error()}
	}
	return nil
}

type paramProblem string

func (p paramProblem) Error() string { return string(p) }

func empty(v string) error {
	if v != "" {
		return paramProblem("takes no value")
	}
	return nil
}

// mailSize reads SIZE= (RFC 1870, 3): at most 20 digits.
func mailSize(p *MailParams, v string) error {
	n, err := strconv.ParseUint(v, 10, 64)
	switch {
	case len(v) <= 20 && errors.Is(err, strconv.ErrRange):
		n = math.MaxInt64 // as good as infinite: more than any server takes
	case err != nil || len(v) > 20:
		return paramProblem("is not a size in octets")
	}
	p.Size = int64(min(n, math.MaxInt64))
	return nil
}

// mailBody reads BODY= (RFC 6152, 3).
func mailBody(p *MailParams, v string) error {
	switch b := gosmtp.BodyType(strings.ToUpper(v)); b {
	case gosmtp.Body7Bit, gosmtp.Body8BitMIME:
		p.Body = b
		return nil
	}
	return paramProblem("must be 7BIT or 8BITMIME")
}

// mailRet reads RET= (RFC 3461, 4.3).
func mailRet(p *MailParams, v string) error {
	switch r := gosmtp.DSNReturn(strings.ToUpper(v)); r {
	case gosmtp.DSNReturnFull, gosmtp.DSNReturnHeaders:
		p.Return = r
		return nil
	}
	return paramProblem("must be FULL or HDRS")
}

// mailEnvID reads ENVID= (RFC 3461, 4.4).
func mailEnvID(p *MailParams, v string) error {
	s, err := DecodeXtext(v)
	if err != nil || len(v) > 100 || !isText(s) || !isASCII(s) {
		return paramProblem("is not xtext of at most 100 octets that stands for printable US-ASCII")
	}
	p.EnvelopeID = s
	return nil
}

// mailAuth reads AUTH= (RFC 4954, 5).
func mailAuth(p *MailParams, v string) error {
	s, err := DecodeXtext(v)
	if err != nil || !isText(s) {
		return paramProblem("is not xtext that stands for an address")
	}
	if s == "<>" {
		s = ""
	}
	p.Auth = &s
	return nil
}

// rcptNotify reads NOTIFY= (RFC 3461, 4.1).
func rcptNotify(p *RcptParams, v string) error {
	for w := range strings.SplitSeq(strings.ToUpper(v), ",") {
		switch n := gosmtp.DSNNotify(w); n {
		case gosmtp.DSNNotifyNever, gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure, gosmtp.DSNNotifyDelayed:
			p.Notify = append(p.Notify, n)
		default:
			return paramProblem("must be NEVER, or some of SUCCESS, FAILURE and DELAY")
		}
	}
	for _, n := range p.Notify {
		if n == gosmtp.DSNNotifyNever && len(p.Notify) > 1 {
			return paramProblem("takes NEVER only alone")
		}
	}
	return nil
}

// rcptORcpt reads ORCPT= (RFC 3461, 4.2).
func rcptORcpt(p *RcptParams, v string) error {
	typ, addr, ok := strings.Cut(v, ";")
	s, err := decodeORCPT(typ, addr)
	if !ok || !isDotString(typ) || !isASCII(typ) || addr == "" || err != nil || !isText(s) || len(v) > 500 {
		return paramProblem("must be type;address in xtext, without control characters")
	}
	p.OriginalRecipientType, p.OriginalRecipient = gosmtp.DSNAddressType(strings.ToUpper(typ)), s
	return nil
}

// utf8Type is the type of addresses beyond US-ASCII (RFC 6533, 3). They are no
// xtext: what can not stand as it is is \x{HEX}.
const utf8Type = "UTF-8"

// EncodeORCPT writes an address of ORCPT, in the form that every host takes.
func EncodeORCPT(typ gosmtp.DSNAddressType, addr string) string {
	if string(typ) != utf8Type {
		return EncodeXtext(addr)
	}
	var b strings.Builder
	for _, r := range addr {
		if r <= ' ' || r >= 0x7f || r == '+' || r == '=' || r == '\\' {
			fmt.Fprintf(&b, "\\x{%X}", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func decodeORCPT(typ, s string) (string, error) {
	if !strings.EqualFold(typ, utf8Type) {
		return DecodeXtext(s)
	}
	var b strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, "\\")
		if strings.ContainsAny(before, "+= ") || !utf8.ValidString(before) {
			return "", fmt.Errorf("smtp: address %q: %w", s, ErrSyntax)
		}
		b.WriteString(before)
		if s = after; !found {
			break
		}
		hex, rest, ok := strings.Cut(strings.TrimPrefix(s, "x{"), "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || !strings.HasPrefix(s, "x{") || !utf8.ValidRune(rune(n)) {
			return "", fmt.Errorf("smtp: address %q: %w", s, ErrSyntax)
		}
		b.WriteRune(rune(n))
		s = rest
	}
	return b.String(), nil
}

// isText reports whether s has no control characters: what these parameters
// stand for is printable (RFC 3461, 4.2 and 4.4; RFC 6533, 3), and ends up in
// the fields of a report.
func isText(s string) bool {
	return !strings.ContainsFunc(s, unicode.IsControl)
}

// DecodeXtext undoes +HH (RFC 3461, 4).
func DecodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && i+2 < len(s):
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("smtp: xtext %q: %w", s, ErrSyntax)
			}
			b.WriteByte(byte(n))
			i += 2
		case c == '+' || c == '=' || c <= ' ' || c == 0x7f:
			return "", fmt.Errorf("smtp: xtext %q: %w", s, ErrSyntax)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// EncodeXtext writes s as xtext (RFC 3461, 4).
func EncodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
