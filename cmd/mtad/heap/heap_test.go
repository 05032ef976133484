package heap

import (
	"runtime"
	"testing"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 300}, {4 << 20, 300}, {16 << 20, 300}, {24 << 20, 200}, {48 << 20, 100}, {400 << 20, 100}} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%d MiB: %d, want %d", c.live>>20, got, c.want)
		}
	}
}

func TestLive(t *testing.T) {
	before := make([]byte, 64<<20)
	runtime.GC()
	if n := live(); n < 64<<20 || n > 1<<30 {
		t.Errorf("%d octets", n)
	}
	runtime.KeepAlive(before)
}
