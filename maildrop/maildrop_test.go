package maildrop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"mtad/message"
)

func record(t testing.TB, e Envelope, body string) []byte {
	t.Helper()
	if e.Key == "" {
		e.Key = NewKey()
	}
	var b bytes.Buffer
	if err := Write(&b, e, message.FromBytes([]byte(body))); err != nil {
		t.Fatal(err)
	}
	if n, err := Size(e, message.FromBytes([]byte(body))); err != nil || n != int64(b.Len()) {
		t.Errorf("size %d, it has %d", n, b.Len())
	}
	return b.Bytes()
}

func TestRecord(t *testing.T) {
	e := Envelope{Key: NewKey(), Sender: "a@b", Rcpts: []string{"c@d", "e"}, Name: "A B", Notify: []string{"NEVER"}}
	for body, want := range map[string]string{
		"": "", "a": "a\r\n", "a\n": "a\r\n", "a\r\nb\r": "a\r\nb\r\n", "a\rb\x00\n": "a b \r\n", "\r\r\n\n": " \r\n\r\n", "\r": "\r\n",
	} {
		spool := &message.Spool{}
		got, err := Read(bytes.NewReader(record(t, e, body)), spool)
		octets, _ := message.ReadAll(spool.Bytes())
		if err != nil || !reflect.DeepEqual(got, e) || string(octets) != want {
			t.Errorf("%q: %q %+v %v", body, octets, got, err)
		}
	}
}

