package imapd

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"mtad/imapd/wire"
	"mtad/mailbox"
	"mtad/message"
)

// criterion is a compiled SEARCH key: what it needs of a message, and whether a
// message meets it.
type criterion struct {
	need  need
	match func(*candidate) bool
}

// candidate is a message that is being searched. What a criterion needs is
// loaded when it is first asked for.
type candidate struct {
	*searching
	fetched
	err error // of reading; the message then matches nothing
}

// searching is a SEARCH that runs.
type searching struct {
	*session
	buf   []byte    // for text
	heard time.Time // when the client was last told anything
}

// hearEvery is how often a client that waits for a SEARCH is told that it goes
// on, which also finds out that a client has left.
const hearEvery = 10 * time.Second

func (q *searching) goesOn() error {
	now := q.server.config.Now()
	if now.Sub(q.heard) < hearEvery {
		return nil
	}
	q.heard = now
	q.w.Raw("* OK Still searching\r\n")
	return q.w.Flush()
}

// search is SEARCH and UID SEARCH (RFC 3501, 6.4.4).
func (s *session) search(by numbering) (reply, error) {
	s.r.SP()
	p := &searchParser{session: s, keys: searchKeys}
	program, returns := p.parse()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if p.charset != "" && !strings.EqualFold(p.charset, "US-ASCII") && !strings.EqualFold(p.charset, "UTF-8") {
		return no("BADCHARSET (US-ASCII UTF-8)", "Character set is not supported"), nil
	}
	found, err := (&searching{session: s, heard: s.server.config.Now()}).run(program)
	if err != nil {
		return reply{}, err
	}
	numbers := make([]uint32, len(found))
	for i, uid := range found {
		if numbers[i] = uint32(uid); !by {
			numbers[i] = s.selected.view.seq(uid)
		}
	}
	if returns == nil {
		s.writeSearch(numbers)
	} else {
		s.writeESearch(numbers, by, returns)
	}
	return ok("SEARCH completed"), nil
}

// run returns the messages that meet every criterion, ascending by UID. What
// flags and numbers can decide is decided first, without a look at any row.
func (q *searching) run(program []criterion) ([]mailbox.UID, error) {
	items, _, err := q.store.Snapshot(q.ctx, q.selected.folder.ID)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(program, func(a, b criterion) int { return cmp.Compare(a.need, b.need) })
	cheap := 0
	for cheap < len(program) && program[cheap].need == 0 {
		cheap++
	}
	var uids []mailbox.UID
	for _, it := range items {
		c := q.candidate(mailbox.Entry{Item: it})
		if c.seq != 0 && c.meets(program[:cheap]) {
			uids = append(uids, it.UID)
		}
	}
	if cheap == len(program) {
		return uids, nil
	}
	return q.look(uids, program[cheap:])
}

func (q *searching) candidate(e mailbox.Entry) *candidate {
	sel := q.selected
	return &candidate{searching: q, fetched: fetched{
		seq: sel.view.seq(e.UID), recent: sel.isRecent(e.UID), entry: e,
	}}
}

// look applies criteria that need more than flags.
func (q *searching) look(uids []mailbox.UID, program []criterion) ([]mailbox.UID, error) {
	var found []mailbox.UID
	for batch := range slices.Chunk(uids, fetchBatch) {
		entries, err := q.store.Entries(q.ctx, q.selected.folder.ID, batch)
		if err != nil {
			return nil, err
		}
		if program[len(program)-1].need >= needContent { // the last one needs most
			if err := q.store.Locate(q.ctx, entries); err != nil {
				return nil, err
			}
		}
		for _, e := range entries {
			if q.ctx.Err() != nil {
				return nil, q.ctx.Err()
			}
			if err := q.goesOn(); err != nil {
				return nil, err
			}
			c := q.candidate(e)
			if c.meets(program) && c.err == nil {
				found = append(found, e.UID)
			}
			if c.err != nil && !errors.Is(c.err, mailbox.ErrGone) {
				q.log.Error("imapd: search message", "account", q.account.Name, "uid", e.UID, "err", c.err)
			}
			c.close()
		}
	}
	return found, nil
}

func (c *candidate) meets(program []criterion) bool {
	for _, k := range program {
		if !k.match(c) {
			return false
		}
	}
	return true
}

// header returns the message's header, or an empty one if it can't be read.
func (c *candidate) header() *message.Header {
	if c.message == nil && c.err == nil {
		if c.content, c.err = c.store.Open(c.ctx, c.entry); c.err == nil {
			c.message, c.err = message.ParseLimited(c.content, c.server.config.Limits)
		}
	}
	if c.err != nil {
		return &message.Header{}
	}
	return c.message.Header()
}

// structure returns the MIME tree, or nil if it can't be read.
func (c *candidate) structure() *message.Part {
	c.header()
	if c.root == nil && c.err == nil {
		c.root, c.err = c.message.Structure()
	}
	return c.root
}

func (s *session) writeSearch(numbers []uint32) {
	s.w.Raw("* SEARCH")
	for _, n := range numbers {
		s.w.SP()
		s.w.Number(uint64(n))
	}
	s.w.CRLF()
}

// searchReturns are the result options of RFC 4731, 3.1. They write nothing
// where nothing was found, COUNT apart.
var searchReturns = map[string]func(w *wire.Writer, numbers []uint32){
	"MIN": func(w *wire.Writer, numbers []uint32) {
		if len(numbers) > 0 {
			w.Raw(" MIN ")
			w.Number(uint64(numbers[0]))
		}
	},
	"MAX": func(w *wire.Writer, numbers []uint32) {
		if n := len(numbers); n > 0 {
			w.Raw(" MAX ")
			w.Number(uint64(numbers[n-1]))
		}
	},
	"COUNT": func(w *wire.Writer, numbers []uint32) {
		w.Raw(" COUNT ")
		w.Number(uint64(len(numbers)))
	},
	"ALL": func(w *wire.Writer, numbers []uint32) {
		if len(numbers) > 0 {
			w.Raw(" ALL ")
			w.Raw(string(wire.AppendSet(nil, numbers)))
		}
	},
}

func (s *session) writeESearch(numbers []uint32, by numbering, returns []string) {
	s.w.Raw("* ESEARCH (TAG ")
	s.w.String(s.tag)
	s.w.Byte(')')
	if by {
		s.w.Raw(" UID")
	}
	for _, name := range returns {
		searchReturns[name](s.w, numbers)
	}
	s.w.CRLF()
}
