//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// dsnCase is mail whose sender asks for reports.
type dsnCase struct {
	to     string
	notify string
	orcpt  bool
}

func (c dsnCase) String() string {
	return fmt.Sprintf("%s NOTIFY=%s ORCPT=%v", c.to, c.notify, c.orcpt)
}

func dsnCases() (out []dsnCase) {
	for _, to := range []string{"ok@far.test", "gone@far.test", "two@al.test", "one@al.test", "mixed@al.test"} {
		for _, n := range []string{"", "NEVER", "SUCCESS", "FAILURE", "SUCCESS,FAILURE,DELAY"} {
			if to == "one@al.test" && strings.Contains(n, "SUCCESS") {
				continue // to Postfix that is an expansion too; RFC 3461, 5.2.7.2 has it passed on
			}
			out = append(out, dsnCase{to, n, n == "SUCCESS"})
		}
	}
	return out
}

// send sends the mail; its envelope ID tells it from others.
func (c dsnCase) send(t *testing.T, addr, id string) {
	t.Helper()
	cl, err := gosmtp.Dial(addr)
	check(t, err)
	defer cl.Close()
	check(t, cl.Hello("client.test"))
	check(t, cl.Mail("s@back.test", &gosmtp.MailOptions{Return: gosmtp.DSNReturnHeaders, EnvelopeID: id}))
	o := &gosmtp.RcptOptions{}
	for n := range strings.SplitSeq(c.notify, ",") {
		if n != "" {
			o.Notify = append(o.Notify, gosmtp.DSNNotify(n))
		}
	}
	if c.orcpt {
		o.OriginalRecipientType, o.OriginalRecipient = gosmtp.DSNAddressTypeRFC822, "first+x@y.test"
	}
	check(t, cl.Rcpt(c.to, o))
	w, err := cl.Data()
	check(t, err)
	_, err = w.Write([]byte(letter("s@back.test", c.to, id, "Hello.")))
	check(t, err)
	check(t, w.Close())
	check(t, cl.Quit())
}

// fate is what reached the next host of one message: what was asked of it, and the
// reports. ORCPT is left out where the sender gave none: a relay may add it.
func (c dsnCase) fate(t *testing.T, all []mtatest.Delivery, id string) string {
	t.Helper()
	var out []string
	for _, d := range all {
		switch {
		case d.From == "" && strings.Contains(d.Data, "Original-Envelope-Id: "+id+"\r\n"):
			p := parts(t, d.Data)
			for _, g := range groups(t, p[1].text)[1:] {
				line := "report " + g.Get("Action") + " " + g.Get("Status")[:1] + " " + p[2].kind
				if c.orcpt {
					line += " " + strings.ReplaceAll(strings.ToLower(g.Get("Original-Recipient")), "; ", ";")
				}
				out = append(out, line)
			}
		case strings.Contains(d.Data, "Subject: "+id+"\r\n") && d.From != "":
			for i, a := range d.Asked {
				if words, _, ok := strings.Cut(a, " ORCPT="); ok && !c.orcpt && i > 0 {
					a = words
				}
				out = append(out, a)
			}
		}
	}
	slices.Sort(out)
	return strings.ToLower(strings.Join(out, "\n"))
}

const dsnAliases = `
virtual_alias_maps = { "two@al.test" = "ok@far.test, ok2@far.test", "one@al.test" = "ok@far.test", "mixed@al.test" = "ok@far.test, gone@far.test" }
virtual_alias_domains = ["al.test"]
`

const postfixAliases = `
virtual_alias_domains = al.test
virtual_alias_maps = inline:{ { two@al.test = ok@far.test, ok2@far.test }, { one@al.test = ok@far.test }, { mixed@al.test = ok@far.test, gone@far.test } }
`

// What senders are told, and what the next host is asked, is what Postfix would tell
// and ask, with a host that knows DSN and one that does not.
func TestDSNLikePostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	refuse := func(rcpt string) *gosmtp.SMTPError {
		if strings.HasPrefix(rcpt, "gone") {
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "Gone"}
		}
		return nil
	}
	for _, dsn := range []bool{true, false} {
		t.Run(fmt.Sprintf("next host has DSN %v", dsn), func(t *testing.T) {
			t.Parallel()
			hop := func() *mtatest.Hop {
				return mtatest.StartHopWith(t, "127.0.0.1:0", refuse, func(s *gosmtp.Server) { s.EnableDSN = dsn })
			}
			theirs, ours := hop(), hop()
			etc, addrs := mtatest.PostfixWith(t, postfixAliases, theirs.Addr, "")
			s := start(t, func(s *server, text string) string {
				return replace(local(s.Sink), ours.Addr)(s, text) + dsnAliases
			})
			cases := dsnCases()
			for i, c := range cases {
				c.send(t, addrs[0], fmt.Sprintf("case.%d.x", i))
				c.send(t, local(s.SMTP), fmt.Sprintf("case.%d.x", i))
			}
			postqueue := program(t, "postqueue")
			eventually(t, "an end of mail", timeLimit, func() bool {
				return !strings.Contains(must(t, postqueue, "-c", etc, "-j"), "queue_name") && strings.TrimSpace(s.do("queue", "list", "-o", "ndjson")) == ""
			})
			for i, c := range cases {
				id := fmt.Sprintf("case.%d.x", i)
				want, got := c.fate(t, theirs.Deliveries(), id), c.fate(t, ours.Deliveries(), id)
				if got != want {
					t.Errorf("%v:\n%s\nPostfix:\n%s", c, got, want)
				}
			}
		})
	}
}
