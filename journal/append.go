package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync/atomic"
	"syscall"

	"mtad/internal/crash"
	"mtad/internal/invariants"
	"mtad/message"
)

const (
	inMemory   = 256 << 10 // records up to here are written by one call
	streamStep = 256 << 10 // octets copied at a time of larger ones
	recycled   = 64 << 10  // buffers up to here are kept for the next record
)

// pending is a record on its way to the disk.
type pending struct {
	head  header
	buf   []byte // header room, meta and, of small records, the whole rest
	body  message.Bytes
	size  int64
	copy  bool // by Reclaim: never outstanding
	seg   *active
	place Place
	done  chan error // buffered
}

// active is the segment being written. Its writer goroutine owns off.
type active struct {
	segmentHeader
	name   string
	w      Writer
	room   int64 // octets of the file
	off    int64
	synced atomic.Int64 // good octets
	failed atomic.Bool  // a write or sync went wrong: nothing more is acknowledged
	file   *segment     // what readers see
}

// Append writes r and returns when it is on disk. It waits while the backlog
// is full. ctx ends the wait only as long as writing has not begun; after that
// the outcome is known soon. After an error the record will not be seen by a
// replay, unless the process dies before another record is appended.
func (j *Journal) Append(ctx context.Context, r Record) (Place, error) {
	if len(r.Meta) > MaxMeta {
		return Place{}, ErrTooBig
	}
	if err := j.waitRoom(ctx, r.size()); err != nil {
		return Place{}, err
	}
	place, err := j.append(ctx, r, 0)
	if err != nil {
		j.backlog.release(r.size())
		return Place{}, fmt.Errorf("journal: append %v: %w", r.ID, err)
	}
	return place, nil
}

func (j *Journal) append(ctx context.Context, r Record, flags uint8) (Place, error) {
	p, err := j.prepare(r)
	defer j.recycle(p)
	if err != nil {
		return Place{}, err
	}
	p.head.flags, p.copy = flags, flags&flagCopy != 0
	if err := j.enqueue(p); err != nil {
		return Place{}, err
	}
	select {
	case err = <-p.done:
	case <-ctx.Done():
		if j.withdraw(p) {
			return Place{}, ctx.Err()
		}
		err = <-p.done
	}
	return p.place, err
}

func (j *Journal) enqueue(p *pending) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	j.waiting = append(j.waiting, p)
	j.arrived.Signal()
	return nil
}

// withdraw takes p out of the queue if its writing has not begun.
func (j *Journal) withdraw(p *pending) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.Index(j.waiting, p)
	if i < 0 {
		return false
	}
	j.waiting = slices.Delete(j.waiting, i, i+1)
	return true
}

// prepare encodes what does not depend on the segment, in the appender's own
// goroutine: reading the body and its checksum are most of the work.
func (j *Journal) prepare(r Record) (*pending, error) {
	p := &pending{size: r.size(), done: make(chan error, 1)}
	stored := r.bodySize()
	p.head = header{codec: codecRaw, kind: r.Kind, meta: uint32(len(r.Meta)), id: r.ID, raw: stored, stored: stored}
	if p.size > inMemory {
		p.buf = make([]byte, headerSize, headerSize+len(r.Meta))
		p.buf = append(p.buf, r.Meta...)
		p.body = r.Body
		sum, err := sumOf(r.Meta, r.Body)
		p.head.sum = sum
		return p, err
	}
	p.buf = j.buffer(int(p.size))
	n := headerSize + copy(p.buf[headerSize:], r.Meta)
	if err := readFull(r.Body, p.buf[n:n+int(stored)]); err != nil {
		return p, err
	}
	n += int(stored)
	clear(p.buf[n:])
	p.head.sum = checksum(p.buf[headerSize:n])
	return p, nil
}

// buffer lends n octets that hold anything.
func (j *Journal) buffer(n int) []byte {
	if b, ok := j.spare.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n, max(n, 16<<10))
}

