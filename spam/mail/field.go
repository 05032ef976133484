package mail

import (
	"regexp"
	"strings"
)

var (
	undecoded = regexp.MustCompile(`(?i)^(?:received|(?:resent-)?(?:message-id|date)|mime-version|references|in-reply-to|list-.*)$`)
	word      = regexp.MustCompile(`=\?([A-Za-z0-9*_-]+)\?([bqBQ])\?([^?]*)\?=`)
)

// decodeField decodes a field's encoded words (RFC 2047) to UTF-8; name is in small
// letters. Words of one charset that follow one another are decoded as one, so that
// characters may be split between them.
func decodeField(v, name string) string {
	if v == "" {
		return ""
	}
	if strings.ContainsAny(v, "\r\n") {
		v = strings.ReplaceAll(strings.ReplaceAll(v, "\n\t", "\n "), "\r\n", "\n")
		v = strings.ReplaceAll(v, "\n", "")
	}
	if !ascii([]byte(v)) {
		v = string(toUTF8([]byte(v), "UTF-8", false))
	}
	if !strings.Contains(v, "=?") || undecoded.MatchString(name) {
		return v
	}
	var out strings.Builder
	var octets []byte
	charset := ""
	flush := func() {
		if charset != "" {
			set, _, _ := strings.Cut(charset, "*")
			out.Write(toUTF8(octets, set, true))
		}
		octets, charset = nil, ""
	}
	at := 0
	for _, m := range word.FindAllStringSubmatchIndex(v, -1) {
		if between := v[at:m[0]]; between != "" && (at == 0 || strings.Trim(between, spaces) != "") {
			flush()
			out.WriteString(between)
		}
		if set := strings.ToLower(v[m[2]:m[3]]); set != charset {
			flush()
			charset = set
		}
		octets = append(octets, decodeWord(v[m[4]], v[m[6]:m[7]])...)
		at = m[1]
	}
	flush()
	out.WriteString(v[at:])
	return out.String()
}

func decodeWord(how byte, text string) []byte {
	if how|0x20 == 'b' {
		return decodeBase64([]byte(text))
	}
	return decodeQP([]byte(strings.ReplaceAll(text, "_", "=20")))
}

// DecodeWords decodes encoded words, wherever they stand, to UTF-8.
func DecodeWords(s string) string { return decodeField(s, "") }
