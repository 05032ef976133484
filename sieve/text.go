package sieve

import (
	"strings"
	"unicode/utf8"
)

// text is a string of a script, ready to be used: a constant, or parts that
// variables are put between (RFC 5229, 3).
type text struct {
	lit   string
	parts []textPart // nil for a constant
}

// textPart is a literal, a variable or a match variable.
type textPart struct {
	storage
	lit string // or the item of the environment
}

// The capabilities that change what strings mean.
const (
	capEncoded   = "encoded-character"
	capVariables = "variables"
)

type source uint8

const (
	fromLiteral source = iota
	fromSlot
	fromMatch
	fromGlobal
	fromEnv
)

// text compiles a string: encoded characters first, then variables (RFC 5229,
// 3.1).
func (c *checker) text(s phrase) text {
	lit := c.decoded(s)
	if !c.required[capVariables] || !strings.Contains(lit, "${") {
		return text{lit: lit}
	}
	return c.references(lit, s.at)
}

// decoded is a string without variables: encoded characters are in all of them
// (RFC 5228, 2.4.2.4).
func (c *checker) decoded(s phrase) string {
	if !c.required[capEncoded] {
		return s.text
	}
	return c.decode(s.text, s.at)
}

// value is the text with its variables filled in.
func (t text) value(m *machine) (string, error) {
	if t.parts == nil {
		return t.lit, nil
	}
	return t.expand(m, m.limits.StringSize, errString)
}

// expand fills in variables up to limit octets; past it the text is cut short
// and over returned.
func (t text) expand(m *machine, limit int, over error) (string, error) {
	if t.parts == nil {
		return t.lit, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		s := p.lit
		switch p.from {
		case fromSlot, fromGlobal:
			s = m.get(p.storage)
		case fromMatch:
			s = m.captures.get(p.n)
		case fromEnv:
			s = m.environmentVariable(p.lit)
		}
		if err := m.spend(len(s) + 1); err != nil {
			return "", err
		}
		if b.Len()+len(s) > limit {
			b.WriteString(s[:limit-b.Len()])
			return clip(b.String(), limit), over
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// clip cuts s to at most n octets without cutting a character in two.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	for i := 1; i <= min(3, len(s)); i++ {
		c := s[len(s)-i]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRuneInString(s[len(s)-i:]) {
				return s[:len(s)-i]
			}
			break
		}
	}
	return s
}

// values fills in a list of texts.
func values(m *machine, list []text) ([]string, error) {
	out := make([]string, len(list))
	for i, t := range list {
		s, err := t.value(m)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// encodedCharacter is ${hex:...} and ${unicode:...} in strings.
var encodedCharacter = extension{name: capEncoded, rfc: "5228"}

// decode replaces encoded characters (RFC 5228, 2.4.2.4). What does not follow
// the grammar stays as it is.
func (c *checker) decode(s string, at span) string {
	i := strings.Index(s, "${")
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = strings.Index(s, "${") {
		b.WriteString(s[:i])
		s = s[i:]
		octets, rest, ok := decodeOne(s)
		if !ok {
			b.WriteString(s[:2])
			s = s[2:]
			continue
		}
		if octets == nil {
			c.errorf(at, "%s is no Unicode character", quoted(s[:len(s)-len(rest)])).Hint = "characters are 0 to D7FF and E000 to 10FFFF"
		}
		b.Write(octets)
		s = rest
	}
	b.WriteString(s)
	return b.String()
}

// decodeOne decodes the encoding at the start of s. octets are nil if it names
// a character there is none of.
func decodeOne(s string) (octets []byte, rest string, ok bool) {
	unicode := false
	switch {
	case hasFold(s, "${hex:"):
		rest = s[len("${hex:"):]
	case hasFold(s, "${unicode:"):
		rest, unicode = s[len("${unicode:"):], true
	default:
		return nil, s, false
	}
	n := 0
	for n < len(rest) && strings.IndexByte(hexAndBlanks, rest[n]) >= 0 {
		n++
	}
	words := strings.Fields(rest[:n])
	if n == len(rest) || rest[n] != '}' || len(words) == 0 {
		return nil, s, false
	}
	rest = rest[n+1:]
	octets = []byte{}
	wrong := false
	for _, w := range words {
		n := hexNumber(w)
		switch {
		case !unicode && len(w) > 2:
			return nil, s, false
		case !unicode:
			octets = append(octets, byte(n))
		case !utf8.ValidRune(rune(n)):
			wrong = true
		default:
			octets = utf8.AppendRune(octets, rune(n))
		}
	}
	if wrong {
		octets = nil
	}
	return octets, rest, true
}

const hexAndBlanks = "0123456789abcdefABCDEF \t\r\n"

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// hexNumber reads hexadecimal digits; more than 10FFFF becomes 110000.
func hexNumber(s string) int {
	n := 0
	for i := range len(s) {
		n = min(n<<4|strings.IndexByte("0123456789abcdef", s[i]|0x20), 0x110000)
	}
	return n
}
