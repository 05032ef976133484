package message

import "strings"

// Mark tells a mailbox from the ends of a group (RFC 5322, 3.4).
type Mark uint8

// The marks of an Address.
const (
	Mailbox    Mark = iota
	GroupStart      // Name is the group's
	GroupEnd
)

// Address is one mailbox of an address list, or one end of a group.
type Address struct {
	Name   string // display name, quotes removed, RFC 2047 words left encoded
	Route  string // obsolete source route, "@a,@b"
	Local  string // without quotes
	Domain string // "" where the header gives none
	Mark   Mark
}

// String is the address as SMTP compares it: local@domain.
func (a Address) String() string {
	if a.Domain == "" {
		return a.Local
	}
	return a.Local + "@" + a.Domain
}

// maxAddresses bounds one field's list.
const maxAddresses = 10000

// ParseAddressList reads the addresses of a From, To or like field. It takes
// what real mail holds: missing commas' sake apart, anything that is no address
// is passed over. Groups come as a GroupStart, their mailboxes, a GroupEnd.
func ParseAddressList(s string) []Address {
	sc := &scanner{s: s}
	var out []Address
	inGroup := false
	for len(out) < maxAddresses {
		sc.skipCFWS()
		if sc.done() {
			break
		}
		switch {
		case sc.take(','):
			continue
		case sc.take(';'):
			if inGroup {
				out, inGroup = append(out, Address{Mark: GroupEnd}), false
			}
			continue
		}
		a, group, ok := sc.address(inGroup)
		if group {
			inGroup = true
		}
		if ok {
			out = append(out, a)
		}
	}
	if inGroup {
		out = append(out, Address{Mark: GroupEnd})
	}
	return out
}

// ReplaceAddresses puts what f returns in the place of each address of a list that
// it wants changed; everything around it (names, comments, folds) stays as it is.
func ReplaceAddresses(s string, f func(Address) (to string, ok bool)) string {
	sc := &scanner{s: s}
	var b strings.Builder
	done, inGroup := 0, false
	for n := 0; n < maxAddresses; n++ {
		sc.skipCFWS()
		if sc.done() {
			break
		}
		if sc.take(',') {
			continue
		}
		if sc.take(';') {
			inGroup = false
			continue
		}
		a, group, ok := sc.address(inGroup)
		inGroup = inGroup || group
		if !ok || group {
			continue
		}
		if to, ok := f(a); ok {
			b.WriteString(s[done:sc.from])
			b.WriteString(to)
			done = sc.to
		}
	}
	return b.String() + s[done:]
}

// address reads one mailbox, or the name of a group and its colon.
func (sc *scanner) address(inGroup bool) (a Address, group, ok bool) {
	sc.from, sc.to = sc.i, sc.i
	words, comment := sc.phrase()
	switch {
	case sc.take('<'):
		a = sc.angle()
		a.Name = strings.Join(words, " ")
	case !inGroup && sc.peek() == ':':
		sc.i++
		return Address{Name: strings.Join(words, " "), Mark: GroupStart}, true, true
	case sc.peek() == '@':
		a.Local = strings.Join(words, "")
		sc.i++
		var c string
		if a.Domain, c = sc.domain(); c != "" {
			comment = c
		}
	default:
		a.Local = strings.Join(words, " ")
		if len(words) == 0 && !sc.done() && sc.peek() != ',' && sc.peek() != ';' {
			sc.i++ // an octet that starts nothing
		}
	}
	if a.Name == "" {
		a.Name = comment
	}
	return a, false, a.Local != "" || a.Domain != ""
}

// phrase reads words: atoms with dots, and quoted strings. comment is the last
// one among them.
func (sc *scanner) phrase() (words []string, comment string) {
	for len(words) < 1000 {
		if c := sc.skipCFWS(); c != "" {
			comment = c
		}
		if sc.peek() == '"' {
			words = append(words, sc.quoted())
			sc.to = sc.i
			continue
		}
		word := sc.atom()
		if word == "" {
			return words, comment
		}
		words = append(words, word)
		sc.to = sc.i
	}
	return words, comment
}

// angle reads what stands in angle brackets, the route included.
func (sc *scanner) angle() (a Address) {
	sc.skipCFWS()
	if sc.peek() == '@' { // RFC 5322, 4.4: obs-route
		inside := sc.s[sc.i:]
		if end := strings.IndexByte(inside, '>'); end >= 0 {
			inside = inside[:end]
		}
		if route, _, ok := strings.Cut(inside, ":"); ok {
			a.Route = route
			sc.i += len(route) + 1
		}
	}
	sc.skipCFWS()
	sc.from, sc.to = sc.i, sc.i
	words, _ := sc.phrase()
	a.Local = strings.Join(words, "")
	if sc.take('@') {
		a.Domain, _ = sc.domain()
	}
	sc.skipTo('>')
	sc.take('>')
	return a
}

// domain reads a domain or a literal, and the comment behind it. White space may
// stand around its dots (RFC 5322, 4.4), and ends it elsewhere.
func (sc *scanner) domain() (domain, comment string) {
	sc.skipCFWS()
	if sc.peek() == '[' {
		d := sc.until("]")
		if sc.take(']') {
			d += "]"
		}
		sc.to = sc.i
		return d, sc.skipCFWS()
	}
	var b strings.Builder
	for {
		word := sc.atom()
		if b.WriteString(word); word != "" {
			sc.to = sc.i
		}
		comment = sc.skipCFWS()
		dotted := strings.HasSuffix(word, ".") || sc.peek() == '.'
		if word == "" || !dotted {
			return b.String(), comment
		}
	}
}

// atom reads what delimits nothing, dots included.
func (sc *scanner) atom() string {
	start := sc.i
	for !sc.done() && strings.IndexByte(" \t\r\n()<>@,;:\"", sc.s[sc.i]) < 0 {
		sc.i++
	}
	return sc.s[start:sc.i]
}
