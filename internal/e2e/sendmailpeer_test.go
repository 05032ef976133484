//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// sendmails are Postfix's sendmail and ours, with the same domain and aliases, each
// with a next host of its own.
type sendmails struct {
	commands [2][]string // Postfix's, ours
	hops     [2]*mtatest.Hop
}

func startSendmails(t *testing.T) *sendmails {
	t.Helper()
	program(t, "postfix")
	p := &sendmails{}
	for i := range p.hops {
		p.hops[i] = mtatest.StartHopWith(t, "127.0.0.1:0", nil, func(s *gosmtp.Server) { s.EnableDSN = true })
	}
	etc, _ := mtatest.PostfixWith(t, `mydestination = example.test
myorigin = example.test
virtual_alias_maps = inline:{ { lst@example.test = z@far.test }, { nobody@example.test = nobody@example.test } }
alias_maps = inline:{ { cmd = "|/bin/true" } }
`, p.hops[0].Addr, "")
	s := start(t, func(s *server, text string) string {
		return replace(local(s.Sink), p.hops[1].Addr)(s, text) + fmt.Sprintf("aliases = [\"file:%s\", store()]\nvirtual_alias_maps = { \"lst@example.test\" = \"z@far.test\" }\n", filepath.Join(s.dir, "aliases"))
	}, func(s *server, text string) string {
		write(t, filepath.Join(s.dir, "aliases"), "cmd: \"|/bin/true\"\n")
		return text
	})
	if out, code := run(t, "secret\n", "", mtadPath, "-c", s.config(), "user", "add", "nobody@example.test", "--password-stdin"); code != 0 {
		t.Fatal(out)
	}
	p.commands = [2][]string{{"sendmail", "-C", etc}, {"env", "MTAD_CONFIG=" + s.config(), toolsOf(t) + "/sendmail"}}
	return p
}

// run runs both, and returns what both hosts got.
func (p *sendmails) run(t *testing.T, stdin string, args ...string) (out [2]string, got [2]mtatest.Delivery) {
	t.Helper()
	for i, c := range p.commands {
		p.hops[i].Take()
		text, code := run(t, stdin, "", append(slices.Clone(c), args...)...)
		if code != 0 {
			t.Fatalf("%v %v: exit %d\n%s", c, args, code, text)
		}
		out[i], got[i] = text, p.hops[i].Await(t, 1)[0]
	}
	return out, got
}

// reportOf is what matters of a report: what it is, and the fate of each recipient.
func reportOf(t *testing.T, d mtatest.Delivery) string {
	t.Helper()
	ps := parts(t, d.Data)
	out := []string{fmt.Sprintf("from <%s> to %v", d.From, d.To)}
	for _, p := range ps {
		out = append(out, p.kind)
	}
	for line := range strings.SplitSeq(d.Data, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if line == "" {
			break
		}
		if slices.Contains([]string{"Subject", "Auto-Submitted", "To"}, name) {
			out = append(out, name+": "+strings.Trim(value, "<>"))
		}
		if name == "Content-Type" {
			out = append(out, strings.Split(value, ";")[:2]...)
		}
	}
	var rcpts []string
	for _, g := range groups(t, ps[1].text)[1:] {
		rcpts = append(rcpts, strings.Join([]string{
			strings.ReplaceAll(g.Get("Original-Recipient"), "; ", ";"), g.Get("Final-Recipient"), g.Get("Action"), g.Get("Status"),
		}, " "))
		if g.Get("Diagnostic-Code") == "" {
			rcpts = append(rcpts, "without a reason")
		}
	}
	slices.Sort(rcpts)
	slices.Sort(out)
	return strings.Join(append(out, rcpts...), "\n")
}

// `sendmail -bv` mails the report that Postfix's mails: the same form, and the same
// fate of each recipient.
func TestVerifyLikePostfix(t *testing.T) {
	t.Parallel()
	p := startSendmails(t)
	out, got := p.run(t, "", "-f", "a@far.test", "-bv", "z@far.test", "nobody@example.test", "ghost@example.test", "cmd@example.test", "lst@example.test")
	if want := "Mail Delivery Status Report will be mailed to <a@far.test>.\n"; !strings.HasSuffix(out[0], want) || out[1] != want { // Postfix warns of its main.cf before
		t.Errorf("Postfix says %q, mtad %q", out[0], out[1])
	}
	theirs, ours := reportOf(t, got[0]), reportOf(t, got[1])
	if ours != theirs {
		t.Errorf("%s\nPostfix:\n%s", ours, theirs)
	}
	for _, d := range got {
		mustSay(t, d.Data, "Enclosed is the mail delivery report that you requested.", "\r\nSubject: probe\r\n")
	}
}

