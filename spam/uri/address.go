package uri

import (
	"strings"

	"mtad/spam/conf"
)

// Address is a mailbox of a field like From (RFC 5322, 3.4), or what stands in its place.
type Address struct {
	Address    string
	HasAddress bool
	// Phrase is the name; without one, what the comment behind the address says.
	Phrase     string
	HasPhrase  bool
	Comment    string
	User, Host string // of the address
	Invalid    bool   // there is no host, or none that the DNS could have
}

// Addresses takes a field's value apart, as it stands, with folds and encoded words.
// It is lenient as SpamAssassin is: it also finds what standards forbid.
func Addresses(field string) []Address {
	s := strings.TrimRight(field, white)
	s = strings.ReplaceAll(s, `\\`, "")
	s = outOfGroup(s)
	if strings.Trim(s, white) == "" {
		return nil
	}
	var out []Address
	for {
		r := reader{s: s}
		e, ok := r.next()
		if !ok {
			break
		}
		out = append(out, r.address())
		s = s[e:]
	}
	if strings.IndexByte(s, '@') >= 0 {
		out = append(out, bracketed(s)...)
	}
	return out
}

// outOfGroup takes the name of a group and ":" off the beginning.
func outOfGroup(s string) string {
	n := strings.IndexAny(s, `"()<>`)
	if n < 0 {
		n = len(s)
	}
	colon := strings.LastIndexByte(s[:n], ':')
	if colon < 1 {
		return s
	}
	s = strings.TrimLeft(s[colon+1:], white)
	if strings.HasPrefix(s, ";") {
		return ""
	}
	return s
}

// reader reads one mailbox at the beginning of s. Offsets from -1 are of what is not
// there.
type reader struct {
	s                    string
	phrase, bare, inside span // inside: the address stands in brackets, bare: it does not
	comment              span
	failed               map[int]bool // where more has found nothing
	// low is by the end of a word the least place in it where closing has found nothing.
	low map[int]int
}

type span struct{ from, to int }

var nowhere = span{-1, -1}

// next finds where the mailbox and the comma behind it end.
func (r *reader) next() (end int, ok bool) {
	r.phrase, r.bare, r.inside, r.comment = nowhere, nowhere, nowhere, nowhere
	begin := skip(r.s, 0)
	items := r.items(begin)
	last := begin
	if len(items) > 0 {
		last = items[len(items)-1]
	}
	if last < len(r.s) && r.s[last] == '<' {
		if end, ok := r.enclosed(last); ok {
			if len(items) > 0 {
				r.phrase = span{begin, last}
			}
			return end, true
		}
	}
	for _, e := range mailboxEnds(r.s, begin) {
		if end, ok := r.rest(e); ok {
			r.bare = span{begin, e}
			return end, true
		}
	}
	for i := len(items) - 1; i >= 0; i-- {
		if end, ok := r.rest(items[i]); ok {
			r.phrase = span{begin, items[i]}
			return end, true
		}
	}
	// White space alone before a comma is a name too.
	if begin > 0 && begin < len(r.s) && (r.s[begin] == ',' || r.s[begin] == ';') {
		r.phrase = span{begin - 1, begin}
		return begin + 1, true
	}
	return 0, false
}

// items gives where quoted strings and the text between them end, one after another.
func (r *reader) items(p int) (ends []int) {
	for p < len(r.s) {
		e := len(r.s)
		if r.s[p] == '"' {
			e = quoted(r.s, p)
		} else if n := strings.IndexAny(r.s[p:], `",;<`); n >= 0 {
			e = p + n
		}
		if e <= p {
			break
		}
		p = e
		ends = append(ends, e)
	}
	return ends
}

var spaces = octetSet(white)

func skip(s string, p int) int {
	for p < len(s) && spaces[s[p]] {
		p++
	}
	return p
}

// quoted is where a quoted string that begins at p ends, -1 if it does not.
func quoted(s string, p int) int {
	return closed(s, p, `"`, '"')
}

// closed is where what begins with a delimiter at p ends, -1 if it does not. Octets
// that special names may not stand in it unless behind a backslash.
func closed(s string, p int, special string, end byte) int {
	for p++; p < len(s); p++ {
		switch c := s[p]; {
		case c == end:
			return p + 1
		case c == '\\':
			if p++; p >= len(s) || s[p] == '\n' {
				return -1
			}
		case strings.IndexByte(special, c) >= 0:
			return -1
		}
	}
	return -1
}

// comment is where a comment that begins at p ends, -1 if it does not. There are none
// in it.
func comment(s string, p int) int { return closed(s, p, "()", ')') }

// wordStop are octets that end a part of an address.
const wordStop = "@" + white + "<>()[],:;"

