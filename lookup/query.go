package lookup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// key is an address, or a word, taken apart for a query.
type key struct {
	whole, local, domain string // domain is "" if there is none
}

func splitKey(s string) key {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return key{s, s[:i], s[i+1:]}
	}
	return key{whole: s, local: s}
}

// part is what stands behind % for a key: s whole, u local-part, d domain, 1 to 9
// the domain's labels from the right. ok is false where the key has no such part,
// and then there is nothing to ask.
func (k key) part(c byte) (text string, ok bool) {
	switch {
	case c == 's':
		text = k.whole
	case c == 'u':
		text = k.local
	case c == 'd':
		text = k.domain
	default:
		labels := strings.Split(k.domain, ".")
		n := int(c - '0')
		if k.domain == "" || n > len(labels) {
			return "", false
		}
		text = labels[len(labels)-n]
	}
	return text, text != ""
}

// format is text with parts of the key, or of a result, in it: %s, %u, %d, %1 to
// %9; of a result's format %S, %U, %D are those of the key.
type format []formatPiece

type formatPiece struct {
	text string
	part byte // 0: text
}

func parseFormat(text string, capitals bool) (format, error) {
	var out format
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			return append(out, formatPiece{text: text}), nil
		}
		if i > 0 {
			out = append(out, formatPiece{text: text[:i]})
		}
		if i+1 == len(text) {
			return nil, fmt.Errorf("%q: a percent sign is written %%%%", text)
		}
		switch c := text[i+1]; {
		case c == '%':
			out = append(out, formatPiece{text: "%"})
		case strings.IndexByte("sud123456789", c) >= 0 || capitals && strings.IndexByte("SUD", c) >= 0:
			out = append(out, formatPiece{part: c})
		case strings.IndexByte("SUD", c) >= 0:
			out = append(out, formatPiece{part: c | 0x20})
		default:
			return nil, fmt.Errorf("%%%c: there are %%s, %%u, %%d and %%1 to %%9", c)
		}
		text = text[i+2:]
	}
	return out, nil
}

// expand puts the parts in. of is what the lower-case letters speak of, in what
// the upper-case ones do.
func (f format) expand(of, in key, quote func(string) string) (string, bool) {
	var b strings.Builder
	for _, p := range f {
		if p.part == 0 {
			b.WriteString(p.text)
			continue
		}
		k, c := of, p.part
		if c >= 'S' && c <= 'U' || c == 'D' {
			k, c = in, c|0x20
		}
		text, ok := k.part(c)
		if !ok {
			return "", false
		}
		b.WriteString(quote(text))
	}
	return b.String(), true
}

func plain(s string) string { return s }

// results are the settings that all queries have.
type results struct {
	format  format
	domains []string // the only ones whose addresses are asked for
	limit   int      // of values; 0: none
}

func (p *params) results() results {
	text := p.text("result_format", p.text("result_filter", "%s"))
	f, err := parseFormat(text, true)
	if err != nil {
		p.errorf("result_format", "result_format: %v", err)
	}
	domains := List(strings.ToLower(p.text("domain", "")))
	for _, d := range domains {
		if strings.ContainsAny(d, ":/") {
			p.errorf("domain", "domain: %q is no domain; tables can not be named here", d)
		}
	}
	return results{f, domains, p.number("expansion_limit", 0, 0, 100000)}
}

// eligible reports whether a key is asked for.
func (r *results) eligible(k key) bool {
	return len(r.domains) == 0 || k.local != "" && slices.Contains(r.domains, strings.ToLower(k.domain))
}

// maxValues bounds the values of one answer, whatever expansion_limit says.
const maxValues = 10000

// errTooMany says that a query found more than is permitted.
var errTooMany = errors.New("too many results")

// join makes a value of what was found; ok is false if nothing was.
func (r *results) join(in key, found []string) (value string, ok bool, err error) {
	limit := maxValues
	if r.limit > 0 {
		limit = min(r.limit, limit)
	}
	var out []string
	for _, f := range found {
		if f == "" {
			continue
		}
		if text, ok := r.format.expand(splitKey(f), in, plain); ok {
			out = append(out, text)
		}
		if len(out) > limit {
			return "", false, fmt.Errorf("%w: more than %d", errTooMany, limit)
		}
	}
	return strings.Join(out, ","), len(out) > 0, nil
}

// statement is a query in SQL. What a key puts into it are parameters: each string
// literal with a % in it becomes one, so that no key can change the query.
type statement struct {
	sql    string
	params []format
}

// parseStatement reads a query; mark is how the n-th parameter is written.
func parseStatement(text string, mark func(n int) string) (*statement, error) {
	var out statement
	var b strings.Builder
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\'' || c == '"':
			end, literal, err := readQuoted(text, i)
			if err != nil {
				return nil, err
			}
			switch {
			case strings.IndexByte(literal, '%') < 0:
				b.WriteString(text[i:end])
			case c == '"':
				return nil, fmt.Errorf("%s: a name can not have a part of the key in it", text[i:end])
			default:
				f, err := parseFormat(literal, false)
				if err != nil {
					return nil, err
				}
				out.params = append(out.params, f)
				b.WriteString(mark(len(out.params)))
			}
			i = end
		case c == '%' && i+1 < len(text) && text[i+1] == '%':
			b.WriteByte('%')
			i += 2
		case c == '%':
			return nil, fmt.Errorf("%.20q: a part of the key must stand in quotes: '%%s'", text[i:])
		case c == '$' || c == '?' || c == ':' && i+1 < len(text) && text[i+1] != ':' && text[i+1] != '=' && (i == 0 || text[i-1] != ':'):
			return nil, fmt.Errorf("%.20q: parameters are not to be had; parts of the key are '%%s', '%%u' and '%%d'", text[i:])
		default:
			b.WriteByte(c)
			i++
		}
	}
	if strings.TrimSpace(b.String()) == "" {
		return nil, errors.New("the query is empty")
	}
	out.sql = b.String()
	return &out, nil
}

// readQuoted reads a literal or quoted name, in which a doubled quote is one.
func readQuoted(text string, at int) (end int, content string, err error) {
	var b strings.Builder
	quote := text[at]
	for i := at + 1; i < len(text); i++ {
		if text[i] != quote {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return i + 1, b.String(), nil
	}
	return 0, "", fmt.Errorf("%.40q: the quote is not closed", text[at:])
}

// arguments are the parameters' values for a key; ok is false if the key lacks a
// part that the query wants.
func (s *statement) arguments(k key) (out []any, ok bool) {
	for _, f := range s.params {
		text, ok := f.expand(k, k, plain)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}

// statement reads the query, also in the words of old: table, select_field,
// where_field, additional_conditions.
func (p *params) statement(mark func(int) string) *statement {
	text := p.text("query", "")
	table, sel, where := p.text("table", ""), p.text("select_field", ""), p.text("where_field", "")
	more := p.text("additional_conditions", "")
	function := p.text("select_function", "")
	switch {
	case text != "":
	case function != "":
		text = "SELECT " + function + "('%s')"
	case table != "" && sel != "" && where != "":
		text = "SELECT " + sel + " FROM " + table + " WHERE " + where + " = '%s' " + more
	default:
		p.errs = append(p.errs, fmt.Errorf("%s: query is missing", p.path))
		return nil
	}
	s, err := parseStatement(text, mark)
	if err != nil {
		p.errorf("query", "query: %v", err)
	}
	return s
}
