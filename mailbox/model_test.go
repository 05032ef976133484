package mailbox

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"mtad/store"
)

// model is what a Store should be, kept in memory in the simplest way.
type model struct {
	folders map[string]*modelFolder
	used    map[uint32]bool // UIDVALIDITYs
}

type modelFolder struct {
	id       FolderID
	next     UID
	messages []modelMessage
	// What a session saw last, to check Changes.
	seen    map[UID]Flags
	seenMod ModSeq
}

type modelMessage struct {
	uid   UID
	flags Flags
	text  string
}

func (f *modelFolder) uids() []UID {
	out := make([]UID, len(f.messages))
	for i, m := range f.messages {
		out[i] = m.uid
	}
	return out
}

func (f *modelFolder) add(flags Flags, text string) UID {
	f.messages = append(f.messages, modelMessage{f.next, flags, text})
	f.next++
	return f.next - 1
}

func (f *modelFolder) drop(which func(modelMessage) bool) {
	f.messages = slices.DeleteFunc(f.messages, which)
}

// player makes random operations on a Store and its model.
type player struct {
	t   *testing.T
	r   *rand.Rand
	dir string
	s   *Store
	db  *store.DB
	m   model
	n   int
}

func (p *player) name() string {
	all := []string{"INBOX", "a", "a/b", "a/b/c", "d", "ö"}
	return all[p.r.IntN(len(all))]
}

func (p *player) flags() Flags {
	f := Flags{System: SystemFlags(p.r.UintN(32))}
	for _, k := range []string{"$Junk", "work", "x"} {
		if p.r.IntN(4) == 0 {
			f.Keywords = append(f.Keywords, k)
		}
	}
	return f
}

// some picks UIDs, now and then one that is not there.
func (p *player) some(f *modelFolder) []UID {
	var out []UID
	for _, u := range f.uids() {
		if p.r.IntN(3) == 0 {
			out = append(out, u)
		}
	}
	if p.r.IntN(5) == 0 {
		out = append(out, UID(p.r.IntN(1000)))
	}
	p.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (p *player) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) create() {
	name := p.name()
	f, err := p.s.Create(bg(), alice, name, "")
	if p.m.folders[name] != nil {
		if err == nil {
			p.t.Fatalf("created %s twice", name)
		}
		return
	}
	p.must(err)
	if p.m.used[f.UIDValidity] {
		p.t.Fatalf("UIDVALIDITY %d again", f.UIDValidity)
	}
	for _, n := range append(parents(name), name) {
		if p.m.folders[n] == nil {
			got, err := p.s.Folder(bg(), alice, n)
			p.must(err)
			p.m.used[got.UIDValidity] = true
			p.m.folders[n] = &modelFolder{id: got.ID, next: 1, seen: map[UID]Flags{}}
		}
	}
}

func (p *player) remove() {
	name := p.name()
	err := p.s.Delete(bg(), alice, name)
	if (err == nil) != (p.m.folders[name] != nil && name != Inbox) {
		p.t.Fatalf("delete %s: %v", name, err)
	}
	if err == nil {
		delete(p.m.folders, name)
	}
}

func (p *player) append() {
	f := p.m.folders[p.name()]
	if f == nil {
		return
	}
	p.n++
	text, flags := fmt.Sprintf("message %d\r\n", p.n), p.flags()
	if got, want := appendText(p.t, p.s, f.id, text, flags), f.add(flags, text); got != want {
		p.t.Fatalf("UID %d, want %d", got, want)
	}
}

func (p *player) setFlags() {
	f := p.m.folders[p.name()]
	if f == nil {
		return
	}
	uids, flags, op := p.some(f), p.flags(), FlagOp(p.r.IntN(3))
	changed, _, err := p.s.SetFlags(bg(), f.id, uids, op, flags, 0)
	p.must(err)
	n := 0
	for i := range f.messages {
		if m := &f.messages[i]; slices.Contains(uids, m.uid) {
			m.flags = op.apply(m.flags, flags)
			if changed[n].UID != m.uid || !changed[n].Flags.equal(m.flags) {
				p.t.Fatalf("changed %+v, want %+v", changed[n], m)
			}
			n++
		}
	}
	if n != len(changed) {
		p.t.Fatalf("%d changed, want %d", len(changed), n)
	}
}

func (p *player) expunge() {
	f := p.m.folders[p.name()]
	if f == nil {
		return
	}
	uids := p.some(f)
	if p.r.IntN(2) == 0 {
		uids = nil
	}
	var want []UID
	f.drop(func(m modelMessage) bool {
		hit := m.flags.System.Has(Deleted) && (uids == nil || slices.Contains(uids, m.uid))
		if hit {
			want = append(want, m.uid)
		}
		return hit
	})
	got, err := p.s.Expunge(bg(), f.id, uids)
	p.must(err)
	if !slices.Equal(got, want) {
		p.t.Fatalf("expunged %v, want %v", got, want)
	}
}

func (p *player) copyOrMove() {
	f, to := p.m.folders[p.name()], p.m.folders[p.name()]
	if f == nil || to == nil {
		return
	}
	uids, move := p.some(f), p.r.IntN(2) == 0
	var want []UIDPair
	for _, m := range slices.Clone(f.messages) {
		if slices.Contains(uids, m.uid) {
			want = append(want, UIDPair{m.uid, to.add(m.flags, m.text)})
		}
	}
	do := p.s.Copy
	if move {
		do = p.s.Move
		f.drop(func(m modelMessage) bool {
			return slices.ContainsFunc(want, func(w UIDPair) bool { return w.Source == m.uid })
		})
	}
	got, err := do(bg(), f.id, to.id, uids)
	p.must(err)
	if !slices.Equal(got, want) {
		p.t.Fatalf("copied %v, want %v", got, want)
	}
}

