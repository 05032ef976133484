package uri

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// What is looked for by hand is what these expressions say.
var (
	webForm     = regexp.MustCompile(`(?i)^(https?://)([^@/?#]*@)?([^/?#:]+)((?::(\d*))?.*)$`)
	mailForm    = regexp.MustCompile(`(?i)^mailto:|^[^:]*@`)
	schemeForm  = regexp.MustCompile(`(?i)^[-_a-z0-9]+:`)
	schemedForm = regexp.MustCompile(`(?i)^(?:https?|ftp|mailto):`)
	labelForm   = regexp.MustCompile(`^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$`)
	protocol    = regexp.MustCompile(`^[a-z]+:/{0,2}`)
	behindHost  = regexp.MustCompile(`(?s)[/?#].*`)
	login       = regexp.MustCompile(`^[^/]*@`)
	portForm    = regexp.MustCompile(`:\d*$`)
)

func TestByHandAsExpressions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"http://", "https://", "HTTP://", "http:", "ftp:", "mailto:", "MailTo:", "a", "b.c", "Z", "-", "_", "9", "80", ":", "/", "//", "?", "#", "@", ".", " ", "\n", "é", "\xff", "%41"}
	for range mtatest.Fewer(200_000) {
		var b strings.Builder
		for range r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		s := b.String()
		w, ok := splitWeb(s)
		m := webForm.FindStringSubmatch(s)
		if ok != (m != nil) || ok && w != (parts{m[1], m[2], m[3], m[4], m[5]}) {
			t.Fatalf("%q: %q %v, and not %q", s, w, ok, m)
		}
		for name, got := range map[string][2]bool{
			"mailLike": {mailLike(s), mailForm.MatchString(s)}, "hasScheme": {hasScheme(s), schemeForm.MatchString(s)},
			"schemed": {schemed(s), schemedForm.MatchString(s)}, "label": {label(s), labelForm.MatchString(s)},
		} {
			if got[0] != got[1] {
				t.Fatalf("%s %q: %v", name, s, got[0])
			}
		}
		small := strings.ToLower(s)
		want := protocol.ReplaceAllString(small, "")
		want = portForm.ReplaceAllString(login.ReplaceAllString(behindHost.ReplaceAllString(want, ""), ""), "")
		if got := hostOf(small); got != want {
			t.Fatalf("hostOf %q: %q, and not %q", small, got, want)
		}
	}
}
