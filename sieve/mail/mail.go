// Package mail makes a message of mtad one that Sieve scripts can look at and
// change: what package sieve knows by its interfaces only.
package mail

import (
	"bytes"
	"io"
	"strings"

	"mtad/message"
	"mtad/sieve"
)

// Message is a message that a script sees. It is immutable: what changes it
// returns another. Many goroutines may use it.
type Message struct {
	m     *message.Message
	owner sieve.Address // who the script belongs to

	// What parts a script has seen belong to, and what stands in their place.
	base     *message.Message
	replaced []replacement
	gone     []*message.Message // those whose parts are all replaced
}

// New is a message for the script of an owner. The message's octets must stay
// valid as long as this, or what is made from it, is used.
func New(m *message.Message, owner sieve.Address) *Message {
	return &Message{m: m, owner: owner, base: m}
}

// Mail is the message as it is now.
func (m *Message) Mail() *message.Message { return m.m }

// With is another message in this one's place: what a program made of it.
func (m *Message) With(other *message.Message) *Message {
	h := m.m.Header().Without(func(message.Field) bool { return true })
	for _, f := range other.Header().Fields() {
		h, _ = h.Insert(h.Len(), f.Raw)
	}
	return m.become(h, other.Body())
}

// Size is that of this revision.
func (m *Message) Size() int64 { return m.m.Size() }

// Header decodes the fields of that name.
func (m *Message) Header(name string) []string { return header(m.m.Header(), name) }

// Addresses reads the fields of that name.
func (m *Message) Addresses(name string) [][]sieve.Address { return addresses(m.m.Header(), name) }

// Media reads the fields of that name.
func (m *Message) Media(name string) []sieve.Media { return media(m.m.Header(), name) }

// Body is what is behind the header.
func (m *Message) Body(limit int) ([]byte, error) {
	if m.m.Size() == m.m.Header().Size() {
		return nil, nil // not even an empty line
	}
	return io.ReadAll(io.LimitReader(message.NewReader(m.m.Body()), int64(limit)))
}

// Type is the media type of the whole.
func (m *Message) Type() (typ, subtype string) {
	root, err := m.m.Structure()
	if err != nil {
		return "text", "plain"
	}
	return readableType(root)
}

// Children are the parts of the message.
func (m *Message) Children() ([]sieve.Entity, error) {
	root, err := m.m.Structure()
	if err != nil {
		return nil, err
	}
	return children(m.m, root, nil), nil
}

// Content is what the message holds that no part of it holds.
func (m *Message) Content(limit int) ([][]byte, error) {
	root, err := m.m.Structure()
	if err != nil {
		return nil, err
	}
	return content(m.m, root, limit)
}

// part is a MIME part of a message.
type part struct {
	of    *message.Message
	p     *message.Part
	marks []string // boundaries of the multiparts around it
}

func (p *part) Header(name string) []string             { return header(p.p.Header, name) }
func (p *part) Addresses(name string) [][]sieve.Address { return addresses(p.p.Header, name) }
func (p *part) Media(name string) []sieve.Media         { return media(p.p.Header, name) }
func (p *part) Type() (typ, subtype string)             { return readableType(p.p) }
func (p *part) Children() ([]sieve.Entity, error)       { return children(p.of, p.p, p.marks), nil }
func (p *part) Content(limit int) ([][]byte, error)     { return content(p.of, p.p, limit) }

// Size is that of the part, its header with it.
func (p *part) Size() int64 { return p.p.BodyOffset() - p.p.Offset + p.p.BodySize }

// Body is what is behind the part's header, as it came.
func (p *part) Body(limit int) ([]byte, error) {
	return io.ReadAll(io.LimitReader(message.NewReader(message.Section(p.of.Bytes(), p.p.BodyOffset(), p.p.BodySize)), int64(limit)))
}

// readableType is what a part is to be taken for: nobody knows what one holds in
// an encoding there is none of (RFC 2045, 6.4).
func readableType(p *message.Part) (typ, subtype string) {
	encoding, _ := p.Header.Get("Content-Transfer-Encoding")
	encoding, _ = message.ParseParams(encoding)
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary", "quoted-printable", "base64":
		return p.Type, p.Subtype
	}
	return "application", "octet-stream"
}

func children(of *message.Message, p *message.Part, marks []string) []sieve.Entity {
	if p.Embedded != nil {
		return []sieve.Entity{&part{of, p.Embedded, marks}}
	}
	if len(p.Parts) == 0 {
		return nil
	}
	inside := append(marks[:len(marks):len(marks)], p.Param("boundary"))
	out := make([]sieve.Entity, len(p.Parts))
	for i, child := range p.Parts {
		out[i] = &part{of, child, inside}
	}
	return out
}

