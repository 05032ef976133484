package imapd

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// pair is two sessions on alice's INBOX with n messages.
func pair(t *testing.T, n int) (s *site, a, b *client) {
	s = newSite(t, nil)
	for i := range n {
		s.put(t, "alice", "INBOX", plainMessage(i), mailbox.Flags{})
	}
	a, b = login(t, s, "alice"), login(t, s, "alice")
	a.ok("SELECT INBOX")
	b.ok("SELECT INBOX")
	return s, a, b
}

// TestWhatOneDoesTheOtherHears runs a command in one session, then one in the
// other, and looks at what that one is told.
func TestWhatOneDoesTheOtherHears(t *testing.T) {
	tests := []struct {
		name, does, asks string
		hears            string // joined by "|"
	}{
		{"flags", `STORE 2 +FLAGS.SILENT (\Flagged)`, "NOOP", `* 2 FETCH (UID 2 FLAGS (\Flagged \Recent))`},
		{"a flag that was set", `STORE 2 -FLAGS.SILENT (\Flagged)`, "NOOP", ""},
		{"reading", "FETCH 1 BODY[]", "NOOP", `* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`},
		{"peeking", "FETCH 1 BODY.PEEK[]", "NOOP", ""},
		{
			"a keyword", "STORE 1 +FLAGS.SILENT (New)", "NOOP",
			`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft New)|* 1 FETCH (UID 1 FLAGS (\Recent New))`,
		},
		{"moving", "MOVE 1,3 Archive", "NOOP", "* 1 EXPUNGE|* 2 EXPUNGE"},
		{"moving, then fetch", "MOVE 1,3 Archive", "FETCH 2 UID", "* 2 FETCH (UID 2)"},
		{"moving, then UID fetch", "MOVE 1,3 Archive", "UID FETCH 2 UID", "* 2 FETCH (UID 2)|* 1 EXPUNGE|* 2 EXPUNGE"},
		{"moving, then search", "MOVE 1,3 Archive", "SEARCH ALL", "* SEARCH 2 4"},
		{"moving, then UID search", "MOVE 1,3 Archive", "UID SEARCH ALL", "* SEARCH 2 4|* 1 EXPUNGE|* 2 EXPUNGE"},
		{"moving, then store", "MOVE 1 Archive", `STORE 2 FLAGS (\Draft)`, `* 2 FETCH (UID 2 FLAGS (\Draft \Recent))`},
		{"copying here", "COPY 1 INBOX", "NOOP", "* 5 EXISTS|* 4 RECENT"},
		{"copying there", "COPY 1 Archive", "NOOP", ""},
		{"two of his own, one of mine", `STORE 1:2 +FLAGS.SILENT (\Seen)`, `STORE 2 +FLAGS.SILENT (\Seen)`, `* 1 FETCH (UID 1 FLAGS (\Seen \Recent))`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, a, b := pair(t, 4)
			b.ok(tt.does)
			got, _ := a.do(tt.asks)
			if strings.Join(got, "|") != tt.hears {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), tt.hears)
			}
			if again := a.ok("NOOP"); strings.Contains(strings.Join(again, "|"), "FETCH") {
				t.Errorf("told twice: %s", again)
			}
		})
	}
}

// TestGoneMessages asks for messages that another session has removed and this
// one has not been told of (RFC 2180, 4.1).
func TestGoneMessages(t *testing.T) {
	tests := []struct{ cmd, want string }{
		{"FETCH 1 FLAGS", "NO [EXPUNGEISSUED]"},
		{"FETCH 1:2 BODY[]", "NO [EXPUNGEISSUED]"},
		{"UID FETCH 1:2 FLAGS", "OK"},
		{`STORE 1:2 +FLAGS (\Seen)`, "NO [EXPUNGEISSUED]"},
		{`UID STORE 1 +FLAGS (\Seen)`, "OK"},
		{"COPY 1 Archive", "NO [EXPUNGEISSUED]"},
		{"COPY 1:2 Archive", "OK [COPYUID"},
		{"MOVE 1 Archive", "NO [EXPUNGEISSUED]"},
		{"UID EXPUNGE 1", "OK"},
		{"SEARCH 1", "OK"},
	}
	for _, tt := range tests {
		t.Run(tt.cmd, func(t *testing.T) {
			t.Parallel()
			_, a, b := pair(t, 3)
			b.ok("MOVE 1 Trash")
			if _, tagged := a.do(tt.cmd); !strings.HasPrefix(tagged, tt.want) {
				t.Errorf("got %s, want %s", tagged, tt.want)
			}
			got := a.ok("NOOP")
			if all := strings.Join(got, "|"); !strings.Contains(all, "* 1 EXPUNGE") && !strings.HasPrefix(tt.cmd, "UID") && !strings.HasPrefix(tt.cmd, "COPY") && !strings.HasPrefix(tt.cmd, "MOVE") {
				t.Errorf("then told %q", all)
			}
		})
	}
}

