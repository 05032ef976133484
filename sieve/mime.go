package sieve

import (
	"errors"
	"strings"
)

// mime lets header, address and exists look at MIME parts (RFC 5703, 4).
var mime = extension{
	name: "mime", rfc: "5703",
	tags: []tagRow{
		{name: "mime", on: []string{"header", "address", "exists"}},
		{name: "anychild", on: []string{"header", "address", "exists"}},
		{name: "type", group: groupMIME},
		{name: "subtype", group: groupMIME},
		{name: "contenttype", group: groupMIME},
		{name: "param", group: groupMIME, takes: kindList},
	},
}

const groupMIME group = "MIME option"

// foreverypart is the loop over MIME parts (RFC 5703, 3).
var foreverypart = extension{
	name: "foreverypart", rfc: "5703",
	commands: []commandRow{
		{signature: signature{name: "foreverypart", block: true}, loop: true, build: buildForEveryPart},
		{signature: signature{name: "break"}, ends: true, build: buildBreak},
	},
	tags: []tagRow{{name: "name", on: []string{"foreverypart", "break"}, takes: kindString, check: func(c *checker, v value) {
		if _, ok := v.constant(); !ok {
			c.errorf(v.at, "the name of a loop can not hold variables")
		}
	}}},
}

// loop is a foreverypart around what is checked.
type loop struct{ name string }

// loopName is the name in the arguments of a foreverypart that is not bound yet.
func loopName(n *node) string {
	for i, a := range n.args {
		if a.kind == argTag && a.text == "name" && i+1 < len(n.args) && n.args[i+1].kind == argString {
			return n.args[i+1].list[0].text
		}
	}
	return ""
}

// scope is where a test looks for fields.
type scope struct{ mime, children bool }

// scope reads :mime and :anychild.
func (c *checker) scope(b *bound) scope {
	s := scope{b.tag("mime"), b.tag("anychild")}
	if t := b.option("anychild"); t != nil && !s.mime {
		c.errorf(t.at, ":anychild goes with :mime")
	}
	return s
}

// theMessage is where a test looks that has no :mime: at the message itself.
var theMessage = []Entity{nil}

// entities are what the test looks at; nil in the list is the message.
func (s scope) entities(m *machine) ([]Entity, error) {
	if !s.mime {
		return theMessage, nil
	}
	at := m.part
	if at == nil {
		at = m.whole()
	}
	if !s.children {
		return []Entity{at}, nil
	}
	return m.below(at, []Entity{at})
}

// errParts ends a run over a message that is made of too many parts.
var errParts = errors.New("the message has too many parts")

// maxParts bounds how many parts of a message a script can see.
const maxParts = 10_000

