//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// manyFaces is a Postfix that asks one mtad over several sockets, in all versions
// of the protocol, and for mail that does not come by SMTP.
type manyFaces struct {
	*server
	hop     *mtatest.Hop
	etc     string
	through map[string]string // addresses of Postfix by what it asks
}

func startManyFaces(t *testing.T) manyFaces {
	port := freePort(t)
	m := manyFaces{hop: mtatest.StartHop(t, local(port), nil), through: map[string]string{}}
	socket := filepath.Join(mtatest.OpenDir(t), "mtad.sock")
	six := netip.AddrPortFrom(netip.IPv6Loopback(), uint16(freePort(t))).String()
	m.server = newServer(t, toHop(port), replace(`listener "submission" {`, `listener "front" {
  protocol    = "milter"
  addr        = ["unix:`+socket+`", "`+six+`"]
  socket_mode = "0666"
  pipeline    = "inbound"
}
listener "submission" {`))
	write(t, filepath.Join(m.dir, "rules", "local.lua"), everyStage)
	m.start()
	names := []string{"2", "3", "4", "6", "inet6"}
	var milters []string
	for _, v := range names[:4] {
		milters = append(milters, "unix:"+socket+" -o milter_protocol="+v)
	}
	milters = append(milters, "inet:"+six+" -o inet_protocols=all")
	etc, addrs := mtatest.PostfixWith(t, "message_size_limit = 40000000\nnon_smtpd_milters = unix:"+socket+"\nsmtpd_client_connection_count_limit = 0\ndefault_process_limit = 200\n", local(port), milters...)
	m.etc = etc
	for i, n := range names {
		m.through[n] = addrs[i]
	}
	return m
}

// TestPostfixVersions has Postfix speak each version of the milter protocol, and
// over IPv6.
func TestPostfixVersions(t *testing.T) {
	t.Parallel()
	m := startManyFaces(t)
	for name, addr := range m.through {
		to := []string{"one@far.test"}
		for subject, want := range map[string]string{"refused": "Spam", "plain": "", "fields": "", "rcpts": ""} {
			m.hop.Take()
			reply := attempt(t, addr, "client.test", "a@x.test", to, letter("a@x.test", "one@far.test", subject, "Hello\n"))
			if !strings.Contains(reply, want) || (reply == "") != (want == "") {
				t.Errorf("%s, %s: %q, want %q", name, subject, reply, want)
			}
			if reply != "" {
				continue
			}
			got := m.hop.Await(t, 1)[0]
			switch subject {
			case "fields":
				if !strings.Contains(got.Data, "X-Top: client.test 127.0.0.1") || !strings.Contains(got.Data, "X-End: one two") || strings.Contains(got.Data, "X-Gone") {
					t.Errorf("%s:\n%s", name, got.Data)
				}
			case "rcpts":
				if fmt.Sprint(got.To) != "[added@far.test]" {
					t.Errorf("%s: %v", name, got.To)
				}
			}
		}
		for subject, c := range map[string][3]string{
			"helo": {"bad.test", "a@x.test", "553"}, "mail": {"client.test", "bad@x.test", "100% later"}, "sender": {"client.test", "a@x.test", ""},
		} {
			m.hop.Take()
			reply := attempt(t, addr, c[0], c[1], to, letter("a@x.test", "one@far.test", subject, "x"))
			// Before version 6 there is no way to change the sender.
			want := c[2]
			if subject == "sender" && name != "6" && name != "inet6" {
				want = "451 4.3.5"
			}
			if !strings.Contains(reply, want) || (reply == "") != (want == "") {
				t.Errorf("%s, %s: %q, want %q", name, subject, reply, want)
			}
			if reply == "" {
				m.hop.Await(t, 1) // so that it does not come among those of the next version
			}
		}
	}
}