// recycle takes the buffer of a record that is written or given up.
func (j *Journal) recycle(p *pending) {
	if b := p.buf; cap(b) <= recycled {
		j.spare.Put(&b)
	}
}

func readFull(body message.Bytes, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := body.ReadAt(b, 0)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read message: %w", err)
}

func sumOf(meta []byte, body message.Bytes) (uint32, error) {
	sum := crc32.New(castagnoli())
	sum.Write(meta)
	if body == nil {
		return sum.Sum32(), nil
	}
	n, err := io.CopyBuffer(sum, io.NewSectionReader(body, 0, body.Size()), make([]byte, streamStep))
	if err == nil && n != body.Size() {
		err = io.ErrUnexpectedEOF
	}
	return sum.Sum32(), err
}

// writeLoop is the only goroutine that writes to segments.
func (j *Journal) writeLoop() {
	defer j.work.Done()
	for {
		j.mu.Lock()
		for len(j.waiting) == 0 && !j.closed {
			j.arrived.Wait()
		}
		batch := j.waiting
		j.waiting = nil
		closed := j.closed
		j.mu.Unlock()
		for _, p := range batch {
			j.write(p)
		}
		if closed && len(batch) == 0 {
			j.stopWriting()
			return
		}
	}
}

func (j *Journal) stopWriting() {
	j.finish()
	j.mu.Lock()
	j.done = true
	j.ready.Broadcast()
	j.mu.Unlock()
}

// write puts one record into the active segment and hands it to the syncer.
func (j *Journal) write(p *pending) {
	seg, err := j.segmentFor(p.size)
	if err != nil {
		p.done <- err
		return
	}
	// Invariant: header and directory entry are on disk before a record.
	if invariants.Enabled && seg.file == nil {
		invariants.Broken("journal: a record for %s, whose header is not on disk", seg.name)
	}
	p.seg = seg
	p.head.salt, p.head.synced = seg.salt, seg.synced.Load()
	p.place = Place{seg.seq, seg.off, p.size}
	if err := j.writeRecord(seg, p); err != nil {
		p.done <- err
		return
	}
	seg.off += p.size
	j.mu.Lock()
	j.written = append(j.written, p)
	j.ready.Signal()
	j.mu.Unlock()
}

func (j *Journal) writeRecord(seg *active, p *pending) error {
	p.head.encode(p.buf[:headerSize])
	if p.body != nil {
		if err := j.stream(seg, p); err != nil {
			return err
		}
	}
	if _, err := seg.w.WriteAt(p.buf, seg.off); err != nil {
		seg.failed.Store(true)
		return fmt.Errorf("write %s: %w", seg.name, err)
	}
	return nil
}

// stream copies a large body behind the place of its header, which is written
// last. When the body cannot be read the segment is still good: the next
// record takes the same place.
func (j *Journal) stream(seg *active, p *pending) error {
	if j.buf == nil {
		j.buf = make([]byte, streamStep)
	}
	at := seg.off + int64(len(p.buf))
	for n := int64(0); n < p.head.stored; {
		b := j.buf[:min(int64(len(j.buf)), p.head.stored-n)]
		if err := readFull(&shifted{p.body, n}, b); err != nil {
			return err
		}
		if _, err := seg.w.WriteAt(b, at+n); err != nil {
			seg.failed.Store(true)
			return fmt.Errorf("write %s: %w", seg.name, err)
		}
		n += int64(len(b))
	}
	return nil
}

// shifted is a message.Bytes from an offset on.
type shifted struct {
	message.Bytes
	by int64
}

func (s *shifted) ReadAt(b []byte, off int64) (int, error) { return s.Bytes.ReadAt(b, off+s.by) }

// segmentFor is the active segment if size octets fit, else a new one.
func (j *Journal) segmentFor(size int64) (*active, error) {
	if s := j.active; s != nil && !s.failed.Load() && s.off+size <= s.room {
		return s, nil
	}
	j.finish()
	need := headerSize + size
	for room := max(j.opts.SegmentSize, need); ; room = max(room/2, need) {
		s, err := j.create(room)
		if err == nil {
			j.active = s
			return s, nil
		}
		if !full(err) || room == need || room <= smallSegment {
			return nil, err
		}
	}
}

