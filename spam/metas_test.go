package spam_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
	"mtad/spam/spamtest/cases"
)

const (
	onlyBeta = "Subject: x\n\nbeta\n"
	both     = "Subject: x\n\nalpha beta\n"
)

// TestMetasWithoutScore: a meta that is switched off is no hit where it is false; what
// depends on it while it is true is never decided.
func TestMetasWithoutScore(t *testing.T) {
	const config = `body A /alpha/
body B /beta/
body NEVER /gamma/
score NEVER 0
meta OFF A
score OFF 0
meta OFF_TWICE OFF
score OFF_TWICE 0
meta LATE NEVER
score LATE 0
`
	cases.Check(t, ".", config,
		cases.Hit("meta %s B && !OFF", onlyBeta),
		cases.Miss("meta %s B && !OFF", both),
		cases.Hit("meta %s B && !OFF_TWICE", onlyBeta),
		cases.Miss("meta %s B && !OFF_TWICE", both),
		cases.Miss("meta %s OFF", both),
		cases.Miss("meta %s B && !LATE", onlyBeta),
		cases.Miss("meta %s B && !UNHEARD_OF && !LATE", onlyBeta),
		cases.Hit("meta %s B && !UNHEARD_OF", onlyBeta),
		cases.Miss("meta %s OFF || B", both),
		cases.Hit("meta %s OFF || B", onlyBeta),
	)
}

// TestChainedComparisons: Perl chains them.
func TestChainedComparisons(t *testing.T) {
	const config = "body A /alpha/\nbody B /beta/\n"
	cases.Check(t, ".", config,
		cases.Miss("meta %s 0 < A < 2", onlyBeta),
		cases.Hit("meta %s 0 < A < 2", both),
		cases.Hit("meta %s A < B <= 1", onlyBeta),
		cases.Miss("meta %s A < B <= 1", both),
		cases.Miss("meta %s B != A == B", onlyBeta),
		cases.Hit("meta %s (A <= B) > A", onlyBeta),
		cases.Miss("meta %s A <= B > 2", onlyBeta),
	)
}

// TestMetasRefused: what SpamAssassin's lint refuses is no rule here either.
func TestMetasRefused(t *testing.T) {
	for text, want := range map[string]string{"A == -1": `"-1"`, "A+1 > 2": `"+1"`, "A & 1": "no operators", "A | B": "no operators", "A > 1.2.3": `"1.2.3"`, "A / B > 2": "divides by zero"} {
		rs := conf.Parse("x", "body A /a/\nbody B /b/\nmeta M "+text+"\n", conf.Options{})
		if len(rs.Problems) != 1 || !strings.HasPrefix(rs.Problems[0].String(), "x:3: M: ") || !strings.Contains(rs.Problems[0].Text, want) {
			t.Errorf("%s: %v", text, rs.Problems)
		}
	}
}

// TestDivisionByZero: a meta that comes to divide by zero does not hit, whatever stands around
// the division, and says so; what others need of it is not known.
func TestDivisionByZero(t *testing.T) {
	const config = "body A /alpha/\nbody B /beta/\n"
	for _, text := range []string{"A / (1 - B)", "!(A / (1 - B))", "A || (A / (1 - B) > 2)", "(A / (1 - B) > 2) || B", "A / (1 - B) ? 1 : 1", "!(A / (1 - B) == 1)"} {
		missed := text != "A || (A / (1 - B) > 2)" // nothing is divided there
		c := cases.Miss("meta %s "+text, both)
		if !missed {
			c = cases.Hit("meta %s "+text, both)
		}
		cases.Check(t, ".", config, c) // one at a time: SpamAssassin judges no further
		rs := conf.Parse("x", config+"meta M "+text+"\nmeta N !M\n", conf.Options{})
		r := spam.New(rs, spam.Options{}).Check(t.Context(), []byte(both), scan.Facts{})
		want := []spam.Unknown{{Rule: "M", Why: "it divides by zero"}, {Rule: "N", Why: "it depends on M"}}
		if missed && !slices.Equal(r.Unknown, want) {
			t.Errorf("%s: %v", text, r.Unknown)
		}
	}
	cases.Check(t, ".", config, cases.Hit("meta %s A / (1 - B)", "Subject: x\n\nalpha\n"))
	cases.Check(t, ".", config, cases.Miss("meta %s B && A / B", onlyBeta), cases.Hit("meta %s B && A / B", both))
}

// TestRawPartsUnset: a value for a field that is missing counts for the decoded one alone.
func TestRawPartsUnset(t *testing.T) {
	cases.Check(t, ".", "",
		cases.Hit("mimeheader %s X-None =~ /^none$/ [if-unset: none]", onlyBeta),
		cases.Miss("mimeheader %s X-None:raw =~ /^none$/ [if-unset: none]", onlyBeta),
		cases.Hit("mimeheader %s X-None:raw =~ /^$/ [if-unset: none]", onlyBeta),
	)
}

// TestEveryHitCounts: the score of a rule with the flag multiple is added for each hit,
// and its name is there as often.
func TestEveryHitCounts(t *testing.T) {
	const rules = `body TIMES /gamma/
tflags TIMES multiple
score TIMES 1.1
body TWICE /gamma/
tflags TWICE multiple maxhits=2
score TWICE 0.25
header SUBJECTS Subject =~ /x/
tflags SUBJECTS multiple
score SUBJECTS 0.5
mimeheader TYPES Content-Type =~ /t/
tflags TYPES multiple
score TYPES 0.125
body ONCE /gamma/
score ONCE 2
meta SUM TIMES + TWICE
tflags SUM multiple
score SUM 3
`
	const message = "From: a@b.example\nTo: c@d.example\nDate: Thu, 26 Nov 2026 12:00:00 +0000\nMessage-ID: <1@b.example>\nSubject: xx\nContent-Type: text/plain\n\ngamma gamma\n\ngamma\n"
	rs := conf.Parse("x", "clear_headers\nadd_header all Tests _TESTS_\nadd_header all Scores _TESTSSCORES_\n"+rules, conf.Options{Local: true})
	r := spam.New(rs, spam.Options{}).Check(t.Context(), []byte(message), scan.Facts{})
	points := 0.0
	for _, h := range r.Hits {
		points += h.Points()
	}
	if math.Abs(r.Score-10.05) > 0.001 || math.Abs(points-r.Score) > 0.001 {
		t.Errorf("score %v, points %v", r.Score, points)
	}
	var v struct {
		Score float64
		Tags  map[string]spamtest.Bytes
	}
	o := spamtest.Start(t, ".", "rules", spamtest.Site, "text="+rules, "tags=TESTS,TESTSSCORES")
	o.About(t, "check", []byte(message), &v)
	if math.Abs(r.Score-v.Score) > 0.0011 {
		t.Errorf("score %v, %v there", r.Score, v.Score)
	}
	for _, f := range r.Report(spam.Host{}).Fields() {
		tag := map[string]string{"X-Spam-Tests": "TESTS", "X-Spam-Scores": "TESTSSCORES"}[f.Name]
		if theirs := string(v.Tags[tag]); tag != "" && strings.Join(strings.Fields(f.Template), "") != theirs {
			t.Errorf("%s: %s, %s there", f.Name, f.Template, theirs)
		}
	}
}
