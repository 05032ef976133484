package imapd

import (
	"slices"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// view is which messages a client knows of: sequence number n is the nth UID.
// It is kept as runs of neighbouring UIDs, so that a large folder costs little.
type view struct {
	runs []run
}

type run struct {
	uid uint32 // of the first message
	seq uint32 // of the first message
	n   uint32
}

// count is how many messages the client knows of.
func (v *view) count() uint32 {
	if len(v.runs) == 0 {
		return 0
	}
	last := v.runs[len(v.runs)-1]
	return last.seq + last.n - 1
}

// last is the highest UID, or 0.
func (v *view) last() mailbox.UID {
	if len(v.runs) == 0 {
		return 0
	}
	r := v.runs[len(v.runs)-1]
	return mailbox.UID(r.uid + r.n - 1)
}

// append adds a message. UIDs come ascending.
func (v *view) append(uid mailbox.UID) {
	if k := len(v.runs); k > 0 && v.runs[k-1].uid+v.runs[k-1].n == uint32(uid) {
		v.runs[k-1].n++
		return
	}
	v.runs = append(v.runs, run{uid: uint32(uid), seq: v.count() + 1, n: 1})
}

// seq returns the sequence number of a message, or 0 if the client does not
// know it.
func (v *view) seq(uid mailbox.UID) uint32 {
	i, found := slices.BinarySearchFunc(v.runs, uint32(uid), func(r run, uid uint32) int {
		switch {
		case uid < r.uid:
			return 1
		case uid-r.uid >= r.n:
			return -1
		}
		return 0
	})
	if !found {
		return 0
	}
	return v.runs[i].seq + uint32(uid) - v.runs[i].uid
}

// bySet returns the UIDs, ascending, of the messages in a resolved set of UIDs
// or of sequence numbers.
func (v *view) bySet(set wire.Set, by numbering) []mailbox.UID {
	var out []mailbox.UID
	i := 0
	for _, r := range v.runs {
		first := r.seq
		if by {
			first = r.uid
		}
		last := first + (r.n - 1)
		for i < len(set) && set[i].To < first {
			i++
		}
		for j := i; j < len(set) && set[j].From <= last; j++ {
			from, to := max(set[j].From, first), min(set[j].To, last)
			out = slices.Grow(out, int(to-from)+1)
			for n := from; ; n++ {
				out = append(out, mailbox.UID(r.uid+(n-first)))
				if n == to {
					break
				}
			}
		}
	}
	return out
}

// remove takes messages away, given by ascending UIDs, and returns their
// sequence numbers as a client must hear them one after the other: each counts
// without those before it (RFC 3501, 7.4.1).
func (v *view) remove(uids []mailbox.UID) []uint32 {
	var gone []uint32
	var kept view
	for _, r := range v.runs {
		for len(uids) > 0 && uint32(uids[0]) < r.uid {
			uids = uids[1:]
		}
		for r.n > 0 {
			if len(uids) == 0 || uint32(uids[0])-r.uid >= r.n {
				kept.add(r)
				break
			}
			before := uint32(uids[0]) - r.uid
			kept.add(run{uid: r.uid, n: before})
			gone = append(gone, r.seq+before-uint32(len(gone)))
			r = run{uid: r.uid + before + 1, seq: r.seq + before + 1, n: r.n - before - 1}
			uids = uids[1:]
		}
	}
	v.runs = slices.Clip(kept.runs)
	return gone
}

// add appends a run that lies above all others.
func (v *view) add(r run) {
	if r.n == 0 {
		return
	}
	r.seq = v.count() + 1
	if k := len(v.runs); k > 0 && v.runs[k-1].uid+v.runs[k-1].n == r.uid {
		v.runs[k-1].n += r.n
		return
	}
	v.runs = append(v.runs, r)
}
