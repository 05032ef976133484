package imapd

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"mtad/mailbox"
)

// searchParser compiles the arguments of SEARCH.
type searchParser struct {
	*session
	keys    map[string]func(*searchParser) criterion
	charset string
	texts   int // keys that read whole messages
}

// maxTexts bounds keys that read whole messages: each reads every message anew.
const maxTexts = 50

// parse reads everything after the command's name. returns is nil unless the
// client asked for results in the form of RFC 4731.
func (p *searchParser) parse() (program []criterion, returns []string) {
	word := p.firstWord()
	if word == "RETURN" {
		p.r.SP()
		returns = p.readReturns()
		p.r.SP()
		word = p.firstWord()
	}
	if word == "CHARSET" {
		p.r.SP()
		p.charset = p.r.AString()
		p.r.SP()
		word = p.firstWord()
	}
	program = append(program, p.key(word))
	for p.r.Err() == nil && p.r.Accept(' ') {
		program = append(program, p.key(p.firstWord()))
	}
	return program, returns
}

func (p *searchParser) readReturns() []string {
	returns := []string{}
	p.r.List(func() {
		name := p.r.Word()
		if searchReturns[name] == nil {
			p.r.Fail("Unknown result option")
		}
		if !slices.Contains(returns, name) {
			returns = append(returns, name)
		}
	})
	if len(returns) == 0 {
		return []string{"ALL"} // RFC 4731, 3.1
	}
	return returns
}

// firstWord reads the name of a key, or nothing before a list or a set.
func (p *searchParser) firstWord() string {
	if p.r.Peek('(') || p.r.Peek('*') || p.r.PeekDigit() {
		return ""
	}
	return p.r.Word()
}

// key compiles one search key whose name, if it has one, has been read.
func (p *searchParser) key(name string) criterion {
	switch {
	case p.r.Err() != nil:
		return criterion{}
	case name != "":
		build, known := p.keys[name]
		if !known {
			p.r.Fail("Unknown search key")
			return criterion{}
		}
		return build(p)
	case p.r.Peek('('):
		return p.list()
	}
	return p.set(false)
}

// list compiles a parenthesised list: all of it must be met.
func (p *searchParser) list() criterion {
	var all []criterion
	p.r.List(func() { all = append(all, p.key(p.firstWord())) })
	if len(all) == 0 {
		p.r.Fail("expected a search key")
	}
	slices.SortStableFunc(all, func(a, b criterion) int { return cmp.Compare(a.need, b.need) })
	var whole need
	for _, c := range all {
		whole = max(whole, c.need)
	}
	return criterion{whole, func(c *candidate) bool { return c.meets(all) }}
}

// next compiles a key that is another's argument. NOT and OR nest like
// parentheses do.
func (p *searchParser) next() criterion {
	p.r.SP()
	if !p.r.Deeper() {
		return criterion{}
	}
	defer p.r.Shallower()
	return p.key(p.firstWord())
}

// set compiles a set of sequence numbers or UIDs.
func (p *searchParser) set(by numbering) criterion {
	set := p.r.Set()
	if p.r.Err() != nil {
		return criterion{}
	}
	v := &p.selected.view
	if !by {
		if set.Highest() > v.count() {
			p.r.Fail("No message has that number")
		}
		set = set.Resolve(v.count())
		return criterion{0, func(c *candidate) bool { return set.Contains(c.seq) }}
	}
	set = set.Resolve(uint32(v.last()))
	return criterion{0, func(c *candidate) bool { return set.Contains(uint32(c.entry.UID)) }}
}

