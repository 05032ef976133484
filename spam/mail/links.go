package mail

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLinks bounds the links of a document.
const maxLinks = 10000

// perlWord is \w for characters.
func perlWord(r rune) bool {
	if r < utf8.RuneSelf {
		return alpha(byte(r)) || r >= '0' && r <= '9' || r == '_'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc)
}

// canon takes white space from around a link, and what is too long.
func (h *HTML) canon(uri string) string {
	uri = strings.TrimFunc(uri, func(r rune) bool { return perlSpace(r) || r == 0xA0 })
	if utf8.RuneCountInString(uri) > maxURI {
		h.Truncated = true
		h.cuts.Add(fmt.Sprintf("link: %d characters", maxURI))
		uri = string([]rune(uri)[:maxURI])
	}
	return uri
}

var (
	otherScheme = regexp.MustCompile(`(?i)^(?:data|mailto|file|cid|tel):`)
	badHref     = regexp.MustCompile(`\w{1,8}/href`)
	badSrc      = regexp.MustCompile(`\w{1,8}/src`)
	refreshURL  = regexp.MustCompile(`(?i)^.*\burl\s*=\s*`)
	afterURL    = regexp.MustCompile(`\s*;.*`)
	baseForm    = regexp.MustCompile(`(?i)^(?:https?|ftp):/{0,2}`)
	baseFile    = regexp.MustCompile(`(?i)^([a-z]+:/{0,2}[^/]+/.*?)[^/.]+\.[^/.]{2,4}$`)
)

func (h *HTML) push(kind, uri string) {
	if uri = h.canon(uri); uri == "" {
		return
	}
	if !otherScheme.MatchString(uri) {
		uri = Target(h.base, uri)
	}
	switch {
	case uri == "":
	case h.URIs[uri] != nil || len(h.URIs) < maxLinks:
		h.link(uri).Types[kind] = true
	default:
		h.Dropped = true
		h.cuts.Add(fmt.Sprintf("links: %d of a document", maxLinks))
	}
}

// links keeps the links of a start tag.
func (h *HTML) links(name string, attrs map[string]string) {
	switch name {
	case "body", "table", "tr", "td":
		h.pushIf(name, attrs, "background")
	case "a", "area", "link":
		mend(attrs, badHref, "href")
		if v, ok := attrs["href"]; ok {
			attrs["href"] = strings.ReplaceAll(v, "\ufeff", "")
		}
		h.pushIf(name, attrs, "href")
		h.pushIf(name, attrs, "data-saferedirecturl")
	case "img", "frame", "iframe", "embed", "script", "bgsound":
		mend(attrs, badSrc, "src")
		h.pushIf(name, attrs, "src")
	case "form":
		h.pushIf(name, attrs, "action")
	case "base":
		h.setBase(attrs["href"])
	case "meta":
		content := attrs["content"]
		if strings.Contains(strings.ToLower(attrs["http-equiv"]), "refresh") && refreshURL.MatchString(content) {
			h.push(name, afterURL.ReplaceAllString(refreshURL.ReplaceAllString(content, ""), ""))
		}
	}
}

func (h *HTML) pushIf(name string, attrs map[string]string, key string) {
	if v, ok := attrs[key]; ok {
		h.push(name, v)
	}
}

// mend takes "img/src" for "src", as browsers do.
func mend(attrs map[string]string, bad *regexp.Regexp, good string) {
	for k, v := range attrs {
		if strings.Contains(k, "/") && bad.MatchString(k) {
			delete(attrs, k)
			attrs[good] = v
		}
	}
}

func (h *HTML) setBase(href string) {
	if href == "" || href == "0" {
		return
	}
	uri := h.canon(href)
	h.push("base", uri)
	if !baseForm.MatchString(uri) {
		return
	}
	uri = baseFile.ReplaceAllString(uri, "$1")
	if !strings.HasSuffix(uri, "/") {
		uri += "/"
	}
	h.base = uri
}

