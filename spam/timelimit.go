package spam

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"
)

// outOfTime is what a message hits whose check the time has ended (time_limit, or the
// caller's deadline), and outOfTimeScore what that counts where no score line says it.
const (
	outOfTime      = "TIME_LIMIT_EXCEEDED"
	outOfTimeScore = 0.001
	longestLimit   = 24 * time.Hour
)

// limit bounds a check by time_limit, which 0 switches off.
func (e *Engine) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	seconds := e.settings.Rules.Number("time_limit")
	if seconds <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(min(seconds, longestLimit.Seconds())*float64(time.Second)))
}

// timeOver notes that the time was over before all rules had run.
func (r *Result) timeOver() {
	r.Late = true
	score := outOfTimeScore
	if rs := r.Scan.Rules; rs.HasScore(outOfTime) {
		score = rs.Score(outOfTime, r.Set)
	}
	if score != 0 {
		r.add(Hit{Rule: outOfTime, Score: score, Value: 1, Times: 1})
	}
}

// add adds a hit of what is no rule of a file.
func (r *Result) add(h Hit) {
	at, _ := slices.BinarySearchFunc(r.Hits, h.Rule, func(x Hit, name string) int { return strings.Compare(x.Rule, name) })
	r.Hits = slices.Insert(r.Hits, at, h)
	r.Score = math.Round((r.Score+h.Points())*1000) / 1000
}
