package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

func parse(t testing.TB, s string) *Message {
	t.Helper()
	m, err := Parse(FromBytes([]byte(s)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func octets(t testing.TB, m *Message) string {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != m.Size() || int64(b.Len()) != n {
		t.Fatalf("wrote %d octets, size %d: %v", n, m.Size(), err)
	}
	return b.String()
}

// What nobody changes leaves as it came, however odd.
// TestAddressListTime reads a list that made each address look through all that
// follow.
func TestAddressListTime(t *testing.T) {
	list := strings.Repeat("<@>,", 1<<20)
	spent := mtatest.CPU(t)
	ParseAddressList(list)
	if d := spent(); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestUnchanged(t *testing.T) {
	for _, s := range []string{
		"A: 1\r\nB:2\r\n\r\nbody\r\n",
		"A : spaced\r\nA:\r\n \r\n folded\t\r\n\r\n",
		"\r\nno header\r\n",
		"A: 1\nB: bare\n\nlf\n",
		"A: only a header\r\n",
		"A: cut off",
		"",
		"\r\n",
		"From ann Thu Jan  1 1970\r\nA: 1\r\n\r\nmbox line\r\n",
		"A: 1\r\n\r\n\x00\xff\r\n.\r\n",
	} {
		if got := octets(t, parse(t, s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestHeader(t *testing.T) {
	m := parse(t, "Received: one\r\nreceived: two\r\n\tfolded\r\nSubject:  a  b \r\nX : spaced\r\n\r\n")
	h := m.Header()
	if h.Len() != 4 || m.HeaderSize() != m.Size() {
		t.Fatalf("%d fields, header %d of %d", h.Len(), m.HeaderSize(), m.Size())
	}
	if got := h.Values("Received"); fmt.Sprint(got) != "[one two\tfolded]" {
		t.Errorf("Received: %q", got)
	}
	if v, ok := h.Get("subject"); !ok || v != "a  b" {
		t.Errorf("Subject: %q %v", v, ok)
	}
	if v, ok := h.Get("X"); !ok || v != "spaced" {
		t.Errorf("X: %q %v", v, ok)
	}
	if f, ok := h.ByID(2); !ok || f.RawValue() != " two\r\n\tfolded" {
		t.Errorf("ID 2: %q", f.RawValue())
	}
	if _, ok := h.Get("None"); ok {
		t.Error("found a field that is not there")
	}
}

func TestEdits(t *testing.T) {
	base := parse(t, "A: 1\r\nB: 2\r\nC: 3\r\n\r\nbody\r\n")
	h, top := base.Header().Insert(0, FormatField("Top", "x"))
	h, last := h.Insert(99, FormatField("Last", "y"))
	h, ok := h.Set(2, FormatField("B", "two"))
	if !ok {
		t.Fatal("field 2 is gone")
	}
	h, ok = h.Remove(3)
	if !ok {
		t.Fatal("field 3 is gone")
	}
	m := base.WithHeader(h).WithBody(FromBytes([]byte("new")))
	if got := octets(t, m); got != "Top: x\r\nA: 1\r\nB: two\r\nLast: y\r\n\r\nnew" {
		t.Errorf("%q", got)
	}
	if top == last || top != 4 {
		t.Errorf("new IDs %d and %d", top, last)
	}
	if _, ok := h.Remove(3); ok {
		t.Error("a field was removed twice")
	}
	if octets(t, base) != "A: 1\r\nB: 2\r\nC: 3\r\n\r\nbody\r\n" {
		t.Error("an edit changed the revision it was made from")
	}
	if m.SameBody(base) || !base.WithHeader(h).SameBody(base) {
		t.Error("SameBody")
	}
}

// A message without a header gets a blank line with its first field.
func TestSeparator(t *testing.T) {
	m := parse(t, "just text\r\n")
	h, _ := m.Header().Insert(0, FormatField("Received", "x"))
	if got := octets(t, m.WithHeader(h)); got != "Received: x\r\n\r\njust text\r\n" {
		t.Errorf("%q", got)
	}
}

// No value can begin a field of its own or end the header.
func TestFormatField(t *testing.T) {
	for _, v := range []string{
		"plain", "a\r\nEvil: b", "a\nb", "a\r\n\r\nbody", "a\r\n \r\nb", "a\rb", "a\x00b", " lead", "trail \r\n", "\r\n\r\n", "",
		strings.Repeat("word ", 60), strings.Repeat("x", 500), "a\n\n\nb\n",
	} {
		for _, raw := range [][]byte{FormatField("Name", v), FormatRawField("Name", v)} {
			m := parse(t, string(raw)+"\r\nbody")
			if m.Header().Len() != 1 || !bytes.HasSuffix(raw, []byte("\r\n")) || octets(t, m) != string(raw)+"\r\nbody" || m.Body().Size() != 4 {
				t.Errorf("%q: %q has %d fields", v, raw, m.Header().Len())
			}
		}
	}
	for line := range strings.SplitSeq(string(FormatField("Subject", strings.Repeat("word ", 60))), "\r\n") {
		if len(line) > 78 {
			t.Errorf("line of %d: %q", len(line), line)
		}
	}
	if got := string(FormatRawField("X", "\ta\r\n b")); got != "X:\ta\r\n b\r\n" {
		t.Errorf("raw: %q", got)
	}
}

func TestLimits(t *testing.T) {
	lim := Limits{HeaderSize: 1000, Fields: 5, Lines: 8}
	for s, what := range map[string]string{
		strings.Repeat("A: 1\r\n", 6) + "\r\n":             "fields",
		"A: 1\r\n" + strings.Repeat(" x\r\n", 20) + "\r\n": "lines",
		"A: " + strings.Repeat("x", 2000) + "\r\n\r\n":     "octets",
		"A: 1\r\n\r\n" + strings.Repeat("x", 5000):         "",
	} {
		m, err := ParseLimited(FromBytes([]byte(s)), lim)
		if err != nil {
			t.Fatal(err)
		}
		var le *LimitError
		if errors.As(m.Oversize(), &le); le == nil && what != "" || le != nil && le.What != what {
			t.Errorf("%.20q: %v, want %q", s, m.Oversize(), what)
		}
		if octets(t, m) != s && what == "" {
			t.Errorf("%.20q changed", s)
		}
	}
}

// structure writes a tree as type(children), with what each body holds.
func structure(t testing.TB, m *Message) string {
	t.Helper()
	root, err := m.Structure()
	if err != nil {
		t.Fatal(err)
	}
	var write func(p *Part) string
	write = func(p *Part) string {
		s := p.Type + "/" + p.Subtype
		switch {
		case p.Embedded != nil:
			return s + "<" + write(p.Embedded) + ">"
		case len(p.Parts) > 0:
			var kids []string
			for _, c := range p.Parts {
				kids = append(kids, write(c))
			}
			return s + "(" + strings.Join(kids, " ") + ")"
		}
		b, err := ReadAll(m.Raw(p))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s:%q/%d", s, b, p.Lines)
	}
	return write(root)
}

func TestStructure(t *testing.T) {
	mp := func(sub, body string) string {
		return "Content-Type: multipart/" + sub + "; boundary=\"b\"\r\n\r\n" + body
	}
	for _, c := range []struct{ in, want string }{
		{"Subject: x\r\n\r\na\r\nb\r\n", `text/plain:"a\r\nb\r\n"/2`},
		{"Content-Type: nonsense\r\n\r\nx", `text/plain:"x"/0`},
		{mp("mixed", "pre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n\r\n--b--\r\nepi\r\n"), `multipart/mixed(text/plain:"one"/0 text/html:"<p>\r\n"/1)`},
		{mp("mixed", "--b\r\n\r\nnever closed\r\n"), `multipart/mixed(text/plain:"never closed\r\n"/1)`},
		{mp("mixed", "no parts at all\r\n"), `multipart/mixed(text/plain:""/0)`},
		{"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx", `text/plain:"--b\r\n\r\nx"/2`},
		{mp("digest", "--b\r\n\r\nSubject: in\r\n\r\ntext\r\n--b--"), `multipart/digest(message/rfc822<text/plain:"text"/0>)`},
		{mp("mixed", "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n1\r\n--c\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--"), `multipart/mixed(multipart/alternative(text/plain:"1"/0 text/plain:"2"/0) text/plain:"3"/0)`},
		{mp("mixed", "--b\r\n--b\r\n\r\nx\r\n--b--"), `multipart/mixed(text/plain:""/0 text/plain:"x"/0)`},
		{mp("mixed", "--b\r\nno header line\r\nmore\r\n--b--"), `multipart/mixed(text/plain:"no header line\r\nmore"/1)`},
		{mp("mixed", "--b  \r\n\r\n--bx is text\r\n--b --\r\n"), `multipart/mixed(text/plain:"--bx is text\r\n--b --\r\n"/2)`},
		{mp("mixed", "--b\n\nbare\n--b--\n"), `multipart/mixed(text/plain:"bare"/0)`},
		{mp("mixed", "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n--b--"), `multipart/mixed(message/rfc822:"QQ=="/0)`},
	} {
		if got := structure(t, parse(t, c.in)); got != c.want {
			t.Errorf("%q:\n%s, want\n%s", c.in, got, c.want)
		}
	}
}

// Nesting and parts are bounded, and what is past the bound is still there.
func TestStructureBounds(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10000) + "bottom"
	root, err := parse(t, deep).Structure()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	root.Walk(func(*Part) bool { n++; return true })
	if n > MaxDepth+1 {
		t.Errorf("%d levels", n)
	}
	wide := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 5000)
	root, err = parse(t, wide).Structure()
	if err != nil {
		t.Fatal(err)
	}
	n = 0
	root.Walk(func(*Part) bool { n++; return true })
	if n > DefaultLimits.Parts+1 {
		t.Errorf("%d parts", n)
	}
	for text, lim := range map[string]Limits{deep: {Depth: 5}, wide: {Parts: 5}} {
		m, err := ParseLimited(FromBytes([]byte(text)), lim)
		if err != nil {
			t.Fatal(err)
		}
		edited, _ := m.Header().Insert(0, []byte("A: b\r\n"))
		for _, m := range []*Message{m, m.WithHeader(edited), m.WithBody(m.Body())} {
			root, err := m.Structure()
			n := 0
			root.Walk(func(*Part) bool { n++; return true })
			if err != nil || n > 6 {
				t.Errorf("%+v: %d parts, %v", lim, n, err)
			}
		}
	}
}

func TestParams(t *testing.T) {
	for in, want := range map[string]string{
		`text/plain; charset=utf-8`:               "text/plain [{charset utf-8}]",
		`text/plain (c); a="x;\"y\"" (d) ; B = z`: `text/plain [{a x;"y"} {b z}]`,
		`a/b; n*=utf-8''%e2%82%ac%20x`:            "a/b [{n € x}]",
		`a/b; n*0="one "; n*1=two; n*2*=%21`:      "a/b [{n one two!}]",
		`a/b; n*1=two; n*0*=iso-8859-1'de'%fc-`:   "a/b [{n ü-two}]",
		`a/b; n=plain; n*=utf-8''better`:          "a/b [{n better}]",
		`a/b; ; =x; bad name=y; ok=z`:             "a/b [{ok z}]",
		`attachment; filename=my file.txt`:        "attachment [{filename my file.txt}]",
		`a/b; n="unterminated`:                    "a/b [{n unterminated}]",
	} {
		v, ps := ParseParams(in)
		if got := fmt.Sprintf("%s %v", v, ps); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestAddressList(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.example": "<|a@b.example>",
		`"Lee, Ann" <ann@b.example>, bob@c.example`:    "<Lee, Ann|ann@b.example><|bob@c.example>",
		"Ann Lee <ann@b.example>":                      "<Ann Lee|ann@b.example>",
		"ann@b.example (Ann Lee)":                      "<Ann Lee|ann@b.example>",
		"friends: a@b.example, c@d.example;, e@f.test": "[friends]<|a@b.example><|c@d.example>[]<|e@f.test>",
		"undisclosed-recipients:;":                     "[undisclosed-recipients][]",
		"<@r1,@r2:a@b.example>":                        "<|a@b.example>",
		"=?utf-8?q?J=C3=BC?= <j@b.example>":            "<=?utf-8?q?J=C3=BC?=|j@b.example>",
		"a@[192.0.2.1]":                                "<|a@[192.0.2.1]>",
		`"quoted local"@b.example`:                     "<|quoted local@b.example>",
		"a . b @ c . example":                          "<|a.b@c.example>",
		"root":                                         "<|root>",
		",,a@b.example,,":                              "<|a@b.example>",
		"<>":                                           "",
		"":                                             "",
		"a@b.example c@d.example":                      "<|a@b.example><|c@d.example>",
	} {
		var b strings.Builder
		for _, a := range ParseAddressList(in) {
			switch a.Mark {
			case GroupStart:
				b.WriteString("[" + a.Name + "]")
			case GroupEnd:
				b.WriteString("[]")
			default:
				b.WriteString("<" + a.Name + "|" + a.String() + ">")
			}
		}
		if b.String() != want {
			t.Errorf("%q: %s, want %s", in, b.String(), want)
		}
	}
}

func TestDecoded(t *testing.T) {
	for _, c := range []struct{ encoding, in, want string }{
		{"base64", "SGVs\r\nbG8=\r\n", "Hello"},
		{"base64", "S G!V*s\r\nbG8", "Hello"},
		{"base64", "QQ==QUI=", "AAB"},
		{"base64", "", ""},
		{"quoted-printable", "a=3Db=\r\nc \t\r\n=C3=A4=\n", "a=bc\r\n\xc3\xa4"},
		{"quoted-printable", "100=% =zz=4", "100=% =zz=4"},
		{"quoted-printable", strings.Repeat("x", 4093) + "=41=42", strings.Repeat("x", 4093) + "AB"},
		{"8bit", "as is", "as is"},
		{"x-unknown", "as is", "as is"},
	} {
		m := parse(t, "Content-Transfer-Encoding: "+c.encoding+"\r\n\r\n"+c.in)
		p, err := m.Structure()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(m.Decoded(p))
		if err != nil || string(b) != c.want {
			t.Errorf("%s %.40q: %.60q, %v; want %.60q", c.encoding, c.in, b, err, c.want)
		}
	}
}

func TestText(t *testing.T) {
	m := parse(t, "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$3$s\x1b(B")
	p, err := m.Structure()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := m.Text(p, 1000); err != nil || s != "こん" {
		t.Errorf("%q %v", s, err)
	}
	if s, err := m.Text(p, 4); err != nil || s != "こ" {
		t.Errorf("cut: %q %v", s, err)
	}
	for in, want := range map[string]string{
		"=?utf-8?q?a=C3=A4?= b": "aä b", "=?iso-8859-1?b?5A==?=": "ä", "=?x-none?q?a?=": "=?x-none?q?a?=", "raw \xe4": "raw ä", "": "",
	} {
		if got := DecodeText(in); got != want {
			t.Errorf("DecodeText(%q) = %q", in, got)
		}
	}
}

func TestSpool(t *testing.T) {
	for _, size := range []int{0, 10, SpoolMemory, SpoolMemory + 1, 3 * SpoolMemory} {
		s := &Spool{Dir: t.TempDir(), Limit: 4 * SpoolMemory}
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for rest := want; len(rest) > 0; {
			n, err := s.Write(rest[:min(len(rest), 777)])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got, err := ReadAll(s.Bytes())
		if err != nil || !bytes.Equal(got, want) || s.Size() != int64(size) {
			t.Errorf("%d octets: got %d, %v", size, len(got), err)
		}
		if names, _ := os.ReadDir(s.Dir); len(names) > 0 {
			t.Errorf("%d octets: the spool has a name: %v", size, names)
		}
		if _, err := s.Write(make([]byte, 4*SpoolMemory+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("past the limit: %v", err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestJoin(t *testing.T) {
	j := Join(FromBytes([]byte("abc")), FromBytes(nil), FromBytes([]byte("defg")), FromBytes([]byte("h")))
	for off := int64(0); off <= j.Size(); off++ {
		for n := int64(1); off+n <= j.Size()+1; n++ {
			b := make([]byte, n)
			got, err := j.ReadAt(b, off)
			want := "abcdefgh"[off:min(off+n, 8)]
			if string(b[:got]) != want || (err == nil) != (int64(got) == n) {
				t.Errorf("ReadAt(%d, %d) = %q, %v", n, off, b[:got], err)
			}
		}
	}
}

func TestID(t *testing.T) {
	now := time.Now()
	seen := map[ID]bool{}
	for range 10000 {
		id := NewID(now)
		back, err := ParseID(strings.ToUpper(id.String()))
		if seen[id] || err != nil || back != id {
			t.Fatalf("%s: seen %v, %v", id, seen[id], err)
		}
		seen[id] = true
	}
	if d := NewID(now).Time().Sub(now); d > time.Millisecond || d < -time.Millisecond {
		t.Errorf("time off by %v", d)
	}
	for _, s := range []string{"", "x", "0000000000000000", "zzzzzzzzzzzzz", "ilou000000000"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q was taken for an ID", s)
		}
	}
}

// Whatever it is, it is read without a crash, leaves as it came, and its parts
// lie inside it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"A: 1\r\n\r\nx", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\n",
		"Content-Transfer-Encoding: base64\r\n\r\nQQ==", "Content-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n",
		"From: a <b@c>, g: d@e;\r\n\r\n", "Content-Type: a/b; n*0*=utf-8''%41; n*1=x\r\n\r\n",
		"Subject: =?utf-8?B?w6Q=?= =?iso-8859-1?q?=E4_b?=\r\n =?x?y?z?=\r\nTo: =?utf-8?q?a?= <\"x y\"@[IPv6:::1]>, (c (d)) <e@f>,, ;\r\n\r\n", "From a b\r\nA : 1\r\n :x\r\n\tB\r\n\r\n",
		"Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npre\r\n--a b \r\nContent-Type: multipart/alternative; boundary=\"a b c\"\r\n\r\n--a b c\r\n\r\n--a b--\r\nafter",
		"Content-Type: text/plain; charset=\"utf-8\"; format=flowed;; =;a\r\nContent-Transfer-Encoding: base64 (x)\r\n\r\nQ Q=\r\n=QUI=\r\n====",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(FromBytes(b))
		if err != nil {
			t.Fatal(err)
		}
		out, err := ReadAll(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, b) && !bytes.Equal(bytes.ReplaceAll(out, crlf, nil), bytes.ReplaceAll(b, crlf, nil)) {
			t.Fatalf("%q became %q", b, out)
		}
		root, err := m.Structure()
		if err != nil {
			t.Fatal(err)
		}
		root.Walk(func(p *Part) bool {
			if p.Offset < 0 || p.HeaderSize < 0 || p.BodySize < 0 || p.BodyOffset()+p.BodySize > m.Size() {
				t.Fatalf("%s/%s: %d+%d+%d of %d", p.Type, p.Subtype, p.Offset, p.HeaderSize, p.BodySize, m.Size())
			}
			if _, err := io.Copy(io.Discard, m.Decoded(p)); err != nil {
				t.Fatal(err)
			}
			return true
		})
		for _, fl := range m.Header().Fields() {
			ParseAddressList(fl.Value())
			DecodeText(fl.Value())
		}
	})
}

// FuzzFormatField: a field is one field, whatever its value.
func FuzzFormatField(f *testing.F) {
	f.Add("a\r\nb", true)
	f.Add(strings.Repeat("long ", 30), false)
	f.Fuzz(func(t *testing.T, value string, raw bool) {
		field := FormatField("Name", value)
		if raw {
			field = FormatRawField("Name", value)
		}
		m, err := Parse(FromBytes(append(bytes.Clone(field), "\r\nbody"...)))
		if err != nil {
			t.Fatal(err)
		}
		if m.Oversize() == nil && (m.Header().Len() != 1 || m.Body().Size() != 4) {
			t.Fatalf("%q: %q has %d fields, body %d", value, field, m.Header().Len(), m.Body().Size())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := FromBytes([]byte(strings.Repeat("Received: from a.example by b.example; Mon, 1 Jan 2026 00:00:00 +0000\r\n", 5) +
		"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nDate: y\r\nMessage-ID: <z>\r\n\r\n" + strings.Repeat("text\r\n", 1700)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUnseparated(t *testing.T) {
	for text, want := range map[string]bool{
		"A: b\r\n\r\nx": false, "A: b\r\n\r\n": false, "A: b\r\n": false, "": false, "\r\nx": false, "A: b\r\nx\r\n\r\ny": true, "x\r\n": true,
	} {
		m, err := Parse(FromBytes([]byte(text)))
		if err != nil || m.Unseparated() != want {
			t.Errorf("%q: %v, want %v (%v)", text, !want, want, err)
		}
	}
}
