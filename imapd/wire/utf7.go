package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// mUTF7 is base64 with "," for "/" and no padding (RFC 3501, 5.1.3).
const mUTF7 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

func utf7Base64() *base64.Encoding {
	return base64.NewEncoding(mUTF7).WithPadding(base64.NoPadding).Strict()
}

// EncodeName returns a mailbox name in modified UTF-7.
func EncodeName(name string) string {
	if plainName(name) {
		return name
	}
	var out strings.Builder
	var run []byte // UTF-16, big-endian
	flush := func() {
		if len(run) > 0 {
			out.WriteString("&" + utf7Base64().EncodeToString(run) + "-")
			run = run[:0]
		}
	}
	for _, c := range name {
		if c < 0x20 || c > 0x7e {
			for _, u := range utf16.Encode([]rune{c}) {
				run = append(run, byte(u>>8), byte(u))
			}
			continue
		}
		flush()
		out.WriteRune(c)
		if c == '&' {
			out.WriteByte('-')
		}
	}
	flush()
	return out.String()
}

func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c > 0x7e || c == '&' {
			return false
		}
	}
	return true
}

// DecodeName reads a mailbox name in modified UTF-7. It takes only what
// EncodeName gives, so that no two spellings name one mailbox, and, since many
// clients send it, plain UTF-8.
func DecodeName(s string) (name string, ok bool) {
	if plainName(s) {
		return s, true
	}
	if !utf8.ValidString(s) {
		return "", false
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c < 0x20 || c == 0x7f {
			return "", false
		}
		if c != '&' {
			out.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return "", false
		}
		if !decodeRun(&out, s[i+1:i+end]) {
			return "", false
		}
		i += end + 1
	}
	name = out.String()
	if ascii(s) && EncodeName(name) != s {
		return "", false
	}
	return name, true
}

func decodeRun(out *strings.Builder, s string) bool {
	if s == "" { // "&-" is an ampersand
		out.WriteByte('&')
		return true
	}
	raw, err := utf7Base64().DecodeString(s)
	if err != nil || len(raw)%2 != 0 {
		return false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	for _, c := range utf16.Decode(units) {
		if c == utf8.RuneError || c < 0x20 || c == 0x7f {
			return false
		}
		out.WriteRune(c)
	}
	return true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Mailbox takes the name of a mailbox and returns it in UTF-8. INBOX in any
// case is "INBOX" (RFC 3501, 5.1).
func (r *Reader) Mailbox() string {
	return r.name(r.AString())
}

// ListMailbox takes a name with wildcards and returns it in UTF-8.
func (r *Reader) ListMailbox() string {
	if r.Peek('"') || r.Peek('{') {
		return r.name(r.String())
	}
	return r.name(r.run(classList, "a mailbox name"))
}

func (r *Reader) name(s string) string {
	if strings.EqualFold(s, "INBOX") {
		return "INBOX"
	}
	name, ok := DecodeName(s)
	if !ok {
		r.Fail("mailbox name is not modified UTF-7")
	}
	return name
}
