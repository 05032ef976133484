package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Schema is everything that may be written in a configuration: top-level
// options and blocks.
type Schema struct {
	Options []Option
	Blocks  []BlockType
}

// BlockType describes one kind of block.
type BlockType struct {
	Name string // as written: "filter"
	// Labels names the labels that follow the name; the last is the block's own
	// name, which no other block of this type in the same place may bear.
	Labels []string
	// Optional is how many of Labels, from the end, may be left out. A label
	// left out takes the value of the one before it.
	Optional int
	Repeat   bool // may be written more than once
	Doc      string
	Options  []Option
	Blocks   []BlockType
	// Resolve, if set, adds what depends on the first label: the options of
	// filter "rbl" are the filter block's own and those of "rbl". For an
	// unknown label it returns nil and all labels it knows.
	Resolve func(label string) (*BlockType, []string)
}

func (s Schema) root() *BlockType {
	return &BlockType{Options: s.Options, Blocks: s.Blocks, Repeat: true}
}

func (t *BlockType) option(name string) *Option {
	for i := range t.Options {
		if t.Options[i].Name == name {
			return &t.Options[i]
		}
	}
	return nil
}

func (t *BlockType) block(name string) *BlockType {
	for i := range t.Blocks {
		if t.Blocks[i].Name == name {
			return &t.Blocks[i]
		}
	}
	return nil
}

func (t *BlockType) optionNames() []string {
	names := make([]string, 0, len(t.Options))
	for i := range t.Options {
		names = append(names, t.Options[i].Name)
	}
	return names
}

func (t *BlockType) blockNames() []string {
	names := make([]string, 0, len(t.Blocks))
	for i := range t.Blocks {
		names = append(names, t.Blocks[i].Name)
	}
	return names
}

// resolved is the type of a block with this first label: the specific options
// first, then the common ones.
func (t *BlockType) resolved(label string) (*BlockType, []string) {
	if t.Resolve == nil {
		return t, nil
	}
	special, known := t.Resolve(label)
	if special == nil {
		return nil, known
	}
	whole := *t
	whole.Resolve = nil
	if special.Doc != "" {
		whole.Doc = special.Doc
	}
	whole.Options = slices.Concat(special.Options, t.Options)
	whole.Blocks = slices.Concat(special.Blocks, t.Blocks)
	return &whole, nil
}

// variants lists the labels Resolve knows.
func (t *BlockType) variants() []string {
	if t.Resolve == nil {
		return nil
	}
	_, known := t.Resolve("")
	return known
}

// visit calls f for t and every block type below it, with the dotted path of
// each: "pipeline", "pipeline.filter", "pipeline.filter.rbl". base is nil except
// for what a label resolves to, where it is the type whose Resolve did it.
func (t *BlockType) visit(path string, f func(path string, t, base *BlockType)) {
	t.visitAs(path, nil, f)
}

func (t *BlockType) visitAs(path string, base *BlockType, f func(path string, t, base *BlockType)) {
	f(path, t, base)
	for i := range t.Blocks {
		b := &t.Blocks[i]
		at := join(path, b.Name)
		b.visitAs(at, nil, f)
		for _, label := range b.variants() {
			if special, _ := b.resolved(label); special != nil {
				special.visitAs(join(at, label), b, f)
			}
		}
	}
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// CheckSchema reports what is missing or contradictory in a schema: options
// without documentation or of no type, examples and defaults that would be
// refused, names that occur twice. It is for tests.
func CheckSchema(s Schema) error {
	var errs []error
	s.root().visit("", func(path string, t, _ *BlockType) {
		errs = append(errs, t.check(path))
	})
	return errors.Join(errs...)
}

func (t *BlockType) check(path string) error {
	var errs []error
	fault := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", join(path, name), fmt.Sprintf(format, args...)))
	}
	if path != "" && t.Doc == "" {
		fault("", "no documentation")
	}
	if t.Optional >= len(t.Labels) && t.Optional > 0 {
		fault("", "every label is optional")
	}
	seen := map[string]bool{}
	for _, name := range slices.Concat(t.optionNames(), t.blockNames()) {
		if seen[name] {
			fault(name, "defined twice")
		}
		seen[name] = true
		if !hclsyntax.ValidIdentifier(name) || strings.Contains(name, "-") {
			fault(name, "not a name one can write")
		}
	}
	for i := range t.Options {
		if err := t.Options[i].check(); err != nil {
			fault(t.Options[i].Name, "%v", err)
		}
	}
	return errors.Join(errs...)
}

func (o *Option) check() error {
	if o.Type == TypeInvalid || int(o.Type) >= len(typeInfos) {
		return errors.New("no type")
	}
	if o.Doc == "" {
		return errors.New("no documentation")
	}
	if o.Required && o.HasDefault() {
		return errors.New("required, yet it has a default")
	}
	if !o.Required && !o.HasDefault() && o.Example == "" {
		return errors.New("neither default nor example")
	}
	if _, err := o.fallback(); err != nil {
		return err
	}
	for _, bound := range []any{o.Min, o.Max} {
		if _, ok := number(bound); bound != nil && !ok {
			return fmt.Errorf("bound %v is no number", bound)
		}
	}
	if o.Example == "" {
		return nil
	}
	if err := o.checkExample(); err != nil {
		return fmt.Errorf("example: %w", err)
	}
	return nil
}

// checkExample reads the example as if it had been written in a file, with
// every environment variable and file present.
func (o *Option) checkExample() error {
	opts := Options{
		Env:      func(string) (string, bool) { return "1", true },
		ReadFile: func(string) ([]byte, error) { return []byte("1"), nil },
	}
	_, diags := Parse("example", []byte(o.Name+" = "+o.Example+"\n"), Schema{Options: []Option{*o}}, opts)
	return diags.Err()
}
