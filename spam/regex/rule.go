package regex

import (
	"fmt"
	"strings"

	"mtad/spam/regex/syntax"
)

// FromRule takes a pattern out of its delimiters, as SpamAssassin does with
// what stands in a rule: /…/i, m{…}i, m'…', qr!…!x. The modifiers are for
// Compile, and begin with the "aa" that SpamAssassin has for every pattern.
func FromRule(text string) (pattern, modifiers string, err error) {
	rest, end, err := openDelimiter(text)
	if err != nil {
		return "", "", fmt.Errorf("regex: %q: %w", text, err)
	}
	i := strings.LastIndexByte(rest, end)
	if i < 0 || !ruleModifiers(rest[i+1:]) {
		return "", "", fmt.Errorf("regex: %q: no delimiter %q at the end, or something else than modifiers behind it", text, end)
	}
	pattern, modifiers = rest[:i], rest[i+1:]
	if strings.Contains(pattern, "(?{") || strings.Contains(pattern, "(??{") {
		return "", "", fmt.Errorf("regex: %q: code in a pattern is not allowed", text)
	}
	if strings.IndexByte("})]", end) < 0 && unescaped(pattern, end) {
		return "", "", fmt.Errorf("regex: %q: the delimiter %q stands in the pattern: write \\%c", text, end, end)
	}
	return pattern, "aa" + modifiers, nil
}

// openDelimiter passes what opens the pattern, and says what closes it.
func openDelimiter(text string) (rest string, end byte, err error) {
	if strings.HasPrefix(text, "/") {
		return text[1:], '/', nil
	}
	rest, ok := strings.CutPrefix(text, "m")
	if !ok {
		rest, ok = strings.CutPrefix(text, "qr")
	}
	if !ok || rest == "" || syntax.WordsASCII.Has(rest[0]) {
		return "", 0, fmt.Errorf("missing delimiters: write /pattern/ or m{pattern}")
	}
	end = rest[0]
	if end == '\\' {
		return "", 0, fmt.Errorf("a backslash cannot be the delimiter")
	}
	if i := strings.IndexByte("{(<[", end); i >= 0 {
		end = "})>]"[i]
	}
	return rest[1:], end, nil
}

// ruleModifiers: any letter but e.
func ruleModifiers(s string) bool {
	return strings.Trim(s, "abcdfghijklmnopqrstuvwxyz") == ""
}

// unescaped says whether a delimiter stands in a pattern without a backslash.
func unescaped(pattern string, c byte) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case c:
			return true
		case '\\':
			i++
		}
	}
	return false
}

// CompileRule compiles a pattern in delimiters. As SpamAssassin it refuses what
// Perl warns of.
func CompileRule(text string) (*Regexp, error) {
	pattern, modifiers, err := FromRule(text)
	if err != nil {
		return nil, err
	}
	re, err := compileRule(pattern, modifiers)
	if err != nil {
		return nil, err
	}
	for _, w := range re.Warnings() {
		return nil, &w
	}
	return re, nil
}

// compileRule compiles with the rule's own modifiers within SpamAssassin's, as
// qr/(?i)…/aa.
func compileRule(pattern, modifiers string) (*Regexp, error) {
	own := strings.TrimPrefix(modifiers, "aa")
	f, warnings, err := syntax.ParseModifiers(syntax.Flags{Rules: syntax.RulesAA}, own)
	if err != nil {
		return nil, fmt.Errorf("regex: modifiers %q of %q are not Perl's", own, pattern)
	}
	re, err := compileFlags(pattern, modifiers, f)
	if err == nil {
		re.warnings = append(warnings, re.warnings...)
	}
	return re, err
}

// AlwaysMatches says what makes a pattern of a rule match everything by mistake,
// "" if nothing does: SpamAssassin refuses such patterns in some settings.
func AlwaysMatches(pattern string) string {
	switch {
	case pattern == "":
		return "is empty"
	case unescapedPair(pattern):
		return "contains '||'"
	case strings.HasPrefix(pattern, "|"), strings.HasSuffix(pattern, "|") && !strings.HasSuffix(pattern, `\|`):
		return "starts or ends with '|'"
	}
	return ""
}

func unescapedPair(s string) bool {
	for i := strings.Index(s, "||"); i >= 0; {
		if i == 0 || s[i-1] != '\\' {
			return true
		}
		n := strings.Index(s[i+1:], "||")
		if n < 0 {
			return false
		}
		i += 1 + n
	}
	return false
}
