package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"mtad/internal/pagepool"
)

const busyTimeout = 10 * time.Second

// The pages that a connection keeps, in KiB: each connection has its own, filled
// bit by bit as it comes to touch them. What is not there is read from the
// kernel's cache. With the trace's they fill the pool of pagepool.
const (
	writerCache = "PRAGMA cache_size=-2048"
	readerCache = "PRAGMA cache_size=-1024"
)

// conn is one connection, used by one goroutine at a time.
type conn struct{ *sqlite.Conn }

func openWriter(path string) (*conn, error) {
	return openConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate,
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous=FULL",
		"PRAGMA foreign_keys=ON",
		"PRAGMA temp_store=MEMORY",
		writerCache,
		"PRAGMA wal_autocheckpoint=4000",
		"PRAGMA journal_size_limit=67108864",
	)
}

// openReader opens for writing too, because SQLite may have to recover the
// WAL; query_only keeps functions from it.
func openReader(path string) (*conn, error) {
	return openConn(path, sqlite.OpenReadWrite,
		"PRAGMA query_only=ON",
		"PRAGMA temp_store=MEMORY",
		readerCache,
	)
}

func openConn(path string, flags sqlite.OpenFlags, pragmas ...string) (*conn, error) {
	sc, err := pagepool.Open(path, flags)
	if err != nil {
		return nil, err
	}
	c := &conn{sc}
	c.SetBusyTimeout(busyTimeout)
	for _, p := range pragmas {
		if err := c.script(p); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", p, err), c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error { return c.Conn.Close() }

// run executes one statement that is used often and gives no rows.
func (c *conn) run(query string) error {
	st, err := c.Prepare(query)
	if err != nil {
		return err
	}
	_, err = st.Step()
	return errors.Join(err, st.Reset())
}

func (c *conn) commit() error { return c.run("COMMIT") }

// script executes statements once.
func (c *conn) script(sql string) error {
	for sql = skipComments(sql); sql != ""; sql = skipComments(sql) {
		st, rest, err := c.PrepareTransient(sql)
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			more, err = st.Step()
		}
		if err := errors.Join(err, st.Finalize()); err != nil {
			return err
		}
		sql = sql[len(sql)-rest:]
	}
	return nil
}

// skipComments drops what stands before the next statement: SQLite makes no
// statement of a comment alone.
func skipComments(sql string) string {
	for {
		sql = strings.TrimSpace(sql)
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, _ = strings.Cut(sql, "*/")
		default:
			return sql
		}
	}
}

// describe adds the sentinel that callers branch on.
func describe(err error) error {
	switch sqlite.ErrCode(err) {
	case sqlite.ResultConstraintUnique, sqlite.ResultConstraintPrimaryKey, sqlite.ResultConstraintRowID:
		return fmt.Errorf("%w: %w", ErrUnique, err)
	}
	if isDamage(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// isDamage says that SQLite found its file to be no sound database.
func isDamage(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return true
	}
	return false
}
