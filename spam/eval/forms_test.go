package eval

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"
)

// TestFormsByHand compares what is counted and found by hand with the patterns that
// SpamAssassin has.
func TestFormsByHand(t *testing.T) {
	qpForm := regexp.MustCompile(`=(?:09|3[0-9ABCEF]|[2456][0-9A-F]|7[0-9A-E])`)
	qpTail := regexp.MustCompile(`((?:=09|=20)+)\s*$`)
	words := regexp.MustCompile(`\S\s+\S`)
	rnd := rand.New(rand.NewPCG(1, 2))
	const bytesOf = "==0923478ADEFa@@.. \t\n-\xc3(<"
	for range 20_000 {
		line := make([]byte, rnd.IntN(24))
		for i := range line {
			line[i] = bytesOf[rnd.IntN(len(bytesOf))]
		}
		want := len(qpForm.FindAll(line, -1))
		if got := escapes(line); got != want {
			t.Fatalf("%q has %d escapes, not %d", line, want, got)
		}
		if m := qpTail.FindSubmatch(line); m != nil && want > 0 {
			want -= len(m[1]) / 3
		}
		c := mimeCounter{mimeFacts: &mimeFacts{}}
		if c.quoted(line); c.qpCount != want {
			t.Fatalf("%q counts %d, not %d", line, want, c.qpCount)
		}
		if got := twoWords(line); got != words.Match(line) {
			t.Fatalf("%q: two words %v", line, got)
		}
		if got, want := emailsIn(string(line), 3), emailForm.FindAllStringIndex(string(line), 3); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q has addresses %v, not %v", line, want, got)
		}
		for _, what := range []string{"=A", "ad", "F."} {
			if !mayContain(string(line), what) && bytes.Contains(bytes.ToLower(line), bytes.ToLower([]byte(what))) {
				t.Fatalf("%q contains %q", line, what)
			}
		}
	}
}
