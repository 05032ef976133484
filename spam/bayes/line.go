package bayes

import (
	"bytes"
	"unicode/utf8"
)

// line makes tokens of a line of text, a link or a field's value.
func (c *collector) line(text []byte, prefix string, r region) {
	c.clean = cleanLine(c.clean[:0], text)
	if c.latin {
		latinSpaces(c.clean)
	}
	c.separate('.', 3)
	c.separate('-', 2)
	if r != inHeader {
		c.spare = lowerTitles(c.spare[:0], c.clean)
		c.clean, c.spare = c.spare, c.clean
	}
	for rest := c.clean; len(rest) > 0; {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte(" "))
		if word = bytes.Trim(word, `-'".,`); len(word) >= 3 && !c.stopWord(word) {
			c.word(word, prefix, r)
		}
	}
}

// word makes tokens of one word: parts of addresses and links, the word in its simpler
// forms, and itself.
func (c *collector) word(word []byte, prefix string, r region) {
	if r != inHeader {
		if hasAddress(word) {
			c.address(word)
		} else if hasDomain(word) {
			c.add("UD:", word)
			c.parents("UD:", word)
		}
	}
	if float64(len(word)) > c.s.MaxToken && bytes.IndexByte(word, '*') < 0 {
		if c.characters(word, prefix) {
			return
		}
		if r != inURI {
			word = c.shorten(word)
		}
	}
	if r != inHeader {
		c.simpler(word, prefix)
	}
	c.add(prefix, word)
}

// hasAddress reports whether there is "@" with something on either side.
func hasAddress(word []byte) bool {
	for i := 1; i < len(word)-1; i++ {
		if word[i] == '@' {
			return true
		}
	}
	return false
}

// hasDomain reports whether there is a dot with something before it and a letter behind.
func hasDomain(word []byte) bool {
	for i := 1; i < len(word)-1; i++ {
		if word[i] == '.' && letter(word[i+1]) {
			return true
		}
	}
	return false
}

// address makes tokens of an address: who, and the domain with those it is in.
func (c *collector) address(a []byte) {
	for i := len(a) - 2; i > 0; i-- {
		if a[i] == '@' {
			c.add("U*", a[:i])
			c.add("D*", a[i+1:])
			c.parents("D*", a[i+1:])
			return
		}
	}
}

// maxDomain is the longest name, in octets, that is taken for a domain: four times
// what one can have. The work for it grows with the square of its length.
const maxDomain = 1000

// parents makes tokens of the domains that one is in.
func (c *collector) parents(prefix string, domain []byte) {
	for domain = parent(domain); domain != nil; domain = parent(domain) {
		c.add(prefix, domain)
	}
}

// parent is the domain that one is in, nil if there is none.
func parent(domain []byte) []byte {
	dot := bytes.IndexByte(domain, '.')
	if dot <= 0 || dot+1 == len(domain) || len(domain) > maxDomain {
		return nil
	}
	return domain[dot+1:]
}

// characters makes tokens of each character of three or four octets in a long word, as
// of languages that put no spaces between words; false if there is none.
func (c *collector) characters(word []byte, prefix string) bool {
	found := false
	c.token = append(append(c.token[:0], prefix...), "u8:"...)
	start := len(c.token)
	for i := 0; i < len(word); {
		n := 1
		if word[i] >= 0xE0 && word[i] <= 0xEF && trails(word[i+1:], 2) {
			n = 3
		} else if word[i] >= 0xF0 && word[i] <= 0xF4 && trails(word[i+1:], 3) {
			n = 4
		}
		if n > 1 {
			c.token = append(c.token[:start], word[i:i+n]...)
			c.add("", c.token)
			found = true
		}
		i += n
	}
	return found
}

// trails reports whether b begins with n octets that stand behind the first of a character.
func trails(b []byte, n int) bool {
	if len(b) < n {
		return false
	}
	for _, x := range b[:n] {
		if x < 0x80 || x > 0xBF {
			return false
		}
	}
	return true
}

// shorten keeps the first seven characters of a long word, if more than one octet follows.
func (c *collector) shorten(word []byte) []byte {
	n := seven(word, 0, 7)
	if n < 0 || len(word)-n < 2 {
		return word
	}
	c.token = append(append(c.token[:0], "sk:"...), word[:n]...)
	return c.token
}

// seven finds where n characters from at end. An octet may count as a character for
// itself where there would be too few otherwise. -1 if there are too few octets.
func seven(word []byte, at, n int) int {
	if n == 0 {
		return at
	}
	if at >= len(word) {
		return -1
	}
	if size := charLen(word[at:]); size > 1 {
		if end := seven(word, at+size, n-1); end >= 0 {
			return end
		}
	}
	return seven(word, at+1, n-1)
}

// charLen is the length of the character that b begins with: 1 if it begins with none.
func charLen(b []byte) int {
	switch x := b[0]; {
	case x >= 0xC0 && x <= 0xDF && trails(b[1:], 1):
		return 2
	case x >= 0xE0 && x <= 0xEF && trails(b[1:], 2):
		return 3
	case x >= 0xF0 && x <= 0xF4 && trails(b[1:], 3):
		return 4
	}
	return 1
}

