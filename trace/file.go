package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"mtad/internal/jsonout"
	"mtad/internal/pagepool"
	"mtad/message"
	"mtad/pipeline"
)

const (
	fileVersion = 1       // PRAGMA user_version
	maxTrace    = 1 << 20 // octets kept of one ID, give or take one write
	pruneRows   = 256     // IDs forgotten at a time
	pruneShare  = 16      // a full file forgets one part in so many
)

// file is the SQLite file: a row for each ID, its events a JSON text a line. It
// is used by one goroutine at a time.
type file struct {
	path string
	max  int64 // octets
	log  *slog.Logger
	conn *sqlite.Conn // nil after a fault, until it could be opened again
	text jsonout.Writer
}

// errVersion says that the file was made by another version of this program.
var errVersion = errors.New("of another version")

func openFile(path string, maxSize int64, log *slog.Logger) (*file, error) {
	f := &file{path: path, max: maxSize, log: log}
	if err := f.guard(func(*file) error { return nil }); err != nil {
		return nil, fmt.Errorf("trace: open %s: %w", path, err)
	}
	return f, nil
}

func (f *file) close() error {
	if f.conn == nil {
		return nil
	}
	err := f.conn.Close()
	f.conn = nil
	return err
}

// guard runs fn on the open file. Where that shows that the file is damaged, it
// is set aside and fn run once more on a new one.
func (f *file) guard(fn func(*file) error) error {
	err := f.open()
	if err == nil {
		err = fn(f)
	}
	if !damaged(err) {
		return err
	}
	f.log.Warn("trace: file set aside, a new one begun", "file", f.path+".damaged", "err", err)
	if err := f.setAside(); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	return fn(f)
}

func damaged(err error) bool {
	if err == nil {
		return false
	}
	code := sqlite.ErrCode(err).ToPrimary()
	return code == sqlite.ResultCorrupt || code == sqlite.ResultNotADB || errors.Is(err, errVersion)
}

