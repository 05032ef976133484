//go:build e2e

package e2e

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
)

func TestGoSMTPClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := gosmtp.DialStartTLS(local(s.Submission), s.tlsConfig())
	check(t, err)
	defer c.Close()
	for _, ext := range []string{"PIPELINING", "8BITMIME", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE", "LIMITS"} {
		if ok, _ := c.Extension(ext); !ok {
			t.Errorf("%s is not announced", ext)
		}
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		t.Error("STARTTLS is announced inside TLS")
	}
	err = c.Auth(sasl.NewPlainClient("", "alice@example.test", "wrong"))
	var refused *gosmtp.SMTPError
	if !errors.As(err, &refused) || refused.Code != 535 {
		t.Errorf("a wrong password: %v", err)
	}
	check(t, c.Auth(sasl.NewPlainClient("", "alice@example.test", "alice")))
	check(t, c.Mail("alice@example.test", &gosmtp.MailOptions{Body: gosmtp.Body8BitMIME, Size: 1000}))
	check(t, c.Rcpt("bob@example.test", nil))
	err = c.Rcpt("nobody@example.test", nil)
	if !errors.As(err, &refused) || refused.Code != 550 || refused.EnhancedCode != (gosmtp.EnhancedCode{5, 1, 1}) {
		t.Errorf("nobody: %v", err)
	}
	w, err := c.Data()
	check(t, err)
	_, err = io.WriteString(w, "From: alice@example.test\r\nSubject: by go-smtp\r\n\r\n.dot\r\n\xe4\r\n")
	check(t, err)
	check(t, w.Close())
	check(t, c.Reset())
	check(t, c.Quit())
	msg := s.one("bob")
	if body(msg) != ".dot\r\n\xe4\r\n" {
		t.Errorf("body is %q", body(msg))
	}
	for _, name := range []string{"Date", "Message-ID", "Received"} { // RFC 6409, 8
		if field(msg, name) == "" {
			t.Errorf("no %s in\n%s", name, msg)
		}
	}
	if r := field(msg, "Received"); strings.Contains(r, "127.0.0.1") || strings.Contains(r, "client") {
		t.Errorf("Received tells of the user's client: %s", r)
	}
}

func TestGoIMAPClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	told := make(chan uint32, 10)
	c, err := imapclient.DialStartTLS(local(s.IMAP), &imapclient.Options{
		TLSConfig: s.tlsConfig(),
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				told <- *d.NumMessages
			}
		}},
	})
	check(t, err)
	defer c.Close()
	m := &mailbox{c, t}
	if err := c.Login("bob@example.test", "wrong").Wait(); err == nil {
		t.Fatal("a wrong password is taken")
	}
	check(t, c.Authenticate(sasl.NewPlainClient("", "bob@example.test", "bob")))
	for _, want := range []imap.Cap{imap.CapIdle, imap.CapMove, imap.CapUIDPlus, imap.CapNamespace, imap.CapSpecialUse, imap.CapUnselect, imap.CapEnable, imap.CapID} {
		if !c.Caps().Has(want) {
			t.Errorf("no %s in %v", want, c.Caps())
		}
	}
	special := map[string]imap.MailboxAttr{"Sent": imap.MailboxAttrSent, "Trash": imap.MailboxAttrTrash, "Junk": imap.MailboxAttrJunk, "Drafts": imap.MailboxAttrDrafts}
	folders, err := c.List("", "*", nil).Collect()
	check(t, err)
	for _, f := range folders {
		if a, ok := special[f.Mailbox]; ok && !slices.Contains(f.Attrs, a) {
			t.Errorf("%s has %v, want %s", f.Mailbox, f.Attrs, a)
		}
	}
	ns, err := c.Namespace().Wait()
	check(t, err)
	if len(ns.Personal) != 1 || ns.Personal[0].Delim != '/' {
		t.Errorf("namespaces: %+v", ns)
	}
	work(t, m)

	// IDLE: mail arrives while the client waits.
	_, err = c.Select("INBOX", nil).Wait()
	check(t, err)
	idle, err := c.Idle()
	check(t, err)
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"bob@example.test"}, letter("ann@good.test", "bob@example.test", "wake up", "x")))
	select {
	case n := <-told:
		if n != 1 {
			t.Errorf("told of %d messages", n)
		}
	case <-time.After(timeLimit):
		t.Error("not told of the message")
	}
	check(t, idle.Close())
	check(t, idle.Wait())
	m.wait(c.Unselect())
	m.wait(c.Logout())
}

// work appends, finds, marks, copies, moves and removes messages.
func work(t *testing.T, m *mailbox) {
	m.wait(m.Create("Work/Grüße", nil))
	var uids imap.UIDSet
	for _, subject := range []string{"one", "two", "three"} {
		msg := letter("a@b.test", "c@d.test", subject, strings.Repeat(subject+" ", 100))
		cmd := m.Append("Work/Grüße", int64(len(msg)), &imap.AppendOptions{Flags: []imap.Flag{"mark-" + imap.Flag(subject)}})
		_, err := io.WriteString(cmd, msg)
		check(t, errors.Join(err, cmd.Close()))
		data, err := cmd.Wait()
		check(t, err)
		uids.AddNum(data.UID)
	}
	_, err := m.Select("Work/Grüße", nil).Wait()
	check(t, err)
	found, err := m.UIDSearch(&imap.SearchCriteria{
		Or: [][2]imap.SearchCriteria{{
			{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "TWO"}}},
			{Flag: []imap.Flag{"mark-three"}},
		}},
		Not: []imap.SearchCriteria{{Body: []string{"three"}}},
	}, nil).Wait()
	check(t, err)
	if got := found.AllUIDs(); len(got) != 1 || got[0] != 2 {
		t.Errorf("found %v", got)
	}
	msgs, err := m.Fetch(uids, &imap.FetchOptions{
		UID: true, Flags: true, Envelope: true, RFC822Size: true, InternalDate: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*imap.FetchItemBodySection{{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"subject"}, Peek: true}},
	}).Collect()
	check(t, err)
	if len(msgs) != 3 || msgs[1].Envelope.Subject != "two" || msgs[1].BodyStructure.MediaType() != "text/plain" || msgs[1].RFC822Size == 0 {
		t.Fatalf("fetched %+v", msgs)
	}
	if got := string(msgs[1].BodySection[0].Bytes); got != "Subject: two\r\n\r\n" {
		t.Errorf("its Subject is %q", got)
	}
	copied, err := m.Copy(imap.UIDSetNum(1), "INBOX").Wait()
	check(t, err)
	moved, err := m.Move(imap.UIDSetNum(2), "INBOX").Wait()
	check(t, err)
	if copied.DestUIDs.String() != "1" || moved.DestUIDs == nil || moved.DestUIDs.(imap.UIDSet).String() != "2" {
		t.Errorf("copied %+v, moved %+v", copied, moved)
	}
	check(t, m.Store(imap.UIDSetNum(1, 3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	if gone, err := m.UIDExpunge(imap.UIDSetNum(3)).Collect(); err != nil || len(gone) != 1 {
		t.Errorf("expunged %v, %v", gone, err)
	}
	if n := m.count("INBOX"); n != 2 {
		t.Errorf("INBOX has %d messages", n)
	}
	_, err = m.Select("INBOX", nil).Wait()
	check(t, err)
	check(t, m.Store(imap.UIDSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	check(t, m.Expunge().Close())
	m.wait(m.Delete("Work/Grüße"))
}
