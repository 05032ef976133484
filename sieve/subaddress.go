package sieve

import "strings"

// subaddress is the address parts :user and :detail (RFC 5233, 4).
var subaddress = extension{
	name: "subaddress", rfc: "5233",
	tags: []tagRow{
		{name: "user", group: groupPart, part: func(a Address, o *Options) (string, bool) {
			user, _, _ := strings.Cut(a.Local, o.Separator)
			return user, a.Invalid == ""
		}},
		// An address without a separator has no detail, not even an empty one.
		{name: "detail", group: groupPart, part: func(a Address, o *Options) (string, bool) {
			_, detail, ok := strings.Cut(a.Local, o.Separator)
			return detail, ok && a.Invalid == ""
		}},
	},
}
