package conf

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/spamtest"
)

// perlRule is a rule as SpamAssassin has read it.
type perlRule struct {
	Type                       int
	Text, QR, TFlags, Describe spamtest.Bytes
	Scores                     [4]float64
	Priority                   int
}

// perlTypes are its numbers of types.
var perlTypes = map[int]Type{0x8: Header, 0x9: HeaderEval, 0xa: Body, 0xb: BodyEval, 0xc: Full, 0xd: FullEval, 0xe: RawBody, 0xf: RawBodyEval,
	0x10: URI, 0x12: Meta, 0x13: RBLEval, 0x14: Empty}

func TestStockRules(t *testing.T) {
	var perl struct {
		Rules               map[string]perlRule
		Lists               map[string][]string
		URIDNSBLs, Plugins  []string
		TLDs, Second, Third int
	}
	spamtest.Start(t, "..", spamtest.Stock, spamtest.Site).Ask(t, "conf", &perl)
	s, err := Load([]string{spamtest.Stock, spamtest.Site}, Options{Local: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Problems {
		t.Errorf("%v", p)
	}
	for name, want := range perl.Rules {
		r := s.Rule(name)
		if r == nil {
			t.Errorf("%s (%s) is missing", name, want.Text)
			continue
		}
		compare(t, s, r, want)
	}
	for _, r := range s.Rules() {
		if _, ok := perl.Rules[r.Name]; !ok && r.Type != AskDNS {
			t.Errorf("%s of %s:%d is not there in Perl", r.Name, r.File, r.Line)
		}
	}
	for name, want := range perl.Lists {
		var got []string
		if pairs := s.Pairs(name); pairs != nil {
			for _, p := range pairs {
				got = append(got, p.Pattern)
			}
		} else {
			l := s.Addresses(name)
			got = slices.Concat(slices.Sorted(maps.Keys(l.exact)), l.patterns)
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: %d patterns, want %d", name, len(got), len(want))
		}
	}
	if got := slices.Sorted(maps.Keys(s.uriLists)); !slices.Equal(got, perl.URIDNSBLs) {
		t.Errorf("lists of hosts %q, want %q", got, perl.URIDNSBLs)
	}
	if d := s.Domains(); len(d.tld) != perl.TLDs || len(d.second) != perl.Second || len(d.third) != perl.Third {
		t.Errorf("domains %d %d %d, want %d %d %d", len(d.tld), len(d.second), len(d.third), perl.TLDs, perl.Second, perl.Third)
	}
}

func compare(t *testing.T, s *Ruleset, r *Rule, want perlRule) {
	typ, known := perlTypes[want.Type]
	switch {
	case r.Type == MIMEHeader || r.Type == URIDetail || r.Type == AskDNS: // functions there
	case !known || typ != r.Type:
		t.Errorf("%s is %v, want %#x (%s)", r.Name, r.Type, want.Type, want.Text)
		return
	}
	for i, score := range want.Scores {
		if got := s.Score(r.Name, ScoreSet(i)); got != score {
			t.Errorf("%s: score %v in set %d, want %v", r.Name, got, i, score)
		}
	}
	if r.Priority != want.Priority && r.Expr == nil && want.Priority > -10000 && want.Priority != -100 {
		t.Errorf("%s: priority %d, want %d", r.Name, r.Priority, want.Priority)
	}
	if got := parseFlags(string(want.TFlags)); r.Expr == nil && got.Net != r.Flags.Net || got.Multiple != r.Flags.Multiple || got.MaxHits != r.Flags.MaxHits || got.Nice != r.Flags.Nice {
		t.Errorf("%s: flags %q, want %q", r.Name, r.Flags.Text, want.TFlags)
	}
	if got := s.Description(r.Name); got != string(want.Describe) {
		t.Errorf("%s: %q, want %q", r.Name, got, want.Describe)
	}
	if want.QR == "" || r.Pattern == "" || r.Type == MIMEHeader {
		return
	}
	qr := string(want.QR)
	inner := qr[strings.IndexByte(qr, ':')+1 : len(qr)-1]
	inner = strings.TrimPrefix(inner, "(?aa)")
	if own := strings.TrimPrefix(r.Modifiers, "aa"); own != "" {
		inner = strings.TrimPrefix(inner, "(?"+own+")")
	}
	if inner != r.Pattern {
		t.Errorf("%s: pattern\n%s, want\n%s", r.Name, r.Pattern, inner)
	}
}

// TestMetasAsPerl: which metas are rules, there and here; one that divides by zero where no
// rule hits is none.
func TestMetasAsPerl(t *testing.T) {
	texts := []string{"AA == -1", "AA+1 > 2", "AA & 1", "AA | BB", "AA > 1.2.3", "AA + 1 > 2", "(-AA) < 0", "AA && BB || !AA", "(AA ^ BB) == 1",
		"AA / BB", "BB && AA / BB", "!BB || AA / BB > 2", "AA / (BB + 1)", "AA / (1 - BB)", "BB ? AA / BB : 0", "!BB ? AA / BB : 0", "1 / 0", "0 * (1 / BB)", "AA / rules_matching(BB)",
		"(AA / BB) && 0", "2 > 1 / BB", "AA / (BB / 2)", "0 < BB < 1 / BB", "1 < BB < 1 / BB"}
	r := rand.New(rand.NewPCG(7, 7))
	for range 400 {
		texts = append(texts, randomExpr(r, 4))
	}
	rules := "body AA /alpha/\nbody BB /beta/\n"
	for i, text := range texts {
		rules += fmt.Sprintf("meta M_%d %s\n", i, text)
	}
	var perl struct{ Rules map[string]perlRule }
	spamtest.Start(t, "..", "../rules", spamtest.Site, "text="+rules).Ask(t, "conf", &perl)
	s := Parse("x.cf", rules, Options{})
	refused := 0
	for i, text := range texts {
		name := fmt.Sprintf("M_%d", i)
		if _, there := perl.Rules[name]; there != (s.Rule(name) != nil) {
			t.Errorf("%s is a rule there: %v", text, there)
		} else if !there {
			refused++
		}
	}
	if len(s.Problems) != refused || refused < 50 || refused > len(texts)-50 {
		t.Errorf("%d of %d refused, %d told of", refused, len(texts), len(s.Problems))
	}
}

// randomExpr makes an expression of that depth.
func randomExpr(r *rand.Rand, depth int) string {
	of := func(words ...string) string { return words[r.IntN(len(words))] }
	if depth == 0 || r.IntN(5) == 0 {
		return of("AA", "BB", "0", "1", "2.5")
	}
	a, b := randomExpr(r, depth-1), randomExpr(r, depth-1)
	switch r.IntN(6) {
	case 0:
		return "!" + "(" + a + ")"
	case 1:
		return "(" + a + " ? " + b + " : " + randomExpr(r, depth-1) + ")"
	case 2:
		return a + " / (" + b + ")"
	}
	return "(" + a + ") " + of("+", "-", "*", "/", "&&", "||", "<", ">", "==", "!=", ">=", "<=") + " (" + b + ")"
}

// TestByteOrderMarkAsPerl: a line that begins with one is lost there and here, and only that.
func TestByteOrderMarkAsPerl(t *testing.T) {
	const text = byteOrderMark + "body LOST /x/\nscore LOST 2\nbody KEPT /y/\n"
	var perl struct{ Rules map[string]perlRule }
	spamtest.Start(t, "..", "../rules", spamtest.Site, "text="+text).Ask(t, "conf", &perl)
	s := Parse("x.cf", text, Options{})
	for _, name := range []string{"LOST", "KEPT"} {
		if _, there := perl.Rules[name]; there != (s.Rule(name) != nil) || there != (name == "KEPT") {
			t.Errorf("%s is a rule there: %v", name, there)
		}
	}
	if len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0].String(), "x.cf:1: the line begins with a byte order mark") {
		t.Error(s.Problems)
	}
}

