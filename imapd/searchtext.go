package imapd

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"mtad/message"
)

func internalDay(c *candidate) (time.Time, bool) { return dayOf(c.entry.Date), true }

// sentDay is the day the Date field names, if it names one.
func sentDay(c *candidate) (time.Time, bool) {
	v, _ := c.header().Get("Date")
	t, err := mail.ParseDate(v)
	return dayOf(t), err == nil
}

// dayOf is midnight UTC of the day t shows where it was written.
func dayOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// byAge compares the time since a message's internal date in seconds (RFC 5032, 3).
func byAge(good func(age, n time.Duration) bool) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		n := time.Duration(p.r.NonZero()) * time.Second
		now := p.server.config.Now()
		return criterion{needEntry, func(c *candidate) bool { return good(now.Sub(c.entry.Date), n) }}
	}
}

// byField looks for a string in the header fields of a name, encoded words
// decoded. The empty string is in every field there is (RFC 3501, 6.4.4).
func byField(name string) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		needle := fold(p.r.AString())
		return criterion{needMessage, func(c *candidate) bool {
			for _, f := range c.header().Fields() {
				if f.Is(name) && strings.Contains(fold(message.DecodeText(f.Value())), needle) {
					return true
				}
			}
			return false
		}}
	}
}

// fold makes strings comparable without regard to case.
func fold(s string) string { return strings.ToLower(s) }

// byText looks for a string in the text parts of the body, and in the header
// too if that is wanted.
func byText(header bool) func(*searchParser) criterion {
	return func(p *searchParser) criterion {
		p.r.SP()
		if p.texts++; p.texts > maxTexts {
			p.r.Fail("More than %d keys BODY and TEXT", maxTexts)
		}
		needle := fold(p.r.AString())
		return criterion{needStructure, func(c *candidate) bool {
			return needle == "" || header && inHeader(c.header(), needle) || c.inBody(needle)
		}}
	}
}

func inHeader(h *message.Header, needle string) bool {
	for _, f := range h.Fields() {
		if strings.Contains(fold(f.Name+": "+message.DecodeText(f.Value())), needle) {
			return true
		}
	}
	return false
}

// inBody searches every part that is text or a report, and the headers of
// messages inside.
func (c *candidate) inBody(needle string) bool {
	root := c.structure()
	if root == nil {
		return false
	}
	found := false
	root.Walk(func(p *message.Part) bool {
		switch {
		case p.Embedded != nil:
			found = inHeader(p.Embedded.Header, needle)
		case p.Type == "text" || p.Type == "message": // reports of delivery and the like are read too
			found, c.err = c.inPart(p, needle)
		}
		return !found && c.err == nil
	})
	return found
}

func (c *candidate) inPart(p *message.Part, needle string) (bool, error) {
	r := c.message.Decoded(p)
	if cs := p.Param("charset"); cs != "" && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "us-ascii") {
		if decoded, err := charset.Reader(cs, r); err == nil {
			r = decoded
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, searchChunk)
	}
	return containsText(r, needle, c.buf)
}

// searchChunk is how much text is looked at in one go.
const searchChunk = 32 << 10

// containsText looks for needle, which is folded, in a text of any length. What
// a chunk ends with is carried over to the next.
func containsText(r io.Reader, needle string, buf []byte) (bool, error) {
	var carry []byte // folded
	n := 0           // octets of a rune cut in two, at the start of buf
	for {
		got, err := io.ReadFull(r, buf[n:])
		n += got
		last := err != nil
		if last && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		whole := n
		if !last {
			whole -= partialRune(buf[:n])
		}
		carry = append(carry, foldBytes(buf[:whole])...)
		if bytes.Contains(carry, []byte(needle)) {
			return true, nil
		}
		if last {
			return false, nil
		}
		if keep := len(needle) - 1; len(carry) > keep {
			carry = append(carry[:0], carry[len(carry)-keep:]...)
		}
		n = copy(buf, buf[whole:n])
	}
}

// partialRune is how many octets at the end of b are the start of a rune.
func partialRune(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

// foldBytes is fold; it may overwrite b.
func foldBytes(b []byte) []byte {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return bytes.ToLower(b)
		}
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}
