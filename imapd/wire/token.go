package wire

import (
	"math"
	"strings"
)

// Character classes of RFC 3501, section 9.
const (
	classAtom    = 1 << iota // ATOM-CHAR
	classAString             // ASTRING-CHAR: ATOM-CHAR and "]"
	classTag                 // ASTRING-CHAR without "+"
	classList                // list-char: ASTRING-CHAR and wildcards
	classWord                // letters, digits, "-" and ".": names of commands and items
	classDigit
)

var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := byte('!'); c < 0x7f; c++ {
		if !strings.ContainsRune("(){%*\"\\]", rune(c)) {
			t[c] |= classAtom
		}
		if !strings.ContainsRune("(){%*\"\\", rune(c)) {
			t[c] |= classAString | classList
			if c != '+' {
				t[c] |= classTag
			}
		}
		if c == '%' || c == '*' {
			t[c] |= classList
		}
		digit := '0' <= c && c <= '9'
		if digit {
			t[c] |= classDigit
		}
		if digit || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '.' {
			t[c] |= classWord
		}
	}
	return t
}

// run takes the octets of a class, at least one. what names them in the error.
func (r *Reader) run(class uint8, what string) string {
	r.tok = r.tok[:0]
	for {
		c, ok := r.peek()
		if !ok || classes[c]&class == 0 {
			break
		}
		r.tok = append(r.tok, c)
		r.advance()
	}
	if len(r.tok) == 0 {
		r.Fail("expected %s", what)
	}
	if r.err != nil {
		return ""
	}
	return string(r.tok)
}

// Tag takes a command's tag.
func (r *Reader) Tag() string { return r.run(classTag, "a tag") }

// Word takes the name of a command, item or key, and returns it in upper case.
func (r *Reader) Word() string { return strings.ToUpper(r.run(classWord, "a name")) }

// Atom takes an atom.
func (r *Reader) Atom() string { return r.run(classAtom, "an atom") }

// PeekDigit reports whether a digit comes next.
func (r *Reader) PeekDigit() bool {
	c, ok := r.peek()
	return ok && classes[c]&classDigit != 0
}

// Number takes a number of 32 bits.
func (r *Reader) Number() uint32 {
	n := r.Number64()
	if n > math.MaxUint32 {
		r.Fail("number is too large")
		return 0
	}
	return uint32(n)
}

// NonZero takes a number that is not zero.
func (r *Reader) NonZero() uint32 {
	n := r.Number()
	if n == 0 {
		r.Fail("number must not be zero")
	}
	return n
}

// Number64 takes a number of 63 bits.
func (r *Reader) Number64() int64 {
	var n int64
	digits := 0
	for {
		c, ok := r.peek()
		if !ok || classes[c]&classDigit == 0 {
			break
		}
		if n > (math.MaxInt64-9)/10 {
			r.Fail("number is too large")
			return 0
		}
		n = n*10 + int64(c-'0')
		digits++
		r.advance()
	}
	if digits == 0 {
		r.Fail("expected a number")
	}
	return n
}

// String takes a quoted string or a literal.
func (r *Reader) String() string {
	switch {
	case r.Accept('"'):
		return r.quoted()
	case r.Peek('{'):
		return r.literal()
	}
	r.Fail("expected a string")
	return ""
}

// AString takes an atom, a quoted string or a literal.
func (r *Reader) AString() string {
	if r.Peek('"') || r.Peek('{') {
		return r.String()
	}
	return r.run(classAString, "a string or atom")
}

// NString takes a string or NIL; ok is false for NIL.
func (r *Reader) NString() (s string, ok bool) {
	if r.Peek('"') || r.Peek('{') {
		return r.String(), r.err == nil
	}
	if !strings.EqualFold(r.Atom(), "NIL") {
		r.Fail("expected a string or NIL")
	}
	return "", false
}

func (r *Reader) quoted() string {
	r.tok = r.tok[:0]
	for {
		c, ok := r.peek()
		if !ok {
			return ""
		}
		switch c {
		case '"':
			r.advance()
			return string(r.tok)
		case '\\':
			r.advance()
			// RFC 3501, 9: quoted-specials alone are escaped.
			if c, ok = r.peek(); ok && c != '"' && c != '\\' {
				r.Fail("only a quote or a backslash may follow a backslash")
			}
		case '\r', '\n', 0:
			r.Fail("quoted string is not closed")
		}
		if r.err != nil {
			return ""
		}
		r.tok = append(r.tok, c)
		r.advance()
	}
}

// List takes a parenthesised list, calling item for each member. It may be
// empty.
func (r *Reader) List(item func()) {
	r.Open()
	if !r.Accept(')') {
		item()
		for r.err == nil && r.Accept(' ') {
			item()
		}
		r.Expect(')')
	}
	r.depth--
}

// Open takes an opening parenthesis, counting how deep it is. Close takes its partner.
func (r *Reader) Open() {
	r.Expect('(')
	r.Deeper()
}

// Deeper counts one more level of what nests in the command, and reports
// whether that is allowed. Shallower takes it back.
func (r *Reader) Deeper() bool {
	if r.depth++; r.depth > r.limits.Depth {
		r.Fail("command is nested more than %d deep", r.limits.Depth)
	}
	return r.err == nil
}

// Shallower ends what Deeper began.
func (r *Reader) Shallower() { r.depth-- }

// Close takes a closing parenthesis.
func (r *Reader) Close() {
	r.Expect(')')
	r.depth--
}

// Flag takes a flag or keyword. System flags keep their backslash.
func (r *Reader) Flag() string {
	if r.Accept('\\') {
		return `\` + r.run(classAtom, "a flag")
	}
	return r.run(classAtom, "a flag")
}

// Flags takes a parenthesised list of flags.
func (r *Reader) Flags() []string {
	var flags []string
	r.List(func() { flags = append(flags, r.Flag()) })
	return flags
}

// Line takes the rest of the line as it stands: a SASL response.
func (r *Reader) Line() (string, error) {
	r.tok = r.tok[:0]
	for !r.AtEnd() {
		c, _ := r.peek()
		r.tok = append(r.tok, c)
		r.advance()
	}
	line := string(r.tok)
	return line, r.End()
}
