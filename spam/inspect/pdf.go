package inspect

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// pdfEval are the functions of PDFInfo.
var pdfEval = map[string]eval.Func{
	"pdf_count": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) { return within(float64(p.count), a, 0), nil }),
	"pdf_image_count": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) {
		return within(float64(p.images), a, 0), nil
	}),
	"pdf_pixel_coverage": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) {
		return p.area > 0 && within(p.area, a, 0), nil
	}),
	"pdf_image_size_exact": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) {
		return len(a) > 1 && p.sizes[a[0]+"x"+a[1]], nil
	}),
	"pdf_image_size_range": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) { return len(a) > 1 && p.sizeWithin(a), nil }),
	"pdf_named":            pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) { return len(a) > 0 && p.names[a[0]], nil }),
	"pdf_name_regex": pdfRule(func(p *pdfs, s *scan.Scan, a []string) (bool, error) {
		return anyMatch(s, p.names, eval.Arg(a, 0))
	}),
	"pdf_image_to_text_ratio": pdfRule(pdfTextRatio),
	"pdf_match_md5": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) {
		return p.md5[strings.ToUpper(eval.Arg(a, 0))], nil
	}),
	"pdf_match_fuzzy_md5": pdfRule(func(p *pdfs, _ *scan.Scan, a []string) (bool, error) {
		return p.fuzzy[strings.ToUpper(eval.Arg(a, 0))], nil
	}),
	"pdf_match_details": pdfRule(func(p *pdfs, s *scan.Scan, a []string) (bool, error) {
		return anyMatch(s, p.details[eval.Arg(a, 0)], eval.Arg(a, 1))
	}),
	"pdf_is_encrypted":  pdfRule(func(p *pdfs, _ *scan.Scan, _ []string) (bool, error) { return p.encrypted, nil }),
	"pdf_is_empty_body": pdfRule(pdfEmptyBody),
}

func pdfRule(f func(p *pdfs, s *scan.Scan, a []string) (bool, error)) eval.Func {
	return func(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
		found, err := f(pdfOf(s), s, args)
		if err != nil {
			return 0, err
		}
		return hit(found)
	}
}