// parts are those of a URI; nil stands for one that is not there.
type parts struct {
	scheme, authority, query, fragment *string
	path                               string
}

// parseURI parts a link (RFC 3986, appendix B).
func parseURI(s string) (p parts) {
	if i := strings.IndexAny(s, ":/?#"); i > 0 && s[i] == ':' {
		scheme := s[:i]
		p.scheme, s = &scheme, s[i+1:]
	}
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority := rest[:end]
		p.authority, s = &authority, rest[end:]
	}
	if before, fragment, ok := strings.Cut(s, "#"); ok {
		fragment, _, _ = strings.Cut(fragment, "\n")
		p.fragment, s = &fragment, before
	}
	if before, query, ok := strings.Cut(s, "?"); ok {
		p.query, s = &query, before
	}
	p.path = s
	return p
}

// Target resolves a link in a document with a base, by RFC 3986, 5.2; a host that
// begins with "www" or "ftp" and has no scheme is given one.
func Target(base, uri string) string {
	r, b := parseURI(uri), parseURI(base)
	if r.scheme != nil && b.scheme != nil && *r.scheme == *b.scheme {
		r.scheme = nil
	}
	var t parts
	switch {
	case r.scheme != nil:
		t = parts{scheme: r.scheme, authority: r.authority, path: noDots(r.path), query: r.query}
	case r.authority != nil:
		t = parts{scheme: b.scheme, authority: r.authority, path: noDots(r.path), query: r.query}
	default:
		t = relative(b, r)
	}
	t.fragment = r.fragment
	return t.String()
}

func relative(b, r parts) parts {
	t := parts{scheme: b.scheme, authority: b.authority, query: r.query}
	switch {
	case r.path == "":
		t.path = b.path
		if r.query == nil {
			t.query = b.query
		}
	case r.path[0] == '/':
		t.path = noDots(r.path)
	case b.authority != nil && b.path == "":
		t.path = noDots("/" + r.path)
	default:
		t.path = noDots(b.path[:strings.LastIndexByte(b.path, '/')+1] + r.path)
	}
	return t
}

func (t parts) String() string {
	var s strings.Builder
	switch {
	case t.scheme != nil && *t.scheme != "":
		s.WriteString(*t.scheme + ":")
	case t.authority != nil && unschemed("www", *t.authority):
		s.WriteString("http:")
	case t.authority != nil && unschemed("ftp", *t.authority):
		s.WriteString("ftp:")
	}
	if t.authority != nil {
		s.WriteString("//" + *t.authority)
	}
	s.WriteString(t.path)
	if t.query != nil {
		s.WriteString("?" + *t.query)
	}
	if t.fragment != nil {
		s.WriteString("#" + *t.fragment)
	}
	return s.String()
}

// unschemed: "www." and "www2." begin a host.
func unschemed(prefix, host string) bool {
	host = strings.ToLower(host)
	rest, ok := strings.CutPrefix(host, prefix)
	return ok && strings.HasPrefix(strings.TrimLeft(rest, "0123456789"), ".")
}

// noDots removes "." and ".." from a path.
func noDots(in string) string {
	for _, p := range []string{"../", "./"} {
		if strings.HasPrefix(in, p) {
			in = in[len(p)-1:]
			break
		}
	}
	var out []byte
	for in != "" && in != "0" {
		switch {
		case in == "/." || strings.HasPrefix(in, "/./"):
			in = "/" + in[min(3, len(in)):]
		case in == "/.." || strings.HasPrefix(in, "/../"):
			in = "/" + in[min(4, len(in)):]
			i := strings.LastIndexByte(string(out), '/')
			out = out[:max(i, 0)]
		default:
			n := 1 + strings.IndexByte(in[1:], '/')
			if n == 0 {
				n = len(in)
			}
			out = append(out, in[:n]...)
			in = in[n:]
		}
	}
	return string(out)
}
