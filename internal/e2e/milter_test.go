//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"mtad/internal/mtatest"
)

// withMilter puts a milter, and nothing else, into a pipeline.
func withMilter(pipeline, socket string) func(*server, string) string {
	re := regexp.MustCompile(`(?ms)^pipeline "` + pipeline + `" \{.*?^\}`)
	return func(s *server, text string) string {
		return re.ReplaceAllLiteralString(text, `pipeline "`+pipeline+`" {
  filter "milter" {
    connect         = "unix:`+socket+`"
    timeout         = "1m"
    command_timeout = "1m"
  }
}`)
	}
}

const canonicalization = "Canonicalization relaxed/simple"

// The signature that OpenDKIM makes in "outbound" verifies at the next hop.
func TestOpenDKIMSigns(t *testing.T) {
	t.Parallel()
	socket, txt := mtatest.OpenDKIM(t, "example.test", "s", canonicalization)
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := start(t, withMilter("outbound", socket), toHop(port))
	for i, text := range []string{"Hello.\n\n  spaces  \n", "\xe4\xf6 eight bits", ".\n.dot\n", strings.Repeat("long ", 1000)} {
		mail := filepath.Join(s.dir, "out.eml")
		write(t, mail, letter("alice@example.test", "x@far.test", fmt.Sprint("signed ", i), text))
		s.do("smtp", "send", "--server", local(s.Submission), "--tls", "--auth", "alice@example.test:alice",
			"--from", "alice@example.test", "--to", "x@far.test", "--file", mail)
		got := hop.Await(t, i+1)[i].Data
		results, err := dkim.VerifyWithOptions(strings.NewReader(got), &dkim.VerifyOptions{LookupTXT: txt})
		if err != nil || len(results) != 1 || results[0].Err != nil {
			t.Fatalf("%v, %+v\n%s\n%s", err, results, got, s.do("trace", "last"))
		}
	}
}

// SpamAssassin's fields are in the mailbox, and GTUBE is refused.
func TestSpamassMilter(t *testing.T) {
	t.Parallel()
	daemon := mtatest.Spamd(t)
	t.Run("marks and refuses", func(t *testing.T) {
		s := start(t, withMilter("inbound", mtatest.SpamassMilter(t, daemon, "-r", "15")))
		ham := letter("ann@good.test", "alice@example.test", "ham", "How are you?")
		check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, ham))
		msg := s.one("alice")
		if !strings.HasPrefix(field(msg, "X-Spam-Status"), "No, score=") || field(msg, "X-Spam-Checker-Version") == "" {
			t.Errorf("got\n%s", msg)
		}
		err := submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "spam", mtatest.GTUBE))
		if err == nil || !strings.Contains(err.Error(), "Blocked by SpamAssassin") {
			t.Fatalf("GTUBE: %v", err)
		}
		s.says(idIn(t, err.Error()), "milter", "reject", "550 5.7.1 Blocked by SpamAssassin")
	})
	t.Run("as through Postfix", func(t *testing.T) {
		socket := mtatest.SpamassMilter(t, daemon)
		compareWithPostfix(t, socket, oddLetter, letter("ann@good.test", "alice@example.test", "spam", "Buy\n\n"+mtatest.GTUBE))
	})
}

func TestOpenDKIMAsThroughPostfix(t *testing.T) {
	t.Parallel()
	socket, _ := mtatest.OpenDKIM(t, "example.test", "sv", canonicalization)
	compareWithPostfix(t, socket, oddLetter, letter("alice@example.test", "bob@example.test", "signed", "x"))
}

const oddLetter = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Ann <ann@example.test>\r\nTo:alice@example.test\r\nSubject:   two  spaces\r\n\tand a fold\r\nX-A: 1\r\nX-A:\t2\r\nX-Empty:\r\n" +
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\nHello,\r\n\r\n..world.  \r\n.\r\n\r\n"

// compareWithPostfix sends messages through Postfix and through mtad, with the
// same milter: what the mailbox has is what came out of Postfix, but for what
// names a host or a time.
func compareWithPostfix(t *testing.T, socket string, msgs ...string) {
	t.Helper()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	addr := mtatest.Postfix(t, hop.Addr, "unix:"+socket)[0]
	s := start(t, withMilter("inbound", socket))
	alice := s.login("alice")
	for i, data := range msgs {
		check(t, submit(t, addr, "ann@example.test", []string{"alice@example.test"}, data))
		theirs := alike(hop.Await(t, i+1)[i].Data)
		check(t, submit(t, local(s.SMTP), "ann@example.test", []string{"alice@example.test"}, data))
		ours := alike(alice.await("INBOX", i+1)[i])
		if ours != theirs {
			t.Errorf("message %d\nhere:\n%q\nby Postfix:\n%q", i, ours, theirs)
		}
	}
}

// alike is mtatest.Alike without what final delivery adds.
func alike(msg string) string { return mtatest.Alike(without(msg, "Return-Path", "Delivered-To")) }
