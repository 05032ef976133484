package imapd

import (
	"slices"
	"strings"

	"mtad/mailbox"
)

// listing is a LIST command (RFC 5258, 3).
type listing struct {
	patterns []string // reference included
	octets   int      // of patterns

	subscribed, recursive, specialUse bool // selection
	returnSubscribed, returnUse       bool
	status                            []string // RFC 5819
}

// Selection and return options; LIST knows no others.
var (
	listSelections = map[string]func(*listing){
		"SUBSCRIBED":     func(l *listing) { l.subscribed, l.returnSubscribed = true, true },
		"REMOTE":         func(*listing) {}, // there are none
		"RECURSIVEMATCH": func(l *listing) { l.recursive = true },
		"SPECIAL-USE":    func(l *listing) { l.specialUse, l.returnUse = true, true },
	}
	listReturns = map[string]func(*session, *listing){
		"SUBSCRIBED":  func(_ *session, l *listing) { l.returnSubscribed = true },
		"CHILDREN":    func(*session, *listing) {}, // always told
		"SPECIAL-USE": func(_ *session, l *listing) { l.returnUse = true },
		"STATUS": func(s *session, l *listing) {
			s.r.SP()
			l.status = s.readStatusItems()
		},
	}
)

// maxPatterns bounds the octets of all patterns of a LIST: each is compared with
// each name.
const maxPatterns = 4 << 10

func (l *listing) add(s *session, reference string) {
	l.patterns = append(l.patterns, reference+s.r.ListMailbox())
	if l.octets += len(l.patterns[len(l.patterns)-1]); l.octets > maxPatterns {
		s.r.Fail("Patterns are longer than %d octets", maxPatterns)
	}
}

func (s *session) list() (reply, error) {
	l := &listing{returnUse: true}
	s.r.SP()
	extended := s.r.Peek('(')
	if extended {
		s.readSelections(l)
		s.r.SP()
	}
	reference := s.r.Mailbox()
	s.r.SP()
	if s.r.Peek('(') {
		extended = true
		s.r.List(func() { l.add(s, reference) })
	} else {
		l.add(s, reference)
	}
	if s.r.Accept(' ') {
		extended = true
		s.readReturns(l)
	}
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if !extended && l.patterns[0] == reference {
		// RFC 3501, 6.3.8: an empty name asks for the separator.
		s.w.Raw(`* LIST (\Noselect) "/" ""` + "\r\n")
		return ok("LIST completed"), nil
	}
	return ok("LIST completed"), s.runList(l)
}

func (s *session) readSelections(l *listing) {
	s.r.List(func() {
		option, known := listSelections[s.r.Word()]
		if !known {
			s.r.Fail("Unknown selection option")
			return
		}
		option(l)
	})
	if l.recursive && !l.subscribed {
		s.r.Fail("RECURSIVEMATCH needs SUBSCRIBED") // RFC 5258, 3.1
	}
}

func (s *session) readReturns(l *listing) {
	if s.r.Word() != "RETURN" {
		s.r.Fail("expected RETURN")
		return
	}
	s.r.SP()
	s.r.List(func() {
		option, known := listReturns[s.r.Word()]
		if !known {
			s.r.Fail("Unknown return option")
			return
		}
		option(s, l)
	})
}

// node is one name of the hierarchy: a folder, or a name that only has
// children or a subscription.
type node struct {
	folder     mailbox.Folder
	exists     bool
	subscribed bool
	children   bool // folders below it
	below      bool // subscriptions below it
}

// hierarchy returns every name of the account and what stands on it.
func (s *session) hierarchy() (map[string]*node, []string, error) {
	folders, err := s.store.Folders(s.ctx, s.account.ID)
	if err != nil {
		return nil, nil, err
	}
	subscriptions, err := s.store.Subscriptions(s.ctx, s.account.ID)
	if err != nil {
		return nil, nil, err
	}
	nodes := map[string]*node{}
	at := func(name string) *node {
		if nodes[name] == nil {
			nodes[name] = &node{folder: mailbox.Folder{Name: name}}
		}
		return nodes[name]
	}
	for _, f := range folders {
		n := at(f.Name)
		n.folder, n.exists = f, true
		for parent := range parents(f.Name) {
			at(parent).children = true
		}
	}
	for _, name := range subscriptions {
		at(name).subscribed = true
		for parent := range parents(name) {
			at(parent).below = true
		}
	}
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.SortFunc(names, byHierarchy)
	return nodes, names, nil
}

