package mail

import (
	"bytes"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam/spamtest"
)

// FuzzHTML: what is rendered is not more than there is, but for the spaces of layout;
// the visible and the invisible are parts of it; and it takes no longer than its length.
func FuzzHTML(f *testing.F) {
	for _, m := range spamtest.Corpus(6, 60) {
		for _, p := range Parse(m.Text, Limits{}).Leaves() {
			if p.Type == "text/html" {
				f.Add(p.Decoded())
			}
		}
	}
	for _, s := range []string{"<", "<!--", "</", "<a ", "&", "&#x", "<table><tr><td>", "<b", "<![CDATA[", "<style>", "<font color=", "<a href=x>"} {
		f.Add(bytes.Repeat([]byte(s), 1000))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 64<<10 {
			return
		}
		spent := mtatest.CPU(t)
		h := RenderHTML(text, len(text))
		all := h.Text(All)
		for _, w := range []Which{Visible, Invisible} {
			if part := h.Text(w); len(part) > len(all)+len(text) {
				t.Errorf("%d octets of %d", len(part), len(all))
			}
		}
		// An entity may stand for a letter of more octets than it has; a tag for spaces.
		if len(all) > 4*len(text)+16 {
			t.Errorf("%d octets of text in %d of HTML", len(all), len(text))
		}
		for u := range h.URIs {
			if len(u) > 16<<10 {
				t.Errorf("a link of %d octets", len(u))
			}
		}
		if took := spent(); took > 3*time.Second {
			t.Errorf("%v", took)
		}
	})
}

// FuzzParse: there is no message that is not taken apart, and every part is of it.
func FuzzParse(f *testing.F) {
	for _, m := range spamtest.Corpus(7, 60) {
		f.Add(m.Text)
	}
	f.Add(bytes.Repeat([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n"), 200))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 256<<10 {
			return
		}
		spent := mtatest.CPU(t)
		m := Parse(text, Limits{})
		// Lines of a header all end like its first one.
		if len(m.Head)+len(m.Body) > len(text)+bytes.Count(text, []byte("\n"))+4 {
			t.Errorf("a head of %d octets and a body of %d in a message of %d", len(m.Head), len(m.Body), len(text))
		}
		raw := 0
		for _, p := range m.Leaves() {
			raw += len(p.Raw())
			p.Rendered()
		}
		if raw > 2*len(text)+1000 {
			t.Errorf("parts of %d octets in a message of %d", raw, len(text))
		}
		m.Text(All)
		m.RawText()
		if took := spent(); took > 5*time.Second {
			t.Errorf("%v", took)
		}
	})
}
