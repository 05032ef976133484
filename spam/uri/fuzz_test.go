package uri_test

import (
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/spamtest"
	"mtad/spam/uri"
)

// FuzzLinks: whatever is found in a text is there only once, has a bound, and takes no
// longer than the text is long.
func FuzzLinks(f *testing.F) {
	for _, m := range spamtest.Corpus(8, 40) {
		_, body, _ := strings.Cut(string(m.Text), "\n\n")
		f.Add(body)
	}
	for _, s := range []string{"http://", "www.", "a.com/", "a@b.com", "%41", "http://a.com?u=", "hxxp://a[.]com ", "mailto:", "&#x41;", "//", ".", "http://[::1]/", "http://1.2.3.4:"} {
		f.Add(strings.Repeat(s, 8000/len(s)))
	}
	d := conf.Parse("test", "util_rb_tld com org uk\nutil_rb_2tld co.uk\n", conf.Options{}).Domains()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 16<<10 {
			return
		}
		spent := mtatest.CPU(t)
		l := uri.NewList(d, nil)
		l.AddText([]byte(text))
		l.AddLink(text, map[string]bool{"a": true}, []string{text})
		seen := map[string]bool{}
		for _, u := range l.All() {
			if seen[u] {
				t.Errorf("%q twice", u)
			}
			seen[u] = true
			uri.Domain(u, d)
		}
		if took := spent(); took > 3*time.Second {
			t.Errorf("%v", took)
		}
	})
}