// TestManyMessages takes the paths that differ with numbers.
func TestManyMessages(t *testing.T) {
	_, a, b := pair(t, 3)
	for range 7 {
		a.ok("COPY 1:* INBOX")
	}
	const n = 3 << 7
	if got := a.ok("UID FETCH 1:* FLAGS"); len(got) != n {
		t.Errorf("%d flags, want %d", len(got), n)
	}
	if got := a.ok("FETCH 5,7:300,2 UID"); len(got) != 296 || got[0] != "* 2 FETCH (UID 2)" {
		t.Errorf("%d UIDs from %s", len(got), got[0])
	}
	if got := a.ok("FETCH 1:* RFC822.SIZE"); len(got) != n {
		t.Errorf("%d sizes", len(got))
	}
	a.ok(`STORE 1:* +FLAGS.SILENT (\Deleted)`)
	a.ok(`STORE 10,20 -FLAGS.SILENT (\Deleted)`)
	if got := a.ok("EXPUNGE"); len(got) != n-2 {
		t.Errorf("%d gone", len(got))
	}
	got := b.ok("NOOP")
	if len(got) == 0 || got[0] != "* 1 EXPUNGE" {
		t.Errorf("the other session hears %.200s", got)
	}
	contains(t, b.ok("FETCH 1:* UID"), "* 2 FETCH (UID 20)")
}

func TestStatusRecent(t *testing.T) {
	s := newSite(t, nil)
	for i := range 3 {
		s.put(t, "alice", "INBOX", plainMessage(i), mailbox.Flags{})
	}
	c := login(t, s, "alice")
	for range 2 { // asking claims nothing
		contains(t, c.ok("STATUS INBOX (RECENT MESSAGES)"), "(RECENT 3 MESSAGES 3)")
	}
	c.ok("SELECT INBOX")
	c.ok("UNSELECT")
	s.put(t, "alice", "INBOX", plainMessage(4), mailbox.Flags{})
	contains(t, c.ok("STATUS INBOX (UNSEEN RECENT)"), "(UNSEEN 4 RECENT 1)")
}

// TestMacros compares each macro with what it stands for.
func TestMacros(t *testing.T) {
	_, a, _ := pair(t, 2)
	for name, items := range fetchMacros {
		short, long := a.ok("FETCH 1:* "+name), a.ok(fmt.Sprintf("FETCH 1:* (%s)", strings.Join(items, " ")))
		if strings.Join(short, "\n") != strings.Join(long, "\n") {
			t.Errorf("%s: %s, but %s", name, short, long)
		}
	}
}

