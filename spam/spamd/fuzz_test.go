package spamd

import (
	"bytes"
	"testing"
)

// FuzzServe sends whatever; the answer is nothing or begins as answers do, and a
// message is never longer than it may be.
func FuzzServe(f *testing.F) {
	for _, d := range dialogues() {
		f.Add([]byte(d.request))
	}
	s := newServer(f, Config{MaxSize: 4096, Learner: &memory{}})
	f.Fuzz(func(t *testing.T, request []byte) {
		out := new(script).run(s, request)
		if len(out) > 0 && !bytes.HasPrefix(out, []byte("SPAMD/1.")) {
			t.Fatalf("%q: %q", request, out)
		}
	})
}

func BenchmarkPing(b *testing.B)  { benchmark(b, "PING SPAMC/1.5\r\n\r\n") }
func BenchmarkCheck(b *testing.B) { benchmark(b, withLength("CHECK SPAMC/1.5", junk)) }

func benchmark(b *testing.B, request string) {
	s := newServer(b, Config{})
	var c script
	b.ReportAllocs()
	for b.Loop() {
		if len(c.run(s, []byte(request))) == 0 {
			b.Fatal("no answer")
		}
	}
}
