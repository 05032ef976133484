package uri

import (
	"bytes"
	"regexp"
	"strings"

	"mtad/spam/conf"
)

// Bounds, in octets.
const (
	maxTail   = 2048 // of a link behind its scheme or host
	maxLocal  = 251  // of an address's parts
	maxHost   = 253
	maxLength = 8192 // of a link
)

// Found is a link in text.
type Found struct {
	URI string // with a scheme
	// Schemeless: it had none. Unlinked: mail readers make no link of it.
	Schemeless, Unlinked bool
}

// set of octets.
type octets [256]bool

func octetSet(s string) (o octets) {
	for i := range len(s) {
		o[s[i]] = true
	}
	return o
}

const white = " \t\n\r\f\v"

var (
	before    = octetSet("><\"'`,{[(|" + white + "\x1b\xa0")
	after     = octetSet("><\"`}]{[|" + white + "\x1b\xa0")
	afterMail = func() octets {
		o := octetSet("><\"`}]{[|" + white + "\x1b\xa0,('")
		for i := 0x80; i < 0x100; i++ {
			o[i] = true
		}
		return o
	}()
	beforeHost = octetSet("!\"#$&'()*+,/:;<=>?@[\\]^`{|}~" + white + "\x1b\xa0")
)

func word(c byte) bool {
	return c == '_' || alnum(c)
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// finder looks for links in one text.
type finder struct {
	text    []byte
	domains *conf.Domains
	// mailEnd is where what could be the local part of an address ends, from
	// positions up to there.
	mailFrom, mailEnd int
}

// kind of a link in text.
type kind int

const (
	scheme kind = iota
	mail
	host
)

// FindText finds the links in a text of UTF-8, in order, each once. seen are those
// that were found before; it may be nil.
func FindText(text []byte, d *conf.Domains, seen map[string]bool) []Found {
	if bytes.IndexByte(text, '.') < 0 && bytes.IndexByte(text, '@') < 0 && bytes.IndexByte(text, ':') < 0 {
		return nil
	}
	if seen == nil {
		seen = map[string]bool{}
	}
	f := &finder{text: text, domains: d, mailFrom: -1}
	var out []Found
	wordEnd := 0
	for p := 0; p < len(text); {
		if p >= wordEnd {
			var may bool
			if wordEnd, may = wordAt(text, p); !may {
				p = wordEnd
				continue
			}
		}
		if !f.begins(p) {
			p++
			continue
		}
		end, hostEnd, k := f.match(p)
		if end < 0 {
			p++
			continue
		}
		raw := trim(string(text[p:end]))
		schost := ""
		if k == host {
			schost = string(text[p:hostEnd])
		}
		p = end
		if seen[raw] {
			continue
		}
		seen[raw] = true
		if found, ok := complete(raw, schost, k, d); ok {
			out = append(out, found)
		}
	}
	return out
}

// wordAt is where what begins at p ends at white space, and whether there can be a link
// in it: every link has one of three marks.
func wordAt(text []byte, p int) (end int, may bool) {
	for end = p; end < len(text); end++ {
		switch marks[text[end]] {
		case 'm':
			may = true
		case 's':
			return max(end, p+1), may
		}
	}
	return end, may
}

// marks are "m" for what links have, "s" for white space.
var marks = func() (t [256]byte) {
	for i := range len(white) {
		t[white[i]] = 's'
	}
	t['.'], t['@'], t[':'] = 'm', 'm', 'm'
	return t
}()

// begins reports whether a link may begin at p: at an edge of a word, behind a
// delimiter, or behind a shift of ISO-2022.
func (f *finder) begins(p int) bool {
	if p == 0 {
		return word(f.text[0])
	}
	prev := f.text[p-1]
	return word(prev) != word(f.text[p]) || before[prev] || p >= 3 && f.text[p-3] == 0x1b && f.text[p-2] == '('
}

// match finds what begins at p: where it ends, and where its host ends.
func (f *finder) match(p int) (end, hostEnd int, k kind) {
	if e := f.scheme(p); e > 0 {
		return e, 0, scheme
	}
	if e := f.mail(p); e > 0 {
		return e, 0, mail
	}
	if p == 0 || beforeHost[f.text[p-1]] {
		if e, h := f.bare(p); e > 0 {
			return e, h, host
		}
	}
	return -1, 0, 0
}

func (f *finder) has(p int, prefix string) bool {
	return len(f.text)-p >= len(prefix) && strings.EqualFold(string(f.text[p:p+len(prefix)]), prefix)
}

// run is where a run of octets outside a set ends.
func (f *finder) run(p int, ends *octets) int {
	for p < len(f.text) && !ends[f.text[p]] {
		p++
	}
	return p
}

// scheme: "http://", "https://", "ftp://", "www12." or "ftp." and more.
func (f *finder) scheme(p int) int {
	switch f.text[p] | 0x20 {
	case 'h', 'f', 'w':
	default:
		return -1
	}
	n := 0
	switch {
	case f.has(p, "http://"), f.has(p, "https://"), f.has(p, "ftp://"):
		n = bytes.Index(f.text[p:], []byte("//")) + 2
	case f.has(p, "ftp."):
		n = 4
	case f.has(p, "www"):
		for n = 3; n < 5 && p+n < len(f.text) && f.text[p+n] >= '0' && f.text[p+n] <= '9'; n++ {
		}
		if p+n >= len(f.text) || f.text[p+n] != '.' {
			return -1
		}
		n++
	default:
		return -1
	}
	end := f.run(p+n, &after)
	if end == p+n || end-p-n > maxTail {
		return -1
	}
	return end
}

// mail: "mailto:" and more, or an address.
func (f *finder) mail(p int) int {
	if f.has(p, "mailto:") {
		if end := f.run(p+7, &afterMail); end > p+7 && end-p-7 <= maxTail {
			return end
		}
	}
	if p < f.mailFrom || p > f.mailEnd || f.mailFrom < 0 {
		f.mailFrom, f.mailEnd = p, p
		for f.mailEnd < len(f.text) && !afterMail[f.text[f.mailEnd]] && f.text[f.mailEnd] != '@' {
			f.mailEnd++
		}
	}
	at := f.mailEnd
	if at >= len(f.text) || f.text[at] != '@' || at == p || at-p > maxLocal {
		return -1
	}
	end := f.run(at+1, &afterMail)
	if end == at+1 || end-at-1 > maxLocal {
		return -1
	}
	return end
}

// bare: a host with a known top-level domain, perhaps with a port and a path.
func (f *finder) bare(p int) (end, hostEnd int) {
	if !alnum(f.text[p]) {
		return -1, 0
	}
	run := p
	for run < len(f.text) && (alnum(f.text[run]) || strings.IndexByte("._-", f.text[run]) >= 0) {
		run++
	}
	for dot := bytes.LastIndexByte(f.text[p:run], '.'); dot > 0; dot = bytes.LastIndexByte(f.text[p:p+dot], '.') {
		if dot > maxLocal+1 {
			continue
		}
		tld := p + dot + 1
		e := tld
		for e < run && (alnum(f.text[e]) || f.text[e] == '-') {
			e++
		}
		if e == tld || e+1 < run && f.text[e] == '.' && alnum(f.text[e+1]) || !f.domains.TLD(string(f.text[tld:e])) {
			continue
		}
		if end := f.rest(e); end > 0 {
			return end, e
		}
	}
	return -1, 0
}

// rest is what may follow a host: a dot, a port, a path; then a delimiter.
func (f *finder) rest(p int) int {
	if p < len(f.text) && f.text[p] == '.' {
		p++
	}
	if p+1 < len(f.text) && f.text[p] == ':' && f.text[p+1] >= '0' && f.text[p+1] <= '9' {
		n := 1
		for n <= 5 && p+n < len(f.text) && f.text[p+n] >= '0' && f.text[p+n] <= '9' {
			n++
		}
		p += n
	}
	if p < len(f.text) && f.text[p] == '/' {
		if e := f.run(p+1, &after); e > p+1 && e-p-1 <= maxTail {
			p = e
		}
	}
	if p < len(f.text) && !after[f.text[p]] {
		return -1
	}
	return p
}

// trim takes a closing parenthesis that none opened, and what follows, and then marks
// at the end that are of the sentence.
func trim(raw string) string {
	if i := strings.IndexByte(raw, ')'); i >= 0 && strings.IndexByte(raw[:i], '(') < 0 {
		raw = raw[:i]
	}
	return strings.TrimRight(raw, "-~!@#^&*()_+=:;'?,.")
}

var (
	onlyScheme = regexp.MustCompile(`(?i)^\w+:/{0,2}$`)
	wwwHost    = regexp.MustCompile(`(?i)^www\d{0,2}\.`)
	ftpHost    = regexp.MustCompile(`(?i)^ftp\.`)
	pathAt     = regexp.MustCompile(`/.+@`)
	domainDot  = regexp.MustCompile(`@.+?\.`)
	misparsed  = regexp.MustCompile(`(?i)^(?:skype|e?-?mail)?:+`)
	mailHost   = regexp.MustCompile(`@([^?&>]*)`)
	escaped    = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
)

// complete gives a link its scheme; ok is false if it is none after all.
func complete(raw, schost string, k kind, d *conf.Domains) (f Found, ok bool) {
	if k == mail && !strings.Contains(raw, "@") || schost != "" && !ValidHost(schost) || hasPrefixFold(raw, "cid:") || hasPrefixFold(raw, "mid:") ||
		strings.HasSuffix(raw, ":") && onlyScheme.MatchString(raw) || strings.HasSuffix(raw, "/") && onlyScheme.MatchString(raw) {
		return f, false
	}
	f.URI = raw
	if !schemed(raw) {
		if f, ok = withScheme(raw); !ok {
			return f, false
		}
	}
	if strings.HasPrefix(strings.ToLower(f.URI), "mailto:") {
		if escaped.MatchString(f.URI) {
			f.URI = Unescape(f.URI)
		}
		m := mailHost.FindStringSubmatch(f.URI)
		if m == nil {
			return f, false
		}
		h := m[1]
		for strings.HasSuffix(h, "%20") {
			h = strings.TrimSuffix(h, "%20")
		}
		return f, d.Valid(ASCII(h))
	}
	return f, true
}

func schemed(raw string) bool {
	switch strings.IndexByte(raw, ':') {
	case 3:
		return hasPrefixFold(raw, "ftp")
	case 4:
		return hasPrefixFold(raw, "http")
	case 5:
		return hasPrefixFold(raw, "https")
	case 6:
		return hasPrefixFold(raw, "mailto")
	}
	return false
}

func withScheme(raw string) (f Found, ok bool) {
	f.Schemeless = true
	switch {
	case ftpHost.MatchString(raw):
		f.URI = "ftp://" + raw
	case wwwHost.MatchString(raw), pathAt.MatchString(raw):
		f.URI = "http://" + raw
	case strings.Contains(raw, "@"):
		if !domainDot.MatchString(raw) || strings.Contains(raw, "&nbsp;") {
			return f, false
		}
		f.URI = "mailto:" + misparsed.ReplaceAllString(raw, "")
	default:
		f.URI, f.Unlinked = "http://"+raw, true
		return f, strings.Contains(raw, ".")
	}
	return f, true
}
