package plug

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"mtad/sdk"
)

// files are the beginnings of plugins. NAME in them is the plugin's.
//
//go:embed files
var files embed.FS

var goodName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// New begins a plugin in a folder that is not there yet. What it needs of mtad
// lies in it, so that it builds anywhere.
func New(language, dir string) error {
	name := filepath.Base(dir)
	if !goodName.MatchString(name) {
		return fmt.Errorf("%q is no name for a plugin: want small letters and digits, a letter first", name)
	}
	// Where each file of the SDK goes.
	var place func(file string) string
	switch language {
	case "go":
		place = func(file string) string { return path.Join("mtad/sdk", file) }
	case "python":
		place = path.Base
	default:
		return fmt.Errorf("there are go and python, no %q", language)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	err := copyFiles(files, path.Join("files", language), dir, func(f string) string { return strings.TrimSuffix(f, ".tmpl") }, name)
	if err != nil {
		return err
	}
	return copyFiles(sdk.Source, ".", dir, func(f string) string {
		if strings.HasSuffix(f, ".py") != (language == "python") {
			return ""
		}
		return place(f)
	}, "")
}

// copyFiles copies what is below root to where place says, "" being nowhere.
func copyFiles(from fs.FS, root, dir string, place func(string) string, name string) error {
	return fs.WalkDir(from, root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		to := place(strings.TrimPrefix(file, root+"/"))
		if to == "" {
			return nil
		}
		b, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		if name != "" {
			b = []byte(strings.ReplaceAll(string(b), "NAME", name))
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(b), "#!") {
			mode = 0o755
		}
		to = filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, b, mode)
	})
}
