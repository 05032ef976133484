package imapd

import (
	"slices"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// addressed returns the UIDs of the messages a command names, ascending. A
// sequence number that does not exist is an error (RFC 3501, 9: seq-number), a
// UID that does not exist is nothing (RFC 3501, 6.4.8).
func (s *session) addressed(set wire.Set, by numbering) ([]mailbox.UID, error) {
	v := &s.selected.view
	if by {
		return v.bySet(set.Resolve(uint32(v.last())), by), nil
	}
	if set.Highest() > v.count() {
		return nil, &wire.SyntaxError{Text: "No message has that number"}
	}
	return v.bySet(set.Resolve(v.count()), by), nil
}

// snapshotAbove is from how many messages on reading a whole folder's items is
// cheaper than asking for each.
const snapshotAbove = 200

// itemsOf returns the flags of messages, ascending by UID, without those that are
// gone.
func (s *session) itemsOf(uids []mailbox.UID) ([]mailbox.Item, error) {
	if len(uids) <= snapshotAbove {
		entries, err := s.store.Entries(s.ctx, s.selected.folder.ID, uids)
		items := make([]mailbox.Item, len(entries))
		for i, e := range entries {
			items[i] = e.Item
		}
		return items, err
	}
	all, _, err := s.store.Snapshot(s.ctx, s.selected.folder.ID)
	if err != nil {
		return nil, err
	}
	kept := all[:0:0]
	for _, it := range all {
		for len(uids) > 0 && uids[0] < it.UID {
			uids = uids[1:]
		}
		if len(uids) > 0 && uids[0] == it.UID {
			kept = append(kept, it)
		}
	}
	return kept, nil
}

// readOnlyRefusal answers a command that would change a folder opened by EXAMINE.
func (s *session) readOnlyRefusal() (reply, bool) {
	return no("READ-ONLY", "Mailbox is open for reading only"), s.selected.readOnly
}

// storeOps are the data items of STORE (RFC 3501, 6.4.6).
var storeOps = map[string]struct {
	op     mailbox.FlagOp
	silent bool
}{
	"FLAGS":         {mailbox.Replace, false},
	"FLAGS.SILENT":  {mailbox.Replace, true},
	"+FLAGS":        {mailbox.Add, false},
	"+FLAGS.SILENT": {mailbox.Add, true},
	"-FLAGS":        {mailbox.Remove, false},
	"-FLAGS.SILENT": {mailbox.Remove, true},
}

// readStore reads what comes after STORE's set.
func (s *session) readStore() (op mailbox.FlagOp, silent bool, flags mailbox.Flags) {
	name := ""
	for _, sign := range "+-" {
		if s.r.Accept(byte(sign)) {
			name = string(sign)
			break
		}
	}
	row, known := storeOps[name+s.r.Word()]
	if !known {
		s.r.Fail("expected FLAGS, +FLAGS or -FLAGS")
	}
	s.r.SP()
	if s.r.Peek('(') {
		return row.op, row.silent, toFlags(s.r.Flags())
	}
	names := []string{s.r.Flag()}
	for s.r.Accept(' ') {
		names = append(names, s.r.Flag())
	}
	return row.op, row.silent, toFlags(names)
}

// storeFlags is STORE and UID STORE. All addressed messages are answered for,
// changed or not, unless the client wants silence; what others did is told by
// sync as always.
func (s *session) storeFlags(by numbering) (reply, error) {
	s.r.SP()
	set := s.r.Set()
	s.r.SP()
	op, silent, flags := s.readStore()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if rep, refused := s.readOnlyRefusal(); refused {
		return rep, nil
	}
	uids, err := s.addressed(set, by)
	if err != nil || len(uids) == 0 {
		return ok("Nothing to do"), err
	}
	changed, _, err := s.store.SetFlags(s.ctx, s.selected.folder.ID, uids, op, flags, 0)
	if err != nil {
		return reply{}, err
	}
	for _, it := range changed {
		s.selected.tell(it)
	}
	if !silent {
		s.echoKeywords(changed)
		for _, it := range changed {
			s.writeFlagUpdate(s.selected.view.seq(it.UID), it)
		}
	}
	if len(changed) < len(uids) && !bool(by) { // RFC 2180, 4.2
		return no("EXPUNGEISSUED", "Some of the messages are gone"), nil
	}
	return ok("STORE completed"), nil
}

// echoKeywords names new keywords before they are used.
func (s *session) echoKeywords(items []mailbox.Item) {
	named := false
	for _, it := range items {
		named = s.selected.learn(it.Flags) || named
	}
	if named {
		s.writeFlags()
	}
}

// readCopy reads the arguments of COPY and MOVE.
func (s *session) readCopy(by numbering) (uids []mailbox.UID, to mailbox.Folder, refused *reply, err error) {
	s.r.SP()
	set := s.r.Set()
	s.r.SP()
	name := s.r.Mailbox()
	if err = s.r.End(); err != nil {
		return nil, to, nil, err
	}
	if uids, err = s.addressed(set, by); err != nil {
		return nil, to, nil, err
	}
	to, refused, err = s.destination(name)
	if err == nil && refused == nil && len(uids) == 0 {
		nothing := ok("Nothing to do")
		refused = &nothing
	}
	return uids, to, refused, err
}

// copy is COPY and UID COPY.
func (s *session) copy(by numbering) (reply, error) {
	uids, to, refused, err := s.readCopy(by)
	if err != nil {
		return reply{}, err
	}
	if refused != nil {
		return *refused, nil
	}
	pairs, err := s.store.Copy(s.ctx, s.selected.folder.ID, to.ID, uids)
	switch {
	case err != nil:
		return reply{}, err
	case len(pairs) == 0:
		return no("EXPUNGEISSUED", "The messages are gone"), nil
	}
	return okCode(copyUID(to, pairs), "COPY completed"), nil
}

// move is MOVE and UID MOVE. The EXPUNGE responses come with the updates, after
// the untagged COPYUID (RFC 6851, 4.3).
func (s *session) move(by numbering) (reply, error) {
	uids, to, refused, err := s.readCopy(by)
	if err != nil {
		return reply{}, err
	}
	if refused != nil {
		return *refused, nil
	}
	if rep, refused := s.readOnlyRefusal(); refused {
		return rep, nil
	}
	if to.ID == s.selected.folder.ID {
		return no("CANNOT", "Messages are in that mailbox already"), nil
	}
	pairs, err := s.store.Move(s.ctx, s.selected.folder.ID, to.ID, uids)
	switch {
	case err != nil:
		return reply{}, err
	case len(pairs) == 0:
		return no("EXPUNGEISSUED", "The messages are gone"), nil
	}
	s.w.Raw("* OK [" + copyUID(to, pairs) + "] Moved\r\n")
	return ok("MOVE completed"), nil
}

// copyUID is the response code that says which UIDs the copies have (RFC 4315, 3).
func copyUID(to mailbox.Folder, pairs []mailbox.UIDPair) string {
	source, dest := make([]mailbox.UID, len(pairs)), make([]mailbox.UID, len(pairs))
	for i, p := range pairs {
		source[i], dest[i] = p.Source, p.Dest
	}
	b := wire.AppendSet([]byte("COPYUID "), []uint32{to.UIDValidity})
	b = wire.AppendSet(append(b, ' '), source)
	return string(wire.AppendSet(append(b, ' '), dest))
}

func (s *session) expunge() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	return s.expungeUIDs(nil)
}

// uidExpunge removes only what it names, of what is marked as deleted (RFC 4315, 2.1).
func (s *session) uidExpunge() (reply, error) {
	s.r.SP()
	set := s.r.Set()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	uids, err := s.addressed(set, true)
	if err != nil {
		return reply{}, err
	}
	if len(uids) == 0 {
		return ok("Nothing to do"), nil
	}
	return s.expungeUIDs(slices.Clip(uids))
}

// expungeUIDs removes messages; the updates that follow tell of it.
func (s *session) expungeUIDs(uids []mailbox.UID) (reply, error) {
	if rep, refused := s.readOnlyRefusal(); refused {
		return rep, nil
	}
	_, err := s.store.Expunge(s.ctx, s.selected.folder.ID, uids)
	return ok("EXPUNGE completed"), err
}
