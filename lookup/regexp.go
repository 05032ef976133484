package lookup

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// openRegexp opens a table of POSIX extended expressions: no case, the longest
// match.
func openRegexp(path string, o Options) (Table, error) {
	return openPatterns(path, o, func(text string) (rules, error) { return parseRules(path, text, regexpPattern) })
}

// openPCRE opens a table of Perl's expressions, as far as RE2 has them: no
// look-around and no back-references, and so no time but the text's length.
func openPCRE(path string, o Options) (Table, error) {
	return openPatterns(path, o, func(text string) (rules, error) { return parseRules(path, text, pcrePattern) })
}

// delimited reads /pattern/flags.
func delimited(text string) (pattern, flags, rest string, err error) {
	if text == "" {
		return "", "", "", errors.New("the pattern is missing")
	}
	delimiter := text[0]
	if delimiter == '\\' || delimiter == ' ' || delimiter >= '0' && delimiter <= '9' || delimiter|0x20 >= 'a' && delimiter|0x20 <= 'z' {
		return "", "", "", fmt.Errorf("%.40q: a pattern stands between delimiters: /pattern/ value", text)
	}
	var b strings.Builder
	i := 1
	for ; ; i++ {
		switch {
		case i >= len(text):
			return "", "", "", fmt.Errorf("%.40q: the pattern has no closing %c", text, delimiter)
		case text[i] == '\\' && i+1 < len(text):
			if text[i+1] != delimiter {
				b.WriteByte('\\')
			} else if strings.IndexByte(`.^$*+?()[]{}|`, delimiter) >= 0 {
				b.WriteByte('\\')
			}
			i++
			b.WriteByte(text[i])
			continue
		case text[i] != delimiter:
			b.WriteByte(text[i])
			continue
		}
		break
	}
	rest = text[i+1:]
	end := strings.IndexAny(rest, " \t")
	if end < 0 {
		end = len(rest)
	}
	return b.String(), rest[:end], rest[end:], nil
}

func regexpPattern(text string) (match matcher, groups int, rest string, err error) {
	pattern, flags, rest, err := delimited(text)
	if err != nil {
		return nil, 0, "", err
	}
	fold, lines := true, false
	for _, f := range flags {
		switch f {
		case 'i':
			fold = !fold
		case 'm':
			lines = !lines
		case 'x':
			return nil, 0, "", errors.New("flag x: basic expressions can not be had; write an extended one")
		default:
			return nil, 0, "", fmt.Errorf("unknown flag %q; there are i and m", f)
		}
	}
	// POSIX's $ is the end of the text.
	parse := syntax.OneLine
	if fold {
		parse |= syntax.FoldCase
	}
	if lines {
		parse &^= syntax.OneLine
	} else {
		parse |= syntax.DotNL
	}
	match, groups, err = compile(pattern, parse, true)
	return match, groups, rest, err
}

func pcrePattern(text string) (match matcher, groups int, rest string, err error) {
	pattern, flags, rest, err := delimited(text)
	if err != nil {
		return nil, 0, "", err
	}
	parse := syntax.Perl | syntax.FoldCase | syntax.DotNL
	for _, f := range flags {
		switch f {
		case 'i':
			parse ^= syntax.FoldCase
		case 'm':
			parse ^= syntax.OneLine
		case 's':
			parse ^= syntax.DotNL
		case 'A':
			pattern = `\A(?:` + pattern + `)`
		case 'U':
			parse ^= syntax.NonGreedy
		case 'E', 'X':
		default:
			return nil, 0, "", fmt.Errorf("unknown or unsupported flag %q; there are i, m, s, A, E, U and X", f)
		}
	}
	match, groups, err = compile(pattern, parse, false)
	return match, groups, rest, err
}

func compile(pattern string, flags syntax.Flags, longest bool) (match matcher, groups int, err error) {
	parsed, err := syntax.Parse(pattern, flags)
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) && (e.Code == syntax.ErrInvalidPerlOp || e.Code == syntax.ErrInvalidEscape) {
			return nil, 0, fmt.Errorf("pattern %q: %s %q; look-around, back-references and the like can not be had", pattern, e.Code, e.Expr)
		}
		return nil, 0, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re, err := regexp.Compile(parsed.String())
	if err != nil {
		return nil, 0, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	if longest {
		re.Longest()
	}
	return func(key string) ([]string, verdict) {
		groups := re.FindStringSubmatch(key)
		if groups == nil {
			return nil, differs
		}
		return groups, fits
	}, re.NumSubexp(), nil
}
