package mail

import (
	"bytes"
	"math/bits"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

var (
	asciiName = regexp.MustCompile(`(?i)^(?:US-)?ASCII$`)
	plainName = regexp.MustCompile(`(?i)^(?:(?:US-)?ASCII|ANSI[_ ]?X3\.4-(?:1986|1968)|ISO646-US|ISO[ -]?8859(?:-\d{1,2})?|Windows-\d{4}|UTF-?8|(?:KOI8|EUC)-[A-Z]{1,2}|Big5|GBK|GB[ -]?18030(?:-20\d\d)?)$`)
	utf16Name = regexp.MustCompile(`(?i)^UTF[ -]?16`)
	latinName = regexp.MustCompile(`(?i)^(?:ISO-?8859-1|Windows-1252|CP1252)$`)
	utf8Name  = regexp.MustCompile(`(?i)^UTF-?8$`)
	thaiName  = regexp.MustCompile(`(?i)^(?:TIS-?620|ISO-?8859-11)$`)
	eucName   = regexp.MustCompile(`(?i)^(?:EUC-?(?:CN|KR)|GB_?2312(?:-80)?|GB2312-raw|X-EUC-CN)$`)
	gb18030   = regexp.MustCompile(`(?i)^GB[ -]?18030(?:-20\d\d)?$`)
)

// toUTF8 decodes octets that are said to be of a charset. UTF-8 is tried first, as many
// say otherwise; what can not be decoded at all is taken for Windows-1252. insist
// believes what is declared.
func toUTF8(b []byte, declared string, insist bool) []byte {
	out, _ := decode(b, declared, insist)
	return out
}

// decode is toUTF8; decoded is false where there was nothing to decode.
func decode(b []byte, declared string, insist bool) (out []byte, decoded bool) {
	plain := ascii(b)
	if plain && plainName.MatchString(declared) {
		return b, false
	}
	if !plain && !insist && validUTF8(b) {
		return b, true
	}
	if out, ok := decodeAs(b, declared, insist, plain); ok {
		return out, true
	}
	if plain {
		return b, false
	}
	return decode1252(b), true
}

func decodeAs(b []byte, declared string, insist, plain bool) ([]byte, bool) {
	switch {
	case asciiName.MatchString(declared) && !insist:
		return nil, false
	case utf16Name.MatchString(declared):
		return decodeUTF16(b)
	case latinName.MatchString(declared):
		return decode1252(b), insist || !bytes.ContainsAny(b, unassigned)
	case utf8Name.MatchString(declared):
		if !insist {
			return nil, false // tried before
		}
		return replaceInvalid(b), true
	}
	if strings.EqualFold(declared, "utf-7") {
		return decodeUTF7(b)
	}
	e := charsetNamed(declared)
	if e == nil {
		return nil, false
	}
	if m, ok := e.(*charmap.Charmap); ok && controls(m, declared) {
		return decodeISO(m, b, insist)
	}
	if eucName.MatchString(declared) {
		var whole bool
		if b, whole = onlyEUC(b); !whole && !insist {
			return nil, false
		}
	}
	return strict(e, b, insist)
}

// onlyEUC puts an octet that is none for those that begin no pair of EUC: decoders that know
// what Windows added to a charset, as those of golang.org/x/text, would take them. whole
// is false if there were some.
func onlyEUC(b []byte) (out []byte, whole bool) {
	whole = true
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] < 0x80:
		case b[i] > 0xa0 && b[i] < 0xff && (i+1 == len(b) || b[i+1] > 0xa0 && b[i+1] < 0xff):
			i++
		default:
			if whole {
				b = bytes.Clone(b)
			}
			b[i], whole = 0xff, false
		}
	}
	return b, whole
}

// noncharacter reports whether a code point is for no character ever, which makes UTF-8
// invalid for Perl.
func noncharacter(r rune) bool { return r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef }

func validUTF8(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for i, c := range b {
		if c >= 0xef { // others begin none
			if r, _ := utf8.DecodeRune(b[i:]); noncharacter(r) {
				return false
			}
		}
	}
	return true
}

