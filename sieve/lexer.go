package sieve

import (
	"math"
	"strings"
)

// span is a piece of a script, in octets from its start.
type span struct{ start, end int }

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenTag
	tokenNumber
	tokenString
	tokenMark // one of [ ] ( ) { } , ;
)

// token is a lexical token (RFC 5228, 8.1).
type token struct {
	kind tokenKind
	mark byte
	at   span
	text string // a name or tag in lower case; a string's value
	num  int64
}

// lexer cuts a script into tokens. A script that has come through a file system
// may have LF where the RFC wants CRLF; strings get CRLF all the same.
type lexer struct {
	report *report
	text   string
	i      int
	cut    bool // a string or a comment did not end
}

func (l *lexer) peek(ahead int) byte {
	if l.i+ahead < len(l.text) {
		return l.text[l.i+ahead]
	}
	return 0
}

// next is the next token. What is no token is reported and skipped.
func (l *lexer) next() token {
	for {
		l.space()
		start := l.i
		if l.i >= len(l.text) {
			return token{kind: tokenEnd, at: span{start, start}}
		}
		c := l.text[l.i]
		switch {
		case strings.IndexByte("[](){},;", c) >= 0:
			l.i++
			return token{kind: tokenMark, mark: c, at: span{start, l.i}}
		case c == '"':
			return l.quoted()
		case isDigit(c):
			return l.number()
		case isNameStart(c):
			return l.name()
		case c == ':' && isNameStart(l.peek(1)):
			l.i++
			return token{kind: tokenTag, text: l.word(), at: span{start, l.i}}
		}
		l.garbage()
	}
}

// space skips white space and comments (RFC 5228, 2.2 and 2.3).
func (l *lexer) space() {
	for l.i < len(l.text) {
		switch c := l.text[l.i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' && l.peek(1) == '\n':
			l.i++
		case c == '#':
			l.line()
		case c == '/' && l.peek(1) == '*':
			l.comment()
		default:
			return
		}
	}
}

// line skips to the end of the line, past its LF.
func (l *lexer) line() {
	if n := strings.IndexByte(l.text[l.i:], '\n'); n >= 0 {
		l.i += n + 1
		return
	}
	l.i = len(l.text)
}

func (l *lexer) comment() {
	start := l.i
	if n := strings.Index(l.text[l.i+2:], "*/"); n >= 0 {
		l.i += n + 4
		return
	}
	l.report.errorf(span{start, start + 2}, "this comment does not end").Hint = "add */"
	l.cut = true
	l.i = len(l.text)
}

// garbage reports octets that begin no token, once for a run of them.
func (l *lexer) garbage() {
	start := l.i
	for l.i < len(l.text) && !strings.ContainsRune(" \t\r\n[](){},;\"#", rune(l.text[l.i])) && !isNameStart(l.text[l.i]) && !isDigit(l.text[l.i]) {
		l.i++
	}
	if l.i == start {
		l.i++
	}
	at := span{start, l.i}
	p := l.report.errorf(at, "%s is no part of the language", quoted(l.text[start:l.i]))
	switch l.text[start] {
	case '\'':
		p.Hint = `strings stand in double quotes`
	case '/':
		p.Hint = `comments begin with # or stand between /* and */`
	case '\r':
		p.Message = "a carriage return without a line feed"
	}
}

// quoted reads a quoted string (RFC 5228, 2.4.2).
func (l *lexer) quoted() token {
	start := l.i
	l.i++
	plain := l.i
	for l.i < len(l.text) && !strings.ContainsRune("\"\\\n\r\x00", rune(l.text[l.i])) {
		l.i++
	}
	if l.peek(0) == '"' {
		l.i++
		return token{kind: tokenString, text: l.text[plain : l.i-1], at: span{start, l.i}}
	}
	var b strings.Builder
	b.WriteString(l.text[plain:l.i])
	for l.i < len(l.text) {
		c := l.text[l.i]
		l.i++
		switch {
		case c == '"':
			return token{kind: tokenString, text: b.String(), at: span{start, l.i}}
		case c == '\\' && l.i < len(l.text):
			b.WriteByte(l.text[l.i])
			l.i++
		case c == '\n':
			b.WriteString("\r\n")
		case c == '\r' && l.peek(0) == '\n':
		case c == 0 || c == '\r':
			l.control(c)
		default:
			b.WriteByte(c)
		}
	}
	end := strings.IndexByte(l.text[start:], '\n')
	if end < 0 {
		end = len(l.text) - start
	}
	l.report.errorf(span{start, start + min(end, 20)}, "this string does not end").Hint = `add a closing "`
	l.cut = true
	return token{kind: tokenString, text: b.String(), at: span{start, l.i}}
}

