package conf

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// parse reads a text in which nothing may be wrong.
func parse(t *testing.T, text string) *Ruleset {
	t.Helper()
	s := Parse("test.cf", text, Options{})
	for _, p := range s.Problems {
		t.Error(p)
	}
	return s
}

func TestRules(t *testing.T) {
	s := parse(t, `
header   A  Subject =~ /x\#y/i   # a comment
header   B  From:addr !~ m{^a/b@} [if-unset: none]
header   C  exists:X-Foo
body     D  /money/
body     E  eval:check_for_mime('mime_html', "two, three", 4)
header   F  eval:check_rbl('zen', 'list.example.')
meta     G  A && (B + 2 * D > 3) || !C
uri      H  m,^https?://x,
full     I  /a/
rawbody  J  /b/
mimeheader K Content-Type:raw =~ /pdf/
askdns   L  _SENDERDOMAIN_.list.example A /^127/
urirhssub M multi.example. A 2
body     M  eval:check_uridnsbl('M')
tflags   M  net
reuse    N
score    A  1 2 3 4
score    D  -1.5
describe A  An odd subject
tflags   D  nice multiple maxhits=3
priority D  -400
`)
	for name, typ := range map[string]Type{"A": Header, "B": Header, "C": Header, "D": Body, "E": BodyEval, "F": RBLEval, "G": Meta, "H": URI, "I": Full,
		"J": RawBody, "K": MIMEHeader, "L": AskDNS, "M": BodyEval, "N": Empty} {
		if r := s.Rule(name); r == nil || r.Type != typ {
			t.Errorf("%s: %+v, want %v", name, r, typ)
		}
	}
	if r := s.Rule("A"); r.Pattern != `x#y` || r.Modifiers != "aai" || r.Line != 2 || r.File != "test.cf" {
		t.Errorf("A: %+v", r)
	}
	if h := s.Rule("B").Header; h.Name != "From" || !slices.Equal(h.Modifiers, []string{"addr"}) || !h.Negate || h.Unset != "none" || !h.HasUnset {
		t.Errorf("B: %+v", h)
	}
	if c := s.Rule("E").Call; c.Func != "check_for_mime" || !slices.Equal(c.Args, []string{"mime_html", "two, three", "4"}) {
		t.Errorf("E: %+v", c)
	}
	if l, ok := s.URIList("M"); !ok || l != (URIList{"urirhssub", "multi.example", "A", "2"}) {
		t.Errorf("M: %+v", l)
	}
	if got := [...]float64{s.Score("A", 0), s.Score("A", WithNet), s.Score("A", WithBayes), s.Score("A", WithNet|WithBayes), s.Score("D", 0), s.Score("J", 0), s.Score("T_X", 0)}; got != [...]float64{1, 2, 3, 4, -1.5, 1, 0.01} {
		t.Errorf("scores %v", got)
	}
	if r := s.Rule("D"); !r.Flags.Nice || !r.Flags.Multiple || r.Flags.MaxHits != 3 || r.Priority != -400 {
		t.Errorf("D: %+v", r)
	}
	if !s.Rule("M").Flags.Net || s.Description("A") != "An odd subject" {
		t.Error("flags or description")
	}
}

