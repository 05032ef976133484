package journal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

var (
	errPowerCut = errors.New("simulated power cut")
	errSync     = errors.New("simulated sync failure")
)

// simFS is a disk that forgets, at a power cut, whatever was not synced.
type simFS struct {
	mu       sync.Mutex
	names    map[string]*simFile // as programs see it
	durable  map[string]*simFile // entries that survive
	ops      int
	cutAt    int // this operation and all later ones fail; 0: never
	failSync int // this sync fails, counted from 1; 0: never
	syncs    int
}

type simFile struct {
	data    []byte     // as programs see it
	durable []byte     // what survives
	pending []simWrite // in order, not yet durable
}

type simWrite struct {
	off  int64
	data []byte
}

func newSimFS() *simFS {
	return &simFS{names: map[string]*simFile{}, durable: map[string]*simFile{}}
}

// step counts an operation. The caller holds the lock.
func (s *simFS) step(isSync bool) error {
	s.ops++
	if isSync {
		s.syncs++
	}
	if s.cutAt > 0 && s.ops >= s.cutAt {
		return errPowerCut
	}
	if isSync && s.syncs == s.failSync {
		return errSync
	}
	return nil
}

func (s *simFS) Create(name string, size int64) (Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.step(false); err != nil {
		return nil, err
	}
	if s.names[name] != nil {
		return nil, fs.ErrExist
	}
	f := &simFile{data: make([]byte, size)}
	s.names[name] = f
	return &simWriter{s, f}, nil
}

func (s *simFS) Open(name string) (Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.names[name]
	if f == nil {
		return nil, fs.ErrNotExist
	}
	return &simReader{s, f}, nil
}

func (s *simFS) Dir() Directory { return (*simDir)(s) }

type simDir simFS

func (d *simDir) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *simDir) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := (*simFS)(d).step(false); err != nil {
		return err
	}
	delete(d.names, name)
	return nil
}

func (d *simDir) Sync(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := (*simFS)(d).step(true); err != nil {
		return err
	}
	if name == "" {
		d.durable = maps.Clone(d.names)
		return nil
	}
	d.names[name].flush()
	return nil
}

func (f *simFile) flush() {
	f.durable = f.surviving(len(f.pending), false)
	f.pending = nil
}

// surviving is the file with the first n unsynced writes, the last of them
// torn if so asked.
func (f *simFile) surviving(n int, torn bool) []byte {
	b := make([]byte, len(f.data))
	copy(b, f.durable)
	for i, w := range f.pending[:n] {
		d := w.data
		if torn && i == n-1 {
			d = d[:len(d)/2]
		}
		if w.off < int64(len(b)) {
			copy(b[w.off:], d)
		}
	}
	return b
}

type simWriter struct {
	s *simFS
	f *simFile
}

func (w *simWriter) WriteAt(b []byte, off int64) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.step(false); err != nil {
		return 0, err
	}
	if off+int64(len(b)) > int64(len(w.f.data)) {
		return 0, errors.New("simulated disk: write behind the room")
	}
	copy(w.f.data[off:], b)
	w.f.pending = append(w.f.pending, simWrite{off, slices.Clone(b)})
	return len(b), nil
}

// Sync that fails forgets what it should have written: later ones succeed.
func (w *simWriter) Sync() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	err := w.s.step(true)
	if errors.Is(err, errSync) {
		w.f.pending = nil
	}
	if err != nil {
		return err
	}
	w.f.flush()
	return nil
}

func (w *simWriter) Finish(size int64) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err := w.s.step(false); err != nil {
		return err
	}
	w.f.data = w.f.data[:size]
	return nil
}

type simReader struct {
	s *simFS
	f *simFile
}

func (r *simReader) ReadAt(b []byte, off int64) (int, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if off >= int64(len(r.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, r.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (r *simReader) Size() int64 { return int64(len(r.f.data)) }
func (r *simReader) Close() error {
	return nil
}

// survival is one way a disk may look after the power cut.
type survival struct {
	name string
	file func(*simFile) []byte
	all  bool // unsynced directory entries survive
}

func survivals() []survival {
	return []survival{
		{"synced only", func(f *simFile) []byte { return f.surviving(0, false) }, false},
		{"synced octets, all entries", func(f *simFile) []byte { return f.surviving(0, false) }, true},
		{"everything", func(f *simFile) []byte { return f.surviving(len(f.pending), false) }, true},
		{"last write torn", func(f *simFile) []byte { return f.surviving(len(f.pending), true) }, true},
		{"first write lost", func(f *simFile) []byte {
			if len(f.pending) == 0 {
				return f.surviving(0, false)
			}
			rest := simFile{data: f.data, durable: f.durable, pending: f.pending[1:]}
			return rest.surviving(len(rest.pending), false)
		}, true},
	}
}

// reboot is the disk after the power came back.
func (s *simFS) reboot(how survival) *simFS {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.durable
	if how.all {
		names = maps.Clone(s.durable)
		maps.Copy(names, s.names)
	}
	next := newSimFS()
	for name, f := range names {
		b := how.file(f)
		g := &simFile{data: b, durable: slices.Clone(b)}
		next.names[name], next.durable[name] = g, g
	}
	return next
}
