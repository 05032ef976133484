package lookup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"mtad/internal/logical"
)

// Row is one entry of a file.
type Row struct {
	Line       int
	Key, Value string // Key in lower case
}

// File is a table in the source form of postmap(1): a key, white space and a
// value. Keys have no case, may stand in double quotes, and count where they
// stand first.
type File struct {
	*Watched[map[string]string]
}

// OpenFile opens a file for those who want its keys as well.
func OpenFile(path string, o Options) (*File, error) {
	t, err := openFile(path, o.filled())
	if err != nil {
		return nil, err
	}
	return t.(*File), nil
}

func openFile(path string, o Options) (Table, error) {
	s, err := Watch(path, o, func(text string) (map[string]string, error) {
		rows, err := ParseRows(path, text)
		if err != nil {
			return nil, err
		}
		out := make(map[string]string, len(rows))
		for _, r := range rows {
			if _, ok := out[r.Key]; !ok {
				out[r.Key] = r.Value
			}
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	return &File{s}, nil
}

// ParseRows reads a file's rows in order. A key without a value has "".
func ParseRows(path, text string) ([]Row, error) {
	var out []Row
	for _, line := range logical.Lines(text, "") {
		key, value, err := splitRow(line.Text)
		if err != nil {
			return nil, &LineError{path, line.Number, err}
		}
		out = append(out, Row{line.Number, strings.ToLower(key), value})
	}
	return out, nil
}

// splitRow takes a row apart.
func splitRow(text string) (key, value string, err error) {
	if text[0] != '"' {
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			return text[:i], strings.TrimSpace(text[i:]), nil
		}
		return text, "", nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			rest := text[i+1:]
			if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
				// A local-part in quotes: "a b"@example.org
				end := len(text)
				if j := strings.IndexAny(rest, " \t"); j >= 0 {
					end = i + 1 + j
				}
				return text[:end], strings.TrimSpace(text[end:]), nil
			}
			if b.Len() == 0 {
				return "", "", errors.New("the key is empty")
			}
			return b.String(), strings.TrimSpace(rest), nil
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("the key's quotes are not closed")
}

// Lookup finds a key, whatever its case.
func (f *File) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := f.Current()[strings.ToLower(key)]
	return value, ok, nil
}

// Get is Lookup where nothing can fail.
func (f *File) Get(key string) (string, bool) {
	value, ok := f.Current()[strings.ToLower(key)]
	return value, ok
}

// Keys are all keys, in lower case and in order.
func (f *File) Keys() []string { return slices.Sorted(maps.Keys(f.Current())) }

// Reload makes the next look-up look at the file.
func (f *File) Reload() { f.forget() }

// Whole is false: keys may be parts of addresses.
func (f *File) Whole() bool { return false }

// Close does nothing.
func (f *File) Close() error { return nil }
