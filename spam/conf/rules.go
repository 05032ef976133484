package conf

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/regex"
)

// ruleCommand gives the function of a command that makes or changes a rule.
func (p *parser) ruleCommand(key string) func(string) error {
	with := func(t Type, f func(*Rule) error) func(string) error {
		return func(v string) error { return p.define(v, t, f) }
	}
	switch key {
	case "header":
		return p.header
	case "body":
		return p.textRule(Body, BodyEval)
	case "rawbody":
		return p.textRule(RawBody, RawBodyEval)
	case "full":
		return p.textRule(Full, FullEval)
	case "uri":
		return with(URI, p.pattern)
	case "meta":
		return with(Meta, p.meta)
	case "mimeheader":
		return with(MIMEHeader, p.comparison)
	case "uri_detail":
		return with(URIDetail, uriDetail)
	case "askdns":
		return with(AskDNS, askDNS)
	case "uridnsbl", "uridnssub", "urirhsbl", "urirhssub", "urinsrhsbl", "urinsrhssub", "urifullnsrhsbl", "urifullnsrhssub":
		return p.uriList(key)
	case "reuse":
		return p.reuse
	case "score":
		return p.score
	case "describe":
		return func(v string) error { return named(p.describe, v) }
	case "tflags":
		return p.flags
	case "priority":
		return p.priority
	case "shortcircuit":
		return p.shortcircuit
	}
	return nil
}

// define reads "NAME definition" and keeps the rule if f takes it.
func (p *parser) define(value string, t Type, f func(*Rule) error) error {
	name, rest := cut(value)
	switch {
	case rest == "":
		return errMissing
	case !validName(name):
		return errors.New("a rule's name has letters, digits and underscores, and begins with no digit")
	case len(name) > 100:
		return errors.New("the rule's name is longer than 100 letters")
	}
	r := &Rule{Name: name, Type: t, Text: rest, File: p.file, Line: p.line}
	if err := f(r); err != nil {
		return err
	}
	p.keep(r)
	return nil
}

// keep puts a rule in its place; what was said of the name stays.
func (p *parser) keep(r *Rule) {
	if old := p.rules[r.Name]; old != nil {
		r.Flags = old.Flags
		if r.Priority == 0 {
			r.Priority = old.Priority
		}
	}
	if f, ok := p.pairs["tflags"][r.Name]; ok {
		r.Flags = parseFlags(f)
	}
	if n, err := strconv.Atoi(p.pairs["priority"][r.Name]); err == nil {
		r.Priority = n
	}
	p.rules[r.Name] = r
}

func (p *parser) header(value string) error {
	_, rest := cut(value)
	if call, ok := strings.CutPrefix(strings.TrimPrefix(rest, "rbl"), "eval:"); ok {
		t := HeaderEval
		if strings.HasPrefix(call, "check_rbl") || strings.HasPrefix(call, "check_dns") {
			t = RBLEval
		}
		return p.define(value, t, eval)
	}
	return p.define(value, Header, p.comparison)
}

func (p *parser) textRule(plain, evals Type) func(string) error {
	return func(value string) error {
		if _, rest := cut(value); strings.HasPrefix(rest, "eval:") {
			return p.define(value, evals, eval)
		}
		return p.define(value, plain, p.pattern)
	}
}

var (
	callForm = regexp.MustCompile(`^(\w+)\((.*)\)$`)
	argForm  = regexp.MustCompile(`^\s*(?:'(.*?)'|"(.*?)"|([\d.:A-Za-z-]+?))\s*(?:,\s*|$)`)
)

// eval reads "eval:function('argument', 2)".
func eval(r *Rule) error {
	_, text, _ := strings.Cut(r.Text, "eval:")
	m := callForm.FindStringSubmatch(text)
	if m == nil {
		return errors.New("want eval:function(arguments)")
	}
	r.Call.Func = m[1]
	for args := m[2]; strings.Trim(args, space) != ""; {
		a := argForm.FindStringSubmatchIndex(args)
		if a == nil {
			return fmt.Errorf("the arguments can not be read from %q on", args)
		}
		for i := 2; i < 8; i += 2 {
			if a[i] >= 0 {
				r.Call.Args = append(r.Call.Args, args[a[i]:a[i+1]])
			}
		}
		args = args[a[1]:]
	}
	return nil
}

var templates = regexp.MustCompile(`%\{([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\([^)}]*\))?)\}`)

// pattern reads a regular expression.
func (p *parser) pattern(r *Rule) error { return p.compile(r, r.Text) }

