package journal

import (
	"encoding/binary"
	"hash/crc32"

	"mtad/message"
)

const (
	headerSize = 64 // octets of a record's header, and of a segment's
	alignment  = 8  // records start on multiples of it
	format     = 1  // of segments and records

	recordMagic  = "mRec"
	segmentMagic = "mtadJrnl"

	// MaxMeta is the most octets of Record.Meta.
	MaxMeta = 16 << 20
)

// Kind says what a record's meta octets are, for whoever replays it. Values
// below 128 belong to the callers of this package.
type Kind uint8

// KindBytes marks a record that only keeps octets for rows written after it
// (an IMAP APPEND). Nobody was promised anything by the record alone, so a
// replay passes over it.
const KindBytes Kind = 0

// Record is what Append writes.
type Record struct {
	ID   message.ID
	Kind Kind
	Meta []byte        // envelope, view, plans; at most MaxMeta octets
	Body message.Bytes // the message; nil for none
}

func (r *Record) bodySize() int64 {
	if r.Body == nil {
		return 0
	}
	return r.Body.Size()
}

// size is what the record takes in a segment.
func (r *Record) size() int64 { return total(len(r.Meta), r.bodySize()) }

func total(meta int, stored int64) int64 {
	n := headerSize + int64(meta) + stored
	return (n + alignment - 1) &^ (alignment - 1)
}

// Position is a place between records. Positions are ordered as the records
// were written; the zero Position is before all of them.
type Position struct {
	Segment uint64
	Offset  int64
}

// Before says whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// Place is where a record lies: Length octets of a segment, padding included.
type Place struct {
	Segment uint64
	Offset  int64
	Length  int64
}

// Start is the position of the record itself.
func (p Place) Start() Position { return Position{p.Segment, p.Offset} }

// End is the position behind the record.
func (p Place) End() Position { return Position{p.Segment, p.Offset + p.Length} }

const (
	codecRaw = 0 // the body is stored as it is

	flagCopy = 1 // made by Reclaim; the row of the original decides about it
)

// header is the fixed part of a record. Little endian on disk:
//
//	 0 magic[4]  4 format  5 codec  6 kind  7 flags
//	 8 key ID u32, reserved for encryption; 12 meta length u32
//	16 message ID u64  24 raw length i64  32 stored length i64
//	40 salt of the segment u64  48 octets of the segment known synced i64
//	56 CRC32C of meta and stored octets  60 CRC32C of octets 0 to 59
type header struct {
	codec, flags uint8
	kind         Kind
	keyID        uint32
	meta         uint32
	id           message.ID
	raw, stored  int64
	salt         uint64
	synced       int64
	sum          uint32
}

func (h *header) length() int64 { return total(int(h.meta), h.stored) }

func (h *header) encode(b []byte) {
	copy(b, recordMagic)
	b[4], b[5], b[6], b[7] = format, h.codec, byte(h.kind), h.flags
	le := binary.LittleEndian
	le.PutUint32(b[8:], h.keyID)
	le.PutUint32(b[12:], h.meta)
	le.PutUint64(b[16:], uint64(h.id))
	le.PutUint64(b[24:], uint64(h.raw))
	le.PutUint64(b[32:], uint64(h.stored))
	le.PutUint64(b[40:], h.salt)
	le.PutUint64(b[48:], uint64(h.synced))
	le.PutUint32(b[56:], h.sum)
	le.PutUint32(b[60:], checksum(b[:60]))
}

// decodeHeader says whether b begins with a record of the segment with this
// salt that fits into limit octets.
func decodeHeader(b []byte, salt uint64, limit int64) (header, bool) {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:4]) != recordMagic || b[4] != format ||
		le.Uint64(b[40:]) != salt || le.Uint32(b[60:]) != checksum(b[:60]) {
		return header{}, false
	}
	h := header{
		codec: b[5], kind: Kind(b[6]), flags: b[7],
		keyID: le.Uint32(b[8:]), meta: le.Uint32(b[12:]),
		id:  message.ID(le.Uint64(b[16:])),
		raw: int64(le.Uint64(b[24:])), stored: int64(le.Uint64(b[32:])),
		salt: salt, synced: int64(le.Uint64(b[48:])), sum: le.Uint32(b[56:]),
	}
	sane := h.codec == codecRaw && h.meta <= MaxMeta && h.stored >= 0 && h.stored <= limit && h.raw == h.stored && h.length() <= limit
	return h, sane
}

// segmentHeader begins a segment file. Little endian on disk:
//
//	0 magic[8]  8 format u32  16 sequence u64  24 salt u64
//	32 sequence of the segment before u64  40 its good octets i64
//	60 CRC32C of octets 0 to 59
type segmentHeader struct {
	seq, salt uint64
	prev      uint64 // zero for none
	prevEnd   int64
}

func (h *segmentHeader) encode() []byte {
	b := make([]byte, headerSize)
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint32(b[8:], format)
	le.PutUint64(b[16:], h.seq)
	le.PutUint64(b[24:], h.salt)
	le.PutUint64(b[32:], h.prev)
	le.PutUint64(b[40:], uint64(h.prevEnd))
	le.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func decodeSegment(b []byte, seq uint64) (segmentHeader, bool) {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:8]) != segmentMagic || le.Uint32(b[8:]) != format ||
		le.Uint32(b[60:]) != checksum(b[:60]) || le.Uint64(b[16:]) != seq {
		return segmentHeader{}, false
	}
	return segmentHeader{seq: seq, salt: le.Uint64(b[24:]), prev: le.Uint64(b[32:]), prevEnd: int64(le.Uint64(b[40:]))}, true
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// castagnoli is made once by hash/crc32 itself.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
