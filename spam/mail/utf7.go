package mail

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeUTF7 decodes RFC 2152's form of Unicode: "+AGE-" is "a".
func decodeUTF7(b []byte) ([]byte, bool) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c >= 0x80:
			return nil, false
		case c != '+':
			out = append(out, c)
			continue
		}
		n := i + 1
		for n < len(b) && strings.IndexByte(base64Letters, b[n]) >= 0 {
			n++
		}
		if n == i+1 {
			out = append(out, '+')
		} else {
			out = appendUTF16(out, b[i+1:n])
		}
		i = n - 1
		if n < len(b) && b[n] == '-' {
			i = n
		}
	}
	return out, true
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func appendUTF16(out, text []byte) []byte {
	raw := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, _ := base64.RawStdEncoding.Decode(raw, text)
	units := make([]uint16, n/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	for _, r := range utf16.Decode(units) {
		out = utf8.AppendRune(out, r)
	}
	return out
}
