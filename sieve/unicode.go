package sieve

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// unicodeCasemap is the comparator i;unicode-casemap (RFC 5051).
var unicodeCasemap = extension{
	name: "comparator-i;unicode-casemap", rfc: "5051",
	compare: []comparator{{name: "i;unicode-casemap", fold: foldUnicode, moves: true}},
}

// foldUnicode makes every character title case and decomposes it (RFC 5051, 2).
func foldUnicode(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
		return asciiUpper(s)
	}
	return norm.NFKD.String(strings.Map(unicode.ToTitle, s))
}
