package inspect_test

import (
	"context"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

func engine(t *testing.T, files ...string) func([]byte) map[string]bool {
	rs, err := conf.Load(files, conf.Options{Local: true})
	mtatest.Check(t, err)
	for _, p := range rs.Problems {
		t.Error(p)
	}
	e := spam.New(rs, spam.Options{})
	for name, why := range e.Cannot() {
		t.Errorf("%s: %s", name, why)
	}
	return func(message []byte) map[string]bool {
		hits := map[string]bool{}
		for _, h := range e.Check(context.Background(), message, scan.Facts{}).Hits {
			hits[h.Rule] = true
		}
		return hits
	}
}

func plain(body string) string {
	return "Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body + "\n"
}

// TestTextOfLanguages: the text whose language is looked for is without marks of a subject,
// links and addresses, and counted in octets.
func TestTextOfLanguages(t *testing.T) {
	// The subject is the first line of the text, and each paragraph has an end.
	length := func(n string) string { return "header %s X-Languages-Length =~ /^" + n + "$/" }
	japanese := strings.Repeat("\u3042", 30)
	spamtest.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::TextCat\nok_languages de\n", []spamtest.Case{
		spamtest.Hit(length("7"), plain("abc")),
		spamtest.Hit(length("7"), "Subject: Re: AW: x\n\nabc\n"),
		spamtest.Hit(length("10"), plain("a http://b.c/d ef")),
		spamtest.Hit(length("10"), plain("a https%3A%2F%2Fb.c ef")),
		spamtest.Hit(length("9"), plain("a me@b.c d")),
		spamtest.Hit(length("10"), plain("a www.b.c ef")),
		spamtest.Hit(length("13"), plain("a @b.c ef")),
		spamtest.Hit(length("33"), plain(japanese+"@example.com a")), // 64 octets before "@", and no more
		spamtest.Hit(length("22"), plain("me@"+"a"+japanese+"\u3042"+strings.Repeat("b", 50)+" c")),
	}, engine)
}