func (p *player) rename() {
	from, to := p.name(), p.name()
	err := p.s.Rename(bg(), alice, from, to)
	src := p.m.folders[from]
	if err != nil {
		below := len(to) > len(from) && to[:len(from)+1] == from+"/" && from != Inbox
		if src != nil && p.m.folders[to] == nil && !below && !p.childTaken(from, to) {
			p.t.Fatalf("rename %s to %s: %v", from, to, err)
		}
		return
	}
	if src == nil || p.m.folders[to] != nil {
		p.t.Fatalf("renamed %s to %s", from, to)
	}
	moved := map[string]*modelFolder{}
	for name, f := range p.m.folders {
		if from != Inbox && (name == from || len(name) > len(from) && name[:len(from)+1] == from+"/") {
			moved[to+name[len(from):]] = f
			delete(p.m.folders, name)
		}
	}
	for name, f := range moved {
		p.m.folders[name] = f
	}
	p.adopt(append(parents(to), to))
	if from == Inbox {
		for _, m := range src.messages {
			p.m.folders[to].add(m.flags, m.text)
		}
		src.messages = nil
	}
}

// childTaken says that a folder below the new name stands in the way.
func (p *player) childTaken(from, to string) bool {
	for name := range p.m.folders {
		if len(name) > len(from) && name[:len(from)+1] == from+"/" && p.m.folders[to+name[len(from):]] != nil {
			return true
		}
	}
	return false
}

// adopt takes folders that an operation made on its way into the model.
func (p *player) adopt(names []string) {
	for _, n := range names {
		if p.m.folders[n] == nil {
			got, err := p.s.Folder(bg(), alice, n)
			p.must(err)
			p.m.used[got.UIDValidity] = true
			p.m.folders[n] = &modelFolder{id: got.ID, next: 1, seen: map[UID]Flags{}}
		}
	}
}

func (p *player) reopen() {
	p.must(p.db.Close())
	p.s, p.db = openStore(p.t, p.dir)
	_, err := p.db.Reclaim(bg())
	p.must(err)
}

// check compares everything.
func (p *player) check() {
	list, err := p.s.Folders(bg(), alice)
	p.must(err)
	if len(list) != len(p.m.folders) {
		p.t.Fatalf("folders %v, want %d", list, len(p.m.folders))
	}
	for _, got := range list {
		f := p.m.folders[got.Name]
		if f == nil || f.id != got.ID || f.next != got.UIDNext {
			p.t.Fatalf("%+v, want %+v", got, f)
		}
		p.checkStatus(f)
		p.checkMessages(f)
		p.checkChanges(f)
	}
}

func (p *player) checkStatus(f *modelFolder) {
	st, err := p.s.Status(bg(), f.id)
	p.must(err)
	var want counts
	for _, m := range f.messages {
		want.add(m.flags.System, int64(len(m.text)), 1)
	}
	if got := (counts{int64(st.Messages), int64(st.Unseen), int64(st.Deleted), st.Size}); got != want {
		p.t.Fatalf("counters %+v, want %+v", got, want)
	}
}

func (p *player) checkMessages(f *modelFolder) {
	items, _, err := p.s.Snapshot(bg(), f.id)
	p.must(err)
	entries, err := p.s.Entries(bg(), f.id, f.uids())
	p.must(err)
	if len(items) != len(f.messages) || len(entries) != len(items) {
		p.t.Fatalf("%d items, %d entries, want %d", len(items), len(entries), len(f.messages))
	}
	for i, m := range f.messages {
		if items[i].UID != m.uid || !items[i].Flags.equal(m.flags) || !reflect.DeepEqual(entries[i].Item, items[i]) || text(p.t, p.s, entries[i]) != m.text {
			p.t.Fatalf("%+v, %+v, want %+v", items[i], entries[i], m)
		}
	}
}

// checkChanges follows a folder by Changes alone, as a session does.
func (p *player) checkChanges(f *modelFolder) {
	changed, vanished, now, err := p.s.Changes(bg(), f.id, f.seenMod)
	p.must(err)
	for _, it := range changed {
		f.seen[it.UID] = it.Flags
	}
	for _, u := range vanished {
		delete(f.seen, u)
	}
	if now < f.seenMod || len(f.seen) != len(f.messages) {
		p.t.Fatalf("changes lead to %d messages at %d, want %d", len(f.seen), now, len(f.messages))
	}
	for _, m := range f.messages {
		if !f.seen[m.uid].equal(m.flags) {
			p.t.Fatalf("changes lead to %+v, want %+v", f.seen[m.uid], m)
		}
	}
	f.seenMod = now
}

func TestRandomOperations(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := &player{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), m: model{map[string]*modelFolder{}, map[uint32]bool{}}}
			p.s, p.db = openStore(t, p.dir)
			steps := []func(){p.append, p.append, p.append, p.setFlags, p.setFlags, p.expunge, p.copyOrMove, p.create, p.create, p.remove, p.rename}
			for i := range 400 {
				steps[p.r.IntN(len(steps))]()
				if i%100 == 99 {
					p.reopen()
				}
				if i%5 == 4 {
					p.check()
				}
			}
		})
	}
}