// mailboxEnds gives where an address that begins at p may end.
func mailboxEnds(s string, p int) (ends []int) {
	var ats [2]int
	n := 0
	if p < len(s) && s[p] == '"' {
		if e := quoted(s, p); e > 0 {
			ats[n] = e
			n++
		}
	}
	if k := strings.IndexAny(s[p:], wordStop); k > 0 {
		ats[n] = p + k
		n++
	}
	for _, at := range ats[:n] {
		if at >= len(s) || s[at] != '@' {
			continue
		}
		if e := domainEnd(s, at+1); e > 0 {
			ends = append(ends, e)
		}
	}
	return ends
}

func domainEnd(s string, p int) int {
	if p < len(s) && s[p] == '[' {
		e := p + 1
		for e < len(s) && (s[e] >= '0' && s[e] <= '9' || s[e] == ':' || s[e] == '.') {
			e++
		}
		if e > p+1 && e < len(s) && s[e] == ']' {
			return e + 1
		}
		return -1
	}
	e := strings.IndexAny(s[p:], `"`+wordStop[1:])
	if e < 0 {
		e = len(s) - p
	}
	if e == 0 {
		return -1
	}
	return p + e
}

// isMailbox reports whether the whole of s is an address.
func isMailbox(s string) bool {
	for _, e := range mailboxEnds(s, 0) {
		if e == len(s) {
			return true
		}
	}
	return false
}

// rest matches a comment, if there is one, and the comma or the end behind a mailbox.
func (r *reader) rest(p int) (end int, ok bool) {
	q := skip(r.s, p)
	if q < len(r.s) && r.s[q] == '(' {
		if c := comment(r.s, q); c > 0 {
			if end, ok := r.comma(c); ok {
				r.comment = span{q + 1, c - 1}
				return end, true
			}
		}
	}
	return r.comma(p)
}

func (r *reader) comma(p int) (int, bool) {
	p = skip(r.s, p)
	switch {
	case p == len(r.s):
		return p, true
	case r.s[p] == ',' || r.s[p] == ';':
		return p + 1, true
	}
	return 0, false
}

// enclosed matches an address in brackets at p, and what follows it.
func (r *reader) enclosed(p int) (end int, ok bool) {
	r.failed, r.low = map[int]bool{}, map[int]int{}
	begin := skip(r.s, p+1)
	at := begin
	for at < len(r.s) && r.s[at] != '>' && r.s[at] != '@' {
		at++
	}
	if at == len(r.s) {
		return 0, false
	}
	if e, end, ok := r.closing(at); ok {
		r.inside = span{begin, e}
		return end, true
	}
	if r.s[at] != '>' {
		return 0, false
	}
	if end, ok = r.more(at + 1); ok {
		r.inside = span{begin, begin + len(strings.TrimRight(r.s[begin:at], white))}
	}
	return end, ok
}

// closing finds the end of a word that begins at p: the longest that ">" and then what
// may stand behind an address follow. A word has no white space, but it may have ">".
func (r *reader) closing(p int) (e, end int, ok bool) {
	word := p
	for word < len(r.s) && !spaces[r.s[word]] {
		word++
	}
	e = word
	if low, ok := r.low[word]; ok {
		e = low - 1
	}
	for ; e > p; e-- {
		q := e
		if e == word {
			q = skip(r.s, e)
		}
		if q < len(r.s) && r.s[q] == '>' {
			if end, ok := r.more(q + 1); ok {
				return e, end, true
			}
		}
		r.low[word] = e
	}
	return 0, 0, false
}

// more matches further brackets, which do not count, and then the rest.
func (r *reader) more(p int) (end int, ok bool) {
	if r.failed[p] {
		return 0, false
	}
	if q := skip(r.s, p); q < len(r.s) && r.s[q] == '<' {
		q = skip(r.s, q+1)
		starts := []int{q}
		if q < len(r.s) && r.s[q] == '"' {
			if e := quoted(r.s, q); e > 0 {
				starts = []int{e, q}
			}
		}
		for _, start := range starts {
			if _, end, ok := r.closing(start); ok {
				return end, true
			}
		}
		if q < len(r.s) && r.s[q] == '>' {
			if end, ok := r.more(q + 1); ok {
				return end, true
			}
		}
	}
	if end, ok = r.rest(p); !ok {
		r.failed[p] = true
	}
	return end, ok
}

func (r *reader) text(s span) string { return r.s[s.from:s.to] }

// address is what the reader has found.
func (r *reader) address() (a Address) {
	switch {
	case r.inside != nowhere:
		a.Address = withoutComments(r.text(r.inside))
		a.HasAddress = isMailbox(a.Address)
	case r.bare != nowhere:
		a.Address, a.HasAddress = r.text(r.bare), true
	}
	a.HasAddress = a.HasAddress && plausible(a.Address)
	if r.phrase != nowhere {
		a.name(unquote(r.text(r.phrase)))
	}
	if r.comment != nowhere {
		a.Comment = r.text(r.comment)
		if !a.HasPhrase {
			a.Phrase, a.HasPhrase = a.Comment, true
		}
	}
	a.complete()
	return a
}