func TestProblems(t *testing.T) {
	for line, want := range map[string]string{
		"heder A Subject =~ /x/":         "test.cf:1: heder is no setting that SpamAssassin 4.0 has",
		"header A Subject = /x/":         "test.cf:1: A: want a field's name, =~ or !~, and a pattern",
		"header A Subject:foo =~ /x/":    `"foo" is no part of a field`,
		"body A /x":                      "no delimiter",
		"body A /(x/":                    "test.cf:1: A: ",
		"body 1A /x/":                    "a rule's name has letters",
		"body A":                         "there is no value",
		"body A eval:foo(":               "want eval:function(arguments)",
		"body A eval:foo('a' b)":         "the arguments can not be read",
		"meta A B &&":                    "the expression ends too early",
		"meta A (B":                      `a ")" is missing`,
		"meta A B ** C":                  `"**" is no operator`,
		"score A x":                      `"x" is no number`,
		"score A (1)":                    "a score relative to none",
		"score A 1 2":                    "want a rule's name and 1 or 4 numbers",
		"trusted_networks 1.2.3.4/x foo": `"foo" is no network`,
		"required_score high":            "the value can not be understood",
		"report_safe 3":                  "want 0, 1 or 2",
		"add_header some Foo bar":        "want ham, spam or all",
		"rewrite_header Date x":          `"Date" can not be rewritten`,
		"uri_detail A foo =~ /x/":        `"foo" is no part of a link`,
		"askdns A x BOGUS":               `"BOGUS" is no type of DNS records`,
		"else":                           "else without if",
		"endif":                          "endif without if",
		"if (version >= 3)":              "this if has no endif",
		"if foo(bar)\nendif":             "does not belong here",
		"include nowhere.cf":             "is not there",
		"util_rb_2tld uk":                `"uk" has not 1 dots`,
		"welcomelist_from_rcvd a@b":      "want an address pattern and a domain",
		"enlist_uri_host foo":            "want (LIST) and hosts",
		"clear_nothing":                  "no setting",
		"tflags A":                       "there is no value",
		"priority A x":                   "want a rule's name and a number",
		"body A /" + strings.Repeat("(", 50000) + "/": "test.cf:1: A: ",
		"meta A " + strings.Repeat("(", 50000):        "nested more than",
		"meta A " + strings.Repeat("!", 50000) + "B":  "nested more than",
	} {
		s := Parse("test.cf", line, Options{})
		if len(s.Problems) == 0 || !strings.Contains(s.Problems[0].String(), want) {
			t.Errorf("%.60s: %.200q, want %q", line, s.Problems, want)
		}
	}
	if s := Parse("x.cf", strings.Repeat("bogus\n", 5000), Options{}); len(s.Problems) != maxProblems {
		t.Errorf("%d problems", len(s.Problems))
	}
}

