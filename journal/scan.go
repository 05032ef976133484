package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"mtad/message"
)

// Damage is a stretch of a segment that should hold records and does not.
type Damage struct {
	Segment  uint64
	Offset   int64
	Length   int64
	ID       message.ID // zero if the record's header is unreadable too
	HeaderOK bool
}

func (d Damage) String() string {
	if !d.HeaderOK {
		return fmt.Sprintf("%s: %d octets at %d hold no record", segmentName(d.Segment), d.Length, d.Offset)
	}
	return fmt.Sprintf("%s: record %v of %d octets at %d does not match its checksum", segmentName(d.Segment), d.ID, d.Length, d.Offset)
}

// Entry is one record as Replay and Verify see it.
type Entry struct {
	Record
	Place Place
	Copy  bool // made by Reclaim
}

// headerAt reads the record header at off, if one is there.
func (v *view) headerAt(off, end int64) (header, bool) {
	var b [headerSize]byte
	if off+headerSize > end {
		return header{}, false
	}
	if n, _ := v.file.ReadAt(b[:], off); n < headerSize {
		return header{}, false
	}
	return decodeHeader(b[:], v.salt, end-off)
}

// nextHeader looks for the next record header at or behind off. The salt keeps
// octets of a message from being taken for one.
func (v *view) nextHeader(off, end int64) (int64, bool) {
	buf := make([]byte, streamStep)
	for at := off; at < end; at += int64(len(buf)) - headerSize {
		n, err := v.file.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		for i := 0; i+headerSize <= n; i++ {
			k := bytes.Index(buf[i:n], []byte(recordMagic))
			if k < 0 {
				break
			}
			i += k
			if _, ok := decodeHeader(buf[i:n], v.salt, end-at-int64(i)); ok {
				return at + int64(i), true
			}
		}
		if err != nil {
			break
		}
	}
	return 0, false
}

// walk calls fn for every record header between off and end, and damaged for
// every stretch without one.
func (v *view) walk(ctx context.Context, off, end int64, damaged func(Damage), fn func(int64, header) error) error {
	for off < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, ok := v.headerAt(off, end)
		if !ok {
			next, found := v.nextHeader(off+alignment, end)
			if !found {
				next = end
			}
			damaged(Damage{Segment: v.seq, Offset: off, Length: next - off})
			off = next
			continue
		}
		if err := fn(off, h); err != nil {
			return err
		}
		off += h.length()
	}
	return nil
}

// intact compares the record's octets with its checksum.
func (v *view) intact(off int64, h header, buf []byte) error {
	sum := crc32.New(castagnoli())
	want := int64(h.meta) + h.stored
	n, err := io.CopyBuffer(sum, io.NewSectionReader(v.file, off+headerSize, want), buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", segmentName(v.seq), err)
	}
	if n != want || sum.Sum32() != h.sum {
		return ErrDamaged
	}
	return nil
}

// findEnd finds where the last segment ends. Whatever some record says was on
// disk when it was written is good or damaged; behind that, the first record
// that is not whole is the torn end, and nothing after it was acknowledged.
func (s *shelf) findEnd(b *segment) error {
	if b.lost {
		return nil
	}
	v, err := s.pin(b.seq)
	if err != nil {
		return err
	}
	durable := int64(headerSize)
	note := func(_ int64, h header) error {
		durable = max(durable, h.synced)
		return nil
	}
	if err := v.walk(context.Background(), headerSize, b.size, func(Damage) {}, note); err != nil {
		return errors.Join(err, v.release())
	}
	end, buf := min(durable, b.size), make([]byte, streamStep)
	for {
		h, ok := v.headerAt(end, b.size)
		if !ok {
			break
		}
		if err := v.intact(end, h, buf); errors.Is(err, ErrDamaged) {
			break
		} else if err != nil {
			return errors.Join(err, v.release())
		}
		end += h.length()
	}
	s.grow(b, end)
	return v.release()
}

// Replay calls fn for every whole record from from on, in order. An Entry's
// octets are readable during the call only. Damaged records are logged and
// passed over. An error of fn ends the replay and is returned.
func (j *Journal) Replay(ctx context.Context, from Position, fn func(Entry) error) error {
	return j.scan(ctx, from, func(d Damage) {
		j.opts.Logger.Error("journal: damage", "what", d.String())
	}, fn)
}

// Verify reads every record and calls damaged for each that is not as it was
// written, and returns how many are whole.
func (j *Journal) Verify(ctx context.Context, damaged func(Damage)) (whole int, err error) {
	err = j.scan(ctx, Position{}, damaged, func(Entry) error { whole++; return nil })
	return whole, err
}

func (j *Journal) scan(ctx context.Context, from Position, damaged func(Damage), fn func(Entry) error) error {
	for _, seq := range j.shelf.sequences(from.Segment) {
		off := int64(headerSize)
		if seq == from.Segment {
			off = max(off, from.Offset)
		}
		v, err := j.shelf.pin(seq)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if err := errors.Join(v.entries(ctx, off, damaged, fn), v.release()); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) entries(ctx context.Context, off int64, damaged func(Damage), fn func(Entry) error) error {
	if v.lost {
		damaged(Damage{Segment: v.seq, Length: v.size})
		return nil
	}
	buf := make([]byte, streamStep)
	return v.walk(ctx, off, v.end, damaged, func(off int64, h header) error {
		err := v.intact(off, h, buf)
		if errors.Is(err, ErrDamaged) {
			damaged(Damage{v.seq, off, h.length(), h.id, true})
			return nil
		}
		if err != nil {
			return err
		}
		e, err := v.entry(off, h)
		if err != nil {
			return err
		}
		return fn(e)
	})
}

func (v *view) entry(off int64, h header) (Entry, error) {
	meta := make([]byte, h.meta)
	if n, err := v.file.ReadAt(meta, off+headerSize); n < len(meta) {
		return Entry{}, fmt.Errorf("read %s: %w", segmentName(v.seq), err)
	}
	body := io.NewSectionReader(v.file, off+headerSize+int64(h.meta), h.stored)
	return Entry{
		Record: Record{ID: h.id, Kind: h.kind, Meta: meta, Body: body},
		Place:  Place{v.seq, off, h.length()},
		Copy:   h.flags&flagCopy != 0,
	}, nil
}
