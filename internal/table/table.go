// Package table reads files of keys and values, and again when they change.
package table

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxFile bounds a table's file, in octets; every is how often it is looked at.
const (
	maxFile = 16 << 20
	every   = time.Second
)

// Table is a file of lines: a key, white space and a value, which may be
// missing. "#" begins a comment. Keys have no case.
type Table struct {
	path string

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
	rows    map[string]string
}

// stamp tells one version of a file from another.
type stamp struct {
	size int64
	mod  time.Time
}

// Open reads a table.
func Open(path string) (*Table, error) {
	t := &Table{path: path}
	return t, t.read()
}

func (t *Table) read() error {
	st, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	if st.Size() > maxFile {
		return fmt.Errorf("%s has %d octets; at most %d are read", t.path, st.Size(), maxFile)
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			key, value = line[:i], strings.TrimSpace(line[i:])
		}
		rows[strings.ToLower(key)] = value
	}
	t.stamp, t.rows = stamp{st.Size(), st.ModTime()}, rows
	return nil
}

// current looks whether the file has changed. One that can not be read leaves
// the rows as they were.
func (t *Table) current(now time.Time) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.checked) >= every {
		t.checked = now
		if st, err := os.Stat(t.path); err == nil && (stamp{st.Size(), st.ModTime()}) != t.stamp {
			_ = t.read() // else the rows stay
		}
	}
	return t.rows
}

// Reload makes the next look-up look at the file.
func (t *Table) Reload() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checked = time.Time{}
}

// Get is a key's value.
func (t *Table) Get(key string, now time.Time) (string, bool) {
	value, ok := t.current(now)[strings.ToLower(key)]
	return value, ok
}

// Keys are all keys, in lower case and in order.
func (t *Table) Keys(now time.Time) []string { return slices.Sorted(maps.Keys(t.current(now))) }
