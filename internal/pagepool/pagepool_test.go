package pagepool

import (
	"fmt"
	"path/filepath"
	"testing"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Connections that have touched more than they may keep take all their pages
// from the pool, and give them back.
func TestPagesComeFromThePool(t *testing.T) {
	const connections, each = 7, Size / 7
	path := filepath.Join(t.TempDir(), "x.db")
	var open []*sqlite.Conn
	for range connections {
		c, err := Open(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		run(t, c, fmt.Sprintf("PRAGMA cache_size=-%d", each))
	}
	run(t, open[0], "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)")
	run(t, open[0], `WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM c WHERE n<12000)
		INSERT INTO t SELECT n, randomblob(1000) FROM c`)
	for range 2 {
		for _, c := range open {
			run(t, c, "SELECT sum(length(b)) FROM t")
		}
	}
	used, _ := status(t, lib.SQLITE_STATUS_PAGECACHE_USED)
	if used < pages*8/10 || used > pages {
		t.Errorf("%d pages of the pool's %d in use", used, pages)
	}
	if _, most := status(t, lib.SQLITE_STATUS_PAGECACHE_OVERFLOW); most != 0 {
		t.Errorf("%d octets of pages were taken beside the pool", most)
	}
	for _, c := range open {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if used, _ := status(t, lib.SQLITE_STATUS_PAGECACHE_USED); used != 0 {
		t.Errorf("%d pages in use after the last connection", used)
	}
}

func run(t *testing.T, c *sqlite.Conn, script string) {
	t.Helper()
	if err := sqlitex.ExecuteTransient(c, script, nil); err != nil {
		t.Fatal(err)
	}
}

// status asks SQLite for a counter's value and its highest.
func status(t *testing.T, counter int32) (now, most int) {
	t.Helper()
	tls := libc.NewTLS()
	defer tls.Close()
	out := tls.Alloc(16)
	defer tls.Free(16)
	if rc := lib.Xsqlite3_status(tls, counter, out, out+8, 0); rc != lib.SQLITE_OK {
		t.Fatalf("status %d: code %d", counter, rc)
	}
	return int(libc.AtomicLoadPInt32(out)), int(libc.AtomicLoadPInt32(out + 8))
}
