package regex

import (
	"strings"

	"mtad/spam/regex/syntax"
)

// Check reads the pattern of a rule, in its delimiters, without making it ready: much
// faster than CompileRule, and it finds the same errors but for the one of too large a
// program.
func Check(pattern, modifiers string) error {
	f, warnings, err := syntax.ParseModifiers(syntax.Flags{Rules: syntax.RulesAA}, modifiers)
	if err != nil {
		return err
	}
	p, err := syntax.Parse(pattern, f)
	if err != nil {
		return err
	}
	for _, w := range append(warnings, p.Warnings...) {
		return &w
	}
	return nil
}

// CompilePart compiles a rule's pattern that FromRule has taken out of its delimiters.
func CompilePart(pattern, modifiers string) (*Regexp, error) { return compileRule(pattern, modifiers) }

// Quote writes a text as a pattern that matches just that.
func Quote(text string) string {
	var out strings.Builder
	for i := range len(text) {
		if !syntax.WordsASCII.Has(text[i]) && text[i] < 0x80 {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