// smallSegment is what a segment shrinks to, by halves, on a disk that is nearly
// full, so that its last room serves too.
const smallSegment = 1 << 20

// full says that the disk, or the user's part of it, has no room left.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// finish waits for the syncer and closes the active segment: what lies behind
// its good octets is cut off and stated so in the next segment's header.
func (j *Journal) finish() {
	j.mu.Lock()
	for len(j.written) > 0 || j.syncing {
		j.idle.Wait()
	}
	j.mu.Unlock()
	s := j.active
	if s == nil {
		return
	}
	j.active = nil
	good := s.synced.Load()
	j.sealed = Position{s.seq, good}
	j.shelf.seal(s.file, good)
	if err := s.w.Finish(good); err != nil {
		j.opts.Logger.Warn("journal: closing a segment", "segment", s.name, "error", err)
	}
}

// create makes the next segment. Header and directory entry are on
// disk before the first record is written.
func (j *Journal) create(room int64) (*active, error) {
	var salt [8]byte
	rand.Read(salt[:])
	h := segmentHeader{seq: j.next, salt: binary.LittleEndian.Uint64(salt[:]), prev: j.sealed.Segment, prevEnd: j.sealed.Offset}
	s := &active{segmentHeader: h, name: segmentName(h.seq), room: room, off: headerSize}
	s.synced.Store(headerSize)
	j.next++
	w, err := j.fs.Create(s.name, room)
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", s.name, err)
	}
	s.w = w
	if err := j.begin(s); err != nil {
		err = fmt.Errorf("begin segment %s: %w", s.name, err)
		return nil, errors.Join(err, w.Finish(0), j.fs.Dir().Remove(s.name))
	}
	return s, nil
}

func (j *Journal) begin(s *active) error {
	if _, err := s.w.WriteAt(s.encode(), 0); err != nil {
		return err
	}
	if err := s.w.Sync(); err != nil {
		return err
	}
	if err := j.fs.Dir().Sync(""); err != nil {
		return err
	}
	s.file = j.shelf.add(s.segmentHeader, s.room)
	return nil
}

// syncLoop makes written records durable and acknowledges them.
func (j *Journal) syncLoop() {
	defer j.work.Done()
	for {
		j.mu.Lock()
		for len(j.written) == 0 && !j.done {
			j.ready.Wait()
		}
		batch := j.written
		j.written = nil
		j.syncing = len(batch) > 0
		j.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		crash.Point(crash.Written)
		err := j.sync(batch[0].seg)
		crash.Point(crash.Synced)
		j.settle(batch, err)
		j.mu.Lock()
		j.syncing = false
		j.idle.Broadcast()
		j.mu.Unlock()
	}
}

var errAbandoned = errors.New("segment abandoned after a fault")

// sync makes a batch durable; all of it lies in one segment, because the
// writer waits for the syncer before it opens the next.
func (j *Journal) sync(s *active) error {
	if s.failed.Load() {
		return errAbandoned
	}
	if err := s.w.Sync(); err != nil {
		s.failed.Store(true)
		return fmt.Errorf("sync %s: %w", s.name, err)
	}
	return nil
}

func (j *Journal) settle(batch []*pending, err error) {
	for _, p := range batch {
		if err == nil {
			// Invariant: what is acknowledged has no gap before it.
			if at := p.seg.synced.Load(); invariants.Enabled && p.place.Offset != at {
				invariants.Broken("journal: %s is acknowledged at %d behind %d: a replay would stop before", p.seg.name, p.place.Offset, at)
			}
			p.seg.synced.Store(p.place.Offset + p.size)
			j.acknowledge(p)
		}
		p.done <- err
	}
}

func (j *Journal) acknowledge(p *pending) {
	j.shelf.grow(p.seg.file, p.place.Offset+p.size)
	if p.copy {
		j.backlog.skip(p.place)
		return
	}
	j.backlog.add(p.place)
}