// TestFeaturesAsPerl: what "if can(...)" and "if has(...)" ask for, of all that SpamAssassin's sources have.
func TestFeaturesAsPerl(t *testing.T) {
	const lib = "/usr/share/perl5/Mail/SpamAssassin/"
	sub := regexp.MustCompile(`(?m)^sub ((?:has|feature|check|perl)_\w+)`)
	var text strings.Builder
	n := 0
	files, err := filepath.Glob(lib + "Plugin/*.pm")
	mtatest.Check(t, err)
	for _, file := range append(files, lib+"Conf.pm") {
		source, err := os.ReadFile(file)
		mtatest.Check(t, err)
		module := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(file, lib), ".pm"), "/", "::")
		for _, m := range sub.FindAllSubmatch(source, -1) {
			asks := []string{"can", "has"}
			if strings.HasPrefix(string(m[1]), "check_") {
				asks = asks[1:] // can calls it, without a message
			}
			if _, called := pluginOf[string(m[1])]; called || len(asks) > 1 { // others are SpamAssassin's own
				for _, ask := range asks {
					fmt.Fprintf(&text, "if %s(Mail::SpamAssassin::%s::%s)\nbody R%d /x/\ndescribe R%[4]d %[1]s(%[2]s::%[3]s)\nendif\n", ask, module, m[1], n)
					n++
				}
			}
		}
	}
	if n < 200 {
		t.Fatalf("only %d", n)
	}
	var perl struct{ Rules map[string]perlRule }
	spamtest.Start(t, "..", "../rules", spamtest.Site, "text="+text.String()).Ask(t, "conf", &perl)
	s, err := Load([]string{"../rules", spamtest.Site}, Options{})
	mtatest.Check(t, err)
	loaded := text.String()
	for name := range s.Plugins {
		loaded = "loadplugin " + name + "\n" + loaded
	}
	ours := Parse("x.cf", loaded, Options{})
	for line := range strings.Lines(text.String()) {
		name, what, ok := strings.Cut(strings.TrimPrefix(line, "describe "), " ")
		if !ok || !strings.HasPrefix(line, "describe ") {
			continue
		}
		if _, there := perl.Rules[name]; there != (ours.Rule(name) != nil) {
			t.Errorf("%s: there %v", strings.TrimSpace(what), there)
		}
	}
}