func TestConditions(t *testing.T) {
	s := parse(t, `
loadplugin Mail::SpamAssassin::Plugin::DKIM
enable_compat some_name
ifplugin Mail::SpamAssassin::Plugin::DKIM
  body IN_PLUGIN /x/
  if (version >= 5.000000)
    body NEVER /x/
  else
    body ELSE /x/
  endif
endif
ifplugin Mail::SpamAssassin::Plugin::Nothing
  bogus line is left out
  if (version > 1)
    body NEVER2 /x/
  else
    body NEVER3 /x/
  endif
endif
if can(Mail::SpamAssassin::Conf::feature_bug6558_free) && !plugin(Foo)
  body CAN /x/
endif
if !(can(Mail::SpamAssassin::Plugin::DKIM::has_arc) && can(Mail::SpamAssassin::Conf::compat_some_name))
  body NEVER4 /x/
endif
lang de describe CAN Deutsch
lang en describe CAN English
if local_tests_only
  body NEVER5 /x/
endif
`)
	var names []string
	for _, r := range s.Rules() {
		names = append(names, r.Name)
	}
	if want := []string{"CAN", "ELSE", "IN_PLUGIN"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if d := s.Description("CAN"); d != "English" {
		t.Errorf("described as %q", d)
	}
}

func TestSettings(t *testing.T) {
	s := parse(t, `
required_hits 6.5
use_bayes no
time_limit 2d
report_contact somebody, somewhere
clear_report_template
report "one"
report two
whitelist_from *@Example.com a?b@x.org
unwhitelist_from a?b@x.org
blacklist_to spamtrap@example.com
whitelist_from_rcvd *@a.com b.com
whitelist_from_rcvd *@a.com c.com
trusted_networks 192.0.2/24 !10.1. 10/8 2001:db8::/32
enlist_uri_host (MY) Example.com !good.example.com
blacklist_uri_host bad.example
clear_headers
add_header all Foo "a\tb_SCORE_ \\ \x"
remove_header ham Foo
rewrite_header subject ***SPAM***
rewrite_header From (x)
report_safe 0
util_rb_tld uk com
util_rb_2tld co.uk
util_rb_3tld a.b.uk
replace_tag A [a4]
replace_pre X1 (?:
replace_post X2 )
replace_inter I1 \s*
body R /<inter I1><A><A>b/
replace_rules R
meta M rules_matching(R*)
`)
	if s.Number("required_score") != 6.5 || s.Bool("use_bayes") || s.Number("time_limit") != 172800 || s.String("report_contact") != "somebody, somewhere" || s.String("report") != "one\ntwo\n" {
		t.Error("settings")
	}
	for addr, want := range map[string]bool{"Me@EXAMPLE.com": true, "axb@x.org": false, "a@b.c": false} {
		if _, ok := s.Addresses("welcomelist_from").Match(addr); ok != want {
			t.Errorf("%s: %v", addr, ok)
		}
	}
	if _, ok := s.Addresses("blocklist_to").Match("SPAMTRAP@example.com"); !ok {
		t.Error("blocklist_to")
	}
	if got := s.Pairs("welcomelist_from_rcvd"); !reflect.DeepEqual(got, []Pair{{"*@a.com", []string{"b.com", "c.com"}}}) {
		t.Errorf("pairs %v", got)
	}
	for addr, want := range map[string]bool{"192.0.2.7": true, "192.0.3.7": false, "10.1.2.3": false, "10.2.2.3": true, "127.0.0.1": true, "2001:db8::1": true, "::1": true, "::ffff:10.2.2.3": true} {
		if got := s.Nets("trusted_networks").Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if h := s.Hosts("MY"); !h["example.com"] || h["good.example.com"] || !s.Hosts("BLOCK")["bad.example"] {
		t.Errorf("hosts %v", h)
	}
	if len(s.Ham) != 1 || len(s.Spam) != 3 || s.Spam[1] != (Field{"Foo", "a\tb_SCORE_ \\ "}) || s.Spam[2] != (Field{"Report", "_REPORT_"}) {
		t.Errorf("headers %q %q", s.Ham, s.Spam)
	}
	if s.Rewrite["Subject"] != "***SPAM***" || s.Rewrite["From"] != "[x]" {
		t.Errorf("rewrite %v", s.Rewrite)
	}
	if r := s.Rule("R"); r.Pattern != `[a4]\s*[a4]b` {
		t.Errorf("tags: %q", r.Pattern)
	}
	if e := s.Rule("M").Expr; !slices.Equal(e.Rules(), []string{"R"}) {
		t.Errorf("matching: %q", e.Rules())
	}
}

func TestDomains(t *testing.T) {
	d := parse(t, "util_rb_tld com uk us\nutil_rb_2tld co.uk\nutil_rb_3tld a.b.uk").Domains()
	for name, want := range map[string][2]string{
		"example.com": {"", "example.com"}, "WWW.Example.com.": {"www", "example.com"}, "a.b.example.co.uk": {"a.b", "example.co.uk"}, "co.uk": {"", "co.uk"},
		"x.y.a.b.uk": {"x", "y.a.b.uk"}, "www.fire.ci.los-angeles.ca.us": {"www", "fire.ci.los-angeles.ca.us"}, "w.x.state.ca.us": {"w", "x.state.ca.us"}, "com": {"", "com"}, "": {"", ""}, "a..b.com": {"a", "b.com"},
	} {
		if h, dom := d.Split(name); h != want[0] || dom != want[1] {
			t.Errorf("%s: %q %q, want %q", name, h, dom, want)
		}
	}
	if !d.Valid("a.com") || d.Valid("com") || d.Valid("a.invalid") || d.Valid("a b.com") {
		t.Error("valid")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		p, s string
		ok   bool
	}{{"*", "", true}, {"*@x", "a@x", true}, {"*@x", "a@xy", false}, {"a?c", "abc", true}, {"a?c", "ac", false}, {"*a*b*", "xxayybzz", true}, {"", "", true}, {"", "a", false},
		{strings.Repeat("*a", 30) + "b", strings.Repeat("a", 5000), false}} {
		if Glob(c.p, c.s) != c.ok {
			t.Errorf("%.20q %.20q: not %v", c.p, c.s, c.ok)
		}
	}
}

func TestExpr(t *testing.T) {
	values := map[string]Span{"A": Known(1), "B": Known(0), "C": Known(3), "U": {0, 1}}
	for text, want := range map[string]Span{
		"A + C * 2": Known(7), "(A + C) * 2": Known(8), "A && B": Known(0), "A || B": Known(1), "!A": Known(0), "!B + !B": Known(2), "C > 2": Known(1), "C >= 3 && C <= 3": Known(1),
		"C == 3 && C != 4": Known(1), "A - C": Known(-2), "-C + 4": Known(1), "B ? 5 : 6": Known(6), "C / 2": Known(1.5), "B && C / B": Known(0), "A ^ C": Known(2), "C & A": Known(1), "B | C": Known(3),
		"U": {0, 1}, "U && B": Known(0), "U && A": {0, 1}, "U || A": {5e-324, 1}, "U || B": {0, 1}, "!U": {0, 1}, "U + C": {3, 4}, "U + C > 2": Known(1), "U + C > 4": Known(0), "U + C > 3": {0, 1},
		"U * C": {0, 3}, "U ? A : C": {1, 3}, "X": Known(0), "()": Known(0), "2.5": Known(2.5), "A&&!B": Known(1), "A +1": Known(2), "1 < 2 == 1": Known(1),
	} {
		e, err := ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.Eval(func(n int) Span { return values[e.Rules()[n]] }); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestUser(t *testing.T) {
	s := parse(t, "body A /x/\nscore A 2\nwelcomelist_from a@b.c\nrequired_score 5")
	u := s.WithUser("user_prefs", "score A 0\nwelcomelist_from d@e.f\nrequired_score 3\nbody B /y/\ntflags A nice\nallow_user_rules 1\nloadplugin X", Options{})
	if u.Score("A", 0) != 0 || u.Number("required_score") != 3 || u.Rule("B") != nil || u.Rule("A").Flags.Nice || len(u.Problems) != 4 {
		t.Errorf("%v %q", u.Score("A", 0), u.Problems)
	}
	if _, ok := u.Addresses("welcomelist_from").Match("d@e.f"); !ok {
		t.Error("list of the user")
	}
	if _, ok := s.Addresses("welcomelist_from").Match("d@e.f"); ok || s.Score("A", 0) != 2 || s.Number("required_score") != 5 {
		t.Error("the user has changed the site's")
	}
	free := parse(t, "allow_user_rules 1\nbody A /x/")
	u = free.WithUser("user_prefs", "body A /y/\ntflags A nice\nmeta M A", Options{})
	if len(u.Problems) > 0 || u.Rule("A").Pattern != "y" || free.Rule("A").Pattern != "x" || free.Rule("A").Flags.Nice || u.Rule("M").Expr == nil {
		t.Errorf("%q %q %q", u.Problems, u.Rule("A").Pattern, free.Rule("A").Pattern)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		mtatest.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("z.pre", "loadplugin Mail::SpamAssassin::Plugin::DKIM")
	write("a.cf", "# UPDATE version 1900000\nifplugin Mail::SpamAssassin::Plugin::DKIM\nbody A /x/\ninclude more.txt\nendif")
	write("more.txt", "body B /y/\ninclude more.txt")
	write("note.txt", "bogus")
	s, err := Load([]string{dir}, Options{Known: func(p string) bool { return strings.HasSuffix(p, "DKIM") }})
	mtatest.Check(t, err)
	if s.Rule("A") == nil || s.Rule("B") == nil || s.Update() != "1900000" || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Text, "more.txt includes itself") {
		t.Errorf("%q %q", s.Problems, s.Update())
	}
	if _, err := Load([]string{filepath.Join(dir, "nothing")}, Options{}); err == nil {
		t.Error("no error of a missing directory")
	}
	if s, _ := Load([]string{filepath.Join(dir, "z.pre")}, Options{Known: func(string) bool { return false }}); len(s.Problems) != 1 {
		t.Errorf("unknown plugin: %q", s.Problems)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"header A Subject =~ /x/i\nscore A 1 2 3 4", "if can(Mail::SpamAssassin::Conf::feature_geodb)\nbody A /x/\nelse\nmeta B A && !A\nendif", "add_header all X _SCORE_\nclear_headers",
		"replace_tag A <B>\nreplace_tag B <A>\nbody C /<A><pre A><inter B>/\nreplace_rules C", "trusted_networks 10/8 !::1", "uri_detail X raw =~ m,x,i text !~ /y/", "meta A rules_matching(*)\nmeta B A+B*2/0?1:2", "lang de describe A b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") {
			return
		}
		s := Parse("f.cf", text, Options{})
		for _, r := range s.Rules() {
			if r.Expr != nil {
				r.Expr.Eval(func(int) Span { return Span{0, 1} })
			}
		}
		s.WithUser("prefs", text, Options{})
	})
}

// TestNotes: settings that change nothing are told of once a file, unless they say what is
// done anyway.
func TestNotes(t *testing.T) {
	text := "bayes_path /x\nbayes_path /y\nwhitelist_from a@b.example\nuse_auto_welcomelist 0\nuse_auto_whitelist 1\nnormalize_charset yes\ntest X ok y\nbody E /a||b/\nheader H Subject =~ /|x/\nbody O /a\\||b/\nmimeheader M X =~ /|a/\n"
	var got []string
	for _, p := range Parse("x.cf", text, Options{}).Notes {
		got = append(got, p.String())
	}
	want := []string{
		"x.cf:1: bayes_path changes nothing here: what was learned is in the server's own store",
		"x.cf:5: use_auto_welcomelist changes nothing here: AWL is not done here; TxRep does the same and more",
		"x.cf:8: E: the pattern matches every text: it contains '||'",
		"x.cf:9: H: the pattern matches every text: it starts or ends with '|'",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	rs := Parse("x.cf", "ignore_always_matching_regexps 1\n"+text, Options{})
	if rs.Rule("E") != nil || rs.Rule("H") != nil || rs.Rule("O") == nil || rs.Rule("M") == nil || len(rs.Problems) != 2 {
		t.Errorf("%v", rs.Problems)
	}
}

// TestEverySettingIsUsed: what is read somebody asks for, in the sources of the engine. Else
// it belongs to those that change nothing.
func TestEverySettingIsUsed(t *testing.T) {
	var sources strings.Builder
	for _, root := range []string{"..", "../../plugins/spamscore"} {
		mtatest.Check(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, "conf/settings.go") && !strings.HasSuffix(path, "conf/plugins.go") {
				var b []byte
				b, err = os.ReadFile(path)
				sources.Write(b)
			}
			return err
		}))
	}
	for name := range options {
		used := strings.Contains(sources.String(), `"`+name+`"`)
		for _, prefix := range []string{"txrep_weight_", "freemail_import_", "replace_"} {
			used = used || strings.HasPrefix(name, prefix) && strings.Contains(sources.String(), `"`+prefix+`"`)
		}
		if !used {
			t.Errorf("nobody asks for %s", name)
		}
		if _, twice := unusedBecause[name]; twice {
			t.Errorf("%s is used, and is not", name)
		}
	}
}
