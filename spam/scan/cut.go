package scan

import (
	"fmt"
	"slices"

	"mtad/spam/mail"
)

// Cut notes that something was looked at no further than a bound.
func (c *Scan) Cut(format string, bound int) { c.cuts.Add(fmt.Sprintf(format, bound)) }

// Cuts tells what the rules could not see so far, as it was cut: most of it SpamAssassin
// cuts too, and has the same hits.
func (c *Scan) Cuts() mail.Cuts {
	out := c.Mail.Cuts()
	add := func(list []string) {
		for _, what := range list {
			out.Add(what)
		}
	}
	if c.links != nil {
		add(c.links.Cuts())
	}
	add(c.Path.Cuts())
	add(c.cuts)
	slices.Sort(out)
	return out
}