// anyMatch reports whether a pattern matches one of several texts.
func anyMatch(s *scan.Scan, texts map[string]bool, pattern string) (bool, error) {
	if pattern == "" || len(texts) == 0 {
		return false, nil
	}
	re, err := eval.AnyPattern(s, pattern)
	if err != nil {
		return false, err
	}
	for text := range texts {
		if ok, err := re.Match([]byte(text), s.Budget); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// pdfs is what is known of a message's files of PDF.
type pdfs struct {
	count, images     int
	area              float64 // of the last file's images
	sizes             map[string]bool
	names, md5, fuzzy map[string]bool
	details           map[string]map[string]bool // author, creator, producer, title, created, modified
	encrypted         bool
	links             []string
	dropped           bool // there may be more of them in a file
	tags              map[string]string
}

func pdfOf(s *scan.Scan) *pdfs {
	if p, ok := s.Keep["pdf"].(*pdfs); ok {
		return p
	}
	p := newPDFs()
	s.Keep["pdf"] = p
	for _, part := range s.Mail.Leaves() {
		if pdfType.MatchString(part.Type) && (pdfName.MatchString(part.Name) || strings.HasSuffix(part.Type, "/pdf")) {
			p.read(part)
		}
	}
	p.tag("PDFCOUNT", strconv.Itoa(p.count))
	p.tag("PDFIMGCOUNT", strconv.Itoa(p.images))
	for name, value := range p.tags {
		s.SetTag(name, value)
	}
	if p.dropped {
		s.Cut("links: %d of a file of PDF", maxLinks)
	}
	for _, l := range p.links {
		s.Links().AddLink(l, nil, nil)
	}
	return p
}

func newPDFs() *pdfs {
	return &pdfs{sizes: map[string]bool{}, names: map[string]bool{}, md5: map[string]bool{}, fuzzy: map[string]bool{}, details: map[string]map[string]bool{}, tags: map[string]string{}}
}

var (
	pdfType  = regexp.MustCompile(`^(?:image|application)/(?:pdf|octet-stream)$`)
	pdfName  = regexp.MustCompile(`(?i)\.[fp]df$`)
	pdfMagic = regexp.MustCompile(`(?s)^.*%PDF-(\d\.\d)`)
	pdfBoxes = regexp.MustCompile(`^(?:%|/(?:Height|Width|(?:Media|Crop)Box)|\d+\s+\d+\s+\d+\s+\d+\s+\d+\s+\d+\s+cm$)`)
	pdfPlace = regexp.MustCompile(`^(\d+)\s+\d+\s+\d+\s+(\d+)\s+\d+\s+\d+\s+cm$`)
	pdfBoth  = regexp.MustCompile(`/Width\s(\d+)/Height\s(\d+)`)
	pdfTag   = regexp.MustCompile(`^/([A-Za-z]+)`)
	pdfLink  = regexp.MustCompile(`(?:/S\s{0,2}/URI\s{0,2}|^\s*)/URI\s{0,2}[(<]`)
	pdfPlain = regexp.MustCompile(`\((https?://.{8,256})\)>>`)
	pdfDates = regexp.MustCompile(`/(CreationDate|ModDate)\s{0,2}\(D:(\d+)`)
	octal    = regexp.MustCompile(`(\\*)\\([0-3][0-7][0-7])`)
	escape   = regexp.MustCompile(`\\([()\\])`)
	hexPair  = regexp.MustCompile(`[0-9A-Fa-f]{2}`)
)

func (p *pdfs) tag(name, value string) {
	switch old, ok := p.tags[name]; {
	case value == "":
	case !ok:
		p.tags[name] = value
	case len(old) < 2048:
		p.tags[name] = old + " " + value
	}
}

// maxLinks is how many links of one file count.
const maxLinks = 20

// reading is one file while it is read, line by line.
type reading struct {
	*pdfs
	name          string
	fuzzyText     []byte
	tagText       []byte
	lines         int
	fuzzyDone     bool
	image         bool
	height, width float64
	area          float64
	links         map[string]bool
}

func (p *pdfs) read(part *mail.Part) {
	p.count++
	data := bytes.TrimPrefix(part.Decoded(), []byte("\xef\xbb\xbf"))
	m := pdfMagic.FindSubmatch(data[:min(len(data), 1032)])
	if m == nil {
		return
	}
	p.tag("PDFVERSION", string(m[1]))
	p.tag("PDFNAME", part.Name)
	if part.Name != "" {
		p.names[part.Name] = true
	}
	f := &reading{pdfs: p, name: part.Name, links: map[string]bool{}}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if len(line) > 0 {
			f.line(line)
		}
	}
	if f.height > 0 && f.width > 0 {
		p.sizes[fmt.Sprintf("%.0fx%.0f", f.height, f.width)] = true
	}
	if f.area > 0 {
		p.area = f.area
		p.tag("PDFIMGAREA", strconv.FormatFloat(f.area, 'f', -1, 64))
	}
	fuzzy := ""
	if len(f.fuzzyText) > 0 {
		fuzzy = sum(f.fuzzyText)
		p.fuzzy[fuzzy] = true
		p.tag("PDFMD5FUZZY1", fuzzy)
	}
	p.md5[sum(data)] = true
	p.tag("PDFMD5", fuzzy) // as SpamAssassin has it
	if len(f.tagText) > 0 {
		p.fuzzy[sum(f.tagText)] = true
		p.tag("PDFMD5FUZZY2", sum(f.tagText))
	}
}

func sum(data []byte) string {
	m := md5.Sum(data)
	return strings.ToUpper(hex.EncodeToString(m[:]))
}

func (f *reading) line(line []byte) {
	if !f.fuzzyDone {
		if f.lines++; f.lines < 70 {
			if !pdfBoxes.Match(line) {
				f.fuzzyText = append(f.fuzzyText, bytes.TrimRight(line, " \t\r\f\v")...)
			}
			f.fuzzyDone = bytes.Contains(line, []byte("stream"))
		}
	}
	slash := bytes.IndexByte(line, '/') >= 0
	f.image = f.image || slash && bytes.Contains(line, []byte("/Image"))
	f.encrypted = f.encrypted || slash && bytes.HasPrefix(line, []byte("/Encrypt"))
	if f.image {
		f.size(line)
	}
	if !slash {
		return
	}
	if m := pdfTag.FindSubmatch(line); m != nil {
		f.tagText = append(f.tagText, m[1]...)
	}
	f.link(line)
	f.properties(line)
}

// size looks for the size of an image.
func (f *reading) size(line []byte) {
	m := pdfPlace.FindSubmatch(line)
	if m == nil {
		if m = pdfBoth.FindSubmatch(line); m == nil || line[0] == '/' && (pdfOne(line, "/Width") || pdfOne(line, "/Height")) {
			return
		}
	}
	w, _ := strconv.ParseFloat(string(m[1]), 64)
	h, _ := strconv.ParseFloat(string(m[2]), 64)
	if w == 0 || h == 0 {
		return
	}
	f.fuzzyDone = true
	f.height, f.width, f.area = f.height+h, f.width+w, f.area+h*w
	f.sizes[string(m[2])+"x"+string(m[1])] = true
	f.images++
	f.tag("PDFIMGDIM", string(m[2])+"x"+string(m[1]))
	f.image = false
}

// pdfOne reports whether a line begins with a name and a number: it says one half of
// a size, which alone counts for nothing.
func pdfOne(line []byte, name string) bool {
	return bytes.HasPrefix(line, []byte(name)) && len(line) > len(name)+1 && strings.IndexByte(" \t\r\f\v", line[len(name)]) >= 0 && line[len(name)+1] >= '0' && line[len(name)+1] <= '9'
}

// link looks for a link.
func (f *reading) link(line []byte) {
	if !bytes.Contains(line, []byte("URI")) && !bytes.Contains(line, []byte("http")) {
		return
	}
	if len(f.links) >= maxLinks {
		f.dropped = true
		return
	}
	first, text := len(line), ""
	var open unended
	for _, m := range pdfLink.FindAllIndex(line, -1) {
		if v, ok := open.string(line, m[1]-1); ok {
			first, text = m[0], v
			break
		}
	}
	location := ""
	if m := pdfPlain.FindSubmatchIndex(line); m != nil && m[0] < first {
		location = parseString(string(line[m[2]:m[3]]))
	} else if strings.IndexByte(text, '.') > 0 {
		location = parseString(text)
	}
	if strings.IndexByte(location, '.') <= 0 || strings.IndexByte(location, 0) >= 0 || f.links[location] {
		return
	}
	f.links[location] = true
	f.pdfs.links = append(f.pdfs.links, location)
}

// unended remembers the brackets that nothing in a line closes: one that stands later is
// not closed either, and the line is not looked through again.
type unended struct{ round, angle bool }

// string is the string in brackets at a place of a line.
func (u *unended) string(line []byte, at int) (string, bool) {
	end, open := byte(')'), &u.round
	if line[at] == '<' {
		end, open = '>', &u.angle
	}
	for i := at + 1; i < len(line) && !*open; i++ {
		if line[i] == end && (end == '>' || line[i-1] != '\\') {
			return string(line[at : i+1]), true
		}
	}
	*open = true
	return "", false
}

// properties looks for what a file says of itself.
func (f *reading) properties(line []byte) {
	for _, name := range []string{"Author", "Creator", "Producer", "Title"} {
		if v, ok := property(line, "/"+name); ok {
			v = parseString(v)
			f.detail(strings.ToLower(name), v)
			f.tag("PDF"+strings.ToUpper(name), v)
		}
	}
	for _, m := range pdfDates.FindAllSubmatch(line, -1) {
		f.detail(map[string]string{"CreationDate": "created", "ModDate": "modified"}[string(m[1])], string(m[2]))
	}
}

func (f *reading) detail(name, value string) {
	if f.details[name] == nil {
		f.details[name] = map[string]bool{}
	}
	f.details[name][value] = true
}

// property finds "/Name(value)" or "/Name<hex>" in a line.
func property(line []byte, name string) (string, bool) {
	var open unended
	for at := 0; ; {
		i := bytes.Index(line[at:], []byte(name))
		if i < 0 {
			return "", false
		}
		at += i + len(name)
		start := at
		for start < len(line) && start < at+2 && strings.IndexByte(" \t\r\f\v", line[start]) >= 0 {
			start++
		}
		if start < len(line) && (line[start] == '(' || line[start] == '<') {
			if v, ok := open.string(line, start); ok {
				return v, true
			}
		}
	}
}

// maxString is how much of a string counts.
const maxString = 256

// parseString reads "(text \050)" and "<hex>"; of UTF-16 only the lower octets remain.
func parseString(v string) string {
	if strings.HasPrefix(v, "<") {
		var b strings.Builder
		for _, pair := range hexPair.FindAllString(v, -1) {
			n, _ := strconv.ParseUint(pair, 16, 8)
			b.WriteByte(byte(n))
		}
		v = narrow(b.String())
	} else {
		v = strings.TrimSuffix(strings.TrimPrefix(v, "("), ")")
		v = octal.ReplaceAllStringFunc(v, func(m string) string {
			if strings.HasPrefix(m, `\\`) {
				return m
			}
			n, _ := strconv.ParseUint(m[1:], 8, 8)
			return string([]byte{byte(n)})
		})
		v = escape.ReplaceAllString(narrow(v), "$1")
	}
	return v[:min(len(v), maxString)]
}

func narrow(v string) string {
	if strings.HasPrefix(v, "\xfe\xff") || strings.HasPrefix(v, "\xff\xfe") {
		return strings.ReplaceAll(v[2:], "\x00", "")
	}
	return v
}

func (p *pdfs) sizeWithin(a []string) bool {
	leastH, _ := number(a, 0)
	leastW, _ := number(a, 1)
	mostH, hasH := number(a, 2)
	mostW, hasW := number(a, 3)
	for size := range p.sizes {
		hs, ws, _ := strings.Cut(size, "x")
		h, _ := strconv.ParseFloat(hs, 64)
		w, _ := strconv.ParseFloat(ws, 64)
		if h >= leastH && w >= leastW && (!hasH || h <= mostH) && (!hasW || w <= mostW) {
			return true
		}
	}
	return false
}

// pdfTextRatio compares the length of the text with the area of images.
func pdfTextRatio(p *pdfs, s *scan.Scan, a []string) (bool, error) {
	most, ok := number(a, 1)
	n := 0
	for _, line := range s.Body() {
		n += len(line)
	}
	if !ok || p.area == 0 || n == 0 {
		return false, nil
	}
	ratio := float64(n) / p.area
	return ratio != most && within(ratio, a, 0), nil
}

// pdfEmptyBody: there is a file, and no more text than the subject.
func pdfEmptyBody(p *pdfs, s *scan.Scan, a []string) (bool, error) {
	if p.count == 0 {
		return false, nil
	}
	least, _ := number(a, 0)
	n := 0
	for i, line := range s.Body() {
		if i > 0 && !mail.Blank(line) {
			n += len(line)
		}
	}
	return float64(n) <= least, nil
}
