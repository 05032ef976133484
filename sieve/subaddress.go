package sieve

import (
	"strings"
	"unicode/utf8"
)

// subaddress is the address parts :user and :detail (RFC 5233, 4).
var subaddress = extension{
	name: "subaddress", rfc: "5233",
	tags: []tagRow{
		{name: "user", group: groupPart, part: func(a Address, o *Options) (string, bool) {
			user, _, _ := detail(a.Local, o.Separator)
			return user, a.Invalid == ""
		}},
		// An address without a separator has no detail, not even an empty one.
		{name: "detail", group: groupPart, part: func(a Address, o *Options) (string, bool) {
			_, after, ok := detail(a.Local, o.Separator)
			return after, ok && a.Invalid == ""
		}},
	},
}

// detail cuts a local-part at the first separator.
func detail(local, separators string) (user, after string, ok bool) {
	i := strings.IndexAny(local, separators)
	if i < 0 {
		return local, "", false
	}
	_, n := utf8.DecodeRuneInString(local[i:])
	return local[:i], local[i+n:], true
}
