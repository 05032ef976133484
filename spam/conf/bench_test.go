package conf

import (
	"mtad/spam/spamtest"
	"testing"
)

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load([]string{spamtest.Stock, spamtest.Site}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