// replaceInvalid puts one U+FFFD for each sequence that is none: an octet that begins one
// and those that continue it, up to the length that the first one says.
func replaceInvalid(b []byte) []byte {
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = 1
			for most := bits.LeadingZeros8(^b[0]); n < len(b) && n < most && b[n]&0xc0 == 0x80; {
				n++
			}
		} else if noncharacter(r) {
			r = utf8.RuneError
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return out
}

// strict decodes; without insist it fails where an octet is not of the charset. A
// character that the end of the text has cut off is left out.
func strict(e encoding.Encoding, b []byte, insist bool) ([]byte, bool) {
	out, err := e.NewDecoder().Bytes(b)
	if n := len(b) - 1; err == nil && n >= 0 && b[n] >= 0x80 && bytes.HasSuffix(out, []byte("\uFFFD")) {
		if rest, err := e.NewDecoder().Bytes(b[:n]); err == nil && len(rest)+len("\uFFFD") == len(out) {
			out = rest
		}
	}
	if err != nil || !insist && bytes.Contains(out, []byte("\uFFFD")) {
		return nil, false
	}
	return out, true
}

// controls reports whether a charset has control characters from 0x80 to 0x9f, as all of
// ISO's have for Perl. golang.org/x/text has nothing there, or what Windows has.
func controls(m *charmap.Charmap, declared string) bool {
	for c := byte(0x80); c < 0xa0; c++ {
		if m.DecodeByte(c) != utf8.RuneError {
			return m == charmap.Windows874 && thaiName.MatchString(declared)
		}
	}
	return true
}

func decodeISO(m *charmap.Charmap, b []byte, insist bool) ([]byte, bool) {
	out := make([]byte, 0, len(b)+len(b)/8)
	for _, c := range b {
		r := m.DecodeByte(c)
		if c >= 0x80 && c < 0xa0 {
			r = rune(c)
		}
		if r == utf8.RuneError && !insist {
			return nil, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func charsetNamed(name string) encoding.Encoding {
	name = strings.TrimSpace(name)
	if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
		return e
	}
	if e, err := htmlindex.Get(name); err == nil { // names that browsers know
		return e
	}
	if gb18030.MatchString(name) {
		return simplifiedchinese.GBK
	}
	return nil
}

// unassigned are octets that have no character in Windows-1252.
const unassigned = "\x81\x8d\x8f\x90\x9d"

// decode1252 decodes what nothing else could.
func decode1252(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/8)
	for _, c := range b {
		switch {
		case c < 0x80:
			out = append(out, c)
		case strings.IndexByte(unassigned, c) >= 0:
			out = utf8.AppendRune(out, utf8.RuneError)
		default:
			out = utf8.AppendRune(out, charmap.Windows1252.DecodeByte(c))
		}
	}
	return out
}

// decodeUTF16 finds the order of octets from where zeros and spaces are. With a mark of
// the order SpamAssassin decodes nothing, whatever its comment says.
func decodeUTF16(b []byte) ([]byte, bool) {
	if len(b)%2 != 0 || bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return nil, false
	}
	order := unicode.BigEndian
	switch le, be := utf16Clues(b); {
	case le > be:
		order = unicode.LittleEndian
	case be == le:
		return nil, false
	}
	return strict(unicode.UTF16(order, unicode.IgnoreBOM), b, false)
}

func utf16Clues(b []byte) (le, be int) {
	var even, odd int
	for i := 0; i+1 < len(b); i += 2 {
		even += int(b[i]>>4) + int(b[i]&15)
		odd += int(b[i+1]>>4) + int(b[i+1]&15)
		switch {
		case b[i] == 0x20 && b[i+1] == 0:
			le++
		case b[i] == 0 && b[i+1] == 0x20:
			be++
		}
	}
	if even > odd*4 {
		le++
	}
	if odd*4 > even {
		be++
	}
	return le, be
}
