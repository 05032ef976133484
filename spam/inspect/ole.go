package inspect

import (
	"archive/zip"
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// oleEval are the functions of OLEVBMacro: documents with programs in them.
var oleEval = map[string]eval.Func{
	"check_olemacro":              oleRule(func(o *macros) bool { return o.macro }),
	"check_oleobject":             oleRule(func(o *macros) bool { return o.object }),
	"check_olertfobject":          oleRule(func(o *macros) bool { return o.rtf }),
	"check_olemacro_csv":          oleRule(func(o *macros) bool { return o.csv }),
	"check_olemacro_malice":       oleRule(func(o *macros) bool { return o.malice }),
	"check_olemacro_renamed":      oleRule(func(o *macros) bool { return o.renamed }),
	"check_olemacro_encrypted":    oleRule(func(o *macros) bool { return o.encrypted }),
	"check_olemacro_zip_password": oleRule(func(o *macros) bool { return o.password }),
	"check_olemacro_download_exe": oleRule(func(o *macros) bool { return o.download }),
	"check_olemacro_redirect_uri": oleLinks(func(o *macros) []string { return o.links }),
	"check_olemacro_mhtml_uri":    oleLinks(func(o *macros) []string { return o.mhtml }),
}

func oleRule(f func(*macros) bool) eval.Func {
	return func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		o := macrosOf(s)
		if f(o) {
			return 1, nil
		}
		return 0, o.err
	}
}

func oleLinks(f func(*macros) []string) eval.Func {
	return func(s *scan.Scan, r *conf.Rule, _ []string) (float64, error) {
		o := macrosOf(s)
		for _, l := range f(o) {
			s.Note(r.Name, l)
		}
		if len(f(o)) > 0 {
			return 1, nil
		}
		return 0, o.err
	}
}

// macros is what was found in a message's documents.
type macros struct {
	s                                                                       *scan.Scan
	macro, object, rtf, csv, malice, renamed, encrypted, password, download bool
	links, mhtml                                                            []string
	left                                                                    int64 // octets that may still be unpacked
	err                                                                     error
}

// maxUnpacked bounds what is unpacked for one message.
const maxUnpacked = 32 << 20

func macrosOf(s *scan.Scan) *macros {
	if o, ok := s.Keep["olemacro"].(*macros); ok {
		return o
	}
	o := &macros{s: s, left: maxUnpacked}
	s.Keep["olemacro"] = o
	count := 0
	for _, p := range s.Mail.Leaves() {
		if count >= s.Rules.Count("olemacro_num_mime") {
			s.Cut("documents: %d looked at for macros", count)
			break
		}
		name := fileName(s, p)
		if name == "" || o.is("olemacro_skip_ctypes", p.Type) || o.is("olemacro_skip_exts", name) {
			continue
		}
		data := p.Decoded()
		if most := s.Rules.Count("olemacro_max_file"); len(data) > most {
			s.Cut("document: %d octets looked at for macros", most)
			data = data[:most]
		}
		if len(data) > 0 && o.file(name, data, 0) {
			count++
		}
	}
	for _, l := range o.links {
		s.Links().AddLink(l, nil, nil)
	}
	return o
}

var (
	nameForm     = regexp.MustCompile(`(?is)name\s*=\s*["']?([^"';]*)`)
	fileNameForm = regexp.MustCompile(`(?is)filename\s*=\s*["']?([^"';]*)`)
	encoded      = regexp.MustCompile(`(?i)^(?:base64|quoted-printable)$`)
)

// fileName is a part's name, if it is a file that was encoded.
func fileName(s *scan.Scan, p *mail.Part) string {
	if !p.Has("Content-Type") || !encoded.MatchString(strings.TrimSpace(p.Header("Content-Transfer-Encoding"))) {
		return ""
	}
	get := func(field string, form *regexp.Regexp) string {
		m := form.FindStringSubmatch(p.Header(field))
		if m == nil {
			return ""
		}
		return strings.TrimSpace(mail.DecodeWords(m[1]))
	}
	typed, disposed := get("Content-Type", nameForm), get("Content-Disposition", fileNameForm)
	if disposed == "" || typed != "" && !s.Rules.Bool("olemacro_prefer_contentdisposition") && !strings.EqualFold(typed, disposed) {
		return typed
	}
	return disposed
}

// is reports whether a setting's pattern matches a text. It tells capital letters from
// small ones, whatever the documentation says: so does SpamAssassin.
func (o *macros) is(setting, text string) bool {
	re, err := eval.Pattern(o.s, o.s.Rules.String(setting))
	if err != nil {
		o.err = err
		return false
	}
	ok, err := re.Match([]byte(text), o.s.Budget)
	if err != nil {
		o.err = err
	}
	return ok
}

