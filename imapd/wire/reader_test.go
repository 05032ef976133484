package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// over returns a Reader of s that counts how often it asked for a literal.
func over(s string, lim Limits) (r *Reader, asked *int) {
	asked = new(int)
	r = NewReader(iotest.HalfReader(strings.NewReader(s)), &Buffers{}, lim, func() error {
		*asked++
		return nil
	})
	r.Begin()
	return r, asked
}

func TestTokens(t *testing.T) {
	tests := []struct {
		name, in string
		read     func(*Reader) any
		want     any
		bad      bool
	}{
		{"tag", "a.1 ", func(r *Reader) any { return r.Tag() }, "a.1", false},
		{"tag plus", "+ ", func(r *Reader) any { return r.Tag() }, "", true},
		{"word", "Body.Peek[", func(r *Reader) any { return r.Word() }, "BODY.PEEK", false},
		{"atom", "a]b", func(r *Reader) any { return r.Atom() }, "a", false},
		{"astring atom", "a]b ", func(r *Reader) any { return r.AString() }, "a]b", false},
		{"astring quoted", `"a \"b\\"`, func(r *Reader) any { return r.AString() }, `a "b\`, false},
		{"empty quoted", `""`, func(r *Reader) any { return r.AString() }, "", false},
		{"bad escape", `"a\b"`, func(r *Reader) any { return r.AString() }, "", true},
		{"open quoted", "\"a\r\n", func(r *Reader) any { return r.AString() }, "", true},
		{"literal", "{3}\r\na\r\nx", func(r *Reader) any { return r.AString() }, "a\r\n", false},
		{"literal plus", "{3+}\r\nabcx", func(r *Reader) any { return r.AString() }, "abc", false},
		{"literal NUL", "{3+}\r\na\x00c", func(r *Reader) any { return r.AString() }, "", true},
		{"literal bare", "{3}abc", func(r *Reader) any { return r.AString() }, "", true},
		{"number", "4294967295 ", func(r *Reader) any { return r.Number() }, uint32(4294967295), false},
		{"number too large", "4294967296 ", func(r *Reader) any { return r.Number() }, uint32(0), true},
		{"number huge", "99999999999999999999999 ", func(r *Reader) any { return r.Number64() }, int64(0), true},
		{"zero", "0 ", func(r *Reader) any { return r.NonZero() }, uint32(0), true},
		{"system flag", `\Seen)`, func(r *Reader) any { return r.Flag() }, `\Seen`, false},
		{"flag", `$Junk)`, func(r *Reader) any { return r.Flag() }, `$Junk`, false},
		{"flags", `(\Seen a)`, func(r *Reader) any { return strings.Join(r.Flags(), ",") }, `\Seen,a`, false},
		{"no flags", `()`, func(r *Reader) any { return strings.Join(r.Flags(), ",") }, ``, false},
		{"flags open", "(a\r\n", func(r *Reader) any { return len(r.Flags()) }, 1, true},
		{"date", "1-Feb-2026 ", func(r *Reader) any { return r.Date() }, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), false},
		{"date quoted", `"01-Feb-2026" `, func(r *Reader) any { return r.Date() }, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), false},
		{"no date", "yesterday ", func(r *Reader) any { return r.Date().IsZero() }, true, true},
		{"date-time", `" 1-Feb-2026 10:00:00 +0000"`, func(r *Reader) any { return r.DateTime().UTC() }, time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC), false},
		{"inbox", "iNbOx ", func(r *Reader) any { return r.Mailbox() }, "INBOX", false},
		{"mailbox", "&AOQ-x ", func(r *Reader) any { return r.Mailbox() }, "äx", false},
		{"mailbox bad", "&AOQ ", func(r *Reader) any { return r.Mailbox() }, "", true},
		{"pattern", "a/%* ", func(r *Reader) any { return r.ListMailbox() }, "a/%*", false},
		{"nstring", "nil ", func(r *Reader) any { _, ok := r.NString(); return ok }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := over(tt.in, Limits{})
			got := tt.read(r)
			var syntax *SyntaxError
			if bad := errors.As(r.Err(), &syntax); bad != tt.bad || got != tt.want {
				t.Errorf("got %v, error %v; want %v, bad %v", got, r.Err(), tt.want, tt.bad)
			}
		})
	}
}

func TestLiteralsAreAskedFor(t *testing.T) {
	r, asked := over("{2}\r\nab {2+}\r\ncd\r\n", Limits{})
	a := r.String()
	r.SP()
	b := r.String()
	if err := r.End(); err != nil || a != "ab" || b != "cd" || *asked != 1 {
		t.Errorf("got %q %q, asked %d times, error %v", a, b, *asked, err)
	}
}

func TestBounds(t *testing.T) {
	lim := Limits{Line: 40, Depth: 3, Skip: 100}
	tests := []struct {
		name, in string
		read     func(*Reader)
		code     string
		asked    int
		discard  error
		rest     string // what the next command begins with
	}{
		{"long atom", strings.Repeat("a", 60) + "\r\nnext", func(r *Reader) { r.Atom() }, "", 0, nil, "next"},
		{"long quoted", `"` + strings.Repeat("a", 60) + "\"\r\nnext", func(r *Reader) { r.AString() }, "", 0, nil, "next"},
		{"synchronising literal", "{60}\r\nnext", func(r *Reader) { r.AString() }, "TOOBIG", 0, nil, "next"},
		{"literal sent unasked", "{60+}\r\n" + strings.Repeat("\n", 60) + " x\r\nnext", func(r *Reader) { r.AString() }, "TOOBIG", 0, nil, "next"},
		{"literal sent unasked, huge", "{600+}\r\nnext", func(r *Reader) { r.AString() }, "TOOBIG", 0, ErrFlood, ""},
		{"literal of more than numbers hold", "{99999999999999999999+}\r\nnext", func(r *Reader) { r.AString() }, "", 0, ErrFlood, ""},
		{"the same behind an error", "( {9999999999999999999999999999+}\r\nnext", func(r *Reader) { r.Atom() }, "", 0, ErrFlood, ""},
		{"leading zeros behind an error", "( {0000000000000000003+}\r\nx\r\r\nnext", func(r *Reader) { r.Atom() }, "", 0, nil, "next"},
		{"flood", strings.Repeat("a", 200) + "\r\n", func(r *Reader) { r.Atom() }, "", 0, ErrFlood, ""},
		{"two literals after an error", "( {3+}\r\nx\r\n {4}\r\nnext", func(r *Reader) { r.Atom() }, "", 0, nil, "next"},
		{"deep", "((((a))))\r\nnext", func(r *Reader) {
			for range 4 {
				r.Open()
			}
		}, "", 0, nil, "next"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, asked := over(tt.in+" ", lim)
			tt.read(r)
			var syntax *SyntaxError
			if !errors.As(r.Err(), &syntax) || syntax.Code != tt.code || *asked != tt.asked {
				t.Fatalf("error %#v, asked %d", r.Err(), *asked)
			}
			if err := r.Discard(); !errors.Is(err, tt.discard) {
				t.Fatalf("discard: %v, want %v", err, tt.discard)
			}
			if tt.discard == nil {
				r.Begin()
				if got := r.Atom(); got != tt.rest {
					t.Errorf("then %q, want %q", got, tt.rest)
				}
			}
		})
	}
}

