// Command storecheck reads the store of a server that does not run, or a copy,
// and says what is wrong with it: what SQLite finds, numbers that do not agree
// with the rows they count, and messages whose octets in the journal are not
// what was written. It recovers the store as a start does: give it a copy where
// that start is what is looked at.
//
//	storecheck DIR
//
// It prints how many messages it has read, and exits with 1 for a finding.
package main

import (
	"context"
	"fmt"
	"os"

	"mtad/directory"
	"mtad/journal"
	"mtad/mailbox"
	"mtad/queue"
	"mtad/store"
)

// checks are queries that find nothing in a good database; each row is one
// finding, in one column.
var checks = []string{
	`SELECT 'integrity: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
	`SELECT 'foreign key: ' || "table" || ' ' || rowid FROM pragma_foreign_key_check`,
	`SELECT 'message ' || id || ' has ' || refs || ' references, not ' || n FROM (
	   SELECT id, refs, coalesce(e.n, 0) + coalesce(q.n, 0) AS n FROM message
	   LEFT JOIN (SELECT message, count(*) AS n FROM entry GROUP BY message) e ON e.message = id
	   LEFT JOIN (SELECT message, count(*) AS n FROM queue GROUP BY message) q ON q.message = id) WHERE refs <> n`,
	`SELECT 'folder ' || folder || ' UID ' || uid || ': no message' FROM entry WHERE message NOT IN (SELECT id FROM message)`,
	`SELECT 'queue item ' || id || ': no message' FROM queue WHERE message NOT IN (SELECT id FROM message)`,
	`SELECT 'folder ' || id || ' counts ' || messages || ' messages, not ' || n FROM (SELECT id, messages,
	   (SELECT count(*) FROM entry WHERE entry.folder = folder.id) AS n FROM folder) WHERE messages <> n`,
	`SELECT 'folder ' || folder || ' UID ' || uid || ' is not below UIDNEXT' FROM entry
	   WHERE uid >= (SELECT uidnext FROM folder WHERE folder.id = entry.folder)`,
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: storecheck DIR")
		os.Exit(64)
	}
	n, findings, err := check(context.Background(), os.Args[1])
	for _, f := range findings {
		fmt.Println(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "storecheck:", err)
	}
	if err != nil || len(findings) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d messages, nothing wrong\n", n)
}

func check(ctx context.Context, dir string) (messages int, findings []string, err error) {
	db, err := store.Open(dir, store.Options{}, mailbox.Schema(), directory.Schema(), queue.Schema())
	if err != nil {
		return 0, nil, err
	}
	defer db.Close()
	var places []journal.Place
	err = db.View(ctx, func(tx *store.Tx) error {
		for _, q := range checks {
			found, err := column(tx, q)
			if err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
			findings = append(findings, found...)
		}
		rows, err := tx.Query("SELECT segment, offset, length FROM message")
		if err != nil {
			return err
		}
		for rows.Next() {
			var p journal.Place
			if err := rows.Scan(&p.Segment, &p.Offset, &p.Length); err != nil {
				return err
			}
			places = append(places, p)
		}
		return rows.Err()
	})
	for _, p := range places {
		if bad := intact(db.Journal(), p); bad != nil {
			findings = append(findings, fmt.Sprintf("record %+v: %v", p, bad))
		}
	}
	return len(places), findings, err
}

func column(tx *store.Tx, query string) (out []string, err error) {
	rows, err := tx.Query(query)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// intact reads a record and compares its checksum.
func intact(j *journal.Journal, p journal.Place) error {
	c, err := j.Open(p)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Verify()
}