// file looks at one file; it reports whether it was one to look at. depth counts the
// archives around it.
func (o *macros) file(name string, data []byte, depth int) bool {
	if strings.HasSuffix(strings.ToLower(name), ".csv") && csvCommand.Match(data) {
		o.csv = true
	}
	switch {
	case o.is("olemacro_zips", name):
		o.archive(name, data, depth)
	case o.is("olemacro_macro_exts", name):
		o.macro = true
		o.document(name, data, false)
		o.downloads(data)
	case o.is("olemacro_exts", name):
		o.document(name, data, true)
		o.downloads(data)
	case o.s.Rules.Bool("olemacro_extended_scan"):
		if office := bytes.HasPrefix(data, oleMagic); o.document(name, data, true) || office {
			o.renamed = true
			o.downloads(data)
		}
		o.archive(name, data, depth)
	default:
		return false
	}
	return true
}

var (
	oleMagic    = []byte("\xd0\xcf\x11\xe0")
	oldMarks    = [][]byte{[]byte("\x00Attribut\x00"), []byte("\x01\x00O\x00l\x00e\x001\x000\x00N\x00a\x00")}
	textMarks   = [][]byte{[]byte(`\objemb`), []byte(`\objdat`), []byte(`\ objdat`), []byte(`w:macrosPresent="yes"`), []byte("vbaProject.bin.rels")}
	lockedMark  = []byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e")
	bookMark    = []byte("W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00")
	lockedXML   = regexp.MustCompile(`(?i)<encryption xmlns`)
	autoOpen    = regexp.MustCompile(`(?i)(?:document|auto|workbook)_?open`)
	csvCommand  = regexp.MustCompile(`MSEXCEL\|.{1,20}Windows\\System32\\cmd\.exe`)
	macroTypes  = regexp.MustCompile(`(?i)ContentType=["']application/vnd\.ms-office\.vbaProject["']|macroEnabled|application/vnd\.ms-excel\.(?:intl)?macrosheet`)
	wordRTF     = regexp.MustCompile(`^word/.{1,50}\.rtf\b`)
	relation    = regexp.MustCompile(`Relationship\s`)
	external    = regexp.MustCompile(`(?is)Target="([^"]*)".*?TargetMode="External"`)
	mhtmlLink   = regexp.MustCompile(`(?i)^MHTML:&#x48;&#x54;&#x50;&#x3a;&#x5c;&#x5c;&#x31;&|^mhtml:https?://`)
	mhtmlPrefix = regexp.MustCompile(`(?i)^mhtml:`)
	webLink     = regexp.MustCompile(`(?i)^https?://`)
)

// macroFiles are those of documents that have programs.
var macroFiles = []string{"word/vbaproject.bin", "macros/vba/_vba_project", "xl/vbaproject.bin", "_vba_project_cur/vba/_vba_project", "ppt/vbaproject.bin"}

// document looks at a document; old says whether at its octets too. It reports whether
// it is one.
func (o *macros) document(name string, data []byte, old bool) bool {
	is := false
	if locked(data) {
		o.encrypted, is = true, true
	}
	if old && oldMacro(data) {
		o.macro, is = true, true
		o.malice = o.malice || autoOpen.Match(data)
	}
	return o.package2007(name, data) || is
}

// locked reports whether a document is encrypted.
func locked(data []byte) bool {
	if !bytes.HasPrefix(data, oleMagic) {
		return false
	}
	head := data[:min(len(data), 2000)]
	switch {
	case lockedXML.Match(data), bytes.Contains(head, lockedMark), bytes.Contains(head, []byte("E n c r y p t e d P a c k a g e")):
		return true
	case bytes.Contains(head, bookMark):
		return false
	}
	at := func(i int) byte {
		if i < len(data) {
			return data[i]
		}
		return 0
	}
	return at(0x208) == 0xfe || at(0x214) == 0x2f || at(0x20b) == 0x13
}

// oldMacro reports whether a document of the old form, or a text, has programs.
func oldMacro(data []byte) bool {
	marks := textMarks
	if bytes.HasPrefix(data, oleMagic) {
		marks = oldMarks
	}
	return slices.ContainsFunc(marks, func(m []byte) bool { return bytes.Contains(data, m) })
}

func (o *macros) downloads(data []byte) {
	// SpamAssassin asks for the name of the function only in passing.
	if programLink(data) || o.is("olemacro_download_marker", string(data)) {
		o.download = true
	}
}

var (
	linkStart   = regexp.MustCompile(`(?i)\x00https?://`)
	programFile = regexp.MustCompile(`(?i)^\.(?:exe|cmd|bat)[\x06|\x00]`)
)

