//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// activate gives a user a Sieve script.
func (s *server) activate(user, text string) {
	path := filepath.Join(s.dir, user+".sieve")
	write(s.t, path, text)
	mustSay(s.t, s.do("sieve", "put", user, "main", path, "--activate"), "activated")
}

// Two users with scripts get one message: each has its own fate, and IMAP shows
// it.
func TestUsersSieve(t *testing.T) {
	t.Parallel()
	program(t, "swaks")
	s := start(t)
	alice, bob := s.login("alice"), s.login("bob")
	s.activate("alice", `require ["fileinto", "editheader", "imap4flags", "variables", "body", "duplicate", "copy"];
if duplicate { discard; stop; }
if header :matches "subject" "[*] *" {
  set :lower "list" "${1}";
  fileinto :copy "as it came";
  addheader "X-List" "${list}";
  fileinto :flags "\\Flagged" "lists/${list}";
} elsif body :contains "lottery" {
  discard;
}
`)
	s.activate("bob", `require ["reject", "vacation", "fcc"];
if header :contains "subject" "[Dev]" { reject "Not here"; stop; }
vacation :addresses "bob@example.test" :subject "Away" :fcc "Sent" "I am away";
`)
	send := func(id, subject, body string, to ...string) string {
		t.Helper()
		return sent(t, s.SMTP, "--from", "ann@good.test", "--to", strings.Join(to, ","), "--header", "Subject: "+subject, "--header", "Message-Id: <"+id+"@good.test>", "--body", body)
	}
	send("1", "[Dev] One", "hello", "alice@example.test", "bob@example.test")
	got := alice.await("lists/dev", 1)[0]
	mustSay(t, got, "X-List: dev", "Subject: [Dev] One")
	came := alice.await("as it came", 1)[0]
	if strings.Contains(came, "X-List") {
		t.Errorf("the copy was edited too:\n%s", came)
	}
	if n := bob.count("INBOX"); n != 0 {
		t.Errorf("bob has %d messages", n)
	}
	s.lastSays("made here: report of") // the sender is proven, and told that bob refused

	// Refused by everybody it was for: the client is told.
	if out, code := swaks(t, s.SMTP, "--from", "ann@good.test", "--to", "bob@example.test", "--header", "Subject: [Dev] Two"); code == 0 || !strings.Contains(out, "550 5.7.1 Not here") {
		t.Errorf("exit %d\n%s", code, out)
	}

	send("3", "Lunch", "play the lottery", "alice@example.test")
	send("4", "[Dev] Again", "x", "alice@example.test")
	send("4", "[Dev] Again", "x", "alice@example.test") // the same Message-ID
	alice.await("lists/dev", 2)
	for range 2 {
		send("5", "Question", "x", "bob@example.test")
	}
	bob.await("INBOX", 2)
	mustSay(t, bob.await("Sent", 1)[0], "Subject: Away", "Auto-Submitted: auto-replied", "To: <ann@good.test>")
	if n := alice.count("lists/dev"); n != 2 {
		t.Errorf("%d messages in lists/dev", n)
	}
	if n := alice.count("INBOX"); n != 0 {
		t.Errorf("alice has %d messages in INBOX", n)
	}
	if n := bob.count("Sent"); n != 1 {
		t.Errorf("bob answered %d times", n)
	}

	// A script that fails keeps the mail, and its owner is told once.
	s.activate("alice", "require [\"ihave\", \"fileinto\"];\nfileinto \"x\";\nerror \"broken\";\n")
	for _, id := range []string{"6", "7"} {
		send(id, "Kept", "x", "alice@example.test")
	}
	all := strings.Join(alice.await("INBOX", 3), "\n")
	mustSay(t, all, "Your Sieve script has failed", "sieve: line 3: broken")
	if n := strings.Count(all, "Subject: Kept"); n != 2 {
		t.Errorf("%d of 2 messages kept:\n%s", n, all)
	}
}
