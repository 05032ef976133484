package bayes

import (
	"math"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/spamtest"
)

// TestAutoLearnAgainstPerl compares decisions and points, with bounds that decide much.
func TestAutoLearnAgainstPerl(t *testing.T) {
	t.Parallel()
	rules := "bayes_auto_learn_threshold_spam 6\nbayes_auto_learn_threshold_nonspam 2\n" +
		"body T_ANY /the/\nscore T_ANY 3.1\ntflags T_ANY autolearn_header\n" +
		"body T_FORCE /guaranteed/i\nscore T_FORCE 0.5\ntflags T_FORCE autolearn_force\n" +
		"body T_NO /meeting/i\nscore T_NO 5\ntflags T_NO noautolearn\n"
	for name, more := range map[string]string{"usual": "", "on error": "bayes_auto_learn_on_error 1\nrequired_score 4\n" +
		"header BAYES_99 exists:X-Mailer\nscore BAYES_99 2 2 2 2\ntflags BAYES_99 learn\nheader BAYES_00 exists:Cc\nscore BAYES_00 -2 -2 -2 -2\ntflags BAYES_00 learn\n"} {
		t.Run(name, func(t *testing.T) {
			// Nothing may be learned while it is asked.
			a := ask(t, "text="+rules+more+"bayes_auto_learn 0\n")
			r := stock(t, rules+more)
			counts := map[Class]int{}
			for _, m := range spamtest.Corpus(1, mtatest.Fewer(30)) {
				var w struct {
					Class                                                string
					Hits                                                 []string
					Score, Autolearn, Body_only, Head_only, Learned, Set float64
				}
				a.About(t, "autolearn", m.Text, &w)
				d := (&AutoLearner{Rules: r, Set: conf.ScoreSet(w.Set)}).Decide(w.Hits, w.Score)
				counts[d.Class]++
				same := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
				if d.Class.String() != w.Class || !same(d.Points, w.Autolearn) || !same(d.Body, w.Body_only) || !same(d.Head, w.Head_only) || !same(d.Learned, w.Learned) {
					t.Errorf("%s (%s): %+v, want %+v", m.Name, strings.Join(w.Hits, " "), d, w)
				}
			}
			t.Logf("%d ham, %d spam, %d neither", counts[Ham], counts[Spam], counts[None])
		})
	}
}