// Lengths of the two halves of a link to a program: of any letters of links, and of
// those without "?!:,.;".
const (
	leastHalf = 5
	mostHalf  = 1000
)

// programLink reports whether there is a link to a program between octets of 0.
func programLink(data []byte) bool {
	for _, m := range linkStart.FindAllIndex(data, 1000) {
		link := data[m[1]:min(len(data), m[1]+2*mostHalf+8)]
		plain := 0 // how many of the last letters are of the narrower kind
		for n, c := range link {
			if c == '.' && n >= 2*leastHalf && plain >= max(leastHalf, n-mostHalf) && n <= 2*mostHalf && programFile.Match(link[n:]) {
				return true
			}
			if !linkLetter[c] {
				break
			}
			if plain++; strings.IndexByte("?!:,.;", c) >= 0 {
				plain = 0
			}
		}
	}
	return false
}

// linkLetter are the letters of links.
var linkLetter = func() (out [256]bool) {
	for _, c := range []byte("-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+&@#/%?=~_|!:,.;") {
		out[c] = true
	}
	return out
}()

func openZip(name string, data []byte) *zip.Reader {
	if !bytes.HasPrefix(data, []byte("PK")) && !strings.HasSuffix(strings.ToLower(name), ".zip") {
		return nil
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil // broken, or none
	}
	return z
}

// contents unpacks a file of an archive, as far as the message's bound allows.
func (o *macros) contents(f *zip.File) []byte {
	r, err := f.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	most := min(int64(o.s.Rules.Number("olemacro_max_file")), o.left)
	if most <= 0 {
		o.err = eval.Unknown("OLEVBMacro: the message's archives are larger than what is unpacked")
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(r, most))
	if f.UncompressedSize64 > uint64(most) {
		o.s.Cut("document: %d octets looked at for macros", int(most))
	}
	o.left -= int64(len(data))
	if err != nil {
		return nil
	}
	return data
}

// isLocked is the flag of files that need a password.
const isLocked = 1

// archive looks at the files in an archive.
func (o *macros) archive(name string, data []byte, depth int) {
	most := o.s.Rules.Count("olemacro_num_zip")
	if most == 0 || depth >= o.s.Rules.Count("olemacro_zip_depth") {
		return
	}
	z := openZip(name, data)
	if z == nil {
		return
	}
	count := 0
	for _, f := range z.File {
		if count >= most {
			return
		}
		if o.is("olemacro_skip_exts", f.Name) {
			continue
		}
		if f.Flags&isLocked != 0 {
			o.password = true
			o.macro = o.macro || o.is("olemacro_macro_exts", f.Name)
			continue
		}
		if o.wanted(f.Name) && o.file(f.Name, o.contents(f), depth+1) {
			count++
		}
	}
}

// wanted reports whether a file in an archive is one to look at.
func (o *macros) wanted(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), ".csv") || o.is("olemacro_zips", name) || o.is("olemacro_macro_exts", name) || o.is("olemacro_exts", name) || o.s.Rules.Bool("olemacro_extended_scan")
}

// package2007 looks at a document that is an archive.
func (o *macros) package2007(name string, data []byte) bool {
	z := openZip(name, data)
	if z == nil {
		return false
	}
	is, macro := false, false
	for _, f := range z.File {
		switch low := strings.ToLower(f.Name); {
		case slices.Contains(macroFiles, low):
			is, macro = true, true
		case strings.HasPrefix(low, "xl/embeddings/"):
			is, o.object = true, true
		case wordRTF.MatchString(low):
			is, o.rtf = true, true
		case f.Name == "[Content_Types].xml":
			is = true
			o.macro = o.macro || macroTypes.Match(o.contents(f))
		}
		if strings.Contains(f.Name, ".rels") {
			is = o.relations(o.contents(f)) || is
		}
	}
	o.macro = o.macro || macro
	for _, f := range z.File {
		if macro && !o.malice && strings.Contains(f.Name, ".bin") {
			o.malice = autoOpen.Match(o.contents(f))
		}
	}
	return is
}

// Bounds of the links that count.
const (
	mostMHTML    = 5
	mostRedirect = 10
)

// relations looks for links of a document to elsewhere.
func (o *macros) relations(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	for _, part := range relation.Split(string(data), -1) {
		m := external.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		link := m[1]
		if mhtmlLink.MatchString(link) && len(o.mhtml) < mostMHTML && !slices.Contains(o.mhtml, link) {
			o.mhtml = append(o.mhtml, link)
		}
		link = mhtmlPrefix.ReplaceAllString(link, "")
		if webLink.MatchString(link) && len(o.links) < mostRedirect && !slices.Contains(o.links, link) {
			o.links = append(o.links, link)
		}
	}
	return true
}
