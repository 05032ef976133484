package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"mtad/message"
)

func testRecord(i, size int) Record {
	body := bytes.Repeat([]byte{byte('a' + i%26)}, size)
	return Record{ID: message.ID(i + 1), Kind: 7, Meta: fmt.Appendf(nil, "meta %d", i), Body: message.FromBytes(body)}
}

func readAll(t testing.TB, b message.Bytes) []byte {
	t.Helper()
	out, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// script is what a test does to a journal; it goes on after errors.
type script struct {
	records []Record
	places  map[message.ID]Place // of acknowledged records
	dead    map[message.ID]bool  // Reclaim was told to drop them
}

// sizes cross segment borders, exceed a segment, and exceed what is written
// by one call.
func newScript() *script {
	s := &script{places: map[message.ID]Place{}, dead: map[message.ID]bool{}}
	for i, size := range []int{100, 1500, 0, 2000, 900, 9000, 10, 300 << 10, 3900, 1, 700, 1200} {
		s.records = append(s.records, testRecord(i, size))
	}
	return s
}

func (s *script) run(fs FS) (err error) {
	j, err := Open(fs, Options{SegmentSize: 4096})
	if err != nil {
		return err
	}
	for i, r := range s.records {
		p, aerr := j.Append(context.Background(), r)
		if aerr != nil {
			err = aerr
			continue
		}
		s.places[r.ID] = p
		j.Done(p)
		if i == 8 {
			err = errors.Join(err, s.reclaim(j))
		}
	}
	return errors.Join(err, j.Close())
}

// reclaim drops every second record of the finished segments.
func (s *script) reclaim(j *Journal) (err error) {
	for _, seg := range j.Finished() {
		var live []Place
		var drop []message.ID
		for _, r := range s.records {
			p, ok := s.places[r.ID]
			if !ok || p.Segment != seg.Sequence {
				continue
			}
			if r.ID%2 == 0 {
				drop = append(drop, r.ID)
				continue
			}
			live = append(live, p)
		}
		for _, id := range drop {
			s.dead[id] = true
		}
		err = errors.Join(err, j.Reclaim(context.Background(), seg.Sequence, live, s.move))
	}
	return err
}

func (s *script) move(moves []Move) error {
	for _, m := range moves {
		for id, p := range s.places {
			if p == m.From {
				s.places[id] = m.To
			}
		}
	}
	return nil
}

// check opens what is left and looks for every acknowledged record.
func (s *script) check(t *testing.T, fs FS, label string) {
	t.Helper()
	j, err := Open(fs, Options{SegmentSize: 4096})
	if err != nil {
		t.Fatalf("%s: open: %v", label, err)
	}
	s.checkOpen(t, j, label)
	extra := testRecord(99, 50)
	if _, err := j.Append(context.Background(), extra); err != nil {
		t.Errorf("%s: append afterwards: %v", label, err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("%s: close: %v", label, err)
	}
	if j, err = Open(fs, Options{}); err != nil {
		t.Fatalf("%s: second open: %v", label, err)
	}
	s.checkOpen(t, j, label+", second open")
	j.Close()
}

func (s *script) checkOpen(t *testing.T, j *Journal, label string) {
	t.Helper()
	byID := map[message.ID]Record{100: testRecord(99, 50)}
	for _, r := range s.records {
		byID[r.ID] = r
	}
	seen := map[message.ID]bool{}
	err := j.Replay(context.Background(), Position{}, func(e Entry) error {
		want, ok := byID[e.ID]
		if !ok || !bytes.Equal(e.Meta, want.Meta) || !bytes.Equal(readAll(t, e.Body), readAll(t, want.Body)) {
			t.Errorf("%s: record %v is not what was appended", label, e.ID)
		}
		seen[e.ID] = true
		return nil
	})
	if err != nil {
		t.Errorf("%s: replay: %v", label, err)
	}
	for id, p := range s.places {
		if !seen[id] && !s.dead[id] {
			t.Errorf("%s: acknowledged record %v is gone", label, id)
		}
		if s.dead[id] {
			continue
		}
		c, err := j.Open(p)
		if err != nil {
			t.Errorf("%s: open %v: %v", label, id, err)
			continue
		}
		if c.ID() != id || !bytes.Equal(readAll(t, c), readAll(t, byID[id].Body)) || c.Verify() != nil {
			t.Errorf("%s: %v reads otherwise than written", label, id)
		}
		c.Close()
	}
	if _, err := j.Verify(context.Background(), func(d Damage) { t.Errorf("%s: %v", label, d) }); err != nil {
		t.Errorf("%s: verify: %v", label, err)
	}
}

func countOps(t *testing.T) int {
	t.Helper()
	fs := newSimFS()
	if err := newScript().run(fs); err != nil {
		t.Fatal(err)
	}
	return fs.ops
}

// The power goes at every single operation of a script, and the disk keeps
// more or less of what was not synced.
func TestPowerCutAtEveryOperation(t *testing.T) {
	ops := countOps(t)
	for cut := 1; cut <= ops+1; cut++ {
		fs := newSimFS()
		fs.cutAt = cut
		s := newScript()
		s.run(fs)
		for _, how := range survivals() {
			s.check(t, fs.reboot(how), fmt.Sprintf("cut at %d of %d, %s", cut, ops, how.name))
		}
		if t.Failed() {
			return
		}
	}
}

// A segment that a crash has left has room behind its last record. Where it ends
// stands in the next segment, which may be gone before it.
func TestCrashedSegmentOutlivesTheNext(t *testing.T) {
	ctx, fs := context.Background(), newSimFS()
	j, err := Open(fs, Options{SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	first := mustAppend(t, j, testRecord(0, 1000))
	crashed := fs.reboot(survivals()[2])
	j.Close()
	if j, err = Open(crashed, Options{SegmentSize: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	second := mustAppend(t, j, testRecord(1, 40<<10))
	j.Done(second, mustAppend(t, j, testRecord(2, 40<<10)))
	if err := j.Reclaim(ctx, second.Segment, nil, func([]Move) error { return nil }); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if j, err = Open(crashed, Options{}); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	whole, err := j.Verify(ctx, func(d Damage) { t.Error(d) })
	if err != nil || whole != 2 {
		t.Errorf("%d records, %v; want 2", whole, err)
	}
	if c, err := j.Open(first); err != nil || c.ID() != 1 {
		t.Errorf("the record before the crash: %v", err)
	}
}

// Every sync fails once. Its record must not be acknowledged, nor come back
// once another was acknowledged; all others must survive.
func TestEverySyncFails(t *testing.T) {
	for at := 1; ; at++ {
		fs := newSimFS()
		fs.failSync = at
		s := newScript()
		err := s.run(fs)
		if fs.syncs < at {
			return // there are no more
		}
		if err == nil {
			t.Errorf("sync %d failed and nobody was told", at)
		}
		for _, how := range survivals() {
			label := fmt.Sprintf("sync %d failed, %s", at, how.name)
			after := fs.reboot(how)
			s.check(t, after, label)
			s.refusedStayAway(t, after, label)
		}
		if t.Failed() {
			return
		}
	}
}

func (s *script) refusedStayAway(t *testing.T, fs FS, label string) {
	t.Helper()
	j, err := Open(fs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	last := s.records[len(s.records)-1].ID
	if _, ok := s.places[last]; !ok {
		return
	}
	j.Replay(context.Background(), Position{}, func(e Entry) error {
		if _, ok := s.places[e.ID]; !ok && e.ID != 100 && !e.Copy {
			t.Errorf("%s: refused record %v came back", label, e.ID)
		}
		return nil
	})
}
