package report

import (
	"fmt"
	"time"
)

// guessing is from how many failed logins on a client is worth a look.
const guessing = 10

// Look adds something to look at that traces do not tell.
func (r *Report) Look(command, format string, args ...any) {
	r.Attention = append(r.Attention, Attention{fmt.Sprintf(format, args...), command})
}

// attend finds in the counts what needs attention.
func (c *Counter) attend() {
	r := &c.r
	r.Attention = []Attention{}
	for _, d := range r.Domains {
		if d.Deferrals > 0 && d.Delivered == 0 {
			r.Look("mtad queue list --domain "+d.Name, "nothing got to %s: %s put off, the last reply: %s", d.Name, times(d.Deferrals), d.LastReply)
		}
	}
	for _, f := range r.Filters {
		if f.Errors > 0 {
			r.Look("mtad trace "+f.Failed, "filter %s failed %s of %d", f.Step, times(f.Errors), f.Seen)
		}
	}
	if n := r.Totals.Bounced + r.Totals.Expired; n > 0 {
		r.Look("mtad trace "+c.bounceID, "%s bounced or given up, the last in this trace", Recipients(n))
	}
	for _, l := range r.Logins {
		if l.Count >= guessing {
			r.Look("mtad log search --address "+l.Name, "%d logins failed from %s", l.Count, l.Name)
		}
	}
	if !r.Since.IsZero() {
		r.Look("", "traces go back to %s only: what was before is not counted", r.Since.Local().Format(time.DateTime))
	}
}

// Recipients are so many, in words.
func Recipients(n int64) string {
	if n == 1 {
		return "1 recipient"
	}
	return fmt.Sprintf("%d recipients", n)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