func TestStream(t *testing.T) {
	body := strings.Repeat("x", 20000)
	for _, head := range []string{"{20000}\r\n", "{20000+}\r\n"} {
		r, asked := over(head+body+"\r\nnext ", Limits{})
		l := r.Stream(30000)
		if l == nil || l.Size != 20000 || *asked != 0 {
			t.Fatalf("literal %v, asked %d", l, *asked)
		}
		if err := l.Ask(); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if n, err := io.Copy(&got, l); err != nil || n != 20000 || got.String() != body {
			t.Fatalf("read %d, %v", n, err)
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		r.Begin()
		if next := r.Atom(); next != "next" {
			t.Errorf("then %q", next)
		}
	}
}

func TestStreamRefused(t *testing.T) {
	tests := []struct {
		name, in string
		limit    int64
	}{
		{"before it is asked for", "{5}\r\nnext", 10},
		{"sent unasked", "{5+}\r\nabcde\r\nnext", 10},
		{"too large", "{50}\r\nnext", 10},
		{"too large, sent unasked", "{11+}\r\nabcdefghijk\r\nnext", 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, asked := over(tt.in+" ", Limits{})
			r.Stream(tt.limit)
			if err := r.Discard(); err != nil || *asked != 0 {
				t.Fatalf("discard %v, asked %d", err, *asked)
			}
			r.Begin()
			if next := r.Atom(); next != "next" {
				t.Errorf("then %q", next)
			}
		})
	}
}

