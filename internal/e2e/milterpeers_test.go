//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/e2e/milterkit"
	"mtad/internal/mtatest"
)

// peers are mtad and Postfix with the same milter, as somebody else wrote it.
func peers(t *testing.T, socket string) (all [2]milterkit.MTA) {
	t.Helper()
	hops, ports := twoHops(t)
	s := start(t, toHop(ports[0]), withMilter("inbound", socket))
	all[0] = milterkit.MTA{Name: "mtad", Addr: local(s.SMTP), Hop: hops[0]}
	all[1] = milterkit.MTA{Name: "Postfix", Addr: mtatest.Postfix(t, hops[1].Addr, "unix:"+socket)[0], Hop: hops[1]}
	return all
}

// playBoth plays a session to both and returns what came of it here.
func playBoth(t *testing.T, all [2]milterkit.MTA, s milterkit.Session) string {
	t.Helper()
	ours, theirs := all[0].Play(t, s), all[1].Play(t, s)
	if diff := milterkit.Differ("mtad", ours, "Postfix", theirs); diff != "" {
		t.Error(diff)
	}
	return ours
}

// TestOpenDMARC compares what it adds, removes and refuses with the same through
// Postfix.
func TestOpenDMARC(t *testing.T) {
	t.Parallel()
	all := peers(t, mtatest.OpenDMARC(t))
	mustSay(t, playBoth(t, all, milterkit.Plain(milterkit.Letter, "bob@far.test")), "Authentication-Results: dmarc.test; dmarc=")
	forged := "Authentication-Results: dmarc.test; dmarc=pass\r\nAuthentication-Results: other.test; spf=pass\r\n" + milterkit.Letter
	playBoth(t, all, milterkit.Plain(forged, "bob@far.test"))
	mustSay(t, playBoth(t, all, milterkit.Plain("Subject: nobody wrote this\r\n\r\nx\r\n", "bob@far.test")), "550 5.7.1 Command rejected")
}

// TestClamAVMilter compares what it says of a virus and of another message.
func TestClamAVMilter(t *testing.T) {
	t.Parallel()
	all := peers(t, mtatest.ClamAV(t))
	mustSay(t, playBoth(t, all, milterkit.Plain(milterkit.Letter, "bob@far.test")), "X-Virus-Status: Clean")
	forged := "X-Virus-Status: Clean\r\nX-Virus-Scanned: by nobody\r\n" + milterkit.Letter
	playBoth(t, all, milterkit.Plain(forged, "bob@far.test", "carol@far.test"))
	infected := "From: ann@x.test\r\nSubject: take this\r\n\r\n" + strings.Repeat("padding\r\n", 20000) + mtatest.Virus + "\r\n"
	mustSay(t, playBoth(t, all, milterkit.Plain(infected, "bob@far.test")), "message: 550 5.7.1 Infected by Test.Virus.UNOFFICIAL")
}

// TestRspamd compares what Rspamd's proxy does as a milter.
func TestRspamd(t *testing.T) {
	t.Parallel()
	all := peers(t, mtatest.Rspamd(t))
	spam := func(first string) milterkit.Session {
		return milterkit.Plain(strings.Replace(milterkit.Letter, "Hello", first+mtatest.GTUBE[1:], 1), "bob@far.test")
	}
	mustSay(t, playBoth(t, all, milterkit.Plain(milterkit.Letter, "bob@far.test")), "X-Spamd-Bar: ")
	mustSay(t, playBoth(t, all, spam("X")), "message: 5")
	mustSay(t, playBoth(t, all, spam("Y")), "X-Spam: Yes")
	mustSay(t, playBoth(t, all, spam("Z")), "Subject: *** SPAM ***")
}

// everySessions are sessions in which every.c and every.py give each reply at each
// phase, and make each edit.
func everySessions() map[string]milterkit.Session {
	out := map[string]milterkit.Session{}
	with := func(sender, do string) milterkit.Session {
		s := milterkit.Plain("X-Do: "+do+"\r\n"+milterkit.Letter, "bob@far.test", "carol@far.test")
		s.Say[1] = "MAIL FROM:<" + sender + "@x.test>"
		s.Gone = strings.Contains(sender+do, "discard") || strings.Contains(do, "hold")
		return s
	}
	for _, action := range []string{"accept", "reject", "tempfail", "discard", "reply", "lines"} {
		for _, phase := range []string{"mail", "data"} {
			out[phase+" "+action] = with(phase+"-"+action, "nothing")
		}
		for _, phase := range []string{"header", "eoh", "body", "eom"} {
			out[phase+" "+action] = with("ann", phase+"-"+action)
		}
		s := with("ann", "nothing")
		s.Say[2], s.Gone = "RCPT TO:<rcpt-"+action+"@far.test>", action == "discard"
		out["rcpt "+action] = s
		if action != "accept" && action != "discard" { // see milterkit's cases
			s = with("ann", "nothing")
			s.Say = append([]string{"EHLO client.test", "unknown-" + action}, s.Say[1:]...)
			out["unknown "+action] = s
		}
	}
	for _, do := range []string{
		"nothing", "edit-add", "edit-insert", "edit-change", "edit-remove", "edit-body", "edit-rcpt", "edit-from", "edit-hold", "edit-progress", "edit-seen",
		"edit-add edit-insert edit-change edit-remove edit-body edit-rcpt edit-from edit-seen", "edit-add eom-reply", "edit-insert eom-accept", "body-skip edit-seen",
	} {
		out[do] = with("ann", do)
	}
	twice := with("ann", "edit-seen")
	twice.Say = append(twice.Say[:len(twice.Say)-1], append([]string{"RSET"}, twice.Say[1:]...)...)
	out["two messages"] = twice
	return out
}

func playEvery(t *testing.T, socket string) {
	all := peers(t, socket)
	for name, s := range everySessions() {
		t.Run(name, func(t *testing.T) {
			got := playBoth(t, all, s)
			if name == "edit-seen" {
				mustSay(t, got, "X-Seen: localhost client.test <ann@x.test> rcpts=2 data=1 fields=13 eoh=1 body=")
			}
		})
	}
}

// TestLibMilter plays every reply and edit of a C program on Sendmail's library.
func TestLibMilter(t *testing.T) {
	t.Parallel()
	playEvery(t, mtatest.LibMilter(t, filepath.Join(root, "internal/e2e/testdata/milters/every.c")))
}

// TestPythonMilter is the same in Python.
func TestPythonMilter(t *testing.T) {
	t.Parallel()
	playEvery(t, mtatest.PythonMilter(t, filepath.Join(root, "internal/e2e/testdata/milters/every.py")))
}
