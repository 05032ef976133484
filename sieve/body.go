package sieve

import (
	"html"
	"strings"
)

// body is the test of that name (RFC 5173).
var body = extension{
	name: "body", rfc: "5173",
	tests: []testRow{{
		signature: signature{name: "body", groups: []group{groupComparator, groupMatch, groupBody}, params: []param{{name: "keys", kind: kindList}}},
		build:     buildBody,
	}},
	tags: []tagRow{
		{name: "raw", group: groupBody},
		{name: "content", group: groupBody, takes: kindList},
		{name: "text", group: groupBody},
	},
}

const groupBody group = "body transform"

// buildBody compares the body. It sets no match variables (RFC 5173, 6).
func buildBody(c *checker, b *bound) test {
	q := c.matcher(b, b.vals[0])
	q.silent = true
	how, types := "text", []text(nil)
	if t := b.given(groupBody); t != nil {
		how, types = t.row.name, t.val.texts
	}
	return q.test(func(m *machine, to *seeker) error {
		limit := 0
		if how == "raw" {
			limit = m.limits.Content
		}
		raw, err := m.whole().Body(limit)
		if err != nil || raw == nil {
			return err
		}
		if how == "raw" {
			if err := m.spend(len(raw) / 4); err != nil {
				return err
			}
			return to.one(subject{text: string(raw)})
		}
		wanted, err := values(m, types)
		if err != nil {
			return err
		}
		parts, err := m.below(m.whole(), []Entity{m.whole()})
		if err != nil {
			return err
		}
		for _, e := range parts {
			var list []string
			if how == "text" {
				list, err = m.readable(e)
			} else {
				list, err = m.contentOf(e, wanted)
			}
			if err != nil {
				return err
			}
			for _, s := range list {
				if err := to.one(subject{text: s}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// readable is what a person would read of a part (RFC 5173, 5.3).
func (m *machine) readable(e Entity) ([]string, error) {
	if typ, subtype := e.Type(); typ != "text" && !isXHTML(typ, subtype) {
		return nil, nil
	}
	s, err := m.plain(e)
	return []string{s}, err
}

func isXHTML(typ, subtype string) bool { return typ == "application" && subtype == "xhtml+xml" }

// contentOf is what a part holds if its type is one of those (RFC 5173, 5.2).
func (m *machine) contentOf(e Entity, types []string) ([]string, error) {
	typ, subtype := e.Type()
	for _, want := range types {
		if contentType(asciiLower(want), typ, subtype) {
			return m.content(e)
		}
	}
	return nil, nil
}

// contentType reports whether want, in lower case, names a media type: "" names
// all, "text" all of its subtypes, and what is no type none.
func contentType(want, typ, subtype string) bool {
	first, second, slash := strings.Cut(want, "/")
	switch {
	case want == "":
		return true
	case !slash:
		return first == typ
	}
	return first == typ && second == subtype
}

// htmlText is the text of an HTML document as a reader sees it: without tags,
// comments, scripts and styles, references to characters resolved, white space
// joined.
func htmlText(s string) string {
	var b strings.Builder
	at := byte('\n') // what was written last
	words := func(s string) {
		for _, c := range []byte(html.UnescapeString(s)) {
			if c == '\t' || c == '\r' || c == '\n' {
				c = ' '
			}
			if c == ' ' && (at == ' ' || at == '\n') {
				continue
			}
			b.WriteByte(c)
			at = c
		}
	}
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			words(s)
			break
		}
		words(s[:i])
		tag, rest := htmlTag(s[i:])
		s = rest
		switch tag {
		case "":
			words("&lt;")
		case "script", "style":
			s = htmlSkip(s, tag)
		case "br", "p", "/p", "div", "/div", "tr", "/tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "td", "/td", "blockquote":
			if at != '\n' {
				b.WriteByte('\n')
				at = '\n'
			}
		}
	}
	return b.String()
}

// htmlTag is the name of the tag that s begins with, in lower case, and what is
// behind the tag; "" if it begins with none.
func htmlTag(s string) (name, rest string) {
	if strings.HasPrefix(s, "<!--") {
		if i := strings.Index(s[4:], "-->"); i >= 0 {
			return "!", s[4+i+3:]
		}
		return "!", ""
	}
	n := 1
	if n < len(s) && (s[n] == '/' || s[n] == '!' || s[n] == '?') {
		n++
	}
	if n >= len(s) || !isNameStart(s[n]) {
		return "", s[1:]
	}
	for n < len(s) && (isNameStart(s[n]) || isDigit(s[n])) {
		n++
	}
	name = asciiLower(s[1:n])
	quote := byte(0)
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return name, s[n+1:]
		}
	}
	return name, ""
}

// htmlSkip is what is behind the end tag of that name.
func htmlSkip(s, name string) string {
	for {
		i := strings.Index(s, "</")
		if i < 0 {
			return ""
		}
		s = s[i:]
		if hasFold(s[2:], name) {
			_, s = htmlTag(s)
			return s
		}
		s = s[2:]
	}
}
