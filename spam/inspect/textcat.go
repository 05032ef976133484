package inspect

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// textcatEval are the functions of TextCat: which languages a text is in.
var textcatEval = map[string]eval.Func{"check_language": unwantedLanguage, "check_body_8bits": body8Bits}

// models are what is known of languages: of each group of letters the languages that
// have it, and at which place of their most frequent ones.
type models struct {
	names  []string
	groups map[string][]place
}

type place struct{ language, rank int }

// maxLanguages is the size of the file of languages that is read, in octets.
const maxLanguages = 4 << 20

// parseLanguages reads groups of letters, a line each, the most frequent first; "0 en"
// ends those of a language.
func parseLanguages(text string) *models {
	m := &models{groups: map[string][]place{}}
	seen := map[string]int{} // this language's, the last place of each
	rank := 0
	for line := range strings.SplitSeq(text, "\n") {
		if name, ok := strings.CutPrefix(line, "0 "); ok && name != "" {
			for group, rank := range seen {
				m.groups[group] = append(m.groups[group], place{len(m.names), rank})
			}
			m.names = append(m.names, name)
			clear(seen)
			rank = 0
			continue
		}
		rank++
		seen[line] = rank
	}
	return m
}

// languages are those of the file "languages" beside the rules.
func languages(s *scan.Scan) (*models, error) {
	v := s.Once("languages", func() any {
		path, ok := s.Rules.Beside("languages")
		if !ok {
			return eval.Unknown(noLanguages)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() > maxLanguages {
			return eval.Unknown(fmt.Sprintf("TextCat: %s can not be read, or is larger than %d MiB", path, maxLanguages>>20))
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return eval.Unknown("TextCat: " + err.Error())
		}
		return parseLanguages(string(text))
	})
	if why, bad := v.(eval.Unknown); bad {
		return nil, why
	}
	return v.(*models), nil
}

// guess is what a text's language may be.
type guess struct {
	languages []string // none if it is not clear
	length    int
	err       error
}

// notText is what is no text of the sender's: marks of a subject, links and addresses.
// They are Perl's, which counts octets.
var (
	prefixes = perl(`^(?:[a-z]{2,12}:\s*){1,10}`, "i")
	notText  = []*regex.Regexp{perl(`https?(?:://|:&#x2F;&#x2F;|%3A%2F%2F)\S{1,1024}`, ""), perl(`\S{1,64}?@[a-zA-Z]\S{1,128}`, ""), perl(`\bwww\.\S{1,128}`, "")}
)

// perl compiles a pattern of this package.
func perl(pattern, modifiers string) *regex.Regexp {
	re, err := regex.Compile(pattern, modifiers)
	if err != nil {
		panic(err)
	}
	return re
}

// without puts something else for all that a pattern matches in a text.
func without(text []byte, re *regex.Regexp, instead string, b *regex.Budget) ([]byte, error) {
	var out []byte
	from := 0
	for {
		at, err := re.Find(text, from, nil, b)
		if err != nil {
			return nil, err
		}
		if at == nil {
			return append(out, text[from:]...), nil
		}
		out = append(append(out, text[from:at[0]]...), instead...)
		from = at[1]
	}
}

// ownText is the beginning of what the sender wrote.
func ownText(s *scan.Scan) ([]byte, error) {
	text, err := without(bytes.Join(s.Body(), []byte("\n")), prefixes, "", s.Budget)
	for _, re := range notText {
		if err == nil {
			text, err = without(text, re, " ", s.Budget)
		}
	}
	return text[:min(len(text), mostText)], err
}

// Lengths of text, in octets: what is looked at, and what is needed for a guess.
const (
	mostText  = 10000
	leastText = 256
)

func languagesOf(s *scan.Scan) guess {
	if g, ok := s.Keep["languages"].(guess); ok {
		return g
	}
	text, err := ownText(s)
	g := guess{length: len(text), err: err}
	if err == nil && len(text) >= leastText {
		g.languages, g.err = classify(s, text)
	}
	s.SetField("X-Languages", strings.Join(g.languages, " "))
	s.SetField("X-Languages-Length", strconv.Itoa(g.length))
	s.SetTag("LANGUAGES", strings.Join(g.languages, " "))
	s.Keep["languages"] = g
	return g
}

// classify names the languages whose letters come closest to the text's; none if there
// are too many.
func classify(s *scan.Scan, text []byte) ([]string, error) {
	m, err := languages(s)
	if err != nil {
		return nil, err
	}
	skip := map[string]bool{}
	for _, l := range strings.Fields(s.Rules.String("inactive_languages")) {
		skip[l] = true
	}
	for _, l := range strings.Fields(s.Rules.String("ok_languages")) {
		delete(skip, l)
	}
	most := s.Rules.Count("textcat_max_ngrams")
	distance := m.distances(groupsOf(text, s.Rules.Count("textcat_optimal_ngrams"), most), most)
	best := map[string]int{}
	for i, name := range m.names {
		short, _, _ := strings.Cut(name, ".")
		if skip[short] {
			continue
		}
		if strings.Index(name, ".utf8") > 0 {
			name = short
		}
		if d, ok := best[name]; !ok || distance[i] < d {
			best[name] = distance[i]
		}
	}
	return nearest(s, best), nil
}

// distances compares the places of a text's groups of letters with those that they have
// in each language.
func (m *models) distances(groups []string, absent int) []int {
	out := make([]int, len(m.names))
	for i := range out {
		out[i] = len(groups) * absent
	}
	for i, g := range groups {
		for _, p := range m.groups[g] {
			d := p.rank - i
			if d < 0 {
				d = -d
			}
			out[p.language] += d - absent
		}
	}
	return out
}

func nearest(s *scan.Scan, best map[string]int) []string {
	var order []string
	for name := range best {
		order = append(order, name)
	}
	slices.SortFunc(order, func(a, b string) int {
		if best[a] != best[b] {
			return best[a] - best[b]
		}
		return strings.Compare(a, b)
	})
	if len(order) == 0 {
		return nil
	}
	least := float64(best[order[0]])
	var tag []string
	n := 0
	for i, name := range order {
		d := float64(best[name])
		if i == 0 || i == n && d < s.Rules.Number("textcat_acceptable_score")*least {
			n++
		}
		if i < 20 && least != 0 {
			tag = append(tag, fmt.Sprintf("%s:%d(%.02f)", name, best[name], d/least))
		} else if i < 20 {
			tag = append(tag, fmt.Sprintf("%s:%d(unknown)", name, best[name]))
		}
	}
	s.SetTag("TEXTCATRESULTS", strings.Join(tag, " "))
	if n > s.Rules.Count("textcat_max_languages") {
		return nil
	}
	return order[:n]
}

// noLetter are the octets between words.
var noLetter = func() (out [256]bool) {
	for _, c := range []byte("0123456789 \t\r\n\f\v-!\"#$%&()*+,./:;<=>?@[\\]^_`{|}~") {
		out[c] = true
	}
	return out
}()

// groupsOf are the groups of up to five octets in a text's words, the most frequent
// first.
func groupsOf(text []byte, least, most int) []string {
	count := map[string]int{}
	for len(text) > 0 {
		n := 0
		for n < len(text) && !noLetter[text[n]] {
			n++
		}
		if n == 0 {
			text = text[1:]
			continue
		}
		word := append(append([]byte{0}, small(text[:n])...), 0)
		text = text[n:]
		for i := range word {
			for k := i + 1; k <= len(word) && k <= i+5; k++ {
				count[string(word[i:k])]++
			}
		}
	}
	out := make([]string, 0, len(count))
	for g, n := range count {
		if least <= 0 || n > least {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	return out[:min(len(out), most)]
}

var capitals = regexp.MustCompile(`[A-Z]`)

// small writes a word with four letters of ISO 8859-1 in a row in small letters, as if
// all of it were in that character set.
func small(word []byte) []byte {
	if !capitals.Match(word) || !fourLatin(word) {
		return word
	}
	out := slices.Clone(word)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' || c >= 0xc0 && c <= 0xde && c != 0xd7 {
			out[i] = c + 32
		}
	}
	return out
}

// fourLatin reports whether four letters of ISO 8859-1 stand together.
func fourLatin(word []byte) bool {
	n := 0
	for _, c := range word {
		n++
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0xc0 && c <= 0xfe && c != 0xd7 && c != 0xdf && c != 0xf7) {
			n = 0
		}
		if n == 4 {
			return true
		}
	}
	return false
}

