package wire

import "sync"

const (
	readSize  = 4 << 10  // a Reader's buffer
	writeSize = 64 << 10 // a Writer's buffer
)

// Buffers is where the Readers and Writers of one server leave their buffers
// while they need none. The zero value works.
type Buffers struct {
	read, write sync.Pool
}

func take(p *sync.Pool, size int) *[]byte {
	if b, ok := p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}
