package syntax

import (
	"math/bits"
	"strings"
	"unicode"
)

// Charset is a set of bytes.
type Charset [4]uint64

// Add puts a byte into the set.
func (s *Charset) Add(c byte) { s[c>>6] |= 1 << (c & 63) }

// Has reports whether a byte is in the set.
func (s *Charset) Has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *Charset) addRange(lo, hi int) {
	for c := lo; c <= hi; c++ {
		s.Add(byte(c))
	}
}

// Union adds the bytes of t.
func (s *Charset) Union(t Charset) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s Charset) negate() Charset {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

// Intersects reports whether both have a byte.
func (s Charset) Intersects(t Charset) bool {
	return s[0]&t[0]|s[1]&t[1]|s[2]&t[2]|s[3]&t[3] != 0
}

// Within reports whether t has every byte of s.
func (s Charset) Within(t Charset) bool { return !s.Intersects(t.negate()) }

// Size is the number of bytes.
func (s Charset) Size() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// Each calls f with every byte of the set, in order.
func (s Charset) Each(f func(c byte)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			f(byte(i<<6 | bits.TrailingZeros64(w)))
		}
	}
}

// Only is the set's single byte.
func (s Charset) Only() (byte, bool) {
	if s.Size() != 1 {
		return 0, false
	}
	var c byte
	s.Each(func(b byte) { c = b })
	return c, true
}

// AllBytes is the set of every byte; as all sets here it must not be changed.
var AllBytes = Charset{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// Single is the set of one byte.
func Single(c byte) Charset {
	var s Charset
	s.Add(c)
	return s
}

// bytesOf makes a set of ranges, written as pairs.
func bytesOf(pairs string) Charset {
	var s Charset
	for i := 0; i+1 < len(pairs); i += 2 {
		s.addRange(int(pairs[i]), int(pairs[i+1]))
	}
	return s
}

// Rules is how characters are classified and folded: Perl's /d, /u, /a and /aa.
type Rules uint8

const (
	RulesD  Rules = iota // ASCII only, classes and folding
	RulesU               // Latin-1
	RulesA               // classes are ASCII, folding is Latin-1
	RulesAA              // the same, and ASCII never folds to anything else
)

// unicodeFold says whether folding follows Unicode: bytes are then Latin-1.
func (r Rules) unicodeFold() bool { return r != RulesD }

// unicodeClass says whether \w and its like contain Latin-1 letters.
func (r Rules) unicodeClass() bool { return r == RulesU }

// SwapCase is the other case of a byte, or the byte itself.
func SwapCase(c byte, latin bool) byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return c ^ 0x20
	case latin && c >= 0xC0 && c != 0xD7 && c != 0xF7 && c != 0xDF && c != 0xFF:
		return c ^ 0x20
	}
	return c
}

// LowerLatin is lower case for ASCII and Latin-1.
func LowerLatin(c byte) byte {
	if 'A' <= c && c <= 'Z' || 0xC0 <= c && c <= 0xDE && c != 0xD7 {
		return c | 0x20
	}
	return c
}

// Folded is the set with the other case of each of its bytes.
func (s Charset) Folded(r Rules) Charset {
	t := s
	s.Each(func(c byte) { t.Add(SwapCase(c, r.unicodeFold())) })
	return t
}

// wideFolds are the characters above 0xFF that fold to a byte.
var wideFolds = map[rune]byte{0x39C: 0xB5, 0x3BC: 0xB5, 0x178: 0xFF, 0x1E9E: 0xDF, 0x212B: 0xE5, 0x17F: 's', 0x212A: 'k'}

// char is the set of bytes that a character of the pattern matches: none for
// one above 0xFF which no byte is a case of.
func char(r rune, fold bool, ru Rules) Charset {
	var s Charset
	if r <= 0xFF {
		s.Add(byte(r))
	} else if b, ok := wideFolds[r]; ok && fold && (b >= 0x80 || ru != RulesAA) {
		s.Add(b)
	}
	if fold {
		return s.Folded(ru)
	}
	return s
}

// The classes of \d, \w, \s, \h and \v in ASCII; the last two have more.
var (
	digits     = bytesOf("09")
	WordsASCII = bytesOf("09AZaz__")
	spaces     = bytesOf("\t\r  ")
	horizontal = bytesOf("\t\t  \xa0\xa0")
	vertical   = bytesOf("\n\r\x85\x85")
)

// Words are the letters, digits and _ of \w.
func Words(r Rules) Charset {
	s := WordsASCII
	if r.unicodeClass() {
		s.Union(latin(func(c rune) bool { return unicode.IsLetter(c) }))
	}
	return s
}

func whitespace(r Rules) Charset {
	s := spaces
	if r.unicodeClass() {
		s.Add(0x85)
		s.Add(0xA0)
	}
	return s
}

// latin is the set of the bytes whose character a test accepts.
func latin(is func(rune) bool) Charset {
	var s Charset
	for c := range rune(256) {
		if is(c) {
			s.Add(byte(c))
		}
	}
	return s
}

func inASCII(s Charset) Charset { return Charset{s[0], s[1]} }

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
func posixSet(name string, ru Rules, fold bool) (Charset, bool) {
	is, ok := posix[name]
	if !ok {
		return Charset{}, false
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
func property(name string, fold bool) (Charset, bool) {
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

func propertySet(key string, fold bool) (Charset, bool) {
	switch key {
	case "any", "all", "assigned", "unicode":
		return AllBytes, true
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
		return posixSet(strings.TrimPrefix(key, "posix"), RulesA, fold)
	}
	if key != "punct" {
		if s, ok := posixSet(strings.TrimPrefix(key, "xposix"), RulesU, fold); ok {
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
func tableSet(key string) (Charset, bool) {
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts} {
		for name, table := range tables {
			if strings.ToLower(strings.ReplaceAll(name, "_", "")) == key {
				return latin(func(c rune) bool { return unicode.Is(table, c) }), true
			}
		}
	}
	return Charset{}, false
}