func TestHalfStreamIsDiscarded(t *testing.T) {
	r, _ := over("{10}\r\n0123456789\r\nnext ", Limits{})
	l := r.Stream(100)
	if err := l.Ask(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(l, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := r.Discard(); err != nil {
		t.Fatal(err)
	}
	r.Begin()
	if next := r.Atom(); next != "next" {
		t.Errorf("then %q", next)
	}
}

func TestEndOfInput(t *testing.T) {
	for _, in := range []string{"a", "{4}\r\nab", "\"a", "{4"} {
		r, _ := over(in, Limits{})
		r.AString()
		if err := r.End(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", in, err)
		}
		if err := r.Discard(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: discard: %v", in, err)
		}
	}
}

func TestWaitHoldsNoBuffer(t *testing.T) {
	r, _ := over("a NOOP\r\n", Limits{})
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	r.Begin()
	r.Tag()
	r.SP()
	if w := r.Word(); w != "NOOP" || r.End() != nil {
		t.Fatalf("word %q, %v", w, r.Err())
	}
	if err := r.Wait(); !errors.Is(err, io.EOF) {
		t.Fatalf("wait: %v", err)
	}
	if r.held != nil || r.tok != nil {
		t.Error("a buffer is held while waiting")
	}
}

// FuzzReader runs every kind of token over any input: whatever comes, the
// Reader stops, within its limits.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"a1 LOGIN \"x\" {3+}\r\nabc\r\n", "* (1:* 2,3) \\Seen {10}\r\n", "a \"\\\"\" nil ((()))\r\n",
		"{99999999999}\r\n", "{5+}\r\n", "1-Feb-2026 \" 1-Feb-2026 10:00:00 +0000\"", "&AOQ- &-",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		lim := Limits{Line: 200, Depth: 5, Skip: 300}
		for i := range 16 {
			r := NewReader(strings.NewReader(in), &Buffers{}, lim, func() error { return nil })
			r.Begin()
			for k := i; r.Err() == nil && !r.AtEnd(); k++ {
				before := r.used
				token(r, k)
				if r.Err() == nil && r.used == before && k > i+32 {
					break
				}
			}
			if r.used > lim.Line {
				t.Fatalf("took %d octets", r.used)
			}
			_ = r.End() // either outcome is right; Discard must cope with both
			if err := r.Discard(); err == nil && !r.done {
				t.Fatal("discarded, but not at a command's start")
			}
		}
	})
}

func token(r *Reader, k int) {
	switch k % 12 {
	case 0:
		r.AString()
	case 1:
		r.Accept(' ')
	case 2:
		r.Flags()
	case 3:
		r.Set()
	case 4:
		r.Mailbox()
	case 5:
		r.ListMailbox()
	case 6:
		r.NString()
	case 7:
		r.Date()
	case 8:
		r.DateTime()
	case 9:
		r.Word()
	case 10:
		r.Number64()
	default:
		if l := r.Stream(100); l != nil && l.Ask() == nil {
			_, _ = io.Copy(io.Discard, l) // the error sticks
		}
	}
}
