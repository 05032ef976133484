package conf

import (
	"regexp"
	"strings"

	"mtad/spam/regex"
)

// maxPattern bounds, in bytes, what tags make of a pattern.
const maxPattern = 1 << 18

// replaceTags puts what replace_tag and its like say for the tags "<A>" of the rules
// that replace_rules names. Tags may stand in what stands for a tag, five deep.
func (p *parser) replaceTags() {
	for _, name := range p.words["replace_rules"] {
		r := p.rules[name]
		if r == nil || r.Pattern == "" || r.replaced {
			continue
		}
		text := p.expandTags(r.Pattern)
		if text == r.Pattern {
			continue
		}
		if err := regex.Check(text, r.Modifiers); err != nil {
			if len(p.Problems) < maxProblems {
				p.Problems = append(p.Problems, Problem{r.File, r.Line, name, "with its tags replaced: " + err.Error()})
			}
			continue
		}
		changed := *r
		changed.Pattern, changed.replaced = text, true
		p.rules[name] = &changed
	}
}

// anyTag is what SpamAssassin splits patterns at, whatever replace_start is.
var anyTag = regexp.MustCompile(`<[^<>]+>`)

func (p *parser) expandTags(text string) string {
	start, end := regexp.QuoteMeta(p.String("replace_start")), regexp.QuoteMeta(p.String("replace_end"))
	tag := regexp.MustCompile(start + `(.+?)` + end)
	for range 6 {
		pre := p.modifierTag(&text, "pre", start, end)
		post := p.modifierTag(&text, "post", start, end)
		inter := p.modifierTag(&text, "inter", start, end)
		parts := splitTags(text)
		again := false
		for i, part := range parts {
			if part == "" && i > 0 {
				parts[i] = inter
				continue
			}
			m := tag.FindStringSubmatch(part)
			if m == nil {
				continue
			}
			with := p.pairs["replace_tag"][m[1]]
			if with == "" {
				with = m[0]
			} else {
				again = again || anyTag.MatchString(with)
			}
			parts[i] = strings.Replace(part, m[0], pre+with+post, 1)
		}
		if text = strings.Join(parts, ""); !again || len(text) > maxPattern {
			break
		}
	}
	return text
}

// modifierTag takes "<pre NAME>" out of a pattern and gives its value.
func (p *parser) modifierTag(text *string, kind, start, end string) string {
	m := regexp.MustCompile(start + kind + ` (.+?)` + end).FindStringSubmatchIndex(*text)
	if m == nil {
		return ""
	}
	name := (*text)[m[2]:m[3]]
	*text = (*text)[:m[0]] + (*text)[m[1]:]
	return p.pairs["replace_"+kind][name]
}

// splitTags parts a pattern into what stands between tags and the tags; between two
// tags that touch there is "".
func splitTags(text string) []string {
	var out []string
	at := 0
	for _, m := range anyTag.FindAllStringIndex(text, -1) {
		out = append(out, text[at:m[0]], text[m[0]:m[1]])
		at = m[1]
	}
	if at < len(text) {
		out = append(out, text[at:])
	}
	return out
}
