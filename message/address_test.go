package message

import (
	"strings"
	"testing"
)

func TestReplaceAddresses(t *testing.T) {
	upper := func(a Address) (string, bool) {
		return strings.ToUpper(a.Local) + "@NEW.test", strings.EqualFold(a.Domain, "old.test")
	}
	for in, want := range map[string]string{
		"joe@old.test": "JOE@NEW.test", "Joe Old <joe@old.test>, x@far.test (joe@old.test)": "Joe Old <JOE@NEW.test>, x@far.test (joe@old.test)",
		`"joe@old.test" < joe@OLD.test > (c),` + "\r\n\tgroup: a@old.test ,b@old.test;": `"joe@old.test" < JOE@NEW.test > (c),` + "\r\n\tgroup: A@NEW.test ,B@NEW.test;",
		"<@route,@r2:joe@old.test>": "<@route,@r2:JOE@NEW.test>", "(a) joe @ old . test (b)": "(a) JOE@NEW.test (b)", `"j o"@old.test`: "J O@NEW.test",
		"": "", "undisclosed:;": "undisclosed:;", "joe": "joe", "x@[192.0.2.1], joe@old.test": "x@[192.0.2.1], JOE@NEW.test", "broken <joe@old.test": "broken <JOE@NEW.test",
		"=?utf-8?q?joe=40old.test?= <joe@old.test>": "=?utf-8?q?joe=40old.test?= <JOE@NEW.test>",
	} {
		if got := ReplaceAddresses(in, upper); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzReplaceAddresses: nothing but what is replaced changes, and what is replaced
// by itself leaves the list.
func FuzzReplaceAddresses(f *testing.F) {
	f.Add("A <a@b>, c@d (e), g: h@i;")
	f.Fuzz(func(t *testing.T, s string) {
		seen := 0
		if got := ReplaceAddresses(s, func(Address) (string, bool) { seen++; return "", false }); got != s {
			t.Errorf("%q became %q", s, got)
		}
		mailboxes := 0
		for _, a := range ParseAddressList(s) {
			if a.Mark == Mailbox {
				mailboxes++
			}
		}
		if seen != mailboxes && mailboxes < maxAddresses/2 {
			t.Errorf("%q: %d addresses, the list has %d", s, seen, mailboxes)
		}
		ReplaceAddresses(s, func(a Address) (string, bool) { return a.String(), true })
	})
}
