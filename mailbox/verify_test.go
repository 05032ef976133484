package mailbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/store"
)

func verify(t *testing.T, s *Store) (Verified, string) {
	t.Helper()
	var b strings.Builder
	v, err := s.Verify(bg(), 0, func(f Folder, what string) { fmt.Fprintf(&b, "%s: %s\n", f.Name, what) })
	if err != nil {
		t.Fatal(err)
	}
	return v, b.String()
}

// After whatever is done to folders they are consistent; what is then changed
// behind their back is found.
func TestVerify(t *testing.T) {
	s, db := openStore(t, t.TempDir())
	a, b := create(t, s, "A"), create(t, s, "B")
	for i := range verifyPage + 3 {
		if _, err := s.Append(bg(), a.ID, message.FromBytes(fmt.Appendf(nil, "Subject: %d\r\n\r\n%s", i, strings.Repeat("x", i))), Flags{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.SetFlags(bg(), a.ID, []UID{1, 2, 3}, Add, Flags{System: Seen | Deleted, Keywords: []string{"k"}}, 0)
	must(t, err)
	_, err = s.Copy(bg(), a.ID, b.ID, []UID{2, 3, 4})
	must(t, err)
	_, err = s.Move(bg(), a.ID, b.ID, []UID{5})
	must(t, err)
	_, err = s.Expunge(bg(), a.ID, []UID{1, 2})
	must(t, err)
	if v, found := verify(t, s); found != "" || v.Messages != verifyPage+3-3+4 || v.Folders < 2 {
		t.Fatalf("%+v\n%s", v, found)
	}
	must(t, db.Update(bg(), func(tx *store.Tx) error {
		for _, q := range []string{
			"UPDATE folder SET unseen = unseen + 1 WHERE name = 'A'",
			"UPDATE folder SET uidnext = 2, modseq = 1 WHERE name = 'B'",
			"UPDATE entry SET size = size + 1 WHERE uid = 10",
			"DELETE FROM message WHERE id = (SELECT message FROM entry WHERE uid = 12)",
		} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	}))
	v, found := verify(t, s)
	for _, want := range []string{
		"A: counts {", "B: UID 4 is in use, the next to be given is 2", "B: mod-sequence ",
		"A: UID 10: ", "A: UID 12: message ", "has no place",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in\n%s", want, found)
		}
	}
	if v.Problems != strings.Count(found, "\n") {
		t.Errorf("%+v\n%s", v, found)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
