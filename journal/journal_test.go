package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mtad/message"
)

func open(t testing.TB, dir string, opts Options) *Journal {
	t.Helper()
	j, err := Open(DirFS(dir), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func mustAppend(t testing.TB, j *Journal, r Record) Place {
	t.Helper()
	p, err := j.Append(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestManyAppendersOnDisk(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentSize: 256 << 10})
	const writers, each = 20, 30
	places := make([]Place, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				n := w*each + i
				places[n] = mustAppend(t, j, testRecord(n, n*37%20000))
			}
		}()
	}
	wg.Wait()
	checkPlaces(t, j, places)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	checkPlaces(t, j, places)
	n := 0
	var last Position
	err := j.Replay(context.Background(), Position{}, func(e Entry) error {
		if !last.Before(e.Place.Start()) {
			t.Errorf("replay out of order: %v then %v", last, e.Place)
		}
		last = e.Place.Start()
		n++
		return nil
	})
	if err != nil || n != len(places) {
		t.Errorf("replay saw %d records, %v; want %d", n, err, len(places))
	}
}

func checkPlaces(t *testing.T, j *Journal, places []Place) {
	t.Helper()
	for n, p := range places {
		want := testRecord(n, n*37%20000)
		c, err := j.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		if c.ID() != want.ID || c.Kind() != want.Kind || !bytes.Equal(c.Meta(), want.Meta) || !bytes.Equal(readAll(t, c), readAll(t, want.Body)) {
			t.Errorf("record %d differs", n)
		}
		c.Close()
	}
}