// control reports an octet that no string may hold (RFC 5228, 2.1).
func (l *lexer) control(c byte) {
	at := span{l.i - 1, l.i}
	if c == 0 {
		l.report.errorf(at, "a NUL octet in a string").Hint = `with "encoded-character" it is written ${hex:00}`
		return
	}
	l.report.errorf(at, "a carriage return without a line feed")
}

// name reads an identifier, or the multi-line string that "text:" begins.
func (l *lexer) name() token {
	start := l.i
	word := l.word()
	if word == "text" && l.peek(0) == ':' {
		l.i++
		return l.multiline(start)
	}
	return token{kind: tokenName, text: word, at: span{start, l.i}}
}

func (l *lexer) word() string {
	start := l.i
	for l.i < len(l.text) && (isNameStart(l.text[l.i]) || isDigit(l.text[l.i])) {
		l.i++
	}
	return asciiLower(l.text[start:l.i])
}

// multiline reads the lines after "text:" up to a single dot. A leading dot is
// removed where another follows (RFC 5228, 2.4.2).
func (l *lexer) multiline(start int) token {
	for l.peek(0) == ' ' || l.peek(0) == '\t' {
		l.i++
	}
	if c := l.peek(0); c != '#' && c != '\n' && (c != '\r' || l.peek(1) != '\n') {
		l.report.errorf(span{start, l.i}, "the text begins on the line after text:").Hint = "end the line here"
		return token{kind: tokenString, at: span{start, l.i}}
	}
	l.line()
	var b strings.Builder
	for l.i < len(l.text) {
		from := l.i
		l.line()
		line := strings.TrimSuffix(strings.TrimSuffix(l.text[from:l.i], "\n"), "\r")
		if line == "." {
			return token{kind: tokenString, text: b.String(), at: span{start, l.i}}
		}
		if i := strings.IndexAny(line, "\x00\r"); i >= 0 {
			at := l.i
			l.i = from + i + 1
			l.control(line[i])
			l.i = at
		}
		if strings.HasPrefix(line, "..") {
			line = line[1:]
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	l.report.errorf(span{start, start + len("text:")}, "this text does not end").Hint = `end it with a line that holds only "."`
	l.cut = true
	return token{kind: tokenString, text: b.String(), at: span{start, l.i}}
}

// number reads digits and a unit (RFC 5228, 2.4.1).
func (l *lexer) number() token {
	start := l.i
	var n int64
	over := false
	for ; isDigit(l.peek(0)); l.i++ {
		d := int64(l.text[l.i] - '0')
		if n > (math.MaxInt64-d)/10 {
			over = true
			continue
		}
		n = n*10 + d
	}
	digits := l.i
	if isNameStart(l.peek(0)) {
		shift, ok := map[string]uint{"k": 10, "m": 20, "g": 30}[l.word()]
		if !ok {
			l.report.errorf(span{digits, l.i}, "%s is no unit", quoted(l.text[digits:l.i])).Hint = "the units are K, M and G"
		}
		over = over || n > math.MaxInt64>>shift
		n <<= shift
	}
	at := span{start, l.i}
	if over {
		l.report.errorf(at, "this number is too large")
		n = 0
	}
	return token{kind: tokenNumber, num: n, at: at}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

// asciiLower is s with A-Z made a-z.
func asciiLower(s string) string {
	return mapASCII(s, 'A', 'Z', 'a'-'A')
}

// asciiUpper is s with a-z made A-Z.
func asciiUpper(s string) string {
	return mapASCII(s, 'a', 'z', 256-('a'-'A'))
}

func mapASCII(s string, from, to byte, add int) string {
	i := 0
	for i < len(s) && (s[i] < from || s[i] > to) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s)
	for ; i < len(b); i++ {
		if from <= b[i] && b[i] <= to {
			b[i] += byte(add)
		}
	}
	return string(b)
}
