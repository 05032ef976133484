package eval

import (
	"regexp"
	"strings"

	"mtad/spam/regex"
	"mtad/spam/scan"
)

// This file has what the functions that ask the DNS (package netrule) share with those
// of this package.

// NoDKIM is why a rule about signatures is unknown.
const NoDKIM = noDKIM

// Arg gives an argument, "" if it is not there.
func Arg(args []string, i int) string { return arg(args, i) }

// Text is what Scan.Joined gives, or "".
func Text(s *scan.Scan, what string) string { return text(s, what) }

// Lower gives texts in small letters.
func Lower(in []string) []string { return lower(in) }

// IsIPv4 reports whether a text is an address of IP version 4.
func IsIPv4(s string) bool { return isIPv4(s) }

// Pattern compiles a pattern of an argument, once.
func Pattern(s *scan.Scan, pattern string) (*regex.Regexp, error) { return compiled(s, pattern) }

// AuthorDomains are the domains of the From field's addresses.
func AuthorDomains(s *scan.Scan) []string { return authorDomains(s) }

// Signer is the domain that a signature says it is of.
func Signer(d scan.Signature) string { return signer(d) }

// DomainListed compares a domain with one of a list: "*.example.com" is what is below it.
func DomainListed(want, domain string) bool { return sdid(want, domain) }

// RoleAddress reports whether an address is no person's.
func RoleAddress(email string) bool { return roleAddress.MatchString(email) }

// MailAddresses are the addresses in a text.
func MailAddresses(s *scan.Scan, text string) (out []string) {
	for _, m := range emailsIn(text, 1000) {
		e := text[m[0]:m[1]]
		if i := strings.IndexByte(e, '@'); i <= 64 && s.Rules.Domains().Valid(domainPart(e)) {
			out = append(out, e)
		}
	}
	return out
}

// WithoutLinks leaves out links that have addresses in them.
func WithoutLinks(text string) string { return linkWithAt.ReplaceAllString(text, " ") }

// WithoutQuoted leaves out addresses of whom a text quotes: in "<>", or before "wrote:".
func WithoutQuoted(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range emailsIn(text, len(text)) {
		q := quotedFrom.FindStringSubmatchIndex(text[m[1]:])
		if m[0] < at || q == nil || strings.EqualFold(text[max(0, m[0]-len("mailto:")):m[0]], "mailto:") || q[2] >= 0 && contactWay.MatchString(text[m[1]+q[2]:m[1]+q[3]]) {
			continue
		}
		start := m[0]
		if start > at && text[start-1] == '<' {
			start--
		}
		b.WriteString(text[at:start] + " ")
		at = m[1] + q[1]
	}
	return b.String() + text[at:]
}

// AnyPattern compiles a pattern with its delimiters, or without, once.
func AnyPattern(s *scan.Scan, text string) (*regex.Regexp, error) {
	pattern, modifiers, err := regex.FromRule(text)
	if err != nil {
		if delimited.MatchString(text) {
			return nil, Unknown(err.Error())
		}
		return compiled(s, text)
	}
	v := s.Once("delimited "+text, func() any {
		re, err := regex.CompilePart(pattern, modifiers)
		if err != nil {
			return Unknown(err.Error())
		}
		return re
	})
	if why, bad := v.(Unknown); bad {
		return nil, why
	}
	return v.(*regex.Regexp), nil
}

var delimited = regexp.MustCompile(`^(?:/|(?:m|qr)\W)`)