func TestReplayFromPosition(t *testing.T) {
	j := open(t, t.TempDir(), Options{SegmentSize: 4096})
	var places []Place
	for i := range 20 {
		places = append(places, mustAppend(t, j, testRecord(i, 1000)))
	}
	for from := range places {
		var got []message.ID
		if err := j.Replay(context.Background(), places[from].Start(), func(e Entry) error { got = append(got, e.ID); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(places)-from || got[0] != message.ID(from+1) {
			t.Errorf("from %d: %v", from, got)
		}
	}
	stop := errors.New("enough")
	if err := j.Replay(context.Background(), Position{}, func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// corrupt changes one octet of the only segment, which is not open.
func corrupt(t *testing.T, dir string, off int64) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		at     func(Place) int64
		record int // which of five
		whole  int
		header bool
		damage int
	}{
		{"body in the middle", func(p Place) int64 { return p.Offset + headerSize + 50 }, 2, 4, true, 1},
		{"header in the middle", func(p Place) int64 { return p.Offset + 20 }, 2, 4, false, 1},
		{"magic of the first", func(p Place) int64 { return p.Offset }, 0, 4, false, 1},
		{"last body", func(p Place) int64 { return p.Offset + headerSize + 50 }, 4, 4, false, 0},
		{"last header", func(p Place) int64 { return p.Offset + 8 }, 4, 4, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, Options{})
			var places []Place
			for i := range 5 {
				places = append(places, mustAppend(t, j, testRecord(i, 1000)))
			}
			j.Close()
			corrupt(t, dir, tc.at(places[tc.record]))
			j = open(t, dir, Options{})
			var found []Damage
			whole, err := j.Verify(context.Background(), func(d Damage) { found = append(found, d) })
			if err != nil || whole != tc.whole || len(found) != tc.damage {
				t.Fatalf("%d whole, damage %v, %v", whole, found, err)
			}
			if tc.damage > 0 && (found[0].HeaderOK != tc.header || found[0].Offset != places[tc.record].Offset || found[0].Length != places[tc.record].Length || found[0].String() == "") {
				t.Errorf("damage %+v", found[0])
			}
			if _, err := j.Open(places[tc.record]); !errors.Is(err, ErrDamaged) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// A message that holds octets of a real segment is not taken for records.
func TestRecordInsideMessage(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	mustAppend(t, j, testRecord(0, 100))
	j.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	inner, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	j = open(t, other, Options{})
	p := mustAppend(t, j, Record{ID: 55, Kind: 1, Body: message.FromBytes(inner)})
	mustAppend(t, j, testRecord(1, 10))
	j.Close()
	corrupt(t, other, p.Offset+4)
	j = open(t, other, Options{})
	j.Replay(context.Background(), Position{}, func(e Entry) error {
		if e.ID != 2 {
			t.Errorf("record %v out of a message's octets", e.ID)
		}
		return nil
	})
}

func TestBacklogWaits(t *testing.T) {
	j := open(t, t.TempDir(), Options{Backlog: 5000})
	a := mustAppend(t, j, testRecord(0, 2000))
	b := mustAppend(t, j, testRecord(1, 2000))
	if n, octets := j.Outstanding(); n != 2 || octets != a.Length+b.Length {
		t.Errorf("outstanding %d, %d octets", n, octets)
	}
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error)
	go func() {
		_, err := j.Append(ctx, testRecord(2, 2000))
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatalf("append above the backlog: %v", err)
	}
	go func() {
		_, err := j.Append(context.Background(), testRecord(3, 2000))
		got <- err
	}()
	if m := j.Mark([]Place{b}); m != a.Start() {
		t.Errorf("mark %v, want %v", m, a.Start())
	}
	j.Done(b)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if m := j.Mark([]Place{a}); m.Segment != a.Segment || !b.Start().Before(m) {
		t.Errorf("mark %v", m)
	}
}

func TestBigRecordGetsItsOwnSegment(t *testing.T) {
	j := open(t, t.TempDir(), Options{SegmentSize: 4096, Backlog: 1000})
	p := mustAppend(t, j, testRecord(0, 1<<20))
	j.Done(p)
	c, err := j.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Size() != 1<<20 || c.Verify() != nil {
		t.Errorf("size %d, %v", c.Size(), c.Verify())
	}
}

type brokenBody struct{ size int64 }

func (b brokenBody) Size() int64                           { return b.size }
func (b brokenBody) ReadAt(p []byte, _ int64) (int, error) { return 0, errors.New("spool is gone") }

// fickleBody breaks on the second reading: while it is being written.
type fickleBody struct {
	message.Bytes
	reads atomic.Int64
}

func (b *fickleBody) ReadAt(p []byte, off int64) (int, error) {
	if b.reads.Add(int64(len(p))) > b.Size() && off > 0 {
		return 0, errors.New("spool is gone")
	}
	return b.Bytes.ReadAt(p, off)
}

func TestUnreadableBody(t *testing.T) {
	j := open(t, t.TempDir(), Options{})
	for _, size := range []int64{100, 1 << 20} {
		if _, err := j.Append(context.Background(), Record{ID: 1, Body: brokenBody{size}}); err == nil {
			t.Errorf("size %d: no error", size)
		}
	}
	fickle := &fickleBody{Bytes: message.FromBytes(make([]byte, 1<<20))}
	if _, err := j.Append(context.Background(), Record{ID: 1, Body: fickle}); err == nil {
		t.Error("fickle: no error")
	}
	p := mustAppend(t, j, testRecord(0, 100))
	if p.Offset != headerSize {
		t.Errorf("the segment was not used on: %v", p)
	}
	if n, octets := j.Outstanding(); n != 1 || octets != p.Length {
		t.Errorf("outstanding %d, %d", n, octets)
	}
}

func TestReclaimWaitsForReaders(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentSize: 200 << 10})
	big := mustAppend(t, j, testRecord(0, 100<<10))
	small := mustAppend(t, j, testRecord(1, 100))
	next := mustAppend(t, j, testRecord(2, 190<<10))
	j.Done(big, small, next)
	reader, err := j.Open(big)
	if err != nil {
		t.Fatal(err)
	}
	release := j.Hold()
	segs := j.Finished()
	if len(segs) != 1 || segs[0].Sequence != 1 {
		t.Fatalf("finished %v", segs)
	}
	var moved []Move
	err = j.Reclaim(context.Background(), 1, []Place{small}, func(m []Move) error { moved = m; return nil })
	if err != nil || len(moved) != 1 || moved[0].From != small {
		t.Fatalf("%v, moved %v", err, moved)
	}
	if got := readAll(t, reader); len(got) != 100<<10 {
		t.Error("reader lost its segment")
	}
	if _, err := j.Open(big); !errors.Is(err, ErrGone) {
		t.Errorf("open after reclaim: %v", err)
	}
	path := filepath.Join(dir, segmentName(1))
	reader.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("held segment: %v", err)
	}
	release()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after release: %v", err)
	}
	c, err := j.Open(moved[0].To)
	if err != nil || c.ID() != 2 {
		t.Errorf("copy: %v", err)
	}
}

// gated is a folder whose syncs, once a number of writes is wanted, wait for
// that many.
type gated struct {
	FS
	want atomic.Int64
	all  chan struct{}
}

func (g *gated) Create(name string, size int64) (Writer, error) {
	w, err := g.FS.Create(name, size)
	return gatedWriter{w, g}, err
}

type gatedWriter struct {
	Writer
	gate *gated
}

func (w gatedWriter) WriteAt(b []byte, off int64) (int, error) {
	if w.gate.want.Add(-1) == 0 {
		close(w.gate.all)
	}
	return w.Writer.WriteAt(b, off)
}

func (w gatedWriter) Sync() error {
	if w.gate.want.Load() > 0 {
		select {
		case <-w.gate.all:
		case <-time.After(10 * time.Second):
			return errSync
		}
	}
	return w.Writer.Sync()
}

