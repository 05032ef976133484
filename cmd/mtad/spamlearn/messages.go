package spamlearn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxMessage bounds a message, in octets: larger ones teach nothing that smaller ones do not.
const maxMessage = 16 << 20

var errTooLarge = errors.New("larger than any message that is learned")

// files are the files that a path stands for: a Maildir's messages, those of a
// directory, or the path itself.
func files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	dirs := []string{path}
	if isDir(filepath.Join(path, "cur")) && isDir(filepath.Join(path, "new")) {
		dirs = []string{filepath.Join(path, "new"), filepath.Join(path, "cur")}
	}
	var out []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	return out, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// source is somewhere that messages are read from.
type source struct {
	name string
	size int64 // octets; 0 is not known
	open func() (io.ReadCloser, error)
}

// sources are those of paths; "-" is in.
func sources(paths []string, in io.Reader) ([]source, error) {
	var out []source
	for _, path := range paths {
		if path == "-" {
			out = append(out, source{"standard input", 0, func() (io.ReadCloser, error) { return io.NopCloser(in), nil }})
			continue
		}
		list, err := files(path)
		if err != nil {
			return nil, err
		}
		for _, name := range list {
			info, err := os.Stat(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a mail reader has moved it
			}
			if err != nil {
				return nil, err
			}
			out = append(out, source{name, info.Size(), func() (io.ReadCloser, error) { return os.Open(name) }})
		}
	}
	return out, nil
}

// messages reads those of a source: one, or those of an mbox. One that is too large is an
// error, and others follow.
func (s source) messages() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := s.open()
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 64<<10)
		if start, _ := r.Peek(5); string(start) != "From " {
			text, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
			if err == nil && len(text) > maxMessage {
				text, err = nil, fmt.Errorf("%s: %w", s.name, errTooLarge)
			}
			yield(text, err)
			return
		}
		s.mbox(r, yield)
	}
}

// mboxLine begins a message of an mbox; a line that only begins with "From " does not.
var mboxLine = regexp.MustCompile(`^From \S+ {1,2}\S{3} \S{3} [ \d]\d [ \d]\d:\d\d:\d\d \d{4}`)

// mbox reads messages that lines "From " part.
func (s source) mbox(r *bufio.Reader, yield func([]byte, error) bool) {
	var text bytes.Buffer
	large, whole := false, true // whole: the line before has ended
	end := func() bool {
		defer func() { text.Reset(); large = false }()
		switch {
		case large:
			return yield(nil, fmt.Errorf("%s: a message is %w", s.name, errTooLarge))
		case text.Len() == 0:
			return true
		}
		return yield(bytes.Clone(text.Bytes()), nil)
	}
	for {
		line, err := r.ReadSlice('\n')
		if whole && mboxLine.Match(line) {
			if !end() {
				return
			}
		}
		if text.Len()+len(line) > maxMessage {
			large = true
		} else if !large {
			text.Write(line)
		}
		whole = err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				yield(nil, err)
				return
			}
			end()
			return
		}
	}
}
