package regex

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mtad/spam/regex/syntax"
)

// oracle collects questions for one Perl process.
type oracle struct {
	t     testing.TB
	in    bytes.Buffer
	lines int
}

func newOracle(t testing.TB) *oracle {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("perl is not installed")
	}
	return &oracle{t: t}
}

// pattern asks for a pattern to be compiled, as a rule or without /aa.
func (o *oracle) pattern(rule bool, pattern, modifiers string) {
	how := "D"
	if rule {
		how = "R"
	}
	fmt.Fprintf(&o.in, "%s %x %x\n", how, modifiers, pattern)
	o.lines++
}

func (o *oracle) subject(s []byte) {
	fmt.Fprintf(&o.in, "S %x\n", s)
	o.lines++
}

// answers runs Perl.
func (o *oracle) answers() []string {
	o.t.Helper()
	cmd := exec.Command("perl", "testdata/oracle.pl")
	cmd.Stdin = &o.in
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("perl: %v", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != o.lines {
		o.t.Fatalf("perl answered %d of %d questions", len(lines), o.lines)
	}
	return lines
}

// spans writes a match as the oracle does.
func spans(caps []int) string {
	if caps == nil {
		return "0"
	}
	s := []byte("1")
	for _, c := range caps {
		s = strconv.AppendInt(append(s, ' '), int64(c), 10)
	}
	return string(s)
}

// span is the part of an answer that is about the whole match.
func span(answer string) string {
	return strings.Join(strings.Fields(answer + " - - -")[:3], " ")
}

// stockRule is a regular expression of SpamAssassin's rules.
type stockRule struct {
	name, kind, text string
}

const stockDir = "/usr/share/spamassassin"

var ruleLine = regexp.MustCompile(`^\s*(?:lang\s+\S+\s+)?(header|body|rawbody|uri|full|mimeheader)\s+(\S+)\s+(.*\S)\s*$`)
var headerTest = regexp.MustCompile(`^\S+\s+[=!]~\s+(.*?)(?:\s+\[if-unset:.*\])?$`)

// stockRules reads the rules that are installed.
func stockRules(t testing.TB) []stockRule {
	t.Helper()
	files, err := filepath.Glob(stockDir + "/*.cf")
	if err != nil || len(files) == 0 {
		t.Skip("SpamAssassin's rules are not installed in " + stockDir)
	}
	var out []stockRule
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(bytes.NewReader(b))
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			if r, ok := readRule(sc.Text()); ok {
				out = append(out, r)
			}
		}
	}
	return out
}

func readRule(line string) (stockRule, bool) {
	for i := 0; i < len(line); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] != '\\') {
			line = line[:i]
		}
	}
	m := ruleLine.FindStringSubmatch(strings.ReplaceAll(line, `\#`, "#"))
	if m == nil {
		return stockRule{}, false
	}
	text := m[3]
	if m[1] == "header" || m[1] == "mimeheader" {
		h := headerTest.FindStringSubmatch(text)
		if h == nil {
			return stockRule{}, false
		}
		text = h[1]
	}
	if strings.HasPrefix(text, "eval:") {
		return stockRule{}, false
	}
	return stockRule{m[2], m[1], text}, true
}

// generator makes texts that a pattern matches, or nearly so.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 7))}
}

// text writes what n could match; assertions are not looked at.
func (g generator) text(n *syntax.Node, out []byte) []byte {
	switch n.Op {
	case syntax.OpSet:
		var all, plain []byte
		n.Set.Each(func(c byte) {
			all = append(all, c)
			if c >= ' ' && c < 0x7F {
				plain = append(plain, c)
			}
		})
		if len(plain) > 0 && g.IntN(8) > 0 {
			all = plain
		}
		if len(all) > 0 {
			out = append(out, all[g.IntN(len(all))])
		}
	case syntax.OpCat:
		for _, s := range n.Subs {
			out = g.text(s, out)
		}
	case syntax.OpAlt:
		return g.text(n.Subs[g.IntN(len(n.Subs))], out)
	case syntax.OpRepeat:
		times := n.Min + g.IntN(min(n.Max-n.Min, 3)+1)
		for range times {
			if len(out) > 400 {
				break
			}
			out = g.text(n.Subs[0], out)
		}
	case syntax.OpGroup, syntax.OpAtomic:
		return g.text(n.Subs[0], out)
	case syntax.OpAhead, syntax.OpBehind:
		if !n.Not && g.IntN(2) == 0 {
			return g.text(n.Subs[0], out)
		}
	case syntax.OpBackref:
		if k := g.IntN(4); k < len(out) {
			return append(out, out[len(out)-k:]...)
		}
	case syntax.OpCond:
		return g.text(n.Subs[len(n.Subs)-1-g.IntN(2)], out)
	}
	return out
}

var affixes = []string{"", "", "", " ", "\n", "a", "x ", " the ", "\n\n", "é", ".", "0"}