// Copies share syncs: a segment of many small records is not a sync for each.
func TestReclaimSharesSyncs(t *testing.T) {
	g := &gated{FS: newSimFS(), all: make(chan struct{})}
	j, err := Open(g, Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var live []Place
	for i := range copiesAtOnce {
		live = append(live, mustAppend(t, j, testRecord(i, 1000)))
	}
	// One that fills the segment, and one that begins the next.
	j.Done(append(live, mustAppend(t, j, testRecord(50, 25<<10)), mustAppend(t, j, testRecord(51, 8<<10)))...)
	g.want.Store(copiesAtOnce)
	err = j.Reclaim(context.Background(), 1, live, func(moves []Move) error {
		for i, m := range moves {
			c, err := j.Open(m.To)
			if err != nil || m.From != live[i] || c.ID() != message.ID(i+1) {
				t.Errorf("move %d: %+v, %v", i, m, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: the first sync came before %d copies were written", err, copiesAtOnce)
	}
}

func TestReclaimKeepsSegmentOnError(t *testing.T) {
	j := open(t, t.TempDir(), Options{SegmentSize: 4096})
	p := mustAppend(t, j, testRecord(0, 3000))
	j.Done(p, mustAppend(t, j, testRecord(1, 3000)))
	fault := errors.New("no")
	if err := j.Reclaim(context.Background(), p.Segment, []Place{p}, func([]Move) error { return fault }); !errors.Is(err, fault) {
		t.Error(err)
	}
	if c, err := j.Open(p); err != nil || c.ID() != 1 {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	j := open(t, t.TempDir(), Options{})
	p := mustAppend(t, j, testRecord(0, 10))
	j.Close()
	if _, err := j.Append(context.Background(), testRecord(1, 1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := j.Append(context.Background(), Record{Meta: make([]byte, MaxMeta+1)}); !errors.Is(err, ErrTooBig) {
		t.Error(err)
	}
	if _, err := j.Open(Place{77, 64, 64}); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if p.End() != j.End() {
		t.Errorf("end %v, want %v", j.End(), p.End())
	}
}

func FuzzHeader(f *testing.F) {
	h := header{kind: 3, meta: 10, id: 5, raw: 100, stored: 100, salt: 9, synced: 64}
	b := make([]byte, headerSize)
	h.encode(b)
	f.Add(b, uint64(9), int64(1000))
	f.Add([]byte("mRec"), uint64(0), int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, salt uint64, limit int64) {
		h, ok := decodeHeader(b, salt, limit)
		if !ok {
			return
		}
		if h.length() > limit || h.length() < headerSize {
			t.Errorf("length %d, limit %d", h.length(), limit)
		}
		again := make([]byte, headerSize)
		h.encode(again)
		if !bytes.Equal(again, b[:headerSize]) {
			t.Errorf("%x encodes as %x", b[:headerSize], again)
		}
		decodeSegment(b, h.salt)
	})
}

// FuzzSegment opens a folder whose only segment holds arbitrary octets behind
// a good header.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add(bytes.Repeat([]byte("mRec"), 100), 3)
	f.Fuzz(func(t *testing.T, b []byte, flip int) {
		fs := newSimFS()
		j, err := Open(fs, Options{SegmentSize: 4096})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, j, testRecord(0, 100))
		mustAppend(t, j, Record{ID: 2, Meta: b[:min(len(b), 100)], Body: message.FromBytes(b)})
		j.Close()
		d := fs.names[segmentName(1)].data
		if len(d) > headerSize && flip > 0 {
			d[headerSize+flip%(len(d)-headerSize)] ^= byte(flip)
		}
		if j, err = Open(fs, Options{}); err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if err := j.Replay(context.Background(), Position{}, func(Entry) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := open(b, b.TempDir(), Options{})
			rec := testRecord(0, 10<<10)
			b.SetBytes(10 << 10)
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for left.Add(-1) >= 0 {
						j.Done(mustAppend(b, j, rec))
					}
				}()
			}
			wg.Wait()
		})
	}
}

// tight is a disk with room for small files only.
type tight struct {
	FS
	room int64
}

func (t tight) Create(name string, size int64) (Writer, error) {
	if size > t.room {
		return nil, fmt.Errorf("allocate: %w", syscall.ENOSPC)
	}
	return t.FS.Create(name, size)
}

// On a disk that is nearly full segments shrink; where nothing fits any more, an
// append fails and a later one may succeed.
func TestSegmentsShrink(t *testing.T) {
	dir := t.TempDir()
	fs := &tight{DirFS(dir), 3 << 20}
	j, err := Open(fs, Options{SegmentSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	add := func(size int) error {
		_, err := j.Append(context.Background(), Record{ID: 1, Kind: 1, Body: message.FromBytes(make([]byte, size))})
		return err
	}
	if err := add(1000); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if info, err := os.Stat(names[0]); err != nil || info.Size() != 2<<20 {
		t.Errorf("%v %v", info, err)
	}
	if err := add(4 << 20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("too large: %v", err)
	}
	fs.room = 0
	if err := add(1000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	fs.room = 100 << 20
	if err := add(4 << 20); err != nil {
		t.Error(err)
	}
}
