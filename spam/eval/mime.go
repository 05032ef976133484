package eval

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// mimeEval are the functions of MIMEEval.
var mimeEval = map[string]Func{
	"check_for_mime": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) { return hit(mimeOf(s).flag(arg(a, 0))) },
	"check_for_mime_html": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return hit(topHTML(s) || mimeOf(s).html > 0)
	},
	"check_for_mime_html_only": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		return hit(topHTML(s) || mimeOf(s).html > 0 && mimeOf(s).text == 0)
	},
	"check_mime_multipart_ratio": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		r := mimeOf(s).ratio
		return hit(r >= number(a, 0) && r < number(a, 1))
	},
	"check_msg_parse_flags":        parseFlags,
	"check_for_ascii_text_illegal": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(mimeOf(s).illegal > 0) },
	"check_abundant_unicode_ratio": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(ratioForm.MatchString(arg(a, 0)) && mimeOf(s).unicode >= number(a, 0))
	},
	"check_for_faraway_charset": farawayCharset,
	"check_for_uppercase": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		u := uppercase(s)
		return hit(u > number(a, 0) && u <= number(a, 1))
	},
	"check_ma_non_text": nonText,
	"check_base64_length": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		n := base64Length(s)
		return hit(n >= number(a, 0) && (arg(a, 1) == "" || n <= number(a, 1)))
	},
	"check_qp_ratio": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(mimeOf(s).qpRatio >= number(a, 0))
	},
}

var (
	ratioForm = regexp.MustCompile(`^\d{0,3}\.\d{1,3}$`)
	htmlStart = regexp.MustCompile(`(?i)^text/html`)
)

func topHTML(s *scan.Scan) bool { return htmlStart.MatchString(text(s, "Content-Type")) }

// mimeFacts are counts over all parts.
type mimeFacts struct {
	html, text, base64, qp, attachments                            int
	base64Text, badISO, faraway, alternative, longLine, noBoundary bool
	ratio                                                          float64 // text to HTML, in octets
	qpRatio                                                        float64
	illegal                                                        int
	unicode                                                        float64 // entities to characters
	charsets                                                       []string
}

func (f *mimeFacts) flag(name string) bool {
	switch name {
	case "mime_base64_count":
		return f.base64 > 0
	case "mime_base64_encoded_text":
		return f.base64Text
	case "mime_body_html_count":
		return f.html > 0
	case "mime_body_text_count":
		return f.text > 0
	case "mime_faraway_charset":
		return f.faraway
	case "mime_missing_boundary":
		return f.noBoundary
	case "mime_multipart_alternative":
		return f.alternative
	case "mime_multipart_ratio":
		return f.ratio != 0
	case "mime_qp_count":
		return f.qp > 0
	case "mime_qp_long_line":
		return f.longLine
	case "mime_qp_ratio":
		return f.qpRatio > 0
	case "mime_ascii_text_illegal":
		return f.illegal > 0
	case "mime_text_unicode_ratio":
		return f.unicode > 0
	case "mime_attachment":
		return f.attachments > 0
	case "mime_bad_iso_charset":
		return f.badISO
	}
	return false
}

// mimeCounter counts.
type mimeCounter struct {
	*mimeFacts
	locales          []string
	qpBytes, qpCount int
	normal, entities int
	types            []string
	sizes            []int // -1: an attachment
}

func mimeOf(s *scan.Scan) *mimeFacts {
	if f, ok := s.Keep["mime"].(*mimeFacts); ok {
		return f
	}
	c := &mimeCounter{mimeFacts: &mimeFacts{ratio: 1}, locales: strings.Fields(s.Rules.String("ok_locales"))}
	s.Keep["mime"] = c.mimeFacts
	s.Mail.Walk(c.part)
	if c.qpBytes > 0 {
		c.qpRatio, c.qp = float64(c.qpCount)/float64(c.qpBytes), c.qpCount
	}
	if c.normal > 0 {
		c.unicode = float64(c.entities) / float64(c.normal)
	}
	if c.alternative {
		c.compare()
	}
	for _, n := range s.Mail.Boundaries {
		c.noBoundary = c.noBoundary || n != 0
	}
	return c.mimeFacts
}