// unwantedLanguage: the text is in none of the languages that ok_languages names.
func unwantedLanguage(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) {
	wanted := strings.Fields(s.Rules.String("ok_languages"))
	if slices.Contains(wanted, "all") {
		return 0, nil
	}
	g := languagesOf(s)
	if g.err != nil || len(g.languages) == 0 {
		return 0, g.err
	}
	name := func(l string) string {
		l, _, _ = strings.Cut(l, ".")
		if l == "sco" && g.length < 1024*len(g.languages) {
			return "en" // what is taken for Scots is often English
		}
		return l
	}
	for _, l := range g.languages {
		if slices.ContainsFunc(wanted, func(w string) bool { return w == name(l) || name(w) == name(l) }) {
			return 0, nil
		}
	}
	s.Note(r.Name, "Languages detected: "+strings.Join(g.languages, " "))
	return 1, nil
}

// beyondASCII are the languages in which eight octets beyond ASCII in a row are nothing
// special.
const beyondASCII = " all am ar be bg cs el et fa fi he hi hy is ja ka ko mr pt ru ta th tr uk vi yi zh "

func body8Bits(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	for _, l := range strings.Fields(s.Rules.String("ok_languages")) {
		if strings.Contains(beyondASCII, " "+l+" ") {
			return 0, nil
		}
	}
	for _, line := range s.Body() {
		n := 0
		for _, c := range line {
			if n++; c < 0x80 {
				n = 0
			}
			if n == 8 {
				return 1, nil
			}
		}
	}
	return 0, nil
}
