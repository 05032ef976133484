package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/pmezard/go-difflib/difflib"

	"mtad/config"
)

// Env is what the commands need of the binary.
type Env struct {
	Load   func(path string, o config.Options) (*config.File, error)
	Check  func(path string, o config.Options) error // all that `mtad config check` finds
	Redact func(string) string                       // hides secrets
	Now    func() time.Time
}

// change is files that are to be others; nil content takes one away.
type change map[string][]byte

// session is one configuration that is being changed.
type session struct {
	env  *Env
	main string // path
	dir  string
	file *config.File
	was  files
}

// open reads a configuration as it is, which must be a good one unless it is to
// be mended.
func (env *Env) open(main string, mend bool) (*session, error) {
	s := &session{env: env, main: main, dir: filepath.Dir(main)}
	var err error
	if s.file, err = env.Load(main, config.Options{}); err != nil && !mend {
		return nil, err
	}
	s.was, err = s.read()
	return s, err
}

// read reads the files as they are now.
func (s *session) read() (files, error) {
	more, err := filepath.Glob(filepath.Join(s.dir, "conf.d", "*.hcl"))
	if err != nil {
		return nil, err
	}
	return readFiles(s.dir, append([]string{s.main}, more...))
}

// errMeanwhile is for two who change the files at once.
var errMeanwhile = errors.New("the files were changed by somebody else meanwhile; nothing was written")

// apply checks a change, keeps what was there, and writes. It reports whether
// anything changed.
func (s *session) apply(c change, why string) (bool, error) {
	next := maps.Clone(s.was)
	for name, text := range c {
		if next[name] = text; text == nil {
			delete(next, name)
		}
	}
	changed := s.was.differ(next)
	if len(changed) == 0 {
		return false, nil
	}
	if err := s.env.Check(s.main, s.options(next)); err != nil {
		return false, err
	}
	unlock, err := lock(s.dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	if now, err := s.read(); err != nil || len(now.differ(s.was)) > 0 {
		return false, errors.Join(errMeanwhile, err)
	}
	state := State{Time: s.env.Now().UTC().Truncate(time.Second), User: who(), Why: why}
	if err := historyOf(s.main).keep(s.was, state); err != nil {
		return false, fmt.Errorf("nothing was changed: %w", err)
	}
	for _, name := range changed {
		path := filepath.Join(s.dir, name)
		text, ok := next[name]
		if !ok {
			if err := os.Remove(path); err != nil {
				return false, err
			}
			continue
		}
		if err := install(path, text, s.main); err != nil {
			return false, err
		}
	}
	return true, nil
}

// options read the files as they are to be.
func (s *session) options(next files) config.Options {
	return config.Options{
		Files: func(string) ([]string, error) {
			out := []string{s.main}
			for _, name := range slices.Sorted(maps.Keys(next)) {
				if path := filepath.Join(s.dir, name); path != filepath.Clean(s.main) {
					out = append(out, path)
				}
			}
			return out, nil
		},
		ReadFile: func(path string) ([]byte, error) {
			name, err := filepath.Rel(s.dir, path)
			if text, ok := next[name]; ok && err == nil {
				return text, nil
			}
			return os.ReadFile(path)
		},
	}
}

// Set writes an option, or with unset takes it out.
func (env *Env) Set(main, key, value string, unset bool) (changed bool, err error) {
	s, err := env.open(main, false)
	if err != nil {
		return false, err
	}
	edit, why := config.Edit{}, "set "+key
	if unset {
		edit, err = s.file.Unset(key)
		why = "unset " + key
	} else {
		edit, err = s.file.Set(key, value)
	}
	if err != nil {
		return false, err
	}
	name, err := filepath.Rel(s.dir, edit.Path)
	if err != nil {
		return false, err
	}
	return s.apply(change{name: edit.Text}, why)
}

// Format gives all files the usual spacing, or only says which lack it.
func (env *Env) Format(main string, only bool) (changed []string, err error) {
	s, err := env.open(main, false)
	if err != nil {
		return nil, err
	}
	c := change{}
	for name, text := range s.was {
		if now := config.Format(text); !bytes.Equal(now, text) {
			c[name] = now
			changed = append(changed, filepath.Join(s.dir, name))
		}
	}
	slices.Sort(changed)
	if only || len(c) == 0 {
		return changed, nil
	}
	_, err = s.apply(c, "fmt")
	return changed, err
}

// History is the states that were replaced, the newest first.
func (env *Env) History(main string) ([]State, error) { return historyOf(main).list() }

// Diff writes what has changed since a state, 0 being the newest.
func (env *Env) Diff(w io.Writer, main string, n int) (differs bool, err error) {
	s, err := env.open(main, true)
	if err != nil {
		return false, err
	}
	state, old, err := historyOf(main).read(n)
	if err != nil {
		return false, err
	}
	for _, name := range old.differ(s.was) {
		differs = true
		text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
			A: difflib.SplitLines(string(old[name])), B: difflib.SplitLines(string(s.was[name])), Context: 3,
			FromFile: fmt.Sprintf("%s (state %d)", name, state.Number), ToFile: name + " (now)",
		})
		if err != nil {
			return differs, err
		}
		if _, err := io.WriteString(w, env.Redact(text)); err != nil {
			return differs, err
		}
	}
	return differs, nil
}

// Rollback brings a state back, 0 being the newest.
func (env *Env) Rollback(main string, n int) (State, bool, error) {
	s, err := env.open(main, true)
	if err != nil {
		return State{}, false, err
	}
	state, old, err := historyOf(main).read(n)
	if err != nil {
		return State{}, false, err
	}
	c := change{}
	for name := range s.was {
		c[name] = nil
	}
	maps.Copy(c, change(old))
	changed, err := s.apply(c, fmt.Sprintf("rollback %d", state.Number))
	return state, changed, err
}

// errEditor is for an editor that did not end well.
var errEditor = errors.New("the editor failed; nothing was changed")

// Edit lets the user's editor change a copy of the main file. What can not be used
// is shown, and the editor started again if again says so.
func (env *Env) Edit(main string, run func(*exec.Cmd) error, again func(error) bool) (changed bool, err error) {
	s, err := env.open(main, true)
	if err != nil {
		return false, err
	}
	name := filepath.Base(main)
	dir, err := os.MkdirTemp("", "mtad-edit-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, name)
	if err := os.WriteFile(copied, s.was[name], 0o600); err != nil {
		return false, err
	}
	for {
		// The variable may hold arguments, so a shell reads it (as git does).
		cmd := exec.Command("/bin/sh", "-c", editor()+` "$1"`, "editor", copied)
		if err := run(cmd); err != nil {
			return false, fmt.Errorf("%w: %w", errEditor, err)
		}
		text, err := os.ReadFile(copied)
		if err != nil {
			return false, err
		}
		changed, err = s.apply(change{name: text}, "edit")
		if err == nil || !again(err) {
			return changed, err
		}
	}
}

func editor() string {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if e := os.Getenv(name); e != "" {
			return e
		}
	}
	return "vi"
}
