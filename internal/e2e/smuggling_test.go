//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// ends are what one or another server was found to take for the end of data.
var ends = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r.\n", "\r\n.\r\r\n", "\r\n\r.\r\n", "\n\n.\n\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\x00\n.\r\n", "\r\n..\r\n", "\r\n. \r\n", "\r\n .\r\n", "\x85.\x85", "\r\n.\x1a\r\n", "\r\n.\b\r\n",
}

// smuggled is a transaction behind a false end of data.
const smuggled = "MAIL FROM:<bob@example.test>\r\nRCPT TO:<carol@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"

// tricky has every false end behind one another in sessions with an SMTP server
// at addr, and returns how many messages it said to have taken.
func tricky(t *testing.T, addr string) (taken int) {
	t.Helper()
	for i, end := range ends {
		c, err := net.Dial("tcp", addr)
		check(t, err)
		defer c.Close()
		c.SetDeadline(time.Now().Add(timeLimit))
		r, err := talk(c, "EHLO client.test", "MAIL FROM:<bob@example.test>", "RCPT TO:<carol@example.test>", "DATA")
		check(t, err)
		_, err = answer(r)
		check(t, err)
		_, err = io.WriteString(c, fmt.Sprintf("Subject: trick %d\r\n\r\nx", i)+end+smuggled+"QUIT\r\n")
		check(t, err)
		replies, err := io.ReadAll(r)
		if err != nil && len(replies) == 0 {
			t.Fatalf("trick %q: %v", end, err)
		}
		taken += strings.Count(string(replies), "\r\n250 2.0.0 Ok: queued") + strings.Count("\r\n"+string(replies[:min(len(replies), 20)]), "\r\n250 2.0.0 Ok")
	}
	return taken
}

// Postfix as the sender, with its own protections off: of whatever it took, one
// message each arrives, or is refused.
func TestSmugglingFromPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	s := start(t)
	etc, addrs := mtatest.PostfixWith(t, "cleanup_replace_stray_cr_lf = no\nsmtpd_forbid_bare_newline = no\n", local(s.SMTP), "")
	taken := tricky(t, addrs[0])
	for i, end := range ends { // what users of the machine can send
		cmd := exec.Command(program(t, "sendmail"), "-i", "-f", "bob@example.test", "carol@example.test")
		cmd.Env = append(os.Environ(), "MAIL_CONFIG="+etc)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("Subject: by hand %d\n\nx", i) + end + smuggled)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sendmail of %q: %v\n%s", end, err, out)
		}
		taken++
	}
	eventually(t, "an empty queue of Postfix", time.Minute, func() bool {
		return strings.Contains(must(t, program(t, "postqueue"), "-c", etc, "-p"), "Mail queue is empty")
	})
	refused := refusedBy(t, etc)
	arrived := len(s.login("carol").await("INBOX", taken-refused))
	if arrived == 0 || refused == 0 {
		t.Errorf("Postfix took %d messages; %d arrived and %d were refused", taken, arrived, refused)
	}
	t.Logf("Postfix took %d messages of %d sessions and %d by sendmail; %d arrived, the others were refused", taken, len(ends), len(ends), arrived)
}

func maillog(t *testing.T, etc string) string {
	return read(t, filepath.Join(filepath.Dir(etc), "maillog"))
}

// refusedBy counts the messages that Postfix could not hand over for what is in
// them.
func refusedBy(t *testing.T, etc string) (n int) {
	for line := range strings.Lines(maillog(t, etc)) {
		if strings.Contains(line, "to=<carol@example.test>") && strings.Contains(line, "said: 550 5.5.2 ") {
			n++
		}
	}
	return n
}

// A stranger's tricks against mtad itself: one message a session at the most.
func TestSmugglingToMtad(t *testing.T) {
	t.Parallel()
	s := start(t)
	taken := tricky(t, local(s.SMTP))
	msgs := s.login("carol").await("INBOX", taken)
	for _, msg := range msgs {
		if field(msg, "Subject") == "smuggled" {
			t.Errorf("smuggled in:\n%s", msg)
		}
	}
	t.Logf("%d sessions, %d messages", len(ends), len(msgs))
}

// Postfix as the receiver: bodies that a filter filled with whatever octets come
// through it as one message each, with nothing but bare CRs and LFs made good.
func TestSmugglingToPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	hop := mtatest.StartHop(t, local(freePort(t)), nil)
	_, addrs := mtatest.PostfixWith(t, "cleanup_replace_stray_cr_lf = no\nsmtpd_forbid_bare_newline = no\n", hop.Addr, "")
	s := start(t, func(s *server, text string) string {
		check(t, mtatest.Build(root, filepath.Join(s.dir, "rawbody"), "./internal/e2e/testdata/rawbody"))
		text = replace(`filter "thresholds" {`, "filter \"external\" \"rawbody\" { path = \"rawbody\" }\n  filter \"thresholds\" {")(s, text)
		return replace(local(s.Sink), addrs[0])(s, text)
	})
	want := map[string]string{}
	for i, end := range ends {
		body := "x" + end + strings.ReplaceAll(smuggled, "\r\n", end[:1]) + smuggled
		subject := fmt.Sprintf("trick %d", i)
		text := letter("alice@example.test", "x@far.test", subject, "y")
		text = "X-Body: " + base64.StdEncoding.EncodeToString([]byte(body)) + "\r\n" + text
		check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@far.test"}, text))
		body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", " ")
		want[subject] = crlf(body)
	}
	s.awaitEmptyQueue()
	for _, d := range hop.Await(t, len(ends)) {
		subject := field(d.Data, "Subject")
		if w, ok := want[subject]; !ok || body(d.Data) != w {
			t.Errorf("%q arrived as\n%q, want\n%q", subject, body(d.Data), w)
		}
		delete(want, subject)
	}
	if len(want) > 0 || len(hop.Deliveries()) != len(ends) {
		t.Errorf("%d messages arrived, and not %v", len(hop.Deliveries()), want)
	}
}
