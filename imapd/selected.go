package imapd

import (
	"slices"
	"strings"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// selected is a session's picture of its folder: what the client has been told.
type selected struct {
	folder   mailbox.Folder
	readOnly bool
	view     view
	modseq   mailbox.ModSeq // up to which changes have been seen
	highest  mailbox.UID    // that the client was ever told of

	// recent is where this session's \Recent messages lie; resolved.
	recent wire.Set
	// vanished messages are gone, but the client has not been told; ascending.
	vanished []mailbox.UID
	// told is which state of a message the client has heard of as the outcome of its own
	// command, so that it is not told again. Emptied at each sync.
	told map[mailbox.UID]mailbox.ModSeq
	// keywords are those that the last FLAGS response named, sorted.
	keywords []string
}

// maxKeywords bounds what FLAGS lists.
const maxKeywords = 500

func (s *session) selectFolder() (reply, error) { return s.open(false) }
func (s *session) examine() (reply, error)      { return s.open(true) }

// open selects a folder. Whatever comes of it, the one selected before is
// closed (RFC 3501, 6.3.1).
func (s *session) open(readOnly bool) (reply, error) {
	s.r.SP()
	name := s.r.Mailbox()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.selected, s.state = nil, authenticated
	folder, err := s.store.Folder(s.ctx, s.account.ID, name)
	if err != nil {
		return reply{}, err
	}
	sel := &selected{folder: folder, readOnly: readOnly}
	if err := s.claim(sel); err != nil {
		return reply{}, err
	}
	items, modseq, err := s.store.Snapshot(s.ctx, folder.ID)
	if err != nil {
		return reply{}, err
	}
	sel.modseq = modseq
	unseen := uint32(0)
	for i, it := range items {
		sel.view.append(it.UID)
		sel.learn(it.Flags)
		if unseen == 0 && it.Flags.System&mailbox.Seen == 0 {
			unseen = uint32(i) + 1
		}
	}
	sel.highest = sel.view.last()
	s.selected, s.state = sel, isSelected
	s.describe(unseen)
	if readOnly {
		return okCode("READ-ONLY", "Mailbox is open"), nil
	}
	return okCode("READ-WRITE", "Mailbox is open"), nil
}

// describe writes what SELECT owes (RFC 3501, 6.3.1).
func (s *session) describe(unseen uint32) {
	sel := s.selected
	s.writeFlags()
	if sel.readOnly {
		s.w.Raw("* OK [PERMANENTFLAGS ()] Read-only\r\n")
	} else {
		s.w.Raw(`* OK [PERMANENTFLAGS (` + sel.flagNames() + ` \*)] Limited` + "\r\n")
	}
	s.untagged(sel.view.count(), "EXISTS")
	s.untagged(sel.recentCount(), "RECENT")
	if unseen > 0 {
		s.okNumber("UNSEEN", unseen, "First unseen")
	}
	s.okNumber("UIDVALIDITY", sel.folder.UIDValidity, "UIDs valid")
	next := max(sel.folder.UIDNext, sel.view.last()+1)
	s.okNumber("UIDNEXT", uint32(next), "Predicted next UID")
}

func (s *session) untagged(n uint32, what string) {
	s.w.Raw("* ")
	s.w.Number(uint64(n))
	s.w.Raw(" " + what + "\r\n")
}

func (s *session) okNumber(code string, n uint32, text string) {
	s.w.Raw("* OK [" + code + " ")
	s.w.Number(uint64(n))
	s.w.Raw("] " + text + "\r\n")
}

// claim makes messages that no session has been told of recent for this one
// (RFC 3501, 2.3.2). A reading session shows them and leaves them to the next.
func (s *session) claim(sel *selected) error {
	first, err := s.store.Recent(s.ctx, sel.folder.ID, false)
	if err == nil && !sel.readOnly && first < sel.folder.UIDNext {
		first, err = s.store.Recent(s.ctx, sel.folder.ID, true)
	}
	if err != nil {
		return err
	}
	sel.markRecent(first)
	return nil
}

// markRecent makes every message from first on recent.
func (sel *selected) markRecent(first mailbox.UID) {
	sel.recent = append(sel.recent, wire.Range{From: uint32(max(first, 1)), To: 1<<32 - 1}).Resolve(0)
}

// closeRecent ends what markRecent opened at the last message known: later ones
// are recent only if this session is the first to claim them.
func (sel *selected) closeRecent() {
	if k := len(sel.recent); k > 0 && sel.recent[k-1].To == 1<<32-1 {
		last := uint32(sel.highest)
		if sel.recent[k-1].From > last {
			sel.recent = sel.recent[:k-1]
			return
		}
		sel.recent[k-1].To = last
	}
}

func (sel *selected) isRecent(uid mailbox.UID) bool { return sel.recent.Contains(uint32(uid)) }

func (sel *selected) recentCount() uint32 {
	return uint32(len(sel.view.bySet(sel.recent, true)))
}

// learn notes keywords, and reports whether there was a new one.
func (sel *selected) learn(f mailbox.Flags) bool {
	fresh := false
	for _, k := range f.Keywords {
		i, found := slices.BinarySearchFunc(sel.keywords, k, compareFold)
		if !found && len(sel.keywords) < maxKeywords {
			sel.keywords = slices.Insert(sel.keywords, i, k)
			fresh = true
		}
	}
	return fresh
}

func compareFold(a, b string) int {
	if strings.EqualFold(a, b) {
		return 0
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

// systemFlags are the flags that RFC 3501, 2.3.2 defines, \Recent apart.
var systemFlags = []struct {
	name string
	flag mailbox.SystemFlags
}{
	{`\Answered`, mailbox.Answered},
	{`\Flagged`, mailbox.Flagged},
	{`\Deleted`, mailbox.Deleted},
	{`\Seen`, mailbox.Seen},
	{`\Draft`, mailbox.Draft},
}

func (sel *selected) flagNames() string {
	names := make([]string, 0, len(systemFlags)+len(sel.keywords))
	for _, f := range systemFlags {
		names = append(names, f.name)
	}
	return strings.Join(append(names, sel.keywords...), " ")
}

func (s *session) writeFlags() { s.w.Raw("* FLAGS (" + s.selected.flagNames() + ")\r\n") }

// writeMessageFlags writes a message's flags in parentheses.
func writeMessageFlags(w *wire.Writer, f mailbox.Flags, recent bool) {
	w.Byte('(')
	sep := ""
	put := func(name string) {
		w.Raw(sep)
		w.Raw(name)
		sep = " "
	}
	for _, sys := range systemFlags {
		if f.System&sys.flag != 0 {
			put(sys.name)
		}
	}
	if recent {
		put(`\Recent`)
	}
	for _, k := range f.Keywords {
		put(k)
	}
	w.Byte(')')
}

// toFlags sorts what a client named into flags. \Recent is not the client's to
// set (RFC 3501, 2.3.2) and is passed over, like system flags nobody knows.
func toFlags(names []string) mailbox.Flags {
	var out mailbox.Flags
names:
	for _, n := range names {
		for _, sys := range systemFlags {
			if strings.EqualFold(n, sys.name) {
				out.System |= sys.flag
				continue names
			}
		}
		if strings.HasPrefix(n, `\`) {
			continue
		}
		i, found := slices.BinarySearchFunc(out.Keywords, n, compareFold)
		if !found {
			out.Keywords = slices.Insert(out.Keywords, i, n)
		}
	}
	return out
}

// closeFolder leaves the folder, removing what is marked as deleted, without a
// word about it (RFC 3501, 6.4.2).
func (s *session) closeFolder() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	sel := s.selected
	s.selected, s.state = nil, authenticated
	if !sel.readOnly {
		if _, err := s.store.Expunge(s.ctx, sel.folder.ID, nil); err != nil {
			return reply{}, err
		}
	}
	return ok("Mailbox is closed"), nil
}

// unselect leaves the folder as it is (RFC 3691, 2).
func (s *session) unselect() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.selected, s.state = nil, authenticated
	return ok("Mailbox is closed"), nil
}
