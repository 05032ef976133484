// Package jsonout writes JSON member by member, for what is written with every
// message: encoding/json takes longer and allocates for each object. What it
// writes is for encoding/json to read.
package jsonout

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Writer is a text in the making. Commas come by themselves. The zero value is
// ready; Reset begins anew in the same memory.
type Writer struct {
	buf []byte
	err error // the first fault of Any
}

// Reset forgets what was written.
func (w *Writer) Reset() { w.buf, w.err = w.buf[:0], nil }

// Bytes is what was written; valid until the next call.
func (w *Writer) Bytes() ([]byte, error) { return w.buf, w.err }

// Open begins an object ("{") or an array ("["): a member's value if Key was
// called just before, else an element.
func (w *Writer) Open(bracket byte) {
	w.comma()
	w.buf = append(w.buf, bracket)
}

// Close ends it.
func (w *Writer) Close(bracket byte) { w.buf = append(w.buf, bracket) }

// Newline separates texts.
func (w *Writer) Newline() { w.buf = append(w.buf, '\n') }

// comma separates what follows from what was written.
func (w *Writer) comma() {
	if n := len(w.buf); n > 0 {
		switch w.buf[n-1] {
		case '{', '[', ':', '\n':
		default:
			w.buf = append(w.buf, ',')
		}
	}
}

// Key begins a member of the open object. The name needs no escapes.
func (w *Writer) Key(name string) {
	w.comma()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

// String writes a member, an empty one too.
func (w *Writer) String(name, value string) {
	w.Key(name)
	w.quote(value)
}

// Text writes a member unless it is empty.
func (w *Writer) Text(name, value string) {
	if value != "" {
		w.String(name, value)
	}
}

// Texts writes a member, a list, unless it is empty.
func (w *Writer) Texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.Key(name)
	w.Open('[')
	for _, v := range values {
		w.comma()
		w.quote(v)
	}
	w.Close(']')
}

// Int writes a member.
func (w *Writer) Int(name string, value int64) {
	w.Key(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
}

// Flag writes a member unless it is false.
func (w *Writer) Flag(name string, value bool) {
	if value {
		w.Key(name)
		w.buf = append(w.buf, "true"...)
	}
}

// Time writes a member as encoding/json does. The year has four digits.
func (w *Writer) Time(name string, value time.Time) {
	w.Key(name)
	w.buf = append(w.buf, '"')
	w.buf = value.AppendFormat(w.buf, time.RFC3339Nano)
	w.buf = append(w.buf, '"')
}

// Any writes a member by way of encoding/json: for what is seldom there.
func (w *Writer) Any(name string, value any) {
	w.Key(name)
	b, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("json: %s: %w", name, err)
	}
	w.buf = append(w.buf, b...)
}

// quote writes a string. Octets that are no UTF-8 become U+FFFD.
func (w *Writer) quote(s string) {
	w.buf = append(w.buf, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		w.buf = append(append(w.buf, s[from:i]...), escapeOf(c)...)
		i++
		from = i
	}
	w.buf = append(append(w.buf, s[from:]...), '"')
}

// escapeOf is what stands for an octet that can not stand for itself.
func escapeOf(c byte) string {
	switch {
	case c == '"':
		return `\"`
	case c == '\\':
		return `\\`
	case c == '\n':
		return `\n`
	case c == '\r':
		return `\r`
	case c == '\t':
		return `\t`
	case c >= utf8.RuneSelf:
		return "\ufffd"
	}
	const hex = "0123456789abcdef"
	return string([]byte{'\\', 'u', '0', '0', hex[c>>4], hex[c&15]})
}
