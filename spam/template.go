package spam

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"mtad/spam/conf"
	"mtad/spam/mail"
)

// Host is what templates say of the server and of what was learned.
type Host struct {
	Name      string // _HOSTNAME_, unless report_hostname says another
	Version   string // _VERSION_
	AutoLearn string // _AUTOLEARN_: ham, spam, no, failed, unavailable; "" is disabled
}

// Report fills templates for one result.
type Report struct {
	*Result
	Host  Host
	own   string // Host.Name without report_hostname
	rules *conf.Ruleset
}

// Report begins to fill templates.
func (r *Result) Report(h Host) *Report {
	own := h.Name
	if name := r.Scan.Rules.String("report_hostname"); name != "" {
		h.Name = name
	}
	if h.AutoLearn == "" {
		h.AutoLearn = cmp.Or(r.AutoLearned, "disabled")
	}
	return &Report{r, h, own, r.Scan.Rules}
}

// released is when that version was: _SUBVERSION_.
const released = "2024-03-25"

var tag = regexp.MustCompile(`_([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\(.*?\))?)_`)

// maxFilled is how many octets the tags of a template may come to, and the fields of a
// message in sum: of more, which only a hostile template asks for, tags stay as they are
// and fields are left out.
const maxFilled = 256 << 10

// Fill replaces the tags of a template: "_SCORE_", "_STARS(*)_". Unknown ones stay, and
// ADDEDHEADER and its like, which would hold themselves (_replace_tags of PerMsgStatus).
func (p *Report) Fill(template string) string {
	room := maxFilled
	return tag.ReplaceAllStringFunc(template, func(s string) string {
		name, arg, has := strings.Cut(strings.Trim(s, "_"), "(")
		arg = strings.TrimSuffix(arg, ")")
		if room < 0 {
			return s
		}
		if v, ok := p.tag(name, arg, has); ok {
			room -= len(v)
			return v
		}
		return s
	})
}

func (p *Report) tag(name, arg string, has bool) (string, bool) {
	if f := p.counted(name, arg); f != nil {
		return f(), true
	}
	if v, ok := p.Scan.Common(name, arg); ok {
		return v, true
	}
	if v, ok := p.ofBayes(name, arg); ok {
		return v, true
	}
	switch name {
	case "YESNO", "YESNOCAPS":
		v := p.yesNo(arg, has)
		if name == "YESNOCAPS" {
			v = strings.ToUpper(v)
		}
		return v, true
	case "VERSION":
		return p.Host.Version, true
	case "SUBVERSION":
		return released, true
	case "RULESVERSION":
		return p.rules.Update(), true
	case "HOSTNAME":
		return p.Host.Name, true
	case "CONTACTADDRESS":
		return p.rules.String("report_contact"), true
	case "DATE":
		return p.Scan.Facts.Now.Format(time.RFC1123Z), true
	case "AUTOLEARN":
		return p.Host.AutoLearn, true
	case "SUBJPREFIX":
		return p.Prefix(), true
	}
	if v := p.Scan.Tag(name); v != nil {
		return strings.Join(v, " "), true
	}
	return "", slices.Contains(knownTags, name)
}

// knownTags are there even if nothing has set them.
var knownTags = strings.Fields(`RBL ASN ASNCIDR AWL AWLMEAN AWLCOUNT AWLPRESCORE DCCB DCCR EXTRACTTEXTCHARS EXTRACTTEXTWORDS EXTRACTTEXTTOOLS EXTRACTTEXTTYPES
	EXTRACTTEXTEXTENSIONS EXTRACTTEXTFLAGS EXTRACTTEXTURIS DCCREP PYZOR DKIMIDENTITY DKIMDOMAIN DKIMSELECTOR BAYESTC BAYESTCLEARNED BAYESTCSPAMMY BAYESTCHAMMY
	HAMMYTOKENS SPAMMYTOKENS TOKENSUMMARY LANGUAGES`)

