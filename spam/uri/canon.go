package uri

import (
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"mtad/spam/conf"
)

// maxForms bounds the forms of one link.
const maxForms = 200

// Redirect finds where a link of a redirector goes.
type Redirect func(uri string) (to string, ok bool)

// Unescape decodes "%41" where it stands for a printable character, and escapes what
// must be.
func Unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				if v > 0x20 && v < 0x7f {
					out.WriteByte(byte(v))
				} else {
					out.WriteString(s[i : i+3])
				}
				i += 2
				continue
			}
		}
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"%<>`, c) >= 0 {
			fmt.Fprintf(&out, "%%%02x", c)
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

var (
	notWeb      = regexp.MustCompile(`^(?:[#?&]|/(?:[^/]|$))`)
	mailQuery   = regexp.MustCompile(`^([^@]+@[^?]+)\?`)
	mailAmp     = regexp.MustCompile(`^([^@]+@[^?&]+)&`)
	mailSpace   = regexp.MustCompile(`^(?:mailto:)?(?:%20)*([^@]+@[^?&%]+)`)
	mailBracket = regexp.MustCompile(`^[^?&]*<([^@>]+@[^>]+)>`)
	slashes     = regexp.MustCompile(`(?i)^(https?:)/{0,2}`)
	noPath      = regexp.MustCompile(`(?i)^(https?://[^/?#]+)([?#])`)
	charDec     = regexp.MustCompile(`&#0*(3[3-9]|[4-9]\d|1[01]\d|12[0-6]);`)
	charHex     = regexp.MustCompile(`&#x0*(2[1-9]|[3-6][a-fA-F0-9]|7[0-9a-eA-E]);`)
	charDot     = regexp.MustCompile(`(?i)&#(?:x2e|12290|x3002|65294|xff0e|65377|xff61);`)
	innerURL    = regexp.MustCompile(`(?i)(https?:/{0,2}[^&#]+)`)
	oddEnd      = regexp.MustCompile(`[^0-9A-Za-z]+$`)
	fourNumbers = regexp.MustCompile(`(?i)^(0x[0-9a-f]+|\d+)\.(0x[0-9a-f]+|\d+)\.(0x[0-9a-f]+|\d+)\.(0x[0-9a-f]+|\d+)$`)
	hexNumber   = regexp.MustCompile(`(?i)^0x[0-9a-f]*?([0-9a-f]{1,8})$`)
	decNumber   = regexp.MustCompile(`^[0-9]+$`)
	oneLabel    = regexp.MustCompile(`^(?:www\.)?([^.]+)$`)
)

// forms gathers what a link may be read as.
type forms struct {
	redirects []Redirect
	domains   *conf.Domains
	queue     []string // links to be looked at
	out       map[string]bool
}

// Canonical gives the forms of a link, itself among them: escapes decoded, the scheme
// added, user names, odd marks and ports taken off, the host in ASCII, numbers as
// addresses, and where redirectors go. They are sorted.
func Canonical(uri string, d *conf.Domains, redirects []Redirect) []string {
	f := &forms{redirects, d, []string{uri}, map[string]bool{}}
	for i := 0; i < len(f.queue) && i < maxForms; i++ {
		f.look(i)
	}
	for _, u := range f.queue {
		f.add(u)
	}
	out := make([]string, 0, len(f.out))
	for u := range f.out {
		out = append(out, u)
	}
	sort.Strings(out)
	return out
}

func (f *forms) add(u string) {
	if len(f.out) < maxForms {
		f.out[u] = true
	}
}

