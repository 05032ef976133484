package journal

import (
	"errors"
	"fmt"
	"io"

	"mtad/message"
)

// smallRecord is read whole and checked when it is opened; a larger one is
// read piece by piece and checked by Verify.
const smallRecord = 64 << 10

// Content is a record opened for reading: the message as message.Bytes, and
// its meta octets. While a large one is open its segment is not removed.
type Content struct {
	io.ReaderAt
	id   message.ID
	kind Kind
	meta []byte
	size int64
	view *view // nil for small ones
	off  int64
	head header
}

// ID is the message's.
func (c *Content) ID() message.ID { return c.id }

// Kind is the record's.
func (c *Content) Kind() Kind { return c.kind }

// Meta is what Append was given; the caller must not change it.
func (c *Content) Meta() []byte { return c.meta }

// Size is the message's octets.
func (c *Content) Size() int64 { return c.size }

// Verify reads the whole record and answers ErrDamaged if it is not as it was
// written.
func (c *Content) Verify() error {
	if c.view == nil {
		return nil
	}
	return c.view.intact(c.off, c.head, make([]byte, streamStep))
}

// Close lets the segment go. A second call does nothing.
func (c *Content) Close() error {
	v := c.view
	c.view = nil
	if v == nil {
		return nil
	}
	return v.release()
}

// Open opens the record at a place that Append returned. ErrGone says its
// segment was reclaimed: look the place up again. ErrDamaged says that no
// record, or not a whole one, is there.
func (j *Journal) Open(p Place) (*Content, error) {
	v, err := j.shelf.pin(p.Segment)
	if err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	c, err := v.content(p)
	if err != nil {
		return nil, fmt.Errorf("journal: open %s at %d: %w", segmentName(p.Segment), p.Offset, errors.Join(err, v.release()))
	}
	if c.view == nil {
		return c, v.release()
	}
	return c, nil
}

func (v *view) content(p Place) (*Content, error) {
	if p.Length < headerSize || p.Offset+p.Length > v.end {
		return nil, ErrDamaged
	}
	if p.Length <= smallRecord {
		return v.smallContent(p)
	}
	h, ok := v.headerAt(p.Offset, v.end)
	if !ok || h.length() != p.Length {
		return nil, ErrDamaged
	}
	e, err := v.entry(p.Offset, h)
	if err != nil {
		return nil, err
	}
	return &Content{ReaderAt: e.Body, id: h.id, kind: h.kind, meta: e.Meta, size: h.stored, view: v, off: p.Offset, head: h}, nil
}

func (v *view) smallContent(p Place) (*Content, error) {
	b := make([]byte, p.Length)
	if n, err := v.file.ReadAt(b, p.Offset); n < len(b) {
		return nil, err
	}
	h, ok := decodeHeader(b, v.salt, p.Length)
	if !ok || h.length() != p.Length {
		return nil, ErrDamaged
	}
	b = b[headerSize : headerSize+int64(h.meta)+h.stored]
	if checksum(b) != h.sum {
		return nil, ErrDamaged
	}
	body := message.FromBytes(b[h.meta:])
	return &Content{ReaderAt: body, id: h.id, kind: h.kind, meta: b[:h.meta:h.meta], size: h.stored}, nil
}
