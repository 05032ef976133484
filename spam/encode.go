package spam

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

var (
	plainLine  = regexp.MustCompile(`^[\t -~]*\r?\n?$`)
	plainEnd   = regexp.MustCompile(`((?:^|[ \t])[\t -~]*(?:\r?\n)?)$`)
	lineEnd    = regexp.MustCompile(`(\r?\n)$`)
	plainStart = regexp.MustCompile(`^([\t -~]*(?:[ \t]|$))`)
)

// encodeLines writes lines that are not of ASCII as encoded words (RFC 2047).
func encodeLines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if plainLine.MatchString(line) {
			out.WriteString(line)
			continue
		}
		prefix, suffix := "", ""
		for _, form := range []*regexp.Regexp{plainEnd, lineEnd} {
			if m := form.FindString(line); m != "" {
				suffix, line = m, strings.TrimSuffix(line, m)
				break
			}
		}
		if m := plainStart.FindString(line); m != "" {
			prefix, line = m, strings.TrimPrefix(line, m)
		}
		out.WriteString(prefix + word(line) + suffix)
	}
	return out.String()
}

func special(c byte) bool { return c < 0x20 || c >= 0x7f || c == '=' || c == '?' || c == '_' }

// word encodes a text in the shorter of the two ways.
func word(s string) string {
	if s == "" {
		return ""
	}
	n := 0
	for i := range len(s) {
		if special(s[i]) {
			n++
		}
	}
	if len(s)+2*n > 4*(len(s)+2)/3 {
		return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			out.WriteByte('_')
		case special(c):
			fmt.Fprintf(&out, "=%02X", c)
		default:
			out.WriteByte(c)
		}
	}
	return "=?UTF-8?Q?" + out.String() + "?="
}