func (f *file) setAside() error {
	// Closing a damaged file may fail, and nothing follows from that.
	_ = f.close()
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(f.path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(f.path, f.path+".damaged")
}

func (f *file) open() error {
	if f.conn != nil {
		return nil
	}
	conn, err := pagepool.Open(f.path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return err
	}
	f.conn = conn
	conn.SetBusyTimeout(time.Second)
	if err := f.prepare(); err != nil {
		return errors.Join(err, f.close())
	}
	return nil
}

// prepare sets the connection up and makes the table of a new file.
func (f *file) prepare() error {
	for _, p := range []string{
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "PRAGMA temp_store=MEMORY",
		"PRAGMA cache_size=-1024", "PRAGMA journal_size_limit=8388608",
	} {
		if err := f.run(p); err != nil {
			return err
		}
	}
	version, err := f.number("PRAGMA user_version")
	if err != nil || version == fileVersion {
		return err
	}
	if version != 0 {
		return fmt.Errorf("trace: file %w: %d", errVersion, version)
	}
	if err := f.run("CREATE TABLE IF NOT EXISTS trace (id INTEGER PRIMARY KEY, events TEXT NOT NULL) STRICT"); err != nil {
		return err
	}
	if err := f.run(fmt.Sprintf("PRAGMA user_version=%d", fileVersion)); err != nil {
		return err
	}
	return os.Chmod(f.path, 0o600)
}

// run executes a statement and ignores its rows.
func (f *file) run(query string) error {
	_, err := f.number(query)
	return err
}

// number is the first column of the statement's last row.
func (f *file) number(query string) (n int64, err error) {
	st, err := f.conn.Prepare(query)
	if err != nil {
		return 0, err
	}
	for {
		more, err := st.Step()
		if err != nil || !more {
			return n, errors.Join(err, st.Reset())
		}
		n = st.ColumnInt64(0)
	}
}

// write stores traces, which are sorted by ID, in one transaction.
func (f *file) write(batch []pipeline.Trace) error {
	if err := f.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f.insert(batch)
	if err == nil {
		err = f.prune()
	}
	if err == nil {
		err = f.run("COMMIT")
	}
	if err != nil && !f.conn.AutocommitEnabled() {
		err = errors.Join(err, f.run("ROLLBACK"))
	}
	return err
}

const insertQuery = `INSERT INTO trace VALUES (?1, ?2)
	ON CONFLICT DO UPDATE SET events = events || excluded.events WHERE octet_length(events) < ?3`

func (f *file) insert(batch []pipeline.Trace) error {
	st, err := f.conn.Prepare(insertQuery)
	if err != nil {
		return err
	}
	for i := 0; i < len(batch); {
		id := batch[i].ID
		f.text.Reset()
		for ; i < len(batch) && batch[i].ID == id; i++ {
			for j := range batch[i].Events {
				batch[i].Events[j].WriteJSON(&f.text)
				f.text.Newline()
			}
		}
		text, err := f.text.Bytes()
		if err != nil {
			return fmt.Errorf("trace: encode: %w", err)
		}
		st.BindInt64(1, int64(id))
		st.BindText(2, string(text))
		st.BindInt64(3, maxTrace)
		_, err = st.Step()
		if err := errors.Join(err, st.Reset()); err != nil {
			return err
		}
	}
	return nil
}

// used is how many octets of the file hold something.
func (f *file) used() (int64, error) {
	var total int64
	for query, sign := range map[string]int64{"PRAGMA page_count": 1, "PRAGMA freelist_count": -1} {
		n, err := f.number(query)
		if err != nil {
			return 0, err
		}
		total += sign * n
	}
	size, err := f.number("PRAGMA page_size")
	return total * size, err
}

// prune forgets the oldest traces of a full file. The space is used again.
func (f *file) prune() error {
	used, err := f.used()
	if err != nil || used <= f.max {
		return err
	}
	st, err := f.conn.Prepare("DELETE FROM trace WHERE id IN (SELECT id FROM trace ORDER BY id LIMIT ?)")
	if err != nil {
		return err
	}
	for used > f.max-f.max/pruneShare {
		st.BindInt64(1, pruneRows)
		_, err := st.Step()
		if err := errors.Join(err, st.Reset()); err != nil {
			return err
		}
		if f.conn.Changes() == 0 {
			return nil
		}
		if used, err = f.used(); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) get(id message.ID) (pipeline.Trace, error) {
	found, err := f.query("SELECT id, events FROM trace WHERE id = ?", int64(id))
	if err != nil {
		return pipeline.Trace{}, err
	}
	if len(found) == 0 {
		return pipeline.Trace{}, ErrNone
	}
	return found[0], nil
}

func (f *file) last(n int) ([]pipeline.Trace, error) {
	return f.query("SELECT id, events FROM trace ORDER BY id DESC LIMIT ?", int64(max(n, 0)))
}

func (f *file) query(query string, arg int64) (out []pipeline.Trace, err error) {
	st, err := f.conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Reset()) }()
	st.BindInt64(1, arg)
	for {
		more, err := st.Step()
		if err != nil || !more {
			return out, err
		}
		out = append(out, pipeline.Trace{ID: message.ID(st.ColumnInt64(0)), Events: decode(st.ColumnText(1))})
	}
}

// Bounds of a page.
const (
	pageRows   = 200
	pageOctets = 4 << 20 // give or take a row
)

// row is a trace as it is stored.
type row struct {
	id     message.ID
	events string
}

// page reads the rows behind an ID.
func (f *file) page(after message.ID) (out []row, err error) {
	st, err := f.conn.Prepare("SELECT id, events FROM trace WHERE id > ? ORDER BY id LIMIT ?")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Reset()) }()
	st.BindInt64(1, int64(after))
	st.BindInt64(2, pageRows)
	for size := 0; size < pageOctets; {
		more, err := st.Step()
		if err != nil || !more {
			return out, err
		}
		r := row{message.ID(st.ColumnInt64(0)), st.ColumnText(1)}
		size += len(r.events)
		out = append(out, r)
	}
	return out, nil
}

// since reports whether something may have happened since a time: what was
// written last was the newest, give or take a little.
func (r *row) since(t time.Time) bool {
	if !r.id.Time().Before(t) {
		return true
	}
	line := strings.TrimSuffix(r.events, "\n")
	line = line[strings.LastIndexByte(line, '\n')+1:]
	var e struct {
		Time time.Time `json:"time"`
	}
	return json.Unmarshal([]byte(line), &e) != nil || !e.Time.Before(t.Add(-slack))
}

// slack is by how much events may be written out of order.
const slack = time.Minute

// decode reads the lines of a row in the order of time. A line that is no event
// is left out.
func decode(text string) []pipeline.Event {
	var out []pipeline.Event
	for line := range strings.Lines(text) {
		var e pipeline.Event
		if json.Unmarshal([]byte(line), &e) == nil {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b pipeline.Event) int { return a.Time.Compare(b.Time) })
	return out
}
