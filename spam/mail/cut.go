package mail

import (
	"fmt"
	"slices"
)

// Cuts are what was looked at no further than a bound: "parts: 1000 of a multipart".
type Cuts []string

// Add notes one, once.
func (c *Cuts) Add(what string) {
	if !slices.Contains(*c, what) {
		*c = append(*c, what)
	}
}

// Cuts tells what was cut so far: texts are cut when they are asked for.
func (m *Message) Cuts() Cuts {
	out := slices.Clone(m.cuts)
	for _, h := range m.htmls {
		for _, what := range h.cuts {
			out.Add(what)
		}
	}
	return out
}

// CutHeader notes that the fields together are too long.
func (m *Message) CutHeader(octets int) {
	m.TruncatedHeader = true
	m.cuts.Add(fmt.Sprintf("header: %d octets", octets))
}
