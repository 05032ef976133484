package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/directory"
	"mtad/internal/mtatest"
	"mtad/journal"
	"mtad/mailbox"
	"mtad/message"
	"mtad/queue"
	"mtad/store"
)

// findings makes a store with a good message in a folder, does something to it,
// and returns what is found.
func findings(t *testing.T, rows string, octets func([]byte)) string {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	db, err := store.Open(dir, store.Options{}, mailbox.Schema(), directory.Schema(), queue.Schema())
	mtatest.Check(t, err)
	boxes, err := mailbox.Open(ctx, db, mailbox.Options{})
	mtatest.Check(t, err)
	inbox, err := boxes.Create(ctx, 1, "INBOX", "")
	mtatest.Check(t, err)
	_, err = boxes.Append(ctx, inbox.ID, message.FromBytes([]byte("Subject: x\r\n\r\nneedle\r\n")), mailbox.Flags{}, time.Now())
	mtatest.Check(t, err)
	if rows != "" {
		mtatest.Check(t, db.Update(ctx, func(tx *store.Tx) error { _, err := tx.Exec(rows); return err }))
	}
	mtatest.Check(t, db.Close())
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*.journal"))
	mtatest.Check(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		mtatest.Check(t, err)
		octets(b)
		mtatest.Check(t, os.WriteFile(f, b, 0o600))
	}
	n, found, err := check(ctx, dir)
	mtatest.Check(t, err)
	if n != 1 {
		t.Errorf("%d messages read, want 1", n)
	}
	return strings.Join(found, "\n")
}

func TestCheck(t *testing.T) {
	nothing := func([]byte) {}
	for _, c := range []struct {
		name, rows string
		octets     func([]byte)
		want       string
	}{
		{"good", "", nothing, ""},
		{"references", "UPDATE message SET refs = 2", nothing, "has 2 references, not 1"},
		{"no message", "UPDATE entry SET message = 7", nothing, "UID 1: no message"},
		{"count", "UPDATE folder SET messages = 3 WHERE name = 'INBOX'", nothing, "counts 3 messages, not 1"},
		{"uidnext", "UPDATE folder SET uidnext = 1", nothing, "UID 1 is not below UIDNEXT"},
		{"octets", "", func(b []byte) { b[bytes.Index(b, []byte("needle"))]++ }, journal.ErrDamaged.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := findings(t, c.rows, c.octets)
			if got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
