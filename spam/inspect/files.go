package inspect

import (
	"bytes"
	"regexp"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// filesEval are the functions of AntiVirus: files that may be programs.
var filesEval = map[string]eval.Func{
	"check_microsoft_executable": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return anyPart(s, isProgram) },
	"check_suspect_name":         func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return anyPart(s, suspectName) },
}

func anyPart(s *scan.Scan, test func(p *mail.Part) bool) (float64, error) {
	for _, p := range s.Mail.Leaves() {
		if test(p) {
			return 1, nil
		}
	}
	return 0, nil
}

var (
	programName = regexp.MustCompile(`\.(?:ade|adp|asx|bas|bat|chm|cmd|com|cpl|crt|dll|exe|hlp|hta|inf|ins|isp|js|jse|lnk|mda|mdb|mde|mdt|mdw|mdz|msc|msi|msp|mst|nws|ops|pcd|pif|prf|reg|scf|scr\??|sct|shb|shs|shm|swf|url|vb|vbe|vbs|vbx|vxd|wsc|wsf|wsh)$`)
	program64   = regexp.MustCompile(`^TV[opqr].A..[AB].[AQgw][A-H].A`)
	programUU   = regexp.MustCompile("(?m)^M35[GHIJK].`..`..*````")
	typeVendor  = regexp.MustCompile(`/(?:x-|vnd\.)`)
)

var typeName = regexp.MustCompile(`(?i)\b(?:file)?name\s*=\s*["']?(.*?)["']?(?:;|$)`)

// typedName is the name that stands with a part's type, in small letters.
func typedName(p *mail.Part) string {
	m := typeName.FindStringSubmatch(p.Header("Content-Type"))
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}

// isProgram: a part is one by its name, or by how its octets begin.
func isProgram(p *mail.Part) bool {
	if programName.MatchString(typedName(p)) {
		return true
	}
	if strings.Contains(strings.ToLower(p.Header("Content-Transfer-Encoding")), "base64") {
		line, _, _ := bytes.Cut(p.Raw(), []byte("\n"))
		return program64.Match(line)
	}
	return strings.HasPrefix(p.Type, "text") && programUU.Match(p.Raw())
}

// nameTypes are what the types of files with some names must be.
var nameTypes = []struct{ name, typ *regexp.Regexp }{
	{regexp.MustCompile(`^(?:txt|[px]?html?|xml)$`), regexp.MustCompile(`^(?:text/(?:plain|[px]?html?|english|sgml|xml|enriched|richtext)|message/external-body)`)},
	{regexp.MustCompile(`^(?:jpe?g|tiff?|gif|png)$`), regexp.MustCompile(`^(?:image/|application/mac-binhex)`)},
	{regexp.MustCompile(`^vcf$`), regexp.MustCompile(`^text/vcard$`)},
	{regexp.MustCompile(`^(?:bat|com|exe|pif|scr|swf|vbs)$`), regexp.MustCompile(`^application/`)},
	{regexp.MustCompile(`^doc$`), regexp.MustCompile(`^application/.*word$`)},
	{regexp.MustCompile(`^ppt$`), regexp.MustCompile(`^application/.*(?:powerpoint|ppt)$`)},
	{regexp.MustCompile(`^xls$`), regexp.MustCompile(`^application/.*excel$`)},
}

// suspectName: a file's name says that it is another thing than its type does.
func suspectName(p *mail.Part) bool {
	name := typedName(p)
	if name == "" || p.Type == "application/octet-stream" {
		return false
	}
	name = name[strings.LastIndexByte(name, '.')+1:]
	typ := p.Type
	if m := typeVendor.FindStringIndex(typ); m != nil {
		typ = typ[:m[0]] + "/" + typ[m[1]:]
	}
	for _, t := range nameTypes {
		if t.name.MatchString(name) && !t.typ.MatchString(typ) {
			return true
		}
	}
	return false
}
