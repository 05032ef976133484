//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// lines makes about n octets of text.
func lines(n int) string {
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x%016x%016x%016x\r\n", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	return b.String()
}

func TestBigMail(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := start(t, toHop(port))
	big := letter("ann@good.test", "alice@example.test", "big", "") + lines(20<<20)
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test", "x@far.test"}, big))
	if got := s.one("alice"); !strings.HasSuffix(got, big) {
		t.Errorf("%d octets came in as %d others", len(big), len(got))
	}
	if d := hop.Await(t, 1)[0]; !strings.HasSuffix(d.Data, big) {
		t.Errorf("%d octets went out as %d others", len(big), len(d.Data))
	}

	// 60 MB: refused before DATA if SIZE tells, else at its end.
	c, err := gosmtp.Dial(local(s.SMTP))
	check(t, err)
	defer c.Close()
	if limit, ok := c.MaxMessageSize(); !ok || limit != 50<<20 {
		t.Errorf("SIZE is %d", limit)
	}
	var refused *gosmtp.SMTPError
	if err := c.Mail("ann@good.test", &gosmtp.MailOptions{Size: 60 << 20}); !errors.As(err, &refused) || refused.Code != 552 || refused.EnhancedCode != (gosmtp.EnhancedCode{5, 3, 4}) {
		t.Errorf("MAIL with SIZE: %v", err)
	}
	check(t, c.Mail("ann@good.test", nil))
	check(t, c.Rcpt("alice@example.test", nil))
	w, err := c.Data()
	check(t, err)
	_, err = io.WriteString(w, lines(60<<20))
	check(t, err)
	if err := w.Close(); !errors.As(err, &refused) || refused.Code != 552 || refused.EnhancedCode != (gosmtp.EnhancedCode{5, 3, 4}) {
		t.Errorf("60 MB of data: %v", err)
	}
	check(t, c.SendMail("ann@good.test", []string{"alice@example.test"}, strings.NewReader(letter("a@b.test", "c@d.test", "after", "x"))))
	s.mail("alice", 2)
}

// 100 recipients of one transaction, here and elsewhere (RFC 5321, 4.5.3.1.8).
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hop := mtatest.StartHop(t, local(port), nil)
	s := start(t, toHop(port))
	var to []string
	for i := range 50 {
		to = append(to, fmt.Sprintf("x%d@far.test", i), fmt.Sprintf("bob+%d@example.test", i))
	}
	check(t, submit(t, local(s.SMTP), "alice@example.test", to, letter("alice@example.test", "many", "to many", "x")))
	got := map[string]int{}
	eventually(t, "delivery to all", timeLimit, func() bool {
		clear(got)
		for _, d := range hop.Deliveries() {
			for _, rcpt := range d.To {
				got[rcpt]++
			}
		}
		return len(got) == 50
	})
	for rcpt, n := range got {
		if n != 1 {
			t.Errorf("%s got it %d times", rcpt, n)
		}
	}
	bob := s.login("bob")
	eventually(t, "bob's mail", timeLimit, func() bool { return bob.count("INBOX") > 0 })
	s.lastSays("bob@example.test")
}

// Commands that nobody's client offers.
func TestRawCommands(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := textproto.Dial("tcp", local(s.SMTP))
	check(t, err)
	defer c.Close()
	_, _, err = c.ReadResponse(220)
	check(t, err)
	for _, step := range []struct {
		say  string
		code int
		want string
	}{
		{"EHLO client.test", 250, "SIZE 52428800"},
		{"VRFY alice@example.test", 252, "2."},
		{"EXPN staff", 502, "5.5.1"},
		{"HELP", 214, ""},
		{"NOOP", 250, ""},
		{"RCPT TO:<alice@example.test>", 503, "5.5.1"},
		{"DATA", 503, "5.5.1"},
		{"MAIL FROM:<a@good.test> SIZE=99999999", 552, "5.3.4"},
		{"MAIL FROM:<a@good.test> UNKNOWN=1", 555, "5.5.4"},
		{"NONSENSE", 500, "5.5.2"},
		{"MAIL FROM:<a@good.test> SIZE=1000", 250, ""},
		{"RSET", 250, ""},
		{"QUIT", 221, ""},
	} {
		check(t, c.PrintfLine("%s", step.say))
		code, text, err := c.ReadResponse(step.code)
		if err != nil || !strings.Contains(text, step.want) {
			t.Errorf("%s: %d %s, want %d %s", step.say, code, text, step.code, step.want)
		}
	}
}
