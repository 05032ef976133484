package spam

import (
	"testing"

	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// Warm readies the filters of all groups and halves; the halves have the same, where rules
// score in one of them alone too, and judge by their own scores.
func TestWarm(t *testing.T) {
	const rules = "header H Subject =~ /a+b/\nbody B /[ab]+c[de]+/\nscore B 0 0 1 1\nbody C /xyzw/\nscore C 2 2 0 0\nrawbody R /q+e/\nfull F /f+g/\nuri U /h+i/\nmimeheader M Content-Type =~ /j+k/\n"
	e := New(conf.Parse("rules", rules, conf.Options{}), Options{Bayes: true})
	e.Warm()
	e.Warm()
	seen := map[*regex.Filter]bool{}
	for _, f := range e.filters() {
		if f == nil {
			t.Fatal("a group has no filter")
		}
		seen[f] = true
	}
	if len(e.filters()) != 12 || len(seen) != 6 {
		t.Errorf("%d filters, %d of them", len(e.filters()), len(seen))
	}
	text := []byte("Subject: x\n\nabcde xyzw\n")
	if r := e.Check(t.Context(), text, scan.Facts{}); r.Score != 2 || len(r.Hits) != 1 || len(r.Unknown) != 0 {
		t.Errorf("without Bayes: %+v", r)
	}
	if r := e.taught.Check(t.Context(), text, scan.Facts{}); r.Score != 1 || len(r.Hits) != 1 || len(r.Unknown) != 0 {
		t.Errorf("with it: %+v", r)
	}
}
