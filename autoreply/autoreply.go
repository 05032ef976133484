// Package autoreply says who may get an automatic reply, and writes it
// (RFC 3834; RFC 5230, 4). That nobody gets the same one every day is its
// callers' business.
package autoreply

import (
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"

	"mtad/message"
	"mtad/smtp"
)

// MaxSubject bounds a subject, in octets.
const MaxSubject = 500

// Refuse says why a message gets no automatic reply (RFC 3834, 2; RFC 5230, 4.5
// and 4.6), "" if it may get one. own are the addresses of the account: mail that
// names none of them gets no reply.
func Refuse(h *message.Header, sender smtp.Address, own []string) string {
	switch {
	case sender.Local == "" || sender.Domain == "":
		return "there is nobody to answer"
	case noPerson(strings.ToLower(sender.Local)):
		return "the sender is no person"
	case slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, sender.String()) }):
		return "it is one's own"
	}
	for _, f := range []string{"List-Id", "List-Post", "List-Help", "List-Subscribe", "List-Unsubscribe", "List-Owner", "List-Archive"} {
		if _, ok := h.Get(f); ok {
			return "it came by a list"
		}
	}
	switch {
	case Automatic(h):
		return "it is an automatic answer itself"
	case says(h, "Precedence", "bulk", "list", "junk"):
		return "it is bulk mail"
	case says(h, "X-Auto-Response-Suppress", "oof", "autoreply", "all"): // Exchange's; OOF is "out of office"
		return "its sender wants no automatic answer"
	case !addressed(h, own):
		return "it is not addressed to this account"
	}
	return ""
}

// Automatic reports whether a message says that a program made it (RFC 3834, 5).
func Automatic(h *message.Header) bool {
	for _, v := range h.Values("Auto-Submitted") {
		if i := strings.IndexAny(v, ";("); i >= 0 { // parameters, a comment
			v = v[:i]
		}
		if !strings.EqualFold(strings.TrimSpace(v), "no") {
			return true
		}
	}
	return false
}

// says reports whether one of the words, in lower case, is in a field that lists
// such.
func says(h *message.Header, name string, words ...string) bool {
	for _, v := range h.Values(name) {
		for word := range strings.SplitSeq(v, ",") {
			if slices.Contains(words, strings.ToLower(strings.TrimSpace(word))) {
				return true
			}
		}
	}
	return false
}

// noPerson reports whether a local-part, in lower case, is a program's.
func noPerson(local string) bool {
	return local == "mailer-daemon" || local == "listserv" || local == "majordomo" ||
		strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") || strings.HasSuffix(local, "-owner") ||
		slices.ContainsFunc(programs, func(w string) bool {
			i := strings.Index(local, w)
			return i == 0 || i > 0 && (local[i-1] < 'a' || local[i-1] > 'z')
		})
}

// programs are words that a program's address begins with, or has after another
// word.
var programs = []string{"bounce", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "do_not_reply"}

func addressed(h *message.Header, own []string) bool {
	for _, name := range []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"} {
		for _, v := range h.Values(name) {
			for _, a := range message.ParseAddressList(v) {
				if a.Mark == message.Mailbox && slices.ContainsFunc(own, func(o string) bool { return o != "" && strings.EqualFold(a.String(), o) }) {
					return true
				}
			}
		}
	}
	return false
}

// Reply is an automatic reply to a message.
type Reply struct {
	From    string // as in a From field
	To      smtp.Address
	Subject string          // "" is "Auto:" and the message's own (RFC 5230, 4.3)
	Body    string          // UTF-8 text, or with MIME an entity with its header
	MIME    bool            // Body is a MIME entity
	About   *message.Header // the message that is answered
	Host    string          // for the Message-ID
	Kind    string          // "vacation": stands in Auto-Submitted
	Now     time.Time
}

// Bytes is the whole message.
func (r Reply) Bytes() []byte {
	subject := r.Subject
	if subject == "" {
		about, _ := r.About.Get("Subject")
		subject = "Auto: " + message.DecodeText(about)
	}
	subject = strings.Join(strings.Fields(message.ToUTF8("", subject)), " ")
	if len(subject) > MaxSubject {
		subject = strings.ToValidUTF8(subject[:MaxSubject], "")
	}
	var b strings.Builder
	field := func(name, value string) { b.Write(message.FormatField(name, value)) }
	field("From", r.From)
	field("To", r.To.Path())
	field("Subject", mime.QEncoding.Encode("utf-8", subject))
	field("Date", r.Now.Format(time.RFC1123Z))
	field("Message-ID", fmt.Sprintf("<%s.%s@%s>", message.NewID(r.Now), r.Kind, r.Host))
	r.thread(field)
	field("Auto-Submitted", "auto-replied ("+r.Kind+")")
	field("MIME-Version", "1.0")
	if r.MIME {
		r.entity(&b)
		return []byte(b.String())
	}
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(crlf(message.ToUTF8("", r.Body)))) // a Builder takes everything
	_ = w.Close()
	b.WriteString("\r\n")
	return []byte(b.String())
}

// maxReferences bounds the octets of the field References.
const maxReferences = 4 << 10

// thread names the message that is answered (RFC 5322, 3.6.4).
func (r Reply) thread(field func(name, value string)) {
	id, _ := r.About.Get("Message-ID")
	id = strings.Join(strings.Fields(id), " ")
	if !strings.HasPrefix(id, "<") || !printable(id) {
		return
	}
	field("In-Reply-To", id)
	refs, _ := r.About.Get("References")
	refs = strings.Join(strings.Fields(refs), " ")
	if !printable(refs) || len(refs) > maxReferences {
		refs = ""
	}
	field("References", strings.TrimSpace(refs+" "+id))
}

// entity writes the fields of Body that describe content, and what is behind
// them (RFC 5230, 4.8): no script makes a field of another kind.
func (r Reply) entity(b *strings.Builder) {
	m, err := message.Parse(message.FromBytes([]byte(crlf(r.Body))))
	if err != nil {
		b.WriteString("\r\n")
		return
	}
	for _, f := range m.Header().Fields() {
		if len(f.Name) > 8 && strings.EqualFold(f.Name[:8], "Content-") {
			b.Write(f.Raw)
		}
	}
	b.WriteString("\r\n")
	_, _ = message.Copy(b, m.Body())
	b.WriteString("\r\n")
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
