package spam_test

import (
	"context"
	"slices"
	"testing"

	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// TestTimeLimit: rules for which there was no time are unknown, and a hit says so, with its
// own score; it is learned from no more than SpamAssassin does.
func TestTimeLimit(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name, rules string
		ctx         context.Context
		late        bool
		score       float64
		hits        []string
	}{
		{"none", "", t.Context(), false, 1, []string{"A"}},
		{"off", "time_limit 0\n", t.Context(), false, 1, []string{"A"}},
		{"long", "time_limit 10000000000000w\n", t.Context(), false, 1, []string{"A"}},
		{"short", "time_limit 0.000000001\n", t.Context(), true, 0.001, []string{"TIME_LIMIT_EXCEEDED"}},
		{"with a score", "time_limit 0.000000001\nscore TIME_LIMIT_EXCEEDED 3\n", t.Context(), true, 3, []string{"TIME_LIMIT_EXCEEDED"}},
		{"without one", "time_limit 0.000000001\nscore TIME_LIMIT_EXCEEDED 0\n", t.Context(), true, 0, nil},
		{"the caller's", "", over, true, 0.001, []string{"TIME_LIMIT_EXCEEDED"}},
	} {
		rs := conf.Parse("x.cf", c.rules+"body A /money/\nbayes_auto_learn_threshold_nonspam 100\n", conf.Options{})
		for _, p := range rs.Problems {
			t.Error(p)
		}
		st := spam.Direct{Store: bayes.NewMemory()}
		j := &spam.Judge{Engine: spam.New(rs, spam.Options{Bayes: true}), Learned: st}
		r := j.Check(c.ctx, []byte("Subject: x\n\nmoney\n"), scan.Facts{})
		if r.Late != c.late || r.Score != c.score || !slices.Equal(r.Names(), c.hits) {
			t.Errorf("%s: late %v, score %v by %v", c.name, r.Late, r.Score, r.Names())
		}
		if known := !slices.ContainsFunc(r.Unknown, func(u spam.Unknown) bool { return u.Rule == "A" }); known == c.late {
			t.Errorf("%s: unknown are %v", c.name, r.Unknown)
		}
		if (r.AutoLearned == "disabled") != c.late {
			t.Errorf("%s: learned as %s", c.name, r.AutoLearned)
		}
	}
}
