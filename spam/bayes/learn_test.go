package bayes

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/spamtest"
)

// saLearn runs sa-learn on the state in a directory.
func saLearn(t testing.TB, state string, args ...string) []byte {
	t.Helper()
	mtatest.Program(t, "sa-learn")
	cmd := exec.CommandContext(t.Context(), "sa-learn", append([]string{"-L", "-p", "/dev/null", "--configpath", spamtest.Stock, "--siteconfigpath", spamtest.Site,
		"--dbpath", filepath.Join(state, "bayes")}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	mtatest.Check(t, err)
	return out
}

func export(t testing.TB, s Store) []byte {
	t.Helper()
	var out bytes.Buffer
	mtatest.Check(t, Export(context.Background(), s, &out))
	return out.Bytes()
}

func imported(t testing.TB, backup []byte) *Memory {
	t.Helper()
	m := NewMemory()
	done, err := Import(context.Background(), m, bytes.NewReader(backup), time.Now(), true)
	mtatest.Check(t, err)
	if done.Skipped > 0 {
		t.Errorf("%d lines of the backup are not understood", done.Skipped)
	}
	return m
}

// sameBackups compares two backups, of which the order is any.
func sameBackups(t *testing.T, got, want []byte) {
	t.Helper()
	cut := func(b []byte) []string {
		l := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
		sort.Strings(l)
		return l
	}
	if only, missing := difference(cut(got), cut(want)); only != nil || missing != nil {
		t.Errorf("%d lines only here %.300q, %d only there %.300q", len(only), only, len(missing), missing)
	}
}

// said is what SpamAssassin's Bayes says of a message.
type said struct {
	Scored        int
	Score         float64
	Tags, Lists   map[string]*spamtest.Bytes
	Hammy, Spammy []struct {
		Text             spamtest.Bytes
		Probability      float64
		Spam, Ham, ATime int64
	}
}

// full reports whether more tokens could count than do. Of tokens that are as strong as
// the last, the order of Perl's hashes decides then.
func (r *Result) full() bool { return len(r.Spammy)+len(r.Hammy) == significants }

func (w *said) compare(t *testing.T, name string, r *Result) {
	t.Helper()
	if r.Scored != (w.Scored == 1) || math.Abs(r.Probability-w.Score) > 5e-7 {
		t.Errorf("%s: %v %.8f (%s), want %d %.8f", name, r.Scored, r.Probability, r.Reason, w.Scored, w.Score)
	}
	var got, want []string
	for _, e := range slices.Concat(r.Hammy, r.Spammy) {
		got = append(got, signature(e.Text, e.Probability, e.Spam, e.Ham))
	}
	for _, e := range slices.Concat(w.Hammy, w.Spammy) {
		want = append(want, signature(string(e.Text), e.Probability, e.Spam, e.Ham))
	}
	if only, missing := difference(got, want); (only != nil || missing != nil) && !r.full() {
		t.Errorf("%s: only here %q, only there %q", name, only, missing)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d tokens count, want %d", name, len(got), len(want))
	}
	tags := r.Tags()
	tags["TOKENSUMMARY"] = r.Summary()
	for tag, v := range w.Tags {
		if v == nil {
			v = new(spamtest.Bytes)
		}
		if string(*v) != tags[tag] {
			t.Errorf("%s: %s is %q, want %q", name, tag, tags[tag], *v)
		}
	}
	if !r.full() {
		w.compareLists(t, name, r)
	}
}

func signature(text string, p float64, spam, ham int64) string {
	return text + " " + strconv.FormatFloat(p, 'f', 9, 64) + " " + strconv.FormatInt(spam, 10) + " " + strconv.FormatInt(ham, 10)
}

// compareLists compares the tags that list tokens, in any order.
func (w *said) compareLists(t *testing.T, name string, r *Result) {
	t.Helper()
	for key, v := range w.Lists {
		kind, form, _ := strings.Cut(key, " ")
		tokens := r.HammyTokens
		if kind == "spammy" {
			tokens = r.SpammyTokens
		}
		if v == nil {
			v = new(spamtest.Bytes)
		}
		got, want := strings.Split(tokens("200,"+form, time.Now()), ", "), strings.Split(string(*v), ", ")
		if only, missing := difference(got, want); only != nil || missing != nil {
			t.Errorf("%s: %s: only here %q, only there %q", name, key, only, missing)
		}
	}
}

// school is a store that has learned the same as an oracle.
type school struct {
	*asker
	s     *Settings
	state string
	store *Memory
	now   time.Time
}

func newSchool(t *testing.T, text string) *school {
	state := t.TempDir()
	_, s := settings(t, text)
	return &school{ask(t, "state="+state, "text="+text), s, state, NewMemory(), time.Now()}
}

// learn has both learn a message, or forget it (None).
func (c *school) learn(t *testing.T, m spamtest.Message, as Class) {
	t.Helper()
	l, w := c.lesson(t, c.s, m.Text)
	l.Class, l.Time, l.Now = as, time.Unix(w.Date, 0), c.now
	if time.Unix(w.Date, 0).Sub(c.now) > 24*time.Hour {
		l.Now = time.Now() // what the oracle takes for a date of the future
	}
	var perl struct{ Learned int }
	var got bool
	var err error
	if as == None {
		c.About(t, "learn forget", m.Text, &perl)
		got, err = Forget(context.Background(), c.store, l)
	} else {
		c.About(t, "learn "+as.String(), m.Text, &perl)
		got, err = Learn(context.Background(), c.store, l)
	}
	mtatest.Check(t, err)
	if got != (perl.Learned == 1) {
		t.Errorf("%s as %v: %v, want %d", m.Name, as, got, perl.Learned)
	}
}

// score compares what both say of messages.
func (c *school) score(t *testing.T, store Store, messages []spamtest.Message) {
	t.Helper()
	var scored, full int
	for _, m := range messages {
		l, about := c.lesson(t, c.s, m.Text)
		var w said
		c.About(t, "bayes", m.Text, &w)
		r, err := c.s.Score(context.Background(), store, l.Tokens)
		mtatest.Check(t, err)
		w.compare(t, m.Name, r)
		if r.Scored {
			scored++
			mtatest.Check(t, Touch(context.Background(), store, r.Hashes(), time.Unix(about.Date, 0), time.Now()))
		}
		if r.full() {
			full++
		}
	}
	t.Logf("%d of %d messages have a probability; %d of them more tokens than count", scored, len(messages), full)
}

// coarse makes times of a backup from one on "now": those at which the test itself ran.
func coarse(backup []byte, from, to int64) []byte {
	lines := strings.Split(string(backup), "\n")
	for i, l := range lines {
		f := strings.Split(l, "\t")
		if f[0] != "t" {
			continue
		}
		if at, err := strconv.ParseInt(f[3], 10, 64); err == nil && at >= from && at <= to {
			f[3] = "now"
			lines[i] = strings.Join(f, "\t")
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// mixed makes messages of many tokens: the texts of twenty others each.
func mixed(from []spamtest.Message, n int) []spamtest.Message {
	out := make([]spamtest.Message, n)
	for i := range out {
		var text bytes.Buffer
		text.WriteString("From: a@example.net\nSubject: mixed\n\n")
		for k := range 20 {
			// Every second one is spam: some of these messages have more of it.
			text.Write(from[(i*7+k*(1+i%2))%len(from)].Text)
		}
		out[i] = spamtest.Message{Name: "mixed-" + strconv.Itoa(i), Text: text.Bytes()}
	}
	return out
}

// TestLearningAgainstPerl learns the same messages here and there, and compares what is
// known then, what is said of other messages, and that backups go both ways.
func TestLearningAgainstPerl(t *testing.T) {
	t.Parallel()
	enough, n, tests := "bayes_min_ham_num 50\nbayes_min_spam_num 50", 120, 40
	if mtatest.Race {
		enough, n, tests = "bayes_min_ham_num 15\nbayes_min_spam_num 15", 40, 10
	}
	if long() {
		enough, n, tests = "", 440, 200
	}
	c := newSchool(t, enough)
	messages := spamtest.Corpus(2, n)
	classes := []Class{Ham, Spam}
	for i, m := range messages {
		c.learn(t, m, classes[i%2])
	}
	for i, m := range messages[:mtatest.Fewer(20)] { // once more, as the opposite and back, and twice not at all
		c.learn(t, m, classes[i%2])
		c.learn(t, m, classes[1-i%2])
		if i%3 == 0 {
			c.learn(t, m, None)
			c.learn(t, m, None)
		}
		c.learn(t, m, classes[i%2])
	}
	c.Ask(t, "close", nil)
	perl := saLearn(t, c.state, "--backup")
	start, never := c.now.Unix(), int64(math.MaxInt64)
	sameBackups(t, coarse(export(t, c.store), start, time.Now().Unix()), coarse(perl, start, time.Now().Unix()))
	sameBackups(t, coarse(export(t, imported(t, perl)), start, never), coarse(perl, start, never))
	t.Logf("%d lines of backup", bytes.Count(perl, []byte("\n")))

	tested := append(spamtest.Corpus(1, tests), mixed(messages, tests/10)...)
	c.score(t, c.store, tested[:tests])
	c.Ask(t, "close", nil)
	mine := export(t, c.store)
	saLearn(t, c.state, "--sync") // times are in its journal
	sameBackups(t, coarse(mine, start, time.Now().Unix()), coarse(saLearn(t, c.state, "--backup"), start, time.Now().Unix()))
	c.score(t, c.store, tested[tests:])
	back := filepath.Join(t.TempDir(), "backup")
	mtatest.Check(t, os.WriteFile(back, mine, 0o600))
	second := t.TempDir()
	saLearn(t, second, "--restore", back)
	sameBackups(t, coarse(saLearn(t, second, "--backup"), start, never), coarse(mine, start, never))
	other := &school{ask(t, "state="+second, "text="+enough), c.s, second, imported(t, perl), c.now}
	other.score(t, other.store, tested[tests/2:])
}
