package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mtad/journal"
)

// Errors that callers tell apart.
var (
	ErrNoRows      = errors.New("store: no rows")
	ErrClosed      = errors.New("store: closed")
	ErrLocked      = errors.New("store: in use by another process")
	ErrUnavailable = errors.New("store: database unavailable, outcome unknown")
	ErrNewer       = errors.New("store: database is of a newer version of this program")
	ErrNoMessage   = errors.New("store: no such message")
	ErrDamaged     = errors.New("store: the database is damaged: stop the server, keep a copy of its directory, and restore the newest backup; mail that the journal has and the backup does not know is delivered again at the start")
	ErrUnique      = errors.New("store: row exists already")
)

const (
	databaseName  = "mtad.db"
	journalName   = "journal"
	defaultReader = 4
	groupLimit    = 256 // functions in one transaction
)

// Options of Open; zero values mean the defaults.
type Options struct {
	Readers int             // connections for View, default 4
	Journal journal.Options // of the journal beside the database
	Logger  *slog.Logger    // default: discards
}

// Schema is the tables of one package. Migrations are SQL scripts run once
// each, in order, each in a transaction; one that was released never changes.
type Schema struct {
	Name       string
	Migrations []string
	// Refs are queries of one column: the message that each row refers to, as
	// it was counted by Tx.Ref.
	Refs []string
}

// DB is safe for concurrent use.
type DB struct {
	dir     string
	log     *slog.Logger
	journal *journal.Journal
	lock    *lockFile
	jobs    chan *job
	stop    chan struct{}
	work    sync.WaitGroup
	pool    *pool
	once    sync.Once
	refs    []string          // of all schemas
	commit  func(*conn) error // a test makes it fail

	// Owned by the writer goroutine.
	writer *conn // nil after a fault, until the database could be reopened
	above  int   // rows of journal_applied

	mu       sync.Mutex
	restored map[journal.Position]bool // records Replay has to present
	replayAt journal.Position
	reclaim  sync.Mutex // one Reclaim at a time
}

// Open opens the database and the journal in dir, creating both if missing,
// and brings the tables of schemas up to date. Another process in the same dir
// gives ErrLocked, a database of a newer program ErrNewer.
func Open(dir string, opts Options, schemas ...Schema) (*DB, error) {
	if opts.Readers <= 0 {
		opts.Readers = defaultReader
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Journal.Logger == nil {
		opts.Journal.Logger = opts.Logger
	}
	if err := os.MkdirAll(filepath.Join(dir, journalName), 0o700); err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: dir, log: opts.Logger, lock: lock,
		jobs: make(chan *job, groupLimit), stop: make(chan struct{}),
		commit: (*conn).commit,
	}
	if err := db.open(opts, schemas); err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", dir, describe(err)), db.shut())
	}
	db.work.Add(1)
	go db.writeLoop()
	return db, nil
}

func (db *DB) open(opts Options, schemas []Schema) error {
	var err error
	if db.writer, err = openWriter(db.path()); err != nil {
		return err
	}
	all := append([]Schema{ownSchema()}, schemas...)
	if err := migrate(db.writer, all); err != nil {
		return err
	}
	for _, s := range all {
		db.refs = append(db.refs, s.Refs...)
	}
	if err := journal.DirFS(db.dir).Dir().Sync(""); err != nil {
		return err
	}
	db.pool = newPool(opts.Readers, db.path())
	if db.journal, err = journal.Open(journal.DirFS(filepath.Join(db.dir, journalName)), opts.Journal); err != nil {
		return err
	}
	return db.restore()
}

func (db *DB) path() string { return filepath.Join(db.dir, databaseName) }

// Journal is the journal beside the database.
func (db *DB) Journal() *journal.Journal { return db.journal }

// Close ends the journal and the database. Functions that wait to be run get
// ErrClosed.
func (db *DB) Close() error {
	var err error
	db.once.Do(func() {
		close(db.stop)
		db.work.Wait()
		err = db.shut()
	})
	return err
}

func (db *DB) shut() error {
	var errs []error
	if db.journal != nil {
		errs = append(errs, db.journal.Close())
	}
	if db.pool != nil {
		errs = append(errs, db.pool.close())
	}
	if db.writer != nil {
		errs = append(errs, db.writer.close())
	}
	return errors.Join(append(errs, db.lock.release())...)
}

// View runs fn on one snapshot of what is committed. ctx bounds the wait for a
// connection; fn itself is expected to be short.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	c, err := db.pool.take(ctx)
	if err != nil {
		return err
	}
	defer db.pool.put(c)
	if err := c.run("BEGIN"); err != nil {
		return fmt.Errorf("store: view: %w", err)
	}
	tx := &Tx{conn: c}
	defer func() {
		tx.closeRows()
		if err := c.run("ROLLBACK"); err != nil {
			db.log.Warn("store: end of view", "error", err)
		}
	}()
	return fn(tx)
}

// pool hands out read connections. A nil in it is one still to be opened.
type pool struct {
	path  string
	conns chan *conn
	stop  chan struct{}
	size  int
}

func newPool(size int, path string) *pool {
	p := &pool{path: path, conns: make(chan *conn, size), stop: make(chan struct{}), size: size}
	for range size {
		p.conns <- nil
	}
	return p
}

func (p *pool) take(ctx context.Context) (*conn, error) {
	var c *conn
	select {
	case <-p.stop:
		return nil, ErrClosed
	case c = <-p.conns:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c != nil {
		return c, nil
	}
	c, err := openReader(p.path)
	if err != nil {
		p.conns <- nil
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c, nil
}

func (p *pool) put(c *conn) { p.conns <- c }

// drain closes every connection that comes back within limit.
func (p *pool) drain(limit time.Duration) (closed int, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var errs []error
	for closed < p.size {
		select {
		case c := <-p.conns:
			closed++
			if c != nil {
				errs = append(errs, c.close())
			}
		case <-timer.C:
			return closed, errors.Join(append(errs, errors.New("store: readers did not end in time"))...)
		}
	}
	return closed, errors.Join(errs...)
}

// renew closes the idle connections; they are opened again when needed.
func (p *pool) renew(limit time.Duration) error {
	closed, err := p.drain(limit)
	for range closed {
		p.conns <- nil
	}
	return err
}

func (p *pool) close() error {
	close(p.stop)
	_, err := p.drain(10 * time.Second)
	return err
}
