package route

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"mtad/aliases"
	"mtad/lookup"
)

// AliasFile finds the path of a file in the form of aliases(5), by any of the
// names that Postfix has for one.
func AliasFile(spec string) (path string, ok bool) {
	typ, path, _ := lookup.Split(spec)
	return path, slices.Contains(lookup.SourceTypes(), typ)
}

// OpenAliases opens a place that aliases are looked for in: a file in the form of
// aliases(5) ("file:", "hash:"), or another lookup table whose values are such lists.
func OpenAliases(spec string, o lookup.Options) (AliasSource, error) {
	path, ok := AliasFile(spec)
	if !ok {
		t, err := lookup.Open(spec, o)
		if err != nil {
			return nil, err
		}
		return aliasTable{t, spec}, nil
	}
	f := &aliasFile{spec: spec}
	var err error
	f.file, err = lookup.Watch(path, o, func(text string) (names, error) { return parseAliases(path, text) })
	if err != nil {
		return nil, fmt.Errorf("aliases %s: %w", spec, err)
	}
	return f, nil
}

// names are the entries of a file, and its owner.
type names struct {
	targets map[string][]aliases.Target
	owner   string
}

// parseAliases takes a file only whole: half of it would send mail astray.
func parseAliases(path, text string) (names, error) {
	entries, errs := aliases.Parse(path, text)
	if len(errs) > 0 {
		return names{}, errors.Join(errs...)
	}
	out := names{targets: make(map[string][]aliases.Target, len(entries))}
	for _, e := range entries {
		out.targets[e.Name] = e.Targets
	}
	if st, err := os.Stat(path); err == nil {
		out.owner = fileOwner(st)
	}
	return out, nil
}

// aliasFile is a file in the form of aliases(5).
type aliasFile struct {
	spec string
	file *lookup.Watched[names]
}

func (f *aliasFile) String() string { return f.spec }

// Alias finds a name.
func (f *aliasFile) Alias(_ context.Context, name string) (List, bool, error) {
	n := f.file.Current()
	targets, ok := n.targets[strings.ToLower(name)]
	return List{targets, n.owner}, ok, nil
}

// Close does nothing.
func (f *aliasFile) Close() error { return nil }

// aliasTable is a lookup table whose values are lists of targets.
type aliasTable struct {
	lookup.Table
	spec string
}

func (t aliasTable) String() string { return t.spec }

// Alias finds a name.
func (t aliasTable) Alias(ctx context.Context, name string) (List, bool, error) {
	value, ok, err := t.Lookup(ctx, name)
	if err != nil || !ok {
		return List{}, false, err
	}
	targets, errs := aliases.ParseList(t.spec, value)
	if len(errs) > 0 {
		return List{}, false, fmt.Errorf("alias %s: %w", name, errs[0])
	}
	return List{Targets: targets}, true, nil
}
