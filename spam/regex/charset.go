package regex

import (
	"math/bits"
	"strings"
	"unicode"
)

// charset is a set of bytes.
type charset [4]uint64

func (s *charset) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *charset) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *charset) addRange(lo, hi int) {
	for c := lo; c <= hi; c++ {
		s.add(byte(c))
	}
}

func (s *charset) union(t charset) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s charset) negate() charset {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

func (s charset) intersects(t charset) bool {
	return s[0]&t[0]|s[1]&t[1]|s[2]&t[2]|s[3]&t[3] != 0
}

func (s charset) within(t charset) bool { return !s.intersects(t.negate()) }

func (s charset) size() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// each calls f with every byte of the set, in order.
func (s charset) each(f func(c byte)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			f(byte(i<<6 | bits.TrailingZeros64(w)))
		}
	}
}

// only is the set's single byte.
func (s charset) only() (byte, bool) {
	if s.size() != 1 {
		return 0, false
	}
	var c byte
	s.each(func(b byte) { c = b })
	return c, true
}

var allBytes = charset{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func single(c byte) charset {
	var s charset
	s.add(c)
	return s
}

// bytesOf makes a set of ranges, written as pairs.
func bytesOf(pairs string) charset {
	var s charset
	for i := 0; i+1 < len(pairs); i += 2 {
		s.addRange(int(pairs[i]), int(pairs[i+1]))
	}
	return s
}

// rules is how characters are classified and folded: Perl's /d, /u, /a and /aa.
type rules uint8

const (
	rulesD  rules = iota // ASCII only, classes and folding
	rulesU               // Latin-1
	rulesA               // classes are ASCII, folding is Latin-1
	rulesAA              // the same, and ASCII never folds to anything else
)

// unicodeFold says whether folding follows Unicode: bytes are then Latin-1.
func (r rules) unicodeFold() bool { return r != rulesD }

// unicodeClass says whether \w and its like contain Latin-1 letters.
func (r rules) unicodeClass() bool { return r == rulesU }

// swapCase is the other case of a byte, or the byte itself.
func swapCase(c byte, latin bool) byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return c ^ 0x20
	case latin && c >= 0xC0 && c != 0xD7 && c != 0xF7 && c != 0xDF && c != 0xFF:
		return c ^ 0x20
	}
	return c
}

// lowerLatin is lower case for ASCII and Latin-1.
func lowerLatin(c byte) byte {
	if 'A' <= c && c <= 'Z' || 0xC0 <= c && c <= 0xDE && c != 0xD7 {
		return c | 0x20
	}
	return c
}

// folded is the set with the other case of each of its bytes.
func (s charset) folded(r rules) charset {
	t := s
	s.each(func(c byte) { t.add(swapCase(c, r.unicodeFold())) })
	return t
}

// wideFolds are the characters above 0xFF that fold to a byte.
var wideFolds = map[rune]byte{0x39C: 0xB5, 0x3BC: 0xB5, 0x178: 0xFF, 0x1E9E: 0xDF, 0x212B: 0xE5, 0x17F: 's', 0x212A: 'k'}

// char is the set of bytes that a character of the pattern matches: none for
// one above 0xFF which no byte is a case of.
func char(r rune, fold bool, ru rules) charset {
	var s charset
	if r <= 0xFF {
		s.add(byte(r))
	} else if b, ok := wideFolds[r]; ok && fold && (b >= 0x80 || ru != rulesAA) {
		s.add(b)
	}
	if fold {
		return s.folded(ru)
	}
	return s
}

// The classes of \d, \w, \s, \h and \v.
var (
	digits     = bytesOf("09")
	wordsASCII = bytesOf("09AZaz__")
	spaces     = bytesOf("\t\r  ")
	horizontal = bytesOf("\t\t  \xa0\xa0")
	vertical   = bytesOf("\n\r\x85\x85")
)

func words(r rules) charset {
	s := wordsASCII
	if r.unicodeClass() {
		s.union(latin(func(c rune) bool { return unicode.IsLetter(c) }))
	}
	return s
}

func whitespace(r rules) charset {
	s := spaces
	if r.unicodeClass() {
		s.add(0x85)
		s.add(0xA0)
	}
	return s
}

// latin is the set of the bytes whose character a test accepts.
func latin(is func(rune) bool) charset {
	var s charset
	for c := range rune(256) {
		if is(c) {
			s.add(byte(c))
		}
	}
	return s
}