// counted are the tags about hits and scores.
func (p *Report) counted(name, arg string) func() string {
	sep := ","
	if arg != "" {
		sep = arg
	}
	switch name {
	case "SCORE", "HITS":
		return func() string { return p.score(arg) }
	case "REQD":
		return func() string { return fmt.Sprintf("%2.1f", p.Required) }
	case "STARS":
		return func() string {
			if arg == "" {
				arg = "*"
			}
			return strings.Repeat(arg, max(0, min(50, int(p.Score))))
		}
	case "TESTS":
		return func() string { return orNone(strings.Join(p.Names(), sep)) }
	case "TESTSSCORES":
		return func() string {
			var out []string
			for _, h := range p.Hits {
				for range h.Times {
					out = append(out, h.Rule+"="+strconv.FormatFloat(h.Score, 'g', -1, 64))
				}
			}
			return orNone(strings.Join(out, sep))
		}
	case "SUBTESTS":
		return func() string {
			var out []string
			for _, h := range p.Sub {
				for range h.Times {
					out = append(out, h.Rule)
				}
			}
			return orNone(strings.Join(out, sep))
		}
	case "SUBTESTSCOLLAPSED":
		return func() string {
			var out []string
			for _, h := range p.Sub {
				s := h.Rule
				if h.Times > 1 {
					s += "(" + strconv.Itoa(h.Times) + ")"
				}
				out = append(out, s)
			}
			return orNone(strings.Join(out, ",")) // whatever arg says
		}
	case "SUMMARY":
		return func() string { return p.list("%s %-22s %s", 3, strings.Repeat(" ", 28)) }
	case "REPORT":
		return func() string { return "\n" + p.list("* %s %s %s", 4, "*      ") }
	case "PREVIEW":
		return p.preview
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (p *Report) yesNo(arg string, has bool) string {
	yes, no := "Yes", "No"
	if has {
		var ok bool
		yes, no, ok = strings.Cut(arg, ",")
		if !ok {
			no = "No"
		}
	}
	if p.Spam() {
		return yes
	}
	return no
}

// score is the score with one digit; ham that would be rounded up to what is required
// is a tenth below.
func (p *Report) score(pad string) string {
	s := fmt.Sprintf("%2.1f", p.Score)
	required := fmt.Sprintf("%2.1f", p.Required)
	a, _ := strconv.ParseFloat(s, 64)
	b, _ := strconv.ParseFloat(required, 64)
	if !p.Spam() && a >= b {
		s = strconv.FormatFloat(math.Round((b-0.1)*10)/10, 'g', -1, 64)
	}
	if pad != "" && (strings.Trim(pad, "0") == "" || strings.Trim(pad, " ") == "") {
		if n := min(len(pad)+3-len(s), len(pad)); n > 0 {
			s = pad[:n] + s
		}
	}
	return s
}

// list is a line or more for each hit of a rule.
func (p *Report) list(form string, used int, indent string) string {
	var out strings.Builder
	for _, h := range p.Hits {
		score := fmt.Sprintf("%4.1f", h.Score)
		if h.Score >= 10 || h.Score <= -10 {
			score = fmt.Sprintf("%4.0f", h.Score)
		}
		d := p.rules.Description(h.Rule)
		if d == "" {
			d = "No description available."
		}
		first := strings.Repeat(" ", used+len(h.Rule)+len(score)+len(h.Area))
		d = strings.TrimLeft(wrap(d, indent, first, int(p.rules.Number("report_wrap_width")), false, spaceBreak), " \t\n")
		for range h.Times {
			out.WriteString(fmt.Sprintf(form, score, h.Rule, h.Area) + d + "\n")
			out.WriteString(details(h.Log, indent))
		}
	}
	return out.String()
}

// details are what a function says of its hit, in brackets.
func details(log []string, indent string) string {
	var out strings.Builder
	terse := strings.HasPrefix(indent, "*")
	line := func(s string) {
		switch {
		case terse:
			out.WriteString("[" + s + "]\n")
		case len(s) > 47:
			fmt.Fprintf(&out, "%78s\n", "["+s+"]")
		default:
			fmt.Fprintf(&out, "%27s [%s]\n", "", s)
		}
	}
	for _, msg := range log {
		for {
			n := lastSpace(msg)
			if n < 0 {
				break
			}
			line(msg[:n])
			msg = msg[n+1:]
		}
		line(msg)
	}
	if terse && out.Len() > 0 {
		return indent + out.String()
	}
	return out.String()
}

// lastSpace finds the last white space behind 30 to 48 octets.
func lastSpace(s string) int {
	for n := min(48, len(s)-1); n >= 30; n-- {
		if s[n] == ' ' || s[n] == '\t' {
			return n
		}
	}
	return -1
}

var (
	spaceBreak  = regexp.MustCompile(`\s`)
	headerBreak = regexp.MustCompile(`[\s,]`)
	original    = regexp.MustCompile(`(?m)-----Original Message-----.*$`)
	rulers      = regexp.MustCompile(`[-_*.]{10,}`)
	anySpace    = regexp.MustCompile(`\s+`)
)

// preview is the beginning of the text.
func (p *Report) preview() string {
	var s string
	lines := p.Scan.Mail.Text(mail.All)
	for i := 1; i < len(lines) && i <= 3 && len(s) < 200; i++ {
		s += string(lines[i])
	}
	s = shorten(s)
	s = strings.TrimSuffix(s, "\n") + "\n"
	s = original.ReplaceAllString(s, "")
	s = strings.ReplaceAll(s, "This is a multi-part message in MIME format.", "")
	s = rulers.ReplaceAllString(s, "")
	s = anySpace.ReplaceAllString(s, " ")
	s = wrap(s, "  ", "Content preview:  ", 75, true, spaceBreak)
	return strings.TrimLeft(strings.TrimPrefix(s, "Content preview:"), " \t\n")
}

// shorten cuts lines at 200 octets.
func shorten(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		if text := strings.TrimSuffix(line, "\n"); len(text) > 200 {
			line = text[:200] + " [...]" + line[len(text):]
		}
		out.WriteString(line)
	}
	return out.String()
}

// pieces parts a text at breaks, which are pieces too; with after they stay with what
// is before them, behind an empty piece.
func pieces(s string, br *regexp.Regexp) []string {
	var out []string
	at := 0
	for _, m := range br.FindAllStringIndex(s, -1) {
		if br == headerBreak {
			out = append(out, s[at:m[1]], "")
		} else {
			out = append(out, s[at:m[0]], s[m[0]:m[1]])
		}
		at = m[1]
	}
	if at < len(s) {
		out = append(out, s[at:])
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func width(s string) int { return len(s) + 7*strings.Count(s, "\t") }

// wrap breaks a text into lines of about a length, 77 if that is 0: prefix begins each
// but the first, which begins with first. overflow lets a line be one word too long.
// Behind a prefix that is too long by itself stands a piece; SpamAssassin comes to no end.
func wrap(s, prefix, first string, length int, overflow bool, br *regexp.Regexp) string {
	rest := pieces(s, br)
	if first != "" {
		rest = append([]string{first}, rest...)
	}
	if len(rest) == 0 {
		return ""
	}
	length = cmp.Or(length, 77)
	var out, line strings.Builder
	line.WriteString(rest[0])
	n, more := width(rest[0]), false
	for _, piece := range rest[1:] {
		most := length
		if more && !overflow {
			most -= width(piece)
		}
		if n > most {
			out.WriteString(strings.TrimRight(line.String(), " \t\r\n\f\v") + "\n")
			line.Reset()
			line.WriteString(prefix)
			n = width(prefix)
		}
		line.WriteString(piece)
		n, more = n+width(piece), true
	}
	return out.String() + line.String()
}

// Text is the report: the configuration's template filled.
func (p *Report) Text() string {
	t := p.rules.String("report")
	if t == "" {
		t = "(no report template found)"
	}
	return strings.TrimRight(p.Fill(t), "\n") + "\n\n"
}

// Headers are the fields to add: "X-Spam-Status: ..." and so on, folded.
func (p *Report) Headers() string {
	var out strings.Builder
	for _, f := range p.Fields() {
		out.WriteString(f.Name + ": " + f.Template + "\n")
	}
	return out.String()
}

// Fields are the same, each with its name and unfolded value.
func (p *Report) Fields() []conf.Field {
	fields := p.rules.Ham
	if p.Spam() {
		fields = p.rules.Spam
	}
	var out []conf.Field
	room := maxFilled
	for _, f := range fields {
		v := encodeLines(p.header(f))
		if room -= len(f.Name) + len(v); room < 0 {
			break
		}
		out = append(out, conf.Field{Name: "X-Spam-" + f.Name, Template: v})
	}
	return out
}

var aroundBreaks = regexp.MustCompile(`\s*\n\s*`)

// header fills one field's template and folds it.
func (p *Report) header(f conf.Field) string {
	v := strings.TrimRight(p.Fill(f.Template), "\r\n")
	switch {
	case !p.rules.Bool("fold_headers"):
		return strings.ReplaceAll(v, "\n", " ")
	case strings.Contains(v, "\n"):
		return aroundBreaks.ReplaceAllString(v, "\n\t")
	}
	v = wrap("X-Spam-"+f.Name+"!!"+v, "\t", "", 79, false, headerBreak)
	var lines []string
	for _, l := range strings.SplitAfter(v, "\n") {
		if strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	_, v, _ = strings.Cut(strings.Join(lines, ""), "!!")
	return v
}

// Prefix is what the hits put before the subject, "" if nothing.
func (p *Report) Prefix() string {
	seen := map[string]bool{}
	var out []string
	for _, h := range append(append([]Hit(nil), p.Hits...), p.Sub...) {
		if s := p.rules.SubjectPrefix(h.Rule); s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}
