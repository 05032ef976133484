package imapd

import (
	"mtad/imapd/wire"
	"mtad/message"
)

// writeEnvelope writes a header's envelope (RFC 3501, 7.4.2). Text stays
// encoded as it came.
func writeEnvelope(w *wire.Writer, h *message.Header) {
	field := func(name string) string {
		v, _ := h.Get(name)
		return v
	}
	from := field("From")
	// RFC 3501, 7.4.2: NIL is a field that is missing; an empty one is empty.
	text := func(name string) {
		if v, found := h.Get(name); found {
			w.String(v)
			return
		}
		w.Raw("NIL")
	}
	w.Byte('(')
	text("Date")
	w.SP()
	text("Subject")
	for _, list := range []string{
		from,
		// RFC 3501, 7.4.2: Sender and Reply-To are From where they are missing or empty.
		orElse(field("Sender"), from),
		orElse(field("Reply-To"), from),
		allOf(h, "To"), allOf(h, "Cc"), allOf(h, "Bcc"),
	} {
		w.SP()
		writeAddresses(w, list)
	}
	w.SP()
	text("In-Reply-To")
	w.SP()
	text("Message-ID")
	w.Byte(')')
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// allOf joins the fields of a name: some senders write one for each recipient.
func allOf(h *message.Header, name string) string {
	first, found := h.First(name)
	if !found {
		return ""
	}
	all := first.Value()
	for _, f := range h.Fields() {
		if f.ID != first.ID && f.Is(name) {
			all += ", " + f.Value()
		}
	}
	return all
}

func writeAddresses(w *wire.Writer, list string) {
	var addresses []message.Address
	if list != "" {
		addresses = message.ParseAddressList(list)
	}
	if len(addresses) == 0 {
		w.Raw("NIL")
		return
	}
	w.Byte('(')
	for _, a := range addresses {
		writeAddress(w, a)
	}
	w.Byte(')')
}

// writeAddress writes one address structure; NIL as host, and as mailbox too,
// marks a group's start and end, so that neither may be NIL elsewhere.
func writeAddress(w *wire.Writer, a message.Address) {
	switch a.Mark {
	case message.GroupStart:
		w.Raw("(NIL NIL ")
		w.String(a.Name)
		w.Raw(" NIL)")
		return
	case message.GroupEnd:
		w.Raw("(NIL NIL NIL NIL)")
		return
	}
	w.Byte('(')
	w.NString(a.Name)
	w.SP()
	w.NString(a.Route)
	w.SP()
	w.String(a.Local)
	w.SP()
	w.String(a.Domain)
	w.Byte(')')
}
