package imapd

import (
	"bytes"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mtad/mailbox"
)

// goIMAP is another project's client, logged in.
func goIMAP(t *testing.T, s *site, o *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login("alice", "alice").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

const peerMessage = "From: Anna <anna@example.net>\r\nTo: alice@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Date: Sun, 01 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n" +
	"--b\r\nContent-Type: application/pdf; name*=utf-8''%C3%A4.pdf\r\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.pdf\r\n" +
	"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n"

func TestGoIMAP(t *testing.T) {
	s := newSite(t, nil)
	c := goIMAP(t, s, nil)
	if err := c.Create("Entwürfe & more", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrDrafts}}).Wait(); err != nil {
		t.Fatal(err)
	}
	app := c.Append("Entwürfe & more", int64(len(peerMessage)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Work"}, Time: testNow()})
	if _, err := app.Write([]byte(peerMessage)); err != nil {
		t.Fatal(err)
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := app.Wait()
	if err != nil || data.UID != 1 || data.UIDValidity == 0 {
		t.Fatalf("append: %+v, %v", data, err)
	}
	goIMAPList(t, c)
	sel, err := c.Select("Entwürfe & more", nil).Wait()
	if err != nil || sel.NumMessages != 1 || sel.UIDNext != 2 || sel.UIDValidity != data.UIDValidity {
		t.Fatalf("select: %+v, %v", sel, err)
	}
	goIMAPFetch(t, c)
	goIMAPSearch(t, c)
	goIMAPMove(t, c)
}

func goIMAPList(t *testing.T, c *imapclient.Client) {
	t.Helper()
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, NumUnseen: true}, ReturnSpecialUse: true, ReturnSubscribed: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(boxes, func(b *imap.ListData) bool { return b.Mailbox == "Entwürfe & more" })
	if i < 0 || !slices.Contains(boxes[i].Attrs, imap.MailboxAttrDrafts) || *boxes[i].Status.NumMessages != 1 || *boxes[i].Status.NumUnseen != 0 {
		t.Fatalf("list: %+v", boxes)
	}
	ns, err := c.Namespace().Wait()
	if err != nil || len(ns.Personal) != 1 || ns.Personal[0].Delim != '/' {
		t.Errorf("namespace: %+v, %v", ns, err)
	}
}

func goIMAPFetch(t *testing.T, c *imapclient.Client) {
	t.Helper()
	part := &imap.FetchItemBodySection{Part: []int{1}, Peek: true}
	whole := &imap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{part, whole},
	}).Collect()
	if err != nil || len(msgs) != 1 {
		t.Fatalf("fetch: %v, %v", msgs, err)
	}
	m := msgs[0]
	if m.Envelope.Subject != "Grüße" || m.Envelope.From[0].Addr() != "anna@example.net" || m.RFC822Size != int64(len(peerMessage)) ||
		!m.InternalDate.Equal(testNow()) || !slices.Contains(m.Flags, imap.Flag("$Work")) {
		t.Errorf("fetch: %+v, envelope %+v", m, m.Envelope)
	}
	if got := m.FindBodySection(whole); !bytes.Equal(got, []byte(peerMessage)) {
		t.Errorf("body: %q", got)
	}
	if got := m.FindBodySection(part); string(got) != "Grüße" {
		t.Errorf("part 1: %q", got)
	}
	multi, isMulti := m.BodyStructure.(*imap.BodyStructureMultiPart)
	if !isMulti || len(multi.Children) != 2 || multi.Children[1].Disposition().Value != "attachment" {
		t.Errorf("structure: %+v", m.BodyStructure)
	}
}

func goIMAPSearch(t *testing.T, c *imapclient.Client) {
	t.Helper()
	found, err := c.UIDSearch(&imap.SearchCriteria{
		Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "grüße"}}, Body: []string{"GRÜSSE", "Grüße"}[1:],
		Flag: []imap.Flag{imap.FlagSeen, "$work"}, Since: testNow().AddDate(0, 0, -1), Larger: 10,
		Not: []imap.SearchCriteria{{Flag: []imap.Flag{imap.FlagDeleted}}},
	}, &imap.SearchOptions{ReturnCount: true, ReturnAll: true}).Wait()
	if err != nil || found.Count != 1 || !slices.Equal(found.AllUIDs(), []imap.UID{1}) {
		t.Errorf("search: %+v, %v", found, err)
	}
}