// No octet can be missing, be there twice, or be another.
func TestDamagedRecord(t *testing.T) {
	good := record(t, Envelope{Rcpts: []string{"a@b"}}, "Subject: x\n\nbody\n")
	read := func(b []byte) error {
		_, err := Read(bytes.NewReader(b), &message.Spool{Limit: 1000})
		return err
	}
	for n := range good {
		if err := read(good[:n]); !errors.Is(err, ErrRecord) {
			t.Errorf("%d octets: %v", n, err)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if err := read(bad); !errors.Is(err, ErrRecord) && !errors.Is(err, message.ErrTooLarge) {
			t.Errorf("octet %d changed: %v", n, err)
		}
	}
	if err := read(append(bytes.Clone(good), 'x')); !errors.Is(err, ErrRecord) {
		t.Errorf("more behind it: %v", err)
	}
	if err := read(record(t, Envelope{Key: "../../etc/passwd"}, "")); !errors.Is(err, ErrRecord) {
		t.Errorf("a key of somebody's own: %v", err)
	}
	for _, head := range []string{"mtad-mail-1 -1 0\n", "mtad-mail-1 99999999999 0\n", "mtad-mail-1 2 99999999999999\n{}", strings.Repeat("x", 1<<17), "mtad-mail-1 0\n"} {
		if err := read([]byte(head)); !errors.Is(err, ErrRecord) {
			t.Errorf("%.30q: %v", head, err)
		}
	}
}

// taker is a scanner and what it took.
type taker struct {
	Scanner
	got []string
	err error // of Take
}

func scanner(t *testing.T) *taker {
	t.Helper()
	s := &taker{Scanner: Scanner{
		Dir: filepath.Join(t.TempDir(), "drop"), SpoolDir: t.TempDir(), MaxSize: func() int64 { return 1000 },
		Again: func(error) bool { return true }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	if err := Make(s.Dir, os.Geteuid(), os.Getegid()); err != nil {
		t.Fatal(err)
	}
	s.Take = func(_ context.Context, uid uint32, e Envelope, body message.Bytes) error {
		if s.err == nil {
			s.got = append(s.got, fmt.Sprintf("%d %s %d", uid, e.Rcpts, body.Size()))
		}
		return s.err
	}
	return s
}

func (s *taker) round(t *testing.T) (more bool) {
	t.Helper()
	more, err := s.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return more
}

// due is when all that waits has waited.
func (s *taker) due() {
	for _, l := range s.seen {
		l.until = time.Time{}
	}
}

func (s *taker) names(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(s.Dir, dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(list)
}

func TestPutAndTake(t *testing.T) {
	s := scanner(t)
	st, err := os.Stat(s.Dir)
	if err != nil || st.Mode().String() != "dgtrwx-wx-wx" {
		t.Errorf("%v %v", st.Mode(), err)
	}
	old := syscall.Umask(0o077)
	err = Put(s.Dir, Envelope{Key: NewKey(), Rcpts: []string{"a"}}, message.FromBytes([]byte("x\n")))
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	s.err = errors.New("not now")
	s.round(t)
	s.round(t)
	if len(s.got) > 0 || s.names(t, ".") != 1 {
		t.Errorf("%v", s.got)
	}
	s.err = nil
	s.due()
	s.round(t)
	s.round(t)
	if want := fmt.Sprint("[", os.Getuid(), " [a] 3]"); fmt.Sprint(s.got) != want || s.names(t, ".") != 0 {
		t.Errorf("%v, want %v", s.got, want)
	}
	if err := Put(s.Dir+"/none", Envelope{}, message.FromBytes(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestHostileFiles(t *testing.T) {
	s := scanner(t)
	in := func(name string) string { return filepath.Join(s.Dir, name) }
	good := record(t, Envelope{Rcpts: []string{"a"}}, "x\n")
	outside := filepath.Join(t.TempDir(), "outside")
	write := func(path string, b []byte, mode os.FileMode) error {
		return errors.Join(os.WriteFile(path, b, mode), os.Chmod(path, mode))
	}
	for _, err := range []error{
		write(outside, good, 0o640),
		os.Symlink(outside, in("link.mail")),
		os.Link(outside, in("hard.mail")),
		syscall.Mkfifo(in("fifo.mail"), 0o640),
		os.Mkdir(in("dir.mail"), 0o700),
		syscall.Mknod(in("socket.mail"), syscall.S_IFSOCK|0o640, 0),
		write(in("open.mail"), good, 0o666),
		write(in("setuid.mail"), good, 0o4640|os.ModeSetuid),
		write(in("cut.mail"), good[:len(good)-5], 0o640),
		write(in("empty.mail"), nil, 0o640),
		write(in("big.mail"), record(t, Envelope{Rcpts: []string{"a"}}, strings.Repeat("x", 2000)), 0o640),
		write(in("odd name\n"), good, 0o640),
		write(in(".beginning"), good[:5], 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(in("huge.mail"), os.O_CREATE|os.O_WRONLY, 0o640)
	if err = errors.Join(err, f.Truncate(1<<40), f.Close()); err != nil {
		t.Fatal(err)
	}
	var told []string
	s.Refused = func(_ context.Context, uid uint32, why error) error {
		told = append(told, fmt.Sprint(uid, why))
		return nil
	}
	s.round(t)
	s.due()
	s.round(t)
	if len(s.got) > 0 {
		t.Errorf("believed: %v", s.got)
	}
	if len(told) != 4 { // cut, empty, big, huge: those that may be a program's
		t.Errorf("told: %q", told)
	}
	if n := s.names(t, badDir); n != 12 {
		t.Errorf("%d files were moved aside", n)
	}
	if _, err := os.Stat(in(".beginning")); err != nil {
		t.Error("a file that is being written is gone:", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

// What is moved aside is bounded, and so is what somebody else made of its place.
func TestBadIsBounded(t *testing.T) {
	s := scanner(t)
	for i := range maxBad + 50 {
		if err := os.WriteFile(filepath.Join(s.Dir, fmt.Sprint(i, suffix)), nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	s.round(t)
	if n := s.names(t, badDir); n != maxBad || s.names(t, ".") != 1 {
		t.Errorf("%d bad, %d left", n, s.names(t, "."))
	}
	other := scanner(t)
	elsewhere := t.TempDir()
	if err := errors.Join(os.Symlink(elsewhere, filepath.Join(other.Dir, badDir)), os.WriteFile(filepath.Join(other.Dir, "x.mail"), nil, 0o640)); err != nil {
		t.Fatal(err)
	}
	other.round(t)
	if list, _ := os.ReadDir(elsewhere); len(list) > 0 {
		t.Error("a link was followed")
	}
}

// A user with many files does not keep others waiting.
func TestFair(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: files of several users")
	}
	s := scanner(t)
	good := record(t, Envelope{Rcpts: []string{"a"}}, "x\n")
	put := func(name string, uid int) {
		path := filepath.Join(s.Dir, name+suffix)
		if err := errors.Join(os.WriteFile(path, good, 0o640), os.Chown(path, uid, 0)); err != nil {
			t.Fatal(err)
		}
	}
	const many = 10000
	for i := range many {
		put(fmt.Sprint("a", i), 1001)
	}
	put("z", 1002)
	if more := s.round(t); !more || len(s.got) != maxMails {
		t.Errorf("%d taken", len(s.got))
	}
	if s.got[1] != "1002 [a] 3" {
		t.Errorf("the other user waits: %v", s.got[:3])
	}
	for s.round(t) {
	}
	if len(s.got) != many+1 || s.names(t, ".") != 0 {
		t.Errorf("%d taken, %d left", len(s.got), s.names(t, "."))
	}
}

// said counts what is logged.
type said struct{ strings.Builder }

// What was taken and can not be removed is never taken again, also when the directory
// was not read to its end meanwhile; it is told of once.
func TestNotRemoved(t *testing.T) {
	s := scanner(t)
	var log said
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	path := filepath.Join(s.Dir, "x.mail")
	if err := os.WriteFile(path, record(t, Envelope{Rcpts: []string{"a"}}, "x\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	// A directory in its place, at the moment it is taken, is what can not be unlinked.
	put := s.Take
	s.Take = func(ctx context.Context, uid uint32, e Envelope, body message.Bytes) error {
		return errors.Join(put(ctx, uid, e, body), os.Rename(path, path+".old"), os.Mkdir(path, 0o700))
	}
	s.round(t)
	if len(s.got) != 1 || s.seen["x.mail"] == nil || s.seen["x.mail"].why != taken {
		t.Fatalf("%v", s.got)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".old", path)); err != nil {
		t.Fatal(err)
	}
	s.round(t) // it is left alone
	s.due()
	s.round(t) // and removed when that can be
	if len(s.got) != 1 || s.names(t, ".") != 0 || len(s.seen) != 0 || len(s.held) != 0 {
		t.Errorf("%v, %d left, %v", s.got, s.names(t, "."), s.seen)
	}
	if n := strings.Count(log.String(), "level="); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// What can not be moved aside is told of once, and forgotten when it goes.
func TestStuck(t *testing.T) {
	s := scanner(t)
	var log said
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	dir := filepath.Join(s.Dir, "a directory")
	bad := filepath.Join(s.Dir, badDir)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(bad, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.round(t)
		s.due()
	}
	if n := strings.Count(log.String(), "level="); n != 1 || len(s.seen) != 1 {
		t.Errorf("told %d times, %v:\n%s", n, s.seen, log.String())
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s.round(t)
	if len(s.seen) != 0 || len(s.held) != 0 {
		t.Errorf("%v %v", s.seen, s.held)
	}
}

// What a user leaves there is bounded, and costs nobody else.
func TestLeftIsBounded(t *testing.T) {
	s := scanner(t)
	const more = 100
	for i := range maxLeft + more {
		if err := os.WriteFile(filepath.Join(s.Dir, fmt.Sprint(i, suffix)), record(t, Envelope{Rcpts: []string{"a"}}, "x\n"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	s.err = errors.New("not now")
	for s.round(t) {
	}
	s.round(t)
	if len(s.seen) != maxLeft || s.held[uint32(os.Getuid())] != maxLeft {
		t.Errorf("%d are remembered, %v", len(s.seen), s.held)
	}
	s.err = nil
	s.due()
	for s.round(t) {
	}
	for s.round(t) {
	}
	if len(s.got) != maxLeft+more || len(s.seen) != 0 || s.names(t, ".") != 0 {
		t.Errorf("%d taken, %d remembered, %d left", len(s.got), len(s.seen), s.names(t, "."))
	}
}

// A file of somebody else's that was moved here is not believed: its group tells.
func TestMovedHere(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: files of several groups")
	}
	s := scanner(t)
	if err := os.Chown(s.Dir, 0, 1234); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Dir, 0o733|os.ModeSetgid|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(filepath.Dir(s.Dir), "x.mail")
	good := record(t, Envelope{Rcpts: []string{"a"}}, "x\n")
	if err := errors.Join(os.WriteFile(elsewhere, good, 0o640), os.Rename(elsewhere, filepath.Join(s.Dir, "x.mail")), os.WriteFile(filepath.Join(s.Dir, "y.mail"), good, 0o640)); err != nil {
		t.Fatal(err)
	}
	s.round(t)
	if len(s.got) != 1 || s.names(t, badDir) != 1 {
		t.Errorf("%v, %d bad", s.got, s.names(t, badDir))
	}
}

// One that nobody finishes goes; one that is being written stays.
func TestUnfinished(t *testing.T) {
	s := scanner(t)
	old, young := filepath.Join(s.Dir, ".old"), filepath.Join(s.Dir, ".young")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.round(t)
	if s.names(t, ".") != 1 || s.names(t, badDir) != 0 {
		t.Errorf("%d left, %d bad", s.names(t, "."), s.names(t, badDir))
	}
}

func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	uid, gid := os.Getuid(), os.Getgid()
	if err := Check(dir, uid, gid); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("install -d -o %d -g %d -m 3733 %s", uid, gid, dir)) {
		t.Error(err)
	}
	for range 2 { // the second has nothing to do
		if err := errors.Join(Make(dir, uid, gid), Check(dir, uid, gid)); err != nil {
			t.Error(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir, uid, gid); err == nil || !strings.Contains(err.Error(), "mode 0777") {
		t.Error(err)
	}
	if err := errors.Join(Make(dir, uid, gid), Check(dir, uid, gid)); err != nil {
		t.Error(err)
	}
	link := dir + "link"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if Check(link, uid, gid) == nil || Make(link, uid, gid) == nil {
		t.Error("a link was followed")
	}
}

// FuzzRead looks that no octets are believed that Write has not written.
func FuzzRead(f *testing.F) {
	key := strings.Repeat("0a", keyLength/2)
	f.Add(record(f, Envelope{Key: key, Sender: "a@b", Rcpts: []string{"c@d"}, Notify: []string{"NEVER"}}, "Subject: x\n\nbody\n"))
	f.Add(record(f, Envelope{Key: key, Rcpts: []string{"c"}, Name: "A \r\nB: c", Verify: true}, "\r\n\r\x00"))
	f.Add([]byte("mtad-mail-1 2 0\n{}"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		spool := &message.Spool{Limit: 1 << 20}
		defer spool.Close()
		e, err := Read(bytes.NewReader(octets), spool)
		if err != nil {
			if !errors.Is(err, ErrRecord) && !errors.Is(err, message.ErrTooLarge) {
				t.Fatal(err)
			}
			// With the sum that fits, what is behind it is looked at, too.
			sum := sha256.Sum256(octets)
			if e, err = Read(bytes.NewReader(fmt.Appendf(bytes.Clone(octets), "%x\n", sum)), &message.Spool{Limit: 1 << 20}); err != nil {
				return
			}
		}
		if !validKey(e.Key) || len(e.Rcpts) > MaxEnvelope {
			t.Errorf("%+v", e)
		}
	})
}
