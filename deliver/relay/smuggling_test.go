package relay

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// receivers are the ways in which hosts of this world find the end of data: a
// line of one dot, for what each takes to be lines. The first is RFC 5321,
// 4.1.1.4; the others were found in the wild.
var receivers = []struct {
	name string
	end  *regexp.Regexp
}{
	{"CR LF . CR LF", regexp.MustCompile(`\A\.\r\n|\r\n\.\r\n`)},
	{"LF for CR LF", regexp.MustCompile(`(?:\A|\n)\.\r?\n`)},
	{"LF . CR LF alone", regexp.MustCompile(`(?:\A|\n)\.\r\n`)},
	{"CR LF . LF alone", regexp.MustCompile(`(?:\A|\r\n)\.\n`)},
	{"CR for CR LF", regexp.MustCompile(`(?:\A|\r\n?)\.\r\n?`)},
	{"any of CR, LF, CR LF", regexp.MustCompile(`(?:\A|[\r\n])\.[\r\n]`)},
	{"any number of CRs before LF", regexp.MustCompile(`(?:\A|\n)\.\r*\n`)},
}

// received is the message a strict host has of what was sent (RFC 5321, 4.5.2).
func received(wire string) string {
	text := strings.ReplaceAll("\r\n"+wire, "\r\n.", "\r\n")
	return strings.TrimSuffix(text[2:], "\r\n") // of the dot's line
}

var bareLF = regexp.MustCompile(`(\A|[^\r])\n`)

// paired is a message with its CRs and LFs in pairs.
func paired(s string) string {
	for bareLF.MatchString(s) { // matches may touch each other
		s = bareLF.ReplaceAllString(s, "$1\r\n")
	}
	parts := strings.Split(s, "\r\n")
	return strings.ReplaceAll(strings.Join(parts, "\n"), "\r", " ")
}

// sent checks what dotWriter makes of a message that is written in pieces: no
// host sees an end but the end, and a strict one has what it was.
func sent(in string, piece int) error {
	var buf bytes.Buffer
	d := &dotWriter{w: &buf, begin: true}
	for b := range slices.Chunk([]byte(in), piece) {
		if _, err := d.Write(b); err != nil {
			return err
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	wire := buf.String()
	for _, r := range receivers {
		if at := r.end.FindStringIndex(wire); at != nil && at[1] != len(wire) && wire[at[1]:] != "\n" {
			return fmt.Errorf("%q in pieces of %d is sent as %q: a host that takes %s has an end at %d", in, piece, wire, r.name, at[1])
		}
	}
	if at := receivers[0].end.FindStringIndex(wire); at == nil {
		return fmt.Errorf("%q in pieces of %d is sent as %q, without an end", in, piece, wire)
	}
	out, want := received(wire), strings.ReplaceAll(paired(in), "\n", "\r\n")
	if out != want && out != want+"\r\n" {
		return fmt.Errorf("%q in pieces of %d is %q there, want %q", in, piece, out, want)
	}
	return nil
}

// No octets of a message can make a second one at the next host: all short
// strings of the octets that matter, and long ones of the words that matter.
func TestNoSecondMessage(t *testing.T) {
	const evil = "MAIL FROM:<evil@x.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"
	var try func(s string)
	try = func(s string) {
		for _, in := range []string{s, "x" + s + evil} {
			for piece := 1; piece <= len(s)+1; piece++ {
				if err := sent(in, piece); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(s) < 4 {
			for _, c := range "\r\n.a" {
				try(s + string(c))
			}
		}
	}
	try("")
	words := []string{".", "..", "a", "\r\n", ".\r\n", "\r\n.\r\n", "\r", "\n", "\n.\n", "\r.\r", "\x00", "\n.\r\n", evil}
	f := func(picks []uint8, cut uint8) bool {
		var in strings.Builder
		for _, w := range picks {
			in.WriteString(words[int(w)%len(words)])
		}
		err := sent(in.String(), int(cut)%70+1)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	}
	if err := quick.Check(f, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

func FuzzNoSecondMessage(f *testing.F) {
	f.Add("a\r\n.\r\n..b", 3)
	f.Add("a\n.\r\n\r.\rb", 2)
	f.Add(".", 1)
	f.Fuzz(func(t *testing.T, in string, piece int) {
		if err := sent(in, max(piece, 1)); err != nil {
			t.Error(err)
		}
	})
}