// below adds every part inside e to list, each before those inside it.
func (m *machine) below(e Entity, list []Entity) ([]Entity, error) {
	children, err := e.Children()
	if err != nil {
		return nil, err
	}
	if err := m.spend(16 + len(children)); err != nil {
		return nil, err
	}
	if len(list)+len(children) > maxParts {
		return nil, errParts
	}
	for _, child := range children {
		list = append(list, child)
		if list, err = m.below(child, list); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// mimeView is what of a field is compared: the whole, or a part of its media
// type.
type mimeView struct {
	what   string // "", "type", "subtype", "contenttype" or "param"
	params []text
}

func (c *checker) mimeView(b *bound) mimeView {
	t := b.given(groupMIME)
	if t == nil {
		return mimeView{}
	}
	if !b.tag("mime") {
		c.errorf(t.at, ":%s goes with :mime", t.row.name)
	}
	return mimeView{t.row.name, t.val.texts}
}

// view are the values of a field of an entity, as the MIME option wants them.
func (m *machine) view(e Entity, name string, view mimeView) ([]subject, error) {
	if view.what == "" {
		return m.fields(e, name)
	}
	params, err := values(m, view.params)
	if err != nil {
		return nil, err
	}
	for _, value := range e.Header(name) {
		if err := m.spend(256 + len(value)); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, media := range e.Media(name) {
		out = append(out, mediaValues(name, media, view.what, params)...)
	}
	list, n := m.subjects(out)
	return list, m.spend(64 + 32*n)
}

// mediaValues is what the MIME option looks at. Only two fields have a type, and
// one of them a subtype; of others that is the empty string (RFC 5703, 4.1).
func mediaValues(name string, media Media, what string, params []string) (out []string) {
	value := media.Value
	if !strings.EqualFold(name, "content-type") && !strings.EqualFold(name, "content-disposition") {
		value = ""
	}
	typ, subtype, _ := strings.Cut(value, "/")
	switch what {
	case "type":
		return []string{typ}
	case "subtype":
		return []string{subtype}
	case "contenttype":
		return []string{value}
	}
	for _, p := range media.Params {
		for _, name := range params {
			if strings.EqualFold(p.Name, name) {
				out = append(out, p.Value)
			}
		}
	}
	return out
}

// buildForEveryPart runs a block for each part; inside another loop, for each
// part inside the one at hand (RFC 5703, 3.1).
func buildForEveryPart(c *checker, b *bound) action {
	id, body := int32(len(c.loops)), b.block
	return func(m *machine) error {
		outer := m.part
		var list []Entity
		var err error
		if outer == nil {
			m.root = m.whole()
			list, err = m.below(m.root, []Entity{m.root})
		} else {
			list, err = m.below(outer, nil)
		}
		if err != nil {
			return err
		}
		defer func() { m.part = outer }()
		for _, part := range list {
			m.part = part
			m.taken = false
			if err := m.run(body); err != nil {
				if errors.Is(err, errBreak) && m.loop == id {
					return nil
				}
				return err
			}
		}
		return nil
	}
}

// buildBreak leaves the loop of that name, or the innermost one (RFC 5703, 3.2).
func buildBreak(c *checker, b *bound) action {
	id := len(c.loops)
	if t := b.option("name"); t != nil {
		name, _ := t.val.constant()
		for id > 0 && c.loops[id-1].name != name {
			id--
		}
		if id == 0 {
			c.errorf(t.at, "there is no foreverypart named %s around this", quoted(name))
		}
	}
	if len(c.loops) == 0 {
		c.errorf(b.at, "break stands outside of foreverypart")
	}
	return func(m *machine) error {
		m.loop = int32(id)
		return errBreak
	}
}

// extracttext puts the text of a part into a variable (RFC 5703, 7).
var extracttext = extension{
	name: "extracttext", rfc: "5703",
	commands: []commandRow{{
		signature: signature{
			name:   "extracttext",
			groups: []group{groupCase, groupFirst, groupQuote, groupEncode, groupLength},
			params: []param{{name: "variable", kind: kindString, literal: true, needs: capVariables}},
		},
		build: buildExtractText,
	}},
	tags: []tagRow{{name: "first", on: []string{"extracttext"}, takes: kindNumber}},
}

func buildExtractText(c *checker, b *bound) action {
	if len(c.loops) == 0 {
		c.errorf(b.at, "extracttext stands outside of foreverypart") // RFC 5703, 7
		return nil
	}
	if !b.vals[0].given() {
		return nil
	}
	to, ok := c.variable(b.vals[0])
	if !ok {
		return nil
	}
	changes, limit, first := b.modifiers(), c.opts.Limits.VariableSize, -1
	if t := b.option("first"); t != nil {
		first = int(min(t.val.num, int64(limit)))
	}
	return func(m *machine) error {
		s, err := m.plain(m.part)
		if err != nil {
			return err
		}
		if first >= 0 {
			s = firstRunes(s, first)
		}
		return m.assign(to, clip(s, limit), changes)
	}
}

// firstRunes is the beginning of s, n characters of it.
func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// plain is the text of a part: "" if it is none (RFC 5703, 7), without the tags
// if it is HTML.
func (m *machine) plain(e Entity) (string, error) {
	typ, subtype := e.Type()
	if typ != "text" && !isXHTML(typ, subtype) {
		return "", nil
	}
	list, err := m.content(e)
	if err != nil {
		return "", err
	}
	s := strings.Join(list, "")
	if subtype == "html" || isXHTML(typ, subtype) {
		return htmlText(s), nil
	}
	return s, nil
}

// content is what a part holds, as much of it as scripts may see.
func (m *machine) content(e Entity) (out []string, err error) {
	list, err := e.Content(m.limits.Content)
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, b := range list {
		out = append(out, string(b))
		n += int64(2 * len(b))
	}
	if s, ok := e.(interface{ Size() int64 }); ok { // what is decoded may be much more than comes of it
		n += 4 * min(s.Size(), int64(m.limits.Content))
	}
	return out, m.spend(256 + int(n))
}