func (c *mimeCounter) part(p *mail.Part) {
	ct := mail.ParseContentType(p.Header("content-type"))
	charset := strings.ToLower(ct.Charset)
	cte, cd := strings.ToLower(p.Header("content-transfer-encoding")), strings.ToLower(p.Header("content-disposition"))
	c.alternative = c.alternative || ct.Type == "multipart/alternative"
	c.head(ct.Type, cte, cd, charset)
	if !p.Leaf() {
		return
	}
	c.types = append(c.types, ct.Type)
	attached := strings.Contains(cd, "attachment")
	size := 0
	if attached {
		size = -1
	}
	plain := ct.Type == "text/plain"
	counts := plain && (cte == "" || cte == "7bit" || cte == "8bit")
	for line := range bytes.Lines(p.Raw()) {
		if c.alternative && !attached && (plain || ct.Type == "text/html") {
			size += len(line)
		}
		if cte == "quoted-printable" && !bytes.HasPrefix(line, []byte("SPAM: ")) {
			c.quoted(line)
		}
		if plain && (!ct.HasCharset || charset == "us-ascii") && illegalASCII(line) {
			c.illegal++
		}
		if counts {
			n := 0
			if bytes.Contains(line, []byte("&#x")) {
				n = len(entityForm.FindAll(line, -1))
			}
			c.entities += n
			c.normal += len(line) - 8*n
		}
	}
	c.sizes = append(c.sizes, size)
}

var (
	entityForm = regexp.MustCompile(`&#x[0-9A-F]{4};`)
	asciiNames = regexp.MustCompile(`us-ascii|ansi_x3\.4-1968|iso-ir-6|ansi_x3\.4-1986|iso_646\.irv:1991|ascii|iso646-us|us|ibm367|cp367|csascii`)
	isoForm    = regexp.MustCompile(`(?i)iso-\S+-\S+\b`)
	goodISO    = regexp.MustCompile(`iso-(?:8859-\d{1,2}|2022-(?:jp|kr))\b`)
	anyLetter  = regexp.MustCompile(`[A-Za-z]`)
)

func illegalASCII(line []byte) bool {
	for _, b := range line {
		if b == 0 || b == '\r' || b >= 0x80 {
			return true
		}
	}
	return false
}

func (c *mimeCounter) quoted(line []byte) {
	c.longLine = c.longLine || len(line) > 79
	c.qpBytes += len(line)
	n := escapes(line)
	if c.qpCount += n; n > 0 {
		for end := bytes.TrimRight(line, " \t\r\n\f"); bytes.HasSuffix(end, []byte("=09")) || bytes.HasSuffix(end, []byte("=20")); end = end[:len(end)-3] {
			c.qpCount--
		}
	}
}

// escapes counts those of quoted-printable that stand for a tab or a character of ASCII
// but the equals sign.
func escapes(line []byte) (n int) {
	for {
		i := bytes.IndexByte(line, '=')
		if i < 0 || len(line)-i < 3 {
			return n
		}
		high, low := line[i+1], line[i+2]
		ok := high == '0' && low == '9'
		if high >= '2' && high <= '7' {
			ok = (low >= '0' && low <= '9' || low >= 'A' && low <= 'F') && !(high == '3' && low == 'D') && !(high == '7' && low == 'F')
		}
		if line = line[i+1:]; ok {
			n++
			line = line[2:]
		}
	}
}

func (c *mimeCounter) head(ctype, cte, cd, charset string) {
	switch {
	case ctype == "text/html":
		c.html++
	case strings.HasPrefix(ctype, "text"):
		c.text++
	}
	switch {
	case strings.Contains(cte, "base64"):
		c.base64++
	case strings.Contains(cte, "quoted-printable"):
		c.qp++
	}
	if strings.Contains(cd, "attachment") {
		c.attachments++
	}
	if strings.HasPrefix(ctype, "text") && strings.Contains(cte, "base64") && (charset == "" || asciiNames.MatchString(charset)) &&
		!strings.HasPrefix(cd, "attachment") && !strings.HasPrefix(cd, "inline") {
		c.base64Text = true
	}
	c.badISO = c.badISO || isoForm.MatchString(charset) && !goodISO.MatchString(charset)
	if anyLetter.MatchString(charset) {
		c.charsets = append(c.charsets, charset)
		c.faraway = c.faraway || !slices.Contains(c.locales, "all") && !charsetOK(charset, c.locales)
	}
}

// compare finds how much text there is to the last HTML.
func (c *mimeCounter) compare() {
	txt, html := -1, -1
	for i := len(c.types) - 1; i >= 0 && (txt < 0 || html < 0); i-- {
		switch {
		case c.sizes[i] < 0:
		case html < 0 && c.types[i] == "text/html":
			html = c.sizes[i]
		case txt < 0 && c.types[i] == "text/plain":
			txt = c.sizes[i]
		}
	}
	if txt >= 0 && html > 0 {
		c.ratio = float64(txt) / float64(html)
	}
}

