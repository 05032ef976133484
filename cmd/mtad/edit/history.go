package edit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxKept bounds the states that are kept; the oldest goes.
const maxKept = 100

// folder is the history's, beside the main file.
const folder = ".history"

// State is a configuration as it was once.
type State struct {
	Number int       `json:"number"`
	Time   time.Time `json:"time"` // when it was replaced
	User   string    `json:"user"` // by whom
	Why    string    `json:"why"`  // by what
}

// files are the contents of a configuration's files, by their names relative to
// the main file's folder.
type files map[string][]byte

// readFiles reads a configuration's files.
func readFiles(dir string, paths []string) (files, error) {
	out := files{}
	for _, p := range paths {
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return nil, err
		}
		if out[name], err = os.ReadFile(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// history is the states of one configuration.
type history struct{ dir string }

func historyOf(main string) history { return history{filepath.Join(filepath.Dir(main), folder)} }

// list is the states, the newest first.
func (h history) list() ([]State, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []State
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s := State{Number: n}
		text, err := os.ReadFile(filepath.Join(h.dir, e.Name(), "state.json"))
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int { return b.Number - a.Number })
	return out, nil
}

// keep adds a state. It is there whole or not at all.
func (h history) keep(fs files, s State) error {
	all, err := h.list()
	if err != nil {
		return err
	}
	if s.Number = 1; len(all) > 0 {
		s.Number = all[0].Number + 1
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(h.dir, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "state.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	for name, content := range fs {
		path := filepath.Join(tmp, "files", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, filepath.Join(h.dir, strconv.Itoa(s.Number))); err != nil {
		return err
	}
	for _, old := range all[min(len(all), maxKept-1):] {
		if err := os.RemoveAll(filepath.Join(h.dir, strconv.Itoa(old.Number))); err != nil {
			return err
		}
	}
	return nil
}

// read is the files of a state; 0 is the newest.
func (h history) read(n int) (State, files, error) {
	all, err := h.list()
	if err != nil {
		return State{}, nil, err
	}
	if len(all) == 0 {
		return State{}, nil, errors.New("there is no history: nothing was changed by `mtad config` yet")
	}
	i := 0
	if n != 0 {
		i = slices.IndexFunc(all, func(s State) bool { return s.Number == n })
	}
	if i < 0 {
		return State{}, nil, fmt.Errorf("there is no state %d; `mtad config history` shows which there are", n)
	}
	out := files{}
	root := filepath.Join(h.dir, strconv.Itoa(all[i].Number), "files")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err == nil {
			out[name], err = os.ReadFile(path)
		}
		return err
	})
	return all[i], out, err
}

// differ is the names of files that are not the same in both, in order.
func (f files) differ(other files) []string {
	var out []string
	for name := range maps.All(f) {
		if b, ok := other[name]; !ok || string(b) != string(f[name]) {
			out = append(out, name)
		}
	}
	for name := range other {
		if _, ok := f[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// install puts a file in another's place, all of it or nothing, with its mode and
// owner; one that is new has those of like.
func install(path string, text []byte, like string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		st, err = os.Stat(like)
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+strings.TrimSuffix(filepath.Base(path), ".hcl")+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(st.Mode().Perm())
	}
	if err == nil {
		err = chownLike(f, st)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