func inASCII(s charset) charset { return charset{s[0], s[1]} }

// posix are the POSIX classes over Latin-1; their ASCII part is what other
// rules than /u have.
var posix = map[string]func(rune) bool{
	"alpha": func(c rune) bool { return unicode.IsLetter(c) },
	"digit": unicode.IsDigit,
	"alnum": func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) },
	"upper": unicode.IsUpper,
	"lower": isLower,
	"space": unicode.IsSpace,
	"blank": func(c rune) bool { return c == ' ' || c == '\t' || c == 0xA0 },
	"cntrl": unicode.IsControl,
	"graph": func(c rune) bool { return !unicode.IsControl(c) && !unicode.IsSpace(c) },
	"print": func(c rune) bool { return !unicode.IsControl(c) },
	"punct": func(c rune) bool {
		return unicode.IsPunct(c) || c < 0x80 && unicode.IsSymbol(c)
	},
	"word":   func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' },
	"xdigit": func(c rune) bool { return c < 0x80 && strings.ContainsRune("0123456789abcdefABCDEF", c) },
	"ascii":  func(c rune) bool { return c < 0x80 },
}

// isLower: the ordinals ª and º are lower-case characters in Unicode.
func isLower(c rune) bool { return unicode.IsLower(c) || c == 0xAA || c == 0xBA }

// posixSet is the class of a name.
func posixSet(name string, ru rules, fold bool) (charset, bool) {
	is, ok := posix[name]
	if !ok {
		return charset{}, false
	}
	s := latin(is)
	if fold && (name == "upper" || name == "lower") {
		s = latin(func(c rune) bool { return unicode.IsUpper(c) || isLower(c) })
	}
	if !ru.unicodeClass() {
		s = inASCII(s)
	}
	return s, true
}

// property is the Latin-1 part of a Unicode property, by the names that Perl
// has for it. A property is Unicode's whatever the rules are.
func property(name string, fold bool) (charset, bool) {
	key := strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name))
	if i := strings.LastIndexAny(key, "=:"); i >= 0 {
		key = key[i+1:]
	}
	if s, ok := propertySet(key, fold); ok {
		return s, ok
	}
	return propertySet(strings.TrimPrefix(key, "is"), fold)
}

// propertyNames are Perl's long names of what package unicode has by short
// ones, and names of POSIX classes.
var propertyNames = map[string]string{
	"letter": "L", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo",
	"mark": "M", "number": "N", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No", "punctuation": "P", "symbol": "S",
	"separator": "Z", "other": "C", "control": "Cc", "currencysymbol": "Sc", "mathsymbol": "Sm", "othersymbol": "So", "spaceseparator": "Zs",
	"dashpunctuation": "Pd", "connectorpunctuation": "Pc", "openpunctuation": "Ps", "closepunctuation": "Pe", "otherpunctuation": "Po",
	"format": "Cf",
}

func propertySet(key string, fold bool) (charset, bool) {
	switch key {
	case "any", "all", "assigned", "unicode":
		return allBytes, true
	case "alphabetic":
		key = "alpha"
	case "uppercase":
		key = "upper"
	case "lowercase":
		key = "lower"
	case "whitespace", "spaceperl", "xposixspace", "xperlspace":
		key = "space"
	case "l&", "lc", "casedletter":
		return latin(func(c rune) bool { return unicode.In(c, unicode.Lu, unicode.Ll, unicode.Lt) }), true
	}
	if strings.HasPrefix(key, "posix") {
		return posixSet(strings.TrimPrefix(key, "posix"), rulesA, fold)
	}
	if key != "punct" {
		if s, ok := posixSet(strings.TrimPrefix(key, "xposix"), rulesU, fold); ok {
			return s, true
		}
	} else {
		key = "p"
	}
	for long, short := range propertyNames {
		if key == long {
			key = strings.ToLower(short)
		}
	}
	if fold && (key == "lu" || key == "ll" || key == "lt") {
		return propertySet("lc", false)
	}
	return tableSet(key)
}

// tableSet finds a general category or a script.
func tableSet(key string) (charset, bool) {
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts} {
		for name, table := range tables {
			if strings.ToLower(strings.ReplaceAll(name, "_", "")) == key {
				return latin(func(c rune) bool { return unicode.Is(table, c) }), true
			}
		}
	}
	return charset{}, false
}
