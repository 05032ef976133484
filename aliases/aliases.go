package aliases

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"mtad/internal/logical"
)

// Bounds of a file.
const (
	MaxTargets = 10_000   // of one name, or one list
	MaxFile    = 16 << 20 // octets of an aliases file
	MaxList    = 1 << 20  // octets of an included file
)

// Kind is what a target is.
type Kind uint8

// The kinds of targets.
const (
	Address Kind = iota // Text is an address, with or without a domain
	User                // \name: Text is the name
	File                // Text is the absolute path; with a slash at the end a Maildir
	Command             // Text is the command line
	Include             // Text is the absolute path of a list
)

// Target is one place that mail goes to.
type Target struct {
	Kind Kind
	Text string
}

// String is the target as it is written in a file.
func (t Target) String() string {
	text := t.Text
	switch t.Kind {
	case User:
		if text = `\` + text; !strings.ContainsFunc(t.Text, special) {
			return text
		}
	case Command:
		text = "|" + text
	case Include:
		text = ":include:" + text
	}
	if t.Kind == Address && text[0] == '"' || !strings.ContainsFunc(text, special) {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// special reports whether a character stands in quotes, apart from those that
// mark what a target is.
func special(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@+-_=/%|:", r)
}

// Entry is one alias.
type Entry struct {
	Name    string // in lower case, without its quotes
	Targets []Target
	Line    int // where it begins
}

// Error is an error in a file. What could be read is still of use.
type Error struct {
	Path string
	Line int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Text) }

// Parse reads an aliases file. The errors, each an *Error, are of the entries
// that are left out; of two entries of one name the first counts.
func Parse(path, text string) (out []Entry, errs []error) {
	seen := map[string]int{}
	for _, l := range logical.Lines(text, "\n") {
		e, err := entry(l.Text)
		if err == nil && seen[e.Name] > 0 {
			err = fmt.Errorf("%s is there already, in line %d, which counts", e.Name, seen[e.Name])
		}
		if err != nil {
			errs = append(errs, &Error{path, l.Number, err.Error()})
			continue
		}
		e.Line = l.Number
		seen[e.Name] = l.Number
		out = append(out, e)
	}
	return out, errs
}

// ParseList reads an included file or a .forward: targets, separated by commas
// and ends of lines.
func ParseList(path, text string) (out []Target, errs []error) {
	for _, l := range logical.Lines(text, "\n") {
		targets, err := parseTargets(l.Text)
		if err == nil && len(out)+len(targets) > MaxTargets {
			err = fmt.Errorf("there are more than %d targets", MaxTargets)
		}
		if err != nil {
			errs = append(errs, &Error{path, l.Number, err.Error()})
			continue
		}
		out = append(out, targets...)
	}
	return out, errs
}

// entry reads "name: targets".
func entry(text string) (e Entry, err error) {
	name, rest, err := nameOf(text)
	if err != nil {
		return e, err
	}
	rest = strings.TrimLeft(rest, " \t\n")
	if rest == "" || rest[0] != ':' {
		return e, fmt.Errorf("%.60q: want name: target, target", text)
	}
	e.Name = strings.ToLower(name)
	if e.Targets, err = parseTargets(rest[1:]); err != nil {
		return e, fmt.Errorf("%s: %w", e.Name, err)
	}
	if len(e.Targets) == 0 {
		return e, fmt.Errorf("%s: there are no targets", e.Name)
	}
	return e, nil
}

func nameOf(text string) (name, rest string, err error) {
	if text[0] == '"' {
		name, rest, err = quoted(text)
	} else {
		end := strings.IndexAny(text, ": \t\n,\"")
		if end < 0 {
			end = len(text)
		}
		name, rest = text[:end], text[end:]
	}
	switch {
	case err != nil:
		return "", "", err
	case name == "":
		return "", "", fmt.Errorf("%.60q: the name is missing", text)
	case strings.ContainsRune(name, '@'):
		return "", "", fmt.Errorf("%s: a name here has no domain; addresses with one are for virtual_alias_maps", name)
	}
	return name, rest, nil
}

// quoted reads a quoted string, in which a backslash quotes.
func quoted(text string) (content, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '\n':
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("%.60q: the quote is not closed", text)
}

// parseTargets reads a list with commas.
func parseTargets(text string) ([]Target, error) {
	var out []Target
	for {
		text = strings.TrimLeft(text, " \t\n,")
		if text == "" || text[0] == '#' && len(out) > 0 {
			return out, nil
		}
		word, rest, err := item(text)
		if err != nil {
			return nil, err
		}
		text = rest
		if word == "" {
			continue // a comment alone
		}
		t, err := target(word)
		if err != nil {
			return nil, err
		}
		if out = append(out, t); len(out) > MaxTargets {
			return nil, fmt.Errorf("there are more than %d targets", MaxTargets)
		}
	}
}

// item reads what stands up to the next comma: quotes are taken off, comments in
// parentheses left out, and of "Name <address>" the address is taken. A quoted
// local-part keeps its quotes.
func item(text string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ',', '\n':
			if c == '\n' && strings.TrimSpace(b.String()) == "" {
				i++
				continue
			}
			return strings.TrimSpace(b.String()), text[i:], nil
		case '"':
			content, after, err := quoted(text[i:])
			if err != nil {
				return "", "", err
			}
			if strings.HasPrefix(after, "@") {
				content = text[i : len(text)-len(after)]
			}
			b.WriteString(content)
			i = len(text) - len(after)
		case '(':
			n, err := comment(text[i:])
			if err != nil {
				return "", "", err
			}
			i += n
		case '<':
			end := strings.IndexByte(text[i:], '>')
			if end < 0 {
				return "", "", fmt.Errorf("%.60q: < without >", text)
			}
			b.Reset()
			b.WriteString(text[i+1 : i+end])
			i += end + 1
		case '\\':
			if b.Len() > 0 && i+1 < len(text) {
				i++ // quotes the next
			}
			b.WriteByte(text[i])
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	return strings.TrimSpace(b.String()), "", nil
}

// comment is the length of a comment in parentheses, which may hold others.
func comment(text string) (int, error) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
	}
	return 0, fmt.Errorf("%.60q: ( without )", text)
}

// target says what a word is.
func target(word string) (Target, error) {
	if strings.ContainsFunc(word, unicode.IsControl) || !utf8.ValidString(word) {
		return Target{}, errors.New("a target has a control character in it")
	}
	switch {
	case word[0] == '|':
		command := strings.TrimSpace(word[1:])
		if command == "" {
			return Target{}, errors.New("a command is missing behind |")
		}
		return Target{Command, command}, nil
	case word[0] == '/':
		return Target{File, word}, nil
	case word[0] == '\\':
		if len(word) == 1 {
			return Target{}, errors.New(`a name is missing behind \`)
		}
		return Target{User, strings.ToLower(word[1:])}, nil
	case len(word) > 9 && strings.EqualFold(word[:9], ":include:"):
		path := strings.TrimSpace(word[9:])
		if path == "" || path[0] != '/' {
			return Target{}, fmt.Errorf("%s: the path must be absolute", word)
		}
		return Target{Include, path}, nil
	case word[0] == ':':
		return Target{}, fmt.Errorf("%s: there is :include:/path", word)
	case word[0] == '~' || word[0] == '!':
		return Target{}, fmt.Errorf("%s: want an address, /file, |command, or :include:/path", word)
	case word[0] == '"':
		if _, rest, err := quoted(word); err != nil || len(rest) < 2 || rest[0] != '@' || strings.ContainsFunc(rest, special) {
			return Target{}, fmt.Errorf("%s: want \"local part\"@domain", word)
		}
	case strings.ContainsAny(word, " \t"):
		return Target{}, fmt.Errorf("%s: targets are separated by commas", word)
	}
	return Target{Address, word}, nil
}
