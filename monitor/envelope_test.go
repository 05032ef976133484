package monitor

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func two() *Envelope {
	return &Envelope{Sender: "s@x", Queue: "q1", Nexthop: "n.test", Size: 7, Recipients: []Recipient{
		{Address: "a+e@d", Local: "a+e", User: "a", Extension: "e", Domain: "d", Original: "o@d"},
		{Address: "-b@d", Local: "-b", User: "-b", Domain: "d", Original: "p@d"},
	}}
}

// As pipe(8) has it.
func TestArguments(t *testing.T) {
	for text, want := range map[string]string{
		"/p|-f|$sender|--|x$recipient": "/p -f s@x -- xa+e@d x-b@d",
		"/p|${user}:$(domain)":         "/p a:d -b:d",
		"/p|$size$queue_id-$nexthop":   "/p 7q1-n.test",
		"/p|$$user|a$|[$extension]":    "/p $user a$ [e] []",
		"/p|-$mailbox":                 "/p -a+e --b",
		"/p|o=$original_recipient":     "/p o=o@d o=p@d",
	} {
		argv := strings.Split(text, "|")
		got, err := two().Arguments(argv)
		if text == "/p|${user}:$(domain)" { // the second begins with -
			if !errors.Is(err, ErrUnfit) {
				t.Errorf("%s: %q %v", text, got, err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q %v, want %s", text, got, err, want)
		}
	}
	null := two()
	null.Sender = ""
	if got, err := null.Arguments([]string{"$sender"}); err != nil || !slices.Equal(got, []string{"MAILER-DAEMON"}) {
		t.Errorf("the null sender: %q %v", got, err)
	}
	for _, bad := range []string{"$home", "${user", "$(user}", "$", "${}", "$-"} {
		if err := CheckNames(bad); err == nil != (bad == "$") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFile(t *testing.T) {
	e := two()
	if got, err := e.File("/srv/$domain/$user/"); err != nil || got != "/srv/d/a/" {
		t.Errorf("%s %v", got, err)
	}
	for _, bad := range []string{"..", ".x", "", "a/b", "/etc/passwd"} {
		e.Recipients[0].User = bad
		if got, err := e.File("/srv/$domain/$user/"); !errors.Is(err, ErrUnfit) {
			t.Errorf("%q: %s %v", bad, got, err)
		}
	}
}

// What comes from strangers is no more than a word.
func TestEnvironment(t *testing.T) {
	e := two()
	e.Sender, e.ClientHelo = "$(touch x);`id`@x \"'|", "a b\u00e4"
	for _, v := range e.environment() {
		name, value, _ := strings.Cut(v, "=")
		if strings.ContainsAny(value, " $();`\"'|\u00e4") || slices.Contains([]string{"PATH", "HOME", "SHELL"}, name) {
			t.Errorf("%s", v)
		}
	}
	if !slices.Contains(e.environment(), "SENDER=__touch_x___id_@x____") {
		t.Errorf("%q", e.environment())
	}
}

// No shell where none is needed, as Postfix does it.
func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/bin/procmail -t -d x":   "/usr/bin/procmail|-t|-d|x",
		"cat  a":                      "/usr/bin/cat|a",
		"no-such-program x":           "/bin/sh|-c|no-such-program x",
		"A=b cat":                     "/bin/sh|-c|A=b cat",
		"/bin/cat >x":                 "/bin/sh|-c|/bin/cat >x",
		"/bin/echo \"$SENDER\" a":     "/bin/sh|-c|/bin/echo \"$SENDER\" a",
		"exec /usr/bin/procmail || x": "/bin/sh|-c|exec /usr/bin/procmail || x",
	} {
		if got := strings.Join(commandLine(line), "|"); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add("x${user}$$$(sender) $domain", "a", "..")
	f.Fuzz(func(t *testing.T, text, user, domain string) {
		e := two()
		e.Recipients[0].User, e.Recipients[0].Domain = user, domain
		err := CheckNames(text)
		if _, aerr := e.Arguments([]string{text}); err == nil != (aerr == nil || errors.Is(aerr, ErrUnfit)) {
			t.Errorf("%q: %v, %v", text, err, aerr)
		}
		if got, err := e.File("/srv/" + "$user/$domain"); err == nil && (strings.Count(got, "/") != 3 || strings.Contains(got, "/.")) {
			t.Errorf("%q", got)
		}
	})
}