// content is what a part itself holds.
func content(of *message.Message, p *message.Part, limit int) ([][]byte, error) {
	switch {
	case p.Embedded != nil:
		var b bytes.Buffer
		for _, f := range p.Embedded.Header.Fields() {
			if b.Len() < limit {
				b.Write(f.Raw)
			}
		}
		return [][]byte{b.Bytes()[:min(b.Len(), limit)]}, nil
	case len(p.Parts) > 0:
		return aroundParts(of, p, limit)
	case p.Type == "text":
		s, err := of.Text(p, int64(limit))
		return [][]byte{[]byte(s)}, err
	}
	b, err := io.ReadAll(io.LimitReader(of.Decoded(p), int64(limit)))
	return [][]byte{b}, err
}

// aroundParts is the prologue and the epilogue of a multipart.
func aroundParts(of *message.Message, p *message.Part, limit int) ([][]byte, error) {
	first, last := p.Parts[0], p.Parts[len(p.Parts)-1]
	all := of.Bytes()
	read := func(from, to int64) ([]byte, error) {
		return message.ReadAll(message.Section(all, from, min(max(to-from, 0), int64(limit))))
	}
	before, err := read(p.BodyOffset(), first.Offset)
	if err != nil {
		return nil, err
	}
	after, err := read(last.BodyOffset()+last.BodySize, p.BodyOffset()+p.BodySize)
	if err != nil {
		return nil, err
	}
	mark := []byte("--" + p.Param("boundary"))
	if i := bytes.LastIndex(before, mark); i >= 0 {
		before = before[:i]
	}
	if i := bytes.Index(after, mark); i >= 0 {
		after = bytes.TrimPrefix(after[i+len(mark):], []byte("--"))
		after = bytes.TrimPrefix(bytes.TrimPrefix(after, []byte("\r")), []byte("\n"))
	}
	return [][]byte{before, after}, nil
}

func header(h *message.Header, name string) []string {
	values := unfolded(h, name)
	for i, v := range values {
		values[i] = message.DecodeText(v)
	}
	return values
}

// unfolded are the values of the fields of that name. A fold, with all white
// space that belongs to it, is one space, as scripts' authors expect it.
func unfolded(h *message.Header, name string) []string {
	var out []string
	for _, f := range h.Fields() {
		if !f.Is(name) {
			continue
		}
		v := f.Value()
		if strings.IndexByte(v, '\t') >= 0 || strings.Contains(v, "  ") {
			v = unfold(f.RawValue())
		}
		out = append(out, v)
	}
	return out
}

func unfold(s string) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.Trim(s, " \t\r\n"), "\n") {
		if i > 0 {
			b.WriteByte(' ')
			line = strings.TrimLeft(line, " \t")
		}
		b.WriteString(strings.TrimRight(line, "\r"))
	}
	return b.String()
}

// addresses reads fields. An address without a domain is not valid (RFC 5322,
// 3.4.1).
func addresses(h *message.Header, name string) [][]sieve.Address {
	values := h.Values(name)
	if len(values) == 0 {
		return nil
	}
	// One field with one address is what most messages have.
	one := &struct {
		field [1][]sieve.Address
		list  [1]sieve.Address
	}{}
	out := one.field[:0]
	for i, v := range values {
		list := one.list[:0]
		if i > 0 {
			list = nil
		}
		parsed := message.ParseAddressList(v)
		for _, a := range parsed {
			switch {
			case a.Mark != message.Mailbox:
			case len(parsed) == 1 && (a.Local == "" || a.Domain == ""):
				list = append(list, sieve.Address{Invalid: v})
			case a.Local == "" || a.Domain == "":
				list = append(list, sieve.Address{Invalid: a.String()})
			default:
				list = append(list, sieve.Address{Local: a.Local, Domain: a.Domain})
			}
		}
		out = append(out, list)
	}
	return out
}

func media(h *message.Header, name string) []sieve.Media {
	var out []sieve.Media
	for _, v := range h.Values(name) {
		value, params := message.ParseParams(v)
		one := sieve.Media{Value: strings.ToLower(value)}
		for _, p := range params {
			one.Params = append(one.Params, sieve.Param{Name: p.Name, Value: message.DecodeText(p.Value)})
		}
		out = append(out, one)
	}
	return out
}
