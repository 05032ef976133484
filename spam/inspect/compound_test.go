package inspect

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// Compound is a compound file (OLE2) with streams, as Office wrote documents before 2007:
// a header, one sector of its table, one of the directory, and the streams.
func Compound(streams ...string) string {
	const sector, end, free = 512, 0xfffffffe, 0xffffffff
	le := binary.LittleEndian
	var table, directory, data []byte
	entry := func(name string, kind byte, first, size int) {
		e := make([]byte, 128)
		for i, c := range utf16.Encode([]rune(name)) {
			le.PutUint16(e[2*i:], c)
		}
		le.PutUint16(e[64:], uint16(2*len(name)+2))
		e[66] = kind
		for _, at := range []int{68, 72, 76} { // no neighbours, no child
			le.PutUint32(e[at:], free)
		}
		le.PutUint32(e[116:], uint32(first))
		le.PutUint32(e[120:], uint32(size))
		directory = append(directory, e...)
	}
	table = le.AppendUint32(le.AppendUint32(table, 0xfffffffd), end)
	entry("Root Entry", 5, end, 0)
	for i := 0; i < len(streams); i += 2 {
		content := []byte(streams[i+1])
		content = append(content, make([]byte, max(0, 4096-len(content)))...) // smaller ones stand elsewhere
		content = append(content, make([]byte, (sector-len(content)%sector)%sector)...)
		entry(streams[i], 2, len(table)/4, len(content))
		for n := len(content) / sector; n > 1; n-- {
			table = le.AppendUint32(table, uint32(len(table)/4+1))
		}
		table = le.AppendUint32(table, end)
		data = append(data, content...)
	}
	for len(table) < sector {
		table = le.AppendUint32(table, free)
	}
	for len(directory) < sector {
		directory = append(directory, make([]byte, 128)...)
	}
	head := make([]byte, sector)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		le.PutUint16(head[at:], v)
	}
	for at, v := range map[int]uint32{44: 1, 48: 1, 56: 4096, 60: end, 68: end, 76: 0} {
		le.PutUint32(head[at:], v)
	}
	for at := 80; at < sector; at += 4 {
		le.PutUint32(head[at:], free)
	}
	return string(slices.Concat(head, table[:sector], directory[:sector], data))
}