// parents yields the names above name, nearest first.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			i := strings.LastIndex(name, mailbox.Separator)
			if i <= 0 {
				return
			}
			name = name[:i]
			if !yield(name) {
				return
			}
		}
	}
}

// byHierarchy puts INBOX first and children right after their parent.
func byHierarchy(a, b string) int {
	key := func(s string) string {
		if s == mailbox.Inbox || strings.HasPrefix(s, mailbox.Inbox+mailbox.Separator) {
			s = "\x00" + s
		}
		return strings.ReplaceAll(s, mailbox.Separator, "\x01")
	}
	return strings.Compare(key(a), key(b))
}

func (s *session) runList(l *listing) error {
	nodes, names, err := s.hierarchy()
	if err != nil {
		return err
	}
	for _, name := range names {
		n := nodes[name]
		if !matchesAny(l.patterns, name) {
			continue
		}
		if !l.wants(n) {
			continue
		}
		s.writeListed(l, n)
		if l.status != nil && n.exists {
			// RFC 5819, 2: a folder that fails is left out.
			if err := s.writeStatus(n.folder, l.status); err != nil {
				s.log.Debug("imapd: status", "folder", name, "err", err)
			}
		}
	}
	return nil
}

// wants applies the selection options.
func (l *listing) wants(n *node) bool {
	switch {
	case l.specialUse && n.folder.Use == "":
		return false
	case l.subscribed:
		return n.subscribed || l.recursive && n.below
	}
	return n.exists || n.children
}

// writeListed writes one LIST response.
func (s *session) writeListed(l *listing, n *node) {
	attrs := make([]string, 0, 4)
	switch {
	case !n.exists && (l.subscribed || l.returnSubscribed):
		attrs = append(attrs, `\NonExistent`) // RFC 5258, 3
	case !n.exists:
		attrs = append(attrs, `\Noselect`)
	}
	if l.returnSubscribed && n.subscribed {
		attrs = append(attrs, `\Subscribed`)
	}
	if n.children {
		attrs = append(attrs, `\HasChildren`)
	} else {
		attrs = append(attrs, `\HasNoChildren`)
	}
	if l.returnUse && n.folder.Use != "" {
		attrs = append(attrs, n.folder.Use)
	}
	s.w.Raw("* LIST (" + strings.Join(attrs, " ") + `) "/" `)
	s.w.Mailbox(n.folder.Name)
	if l.recursive && n.below {
		s.w.Raw(` ("CHILDINFO" ("SUBSCRIBED"))`) // RFC 5258, 4
	}
	s.w.CRLF()
}

// lsub lists subscriptions. A name that is none but has some below is told, as
// \Noselect, where the pattern ends above them (RFC 3501, 6.3.9).
func (s *session) lsub() (reply, error) {
	s.r.SP()
	reference := s.r.Mailbox()
	s.r.SP()
	var l listing
	l.add(s, reference)
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	pattern := l.patterns[0]
	nodes, names, err := s.hierarchy()
	if err != nil {
		return reply{}, err
	}
	for _, name := range names {
		n := nodes[name]
		if !match(pattern, name) {
			continue
		}
		switch {
		case n.subscribed:
			s.w.Raw(`* LSUB () "/" `)
		case n.below && strings.HasSuffix(pattern, "%"):
			s.w.Raw(`* LSUB (\Noselect) "/" `)
		default:
			continue
		}
		s.w.Mailbox(name)
		s.w.CRLF()
	}
	return ok("LSUB completed"), nil
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match compares a name with a pattern: "*" is anything, "%" anything within
// one level (RFC 3501, 6.3.8). INBOX matches in any case. Its time is bounded by the product of
// the lengths: each position of the pattern keeps where in the name it can stand.
func match(pattern, name string) bool {
	if name == mailbox.Inbox && strings.EqualFold(pattern, name) {
		return true
	}
	can := make([]bool, len(name)+1) // can[i]: the pattern so far matches name[:i]
	can[0] = true
	for p := range len(pattern) {
		c := pattern[p]
		if c == '*' || c == '%' {
			for i := 1; i <= len(name); i++ {
				can[i] = can[i] || can[i-1] && (c == '*' || name[i-1] != '/')
			}
			continue
		}
		for i := len(name); i > 0; i-- {
			can[i] = can[i-1] && name[i-1] == c
		}
		can[0] = false
	}
	return can[len(name)]
}
