package spam

import (
	"fmt"
	"strings"
)

// notAllLinks is why a rule about links is unknown: SpamAssassin has no such bound, and
// the rule might have hit there.
const notAllLinks = "not all links of the message were looked at"

// unseen makes rules about links unknown that have not hit, where there were more links
// than are kept. What SpamAssassin cuts too makes no rule unknown: Result.Cut tells of it.
func (c *check) unseen(rules []*rule) {
	if len(rules) == 0 || !c.s.Links().Dropped {
		return
	}
	for _, r := range rules {
		if c.value[r.id] == 0 && c.why[r] == "" {
			c.why[r] = notAllLinks
		}
	}
}

func (c *check) unseenIn(groups []*group) {
	for _, g := range groups {
		c.unseen(g.rules)
	}
}

// maxCuts bounds the cuts that a line names.
const maxCuts = 5

// CutNote names what was cut on one line, "" if nothing was.
func (r *Result) CutNote() string {
	n := min(len(r.Cut), maxCuts)
	out := strings.Join(r.Cut[:n], "; ")
	if more := len(r.Cut) - n; more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return out
}
