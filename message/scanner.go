package message

import "strings"

// scanner reads structured field bodies (RFC 5322, 3.2) and never fails.
type scanner struct {
	s        string
	i        int
	from, to int // of the last address: local-part and domain, without name and brackets
}

func (sc *scanner) done() bool { return sc.i >= len(sc.s) }

// peek is the next octet, 0 at the end.
func (sc *scanner) peek() byte {
	if sc.done() {
		return 0
	}
	return sc.s[sc.i]
}

func (sc *scanner) take(c byte) bool {
	if sc.peek() != c || sc.done() {
		return false
	}
	sc.i++
	return true
}

// skipCFWS skips white space and comments, and returns the last comment's text.
func (sc *scanner) skipCFWS() (comment string) {
	for !sc.done() {
		switch sc.s[sc.i] {
		case ' ', '\t', '\r', '\n':
			sc.i++
		case '(':
			comment = sc.comment()
		default:
			return comment
		}
	}
	return comment
}

// comment reads a comment with those nested in it, without the outer brackets.
func (sc *scanner) comment() string {
	var b strings.Builder
	depth := 0
	for !sc.done() {
		c := sc.s[sc.i]
		sc.i++
		switch {
		case c == '\\' && !sc.done():
			c = sc.s[sc.i]
			sc.i++
		case c == '(':
			if depth++; depth == 1 {
				continue
			}
		case c == ')':
			if depth--; depth == 0 {
				return b.String()
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// quoted reads a quoted string and returns what it says.
func (sc *scanner) quoted() string {
	var b strings.Builder
	sc.i++
	for !sc.done() {
		c := sc.s[sc.i]
		sc.i++
		switch {
		case c == '\\' && !sc.done():
			c = sc.s[sc.i]
			sc.i++
		case c == '"':
			return b.String()
		case c == '\r' || c == '\n':
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// until returns what comes before the first of the octets in stop.
func (sc *scanner) until(stop string) string {
	rest := sc.s[sc.i:]
	if n := strings.IndexAny(rest, stop); n >= 0 {
		rest = rest[:n]
	}
	sc.i += len(rest)
	return rest
}

// skipTo skips to the next c that is in no quoted string and no comment.
func (sc *scanner) skipTo(c byte) {
	for !sc.done() && sc.peek() != c {
		switch sc.peek() {
		case '"':
			sc.quoted()
		case '(':
			sc.comment()
		default:
			sc.i++
		}
	}
}
