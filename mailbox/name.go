package mailbox

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName   = 1000 // octets of a folder's name
	maxLevels = 20
)

// CanonicalName checks a folder's name and gives the form in which it is
// stored: INBOX, and INBOX as the first level, in upper case (RFC 3501, 5.1),
// and without the trailing separator of RFC 3501, 6.3.3.
func CanonicalName(name string) (string, error) {
	name = strings.TrimSuffix(name, Separator)
	levels := strings.Split(name, Separator)
	switch {
	case name == "" || len(name) > maxName || len(levels) > maxLevels:
		return "", fmt.Errorf("%w: %d octets, %d levels", ErrBadName, len(name), len(levels))
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: not UTF-8", ErrBadName)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '%' || r == '*' }):
		// RFC 3501, 5.1.1: wildcards and control characters only make trouble.
		return "", fmt.Errorf("%w: control character or wildcard", ErrBadName)
	}
	for _, l := range levels {
		if l == "" || l == "." || l == ".." {
			return "", fmt.Errorf("%w: level %q", ErrBadName, l)
		}
	}
	if strings.EqualFold(levels[0], Inbox) {
		levels[0] = Inbox
	}
	return strings.Join(levels, Separator), nil
}

// parents lists the names above a canonical one, topmost first.
func parents(name string) []string {
	var out []string
	for i, c := range name {
		if string(c) == Separator {
			out = append(out, name[:i])
		}
	}
	return out
}
