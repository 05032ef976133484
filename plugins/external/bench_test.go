package external

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/pipeline"
)

// BenchmarkMessage is what a filter at the message stage alone costs a message: the
// time is that of the whole transaction, whose rest is BenchmarkMessage/none.
func BenchmarkMessage(b *testing.B) {
	path := build(b, "./testdata/odd")
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 10<<10/50)
	for _, c := range []struct{ name, reads, subject string }{
		{"none", "", "nothing"}, {"header", `"header"`, "nothing"}, {"body", `"header", "body"`, "size"},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := pipeline.New("test", nil, pipeline.Env{})
			if c.reads != "" {
				p, err = start(b, fmt.Sprintf("path = %q\nargs = [%s]", path, c.reads))
			}
			if err != nil {
				b.Fatal(err)
			}
			f := p.Open(pipeline.Client{})
			defer f.Close()
			send(b, f, c.subject, body)
			took := make([]time.Duration, 0, 1<<16)
			b.ReportAllocs()
			for b.Loop() {
				begun := time.Now()
				if fate, _, trace := send(b, f, c.subject, body); fate.Action != pipeline.Continue {
					b.Fatal(fate, trace)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us-p99")
		})
	}
}
