package conf

import (
	"path/filepath"
	"testing"

	"mtad/internal/mtatest"
)

// TestChanged: files that are new, other or gone are noticed, included ones too.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	more := filepath.Join(t.TempDir(), "more")
	write := func(path, text string) func() { return func() { mtatest.Write(t, path, text) } }
	write(filepath.Join(dir, "10.cf"), "include "+more+"\n")()
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"an included file", write(more, "body A /a/\n")},
		{"other text", write(more, "body A /ab/\n")},
		{"a new file", write(filepath.Join(dir, "20.cf"), "body B /b/\n")},
	} {
		s, err := Load([]string{dir}, Options{})
		mtatest.Check(t, err)
		if s.Changed([]string{dir}) {
			t.Errorf("changed before %s", change.what)
		}
		change.do()
		if !s.Changed([]string{dir}) {
			t.Errorf("not changed after %s", change.what)
		}
	}
	if s := Parse("x", "", Options{}); s.Changed(nil) || !s.Changed([]string{dir}) {
		t.Error("a text of no file")
	}
}
