package compat

import (
	"testing"

	"mtad/admin"
)

// What a program, a file or a transport made of mail is no host's word.
func TestReason(t *testing.T) {
	for _, c := range []struct {
		item admin.Item
		want string
	}{
		{admin.Item{Host: "mx.test [192.0.2.1]:25", Reply: "451 4.3.0 later"}, "host mx.test [192.0.2.1]:25 said: 451 4.3.0 later"},
		{admin.Item{Host: "|exit 75", Reply: "450 4.3.0 temporary failure"}, "temporary failure"},
		{admin.Item{Host: "/var/mail/ann", Reply: "451 4.2.2 over quota"}, "over quota"},
		{admin.Item{Host: "retry", Reply: "450 4.3.2 later"}, "later"},
		{admin.Item{Host: "|x", Reply: "odd"}, "odd"}, {admin.Item{Host: "mx.test"}, ""},
		{admin.Item{Host: "|x", Reply: "450 4.3.0 a", Hold: "held by me"}, "held by me"},
	} {
		if got := reason(&c.item); got != c.want {
			t.Errorf("%+v: %q, want %q", c.item, got, c.want)
		}
	}
}