// TestPluginsAsPerl: which plugin a setting or a function is of.
func TestPluginsAsPerl(t *testing.T) {
	var perl struct {
		Plugins map[string]struct{ Settings, Functions []string }
		Core    []string
	}
	spamtest.Start(t, "..", "../rules", spamtest.Site).Ask(t, "plugins", &perl)
	settings, functions := map[string][]string{}, map[string]string{}
	for name, x := range perl.Plugins {
		for _, s := range x.Settings {
			if of := settings[aliasOf(s)]; !slices.Contains(of, name) {
				settings[aliasOf(s)] = append(of, name)
			}
		}
		for _, f := range x.Functions {
			functions[f] = name
		}
	}
	for _, key := range perl.Core {
		delete(settings, key)
	}
	if len(settings) < 150 || len(functions) < 200 {
		t.Fatalf("%d settings, %d functions", len(settings), len(functions))
	}
	for _, x := range plugins {
		for f := range strings.FieldsSeq(x.functions) {
			if functions[f] != x.name {
				t.Errorf("%s is of %s, not of %s", f, functions[f], x.name)
			}
			delete(functions, f)
		}
	}
	if len(functions) > 0 {
		t.Errorf("whose are %v", functions)
	}
	p := newParser(Options{})
	p.Plugins["Another"] = true
	known := func(key string) bool {
		_, option := options[key]
		_, unused := unusedBecause[key]
		return option || unused || p.find(key) != nil
	}
	for key, want := range settings {
		switch got := p.unloaded(key); {
		case !known(key):
			if err := p.command(key, "1"); !strings.Contains(err.Error(), "is of the plugin "+want[0]+", which this program does not do") {
				t.Errorf("%s of %s: %v", key, want, err)
			}
		case !slices.Contains(want, got), strings.Contains(shared, " "+key+" ") != (len(want) == 2):
			t.Errorf("%s is of %v, not of %q", key, want, got)
		}
	}
	byParsing := []string{"freemail_domains", "freemail_welcomelist", "hashbl_acl_x", "bayes_stopword_en"} // parse_config of those plugins
	for _, key := range slices.Concat(slices.Collect(maps.Keys(options)), slices.Collect(maps.Keys(unusedBecause)), slices.Collect(maps.Keys(ruleCommands))) {
		if got := p.unloaded(key); got != "" && settings[key] == nil && !slices.Contains(byParsing, key) {
			t.Errorf("%s is not of %s", key, got)
		}
	}
}
