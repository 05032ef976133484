package bayes

import (
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/regex"
)

// Settings are the options that begin with bayes_, ready for use. They are not changed
// once made, and may be shared between goroutines.
type Settings struct {
	// Header, Visible, Invisible, URI and MIMEPart are what tokens are made of
	// (bayes_token_sources).
	Header, Visible, Invisible, URI, MIMEPart bool
	// MaxToken is the length in octets beyond which tokens are shortened
	// (bayes_max_token_length).
	MaxToken float64
	// MinSpam and MinHam are how many messages must have been learned of each
	// (bayes_min_spam_num, bayes_min_ham_num).
	MinSpam, MinHam float64
	// Hapaxes: tokens that were learned once count too (bayes_use_hapaxes).
	Hapaxes bool

	stop   []*regex.Regexp
	ignore map[string]bool // fields, in small letters
}

// NewSettings reads a set of rules' settings. Patterns of stop words that can not be
// understood do nothing.
func NewSettings(r *conf.Ruleset) *Settings {
	s := &Settings{Header: true, Visible: true, Invisible: true, URI: true,
		MaxToken: r.Number("bayes_max_token_length"), Hapaxes: r.Bool("bayes_use_hapaxes"),
		MinSpam: r.Number("bayes_min_spam_num"), MinHam: r.Number("bayes_min_ham_num"), ignore: map[string]bool{}}
	for _, word := range r.Words("bayes_token_sources") {
		s.source(strings.ToLower(word))
	}
	for _, name := range r.Words("bayes_ignore_header") {
		s.ignore[strings.ToLower(name)] = true
	}
	for _, language := range languages(r) {
		if re := stopWords(r, language); re != nil {
			s.stop = append(s.stop, re)
		}
	}
	return s
}

// source obeys a word of bayes_token_sources.
func (s *Settings) source(word string) {
	all := []*bool{&s.Header, &s.Visible, &s.Invisible, &s.URI, &s.MIMEPart}
	names := []string{"header", "visible", "invisible", "uri", "mimepart"}
	switch word {
	case "all", "none", "noall":
		for _, on := range all {
			*on = word == "all"
		}
		return
	}
	name, no := strings.CutPrefix(word, "no")
	if i := slices.Index(names, name); i >= 0 {
		*all[i] = !no
	}
}

// languages are those whose stop words are left out.
func languages(r *conf.Ruleset) []string {
	words := r.Words("bayes_stopword_languages")
	if words == nil {
		return []string{"en"}
	}
	if slices.Contains(words, "disable") {
		return nil
	}
	return strings.FieldsFunc(strings.ToLower(strings.Join(words, " ")), func(c rune) bool { return c == ' ' || c == ',' })
}

// english are the stop words where no file has any: tokens that contain one are left
// out, in small letters as they are.
const english = `able already all and any are because both can come each email even few first for from give have has
	http information into it's just know like long look made mailing mailto mail make many more most much need not now
	number off only one out own people place right same see such that this through the time using web where why
	without with world work years you're your you`

// stopWords compiles a language's pattern, nil if it has none. The last one counts.
func stopWords(r *conf.Ruleset, language string) *regex.Regexp {
	pattern := ""
	for _, line := range r.Words("bayes_stopword_" + language) {
		for word := range strings.FieldsSeq(line) {
			pattern = "^(?i)" + word + "$"
		}
	}
	if pattern == "" && language == "en" {
		pattern = strings.Join(strings.Fields(english), "|")
	}
	if pattern == "" {
		return nil
	}
	re, err := regex.Compile(pattern, "")
	if err != nil {
		return nil
	}
	return re
}

// stopped reports whether a token is a stop word.
func (s *Settings) stopped(token []byte) bool {
	for _, re := range s.stop {
		if found, err := re.Match(token, nil); found && err == nil {
			return true
		}
	}
	return false
}
