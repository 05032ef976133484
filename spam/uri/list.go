package uri

import (
	"fmt"
	"slices"
	"sort"

	"mtad/spam/conf"
)

// maxList bounds the links of a message.
const maxList = 20000

// Detail is a link in a message.
type Detail struct {
	Types   map[string]bool   // parsed, a, img, schemeless, unlinked, domainkeys and so on
	Cleaned []string          // its forms, sorted
	Hosts   map[string]string // hosts of these, with their registered domains
	Text    []string          // what anchors say
	// InText and InHTML: it was found in the text, in a document of HTML, or in both.
	InText, InHTML bool
}

// Domains are the registered domains of the link's forms, sorted.
func (d *Detail) Domains() []string {
	var out []string
	for _, domain := range d.Hosts {
		if !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	sort.Strings(out)
	return out
}

// List are the links of a message, by how they stand there.
type List struct {
	Details   map[string]*Detail
	Truncated bool // a link was too long
	Dropped   bool // there were more links than are kept, or a link had more forms
	domains   *conf.Domains
	redirects []Redirect
	seen      map[string]bool
}

// NewList begins a list.
func NewList(d *conf.Domains, redirects []Redirect) *List {
	return &List{Details: map[string]*Detail{}, domains: d, redirects: redirects, seen: map[string]bool{}}
}

// AddText adds the links in a text.
func (l *List) AddText(text []byte) {
	for _, f := range FindText(text, l.domains, l.seen) {
		types := map[string]bool{"parsed": true}
		if f.Schemeless {
			types["schemeless"] = true
		}
		if f.Unlinked {
			types["unlinked"] = true
		}
		if d := l.add(f.URI, types, true); d != nil {
			d.InText = true
		}
	}
}

// AddLink adds a link of a document of HTML with what its anchors say. One that only
// an anchor names counts as found in text.
func (l *List) AddLink(uri string, types map[string]bool, text []string) {
	if len(types) == 0 {
		types = map[string]bool{"parsed": true}
	}
	d := l.add(uri, types, false)
	if d == nil {
		return
	}
	d.InHTML = true
	for i, t := range text {
		if !slices.Contains(text[:i], t) {
			d.Text = append(d.Text, t)
		}
	}
}

// AddSigner adds the domain of a DKIM signature.
func (l *List) AddSigner(domain string) {
	uri := "domainkeys:" + domain
	registered, host := Domain(uri, l.domains)
	if registered == "" || l.full(uri) {
		return
	}
	d := l.detail(uri)
	d.Types["domainkeys"], d.Types["nocanon"], d.Types["noclean"] = true, true, true
	d.Hosts[host] = registered
}

func (l *List) detail(uri string) *Detail {
	d := l.Details[uri]
	if d == nil {
		d = &Detail{Types: map[string]bool{}, Hosts: map[string]string{}}
		l.Details[uri] = d
	}
	return d
}

// full reports whether there is no room for a link.
func (l *List) full(uri string) bool {
	if len(l.Details) < maxList || l.Details[uri] != nil {
		return false
	}
	l.Dropped = true
	return true
}

// Cuts tells what is missing in the list.
func (l *List) Cuts() (out []string) {
	if l.Truncated {
		out = append(out, fmt.Sprintf("link: %d characters", maxLength))
	}
	if l.Dropped {
		out = append(out, fmt.Sprintf("links: %d, and %d forms of each", maxList, maxForms))
	}
	return out
}

// add adds a link; with valid only if it has a domain.
func (l *List) add(uri string, types map[string]bool, valid bool) *Detail {
	if l.full(uri) {
		return nil
	}
	cleaned := Canonical(uri, l.domains, l.redirects)
	l.Dropped = l.Dropped || len(cleaned) >= maxForms
	hosts := map[string]string{}
	for i, c := range cleaned {
		if len(c) > maxLength {
			l.Truncated = true
			c = c[:maxLength]
			cleaned[i] = c
		}
		if domain, host := Domain(c, l.domains); domain != "" {
			hosts[host] = domain
		}
	}
	if len(cleaned) == 0 || valid && len(hosts) == 0 {
		return nil
	}
	d := l.detail(uri)
	for _, c := range cleaned {
		if !slices.Contains(d.Cleaned, c) {
			d.Cleaned = append(d.Cleaned, c)
		}
	}
	sort.Strings(d.Cleaned)
	for host, domain := range hosts {
		d.Hosts[host] = domain
	}
	for t := range types {
		d.Types[t] = true
	}
	return d
}

// Found are the forms of the links of text and of those of HTML, each once, sorted.
func (l *List) Found() (text, html []string) {
	for _, d := range l.Details {
		if d.InText {
			text = append(text, d.Cleaned...)
		}
		if d.InHTML {
			html = append(html, d.Cleaned...)
		}
	}
	slices.Sort(text)
	slices.Sort(html)
	return slices.Compact(text), slices.Compact(html)
}

// All are the forms of all links, each once, sorted: what uri rules see.
func (l *List) All() []string {
	seen := map[string]bool{}
	for _, d := range l.Details {
		for _, c := range d.Cleaned {
			seen[c] = true
		}
	}
	out := make([]string, 0, len(seen))
	for u := range seen {
		out = append(out, u)
	}
	sort.Strings(out)
	return out
}
