//go:build e2e

package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oddHeaders are the pieces that varied messages are made of.
var oddHeaders = []string{
	"X-Empty:", "X-Tab:\tvalue", "X-Fold: one\n two\n\tthree", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Subject:   spaces   ",
	"subject: lower", "X-8bit: \xe4\xf6\xfc", "X-UTF8: Grüße", "Received: from a\n\tby b; Mon, 1 Jan 2024 00:00:00 +0000",
	"To: a@b.test,\n c@d.test (comment),\n\t\"quoted, comma\" <e@f.test>", "X-Long: " + strings.Repeat("x", 900),
	"X-Same: 1\nX-Same: 2", "Content-Disposition: inline", "X-Quote: \"un\\\"closed",
}

// varied makes message n: no two are alike, and each has something odd.
func varied(n int) string {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	var b strings.Builder
	fmt.Fprintf(&b, "Message-ID: <%d@varied.test>\nFrom: a@b.test\nDate: Mon, 1 Jan 2024 00:00:%02d +0000\n", n, n%60)
	for range r.IntN(4) {
		b.WriteString(oddHeaders[r.IntN(len(oddHeaders))] + "\n")
	}
	switch n % 10 {
	case 0:
		b.WriteString("\n") // no body
	case 1:
		b.WriteString("\n" + strings.Repeat("a very long line ", 50+r.IntN(2000)) + "\n")
	case 2:
		b.WriteString("Content-Transfer-Encoding: 8bit\n\n\xe4\xf6\xfc Grüße \x80\xff\x01\x7f\n")
	case 3:
		b.WriteString("\n.\n..\nFrom the start\n>From\n\n\n\n")
	case 4, 5:
		b.WriteString(nested(r, 1+r.IntN(6)))
	case 6:
		b.WriteString(attachment(r, r.IntN(50_000)))
	case 7:
		b.WriteString("\nno line end at the end of message")
	case 8:
		b.WriteString("Content-Type: message/rfc822\n\nSubject: inner\nX-A: b\n\ninner body\n")
	default:
		b.WriteString("\n" + strings.Repeat("line\n", r.IntN(300)))
	}
	if n%100 == 99 {
		return b.String() + "\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", 2<<20/65)
	}
	return b.String()
}

// nested makes multiparts in multiparts, some without their end.
func nested(r *rand.Rand, depth int) string {
	if depth == 0 {
		return "Content-Type: text/plain; charset=utf-8\n\ninnermost Grüße\n"
	}
	mark := fmt.Sprintf("=_%d_%x", depth, r.Uint32())
	s := "Content-Type: multipart/mixed;\n boundary=\"" + mark + "\"\n\npreamble\n"
	for range 1 + r.IntN(2) {
		s += "--" + mark + "\n" + nested(r, depth-1)
	}
	if r.IntN(4) > 0 {
		s += "--" + mark + "--\nepilogue\n"
	}
	return s
}

func attachment(r *rand.Rand, size int) string {
	raw := make([]byte, size)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	text := base64.StdEncoding.EncodeToString(raw)
	s := "Content-Type: application/octet-stream;\n name*=utf-8''gr%C3%BC%C3%9Fe.bin\nContent-Transfer-Encoding: base64\n\n"
	for chunk := range slices.Chunk([]byte(text), 76) {
		s += string(chunk) + "\n"
	}
	return s
}

const mbsyncrc = `IMAPAccount mtad
Host localhost
Port PORT
User alice@example.test
Pass alice
SSLType STARTTLS
CertificateFile DIR/ca.pem

IMAPStore far
Account mtad

MaildirStore near
Path DIR/near/
Inbox DIR/near/INBOX
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns Down Up
Create Both
Expunge Both
Sync All
SyncState *
CopyArrivalDate yes
`

// maildir reads a Maildir by Message-ID, without what mbsync adds.
func maildir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, sub := range []string{"new", "cur"} {
		files, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		check(t, err)
		for _, f := range files {
			add(t, out, crlf(read(t, f)))
		}
	}
	return out
}

// add files a message under its Message-ID, which may be there once.
func add(t *testing.T, out map[string]string, msg string) {
	t.Helper()
	msg = without(msg, "X-TUID")
	id := field(msg, "Message-ID")
	if _, ok := out[id]; ok || id == "" {
		t.Errorf("%q is there twice, or has no ID", id)
	}
	out[id] = msg
}

// mbsync brings 500 messages down and 500 others up; not an octet changes. A
// second run finds nothing to do, and changes of flags and removals go both
// ways.
func TestMbsync(t *testing.T) {
	t.Parallel()
	mbsync := program(t, "mbsync")
	s := start(t)
	const n = 500
	alice := s.login("alice")
	alice.wait(alice.Create("Down", nil))
	down, up := map[string]string{}, map[string]string{}
	for _, sub := range []string{"cur", "new", "tmp"} {
		check(t, os.MkdirAll(filepath.Join(s.dir, "near/Up", sub), 0o700))
	}
	for i := range n {
		msg := varied(i)
		add(t, down, crlf(msg))
		cmd := alice.Append("Down", int64(len(crlf(msg))), nil)
		_, err := io.WriteString(cmd, crlf(msg))
		check(t, errors.Join(err, cmd.Close()))
		_, err = cmd.Wait()
		check(t, err)
		msg = varied(n + i)
		add(t, up, crlf(msg))
		write(t, filepath.Join(s.dir, "near/Up/new", fmt.Sprintf("17000%05d.%d_1.e2e", i, i)), msg)
	}
	rc := filepath.Join(s.dir, "mbsyncrc")
	write(t, rc, strings.NewReplacer("PORT", fmt.Sprint(s.IMAP), "DIR", s.dir).Replace(mbsyncrc))
	argv := []string{mbsync, "-c", rc, "both"}
	must(t, argv...)
	compare(t, "down", maildir(t, filepath.Join(s.dir, "near/Down")), down)
	compare(t, "up", folder(t, alice, "Up"), up)

	must(t, argv...)
	if a, b := alice.count("Down"), alice.count("Up"); a != n || b != n {
		t.Errorf("after a second run: %d and %d messages", a, b)
	}
	removeSome(t, filepath.Join(s.dir, "near/Down/new"), filepath.Join(s.dir, "near/Down/cur"))
	must(t, argv...)
	if got := alice.count("Down"); got != n-10 {
		t.Errorf("10 of %d were removed, %d are there", n, got)
	}
}

// folder reads a folder by Message-ID.
func folder(t *testing.T, m *mailbox, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, msg := range m.fetch(name) {
		add(t, out, msg)
	}
	return out
}

// removeSome marks ten messages of a Maildir as trashed.
func removeSome(t *testing.T, fresh, cur string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(fresh, "*"))
	check(t, err)
	more, err := filepath.Glob(filepath.Join(cur, "*"))
	check(t, err)
	for _, f := range append(files, more...)[:10] {
		base, _, _ := strings.Cut(filepath.Base(f), ":")
		check(t, os.Rename(f, filepath.Join(cur, base+":2,ST")))
	}
}

func compare(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, want %d", what, len(got), len(want))
	}
	bad := 0
	for id, w := range want {
		if g := got[id]; g != w && bad < 3 {
			bad++
			i := 0
			for i < min(len(g), len(w)) && g[i] == w[i] {
				i++
			}
			t.Errorf("%s %s: differs at octet %d of %d (got %d): %.80q, want %.80q", what, id, i, len(w), len(g), g[min(i, len(g)):], w[min(i, len(w)):])
		}
	}
}
