package imapd

import (
	"strings"

	"mtad/imapd/wire"
)

// fetchKind is one row of the table of FETCH items.
type fetchKind struct {
	need  need
	seen  bool                                     // reading it makes \Seen
	read  func(*wire.Reader, *fetchItem)           // what follows the name; nil if nothing does
	write func(*wire.Writer, *fetched, *fetchItem) // name and value; what need says is at hand
}

// fetchItem is one item of a FETCH command.
type fetchItem struct {
	name    string // as the answer has it
	kind    *fetchKind
	section section
}

// fetchKinds is every item (RFC 3501, 6.4.5). A name with "[" takes a section.
var fetchKinds = map[string]*fetchKind{
	"UID":           {write: writeUID},
	"FLAGS":         {write: writeFlagsItem},
	"INTERNALDATE":  {need: needEntry, write: writeInternalDate},
	"RFC822.SIZE":   {need: needEntry, write: writeSize},
	"ENVELOPE":      {need: needEntry | needEnvelope, write: writeEnvelopeItem},
	"BODY":          {need: needEntry | needStructure, write: writeBody},
	"BODYSTRUCTURE": {need: needEntry | needBodyStructure, write: writeBodyStructure},
	"BODY[":         {need: needEntry | needContent, seen: true, read: readSection, write: writeSection},
	"BODY.PEEK[":    {need: needEntry | needContent, read: readSection, write: writeSection},
	"RFC822":        {need: needEntry | needContent, seen: true, write: writeSection},
	"RFC822.HEADER": {need: needEntry | needContent, read: presetSection("HEADER"), write: writeSection},
	"RFC822.TEXT":   {need: needEntry | needContent, seen: true, read: presetSection("TEXT"), write: writeSection},
}

// fetchMacros stand alone for several items (RFC 3501, 6.4.5).
var fetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// maxFetchItems bounds how many items one FETCH may name.
const maxFetchItems = 500

// readFetchItems reads a macro, one item, or a list of items.
func (s *session) readFetchItems() []fetchItem {
	var items []fetchItem
	if s.r.Peek('(') {
		s.r.List(func() {
			if len(items) == maxFetchItems {
				s.r.Fail("Too many items")
				return
			}
			items = append(items, readFetchItem(s.r, s.r.Word()))
		})
		if len(items) == 0 {
			s.r.Fail("expected an item")
		}
		return items
	}
	name := s.r.Word()
	for _, member := range fetchMacros[name] {
		items = append(items, fetchItem{name: member, kind: fetchKinds[member]})
	}
	if items == nil {
		items = append(items, readFetchItem(s.r, name))
	}
	return items
}

func readFetchItem(r *wire.Reader, name string) fetchItem {
	if strings.HasPrefix(name, "BODY") && r.Peek('[') {
		name += "["
	}
	it := fetchItem{name: strings.TrimSuffix(name, "["), kind: fetchKinds[name]}
	if it.kind == nil {
		r.Fail("Unknown item")
		return it
	}
	if it.kind.read != nil {
		it.kind.read(r, &it)
	}
	return it
}

func writeUID(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("UID ")
	w.Number(uint64(m.entry.UID))
}

func writeFlagsItem(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("FLAGS ")
	writeMessageFlags(w, m.entry.Flags, m.recent)
}

func writeInternalDate(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("INTERNALDATE ")
	w.DateTime(m.entry.Date)
}

func writeSize(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("RFC822.SIZE ")
	w.Number(uint64(m.entry.Size))
}

func writeEnvelopeItem(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("ENVELOPE ")
	_, _ = w.Write(m.summary.envelope) // the error sticks
}

func writeBody(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("BODY ")
	writeStructure(w, m.root, false)
}

func writeBodyStructure(w *wire.Writer, m *fetched, _ *fetchItem) {
	w.Raw("BODYSTRUCTURE ")
	_, _ = w.Write(m.summary.structure) // the error sticks
}