func parseFlags(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	m := s.Mail
	switch arg(args, 0) {
	case "missing_head_body_separator":
		return hit(m.MissingSeparator)
	case "missing_mime_headers":
		return hit(m.MissingMIMEHead)
	case "missing_mime_head_body_separator":
		return hit(m.MissingMIMEGap)
	case "truncated_header", "truncated_headers":
		s.Get("ALL")
		return hit(m.TruncatedHeader)
	case "mimepart_limit_exceeded":
		return hit(m.PartLimit)
	case "mime_epilogue_exists":
		return hit(m.Epilogue)
	}
	return 0, Unknown("no flag " + arg(args, 0) + " is known")
}

var lineCharset = regexp.MustCompile(`(?i)charset="([^"]+)"|charset='([^']+)'|charset=(\S+)`)

// headerCharset is the charset of the message's own Content-Type.
func headerCharset(s *scan.Scan) string {
	t := text(s, "Content-Type")
	if !strings.Contains(strings.ToLower(t), "charset=") {
		return ""
	}
	m := lineCharset.FindStringSubmatch(t)
	if m == nil {
		return ""
	}
	return m[1] + m[2] + m[3]
}

func farawayCharset(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	locales := strings.Fields(s.Rules.String("ok_locales"))
	c := headerCharset(s)
	if slices.Contains(locales, "all") || c == "" || charsetOK(c, locales) {
		return 0, nil
	}
	high, low := 0, 0
	for _, line := range s.Body() {
		for _, b := range line {
			if b >= 0x80 {
				high++
			} else {
				low++
			}
		}
		low++
	}
	return hit(low <= high && high > 3)
}

var (
	base64Like  = regexp.MustCompile(`^(?:[A-Za-z0-9+/=]{60,76} ){2}`)
	jisShift    = regexp.MustCompile(`(?s)\x1b\$B.*\x1b\(B`)
	capsCharset = regexp.MustCompile(`(?i)^[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*$`)
)

// letters tells capital letters, "A", from small ones and digits, "a".
var letters = func() (t [256]byte) {
	for b := range t {
		switch {
		case b >= 'a' && b <= 'z' || b >= '0' && b <= '9':
			t[b] = 'a'
		case b >= 'A' && b <= 'Z':
			t[b] = 'A'
		}
	}
	return t
}()

// twoWords reports whether there is space between others.
func twoWords(line []byte) bool {
	const space = " \t\r\n\f"
	return bytes.ContainsAny(bytes.Trim(line, space), space)
}

// uppercase is the share of capital letters in the text, in percent; 0 of short texts.
func uppercase(s *scan.Scan) float64 {
	if v, ok := s.Keep["uppercase"].(float64); ok {
		return v
	}
	v := capitals(s)
	s.Keep["uppercase"] = v
	return v
}

func capitals(s *scan.Scan) float64 {
	if slices.ContainsFunc(append([]string{headerCharset(s)}, mimeOf(s).charsets...), capsCharset.MatchString) {
		return 0
	}
	size, lower, upper := 0, 0, 0
	for _, line := range s.Body() {
		if !twoWords(line) || bytes.IndexByte(line[:min(len(line), 60)], ' ') < 0 && base64Like.Match(line) {
			continue
		}
		if bytes.IndexByte(line, 0x1b) >= 0 {
			line = jisShift.ReplaceAll(line, nil)
		}
		size += len(line)
		for _, b := range line {
			switch letters[b] {
			case 'a':
				lower++
			case 'A':
				upper++
			}
		}
	}
	if size < 200 || upper+lower == 0 {
		return 0
	}
	return float64(upper) / float64(upper+lower) * 100
}

// nonText: an alternative that is neither text nor a container.
func nonText(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	found := false
	s.Mail.Walk(func(p *mail.Part) {
		if p.Type != "multipart/alternative" {
			return
		}
		for _, q := range p.Parts {
			if q.Leaf() && q.Type != "multipart/related" && q.Type != "application/rtf" && !strings.HasPrefix(q.Type, "text/") {
				found = true
			}
		}
	})
	return hit(found)
}

// base64Length is the longest line of parts in base64.
func base64Length(s *scan.Scan) float64 {
	longest := 0
	for _, p := range s.Mail.Leaves() {
		if !strings.EqualFold(p.Header("content-transfer-encoding"), "base64") || mail.ParseContentType(p.Header("content-type")).Type == "application/ics" {
			continue
		}
		for line := range bytes.Lines(p.Raw()) {
			longest = max(longest, len(line))
		}
	}
	return float64(longest)
}
