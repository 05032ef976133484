package spam

import (
	"maps"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/uri"
)

// texts are what a rule of some type looks at.
func (c *check) texts(r *rule) [][]byte {
	switch r.Type {
	case conf.Header:
		what := strings.Join(append([]string{r.Header.Name}, r.Header.Modifiers...), ":")
		if v, ok := c.s.Joined(what); ok {
			return [][]byte{[]byte(v)}
		}
		return [][]byte{[]byte(r.Header.Unset)}
	case conf.Body:
		return c.s.Body()
	case conf.RawBody:
		return c.s.Mail.RawText()
	case conf.Full:
		return c.whole()
	case conf.URI:
		return c.uriTexts()
	}
	return nil
}

// capture runs a rule whose named groups set tags for other rules.
func (c *check) capture(r *rule) {
	names := r.re.Names()
	found := map[string][]string{}
	for _, text := range c.texts(r) {
		caps := c.captured(r, text)
		if caps == nil {
			continue
		}
		for i, name := range names {
			if name != "" && 2*i+1 < len(caps) && caps[2*i] >= 0 && caps[2*i] < caps[2*i+1] {
				found[name] = append(found[name], string(text[caps[2*i]:caps[2*i+1]]))
			}
		}
		if !r.Flags.Multiple {
			break
		}
	}
	for name, values := range found {
		c.s.SetTag(name, values...)
	}
}

// captured runs a rule over a text, once or for every match, and gives what the groups of
// the last one have matched; nil if there is none.
func (c *check) captured(r *rule, text []byte) (caps []int) {
	for at := 0; at <= len(text); {
		m, err := r.re.Find(text, at, nil, c.s.Budget)
		if err != nil {
			c.why[r] = err.Error()
		}
		if m == nil {
			break
		}
		caps = m
		if c.match[r.id].to == 0 {
			c.keep(r, text[m[0]:m[1]])
		}
		c.got(r, 1)
		if !r.Flags.Multiple || c.full(r) {
			break
		}
		if at = m[1]; m[1] == m[0] {
			at++
		}
	}
	return caps
}

// templated runs a rule whose pattern has templates: "%{NAME}" stands for what another
// rule has captured. Without a value the rule does not run.
func (c *check) templated(r *rule) {
	pattern := r.Pattern
	for _, name := range r.Wants {
		var values []string
		for _, v := range c.s.Tag(name) {
			if v != "" {
				values = append(values, regex.Quote(v))
			}
		}
		if values == nil {
			return
		}
		pattern = strings.ReplaceAll(pattern, `%\{`+name+`\}`, "(?:"+strings.Join(values, "|")+")")
	}
	re, err := c.compiled(pattern, r.Modifiers)
	if err != nil {
		c.why[r] = err.Error()
		return
	}
	hit := false
	for _, text := range c.texts(r) {
		if c.pattern(r, re, text) {
			hit = true
			if c.full(r) {
				break
			}
		}
	}
	if r.Type == conf.Header && r.Header.Negate {
		c.value[r.id] = 0
		if !hit {
			c.got(r, 1)
		}
	}
}

// compiled compiles a pattern that was made for this message: the same values come
// again with other messages.
func (c *check) compiled(pattern, modifiers string) (*regex.Regexp, error) {
	type result struct {
		re  *regex.Regexp
		err error
	}
	r := c.s.Once("pattern "+modifiers+" "+pattern, func() any {
		re, err := regex.CompilePart(pattern, modifiers)
		return result{re, err}
	}).(result)
	return r.re, r.err
}

// uriDetail runs a rule about parts of links: all its tests must hold for one link.
func (c *check) uriDetail(r *rule) {
	for u, d := range c.s.Links().Details {
		if c.detailHolds(r, u, d) {
			c.got(r, 1)
			c.keep(r, []byte(u))
			return
		}
	}
}

func (c *check) detailHolds(r *rule, u string, d *uri.Detail) bool {
	for i, t := range r.Detail {
		if !c.anyMatches(r, r.detail[i], t.Negate, detailValues(t.Key, u, d)) {
			return false
		}
	}
	return true
}

// detailValues are the values of one part of a link.
func detailValues(key, u string, d *uri.Detail) []string {
	switch key {
	case "raw":
		return []string{u}
	case "cleaned":
		return d.Cleaned
	case "text":
		return d.Text
	case "domain":
		return d.Domains()
	case "host":
		return slices.Sorted(maps.Keys(d.Hosts))
	case "type":
		return slices.Sorted(maps.Keys(d.Types))
	}
	return nil
}

// anyMatches reports whether a pattern matches one of several values; negated, whether
// there is one that it does not match.
func (c *check) anyMatches(r *rule, re *regex.Regexp, negate bool, values []string) bool {
	for _, v := range values {
		ok, err := re.Match([]byte(v), c.s.Budget)
		if err != nil {
			c.why[r] = err.Error()
			return false
		}
		if ok != negate {
			return true
		}
	}
	return false
}
