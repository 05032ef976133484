package imapd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// summary is what clients ask of every message when they open a folder, as it
// is written to them. It is made when it is first asked for, and kept beside the message's
// row. What is nil is not known yet.
type summary struct{ envelope, structure []byte }

// summaryVersion leads the stored form. One that means something else, after a
// change of what is written, gets another number; those of other versions
// are made anew.
const summaryVersion = 1

// parseSummary reads what encode wrote; anything else is an unknown summary.
func parseSummary(b []byte) (s summary) {
	if len(b) == 0 || b[0] != summaryVersion {
		return summary{}
	}
	size, n := binary.Uvarint(b[1:])
	rest := b[1+max(n, 0):]
	if n <= 0 || size > uint64(len(rest)) {
		return summary{}
	}
	if size > 0 {
		s.envelope = rest[:size]
	}
	if rest = rest[size:]; len(rest) > 0 {
		s.structure = rest
	}
	return s
}

// encode is the form to be stored; what is too long for it is left out, nil if
// nothing is left.
func (s summary) encode() []byte {
	if len(s.envelope)+len(s.structure)+binary.MaxVarintLen32 > mailbox.MaxSummary {
		s.structure = nil
	}
	if len(s.envelope)+binary.MaxVarintLen32 > mailbox.MaxSummary {
		return nil
	}
	b := binary.AppendUvarint([]byte{summaryVersion}, uint64(len(s.envelope)))
	return append(append(b, s.envelope...), s.structure...)
}

// reads is what must be read of a message beside its row.
func (f *fetching) reads(s summary) need {
	n := f.need
	if n&needEnvelope != 0 && s.envelope == nil {
		n |= needMessage
	}
	if n&needBodyStructure != 0 && s.structure == nil {
		n |= needStructure
	}
	return n & (needContent | needMessage | needStructure)
}

// locate has the octets of those messages found that will be opened.
func (f *fetching) locate(entries []mailbox.Entry) error {
	opens := func(e mailbox.Entry) bool { return f.reads(parseSummary(e.Summary)) != 0 }
	if len(entries) > 1 && slices.ContainsFunc(entries, opens) {
		return f.store.Locate(f.ctx, entries)
	}
	return nil
}

// summarise makes what the summary lacks of what is asked for.
func (f *fetching) summarise(m *fetched) error {
	lacked := false
	render := func(part *[]byte, n need, write func(*wire.Writer)) error {
		if f.need&n == 0 || *part != nil {
			return nil
		}
		lacked = true
		var b bytes.Buffer
		w := wire.NewWriter(&b, &f.server.buffers)
		write(w)
		err := w.Flush()
		*part = b.Bytes()
		return err
	}
	err := errors.Join(
		render(&m.summary.envelope, needEnvelope, func(w *wire.Writer) { writeEnvelope(w, m.message.Header()) }),
		render(&m.summary.structure, needBodyStructure, func(w *wire.Writer) { writeStructure(w, m.root, true) }),
	)
	if b := m.summary.encode(); lacked && b != nil && !bytes.Equal(b, m.entry.Summary) {
		f.made = append(f.made, mailbox.Summary{UID: m.entry.UID, Octets: b})
	}
	return err
}

// Summaries are stored many at a time: making a few again costs less than a
// transaction.
const (
	rememberFrom = 50
	rememberMost = 1000
)

// remember stores the summaries made, if there are at least so many.
func (f *fetching) remember(least int) {
	if len(f.made) < least {
		return
	}
	if err := f.store.Remember(f.ctx, f.selected.folder.ID, f.made); err != nil {
		// They will be made again, no more.
		f.log.Warn("imapd: keep summaries", "account", f.account.Name, "err", err)
	}
	f.made = f.made[:0]
}