// TestSelectAgain opens one folder after the other: a failed SELECT leaves none
// open (RFC 3501, 6.3.1).
func TestSelectAgain(t *testing.T) {
	_, a, b := pair(t, 2)
	contains(t, a.ok("EXAMINE Archive"), "* 0 EXISTS")
	b.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	if got := a.ok("NOOP"); len(got) != 0 {
		t.Errorf("told of a folder that is not selected: %s", got)
	}
	if _, tagged := a.do("SELECT nowhere"); !strings.HasPrefix(tagged, "NO [NONEXISTENT]") {
		t.Error(tagged)
	}
	if _, tagged := a.do("CLOSE"); !strings.HasPrefix(tagged, "BAD") {
		t.Error(tagged)
	}
	a.ok("EXAMINE INBOX")
	a.ok("CLOSE") // removes nothing, since it was opened for reading
	contains(t, a.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 2")
	a.ok("SELECT INBOX")
	a.ok("UNSELECT")
	contains(t, a.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 2")
	a.ok("SELECT INBOX")
	a.ok("CLOSE")
	contains(t, a.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 1")
}

func TestRenameOfSelectedFolder(t *testing.T) {
	s, a, _ := pair(t, 1)
	a.ok("CREATE one/two")
	a.ok("SELECT one/two")
	a.ok("RENAME one three")
	a.append("three/two", plainMessage(1))
	contains(t, a.ok("FETCH 1 UID"), "* 1 FETCH (UID 1)")
	a.ok("RENAME INBOX old")
	contains(t, a.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 0")
	contains(t, a.ok("STATUS old (MESSAGES)"), "MESSAGES 1")
	if _, err := s.store.Folder(t.Context(), 1, "one"); err == nil {
		t.Error("the old name is still there")
	}
}

// TestGoneWhileRead removes a message after its row was read and before its
// octets are: it is gone, and nothing is wrong with the server.
func TestGoneWhileRead(t *testing.T) {
	s := newSite(t, nil)
	uid := s.put(t, "alice", "INBOX", plainMessage(1), mailbox.Flags{System: mailbox.Deleted})
	inbox, err := s.store.Folder(t.Context(), testAccounts["alice"], "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.store.Entries(t.Context(), inbox.ID, []mailbox.UID{uid})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Expunge(t.Context(), inbox.ID, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ses := &session{
		store: s.store, ctx: t.Context(), log: slog.New(slog.DiscardHandler), w: wire.NewWriter(&out, &wire.Buffers{}),
		selected: &selected{folder: inbox},
	}
	f := &fetching{session: ses, items: []fetchItem{{name: "BODY[]", kind: fetchKinds["BODY["]}}, need: needEntry | needContent}
	if err := f.show(entries[0], false); err != nil || f.failed || f.shown != 0 {
		t.Errorf("error %v, failed %v, shown %d", err, f.failed, f.shown)
	}
}

// TestReportsAreSearched looks for text where no text/ part is.
func TestReportsAreSearched(t *testing.T) {
	c := login(t, newSite(t, nil), "alice")
	c.append("INBOX", "Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; gone@example.net\r\n")
	c.append("INBOX", "Content-Type: application/x-secret\r\n\r\ngone@example.net\r\n")
	c.ok("SELECT INBOX")
	contains(t, c.ok("SEARCH BODY gone@example.net"), "* SEARCH 1")
}

// TestLongSearch is told that it goes on, and a client that has left ends it.
func TestLongSearch(t *testing.T) {
	var clock atomic.Int64
	s := newSite(t, func(c *Config) {
		c.Now = func() time.Time { return testNow().Add(time.Duration(clock.Add(1)) * time.Minute) }
	})
	for i := range 3 {
		s.put(t, "alice", "INBOX", plainMessage(i), mailbox.Flags{})
	}
	c := login(t, s, "alice")
	c.ok("SELECT INBOX")
	got := c.ok("SEARCH SUBJECT Message")
	if want := []string{"* OK Still searching", "* OK Still searching", "* OK Still searching", "* SEARCH 1 2 3"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestBoundedWork refuses commands whose work would grow with the product of
// what the client says and what it has stored.
func TestBoundedWork(t *testing.T) {
	c := login(t, newSite(t, nil), "alice")
	c.ok("SELECT INBOX")
	c.ok("SEARCH" + strings.Repeat(" TEXT x", maxTexts))
	c.ok(`LIST "" "` + strings.Repeat("x", maxPatterns) + `"`)
	for _, cmd := range []string{
		"SEARCH" + strings.Repeat(" TEXT x", maxTexts+1),
		"SEARCH OR BODY x (" + strings.Repeat("NOT BODY x ", maxTexts) + "ALL)",
		`LIST "" "` + strings.Repeat("*", maxPatterns+1) + `"`,
		`LIST "" (` + strings.Repeat("x ", maxPatterns) + `y)`,
		`LSUB "` + strings.Repeat("*", maxPatterns) + `" "*"`,
	} {
		if _, tagged := c.do(cmd); !strings.HasPrefix(tagged, "BAD") {
			t.Errorf("%.30s...: %s", cmd, tagged)
		}
	}
}

// TestDeleteAfterRename deletes by names that have moved from one folder to
// another.
func TestDeleteAfterRename(t *testing.T) {
	c := login(t, newSite(t, nil), "alice")
	for _, cmd := range []string{"CREATE a", "SELECT a", "RENAME a b", "CREATE a", "DELETE a", "FETCH 1:* FLAGS"} {
		if _, tagged := c.do(cmd); strings.Contains(tagged, "No mailbox is selected") {
			t.Errorf("%s: %s", cmd, tagged)
		}
	}
	c.ok("DELETE b")
	if _, tagged := c.do("CHECK"); !strings.Contains(tagged, "No mailbox is selected") {
		t.Errorf("CHECK: %s", tagged)
	}
}
