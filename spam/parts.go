package spam

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/mail"
)

// partGroup are the mimeheader rules about one field of the same parts.
type partGroup struct {
	group
	partKey
	negated []*rule
}

// partKey is what the rules of a group have in common.
type partKey struct {
	field, modifiers, unset string
	concat                  bool // one text of all parts
	from, to                int  // which parts; the first is 1
}

// partGroup is the group that a mimeheader rule belongs to.
func (e *Engine) partGroup(r *rule) *partGroup {
	from, to := partRange(r.Flags.Text)
	key := partKey{r.Header.Name, strings.Join(r.Header.Modifiers, ":"), r.Header.Unset, r.Flags.Concat, from, to}
	if key.raw() {
		key.unset = "" // SpamAssassin does not look at it then
	}
	for _, g := range e.parts {
		if g.partKey == key {
			return g
		}
	}
	g := &partGroup{partKey: key}
	e.parts = append(e.parts, g)
	return g
}

// placePart puts a mimeheader rule in its group.
func (e *Engine) placePart(r *rule) {
	g := e.partGroup(r)
	if r.Header.Negate {
		g.negated = append(g.negated, r)
	} else {
		g.rules = append(g.rules, r)
	}
}

// partsOf is the group of another engine for the same field, nil if it has none.
func (e *Engine) partsOf(g *partGroup) *group {
	for _, o := range e.parts {
		if o.partKey == g.partKey {
			return &o.group
		}
	}
	return nil
}

// all are the rules of a group.
func (g *partGroup) all() []*rule { return slices.Concat(g.rules, g.negated) }

func (c *check) allParts(groups []*partGroup) {
	for _, g := range groups {
		c.parts(g)
	}
}

// parts runs the rules about the fields of parts: the first part that matches decides.
// Negated, a rule hits if none matches.
func (c *check) parts(g *partGroup) {
	if c.late() {
		for _, r := range g.all() {
			c.why[r] = timeOver
		}
		return
	}
	texts := c.partTexts(g)
	for _, text := range texts {
		if len(text) == 0 && !g.mayBeEmpty() {
			continue
		}
		g.filter.Scan(text, &c.cand)
		c.cand.Each(func(i int) bool {
			if r := g.rules[i]; !c.e.mute.has(r.id) && c.value[r.id] == 0 {
				c.pattern(r, r.re, text)
			}
			return true
		})
	}
	for _, r := range g.negated {
		if !c.e.mute.has(r.id) {
			c.noPart(r, texts)
		}
	}
}

// noPart runs a negated rule.
func (c *check) noPart(r *rule, texts [][]byte) {
	for _, text := range texts {
		ok, err := r.re.Match(text, c.s.Budget)
		if err != nil {
			c.why[r] = err.Error()
		}
		if ok || err != nil {
			return
		}
	}
	c.got(r, 1)
}

// partTexts are the texts that the rules of a group compare: one for each part, or all
// in one.
func (c *check) partTexts(g *partGroup) (texts [][]byte) {
	index := 0
	c.s.Mail.Walk(func(p *mail.Part) {
		if index++; index >= g.from && index <= g.to {
			texts = append(texts, g.text(p))
		}
	})
	if g.concat {
		texts = [][]byte{bytes.Join(texts, nil)}
	}
	return texts
}

var rangeFlag = regexp.MustCompile(`(?:^|\s)range=(\d*)(-?)(\d*)(?:\s|$)`)

// partRange reads the flag range=FROM-TO: which parts a rule looks at.
func partRange(flags string) (from, to int) {
	from, to = 0, 1000
	m := rangeFlag.FindStringSubmatch(flags)
	if m == nil || m[1]+m[3] == "" {
		return from, to
	}
	if n, err := strconv.Atoi(m[1]); err == nil {
		from = n
		if m[2] == "" {
			to = n
		}
	}
	if n, err := strconv.Atoi(m[3]); err == nil && m[2] != "" {
		to = n
	}
	return from, to
}

// raw reports whether the field is compared as it stands.
func (k *partKey) raw() bool { return strings.HasPrefix(k.modifiers, "raw") }

// text is what the rules compare in a part: all fields, or the last of the name.
func (k *partKey) text(p *mail.Part) []byte {
	value := func(f mail.Field) string {
		if k.raw() {
			return f.Raw
		}
		return f.Value + "\n"
	}
	if k.field == "ALL" {
		var text strings.Builder
		for _, f := range p.Fields {
			text.WriteString(f.Name + ": " + value(f))
		}
		return []byte(text.String())
	}
	out := k.unset
	for _, f := range slices.Backward(p.Fields) {
		if strings.EqualFold(f.Name, k.field) {
			out = value(f)
			break
		}
	}
	if k.concat && !strings.HasSuffix(out, "\n") {
		out += "\n"
	}
	return []byte(out)
}