func (f *forms) look(i int) {
	u := strings.Trim(strings.ReplaceAll(f.queue[i], "\n", ""), white)
	u = strings.ReplaceAll(u, "\r", "")
	f.queue[i] = u
	if len(u) <= 1 || strings.IndexByte("#?&/", u[0]) >= 0 && notWeb.MatchString(u) {
		return
	}
	if mailLike(u) {
		f.mail(u)
		return
	}
	n := strings.ReplaceAll(u, `\`, "/")
	if !hasPrefixFold(n, "http://") && !hasPrefixFold(n, "https://") {
		n = slashes.ReplaceAllString(n, "$1//")
	}
	if strings.IndexByte(n, '%') >= 0 && escaped.MatchString(n) {
		n = Unescape(n)
	}
	if !hasScheme(n) {
		if strings.HasPrefix(n, "ftp.") {
			n = "ftp://" + n
		} else {
			n = "http://" + n
		}
	}
	if strings.ContainsAny(n, "?#") {
		n = noPath.ReplaceAllString(n, "$1/$2")
	}
	if strings.Contains(n, "&#") {
		n = characters(n)
	}
	if n != u {
		f.add(n)
	}
	if w, ok := splitWeb(n); ok {
		f.web(w)
	}
}

// characters decodes characters that are written as numbers.
func characters(n string) string {
	n = charDec.ReplaceAllStringFunc(n, func(s string) string { return char(charDec.FindStringSubmatch(s)[1], 10) })
	n = charHex.ReplaceAllStringFunc(n, func(s string) string { return char(charHex.FindStringSubmatch(s)[1], 16) })
	return charDot.ReplaceAllString(n, ".")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// mailLike reports whether a link is an address: with its scheme, or an "@" before any
// colon.
func mailLike(u string) bool {
	at, colon := strings.IndexByte(u, '@'), strings.IndexByte(u, ':')
	return at >= 0 && (colon < 0 || at < colon) || hasPrefixFold(u, "mailto:")
}

// hasScheme reports whether a link begins with a word and a colon.
func hasScheme(u string) bool {
	n := 0
	for n < len(u) && (word(u[n]) || u[n] == '-') {
		n++
	}
	return n > 0 && n < len(u) && u[n] == ':'
}

// parts are those of a link of the web: what follows the host begins with the port,
// if there is one.
type parts struct{ proto, auth, host, rest, port string }

// splitWeb parts a link of the web; ok is false if it is none.
func splitWeb(u string) (w parts, ok bool) {
	n := len("http://")
	if !hasPrefixFold(u, "http://") {
		if n++; !hasPrefixFold(u, "https://") {
			return w, false
		}
	}
	w.proto, u = u[:n], u[n:]
	if i := strings.IndexAny(u, "@/?#"); i >= 0 && u[i] == '@' && strings.IndexAny(u[i+1:], "/?#:") != 0 && i+1 < len(u) {
		w.auth, u = u[:i+1], u[i+1:]
	}
	end := strings.IndexAny(u, "/?#:")
	if end < 0 {
		end = len(u)
	}
	w.host, w.rest = u[:end], u[end:]
	if strings.HasPrefix(w.rest, ":") {
		n := 1
		for n < len(w.rest) && w.rest[n] >= '0' && w.rest[n] <= '9' {
			n++
		}
		w.port = w.rest[1:n]
	}
	return w, end > 0 && strings.IndexByte(w.rest, '\n') < 0
}

func char(digits string, base int) string {
	v, _ := strconv.ParseUint(digits, base, 8)
	return string(rune(v))
}

// mail adds what an address is without what stands around it.
func (f *forms) mail(u string) {
	if m := mailQuery.FindStringSubmatch(u); m != nil {
		f.add(m[1])
	}
	if m := mailAmp.FindStringSubmatch(u); m != nil {
		f.add(m[1])
	}
	if m := mailSpace.FindStringSubmatch(u); m != nil && strings.Contains(u, "%20") {
		f.add("mailto:" + m[1])
	}
	if m := mailBracket.FindStringSubmatch(u); m != nil {
		f.add("mailto:" + m[1])
	}
}

// web adds the forms of a link of the web.
func (f *forms) web(w parts) {
	proto, host, rest, port := w.proto, w.host, w.rest, w.port
	noPort := ""
	usual := map[string]string{"http://": "80"}[proto]
	if usual == "" {
		usual = "443"
	}
	if port == "" {
		port = map[bool]string{true: "80", false: "443"}[proto == "http://"]
	} else {
		noPort = rest
		if tail, ok := strings.CutPrefix(rest, ":"+usual); ok && (tail == "" || !word(tail[0])) {
			noPort = tail
			f.add(proto + host + noPort)
		}
	}
	ascii := ASCII(host)
	if ascii != strings.ToLower(host) {
		f.add(proto + ascii + rest)
		if noPort != "" {
			f.add(proto + ascii + noPort)
		}
		host = ascii
	}
	if clean := strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, host); clean != host {
		host = clean
		f.add(proto + host + rest)
	}
	f.follow(proto+host+rest, rest)
	if i := strings.IndexByte(host, '@'); i > 0 {
		host = host[i+1:]
		f.add(proto + host + rest)
	}
	if n := len(host); n > 0 && !alnum(host[n-1]) {
		host = host[:oddEnd.FindStringIndex(host)[0]]
		f.add(proto + host + rest)
	}
	f.numbers(proto, w.auth, host, rest, port, ascii)
}

// follow looks where a redirector goes: by the patterns of the configuration, else to
// what looks like another link in this one.
func (f *forms) follow(whole, rest string) {
	for _, r := range f.redirects {
		if to, ok := r(whole); ok && strings.Contains(to, ".") {
			f.queue = append(f.queue, to)
			return
		}
	}
	if strings.IndexByte(rest, ':') < 0 {
		return
	}
	if m := innerURL.FindString(rest); m != "" && strings.Contains(m, ".") {
		f.queue = append(f.queue, m)
	}
}

// numbers adds the address that a host of numbers is, and what browsers make of a
// host of one word.
func (f *forms) numbers(proto, auth, host, rest, port, ascii string) {
	if len(host) > 0 && host[0] >= '0' && host[0] <= '9' && f.number(proto, host, rest) {
		return
	}
	if strings.Count(ascii, ".") > 1 {
		return
	}
	m := oneLabel.FindStringSubmatch(ascii)
	if m != nil && proto == "http://" && auth == "" && ascii != "localhost" && port == "80" && !f.domains.Valid(ascii) {
		f.add(proto + "www." + m[1] + ".com" + rest)
	}
}

// number adds the address that a host is if it is a number or four.
func (f *forms) number(proto, host, rest string) bool {
	if m := fourNumbers.FindStringSubmatch(host); m != nil {
		parts := make([]string, 4)
		for i, p := range m[1:] {
			parts[i] = octet(p)
		}
		f.add(proto + strings.Join(parts, ".") + rest)
		return true
	}
	if m := hexNumber.FindStringSubmatch(host); m != nil {
		v, _ := strconv.ParseUint(m[1], 16, 32)
		f.add(proto + dotted(v) + rest)
		return true
	}
	if decNumber.MatchString(host) {
		v, err := strconv.ParseUint(host, 10, 64)
		if err != nil {
			v = math.MaxUint64
		}
		f.add(proto + dotted(v) + rest)
		return true
	}
	return false
}

// dotted writes a number as an address: its first 32 bits, if it has more.
func dotted(v uint64) string {
	for v > math.MaxUint32 {
		v >>= 4
	}
	return fmt.Sprintf("%d.%d.%d.%d", v>>24, v>>16&255, v>>8&255, v&255)
}

var (
	hexOctet = regexp.MustCompile(`(?i)^0x([0-9a-f]+)`)
	octOctet = regexp.MustCompile(`^0+([1-3][0-7]{0,2}|[4-7][0-7]?)$`)
)

// octet reads a part of an address: hexadecimal, octal or decimal.
func octet(s string) string {
	if m := hexOctet.FindStringSubmatch(s); m != nil {
		v, err := strconv.ParseUint(m[1], 16, 64)
		if err != nil {
			v = math.MaxUint64
		}
		s = strconv.FormatUint(v, 10)
	}
	if m := octOctet.FindStringSubmatch(s); m != nil {
		v, _ := strconv.ParseUint(m[1], 8, 16)
		s = strconv.FormatUint(v, 10)
	}
	return strings.TrimLeft(s, "0")
}