// TestPostfixSessions has Postfix ask of several messages a session, of RSET, of
// recipients that it refuses itself, of a large message and of many sessions.
func TestPostfixSessions(t *testing.T) {
	t.Parallel()
	m := startManyFaces(t)
	addr := m.through["6"]
	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	check(t, c.Hello("client.test"))
	say := func(what string, err error, want string) {
		t.Helper()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	for i := range 3 {
		say("MAIL", c.Mail("a@x.test", nil), "")
		say("RCPT", c.Rcpt("one@far.test", nil), "")
		say("RCPT no", c.Rcpt("no@far.test", nil), "Not for no")
		say("RSET", c.Reset(), "")
		say("bad MAIL", c.Mail("bad@x.test", nil), "100% later")
		say("MAIL", c.Mail("a@x.test", nil), "")
		say("RCPT no", c.Rcpt("no@far.test", nil), "Not for no")
		say("RCPT", c.Rcpt("two@far.test", nil), "")
		say("RCPT without a domain", c.Rcpt("nobody@[", nil), "5")
		subject := []string{"fields", "refused", "rcpts"}[i]
		say(subject, sendData(c, letter("a@x.test", "two@far.test", subject, "x")), []string{"", "Spam", ""}[i])
	}
	check(t, c.Quit())
	for _, d := range m.hop.Await(t, 2) {
		to := fmt.Sprint(d.To)
		if strings.Contains(d.Data, "X-Top") && to != "[two@far.test]" || !strings.Contains(d.Data, "X-Top") && to != "[added@far.test two@far.test]" && to != "[two@far.test added@far.test]" {
			t.Errorf("%v\n%s", d.To, d.Data)
		}
	}

	m.hop.Take()
	big := letter("a@x.test", "one@far.test", "fields", strings.Repeat(strings.Repeat("0123456789", 7)+"\n", 20<<20/71))
	if reply := attempt(t, addr, "client.test", "a@x.test", []string{"one@far.test"}, big); reply != "" {
		t.Errorf("20 MB: %q", reply)
	}
	if got := m.hop.Await(t, 1)[0]; len(got.Data) < len(big) || !strings.Contains(got.Data[:2000], "X-Top") {
		t.Errorf("of %d octets %d came:\n%.2000s", len(big), len(got.Data), got.Data)
	}

	m.hop.Take()
	const sessions = 100
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			reply := attempt(t, addr, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", []string{"plain", "refused"}[i%2], "x"))
			if refused := strings.Contains(reply, "Spam"); refused != (i%2 == 1) {
				t.Errorf("%d: %q", i, reply)
			}
		})
	}
	wg.Wait()
	m.hop.Await(t, sessions/2)
}

// TestPostfixPickup sends mail by Postfix's sendmail, which comes to mtad from
// cleanup (non_smtpd_milters).
func TestPostfixPickup(t *testing.T) {
	t.Parallel()
	m := startManyFaces(t)
	sendmail := func(subject string) {
		t.Helper()
		cmd := exec.Command("sendmail", "-C", m.etc, "-f", "a@x.test", "one@far.test")
		cmd.Stdin = strings.NewReader(letter("a@x.test", "one@far.test", subject, "x"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sendmail: %v: %s", err, out)
		}
	}
	sendmail("fields")
	d := m.hop.Await(t, 1)[0]
	mustSay(t, d.Data, "X-Top: localhost 127.0.0.1", "Subject: changed", "X-End: one two")
	m.hop.Take()
	sendmail("refused")
	bounce := m.hop.Await(t, 1)[0]
	if bounce.From != "" {
		t.Errorf("from %q to %v", bounce.From, bounce.To)
	}
	mustSay(t, bounce.Data, "Spam")
}

// TestPostfixAborts has clients leave Postfix in the middle, and counts what stays
// open in mtad; and reloads mtad under an open session.
func TestPostfixAborts(t *testing.T) {
	t.Parallel()
	m := startManyFaces(t)
	addr := m.through["6"]
	if reply := attempt(t, addr, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", "refused", "x")); !strings.Contains(reply, "Spam") {
		t.Fatal(reply)
	}
	open := func() int { return m.descriptors(t) }
	before := open()
	for i := range 40 {
		c, err := gosmtp.Dial(addr)
		check(t, err)
		check(t, c.Hello("client.test"))
		check(t, c.Mail("a@x.test", nil))
		check(t, c.Rcpt("one@far.test", nil))
		if i%2 == 0 {
			w, err := c.Data()
			check(t, err)
			fmt.Fprint(w, "Subject: x\r\n\r\n", strings.Repeat("half a message\r\n", 20000))
		}
		c.Close()
	}
	mtatest.Eventually(t, "mtad to close what was left", 20*time.Second, func() bool { return open() <= before+2 })

	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	check(t, c.Hello("client.test"))
	check(t, c.Mail("a@x.test", nil))
	write(t, filepath.Join(m.dir, "rules", "local.lua"), strings.ReplaceAll(everyStage, `"Spam"`, `"Newer spam"`))
	m.do("reload")
	check(t, c.Rcpt("one@far.test", nil))
	if err := sendData(c, letter("a@x.test", "one@far.test", "refused", "x")); err == nil || !strings.Contains(err.Error(), "Spam") {
		t.Errorf("in the session under way: %v", err)
	}
	if reply := attempt(t, addr, "client.test", "a@x.test", []string{"one@far.test"}, letter("a@x.test", "one@far.test", "refused", "x")); !strings.Contains(reply, "Newer spam") {
		t.Errorf("in the next: %q", reply)
	}
}

// descriptors is how many files the server has open.
func (s *server) descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.proc.Cmd.Process.Pid))
	check(t, err)
	return len(names)
}
