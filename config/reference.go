package config

import (
	"fmt"
	"io"
	"strings"
)

// Reference writes a Markdown page that describes every option and block of a
// schema.
func Reference(w io.Writer, s Schema) error {
	var b strings.Builder
	b.WriteString("# Configuration reference\n\nGenerated from the option registry. ")
	b.WriteString("Sizes are written `10 * MB` (1 MB = 1024 * 1024 octets), durations `\"3s\"`, `\"5m\"`, `\"2d\"`, rates `\"200/h\"`.\n")
	b.WriteString("\n## Top-level options\n")
	writeOptions(&b, s.Options)
	for i := range s.Blocks {
		writeBlock(&b, "", &s.Blocks[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeBlock writes the section of a block type, of each of its variants, and
// of the blocks inside.
func writeBlock(b *strings.Builder, path string, t *BlockType) {
	path = join(path, t.Name)
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```hcl\n%s\n```\n", path, strings.TrimSpace(t.Doc), t.usage())
	writeOptions(b, t.Options)
	for _, label := range t.variants() {
		special, _ := t.Resolve(label)
		if special == nil {
			continue
		}
		fmt.Fprintf(b, "\n## %s %q\n\n%s\n", path, label, strings.TrimSpace(special.Doc))
		writeOptions(b, special.Options)
		for i := range special.Blocks {
			writeBlock(b, join(path, label), &special.Blocks[i])
		}
	}
	for i := range t.Blocks {
		writeBlock(b, path, &t.Blocks[i])
	}
}

func writeOptions(b *strings.Builder, options []Option) {
	for i := range options {
		o := &options[i]
		fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n| | |\n|---|---|\n", o.Name, strings.TrimSpace(o.Doc))
		for _, row := range o.facts() {
			text := row[1]
			if row[0] == "Default" && o.HasDefault() || row[0] == "Example" || row[0] == "Values" {
				text = "`" + text + "`"
			}
			fmt.Fprintf(b, "| %s | %s |\n", row[0], strings.ReplaceAll(text, "|", `\|`))
		}
	}
}