// mutated changes a text a little, or not at all.
func (g generator) mutated(s []byte) []byte {
	s = slices.Concat([]byte(affixes[g.IntN(len(affixes))]), s, []byte(affixes[g.IntN(len(affixes))]))
	for range g.IntN(3) {
		if len(s) == 0 {
			break
		}
		i := g.IntN(len(s))
		switch g.IntN(5) {
		case 0:
			s = slices.Delete(s, i, i+1)
		case 1:
			s = slices.Insert(s, i, s[g.IntN(len(s))])
		case 2:
			s[i] = syntax.SwapCase(s[i], true)
		case 3:
			s[i] = byte(g.IntN(256))
		case 4:
			s = s[:i]
		}
	}
	return s
}

// question is a pattern and what Perl was asked about it.
type question struct {
	name     string
	re       *Regexp
	err      error
	warned   bool
	pattern  string
	subjects [][]byte
	// In a failed turn of a repetition Perl's groups keep what they matched.
	leftovers, backrefs bool
}

// tally counts what was compared.
type tally struct{ matches, tolerated int }

// ask compiles a pattern here, asks Perl for the same, and makes subjects.
func ask(o *oracle, g generator, rule bool, name, pattern, modifiers string, n int, patience int64) *question {
	q := &question{name: name, pattern: pattern}
	own := modifiers
	if rule {
		q.re, q.err = compileRule(pattern, "aa"+modifiers)
	} else {
		q.re, q.err = Compile(pattern, modifiers)
	}
	o.pattern(rule, pattern, own)
	if q.err != nil {
		return q
	}
	q.warned = len(q.re.warnings) > 0
	f := syntax.Flags{}
	if rule {
		f.Rules = syntax.RulesAA
	}
	f, _, _ = syntax.ParseModifiers(f, own)
	p, err := syntax.Parse(pattern, f)
	if err != nil {
		o.t.Fatal(err)
	}
	q.leftovers = p.Tree.Any(func(r *syntax.Node) bool {
		return r.Op == syntax.OpRepeat && r.Max > 1 && r.Any(func(s *syntax.Node) bool { return s.Op == syntax.OpGroup })
	})
	q.backrefs = p.Tree.Any(func(n *syntax.Node) bool { return n.Op == syntax.OpBackref || n.Op == syntax.OpCond })
	for range n {
		s := g.mutated(g.text(p.Tree, nil))
		// Perl has no bound: what is costly here may last for ever there.
		if _, err := q.re.Match(s, &Budget{Steps: patience}); err != nil {
			continue
		}
		q.subjects = append(q.subjects, s)
		o.subject(s)
	}
	return q
}

// compare checks the answers to a question, and returns the rest of them.
func (q *question) compare(t *testing.T, lines []string, count *tally) []string {
	t.Helper()
	compiled, lines := lines[0], lines[1:]
	if q.err != nil || compiled[0] == 'E' {
		if (q.err != nil) != (compiled[0] == 'E') {
			t.Errorf("%s %q: here %v, perl %s", q.name, q.pattern, q.err, compiled)
		}
		return lines[len(q.subjects):]
	}
	if q.name != "random" && q.warned != (compiled[0] == 'W') {
		t.Errorf("%s %q: warnings here %v, perl %s", q.name, q.pattern, q.re.warnings, compiled)
	}
	var caps []int
	for i, s := range q.subjects {
		b := Budget{Steps: 1 << 40}
		got, err := q.re.Find(s, 0, caps, &b)
		if err != nil {
			t.Errorf("%s %q on %q: %v", q.name, q.pattern, s, err)
			continue
		}
		switch have := spans(got); {
		case have == lines[i]:
		case q.leftovers && (q.backrefs || span(have) == span(lines[i])):
			count.tolerated++
		default:
			t.Errorf("%s %q on %q: here %s, perl %s", q.name, q.pattern, s, have, lines[i])
		}
		q.properties(t, s, got != nil)
		if got != nil {
			count.matches++
			caps = got
		}
	}
	return lines[len(q.subjects):]
}

// properties are what holds whatever Perl says.
func (q *question) properties(t *testing.T, s []byte, matched bool) {
	t.Helper()
	if ok, err := q.re.Match(s, nil); err != nil || ok != matched {
		t.Errorf("%s %q on %q: Match %v %v, Find %v", q.name, q.pattern, s, ok, err, matched)
	}
	if matched && !q.re.Needs().Holds(s) {
		t.Errorf("%s %q on %q: matches, but not what it needs: %v", q.name, q.pattern, s, q.re.Needs())
	}
}

// Every regular expression of the rules that are installed does what Perl does.
func TestStockRulesAsPerl(t *testing.T) {
	rules := stockRules(t)
	o := newOracle(t)
	g := newGenerator(1)
	var asked []*question
	perRule := 200 / scale
	for _, r := range rules {
		pattern, modifiers, err := FromRule(r.text)
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		asked = append(asked, ask(o, g, true, r.name, pattern, modifiers[2:], perRule, 200_000))
	}
	lines := o.answers()
	var count tally
	for _, q := range asked {
		lines = q.compare(t, lines, &count)
	}
	t.Logf("%d rules, %d texts, %d matches", len(asked), len(asked)*perRule, count.matches)
	if len(asked) < 1500 || count.matches < len(asked)*perRule/4 || count.tolerated > 0 {
		t.Errorf("%d patterns with %d matches are too few to mean much; %d differ", len(asked), count.matches, count.tolerated)
	}
}
