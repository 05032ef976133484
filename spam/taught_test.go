package spam_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// class is SpamAssassin with a state, and the engine with a store, who learn the same.
type class struct {
	*spamtest.Oracle
	judge *spam.Judge
	store *bayes.Memory
	state string
}

func newClass(t *testing.T, rules, text string) *class {
	more := filepath.Join(t.TempDir(), "more.cf")
	mtatest.Write(t, more, text)
	state := t.TempDir()
	o := spamtest.Start(t, ".", rules, spamtest.Site, "state="+state, "text="+text)
	rs, err := conf.Load([]string{rules, spamtest.Site, more}, conf.Options{Local: true})
	mtatest.Check(t, err)
	store := bayes.NewMemory()
	return &class{o, &spam.Judge{Engine: spam.New(rs, spam.Options{Bayes: true}), Learned: spam.Direct{Store: store}}, store, state}
}

func (c *class) learn(t *testing.T, m spamtest.Message, as bayes.Class) {
	t.Helper()
	var perl struct{ Learned int }
	c.About(t, "learn "+as.String(), m.Text, &perl)
	learned, err := c.judge.Teach(context.Background(), m.Text, as)
	mtatest.Check(t, err)
	if learned != (perl.Learned == 1) {
		t.Errorf("%s: learned %v, want %d", m.Name, learned, perl.Learned)
	}
}

// judged is what SpamAssassin says of a message with Bayes.
type judged struct {
	verdict
	Bayes     *float64
	Set       conf.ScoreSet
	Autolearn string
	BayesTags spamtest.Bytes
}

// check compares what both say of a message.
func (c *class) check(t *testing.T, m spamtest.Message, rules map[string]int) {
	t.Helper()
	var want judged
	c.About(t, "check", m.Text, &want)
	r := c.judge.Check(context.Background(), m.Text, scan.Facts{})
	if r.Set != want.Set {
		t.Errorf("%s: scores of set %d, want %d", m.Name, r.Set, want.Set)
	}
	got := r.Scan.Bayes
	if (got != nil && got.Scored) != (want.Bayes != nil) {
		t.Errorf("%s: no probability on one side: here %v", m.Name, want.Bayes == nil)
	} else if want.Bayes != nil && math.Abs(got.Probability-*want.Bayes) > 1e-6 {
		t.Errorf("%s: probability %.8f, want %.8f", m.Name, got.Probability, *want.Bayes)
	}
	for _, h := range r.Hits {
		if strings.HasPrefix(h.Rule, "BAYES") {
			rules[h.Rule]++
			if want.Hits[h.Rule] == 0 {
				t.Errorf("%s: %s, which SpamAssassin has not", m.Name, h.Rule)
			}
		}
	}
	for rule := range want.Hits {
		if strings.HasPrefix(rule, "BAYES") && !slices.Contains(r.Names(), rule) {
			t.Errorf("%s: no %s", m.Name, rule)
		}
	}
	const tags = "_BAYES_ _TOKENSUMMARY_ _BAYESTC_ _BAYESTCLEARNED_ _BAYESTCHAMMY_ _BAYESTCSPAMMY_"
	if got := r.Report(spam.Host{}).Fill(tags); got != string(want.BayesTags) {
		t.Errorf("%s: tags %q, want %q", m.Name, got, want.BayesTags)
	}
}

// TestBayesAsPerl: the same messages learned, the same probability, rules, scores and tags.
func TestBayesAsPerl(t *testing.T) {
	n, tests := 80, 40
	if mtatest.Race {
		n, tests = 40, 10
	}
	c := newClass(t, spamtest.Stock, fmt.Sprintf("bayes_min_ham_num %d\nbayes_min_spam_num %d\nbayes_auto_learn 0\nbayes_ignore_from *@mail.ru\n", n/4, n/4))
	rules := map[string]int{}
	learn, tested := c.plainHosts(spamtest.Corpus(3, n)), c.plainHosts(spamtest.Corpus(1, tests))
	for i, m := range learn {
		if i == n/4 {
			c.Ask(t, "close", nil)
			for _, m := range tested[:5] { // too little is learned yet
				c.check(t, m, rules)
			}
			c.Ask(t, "close", nil)
		}
		c.learn(t, m, []bayes.Class{bayes.Ham, bayes.Spam}[i%2])
	}
	c.Ask(t, "close", nil)
	for _, m := range slices.Concat(tested, learn[:tests/3]) {
		c.check(t, m, rules)
	}
	if len(rules) < 3 {
		t.Errorf("only %v have hit", rules)
	}
	t.Logf("%v", rules)
	c.sameBackup(t)
}

