package mail

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// Lines that parts are made of, well and badly.
var partLines = []string{"--b", "--b", "--b--", "--c", "--c--", "--b ", "-- b", "--bb", "--", "--b-", " --b", "", "", "", "\t", " ", "text", "more text here", "\u00a0", "caf\u00e9", "caf\xe9", "http://example.com/x",
	"Content-Type: text/plain", "Content-Type: text/html", "content-type:text/plain;charset=utf-8", "Content-Type: TEXT/HTML; charset=\"iso-8859-1\"", "Content-Type: multipart/mixed; boundary=b", "Content-Type: multipart/alternative; boundary=\"c\"", "Content-Type: multipart/mixed;\n boundary=c", "Content-Type: multipart/mixed",
	"Content-Type: multipart/digest; boundary=\"b\"; x=y", "Content-Type: multipart/related; boundary=", "Content-Type: message/rfc822", "Content-Type: message/partial; id=1", "Content-Type: application/octet-stream; name=\"a.txt\"", "Content-Type: image/png; name=a.png", "Content-Type: text", "Content-Type: /", "Content-Type: <>", "Content-Type: \u4f60\u597d", "Content-Type:", "Content-Type: text/x; name*0=a; name*1=\"b\"",
	"Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: QUOTED-PRINTABLE ", "Content-Transfer-Encoding: x-unknown", "Content-Disposition: attachment; filename=\"b.html\"", "Content-Disposition: inline; filename=c.htm",
	"PGI+Ym9sZDwvYj4gdGV4dAo=", "=3Cb=3E", "a=", "begin 644 f.txt", "#0V%T", "`", "end", "<p>para</p>", "<!-- c -->", "Subject: inner", "From: a@example.com", "Bad header line", "X-A: b\n c", ": x", "X-B : c", "MIME-Version: 1.0", ">From me", "From me", strings.Repeat("x", 300)}

// TestPartsAsPerl compares with SpamAssassin how lines in any order are taken apart.
func TestPartsAsPerl(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	seed, n := spamtest.Cases(300, 10000)
	r := rand.New(rand.NewPCG(seed, 8))
	for range n {
		var b strings.Builder
		if r.IntN(4) > 0 {
			b.WriteString("Subject: outer\nContent-Type: multipart/mixed; boundary=b\n\n")
		}
		end := "\n"
		if r.IntN(6) == 0 {
			end = "\r\n"
		}
		for range 1 + r.IntN(25) {
			b.WriteString(partLines[r.IntN(len(partLines))] + end)
		}
		text := b.String()
		if r.IntN(5) == 0 {
			text = strings.TrimSuffix(text, end)
		}
		t.Run("", func(t *testing.T) {
			var want seen
			o.About(t, "check", []byte(text), &want)
			compare(t, []byte(text), &want)
			if t.Failed() {
				t.Logf("of %q", text)
			}
		})
	}
}