func (p *parser) compile(r *Rule, text string) (err error) {
	for _, m := range templates.FindAllStringSubmatch(text, -1) {
		r.Wants = append(r.Wants, m[1])
	}
	text = templates.ReplaceAllString(text, `%\{$1\}`)
	r.Pattern, r.Modifiers, err = regex.FromRule(text)
	if err != nil {
		return err
	}
	if err = regex.Check(r.Pattern, r.Modifiers); err != nil {
		return err
	}
	if captures.MatchString(r.Pattern) {
		r.Priority = -10000
	}
	return p.unlikely(r)
}

// unlikely refuses a pattern that matches every text, if the rules say so, and else notes
// it.
func (p *parser) unlikely(r *Rule) error {
	why := regex.AlwaysMatches(r.Pattern)
	switch {
	case why == "" || !slices.Contains([]Type{Header, Body, RawBody, Full, URI}, r.Type):
		return nil
	case p.Bool("ignore_always_matching_regexps"):
		return fmt.Errorf("the pattern matches every text: it %s, and ignore_always_matching_regexps is on", why)
	}
	p.note(r.Name, "the pattern matches every text: it %s", why)
	return nil
}

var (
	captures    = regexp.MustCompile(`\(\?P?[<'][A-Z]`)
	headForm    = regexp.MustCompile(`^([\w.-]+(?::|(?::[a-z]+){1,2})?)\s*([=!]~)\s*(.+)$`)
	partForm    = regexp.MustCompile(`^([^:\s]+(?::(?:raw)?)?)\s*([=!]~)\s*(.+)$`)
	unsetForm   = regexp.MustCompile(`\s+\[if-unset:\s+(.+)\]$`)
	existsForm  = regexp.MustCompile(`^exists:([\w.-]+):?$`)
	headerParts = []string{"raw", "addr", "name", "host", "domain", "ip", "revip", "first", "last"}
)

// comparison reads "Name:modifier =~ /pattern/" and "exists:Name".
func (p *parser) comparison(r *Rule) error {
	h := &r.Header
	if strings.HasPrefix(r.Text, "exists:") && r.Type == Header {
		m := existsForm.FindStringSubmatch(r.Text)
		if m == nil {
			return errors.New("want exists:Name")
		}
		h.Name, h.Exists = m[1], true
		return nil
	}
	form := headForm
	if r.Type == MIMEHeader {
		form = partForm
	}
	m := form.FindStringSubmatch(r.Text)
	if m == nil {
		return errors.New("want a field's name, =~ or !~, and a pattern")
	}
	h.Name, h.Negate = strings.TrimSuffix(m[1], ":"), m[2] == "!~"
	name, mods, _ := strings.Cut(h.Name, ":")
	if mods != "" {
		h.Name, h.Modifiers = name, strings.Split(mods, ":")
	}
	for _, mod := range h.Modifiers {
		if !slices.Contains(headerParts, mod) {
			return fmt.Errorf("%q is no part of a field: want %s", mod, strings.Join(headerParts, ", "))
		}
	}
	pattern := m[3]
	if u := unsetForm.FindStringSubmatch(pattern); u != nil {
		h.Unset, h.HasUnset = u[1], true
		pattern = strings.TrimSuffix(pattern, u[0])
	}
	return p.compile(r, pattern)
}

func (p *parser) meta(r *Rule) error {
	if strings.Contains(strings.ReplaceAll(r.Text, " ", ""), "**") {
		return errors.New(`"**" is no operator here`)
	}
	text := matching.ReplaceAllString(r.Text, " 0 ")
	for _, number := range numberLike.FindAllString(text, -1) {
		if strings.Trim(number, "+-") != "" && !plainNumber.MatchString(number) {
			return fmt.Errorf("%q is no number; behind a sign that is an operator there must be a space", number)
		}
	}
	if singles.MatchString(text) {
		return errors.New(`"&" and "|" are no operators here; "&&" and "||" are`)
	}
	e, err := ParseExpr(text)
	if err == nil && e.Eval(func(int) Span { return Known(0) }).Undefined() {
		err = errors.New("it divides by zero where no rule hits, and SpamAssassin takes no such meta: write B && A / B, or A / (B + 1)")
	}
	return err
}

// What SpamAssassin takes for numbers in metas, and what it then lets pass as one
// (is_meta_valid of Mail::SpamAssassin::Conf::Parser).
var (
	numberLike  = regexp.MustCompile(`[_A-Za-z][\w:]*|[-+\d.]+`)
	plainNumber = regexp.MustCompile(`^(?:\d+(?:\.\d+)?|[_A-Za-z].*)$`)
	singles     = regexp.MustCompile(`(?:^|[^&])&(?:[^&]|$)|(?:^|[^|])\|(?:[^|]|$)`)
)