// obvious are rules that decide quickly.
const obvious = `
header SUBJECT Subject =~ /free|dear|v1agra|re:/i
score SUBJECT 4
header RELAYED Received =~ /unknown|dynamic/
score RELAYED 3.5
body OFFER /offer|free|money|click|account/i
score OFFER 4.5
body TALK /report|meeting|think/i
score TALK -3
uri SHOP /top|xyz|secure/
score SHOP 2
meta BOTH OFFER && RELAYED
score BOTH 1.5
body BAYES_00 eval:check_bayes('0.00', '0.01')
body BAYES_50 eval:check_bayes('0.40', '0.60')
body BAYES_99 eval:check_bayes('0.99', '1.00')
tflags BAYES_00 nice learn
tflags BAYES_50 learn
tflags BAYES_99 learn
score BAYES_00 0 0 -1.9 -1.9
score BAYES_50 0 0 0.8 0.8
score BAYES_99 0 0 3.5 3.5
bayes_min_ham_num 10
bayes_min_spam_num 10
`

// TestAutoLearnAsPerl has both learn unasked, message by message, and now and then what
// somebody says.
func TestAutoLearnAsPerl(t *testing.T) {
	n := 150
	if mtatest.Race {
		n = 60
	}
	rules := t.TempDir()
	mtatest.Write(t, filepath.Join(rules, "10.cf"), obvious)
	c := newClass(t, rules, "bayes_auto_learn_threshold_nonspam -1\nbayes_auto_learn_threshold_spam 8\n")
	statuses := map[string]int{}
	messages := c.plainHosts(spamtest.Corpus(5, n))
	for i, m := range messages {
		if i%10 == 9 { // what was learned unasked does not change what somebody said
			c.learn(t, m, []bayes.Class{bayes.Ham, bayes.Spam}[i/10%2])
			c.Ask(t, "close", nil)
		}
		if i%30 == 29 {
			m = messages[i-10]
		}
		var want judged
		c.About(t, "check", m.Text, &want)
		r := c.judge.Check(context.Background(), m.Text, scan.Facts{})
		if r.Score != want.Score {
			t.Fatalf("%s: score %v %v, want %v %v", m.Name, r.Score, r.Names(), want.Score, want.Hits)
		}
		if r.AutoLearned != want.Autolearn {
			t.Errorf("%s: autolearn=%s, want %s", m.Name, r.AutoLearned, want.Autolearn)
		}
		statuses[r.AutoLearned]++
	}
	t.Logf("%v", statuses)
	if len(statuses) < 4 {
		t.Errorf("only %v", statuses)
	}
	c.sameBackup(t)
}

// sameBackup compares what both know: all but when tokens were last of use, which a check
// changes there at once.
func (c *class) sameBackup(t *testing.T) {
	t.Helper()
	c.Ask(t, "close", nil)
	var mine bytes.Buffer
	mtatest.Check(t, bayes.Export(context.Background(), c.store, &mine))
	perl, err := exec.CommandContext(t.Context(), "sa-learn", "-L", "-p", "/dev/null", "--dbpath", filepath.Join(c.state, "bayes"), "--backup").Output()
	mtatest.Check(t, err)
	lines := func(backup []byte) []string {
		var out []string
		for l := range strings.Lines(string(backup)) {
			f := strings.Split(l, "\t")
			if f[0] == "t" && len(f) > 3 {
				f[3] = ""
			}
			out = append(out, strings.Join(f, "\t"))
		}
		slices.Sort(out)
		return out
	}
	if got, want := lines(mine.Bytes()), lines(perl); !slices.Equal(got, want) {
		t.Errorf("%d lines of backup here, %d there, and not the same", len(got), len(want))
	}
}

// plainHosts leaves out messages with the corpus's host of letters that the DNS has not,
// which a SpamAssassin without LibIDN does not find.
func (c *class) plainHosts(messages []spamtest.Message) []spamtest.Message {
	return slices.DeleteFunc(messages, func(m spamtest.Message) bool {
		l, _ := c.judge.Lesson(context.Background(), m.Text, bayes.None)
		return slices.ContainsFunc(l.Tokens, func(t bayes.Token) bool { return strings.Contains(t.Text, "r8jz45g") })
	})
}
