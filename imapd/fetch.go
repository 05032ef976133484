package imapd

import (
	"errors"
	"slices"

	"mtad/mailbox"
	"mtad/message"
)

// fetchBatch is for how many messages rows are read at a time.
const fetchBatch = 500

// fetch is FETCH and UID FETCH (RFC 3501, 6.4.5).
func (s *session) fetch(by numbering) (reply, error) {
	s.r.SP()
	set := s.r.Set()
	s.r.SP()
	items := s.readFetchItems()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if bool(by) && !slices.ContainsFunc(items, func(it fetchItem) bool { return it.name == "UID" }) {
		// RFC 3501, 6.4.8: the UID is always part of the answer.
		items = append([]fetchItem{{name: "UID", kind: fetchKinds["UID"]}}, items...)
	}
	uids, err := s.addressed(set, by)
	if err != nil {
		return reply{}, err
	}
	f := &fetching{session: s, items: items}
	for _, it := range items {
		f.need |= it.kind.need | it.section.need()
		f.seen = f.seen || it.kind.seen && !s.selected.readOnly
	}
	if err := f.run(uids); err != nil {
		return reply{}, err
	}
	switch {
	case f.failed:
		return no("UNAVAILABLE", "Some of the messages can't be read now"), nil
	case f.shown < len(uids) && !bool(by):
		return no("EXPUNGEISSUED", "Some of the messages are gone"), nil // RFC 2180, 4.1.2
	}
	return ok("FETCH completed"), nil
}

// fetching is a FETCH that runs.
type fetching struct {
	*session
	items  []fetchItem
	need   need
	seen   bool // reading makes \Seen
	shown  int
	failed bool // a message could not be read
	made   []mailbox.Summary
}

// need is what must be at hand of a message before an item can be written.
type need uint8

const (
	needEntry     need = 1 << iota // its row
	needContent                    // its octets
	needMessage                    // its header
	needStructure                  // its MIME tree

	needEnvelope      // the envelope of its summary
	needBodyStructure // the body structure of its summary
)

// fetched is one message on its way to the client.
type fetched struct {
	seq     uint32
	recent  bool
	entry   mailbox.Entry // of which Item alone is there without needEntry
	content mailbox.Content
	message *message.Message
	root    *message.Part
	summary summary
}

func (f *fetching) run(uids []mailbox.UID) error {
	if f.need == 0 && !f.seen {
		items, err := f.itemsOf(uids)
		if err != nil {
			return err
		}
		var m fetched
		for _, it := range items {
			m.entry.Item = it
			f.write(&m, false)
			if f.w.Err() != nil {
				return f.w.Err()
			}
		}
		return nil
	}
	for batch := range slices.Chunk(uids, fetchBatch) {
		entries, err := f.store.Entries(f.ctx, f.selected.folder.ID, batch)
		if err != nil {
			return err
		}
		newly, err := f.markSeen(entries)
		if err != nil {
			return err
		}
		if err := f.locate(entries); err != nil {
			return err
		}
		for i := range entries {
			if err := f.show(entries[i], newly[entries[i].UID]); err != nil {
				return err
			}
		}
		f.remember(rememberMost)
	}
	f.remember(rememberFrom)
	return nil
}

// markSeen sets \Seen where reading does, and returns whose flags changed.
func (f *fetching) markSeen(entries []mailbox.Entry) (map[mailbox.UID]bool, error) {
	if !f.seen {
		return nil, nil
	}
	var uids []mailbox.UID
	for _, e := range entries {
		if e.Flags.System&mailbox.Seen == 0 {
			uids = append(uids, e.UID)
		}
	}
	if len(uids) == 0 {
		return nil, nil
	}
	changed, _, err := f.store.SetFlags(f.ctx, f.selected.folder.ID, uids, mailbox.Add, mailbox.Flags{System: mailbox.Seen}, 0)
	if err != nil {
		return nil, err
	}
	newly := make(map[mailbox.UID]bool, len(changed))
	for _, it := range changed {
		i, found := slices.BinarySearchFunc(entries, it.UID, func(e mailbox.Entry, u mailbox.UID) int { return int(e.UID) - int(u) })
		if found {
			entries[i].Item = it
			newly[it.UID] = true
			f.selected.tell(it)
		}
	}
	return newly, nil
}

// show writes one message. The error is one that ends the command; a message
// that can't be read is left out and noted.
func (f *fetching) show(e mailbox.Entry, newlySeen bool) error {
	if f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	m := &fetched{entry: e}
	defer m.close()
	err := m.load(f)
	if errors.Is(err, mailbox.ErrGone) {
		return nil // removed since its row was read: not shown, like one without a row
	}
	if err != nil {
		f.failed = true
		f.log.Error("imapd: read message", "account", f.account.Name, "folder", f.selected.folder.Name, "uid", e.UID, "err", err)
		return nil
	}
	f.write(m, newlySeen)
	return f.w.Err()
}

// load gets what the items need, so that writing them can't fail half-way.
func (m *fetched) load(f *fetching) (err error) {
	m.summary = parseSummary(m.entry.Summary)
	reads := f.reads(m.summary)
	if reads == 0 {
		return nil
	}
	if m.content, err = f.store.Open(f.ctx, m.entry); err != nil {
		return err
	}
	if reads&(needMessage|needStructure) == 0 {
		return nil
	}
	if m.message, err = message.ParseLimited(m.content, f.server.config.Limits); err != nil {
		return err
	}
	if reads&needStructure != 0 {
		if m.root, err = m.message.Structure(); err != nil {
			return err
		}
	}
	return f.summarise(m)
}

func (m *fetched) close() {
	if m.content != nil {
		m.content.Close()
	}
}

// write writes the FETCH response of one message.
func (f *fetching) write(m *fetched, newlySeen bool) {
	f.shown++
	m.seq = f.selected.view.seq(m.entry.UID)
	m.recent = f.selected.isRecent(m.entry.UID)
	f.w.Raw("* ")
	f.w.Number(uint64(m.seq))
	sep := " FETCH ("
	for i := range f.items {
		it := &f.items[i]
		f.w.Raw(sep)
		it.kind.write(f.w, m, it)
		sep = " "
		newlySeen = newlySeen && it.name != "FLAGS"
	}
	if newlySeen { // RFC 3501, 6.4.5: the new flags should be part of the answer.
		f.w.Raw(" ")
		writeFlagsItem(f.w, m, nil)
	}
	f.w.Raw(")\r\n")
}
