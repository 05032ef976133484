package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func written(f func(*Writer)) string {
	var b bytes.Buffer
	w := NewWriter(&b, &Buffers{})
	f(w)
	if err := w.Flush(); err != nil {
		return "error: " + err.Error()
	}
	return b.String()
}

func TestWriterTokens(t *testing.T) {
	tests := []struct {
		name string
		f    func(*Writer)
		want string
	}{
		{"quoted", func(w *Writer) { w.String(`a "b" \c`) }, `"a \"b\" \\c"`},
		{"empty", func(w *Writer) { w.String("") }, `""`},
		{"nil", func(w *Writer) { w.NString("") }, `NIL`},
		{"line break", func(w *Writer) { w.String("a\r\nb") }, "{4}\r\na\r\nb"},
		{"eight bit", func(w *Writer) { w.String("ä") }, "{2}\r\nä"},
		{"NUL", func(w *Writer) { w.String("a\x00b") }, `"ab"`},
		{"long", func(w *Writer) { w.String(strings.Repeat("a", 2000)) }, "{2000}\r\n" + strings.Repeat("a", 2000)},
		{"mailbox atom", func(w *Writer) { w.Mailbox("a/b") }, "a/b"},
		{"mailbox quoted", func(w *Writer) { w.Mailbox("a b%") }, `"a b%"`},
		{"mailbox encoded", func(w *Writer) { w.Mailbox("ä") }, `&AOQ-`},
		{"mailbox empty", func(w *Writer) { w.Mailbox("") }, `""`},
		{"number", func(w *Writer) { w.Number(1<<64 - 1) }, "18446744073709551615"},
		{"date", func(w *Writer) {
			w.DateTime(time.Date(2026, 2, 1, 3, 4, 5, 0, time.FixedZone("", -3600)))
		}, `" 1-Feb-2026 03:04:05 -0100"`},
		{"astring", func(w *Writer) { w.Raw(AStringOf("X-A") + AStringOf(`a"b`) + AStringOf("")) }, `X-A"a\"b"""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := written(tt.f); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// countWriter counts calls and octets.
type countWriter struct{ calls, n int }

func (c *countWriter) Write(p []byte) (int, error) {
	c.calls++
	c.n += len(p)
	return len(p), nil
}

func TestWriterBatches(t *testing.T) {
	var c countWriter
	w := NewWriter(&c, &Buffers{})
	for range 100 {
		w.Raw("* 1 FETCH (FLAGS ())\r\n")
	}
	if c.calls != 0 {
		t.Errorf("%d writes before the flush", c.calls)
	}
	if err := w.Flush(); err != nil || c.calls != 1 || w.held != nil {
		t.Errorf("%d writes, error %v, buffer held: %v", c.calls, err, w.held != nil)
	}
}

func TestWriterCopy(t *testing.T) {
	src := strings.Repeat("0123456789", 20000)
	got := written(func(w *Writer) {
		w.LiteralHead(150000)
		w.Copy(strings.NewReader(src), 5, 150000)
	})
	if want := "{150000}\r\n" + src[5:150005]; got != want {
		t.Errorf("got %d octets, want %d", len(got), len(want))
	}
}

func TestWriterCopyShort(t *testing.T) {
	w := NewWriter(io.Discard, &Buffers{})
	w.Copy(strings.NewReader("abc"), 0, 4)
	if err := w.Flush(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriterErrorSticks(t *testing.T) {
	w := NewWriter(brokenWriter{}, &Buffers{})
	for range 3 {
		w.Raw(strings.Repeat("x", writeSize))
		w.Copy(strings.NewReader("abc"), 0, 3)
		_, _ = w.Write([]byte("y")) // the error sticks
	}
	if err := w.Flush(); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWriterFetchFlags(b *testing.B) {
	b.ReportAllocs()
	w := NewWriter(io.Discard, &Buffers{})
	for i := 0; b.Loop(); i++ {
		w.Raw("* ")
		w.Number(uint64(i))
		w.Raw(" FETCH (UID ")
		w.Number(uint64(i))
		w.Raw(` FLAGS (\Seen))` + "\r\n")
	}
}

func BenchmarkReaderCommand(b *testing.B) {
	b.ReportAllocs()
	line := strings.Repeat("a001 FETCH 1:100\r\n", 200)
	src := strings.NewReader(line)
	r := NewReader(src, &Buffers{}, Limits{}, nil)
	for b.Loop() {
		if src.Len() == 0 && r.Buffered() == 0 {
			src.Reset(line)
		}
		r.Begin()
		r.Tag()
		r.SP()
		r.Word()
		r.SP()
		r.Set()
		if err := r.End(); err != nil {
			b.Fatal(err)
		}
	}
}
