package mail

import (
	"math/rand/v2"
	"regexp"
	"testing"
)

// TestSelfClosed compares it with the pattern that it stands for.
func TestSelfClosed(t *testing.T) {
	form := regexp.MustCompile(`<([A-Za-z0-9_]+)\s*/>`)
	rnd := rand.New(rand.NewPCG(3, 4))
	const of = "<<ab1_ \n\t//>>-\xc3"
	for range 50_000 {
		text := make([]byte, rnd.IntN(20))
		for i := range text {
			text[i] = of[rnd.IntN(len(of))]
		}
		if got, want := string(selfClosed(text)), string(form.ReplaceAll(text, []byte("<$1>"))); got != want {
			t.Fatalf("%q becomes %q, not %q", text, got, want)
		}
	}
}
