package spamlearn

import (
	"io"
	"iter"
)

// Messages reads the messages of files, directories, Maildirs and mboxes; "-" is in. One
// that can not be read is an error, and others follow.
func Messages(paths []string, in io.Reader) (iter.Seq2[[]byte, error], error) {
	from, err := sources(paths, in)
	if err != nil {
		return nil, err
	}
	return func(yield func([]byte, error) bool) {
		for _, s := range from {
			for text, err := range s.messages() {
				if !yield(text, err) {
					return
				}
			}
		}
	}, nil
}
