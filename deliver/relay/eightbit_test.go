package relay

import (
	"bytes"
	"testing"

	"mtad/message"
)

// One octet beyond US-ASCII is seen wherever it stands.
func TestEightBit(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 23, 600, 32<<10 + 3} {
		text := bytes.Repeat([]byte{0x7f}, size)
		if eightBit(message.FromBytes(text)) {
			t.Errorf("%d octets of US-ASCII are taken for more", size)
		}
		for i := 0; i < size; i += max(1, size/50) {
			text[i] = 0x80
			if !eightBit(message.FromBytes(text)) {
				t.Errorf("octet %d of %d is not seen", i, size)
			}
			text[i] = 0
		}
	}
}

func BenchmarkEightBit(b *testing.B) {
	text := message.FromBytes(bytes.Repeat([]byte("x"), 10<<10))
	b.ReportAllocs()
	for b.Loop() {
		eightBit(text)
	}
}