var matching = regexp.MustCompile(`\brules_matching\(\s*([_a-zA-Z*?][_a-zA-Z0-9*?]{0,127})\s*\)`)

// metas reads the expressions of metas, once all rules are there.
func (p *parser) metas() {
	for _, name := range slices.Sorted(maps.Keys(p.rules)) {
		r := p.rules[name]
		if r.Type != Meta || r.Expr != nil {
			continue
		}
		text := matching.ReplaceAllStringFunc(r.Text, func(m string) string {
			return p.expand(matching.FindStringSubmatch(m)[1], name)
		})
		e, err := ParseExpr(text)
		if err != nil {
			p.Problems = append(p.Problems, Problem{r.File, r.Line, name, err.Error()})
			delete(p.rules, name)
			continue
		}
		p.change(name, func(r *Rule) { r.Expr = e })
	}
	p.inheritNet()
}

// expand gives the sum of the rules whose names match.
func (p *parser) expand(glob, but string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.rules)) {
		if name != but && Glob(glob, name) {
			out = append(out, name)
		}
	}
	if out == nil {
		return " 0 "
	}
	return " (" + strings.Join(out, "+") + ") "
}

// inheritNet: a meta of a rule over the network is one itself.
func (p *parser) inheritNet() {
	users := map[string][]string{} // of a rule: the metas
	var queue []string
	for name, r := range p.rules {
		if r.Flags.Net {
			queue = append(queue, name)
		}
		if r.Expr != nil {
			for _, dep := range r.Expr.Rules() {
				users[dep] = append(users[dep], name)
			}
		}
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, meta := range users[name] {
			if !p.rules[meta].Flags.Net {
				p.change(meta, func(r *Rule) { r.Flags.Net = true })
				queue = append(queue, meta)
			}
		}
	}
}

func (p *parser) reuse(value string) error {
	name, _ := cut(value)
	if !validName(name) {
		return errInvalid
	}
	if p.rules[name] == nil {
		p.keep(&Rule{Name: name, Type: Empty, File: p.file, Line: p.line})
	}
	return nil
}

func (p *parser) score(value string) error {
	name, rest := cut(value)
	f := strings.Fields(rest)
	if len(f) != 1 && len(f) != 4 {
		return errors.New("want a rule's name and 1 or 4 numbers")
	}
	old, known := p.scoresOf(name)
	var out [4]float64
	for i := range out {
		word := f[i%len(f)]
		inner, relative := strings.CutPrefix(word, "(")
		inner = strings.TrimSuffix(inner, ")")
		v, ok := readNumber(inner)
		switch {
		case !ok || inner[0] == '+':
			return fmt.Errorf("%q is no number", word)
		case relative && !known:
			return fmt.Errorf("%s: a score relative to none", word)
		case relative:
			v += old[i]
		}
		out[i] = v
	}
	p.scores[name] = out
	return nil
}

// change changes a rule, if it is there: a copy, as the old one may be another
// ruleset's too.
func (p *parser) change(name string, f func(*Rule)) {
	if old := p.rules[name]; old != nil {
		r := *old
		f(&r)
		p.rules[name] = &r
	}
}

func (p *parser) flags(value string) error {
	if err := p.gather("tflags", values, value); err != nil {
		return err
	}
	name, rest := cut(value)
	p.change(name, func(r *Rule) { r.Flags = parseFlags(rest) })
	return nil
}

func (p *parser) priority(value string) error {
	name, rest := cut(value)
	n, err := strconv.Atoi(rest)
	if err != nil || !validName(name) {
		return errors.New("want a rule's name and a number")
	}
	if err := p.gather("priority", values, value); err != nil {
		return err
	}
	p.change(name, func(r *Rule) { r.Priority = n })
	return nil
}

// shortcircuit reads which rule's hit ends the check, and what the message is then.
func (p *parser) shortcircuit(value string) error {
	name, kind := cut(value)
	switch {
	case !validName(name) || kind != "ham" && kind != "spam" && kind != "on" && kind != "off":
		return errors.New("want a rule's name, and ham, spam, on or off")
	case kind == "off":
		delete(p.pairs["shortcircuit"], name)
		return nil
	}
	if err := p.gather("shortcircuit", values, value); err != nil || kind == "on" {
		return err
	}
	if n := p.pairs["priority"][name]; n == "" || n == "0" {
		if err := p.priority(name + " -200"); err != nil {
			return err
		}
	}
	flags := p.pairs["tflags"][name] + " noautolearn"
	if kind == "ham" {
		flags += " nice"
	}
	return p.flags(name + " " + flags)
}
