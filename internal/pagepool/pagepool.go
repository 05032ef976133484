// Package pagepool opens SQLite's connections, which take the pages that they
// keep from one piece of memory of a fixed size: what a process with several
// databases needs for them is known, and does not rise for hours while their
// caches fill.
package pagepool

import (
	"fmt"
	"sync"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"
)

const (
	pageSize = 4096 // octets; SQLite's default, and every database's here
	pages    = 1792
)

// Size is what the pool has for pages, in KiB: the cache_size of all
// connections that a server keeps open should not be more in sum. What is
// beyond, as a sort's pages, comes from SQLite's allocator and returns to it.
const Size = pages * pageSize / 1024

// Open opens a connection to the database at path.
func Open(path string, flags sqlite.OpenFlags) (*sqlite.Conn, error) {
	if err := setUp(); err != nil {
		return nil, err
	}
	return sqlite.OpenConn(path, flags)
}

// setUp hands SQLite the pool, before it starts
// (https://sqlite.org/malloc.html#_page_cache_memory). A page and its header
// are 4.3 KiB, and the allocator below SQLite rounds up to powers of two: each
// page would take 9.1 KiB.
var setUp = sync.OnceValue(func() error {
	const words = 4 * 8
	tls := libc.NewTLS()
	defer tls.Close()
	args := tls.Alloc(words)
	defer tls.Free(words)
	header := libc.Xcalloc(tls, 1, 8)
	defer libc.Xfree(tls, header)
	if err := configure(tls, lib.SQLITE_CONFIG_PCACHE_HDRSZ, libc.VaList(args, header)); err != nil {
		return err
	}
	slot := pageSize + libc.AtomicLoadPInt32(header)
	pool := libc.Xmalloc(tls, libc.Tsize_t(slot)*pages) // SQLite's for the life of the process
	if pool == 0 {
		return fmt.Errorf("pagepool: no memory for %d pages of %d octets", pages, slot)
	}
	return configure(tls, lib.SQLITE_CONFIG_PAGECACHE, libc.VaList(args, pool, slot, int32(pages)))
})

func configure(tls *libc.TLS, option int32, args uintptr) error {
	if rc := lib.Xsqlite3_config(tls, option, args); rc != lib.SQLITE_OK {
		return fmt.Errorf("pagepool: SQLite's configuration %d: code %d", option, rc)
	}
	return nil
}
