package spam_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/scan"
)

// Who asks for the same rules has the same engine; after a change, a new one.
func TestEnginesShare(t *testing.T) {
	var s spam.Engines
	dir := t.TempDir()
	rules := filepath.Join(dir, "10.cf")
	mtatest.Write(t, rules, "body A /aaa/\n")
	open := func(o spam.Options, want bool, paths ...string) *spam.Engine {
		t.Helper()
		e, opened, err := s.Open(paths, o)
		mtatest.Check(t, err)
		if opened != want {
			t.Errorf("opened is %v", opened)
		}
		return e
	}
	first := open(spam.Options{}, true, dir)
	if open(spam.Options{}, false, dir) != first {
		t.Error("not the same")
	}
	if open(spam.Options{Bayes: true}, true, dir) == first || open(spam.Options{}, true, rules) == first {
		t.Error("others' options or paths have the same")
	}
	mtatest.Write(t, rules, "body A /aaa/\nbody B /bbb/\n")
	second := open(spam.Options{}, true, dir)
	if second == first || !second.Has("B") || open(spam.Options{}, false, dir) != second {
		t.Error("a change is not seen")
	}
	mtatest.Check(t, os.Remove(rules))
	if _, _, err := s.Open([]string{dir}, spam.Options{}); err == nil {
		t.Error("no error of rules that are gone")
	}
	runtime.KeepAlive(first)
	var none *spam.Engines
	mtatest.Write(t, rules, "body A /aaa/\n")
	if e, opened, err := none.Open([]string{dir}, spam.Options{}); err != nil || !opened || !e.Has("A") {
		t.Error(err)
	}
}

// Engines that nobody has any more are not held, whatever they were used for.
func TestEnginesLetGo(t *testing.T) {
	var s spam.Engines
	dir := t.TempDir()
	const n = 5
	freed := make(chan int, n)
	for i := range n {
		mtatest.Write(t, filepath.Join(dir, "10.cf"), "body A /aaa|b+c[xyz]/\nscore A "+string(rune('1'+i))+"\nmeta M A\n")
		mtatest.Check(t, os.Chtimes(filepath.Join(dir, "10.cf"), time.Time{}, time.Unix(int64(i+1), 0)))
		e, _, err := s.Open([]string{dir}, spam.Options{Bayes: true})
		mtatest.Check(t, err)
		runtime.AddCleanup(e, func(i int) { freed <- i }, i)
		for _, e := range []*spam.Engine{e, e.With("prefs", "score A 3\nwelcomelist_from *@example.org\n")} {
			if r := e.Check(t.Context(), []byte("Subject: x\n\naaa\n"), scan.Facts{}); len(r.Hits) != 2 {
				t.Errorf("%+v", r.Hits)
			}
		}
	}
	mtatest.Eventually(t, "all engines are freed", 30*time.Second, func() bool {
		runtime.GC()
		return len(freed) == n
	})
}
