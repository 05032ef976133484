package uri

import (
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/net/idna"

	"mtad/spam/conf"
)

var dots = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// ASCII gives a host's name in the letters of the DNS (RFC 5891), small.
func ASCII(host string) string {
	plain := true
	for i := range len(host) {
		if host[i] >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		return strings.ToLower(host)
	}
	host = dots.Replace(host)
	if a, err := idna.Lookup.ToASCII(host); err == nil {
		return a
	}
	return strings.ToLower(host)
}

// label reports whether s is of small letters, digits, "_" and "-", which is not at an
// end.
func label(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' || !word(c) && c != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

// ValidHost reports whether a name in ASCII is a host's: two labels at least, of
// letters, digits, "-" and "_", the last of these not in the last two.
func ValidHost(host string) bool {
	host = strings.TrimRight(strings.ToLower(host), ".")
	labels := strings.Split(host, ".")
	if len(host) > maxHost || len(labels) < 2 {
		return false
	}
	for i, l := range labels {
		if len(l) > 63 || !label(l) || len(labels)-i <= 2 && strings.Contains(l, "_") {
			return false
		}
	}
	return true
}

var (
	hidden = regexp.MustCompile(`%(?:2[1-9a-f]|[3-6][0-9a-f]|7[0-9a-e])`)
	twoAt  = regexp.MustCompile(`@.*?@`)
)

// Domain finds the registered domain of a link and its host, "" if it has none. The
// host may be an address.
func Domain(uri string, d *conf.Domains) (domain, host string) {
	uri = strings.ToLower(uri)
	if strings.HasPrefix(uri, "javascript:") || strings.HasPrefix(uri, "cid:") || strings.HasPrefix(uri, "file:") {
		return "", ""
	}
	if rest, ok := strings.CutPrefix(uri, "mailto:"); ok {
		rest, _, _ = strings.Cut(rest, "?")
		i := strings.LastIndexByte(rest, '@')
		if i < 0 || twoAt.MatchString(rest) {
			return "", ""
		}
		uri = rest[i+1:]
	} else {
		uri = hostOf(uri)
	}
	if strings.IndexByte(uri, '%') >= 0 && hidden.MatchString(uri) {
		return "", ""
	}
	host = ASCII(uri)
	if IsIP(host) {
		return host, host
	}
	if !ValidHost(host) || !d.Valid(host) {
		return "", ""
	}
	_, domain = d.Split(host)
	return domain, host
}

// hostOf takes scheme, path, login and port off a link in small letters.
func hostOf(uri string) string {
	n := 0
	for n < len(uri) && uri[n] >= 'a' && uri[n] <= 'z' {
		n++
	}
	if n > 0 && n < len(uri) && uri[n] == ':' {
		uri = strings.TrimPrefix(strings.TrimPrefix(uri[n+1:], "/"), "/")
	}
	if i := strings.IndexAny(uri, "/?#"); i >= 0 {
		uri = uri[:i]
	}
	uri = uri[strings.LastIndexByte(uri, '@')+1:]
	if i := strings.LastIndexByte(uri, ':'); i >= 0 && strings.Trim(uri[i+1:], "0123456789") == "" {
		uri = uri[:i]
	}
	return uri
}

// IsIP reports whether s is an address of IP version 4 or 6.
func IsIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}
