package mail

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxURI bounds a link, in characters.
const maxURI = 8192

// HTML is what SpamAssassin's renderer makes of a part's HTML.
type HTML struct {
	// Counts as the rules' functions know them: octets and characters.
	Length      int     // characters of the document
	TextLength  int     // characters of the rendered text
	NonSpace    int     // of those, no white space
	Ratio       float64 // share of the document that is no text
	ImageArea   int     // square pixels
	MinSize     int     // of fonts, 1 to 7
	MaxSize     int
	BackHair    int // kinds of tags in words
	Obfuscation int // tags in words
	ClosedExtra int // end tags without start
	Tags        int // tags
	Elements    int // of those, known ones
	TagsSeen    int // kinds of tags
	KnownSeen   int // of those, known ones

	LowContrast, InvalidColor, FaceBad, FormMailto, Embeds bool
	ClosedHTML, ClosedBody                                 bool

	Comments [][]byte
	Scripts  [][]byte
	Titles   []string
	Anchors  []string // text between <a> and </a>
	Inside   map[string]int
	// URIs are the links, by their absolute form.
	URIs      map[string]*Link
	Truncated bool // a link was too long
	Dropped   bool // there were more links than are kept

	text   []run
	whole  []byte // all text, once it is known
	style  []style
	base   string
	href   string // of the last <a>
	anchor []byte // its text, until endAnchor
	title  int
	font   int // size of basefont
	hairs  map[[2]int]bool
	cuts   Cuts
}

// Link is where a link stands and what is written there.
type Link struct {
	Types map[string]bool // a, img, form and so on
	Text  []string        // of anchors
}

// run is a piece of rendered text.
type run struct {
	text             []byte
	space, invisible bool
}

// style is how text looks, and the element that says so.
type style struct {
	tag                 string
	fg, bg              string // "#000000", "invalid" or "transparent"
	size                int
	display, visibility string
}

var (
	nbsp      = []byte("&nbsp;")
	quotes    = strings.NewReplacer("\u201c", `"`, "\u201d", `"`)
	namespace = regexp.MustCompile(`^(?:o|st\d):[\w-]+/?$`)
)

// RenderHTML renders a document of UTF-8. octets is its length before it was decoded.
func RenderHTML(text []byte, octets int) *HTML {
	h := &HTML{Length: countRunes(text), MinSize: 3, MaxSize: 3, Inside: map[string]int{}, URIs: map[string]*Link{}, title: -1, font: 3,
		style: []style{{tag: "default", fg: "#000000", bg: "#ffffff", size: 3}}}
	text = bytes.ReplaceAll(text, nbsp, []byte(" "))
	if bytes.Contains(text, []byte("/>")) {
		text = selfClosed(text)
	}
	if bytes.Contains(text, []byte("\u201c")) || bytes.Contains(text, []byte("\u201d")) {
		text = []byte(quotes.Replace(string(text)))
	}
	z := &tokenizer{h: h}
	z.run(text, h.open)
	h.endAnchor()
	all := h.Text(All)
	h.whole = all
	h.TextLength = countRunes(all)
	h.NonSpace = h.TextLength - countSpaces(all)
	if octets > 0 {
		h.Ratio = float64(octets-h.TextLength) / float64(octets)
	}
	return h
}

// selfClosed takes the slash, and white space before it, out of "<br />" and its like.
func selfClosed(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for {
		i := bytes.Index(text, []byte("/>"))
		if i < 0 {
			return append(out, text...)
		}
		name := len(bytes.TrimRight(text[:i], " \t\r\n\f"))
		at := name
		for at > 0 && (text[at-1] == '_' || alnum(text[at-1])) {
			at--
		}
		if at < name && at > 0 && text[at-1] == '<' {
			out = append(out, text[:name]...)
		} else {
			out = append(append(out, text[:i]...), '/')
		}
		out, text = append(out, '>'), text[i+2:]
	}
}

func alnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// open is the end tag that an element without one needs before the end.
func (h *HTML) open() string {
	for _, name := range []string{"style", "script"} {
		if h.Inside[name] > 0 {
			return "</" + name + ">"
		}
	}
	return ""
}

func countSpaces(text []byte) (n int) {
	for len(text) > 0 {
		r, size := rune(text[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text)
		}
		if perlSpace(r) {
			n++
		}
		text = text[size:]
	}
	return n
}

// countRunes is utf8.RuneCount without a copy of the text.
func countRunes(text []byte) (n int) {
	for len(text) > 0 {
		size := 1
		if text[0] >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(text)
		}
		text = text[size:]
		n++
	}
	return n
}

// Text is the text of the document. It must not be changed.
func (h *HTML) Text(w Which) []byte {
	size, all := 0, true
	for _, r := range h.text {
		if w == All || r.invisible == (w == Invisible) {
			size += len(r.text)
		} else {
			all = false
		}
	}
	if all && h.whole != nil {
		return h.whole
	}
	out := make([]byte, 0, size)
	for _, r := range h.text {
		if w == All || r.invisible == (w == Invisible) {
			out = append(out, r.text...)
		}
	}
	return out
}

