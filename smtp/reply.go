package smtp

import (
	"fmt"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
)

// Code is an enhanced status code, class.subject.detail (RFC 3463).
type Code = gosmtp.EnhancedCode

// Reply is what a client is told. Its zero value is no reply.
type Reply struct {
	Code     int    `json:"code"`           // 200 to 599
	Enhanced Code   `json:"enhanced"`       // zero: none is sent
	Text     string `json:"text,omitempty"` // "\n" separates lines; printable text only
}

// NewReply makes a reply with an enhanced code of the reply's own class.
func NewReply(code, subject, detail int, text string) Reply {
	return Reply{code, Code{code / 100, subject, detail}, text}
}

// IsZero reports whether r is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// OK reports a 2xx or 3xx reply.
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary reports a 4xx reply.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 }

// Prefixed returns the reply with s before its text.
func (r Reply) Prefixed(s string) Reply {
	r.Text = s + r.Text
	return r
}

// Suffixed returns the reply with s after the text of its last line.
func (r Reply) Suffixed(s string) Reply {
	r.Text += s
	return r
}

// String is the reply on one line, as logs and traces show it.
func (r Reply) String() string {
	s := strconv.Itoa(r.Code)
	if r.Enhanced != (Code{}) {
		s += " " + FormatCode(r.Enhanced)
	}
	return s + " " + strings.ReplaceAll(r.Text, "\n", " / ")
}

// FormatCode writes an enhanced status code as 5.7.1.
func FormatCode(c Code) string { return fmt.Sprintf("%d.%d.%d", c[0], c[1], c[2]) }

// ParseCode reads 5.7.1.
func ParseCode(s string) (Code, bool) {
	class, rest, ok1 := strings.Cut(s, ".")
	subject, detail, ok2 := strings.Cut(rest, ".")
	c := Code{}
	for i, p := range []string{class, subject, detail} {
		n, err := strconv.ParseUint(p, 10, 10)
		if err != nil || !ok1 || !ok2 || n > 999 {
			return Code{}, false
		}
		c[i] = int(n)
	}
	return c, c[0] == 2 || c[0] == 4 || c[0] == 5
}

// Append writes the reply as it goes over the wire (RFC 5321, 4.2.1; RFC 2034,
// 4): every line with the code, and the enhanced code where there is one. Octets
// that no reply may hold become "?"; a line is cut at 512 octets (RFC 5321,
// 4.5.3.1.5).
func (r Reply) Append(b []byte) []byte {
	text := r.Text
	for {
		line, rest, more := strings.Cut(text, "\n")
		start := len(b)
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Enhanced != (Code{}) {
			b = appendCode(b, r.Enhanced)
			b = append(b, ' ')
		}
		for i := 0; i < len(line) && len(b)-start < 510; i++ {
			b = append(b, printable(line[i]))
		}
		b = append(b, '\r', '\n')
		if !more {
			return b
		}
		text = rest
	}
}

func appendCode(b []byte, c Code) []byte {
	b = strconv.AppendInt(b, int64(c[0]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(c[1]), 10)
	b = append(b, '.')
	return strconv.AppendInt(b, int64(c[2]), 10)
}

func printable(c byte) byte {
	if c == '\t' {
		return ' '
	}
	if c < ' ' || c == 0x7f {
		return '?'
	}
	return c
}