func goIMAPMove(t *testing.T, c *imapclient.Client) {
	t.Helper()
	moved, err := c.Move(imap.SeqSetNum(1), "Archive").Wait()
	if err != nil || len(moved.DestUIDs.(imap.UIDSet)) != 1 {
		t.Fatalf("move: %+v, %v", moved, err)
	}
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	stored, err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
	if err != nil || !slices.Contains(stored[0].Flags, imap.FlagDeleted) {
		t.Errorf("store: %+v, %v", stored, err)
	}
	if gone, err := c.UIDExpunge(imap.UIDSetNum(1)).Collect(); err != nil || !slices.Equal(gone, []uint32{1}) {
		t.Errorf("expunge: %v, %v", gone, err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}

func TestGoIMAPIdle(t *testing.T) {
	s := newSite(t, nil)
	exists := make(chan uint32, 10)
	c := goIMAP(t, s, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		},
	}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "alice", "INBOX", plainMessage(1), mailbox.Flags{})
	select {
	case n := <-exists:
		if n != 1 {
			t.Errorf("%d messages", n)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told")
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

// imaplibScript puts Python's client through a session; it prints "done" where all went well.
const imaplibScript = `
import imaplib, sys, time
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]))
def ok(r, want=None):
    assert r[0] == "OK", r
    if want is not None: assert want in str(r[1]), (want, r)
    return r[1]
assert "UIDPLUS" in m.capabilities and "MOVE" in m.capabilities, m.capabilities
ok(m.authenticate("PLAIN", lambda _: b"\0alice\0alice"))
ok(m.create("py/box"))
raw = b"Subject: from python\r\nFrom: p@example.net\r\n\r\nline one\r\nline two\r\n"
for i in range(5): ok(m.append("py/box", r"(\Seen)" if i % 2 else None, imaplib.Time2Internaldate(time.time()), raw), "APPENDUID")
ok(m.select("py/box"), "5")
ok(m.search(None, "UNSEEN"), "1 3 5")
assert ok(m.fetch("2", "(RFC822)"))[0][1] == raw
assert ok(m.fetch("3", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1] == b"Subject: from python\r\n\r\n"
ok(m.fetch("1:*", "(FLAGS UID BODYSTRUCTURE ENVELOPE)"))
ok(m.store("1:2", "+FLAGS", r"(\Deleted)"), "Deleted")
ok(m.expunge())
ok(m.uid("SEARCH", "ALL"), "3 4 5")
ok(m.uid("COPY", "3:4", "Archive"))
ok(m.status("Archive", "(MESSAGES UNSEEN UIDNEXT)"), "MESSAGES 2")
ok(m.list('""', "py/%"), "py/box")
ok(m.subscribe("py/box")); ok(m.lsub('""', "py/*"), "py/box")
ok(m.rename("py/box", "py/other")); ok(m.namespace()); ok(m.noop()); ok(m.check())
ok(m.close()); ok(m.delete("py/other"))
m.logout()
print("done")
`

func TestImaplib(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	s := newSite(t, nil)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", imaplibScript, port)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "done" {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCurl reads mail as the first screen of the documentation does.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	s := newSite(t, nil)
	s.put(t, "alice", "INBOX", plainMessage(7), mailbox.Flags{})
	for url, want := range map[string]string{
		"imap://" + s.addr + "/INBOX;UID=1":                    "Body 7",
		"imap://" + s.addr + "/INBOX;MAILINDEX=1;SECTION=TEXT": "Body 7",
		"imap://" + s.addr + "/INBOX?SUBJECT%20message":        "* SEARCH 1",
		"imaps://" + s.tls + "/":                               `"/" INBOX`,
	} {
		out, err := exec.CommandContext(t.Context(), curl, "-sk", "--max-time", "10", "-u", "alice:alice", url).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", url, err, out)
		}
	}
}