var (
	known = set(`a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn div dl dt em
		fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript object ol optgroup option p
		param pre q samp script select small span strong style sub sup table tbody td textarea tfoot th thead title tr tt ul var
		applet basefont center dir font frame frameset iframe isindex menu noframes s strike u nobr x-sigsep x-tab`)
	tricks  = set("bgsound embed listing plaintext xmp")
	styled  = set("body font table tr th td big small basefont marquee span p div a")
	linking = set("body table tr td a area link img frame iframe embed script form base bgsound meta")
)

func set(names string) map[string]bool {
	out := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		out[name] = true
	}
	return out
}

func (h *HTML) tag(name string, attrs map[string]string, start bool) {
	space := namespace.MatchString(name)
	seen, was := h.Inside[name]
	if known[name] || space {
		h.Elements++
		if !was {
			h.KnownSeen++
		}
	}
	h.Tags++
	if !was {
		h.TagsSeen++
	}
	if start {
		seen++
	} else if seen--; seen < 0 {
		seen = 0
		h.ClosedExtra++
	}
	if was || len(h.Inside) < maxKinds {
		h.Inside[name] = seen
	} else {
		h.cuts.Add(fmt.Sprintf("tags: %d kinds of a document", maxKinds))
	}
	if space || !known[name] && !tricks[name] {
		return
	}
	if styled[name] {
		h.restyle(name, attrs, start)
	}
	h.whitespace(name)
	if !start {
		h.ClosedHTML = h.ClosedHTML || name == "html"
		h.ClosedBody = h.ClosedBody || name == "body"
		return
	}
	if linking[name] {
		h.links(name, attrs)
	}
	h.look(name, attrs)
}

// maxKinds bounds how many kinds of tags are kept apart.
const maxKinds = 10000

// whitespace is what a tag puts between words.
func (h *HTML) whitespace(name string) {
	switch name {
	case "br", "div":
		h.space("\n")
	case "li", "td", "th", "dd", "dt", "embed", "h1", "h2", "h3", "h4", "h5", "h6":
		h.space(" ")
	case "p", "hr", "blockquote", "pre", "listing", "plaintext", "xmp", "title":
		h.space("\n\n")
	}
}

func (h *HTML) space(s string) {
	if n := len(h.text) - 1; n >= 0 && !h.text[n].space && !h.text[n].invisible {
		h.text[n].text = bytes.TrimSuffix(h.text[n].text, []byte(" "))
	}
	h.text = append(h.text, run{[]byte(s), true, false})
}

func (h *HTML) display(text []byte, invisible bool) {
	text = squeeze(text)
	if n := len(h.text) - 1; n >= 0 && !invisible && h.text[n].space {
		text = bytes.TrimPrefix(text, []byte(" "))
	}
	h.text = append(h.text, run{text, false, invisible})
}

func asciiSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// Blank reports whether there is nothing but white space of ASCII in a line: what SpamAssassin
// looks at are octets, of which Perl takes no other for white space.
func Blank(line []byte) bool {
	for _, c := range line {
		if !asciiSpace(c) {
			return false
		}
	}
	return true
}

// Words are what stands between white space of ASCII.
func Words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r < utf8.RuneSelf && asciiSpace(byte(r)) })
}

// mojibake is a no-break space in UTF-8 that was read as Windows-1252. SpamAssassin, which
// means to find it in octets, finds these two letters instead, and takes them for a space.
var mojibake = []byte("\u00c2\u00a0")

// squeeze makes each run of white space of ASCII one space.
func squeeze(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == mojibake[0] && bytes.HasPrefix(text[i:], mojibake) {
			out = append(out, ' ')
			i += len(mojibake) - 1
			continue
		}
		if !asciiSpace(text[i]) {
			out = append(out, text[i])
			continue
		}
		for i+1 < len(text) && asciiSpace(text[i+1]) {
			i++
		}
		out = append(out, ' ')
	}
	return out
}

// nothing reports whether a text is but white space, as squeeze has it.
func nothing(text []byte) bool {
	for len(text) > 0 {
		switch {
		case asciiSpace(text[0]):
			text = text[1:]
		case bytes.HasPrefix(text, mojibake):
			text = text[len(mojibake):]
		default:
			return false
		}
	}
	return true
}

func (h *HTML) words(text []byte) {
	if h.Inside["script"] > 0 {
		h.Scripts = append(h.Scripts, text)
		return
	}
	if h.Inside["style"] > 0 {
		return
	}
	if h.Inside["a"] > 0 {
		h.anchor = append(h.anchor, text...)
	}
	if h.Inside["title"] > 0 && h.title >= 0 {
		h.Titles[h.title] += string(text)
	}
	invisible := false
	if !nothing(text) {
		invisible = h.invisible()
	}
	if n := len(h.text); n > 0 {
		h.joint(h.text[n-1].text, text)
	}
	h.display(text, invisible)
}

