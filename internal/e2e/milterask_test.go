//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/e2e/milterkit"
	"mtad/internal/mtatest"
)

// offers are what mail servers offer: the oldest, some between, and all; with and
// without events that need no answer.
var offers = []milterkit.Terms{
	{Version: 6, Actions: 0x1ff, Steps: 0x1fffff}, {Version: 6, Actions: 0x1ff, Steps: 0}, {Version: 6, Actions: 0xff, Steps: 0x7f}, {Version: 6, Actions: 0x1ff, Steps: 0x1fffff &^ 0x100000},
	{Version: 6, Actions: 0x1ff, Steps: 0x301fffff}, {Version: 4, Actions: 0x3f, Steps: 0x3ff}, {Version: 3, Actions: 0x3f, Steps: 0x17f}, {Version: 2, Actions: 0x3f, Steps: 0x7f},
}

// asked is a message as Postfix would have it.
func asked(from string, fields ...[2]string) milterkit.Mail {
	return milterkit.Mail{
		Helo: "client.test", From: "<" + from + ">", To: []string{"<bob@far.test>", "<carol@far.test>"}, Body: "Hello\r\n.\r\n\xe4\r\n" + strings.Repeat("0123456789abcde\r\n", 10000),
		Fields: append([][2]string{{"Received", " from a\n\tby b; Mon, 1 Jan 2024 00:00:00 +0000"}, {"From", " Ann <" + from + ">"}, {"To", "bob@far.test"}, {"X-A", " 1"}, {"X-Gone", " 1"}, {"X-A", "\t2"}, {"x-a", "  3\n folded"}, {"X-Empty", ""}, {"X-Gone", " 2"}}, fields...),
	}
}

// askAll asks a milter about messages under every offer: what comes of each is the
// same whatever was negotiated.
func askAll(t *testing.T, network, addr string, mails map[string]milterkit.Mail, old func(name string) bool) {
	t.Helper()
	for name, m := range mails {
		t.Run(name, func(t *testing.T) {
			want := ""
			for _, o := range offers {
				if o.Version < 6 && !old(name) {
					continue
				}
				a := milterkit.Ask(t, network, addr, o)
				got := a.Session(m)
				a.Abort()
				a.Quit()
				if want == "" {
					want = got
				}
				if diff := milterkit.Differ(o.String(), got, offers[0].String(), want); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestAskMtad plays a mail server to mtad: every edit and every refusal of a
// pipeline, in every version, by the rules of the protocol.
func TestAskMtad(t *testing.T) {
	t.Parallel()
	addr := served(t)
	mails := map[string]milterkit.Mail{
		"helo": asked("ann@x.test"), "mail": asked("bad@x.test"), "data": asked("nodata@x.test"), "rcpt": asked("ann@x.test"),
	}
	for _, subject := range []string{"plain", "refused", "dropped", "sender", "rcpts", "fields", "held"} {
		mails[subject] = asked("ann@x.test", [2]string{"Subject", " " + subject})
	}
	helo := mails["helo"]
	helo.Helo = "bad.test"
	mails["helo"] = helo
	rcpt := mails["rcpt"]
	rcpt.To = append(rcpt.To, "<no@far.test>")
	mails["rcpt"] = rcpt
	askAll(t, "tcp", addr, mails, func(name string) bool { return name != "sender" && name != "data" })
	t.Run("one connection", func(t *testing.T) {
		a := milterkit.Ask(t, "tcp", addr, milterkit.All)
		var got []string
		for i := range 3 {
			got = append(got, a.Session(mails["fields"]), a.Transaction(mails["plain"]))
			if i < 2 {
				a.Again()
			}
		}
		a.Quit()
		for i := range 4 {
			if got[i] != got[i+2] {
				t.Errorf("session %d: %.300q, before %.300q", i/2+1, got[i+2], got[i])
			}
		}
		mustSay(t, got[0], "X-Top: client.test 192.0.2.7\nReceived: own\n", "X-End: one two", "Subject: changed")
	})
}

// served is a mtad that is a milter and nothing else, with a rule for every stage.
func served(t *testing.T) (addr string) {
	s := newServer(t)
	s.start() // which writes what the configuration names
	s.stop()
	write(t, filepath.Join(s.dir, "rules", "local.lua"), everyStage)
	addr = local(freePort(t))
	mtatest.Spawn(t, "", stopLimit, mtadPath, "-c", s.config(), "milter", "serve", "--listen", addr, "--pipeline", "inbound").Await(t, "msg=serving")
	return addr
}

// TestAskLibMilter plays the same to Sendmail's library: what the kit takes for the
// rules is what it does.
func TestAskLibMilter(t *testing.T) {
	t.Parallel()
	mails := map[string]milterkit.Mail{}
	for _, do := range []string{
		"nothing", "edit-add", "edit-insert", "edit-change", "edit-remove", "edit-body", "edit-hold", "edit-progress", "edit-seen", "eom-reply", "eom-lines", "header-reject", "body-discard",
	} {
		mails[do] = asked("ann@x.test", [2]string{"X-Do", " " + do})
	}
	// Without the events that it needs, the program knows nothing: what is offered in
	// version 6 alone is not asked of it in others.
	askAll(t, "unix", mtatest.LibMilter(t, filepath.Join(root, "internal/e2e/testdata/milters/every.c")), mails, func(string) bool { return false })
}

// TestMilterTest runs a script of miltertest, by OpenDKIM's authors, against mtad.
func TestMilterTest(t *testing.T) {
	t.Parallel()
	path := program(t, "miltertest")
	addr := served(t)
	_, port, _ := strings.Cut(addr, ":")
	out, code := run(t, "", "", path, "-s", filepath.Join(root, "internal/e2e/testdata/milters/serve.lua"), "-D", fmt.Sprintf("socket=inet:%s@127.0.0.1", port))
	if code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	mustSay(t, out, "every check passed")
}
