package conf

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// TestIncludeItself: a file that includes itself is read once, and its faults are told of
// once, with the way round.
func TestIncludeItself(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{
		"self.cf": "bogus\ninclude self.cf\nbody A /a/\n",
		"a.cf":    "bogus\ninclude b.inc\n", "b.inc": "bogus\ninclude c.inc\n", "c.inc": "body C /c/\ninclude ./a.cf\n",
		"twice.cf": "include t.inc\ninclude t.inc\n", "t.inc": "bogus\n",
	} {
		mtatest.Write(t, path(name), text)
	}
	for name, want := range map[string][]string{
		"self.cf":  {"self.cf:1: bogus", "self.cf:2: " + path("self.cf") + " includes itself: take the line out"},
		"a.cf":     {"a.cf:1: bogus", "b.inc:1: bogus", "c.inc:2: " + path("a.cf") + " includes itself, by way of " + path("b.inc") + ", " + path("c.inc") + ": take one"},
		"twice.cf": {"t.inc:1: bogus"},
	} {
		s, err := Load([]string{path(name)}, Options{})
		mtatest.Check(t, err)
		if len(s.Problems) != len(want) {
			t.Errorf("%s: %q", name, s.Problems)
			continue
		}
		for i, w := range want {
			if got := s.Problems[i].String(); !strings.HasPrefix(got, dir+"/"+w) {
				t.Errorf("%s: %q, want %q", name, got, w)
			}
		}
	}
}

// TestIncludeDeep: files that include one another without end.
func TestIncludeDeep(t *testing.T) {
	dir := t.TempDir()
	for i := range maxIncludes + 5 {
		mtatest.Write(t, filepath.Join(dir, fmt.Sprintf("%d.inc", i)), fmt.Sprintf("include %d.inc\nbody R%d /x/\n", i+1, i))
	}
	s, err := Load([]string{filepath.Join(dir, "0.inc")}, Options{})
	mtatest.Check(t, err)
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Text, "more than 20 deep") || s.Rule("R20") == nil || s.Rule("R21") != nil {
		t.Errorf("%q", s.Problems)
	}
}

// TestNoText: files that are no text are no rules.
func TestNoText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.cf")
	for text, want := range map[string]string{
		"\x7fELF\x02\x01\x01\x00\x00": "octets of 0", "\x1f\x8b\x08\x08xx": "gzip", "\xff\xfeb\x00o\x00": "UTF-16", "body A /a/\n\x00": "octets of 0",
		"body A /caf\xe9/\r\n": "", "": "",
	} {
		mtatest.Write(t, path, text)
		_, err := Load([]string{path}, Options{})
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrNoText) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
