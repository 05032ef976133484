package imapd

import (
	"errors"
	"slices"

	"mtad/mailbox"
)

// sync tells the client what has happened to its folder since it was last told.
// Without expunge, messages that are gone keep their sequence numbers, and
// the client hears of them later (RFC 3501, 7.4.1).
func (s *session) sync(expunge bool) error {
	sel := s.selected
	changed, vanished, now, err := s.store.Changes(s.ctx, sel.folder.ID, sel.modseq)
	switch {
	case errors.Is(err, mailbox.ErrNoFolder):
		return errFolderGone
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil:
		// The client lacks news, no more; the next command brings them.
		s.log.Error("imapd: changes", "account", s.account.Name, "err", err)
		return nil
	}
	sel.modseq = now
	sel.forget(vanished)
	if expunge && len(sel.vanished) > 0 {
		for _, seq := range sel.view.remove(sel.vanished) {
			s.untagged(seq, "EXPUNGE")
		}
		sel.vanished = nil
	}
	known := sel.highest
	s.arrivals(changed)
	s.flagChanges(changed, known)
	sel.told = nil
	return nil
}

// forget notes messages that are gone, those that the client knows of.
func (sel *selected) forget(vanished []mailbox.UID) {
	for _, uid := range vanished {
		if sel.view.seq(uid) != 0 {
			sel.vanished = append(sel.vanished, uid)
		}
	}
	slices.Sort(sel.vanished)
	sel.vanished = slices.Compact(sel.vanished)
}

// arrivals adds messages that are new to the client.
func (s *session) arrivals(changed []mailbox.Item) {
	sel := s.selected
	var fresh []mailbox.UID
	for _, it := range changed {
		if it.UID > sel.highest {
			fresh = append(fresh, it.UID)
		}
	}
	if len(fresh) == 0 {
		return
	}
	slices.Sort(fresh)
	sel.closeRecent()
	sel.highest = fresh[len(fresh)-1]
	sel.folder.UIDNext = sel.highest + 1
	if err := s.claim(sel); err != nil {
		// They are not shown as recent, no more.
		s.log.Error("imapd: recent", "account", s.account.Name, "err", err)
	}
	for _, uid := range fresh {
		sel.view.append(uid)
	}
	s.untagged(sel.view.count(), "EXISTS")
	s.untagged(sel.recentCount(), "RECENT")
}

// flagChanges reports flags that others have changed, of messages up to known.
func (s *session) flagChanges(changed []mailbox.Item, known mailbox.UID) {
	sel := s.selected
	named := false
	for _, it := range changed {
		named = sel.learn(it.Flags) || named
	}
	if named {
		s.writeFlags()
	}
	for _, it := range changed {
		seq := sel.view.seq(it.UID)
		if seq == 0 || it.UID > known || sel.told[it.UID] == it.ModSeq {
			continue
		}
		s.writeFlagUpdate(seq, it)
	}
}

func (s *session) writeFlagUpdate(seq uint32, it mailbox.Item) {
	s.w.Raw("* ")
	s.w.Number(uint64(seq))
	s.w.Raw(" FETCH (UID ")
	s.w.Number(uint64(it.UID))
	s.w.Raw(" FLAGS ")
	writeMessageFlags(s.w, it.Flags, s.selected.isRecent(it.UID))
	s.w.Raw(")\r\n")
}

// tell notes that the client hears of a message's state as the outcome of its
// own command.
func (sel *selected) tell(it mailbox.Item) {
	if sel.told == nil {
		sel.told = map[mailbox.UID]mailbox.ModSeq{}
	}
	sel.told[it.UID] = it.ModSeq
}
