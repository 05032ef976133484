//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl")
	s := start(t)
	ca := filepath.Join(s.dir, "ca.pem")
	mail := filepath.Join(s.dir, "letter.eml")
	write(t, mail, letter("bob@example.test", "alice@example.test", "by curl", "Hello."))
	get := func(port int, args ...string) string {
		t.Helper()
		scheme := "imap"
		if port == s.IMAPS {
			scheme = "imaps"
		}
		url := fmt.Sprintf("%s://localhost:%d/%s", scheme, port, args[0])
		return must(t, append([]string{curl, "-sS", "-m", "20", "--cacert", ca, "-u", "alice:alice", url}, args[1:]...)...)
	}
	for _, c := range []struct {
		url  string
		args []string
	}{
		{fmt.Sprintf("smtp://localhost:%d/client.test", s.SMTP), nil},
		{fmt.Sprintf("smtp://localhost:%d", s.Submission), []string{"--ssl-reqd", "-u", "bob@example.test:bob"}},
		{fmt.Sprintf("smtps://localhost:%d", s.Submissions), []string{"-u", "bob@example.test:bob"}},
	} {
		must(t, append([]string{
			curl, "-sS", "-m", "20", "--cacert", ca, "--mail-from", "bob@example.test",
			"--mail-rcpt", "alice@example.test", "-T", mail, c.url,
		}, c.args...)...)
	}
	s.mail("alice", 3)
	for _, port := range []int{s.IMAP, s.IMAPS} {
		msg := get(port, "INBOX;MAILINDEX=1")
		if field(msg, "Subject") != "by curl" || !strings.HasSuffix(msg, "\r\n\r\nHello.\r\n") {
			t.Errorf("port %d: got\n%s", port, msg)
		}
	}
	get(s.IMAP, "", "--ssl-reqd") // by STARTTLS
	mustSay(t, get(s.IMAPS, "INBOX;UID=1;SECTION=TEXT"), "Hello.")
	mustSay(t, get(s.IMAPS, "INBOX?SUBJECT%20curl"), "* SEARCH 1 2 3")
	mustSay(t, get(s.IMAPS, ""), `\Junk) "/" Junk`, `\Trash`)
	get(s.IMAPS, "Archive", "-T", mail)
	mustSay(t, get(s.IMAPS, "", "-X", "STATUS Archive (MESSAGES)"), "MESSAGES 1")
	get(s.IMAPS, "INBOX", "-X", `STORE 1 +FLAGS (\Deleted)`)
	if n := s.login("alice").count("INBOX"); n != 3 {
		t.Errorf("INBOX has %d messages before EXPUNGE, want 3", n)
	}
	out, code := run(t, "", "", curl, "-sS", "-m", "20", "-u", "alice:wrong", fmt.Sprintf("imap://localhost:%d/INBOX", s.IMAP))
	if code != 67 {
		t.Errorf("a wrong password: curl exits %d\n%s", code, out)
	}
}
