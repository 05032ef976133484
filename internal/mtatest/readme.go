package mtatest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"mtad/config"
)

// sections are those that the README of every kind of filter has.
var sections = []string{"Name", "Description", "Syntax", "Stages", "Modifications", "On failure", "Examples", "RFCs"}

var example = regexp.MustCompile("(?s)```hcl\nfilter \"(\\w+)\"[^{]*\\{(.*?)\n?\\}\n```")

// Readme checks the README.md of a kind of filter, in the test's own folder: it
// has every section and a row for every option. It returns the text.
func Readme(t *testing.T, options []config.Option) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	Check(t, err)
	text := string(b)
	at := 0
	for _, s := range sections {
		i := strings.Index(text[at:], "\n## "+s+"\n")
		if i < 0 {
			t.Errorf("README.md has no section %s in its place", s)
			continue
		}
		at += i + 1
	}
	for _, o := range options {
		if !strings.Contains(text, "\n| `"+o.Name+"` |") {
			t.Errorf("README.md does not document the option %s", o.Name)
		}
	}
	return text
}

// Examples gives each example of a README, a filter block, to load: the kind,
// and what is between the braces.
func Examples(t *testing.T, text string, load func(kind, body string) error) {
	t.Helper()
	examples := example.FindAllStringSubmatch(text, -1)
	if n := strings.Count(text, "```hcl"); n == 0 || n != len(examples) {
		t.Errorf("README.md has %d examples, %d of which can be read", n, len(examples))
	}
	for _, ex := range examples {
		if err := load(ex[1], ex[2]); err != nil {
			t.Errorf("README.md: %s\n%v", ex[0], err)
		}
	}
}