// name takes a name, which may be the address, if there is no other.
func (a *Address) name(phrase string) {
	if !a.HasAddress && isMailbox(phrase) && plausible(phrase) {
		if _, host := userHost(phrase); ValidHost(ASCII(host)) {
			a.Address, a.HasAddress = phrase, true
			return
		}
	}
	if phrase != "" && !(a.HasAddress && phrase == a.Address) {
		a.Phrase, a.HasPhrase = phrase, true
	}
}

// complete parts the address; what stands behind a second "@" is dropped.
func (a *Address) complete() {
	a.Invalid = true
	if !a.HasAddress {
		a.Address = ""
		return
	}
	a.User, a.Host = userHost(a.Address)
	behind := a.Address[len(a.User)+1+len(a.Host):]
	if i := strings.IndexByte(behind, '\n'); i >= 0 {
		behind = behind[i:]
	} else {
		behind = ""
	}
	a.Address = a.User + "@" + a.Host + behind
	a.Invalid = !ValidHost(ASCII(a.Host))
}

func userHost(s string) (user, host string) {
	user, host, _ = strings.Cut(s, "@")
	host, _, _ = strings.Cut(host, "@")
	return user, host
}

// plausible refuses addresses that come of quotes at wrong places.
func plausible(s string) bool {
	return !strings.HasPrefix(s, `""@`) && strings.Count(s, `"`) != 1
}

// unquote takes quotes, backslashes and comments out of a name.
func unquote(s string) string {
	var out strings.Builder
	for p := 0; p < len(s); {
		if s[p] != '"' {
			e := strings.IndexByte(s[p:], '"')
			if e < 0 {
				e = len(s) - p
			}
			out.WriteString(withoutComments(s[p : p+e]))
			p += e
			continue
		}
		e := quoted(s, p)
		if e < 0 {
			p++
			continue
		}
		inner := s[p+1 : e-1]
		for i := range len(inner) {
			if inner[i] != '\\' || i+1 < len(inner) && inner[i+1] == '\\' {
				out.WriteByte(inner[i])
			}
		}
		p = e
	}
	return out.String()
}

func withoutComments(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	var out strings.Builder
	for p := 0; p < len(s); p++ {
		if s[p] == '(' {
			if e := comment(s, p); e > 0 {
				p = e - 1
				continue
			}
		}
		out.WriteByte(s[p])
	}
	return out.String()
}

// bracketed finds addresses in brackets, wherever they stand.
func bracketed(s string) (out []Address) {
	for p := 0; p < len(s); p++ {
		if s[p] != '<' {
			continue
		}
		for _, e := range mailboxEnds(s, p+1) {
			if e >= len(s) || s[e] != '>' {
				continue
			}
			if a := (Address{Address: s[p+1 : e], HasAddress: true}); plausible(a.Address) {
				a.complete()
				out = append(out, a)
			}
			p = e
			break
		}
	}
	return out
}

// HostIn finds a host in a line: the domain of its last address, else the first name
// whose top-level domain there is, "" if it has none.
func HostIn(line string, d *conf.Domains) string {
	for l := range strings.Lines(line) {
		for at := strings.LastIndexByte(l, '@'); at >= 0; at = strings.LastIndexByte(l[:at], '@') {
			e := hostEnd(l, at+1, d)
			if e < 0 {
				continue
			}
			if h := l[at+1 : e]; ValidHost(ASCII(h)) {
				return h
			}
			return firstHost(line, d)
		}
	}
	return firstHost(line, d)
}

func firstHost(line string, d *conf.Domains) string {
	for p := 0; p < len(line); p++ {
		dot := strings.IndexByte(line[p:], '.')
		if dot < 0 {
			return ""
		}
		p = max(p, p+dot-maxLocal)
		if p > 0 && strings.IndexByte("._-", line[p-1]) >= 0 {
			continue
		}
		e := hostEnd(line, p, d)
		if e < 0 {
			continue
		}
		if h := line[p:e]; ValidHost(ASCII(h)) {
			return h
		}
		p = e - 1
	}
	return ""
}

// hostEnd is where the longest text without white space that begins at p and has a
// top-level domain at its end ends, -1 if there is none.
func hostEnd(s string, p int, d *conf.Domains) int {
	run := p
	for run < len(s) && run-p <= maxLocal && !spaces[s[run]] {
		run++
	}
	for dot := strings.LastIndexByte(s[p:run], '.'); dot > 0; dot = strings.LastIndexByte(s[p:p+dot], '.') {
		tld := p + dot + 1
		e := tld
		for e < len(s) && (alnum(s[e]) || s[e] == '-') {
			e++
		}
		if e > tld && (e == len(s) || s[e] != '.' && s[e] != '_') && d.TLD(s[tld:e]) {
			return e
		}
	}
	return -1
}
