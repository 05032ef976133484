package mail

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"

	"mtad/message"
	"mtad/sieve"
)

// with is the message with another header.
func (m *Message) with(h *message.Header) *Message {
	out := *m
	out.m = m.m.WithHeader(h)
	return &out
}

// AddField adds a field; what is not ASCII becomes encoded words (RFC 2047).
func (m *Message) AddField(name, value string, last bool) (sieve.Message, error) {
	if !message.ValidFieldName(name) {
		return nil, fmt.Errorf("no field is named %q", name)
	}
	h := m.m.Header()
	at := 0
	if last {
		at = h.Len()
	}
	h, _ = h.Insert(at, formatField(name, value))
	return m.with(h), nil
}

func formatField(name, value string) []byte {
	return message.FormatField(name, mime.QEncoding.Encode("utf-8", value))
}

// DeleteFields removes fields of a name.
func (m *Message) DeleteFields(name string, places []int) (sieve.Message, error) {
	h := m.m.Header()
	for i, f := range h.All(name) {
		if slices.Contains(places, i) {
			h, _ = h.Remove(f.ID)
		}
	}
	return m.with(h), nil
}

// replacement is an entity in the place of a part. Offsets count from the start
// of the body.
type replacement struct {
	from, to int64
	entity   []byte
}

// Errors of replacing.
var (
	errForeign  = errors.New("this part is not in the message any more")
	errBoundary = errors.New("the replacement holds the boundary of the multipart around it")
)

// ReplacePart puts an entity in a part's place.
func (m *Message) ReplacePart(e sieve.Entity, entity []byte) (sieve.Message, error) {
	if e == nil {
		return m.replaceAll(entity)
	}
	at, ok := e.(*part)
	out := *m
	switch {
	case ok && slices.ContainsFunc(m.gone, at.of.SameBody):
		return m, nil
	case ok && at.of.SameBody(m.m): // a tree of what it is now
		out.base, out.replaced = m.m, nil
	case !ok || !at.of.SameBody(m.base):
		return nil, errForeign
	}
	for _, mark := range at.marks {
		if hasBoundary(entity, mark) {
			return nil, errBoundary
		}
	}
	head := at.of.HeaderSize()
	// The line break before a boundary is the boundary's.
	r := replacement{at.p.Offset - head, at.p.BodyOffset() + at.p.BodySize - head, bytes.TrimSuffix(entity, []byte("\r\n"))}
	if slices.ContainsFunc(out.replaced, func(o replacement) bool { return o.from < r.from && r.to <= o.to }) {
		return m, nil // what is around it is gone already
	}
	out.replaced = slices.DeleteFunc(slices.Clone(out.replaced), func(o replacement) bool { return r.from <= o.from && o.to <= r.to })
	out.replaced = append(out.replaced, r)
	slices.SortFunc(out.replaced, func(a, b replacement) int { return cmp.Compare(a.from, b.from) })
	body := out.base.Body()
	var pieces []message.Bytes
	from := int64(0)
	for _, r := range out.replaced {
		pieces = append(pieces, message.Section(body, from, r.from-from), message.FromBytes(r.entity))
		from = r.to
	}
	pieces = append(pieces, message.Section(body, from, body.Size()-from))
	out.m = m.m.WithBody(message.Join(pieces...))
	return &out, nil
}

func hasBoundary(entity []byte, mark string) bool {
	line := []byte("--" + mark)
	return bytes.HasPrefix(entity, line) || bytes.Contains(entity, append([]byte("\n"), line...))
}

// replaceAll gives the message another body, and the fields that describe it.
func (m *Message) replaceAll(entity []byte) (sieve.Message, error) {
	e, err := message.Parse(message.FromBytes(entity))
	if err != nil {
		return nil, err
	}
	h := m.m.Header().Without(describes)
	h, _ = h.Insert(h.Len(), message.FormatField("MIME-Version", "1.0"))
	for _, f := range e.Header().Fields() {
		if describes(f) && !f.Is("MIME-Version") {
			h, _ = h.Insert(h.Len(), f.Raw)
		}
	}
	out := m.become(h, e.Body())
	out.gone = append(slices.Clip(m.gone), m.base, m.m)
	return out, nil
}

// describes reports whether a field says what the body is.
func describes(f message.Field) bool {
	return f.Is("MIME-Version") || len(f.Name) > 8 && strings.EqualFold(f.Name[:8], "Content-")
}

// tracing are the fields that stay on an enclosing message: they stop loops.
func tracing(f message.Field) bool {
	return f.Is("Received") || f.Is("Return-Path") || f.Is("Delivered-To") || f.Is("Auto-Submitted")
}

// Enclose makes the message a part of a new one.
func (m *Message) Enclose(subject string, fields []string, text string) (sieve.Message, error) {
	named := func(name string) bool {
		return slices.ContainsFunc(fields, func(s string) bool { return strings.EqualFold(s, name) })
	}
	h := m.m.Header().Without(func(f message.Field) bool {
		if f.Is("Subject") {
			return subject != "" // else it is that of the enclosed message (RFC 5703, 6)
		}
		return !tracing(f) && (f.Name == "" || !named(f.Name) || describes(f))
	})
	boundary := rand.Text()
	add := func(name, value string) { h, _ = h.Insert(h.Len(), formatField(name, value)) }
	if !named("From") {
		add("From", m.owner.String())
	}
	if !named("Date") {
		add("Date", time.Now().Format(message.DateFormat))
	}
	if !named("Message-ID") {
		add("Message-ID", "<"+rand.Text()+"@"+or(m.owner.Domain, "localhost")+">")
	}
	if subject != "" {
		add("Subject", subject)
	}
	add("MIME-Version", "1.0")
	add("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	var b bytes.Buffer
	b.WriteString("--" + boundary + "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(text)) //nolint:errcheck // a Buffer takes everything
	w.Close()             //nolint:errcheck // likewise
	b.WriteString("\r\n--" + boundary + "\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n")
	return m.become(h, message.Join(message.FromBytes(b.Bytes()), m.m.Bytes(), message.FromBytes([]byte("\r\n--"+boundary+"--\r\n")))), nil
}

// become is the message with another header and body. Fields that it had and has
// are known by the IDs that they had.
func (m *Message) become(h *message.Header, body message.Bytes) *Message {
	out := *m
	out.m = m.m.WithHeader(h).WithBody(body)
	out.base, out.replaced = out.m, nil
	return &out
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
