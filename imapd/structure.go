package imapd

import (
	"fmt"
	"strings"

	"mtad/imapd/wire"
	"mtad/message"
)

// writeStructure writes BODYSTRUCTURE, or BODY, which lacks the extension data
// (RFC 3501, 7.4.2).
func writeStructure(w *wire.Writer, p *message.Part, extended bool) {
	w.Byte('(')
	switch {
	case len(p.Parts) > 0:
		writeMultipart(w, p, extended)
	default:
		writeSinglePart(w, p, extended)
	}
	w.Byte(')')
}

func writeMultipart(w *wire.Writer, p *message.Part, extended bool) {
	for _, child := range p.Parts {
		writeStructure(w, child, extended)
	}
	w.SP()
	w.String(p.Subtype)
	if extended {
		w.SP()
		writeParams(w, p.Params)
		writePlacement(w, p)
	}
}

func writeSinglePart(w *wire.Writer, p *message.Part, extended bool) {
	typ, subtype := p.Type, p.Subtype
	if p.Is("message", "rfc822") && p.Embedded == nil {
		// Too deep, or encoded: what can't be looked into must not claim an
		// envelope.
		typ, subtype = "application", "octet-stream"
	}
	w.String(typ)
	w.SP()
	w.String(subtype)
	w.SP()
	writeParams(w, p.Params)
	w.SP()
	w.NString(p.ID)
	w.SP()
	w.NString(p.Description)
	w.SP()
	w.String(p.Encoding)
	w.SP()
	w.Number(uint64(p.BodySize))
	switch {
	case p.Embedded != nil:
		w.SP()
		writeEnvelope(w, p.Embedded.Header)
		w.SP()
		writeStructure(w, p.Embedded, extended)
		w.SP()
		w.Number(uint64(p.Lines))
	case typ == "text":
		w.SP()
		w.Number(uint64(p.Lines))
	}
	if extended {
		w.SP()
		w.NString(p.MD5)
		writePlacement(w, p)
	}
}

// writePlacement writes disposition, language and location.
func writePlacement(w *wire.Writer, p *message.Part) {
	if p.Disposition == "" {
		w.Raw(" NIL")
	} else {
		w.Raw(" (")
		w.String(p.Disposition)
		w.SP()
		writeParams(w, p.DispositionParams)
		w.Byte(')')
	}
	if len(p.Language) == 0 {
		w.Raw(" NIL")
	} else {
		sep := " ("
		for _, l := range p.Language {
			w.Raw(sep)
			w.String(l)
			sep = " "
		}
		w.Byte(')')
	}
	w.SP()
	w.NString(p.Location)
}

func writeParams(w *wire.Writer, params []message.Param) {
	if len(params) == 0 {
		w.Raw("NIL")
		return
	}
	sep := "("
	for _, p := range params {
		name, value := p.Name, p.Value
		if !isASCII(value) && !strings.HasSuffix(name, "*") {
			name, value = name+"*", extendedValue(value)
		}
		w.Raw(sep)
		w.String(name)
		w.SP()
		w.String(value)
		sep = " "
	}
	w.Byte(')')
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// extendedValue writes UTF-8 as RFC 2231, 4 does, the form in which it may
// stand in a header and in which clients look for it.
func extendedValue(s string) string {
	var b strings.Builder
	b.WriteString("utf-8''")
	for i := range len(s) {
		c := s[i]
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
