package deliver

import (
	"slices"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/pipeline"
	"mtad/smtp"
)

// said is what a host that knows DSN was told, without the null sender's mail.
func (w *world) said() string {
	w.remote.mu.Lock()
	defer w.remote.mu.Unlock()
	out := slices.Clone(w.remote.asked)
	w.remote.asked = nil
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// reported lists what the reports in a user's mailbox say: "action recipient".
func (w *world) reported(user string) string {
	var out []string
	for _, m := range w.box(user) {
		_, raw, _ := strings.Cut(m, "\n")
		for _, h := range parseReport(w.t, strings.ReplaceAll(raw, "\n", "\r\n")).status[1:] {
			out = append(out, h.Get("Action")+" "+h.Get("Final-Recipient")+" "+h.Get("Original-Recipient"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func knowsDSN(w *world) *world {
	w.remoteServer.EnableDSN = true
	return w
}

func orcpt(_ *pipeline.Client, _ *smtp.MailParams, r *smtp.RcptParams) {
	r.OriginalRecipientType, r.OriginalRecipient = "RFC822", "first@y.test"
}

// An alias of several is reported as expanded, and no success of its members
// (RFC 3461, 5.2.7.3); their failures are. One of one passes everything on
// (5.2.7.2).
func TestExpanded(t *testing.T) {
	w := knowsDSN(newWorld(t))
	w.must(w.dir.AddAlias(t.Context(), "al@x.test", "ann@x.test", "good@far.test", "refuse@far.test"))
	w.must(w.dir.AddAlias(t.Context(), "one@x.test", "good@far.test"))
	w.send("cid@x.test", "al@x.test", hello, proved, notify(gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure), orcpt)
	w.quiet(0)
	expect(t, "reports", w.reported("cid"), "expanded rfc822; al@x.test rfc822; first@y.test\nfailed rfc822; al@x.test rfc822; first@y.test")
	expect(t, "said", w.said(), `cid@x.test RET=HDRS ENVID=e1
good@far.test NOTIFY=[FAILURE] ORCPT=RFC822;first@y.test
refuse@far.test NOTIFY=[FAILURE] ORCPT=RFC822;first@y.test`)

	w.send("cid@x.test", "al@x.test", hello, proved, notify(gosmtp.DSNNotifySuccess))
	w.quiet(0)
	expect(t, "said", w.said(), `cid@x.test RET=HDRS ENVID=e1
good@far.test NOTIFY=[NEVER] ORCPT=RFC822;al@x.test
refuse@far.test NOTIFY=[NEVER] ORCPT=RFC822;al@x.test`)

	w.send("cid@x.test", "one@x.test", hello, proved, notify(gosmtp.DSNNotifySuccess))
	w.quiet(0)
	expect(t, "said", w.said(), "cid@x.test RET=HDRS ENVID=e1\ngood@far.test NOTIFY=[SUCCESS] ORCPT=RFC822;one@x.test")
	expect(t, "reports", len(w.box("cid")), 3)
}

// A list with an owner has the sender's mail when the list has it; what becomes of
// its copies the owner is told (RFC 3461, 5.2.7.1), also where mail for the list
// and its sender's own go to one host.
func TestListOwner(t *testing.T) {
	w := knowsDSN(newWorld(t))
	w.send("cid@x.test", "list@x.test refuse2@far.test", hello, proved, notify(gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure))
	w.quiet(0)
	expect(t, "sender", w.reported("cid"), "delivered rfc822; list@x.test \nfailed rfc822; refuse2@far.test ")
	expect(t, "owner", w.reported("bob"), "failed rfc822; list@x.test ")
	if said := w.said(); !strings.Contains(said, "list@x.test RET= ENVID=\n") || !strings.Contains(said, "good@far.test NOTIFY=[] ORCPT=") {
		t.Error(said)
	}
}

// Who an alias names and does not exist is told of: to the owner of a list, to a
// sender whose mail is proven theirs, in the trace; mail for the others goes on.
// A list that names itself names nobody by that, and its owner, who is of the list,
// is not told again of what they are told.
func TestDeadEnds(t *testing.T) {
	w := newWorld(t)
	expect(t, "reply", w.send("cid@x.test", "typo@x.test", hello).Code, 250)
	w.quiet(0)
	expect(t, "bob", len(w.box("bob")), 1)
	expect(t, "not proven", w.reported("cid"), "")
	if notes := w.notes(); !strings.Contains(notes, "leads to bbo@x.test too, who is nobody: 550 5.1.1") {
		t.Error(notes)
	}
	w.send("cid@x.test", "typo@x.test", hello, proved)
	w.quiet(0)
	expect(t, "proven", w.reported("cid"), "failed rfc822; typo@x.test ")
	w.send("ann@x.test", "typos@x.test", hello)
	w.quiet(0)
	expect(t, "sender", w.reported("ann"), "")
	expect(t, "owner", w.reported("cid"), "failed rfc822; typo@x.test \nfailed rfc822; typos@x.test ")
	w.send("ann@x.test", "selves@x.test", hello, proved)
	w.quiet(0)
	expect(t, "itself", w.reported("ann"), "")
}

// Mail that rules send on keeps the wishes of its sender; the one success there is
// is reported once.
func TestRedirectedWishes(t *testing.T) {
	w := knowsDSN(newWorld(t))
	rules := func(mods ...pipeline.Modification) {
		w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
			if v.Mailbox().Local == "ann" {
				return pipeline.Verdict{Mods: mods}
			}
			return pipeline.Verdict{}
		})
	}
	away, bad := pipeline.Redirect{Addr: w.addr("good@far.test")}, pipeline.Redirect{Addr: w.addr("refuse@far.test")}
	rules(away)
	w.send("cid@x.test", "ann@x.test", hello, notify(gosmtp.DSNNotifySuccess), func(_ *pipeline.Client, m *smtp.MailParams, _ *smtp.RcptParams) { m.UTF8 = true })
	w.quiet(0)
	expect(t, "said", w.said(), "cid@x.test RET=HDRS ENVID=e1\ngood@far.test NOTIFY=[SUCCESS] ORCPT=RFC822;ann@x.test")
	expect(t, "reports", w.reported("cid"), "")

	rules(away, pipeline.FileInto{Folder: "INBOX"})
	w.send("cid@x.test", "ann@x.test", hello, notify(gosmtp.DSNNotifySuccess), orcpt)
	w.quiet(0)
	expect(t, "said", w.said(), "cid@x.test RET=HDRS ENVID=e1\ngood@far.test NOTIFY=[NEVER] ORCPT=RFC822;first@y.test")
	expect(t, "reports", w.reported("cid"), "delivered rfc822; ann@x.test rfc822; first@y.test")

	rules(away, bad)
	w.send("cid@x.test", "ann@x.test", hello, notify(gosmtp.DSNNotifyNever))
	w.quiet(0)
	w.send("cid@x.test", "ann@x.test", hello, notify(gosmtp.DSNNotifySuccess))
	w.quiet(0)
	expect(t, "reports", w.reported("cid"), "delivered rfc822; ann@x.test rfc822; first@y.test\nexpanded rfc822; ann@x.test ")
}

// By LMTP everyone is answered: each of many mailboxes, and a recipient whom
// another of the envelope leads to as well.
func TestAnsweredByLMTP(t *testing.T) {
	w := newWorld(t)
	w.must(w.dir.AddAlias(t.Context(), "also@x.test", "ann@x.test"))
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local == "ann" {
			return pipeline.Verdict{Action: pipeline.Reject, Reply: smtp.NewReply(550, 7, 1, "no")}
		}
		return pipeline.Verdict{}
	})
	var rcpts []string
	for i := range MaxPlans {
		rcpts = append(rcpts, "bob+"+strings.Repeat("x", i+1)+"@x.test")
	}
	rcpts = append(rcpts, "ann@x.test", "also@x.test", "ann@x.test")
	r := w.send("s@far.test", strings.Join(rcpts, " "), hello, func(c *pipeline.Client, _ *smtp.MailParams, _ *smtp.RcptParams) { c.Protocol = "lmtp" })
	if r.Code != 250 || len(w.each) != 3 || w.each[MaxPlans+1].Text != "no" || w.each[MaxPlans+3].Text != "no" {
		t.Errorf("%v, %v", r, w.each)
	}
	w.quiet(0)
	expect(t, "bob", len(w.box("bob")), 1)
	expect(t, "remote", len(w.remote.got()), 0)
}
