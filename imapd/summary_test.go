package imapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mtad/mailbox"
)

// TestSummariesAreKept asks twice, the second time of what was kept, and of
// copies; answers are the same, and nothing is opened for the second.
func TestSummariesAreKept(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s, "alice")
	for i := range rememberFrom + 3 {
		c.append("INBOX", plainMessage(i))
	}
	c.append("INBOX", "Subject: \"quoted\" \xc3\xa4\r\nTo: a@b, c\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\n")
	c.append("INBOX", "To: "+strings.Repeat("somebody@example.net, ", 200)+"\r\n\r\ntoo long to be kept\r\n")
	c.ok("SELECT INBOX")
	for _, items := range []string{"(ENVELOPE)", "(BODYSTRUCTURE)", "(UID ENVELOPE BODYSTRUCTURE BODY FLAGS)"} {
		first := c.ok("FETCH 1:* " + items)
		if again := c.ok("FETCH 1:* " + items); !slices.Equal(first, again) {
			t.Errorf("%s: made\n%s\nkept\n%s", items, strings.Join(first, "\n"), strings.Join(again, "\n"))
		}
	}
	inbox, err := s.store.Folder(t.Context(), testAccounts["alice"], "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var uids []mailbox.UID
	for u := range mailbox.UID(rememberFrom + 5) {
		uids = append(uids, u+1)
	}
	entries, err := s.store.Entries(t.Context(), inbox.ID, uids)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		kept := parseSummary(e.Summary)
		if long := int(e.UID) == len(uids); (kept.envelope == nil || kept.structure == nil) != long {
			t.Errorf("UID %d: kept %q", e.UID, e.Summary)
		}
	}
	before := c.ok("FETCH 1 ENVELOPE")[0]
	c.ok("COPY 1 Archive")
	c.ok("SELECT Archive")
	if after := c.ok("FETCH 1 ENVELOPE")[0]; after != before {
		t.Errorf("copied\n%s\nwas\n%s", after, before)
	}
}

func TestSummaryForm(t *testing.T) {
	long := []byte(strings.Repeat("x", mailbox.MaxSummary))
	for _, s := range []summary{
		{}, {envelope: []byte("(e)")}, {structure: []byte("(s)")}, {[]byte("(e)"), []byte("(s)")},
	} {
		if got := parseSummary(s.encode()); fmt.Sprint(got) != fmt.Sprint(s) {
			t.Errorf("%q became %q", s, got)
		}
	}
	if got := parseSummary(summary{[]byte("(e)"), long}.encode()); string(got.envelope) != "(e)" || got.structure != nil {
		t.Errorf("a long structure: %q", got)
	}
	if got := (summary{envelope: long}).encode(); got != nil {
		t.Errorf("a long envelope: %q", got)
	}
	for _, bad := range []string{"", "\x01", "\x00\x01ab", "\x02\x01ab", "\x01\x7fab", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7fab"} {
		if got := parseSummary([]byte(bad)); got.envelope != nil || got.structure != nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}