func (h *HTML) link(uri string) *Link {
	l := h.URIs[uri]
	if l == nil {
		l = &Link{Types: map[string]bool{}}
		h.URIs[uri] = l
	}
	return l
}

// endAnchor adds what was collected to the text of the last anchor. It is not done piece
// by piece: a document may have one for every five octets.
func (h *HTML) endAnchor() {
	if len(h.anchor) == 0 {
		return
	}
	l := h.link(h.href)
	if len(l.Text) == 0 {
		l.Text = append(l.Text, "")
	}
	if len(h.Anchors) == 0 {
		h.Anchors = append(h.Anchors, "")
	}
	l.Text[len(l.Text)-1] += string(h.anchor)
	h.Anchors[len(h.Anchors)-1] += string(h.anchor)
	h.anchor = h.anchor[:0]
}

// letter reports whether a character is of a word, as the tests of obfuscation see it.
func letter(r rune) bool {
	if r < 0x80 {
		return r > ' ' && r != 0x7f && (alpha(byte(r)) || r >= '0' && r <= '9') || r < ' ' && !asciiSpace(byte(r)) || r == 0x7f
	}
	return !perlSpace(r)
}

// joint looks whether a tag stands in a word: between two texts.
func (h *HTML) joint(before, after []byte) {
	last, _ := utf8.DecodeLastRune(before)
	first, _ := utf8.DecodeRune(after)
	if len(before) == 0 || len(after) == 0 || !letter(last) || !letter(first) {
		return
	}
	h.Obfuscation++
	a, okA := tailLetters(before)
	b, okB := headLetters(after)
	if okA && okB {
		if h.hairs == nil {
			h.hairs = map[[2]int]bool{}
		}
		h.hairs[[2]int{a, b}] = true
		h.BackHair = len(h.hairs)
	}
}

// tailLetters counts up to seven letters at the end that begin a word: /\b(letter{1,7})\z/.
func tailLetters(b []byte) (int, bool) {
	best := 0
	for n := 1; n <= 7 && len(b) > 0; n++ {
		r, size := utf8.DecodeLastRune(b)
		if !letter(r) {
			break
		}
		b = b[:len(b)-size]
		prev, _ := utf8.DecodeLastRune(b)
		if boundary(prev, len(b) == 0, r, false) {
			best = n
		}
	}
	return best, best > 0
}

// headLetters counts up to seven letters at the start that end a word.
func headLetters(b []byte) (int, bool) {
	best := 0
	for n := 1; n <= 7 && len(b) > 0; n++ {
		r, size := utf8.DecodeRune(b)
		if !letter(r) {
			break
		}
		b = b[size:]
		next, _ := utf8.DecodeRune(b)
		if boundary(r, false, next, len(b) == 0) {
			best = n
		}
	}
	return best, best > 0
}

// boundary is \b between two characters, of which one may be none.
func boundary(a rune, noA bool, b rune, noB bool) bool {
	return (!noA && perlWord(a)) != (!noB && perlWord(b))
}

func (h *HTML) comment(text []byte) { h.Comments = append(h.Comments, text) }

func (h *HTML) declaration(text []byte) {
	if len(text) >= 9 && strings.EqualFold(string(text[:9]), "<!doctype") {
		h.Elements++
		h.Tags++
		h.Inside["!doctype"] = 0
	}
}

var digits = regexp.MustCompile(`^(\d+)(%)?$`)

// measure reads a width or height; percent is what one percent is.
func measure(s string, percent int) int {
	m := digits.FindStringSubmatch(s)
	if m == nil {
		return 200
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 1<<20 {
		n = 1 << 20
	}
	if m[2] != "" {
		n *= percent
	}
	if n <= 0 {
		return 200
	}
	return n
}

var goodFace = regexp.MustCompile(`(?i)^\s*["'.]?[a-z ][a-z -]*[a-z]\d?["']?(?:,\s*["']?[a-z][a-z -]*[a-z]\d?["']?)*;?$`)

// look notes what rules ask of start tags.
func (h *HTML) look(name string, attrs map[string]string) {
	switch name {
	case "font":
		if face, ok := attrs["face"]; ok && !goodFace.MatchString(face) {
			h.FaceBad = true
		}
	case "img":
		if h.Inside["a"] > 0 {
			h.anchor = append(h.anchor, "<img>\n"...)
		}
		w, okW := attrs["width"]
		if t, okH := attrs["height"]; okW && okH {
			h.ImageArea += measure(w, 8) * measure(t, 6)
		}
	case "form":
		h.FormMailto = h.FormMailto || strings.Contains(strings.ToLower(attrs["action"]), "mailto:")
	case "object", "embed":
		h.Embeds = true
	case "a":
		h.endAnchor()
		h.href = h.canon(attrs["href"])
		l := h.link(h.href)
		l.Text = append(l.Text, "")
		h.Anchors = append(h.Anchors, "")
	case "title":
		h.title++
		h.Titles = append(h.Titles, "")
	}
}

// Names are the kinds of tags in the document, sorted.
func (h *HTML) Names() []string { return slices.Sorted(maps.Keys(h.Inside)) }
