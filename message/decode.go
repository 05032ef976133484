package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// DecodeText decodes RFC 2047 encoded words to UTF-8. What can't be decoded
// stays as it is; octets that are not UTF-8 are taken for Windows-1252.
func DecodeText(s string) string {
	if strings.Contains(s, "=?") {
		dec := mime.WordDecoder{CharsetReader: charset.Reader}
		if out, err := dec.DecodeHeader(s); err == nil {
			s = out
		}
	}
	return ToUTF8("", s)
}

// ToUTF8 converts s from a named character set. An unknown or missing name
// means UTF-8 where s is valid as that, else Windows-1252.
func ToUTF8(name, s string) string {
	if name != "" && !strings.EqualFold(name, "utf-8") && !strings.EqualFold(name, "us-ascii") {
		if r, err := charset.Reader(name, strings.NewReader(s)); err == nil {
			if out, err := io.ReadAll(r); err == nil {
				return string(out)
			}
		}
	}
	if utf8.ValidString(s) {
		return s
	}
	r, err := charset.Reader("windows-1252", strings.NewReader(s))
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	out, _ := io.ReadAll(r)
	return string(out)
}

// Decoded reads a part's body with its transfer encoding undone (RFC 2045, 6).
// Damage is read around: octets outside the alphabet are skipped, a broken
// escape stands for itself. An unknown encoding is left as it is.
func (m *Message) Decoded(p *Part) io.Reader {
	raw := NewReader(m.Raw(p))
	switch p.Encoding {
	case "base64":
		return &base64Reader{r: bufio.NewReader(raw)}
	case "quoted-printable":
		return &qpReader{r: bufio.NewReader(raw)}
	}
	return raw
}

// Text reads a text part in UTF-8, at most limit octets of it.
func (m *Message) Text(p *Part, limit int64) (string, error) {
	r := m.Decoded(p)
	if cs := p.Param("charset"); cs != "" && !strings.EqualFold(cs, "utf-8") {
		if cr, err := charset.Reader(cs, r); err == nil {
			r = cr
		}
	}
	b, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return "", err
	}
	return ToUTF8("", string(trimPartial(b, limit))), nil
}

// trimPartial drops a rune that the limit cut in two.
func trimPartial(b []byte, limit int64) []byte {
	if int64(len(b)) < limit {
		return b
	}
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// base64Reader decodes four characters at a time and skips what is none of the
// alphabet (RFC 2045, 6.8). Padding inside is read past.
type base64Reader struct {
	r    *bufio.Reader
	out  [3]byte
	have []byte
	err  error
}

func (b *base64Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(b.have) == 0 {
			if b.err != nil {
				break
			}
			b.fill()
			continue
		}
		c := copy(p[n:], b.have)
		b.have = b.have[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, b.err
	}
	return n, nil
}

// fill decodes the next group.
func (b *base64Reader) fill() {
	var quad [4]byte
	n := 0
	for n < 4 {
		c, err := b.r.ReadByte()
		if err != nil {
			b.err = err
			break
		}
		if c == '=' && n >= 2 {
			break
		}
		if base64Letter(c) {
			quad[n] = c
			n++
		}
	}
	if n < 2 {
		return
	}
	got, err := base64.RawStdEncoding.Decode(b.out[:], quad[:n])
	if err != nil && got == 0 {
		return
	}
	b.have = b.out[:got]
}

func base64Letter(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

// qpReader decodes quoted-printable a line at a time (RFC 2045, 6.7).
type qpReader struct {
	r    *bufio.Reader
	line []byte
	cut  []byte // an escape that the end of the buffer cut in two
	err  error
}

func (q *qpReader) Read(p []byte) (int, error) {
	for len(q.line) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		line, err := q.r.ReadSlice('\n')
		if len(q.cut) > 0 {
			line, q.cut = append(q.cut, line...), nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
			if i := bytes.LastIndexByte(line, '='); i >= len(line)-2 {
				line, q.cut = line[:i], bytes.Clone(line[i:])
			}
		}
		q.err = err
		q.line = decodeQP(line)
	}
	n := copy(p, q.line)
	q.line = q.line[n:]
	return n, nil
}

// decodeQP decodes one line in place.
func decodeQP(line []byte) []byte {
	end := len(line)
	body := trimEOL(line)
	eol := line[len(body):]
	for len(body) > 0 && len(eol) > 0 && (body[len(body)-1] == ' ' || body[len(body)-1] == '\t') {
		body = body[:len(body)-1] // white space before a break is transport padding
	}
	soft := len(body) > 0 && body[len(body)-1] == '=' && (len(eol) > 0 || end == len(body))
	if soft {
		body = body[:len(body)-1]
	}
	out := line[:0]
	for i := 0; i < len(body); i++ {
		if body[i] == '=' && i+2 < len(body) {
			if v, ok := hexPair(body[i+1], body[i+2]); ok {
				out = append(out, v)
				i += 2
				continue
			}
		}
		out = append(out, body[i])
	}
	if !soft {
		out = append(out, eol...)
	}
	return out
}
