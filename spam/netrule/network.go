// Package netrule has the functions that ask others: the DNS for SpamAssassin's DNSEval,
// URIDNSBL, AskDNS, HashBL and ASN (4.0) and for what DKIM asks of an author's domain,
// dccifd for DCC, and the program of Pyzor. They never wait: package ask says how.
package netrule

import (
	"maps"
	"regexp"
	"strconv"
	"strings"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// asking are the functions by the plugins of SpamAssassin that have them.
var asking = []map[string]eval.Func{dnsEval, uriDNSEval, hashEval, asnEval, adspEval, dccEval, pyzorEval, razorEval}

// Functions are all functions by their names. The map must not be changed.
func Functions() map[string]eval.Func {
	out := map[string]eval.Func{}
	for _, table := range asking {
		maps.Copy(out, table)
	}
	return out
}

// inquirer asks the questions of one call of a function.
type inquirer struct {
	s       *scan.Scan
	pending bool
	why     string // of an answer that will not come
}

// ask gives the records that answer a question; ok is false as long as there is no answer.
func (a *inquirer) ask(name, typ string) (ask.Reply, bool) {
	if a.s.Ask == nil {
		return ask.Reply{}, false
	}
	r := a.s.Ask.Ask(name, typ)
	return r, a.note(r)
}

// outcome is what the function returns: it waits for all answers, and what has no hit
// is a miss only if all were there.
func (a *inquirer) outcome(found bool) (float64, error) {
	switch {
	case a.pending:
		return 0, ask.ErrPending
	case found:
		return 1, nil
	case a.why != "":
		return 0, eval.Unknown(a.why)
	}
	return 0, nil
}

// finding is a hit that is not told before all answers are there.
type finding struct{ rule, text string }

// tell notes what was found, if nothing is pending.
func (a *inquirer) tell(found []finding) (float64, error) {
	if !a.pending {
		for _, f := range found {
			if f.text != "" {
				a.s.Note(f.rule, f.text)
			}
		}
	}
	return a.outcome(len(found) > 0)
}

// ofScores is the key of what depends on which rules score.
type ofScores struct {
	what string
	set  conf.ScoreSet
}

// active reports whether a rule scores.
func active(s *scan.Scan, rule string) bool { return s.Rules.Score(rule, s.Set) != 0 }

// subtest is what a rule looks for in an answer of a list: a pattern, an address, or
// numbers: a mask, a range, a value under a mask.
type subtest struct {
	any     bool
	re      *regex.Regexp
	text    string // compared as it is
	numeric bool
	n1, n2  uint32
	form    byte // 0 a mask of 127/8, '-' a range, '/' a value and a mask
}

// matches tells whether an answer is what is looked for.
func (t *subtest) matches(s *scan.Scan, typ, data string) (bool, error) {
	switch {
	case t.any:
		return true, nil
	case t.re != nil:
		return t.re.Match([]byte(data), s.Budget)
	case t.text != "" && t.text == data:
		return true, nil
	case !t.numeric || typ != "A":
		return false, nil
	}
	n, ok := quadNumber(data)
	switch {
	case !ok:
		return false, nil
	case t.form == '-':
		return n >= t.n1 && n <= t.n2, nil
	case t.form == '/':
		return n&t.n2 == t.n1&t.n2, nil
	}
	return n&t.n1 != 0 && n>>24 == 127, nil
}

// quadNumber is the number of an address of IP version 4, which may have fewer checks
// than an address: "127.0.1.300" is one for Perl.
func quadNumber(s string) (uint32, bool) {
	p := strings.Split(s, ".")
	if len(p) != 4 {
		return 0, false
	}
	var n uint32
	for _, x := range p {
		v, err := strconv.ParseUint(x, 10, 16)
		if err != nil || v > 255 {
			return 0, false
		}
		n = n<<8 | uint32(v)
	}
	return n, true
}

var (
	decimal = regexp.MustCompile(`^\d{1,10}$`)
	hexa    = regexp.MustCompile(`^0x[0-9a-fA-F]{1,8}$`)
)

// numbers reads "m", "n1-n2" and "n/m" of decimal or hexadecimal numbers or addresses.
func numbers(text string) (*subtest, bool) {
	t := &subtest{numeric: true, text: text}
	first, second := text, ""
	if i := strings.IndexAny(text, "/-"); i > 0 {
		first, second, t.form = text[:i], text[i+1:], text[i]
	}
	var quad, ok bool
	if t.n1, quad, ok = oneNumber(first); !ok {
		return nil, false
	}
	if t.form != 0 {
		if t.n2, _, ok = oneNumber(second); !ok {
			return nil, false
		}
		return t, true
	}
	if quad {
		t.n2, t.form = t.n1, '-'
	}
	return t, true
}

func oneNumber(s string) (n uint32, quad, ok bool) {
	var v uint64
	var err error
	switch {
	case decimal.MatchString(s):
		v, err = strconv.ParseUint(s, 10, 32)
	case hexa.MatchString(s):
		v, err = strconv.ParseUint(s[2:], 16, 32)
	default:
		n, quad = quadNumber(s)
		return n, true, quad
	}
	return uint32(v), false, err == nil
}

// skipRBL: the administrator does not want lists to be asked.
func skipRBL(f eval.Func) eval.Func {
	return func(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
		if s.Ask == nil || s.Rules.Bool("skip_rbl_checks") {
			return 0, nil
		}
		return f(s, r, args)
	}
}