// searchKeys is every key with a name (RFC 3501, 6.4.4). The parser carries it along,
// since NOT and OR lead back to it.
var searchKeys = map[string]func(*searchParser) criterion{
	"ALL": func(*searchParser) criterion { return criterion{0, func(*candidate) bool { return true }} },

	"ANSWERED":   hasFlag(mailbox.Answered, true),
	"DELETED":    hasFlag(mailbox.Deleted, true),
	"DRAFT":      hasFlag(mailbox.Draft, true),
	"FLAGGED":    hasFlag(mailbox.Flagged, true),
	"SEEN":       hasFlag(mailbox.Seen, true),
	"UNANSWERED": hasFlag(mailbox.Answered, false),
	"UNDELETED":  hasFlag(mailbox.Deleted, false),
	"UNDRAFT":    hasFlag(mailbox.Draft, false),
	"UNFLAGGED":  hasFlag(mailbox.Flagged, false),
	"UNSEEN":     hasFlag(mailbox.Seen, false),
	"KEYWORD":    hasKeyword(true),
	"UNKEYWORD":  hasKeyword(false),
	"RECENT":     onFlags(func(c *candidate) bool { return c.recent }),
	"OLD":        onFlags(func(c *candidate) bool { return !c.recent }),
	"NEW":        onFlags(func(c *candidate) bool { return c.recent && c.entry.Flags.System&mailbox.Seen == 0 }),
	"UID":        func(p *searchParser) criterion { p.r.SP(); return p.set(true) },

	"LARGER":  bySize(func(size, n int64) bool { return size > n }),
	"SMALLER": bySize(func(size, n int64) bool { return size < n }),

	"BEFORE":     byDate(needEntry, internalDay, func(c int) bool { return c < 0 }),
	"ON":         byDate(needEntry, internalDay, func(c int) bool { return c == 0 }),
	"SINCE":      byDate(needEntry, internalDay, func(c int) bool { return c >= 0 }),
	"SENTBEFORE": byDate(needMessage, sentDay, func(c int) bool { return c < 0 }),
	"SENTON":     byDate(needMessage, sentDay, func(c int) bool { return c == 0 }),
	"SENTSINCE":  byDate(needMessage, sentDay, func(c int) bool { return c >= 0 }),
	"OLDER":      byAge(func(age, n time.Duration) bool { return age >= n }),
	"YOUNGER":    byAge(func(age, n time.Duration) bool { return age <= n }),

	"BCC":     byField("Bcc"),
	"CC":      byField("Cc"),
	"FROM":    byField("From"),
	"SUBJECT": byField("Subject"),
	"TO":      byField("To"),
	"HEADER": func(p *searchParser) criterion {
		p.r.SP()
		return byField(p.r.AString())(p)
	},
	"BODY": byText(false),
	"TEXT": byText(true),

	"NOT": func(p *searchParser) criterion {
		inner := p.next()
		return criterion{inner.need, func(c *candidate) bool { return !inner.match(c) }}
	},
	"OR": func(p *searchParser) criterion {
		a := p.next()
		b := p.next()
		if b.need < a.need {
			a, b = b, a
		}
		return criterion{b.need, func(c *candidate) bool { return a.match(c) || b.match(c) }}
	},
}

func onFlags(match func(*candidate) bool) func(*searchParser) criterion {
	return func(*searchParser) criterion { return criterion{0, match} }
}

func hasFlag(flag mailbox.SystemFlags, want bool) func(*searchParser) criterion {
	return onFlags(func(c *candidate) bool { return c.entry.Flags.System&flag != 0 == want })
}

func hasKeyword(want bool) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		keyword := p.r.Flag()
		return criterion{0, func(c *candidate) bool {
			has := slices.ContainsFunc(c.entry.Flags.Keywords, func(k string) bool { return strings.EqualFold(k, keyword) })
			return has == want
		}}
	}
}

func bySize(good func(size, n int64) bool) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		n := int64(p.r.Number())
		return criterion{needEntry, func(c *candidate) bool { return good(c.entry.Size, n) }}
	}
}

// byDate compares days; time and zone are disregarded (RFC 3501, 6.4.4).
func byDate(of need, day func(*candidate) (time.Time, bool), good func(int) bool) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		want := p.r.Date()
		return criterion{of, func(c *candidate) bool {
			have, known := day(c)
			return known && good(have.Compare(want))
		}}
	}
}
