package regex

import "strings"

// Check reads the pattern of a rule, in its delimiters, without making it ready: much
// faster than CompileRule, and it finds the same errors but for the one of too large a
// program.
func Check(pattern, modifiers string) error {
	p := &parser{src: modifiers}
	f, err := p.setFlags(flags{rules: rulesAA}, modifiers, 0)
	if err != nil {
		return err
	}
	q, _, err := parse(pattern, f)
	if err != nil {
		return err
	}
	for _, w := range append(p.warnings, q.warnings...) {
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
		if !wordsASCII.has(text[i]) && text[i] < 0x80 {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