// What the next host is asked for by -N, -R and -V, and what is in the header, is what
// Postfix asks for and writes.
func TestSendmailLikePostfix(t *testing.T) {
	t.Parallel()
	p := startSendmails(t)
	const text = "Subject: x\nTo: c@far.test\nBcc: secret@far.test\n\nbody\n.\nnot this\n"
	for _, args := range [][]string{
		{"c@far.test"},
		{"-N", "success", "c@far.test"},
		{"-N", "SUCCESS,Delay,failure", "c@far.test"},
		{"-N", "never", "c@far.test", "d@far.test"},
		{"-N", "nonsense", "-R", "nonsense", "c@far.test"},
		{"-R", "hdrs", "c@far.test"},
		{"-Rfull", "-V", "an+envelope=id", "c@far.test"},
		{"-V", "x", "-f", "a@b.test", "-F", "An \"odd\" (name), <x@y>", "c@far.test"},
		{"-t"}, {"-t", "e@far.test"}, {"-ti"},
		{"-oi", "-oem", "-om", "-o7", "-B8BITMIME", "-U", "-h", "3", "-L", "tag", "-m", "-O", "a=b", "-r", "a@b.test", "-Fname", "c@far.test"},
		{"-odb", "-A", "x", "-p", "x", "c@far.test"},
	} {
		_, got := p.run(t, text, args...)
		var said [2]string
		for i, d := range got {
			slices.Sort(d.To)
			slices.Sort(d.Asked)
			for n, a := range d.Asked { // a relay may add ORCPT
				d.Asked[n], _, _ = strings.Cut(a, " ORCPT=")
			}
			said[i] = fmt.Sprintf("from %s to %v asked %q\n", d.From, d.To, d.Asked)
			for line := range strings.SplitSeq(d.Data, "\r\n") {
				name, _, _ := strings.Cut(line, ":")
				if !slices.Contains([]string{"Received", "\tid ", "Date", "Message-Id", "Message-ID"}, name) && !strings.HasPrefix(line, "\tid ") {
					said[i] += line + "\n"
				}
			}
			said[i] = strings.ReplaceAll(said[i], "mx.example.org", "example.test")
			lines := strings.Split(said[i], "\n") // fields come in another order
			slices.Sort(lines[1:])
			said[i] = strings.Join(lines, "\n")
		}
		if said[0] != said[1] {
			t.Errorf("%v:\n%s\nPostfix:\n%s", args, said[1], said[0])
		}
	}
}

// A dialogue by -bs is answered with the codes of Postfix's.
func TestDialogueLikePostfix(t *testing.T) {
	t.Parallel()
	p := startSendmails(t)
	for _, session := range []string{
		"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@far.test>\r\nDATA\r\nSubject: x\r\n\r\n..x\r\n.\r\nQUIT\r\n",
		"HELO x\nMAIL FROM:<a@b.test>\nRCPT TO:<bad address>\nRCPT TO:<c@far.test>\nRSET\nNOOP\nVRFY c@far.test\nMAIL FROM:<>\nRCPT TO:<c@far.test>\nDATA\n\n.\nQUIT\n",
		"EHLO x\nMAIL FROM:<a@b.test>\nRCPT TO:<c@far.test> NOTIFY=NEVER\nDATA\nTo: x\n\n.\nNONSENSE\nQUIT\n",
	} {
		out, got := p.run(t, session, "-bs")
		var codes [2]string
		for i := range out {
			for line := range strings.Lines(out[i]) {
				if len(line) > 3 && line[3] == ' ' {
					codes[i] += line[:3] + " "
				}
			}
			codes[i] += fmt.Sprint(got[i].From, got[i].To, got[i].Asked[0], strings.SplitN(got[i].Asked[1], " ORCPT=", 2)[0])
		}
		if codes[0] != codes[1] {
			t.Errorf("%q:\n%s\n%s\nPostfix:\n%s", session, codes[1], out[1], codes[0])
		}
	}
}