// simpler makes tokens of a word without what is no letter or digit, and of it in
// small letters.
func (c *collector) simpler(word []byte, prefix string) {
	odd, upper := false, false
	for _, x := range word {
		odd = odd || !c.simple(x)
		upper = upper || isUpper(x)
	}
	if odd {
		c.spareToken(word, prefix, true, false)
	}
	if upper {
		c.spareToken(word, prefix, false, true)
		if odd {
			c.spareToken(word, prefix, true, true)
		}
	}
}

func (c *collector) spareToken(word []byte, prefix string, strip, low bool) {
	out := c.spare[:0]
	for _, x := range word {
		if strip && !c.simple(x) {
			continue
		}
		if low && (isUpper(x) || c.latin && x >= 0xC0 && x <= 0xDE && x != 0xD7) {
			x |= 0x20
		}
		out = append(out, x)
	}
	c.spare = out
	c.add(prefix, out)
}

// cleanLine makes spaces of all that tokens are not made of: what stays are letters,
// digits, some signs, and all beyond ASCII but the octets that never begin a character.
func cleanLine(out, text []byte) []byte {
	for i := 0; i < len(text); {
		x := text[i]
		n := charLen(text[i:])
		if n == 1 && !tokenByte[x] && x < 0xA1 {
			out = append(out, ' ')
		} else {
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return out
}

var tokenByte = func() (t [256]bool) {
	for x := range 128 {
		t[x] = alnum(byte(x)) || bytes.IndexByte([]byte(`,@*!_'"$. -`), byte(x)) >= 0
	}
	return t
}()

// separate puts spaces around runs of a sign between words: three to six dots, or two
// to six dashes.
func (c *collector) separate(sign byte, least int) {
	if !bytes.Contains(c.clean, []byte{sign, sign}) {
		return
	}
	out, in := c.spare[:0], c.clean
	for i := 0; i < len(in); i++ {
		out = append(out, in[i])
		if !c.wordByte(in[i]) {
			continue
		}
		end := i + 1
		for end < len(in) && in[end] == sign {
			end++
		}
		if n := end - i - 1; n < least || n > 6 || end == len(in) || !c.wordByte(in[end]) {
			continue
		}
		out = append(append(append(out, ' '), in[i+1:end]...), ' ', in[end])
		i = end
	}
	c.clean, c.spare = out, in
}

// lowerTitles makes the capital that begins the text, or a sentence in it, a small
// letter, if nothing up to the next white space before another capital forbids it.
func lowerTitles(out, in []byte) []byte {
	for i := 0; i < len(in); {
		at := titleAt(in, i)
		end, next := -1, 0
		if at >= 0 {
			end, next = titleEnd(in, at)
		}
		if end < 0 {
			out = append(out, in[i])
			i++
			continue
		}
		out = append(out, ' ', in[at]|0x20)
		out = append(append(out, in[at+1:end]...), ' ')
		i = next
	}
	return out
}

// titleAt is where the capital of a sentence is that begins at i, -1 if none does.
func titleAt(in []byte, i int) int {
	at := i
	if in[i] == '.' {
		for at++; at < len(in) && in[at] == ' '; {
			at++
		}
		if at == i+1 {
			return -1
		}
	} else if i > 0 {
		return -1
	}
	if at < len(in) && isUpper(in[at]) {
		return at
	}
	return -1
}

// titleEnd is where what follows a capital ends: at the end of the text, or at the last
// space before another capital. end is -1 if it is nothing.
func titleEnd(in []byte, at int) (end, next int) {
	e := at + 1
	for e < len(in) && !isUpper(in[e]) {
		e++
	}
	if e == len(in) {
		if e == at+1 {
			return -1, 0
		}
		return e, e
	}
	for p := e - 1; p > at+1; p-- {
		if in[p] == ' ' {
			return p, p + 1
		}
	}
	return -1, 0
}

// wordByte reports whether an octet is of a word; beyond ASCII only letters of
// ISO-8859-1 are, where octets are characters.
func (c *collector) wordByte(x byte) bool {
	return wordByte(x) || c.latin && (x == 0xAA || x == 0xB5 || x == 0xBA || x >= 0xC0 && x != 0xD7 && x != 0xF7)
}

func (c *collector) simple(x byte) bool { return c.wordByte(x) || x == ':' || x == '*' }

// latin1 writes the characters of a text as octets, and spaces for those that are
// beyond; false if there are none but of ASCII.
func latin1(s string) ([]byte, bool) {
	out, latin := make([]byte, 0, len(s)), false
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			out = append(out, s[i])
		case r > 0xFF:
			out = append(out, ' ')
		default:
			out = append(out, byte(r))
		}
		latin = latin || r >= utf8.RuneSelf
	}
	return out, latin
}

// latinSpaces makes spaces of the other two characters that part words.
func latinSpaces(text []byte) {
	for i, x := range text {
		if x == 0x85 || x == 0xA0 {
			text[i] = ' '
		}
	}
}

func isUpper(x byte) bool  { return x >= 'A' && x <= 'Z' }
func letter(x byte) bool   { return x|0x20 >= 'a' && x|0x20 <= 'z' }
func alnum(x byte) bool    { return letter(x) || x >= '0' && x <= '9' }
func wordByte(x byte) bool { return alnum(x) || x == '_' }
