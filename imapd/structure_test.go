package imapd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"mtad/imapd/wire"
	"mtad/message"
)

func structureOf(t *testing.T, raw string, extended bool) (string, *message.Part) {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(crlf(raw))))
	if err != nil {
		t.Fatal(err)
	}
	root, err := m.Structure()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := wire.NewWriter(&b, &wire.Buffers{})
	writeStructure(w, root, extended)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String(), root
}

func TestStructureOfBrokenMail(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"nothing", "", `("text" "plain" NIL NIL NIL "7bit" 0 0)`},
		{"no header", "just text\n", `("text" "plain" NIL NIL NIL "7bit" 11 1)`},
		{"no parts", "Content-Type: multipart/mixed; boundary=b\n\nnothing\n", `(("text" "plain" NIL NIL NIL "7bit" 0 0) "mixed")`},
		{"no boundary", "Content-Type: multipart/mixed\n\nx\n", `("text" "plain" NIL NIL NIL "7bit" 3 1)`},
		{"nonsense type", "Content-Type: ///\n\nx\n", `("text" "plain" NIL NIL NIL "7bit" 3 1)`},
		{"encoded message", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA\n", `("application" "octet-stream" NIL NIL NIL "base64" 6)`},
		{"quote in a parameter", "Content-Type: text/plain; name=\"a\\\"b\"\n\n", `("text" "plain" ("name" "a\"b") NIL NIL "7bit" 0 0)`},
		{
			"message in itself", "Content-Type: message/rfc822\n\nSubject: in\n\nx\n",
			`("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" NIL NIL NIL "7bit" 3 1) 3)`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := structureOf(t, tt.raw, false); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestEmptyFieldsInEnvelope tells a field that is empty from one that is missing.
func TestEmptyFieldsInEnvelope(t *testing.T) {
	_, root := structureOf(t, "Subject:\nDate: \nIn-Reply-To:\n\nx\n", false)
	var b bytes.Buffer
	w := wire.NewWriter(&b, &wire.Buffers{})
	writeEnvelope(w, root.Header)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), `("" "" NIL NIL NIL NIL NIL NIL "" NIL)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestDeepStructure nests far deeper than anything looks.
func TestDeepStructure(t *testing.T) {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	got, root := structureOf(t, b.String(), true)
	if strings.Count(got, "(") != strings.Count(got, ")") {
		t.Error("parentheses do not match")
	}
	path := make([]uint32, 0, 100)
	for range 90 {
		path = append(path, 1)
		if findPart(root, path) == nil {
			t.Fatalf("no part at depth %d", len(path))
		}
	}
}

func TestFindPart(t *testing.T) {
	_, root := structureOf(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\n"+
		"Subject: s\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ninner\n--c--\n--b\nContent-Type: message/rfc822\n\nSubject: t\n\nplain\n--b--\n", false)
	tests := []struct {
		path []uint32
		size int64 // -1: none
	}{
		{[]uint32{1}, 3},
		{[]uint32{1, 1}, -1},
		{[]uint32{2, 1}, 5},
		{[]uint32{2, 2}, -1},
		{[]uint32{3, 1}, 5},
		{[]uint32{3, 1, 1}, -1},
		{[]uint32{3, 2}, -1},
		{[]uint32{4}, -1},
		{[]uint32{4294967295}, -1},
	}
	for _, tt := range tests {
		p := findPart(root, tt.path)
		switch {
		case p == nil && tt.size >= 0:
			t.Errorf("%v: none", tt.path)
		case p != nil && p.BodySize != tt.size:
			t.Errorf("%v: %d octets, want %d", tt.path, p.BodySize, tt.size)
		}
	}
}

// TestContainsText looks for words that lie across the ends of chunks.
func TestContainsText(t *testing.T) {
	for _, needle := range []string{"needle", "größe", "ß"} {
		for at := range 80 {
			text := strings.Repeat("x", at) + strings.ToUpper(needle[:2]) + needle[2:] + strings.Repeat("ä", 40)
			if needle == "ß" {
				text = strings.Repeat("x", at) + needle + strings.Repeat("ä", 40)
			}
			found, err := containsText(strings.NewReader(text), fold(needle), make([]byte, 16))
			if err != nil || !found {
				t.Fatalf("%q at %d: %v, %v", needle, at, found, err)
			}
		}
		if found, err := containsText(strings.NewReader(strings.Repeat("ä", 100)), needle, make([]byte, 16)); err != nil || found {
			t.Errorf("%q found where it is not, %v", needle, err)
		}
	}
}

func TestExtendedValue(t *testing.T) {
	if got := extendedValue("ä b.pdf"); got != "utf-8''%C3%A4%20b.pdf" || !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
}
