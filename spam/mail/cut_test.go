package mail

import (
	"fmt"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// nested is a text in multiparts, each in another.
func nested(levels int) string {
	out := "From: a@example.com\nSubject: x\n"
	for i := range levels {
		out += fmt.Sprintf("Content-Type: multipart/mixed; boundary=\"b%d\"\n\n--b%d\n", i, i)
	}
	out += "\nthe innermost text\n"
	for i := range levels {
		out += fmt.Sprintf("--b%d--\n", levels-1-i)
	}
	return out
}

func forwarded(levels int) string {
	return strings.Repeat("From: a@example.com\nContent-Type: message/rfc822\n\n", levels) + "From: x\n\nthe innermost text\n"
}

func parted(parts int, end string) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", parts) + end
}

// TestCuts: whatever is cut is told of, by its bound, and nothing that is read whole.
func TestCuts(t *testing.T) {
	const html = "Content-Type: text/html\n\n"
	var links, kinds strings.Builder
	for i := range maxLinks + 1 {
		fmt.Fprintf(&links, "<img src=\"http://a.example/%d\">", i)
		fmt.Fprintf(&kinds, "<x%d>", i)
	}
	many := "Content-Type: multipart/mixed; boundary=b\n\n"
	for range maxAll / maxParts {
		many += "--b\nContent-Type: multipart/mixed; boundary=c\n\n" + strings.Repeat("--c\n\nx\n", maxParts) + "--c--\n"
	}
	for _, c := range []struct{ text, want string }{
		{nested(maxNesting), ""}, {nested(maxNesting + 1), "nesting: 20 levels"},
		{forwarded(maxNesting), ""}, {forwarded(maxNesting + 1), "nesting: 20 levels"},
		{parted(1000, "--b--\n"), ""}, {parted(1001, "--b--\n"), "parts: 1000 of a multipart"},
		{many, "parts: 10000 of the message"},
		{"X: " + strings.Repeat("x", maxValue-2) + "\n\n", ""}, {"X: " + strings.Repeat("x", maxValue) + "\n\n", "field: 8192 octets"},
		{strings.Repeat("x", maxKey+1) + ": y\n\n", "field name: 256 octets"},
		{"Content-Type: message/rfc822\n\nX: " + strings.Repeat("x", maxValue) + "\n\n", "field: 8192 octets"},
		{"A: b\n\n" + strings.Repeat("a b\n", 12500), ""}, {"A: b\n\n" + strings.Repeat("a b\n", 20000), "text: 50000 characters of a part"},
		{"A: b\n\n" + strings.Repeat("a b\n", 126000), "raw text: 500000 octets of a part; text: 50000 characters of a part"},
		{html + "<a href=\"http://" + strings.Repeat("x", maxURI) + "\">", "link: 8192 characters"},
		{html + links.String(), "links: 10000 of a document"},
		{html + kinds.String(), "tags: 10000 kinds of a document"},
		{html + strings.Repeat("<font>", maxStyles+1), "tags: 10000 open ones of a document"},
	} {
		m := Parse([]byte(c.text), Limits{50000, 500000})
		m.RawText()
		m.Text(All)
		if got := strings.Join(m.Cuts(), "; "); got != c.want {
			t.Errorf("%.80q: cut %q, want %q", c.text, got, c.want)
		}
	}
}

// TestDepthAsPerl: as many levels and parts are read as SpamAssassin reads.
func TestDepthAsPerl(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for name, text := range map[string]string{
		"10": nested(10), "11": nested(11), "20": nested(20), "21": nested(21), "forwarded 20": forwarded(20), "forwarded 21": forwarded(21),
		"1000 parts": parted(1000, "--b--\n"), "1001 parts": parted(1001, "--b--\n"), "999 parts without end": parted(999, ""), "1000 parts without end": parted(1000, ""),
	} {
		t.Run(name, func(t *testing.T) {
			var want seen
			o.About(t, "check", []byte(text), &want)
			compare(t, []byte(text), &want)
		})
	}
}
