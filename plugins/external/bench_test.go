package external

import (
	"fmt"
	"path/filepath"
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
	python, err := filepath.Abs("../../examples/zippeek/zippeek.py")
	if err != nil {
		b.Fatal(err)
	}
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 10<<10/50)
	for _, c := range []struct{ name, step, subject string }{
		{"none", "", "nothing"},
		{"header", fmt.Sprintf("path = %q\nargs = [%q]", path, "header"), "nothing"},
		{"body", fmt.Sprintf("path = %q\nargs = [%q, %q]", path, "header", "body"), "size"},
		{"python", fmt.Sprintf("path = %q\nmtls = false", python), "nothing"},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.name == "python" {
				needPython(b)
			}
			p, err := pipeline.New("test", nil, pipeline.Env{})
			if c.step != "" {
				p, err = start(b, c.step)
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
