package eval

import (
	"regexp"
	"slices"
	"strings"
)

// charsets are those that each language is written in, besides the Latin ones and Unicode.
var charsets = map[string]string{
	"ja": "EUCJP JISX020119760 JISX020819830 JISX020819900 JISX020819970 JISX021219900 JISX021320001 JISX021320002 SHIFTJIS ISO2022JP SJIS JIS7 JISX0201 JISX0208 JISX0212",
	"ko": "EUCKR KSC56011987", "th": "TIS620",
	"ru": cyrillic, "ka": cyrillic, "tg": cyrillic, "be": cyrillic, "uk": cyrillic, "bg": cyrillic,
	"zh":      "GB1988 GB2312 GB231219800 GB18030 GBK BIG5HKSCS BIG5 EUCTW ISO2022CN",
	"zh.big5": "BIG5HKSCS BIG5 EUCTW", "zh.gb2312": "GB1988 GB2312 GB231219800 GB18030 GBK ISO2022CN",
}

const cyrillic = "KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866"

var (
	everybodys   = regexp.MustCompile(`^(?:USASCII|ASCII|ISO8859.*|ISO10646.*|UTF.*|UCS.*|CP125.*|WINDOWS.*|IBM852|UNICODE11UTF[78].*|XUNKNOWN|ISO)$`)
	noCharset    = regexp.MustCompile(`[^A-Z0-9]`)
	languageOnly = regexp.MustCompile(`^([a-z][a-z]).*$`)
)

// charsetOK reports whether a charset is usual where one of the locales is.
func charsetOK(charset string, locales []string) bool {
	c := strings.TrimPrefix(noCharset.ReplaceAllString(strings.ToUpper(charset), ""), "3D")
	if everybodys.MatchString(c) {
		return true
	}
	for _, l := range locales {
		if l == "C" {
			l = "en"
		}
		if slices.Contains(strings.Fields(charsets[languageOnly.ReplaceAllString(l, "$1")]), c) {
			return true
		}
	}
	return false
}
