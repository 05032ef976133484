package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DefaultDir is where commands are linked to the binary.
const DefaultDir = "/usr/local/sbin"

// Step is one link, and what was done, or is to be done, about it.
type Step struct {
	Path string `json:"path"`
	Done string `json:"done"` // linked, replaced, kept, removed
}

// foreign says what stands where a link should be, "" if nothing or a link to the
// binary does. ours says that it is the latter.
func foreign(path, binary string) (what string, ours bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, err
	case info.Mode()&fs.ModeSymlink == 0:
		return "is there already, and no link", false, nil
	}
	to, err := os.Readlink(path)
	if err != nil {
		return "", false, err
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	if filepath.Clean(to) == binary {
		return "", true, nil
	}
	if real, err := filepath.EvalSymlinks(to); err == nil && real == binary {
		return "", true, nil
	}
	return "is a link to " + to, false, nil
}

// Install links every command's name in dir to binary, an absolute path. What
// stands there and is not such a link is replaced with force only; without it,
// nothing is changed if one does.
func Install(dir, binary string, force, dry bool) ([]Step, error) {
	steps := []Step{}
	var taken []string
	for _, c := range Commands() {
		s := Step{filepath.Join(dir, c.Name), "linked"}
		what, ours, err := foreign(s.Path, binary)
		switch {
		case err != nil:
			return nil, err
		case ours:
			s.Done = "kept"
		case what != "":
			taken = append(taken, s.Path+" "+what)
			s.Done = "replaced"
		}
		steps = append(steps, s)
	}
	if len(taken) > 0 && !force {
		return nil, fmt.Errorf("%s; --force replaces what is there, --dir takes another folder", strings.Join(taken, ", "))
	}
	for _, s := range steps {
		if dry || s.Done == "kept" {
			continue
		}
		if err := link(binary, s.Path); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// link puts a link in place of whatever is there, at once.
func link(binary, path string) error {
	temp := path + ".mtad-new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(binary, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// Remove removes the links to binary from dir, and leaves everything else.
func Remove(dir, binary string, dry bool) ([]Step, error) {
	steps := []Step{}
	for _, c := range Commands() {
		path := filepath.Join(dir, c.Name)
		_, ours, err := foreign(path, binary)
		if err == nil && ours && !dry {
			err = os.Remove(path)
		}
		if err != nil {
			return steps, err
		}
		if ours {
			steps = append(steps, Step{path, "removed"})
		}
	}
	return steps, nil
}
