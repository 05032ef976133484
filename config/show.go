package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// ErrUnknownKey is returned for a key that names nothing.
var ErrUnknownKey = errors.New("unknown key")

// entry is one option of one block of a loaded configuration. Its option is nil
// for the block itself.
type entry struct {
	key    string
	node   *node
	option *Option
}

// entries are all options in force: the root's in the schema's order, then
// those of each block in written order.
func (f *File) entries() []entry {
	var out []entry
	f.root.walk(func(n *node) {
		for i := range n.typ.Options {
			o := &n.typ.Options[i]
			out = append(out, entry{join(n.key, o.Name), n, o})
		}
	})
	return out
}

// Keys are the keys Get knows, for completion.
func (f *File) Keys() []string {
	var keys []string
	for _, e := range f.entries() {
		keys = append(keys, e.key)
	}
	return keys
}

// render is the value as one would write it, secrets hidden.
func (e entry) render() string {
	s, written := e.node.settings[e.option.Name]
	switch {
	case !written && !e.option.HasDefault():
		return "null"
	case e.option.IsSecret():
		return redacted
	case written && s.outside:
		return strings.Join(strings.Fields(s.text), " ")
	}
	v, err := e.node.value(e.option)
	if err != nil {
		return "null"
	}
	return renderValue(v)
}

// isDefault reports whether what is in force is what would be if nothing were
// written.
func (e entry) isDefault() bool {
	if _, ok := e.node.settings[e.option.Name]; !ok {
		return true
	}
	unset := &node{typ: e.node.typ}
	return e.option.HasDefault() && equalValues(e.node, e.option, unset, e.option)
}

// Show writes "key = value" for every option in force, or only for those whose
// value is not the default. A block of which nothing else is written shows as
// "key {}".
func Show(w io.Writer, f *File, nonDefault bool) error {
	var b strings.Builder
	f.root.walk(func(n *node) {
		lines := 0
		for i := range n.typ.Options {
			e := entry{join(n.key, n.typ.Options[i].Name), n, &n.typ.Options[i]}
			if nonDefault && e.isDefault() {
				continue
			}
			lines++
			fmt.Fprintf(&b, "%s = %s\n", e.key, e.render())
		}
		if lines == 0 && n.key != "" && len(n.blocks) == 0 {
			fmt.Fprintf(&b, "%s {}\n", n.key)
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// shown is one option in ShowJSON.
type shown struct {
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Type    string `json:"type"`
	Unit    string `json:"unit,omitempty"`
	Default bool   `json:"default"`
	Secret  bool   `json:"secret,omitempty"`
	Source  string `json:"source,omitempty"`
}

// ShowJSON is Show as a JSON array of objects with key, value, type, unit,
// default, secret and source (file:line:col). Durations, sizes, rates and conditions are
// text as one would write them; secrets and unset options are null.
func ShowJSON(w io.Writer, f *File, nonDefault bool) error {
	all := []shown{}
	for _, e := range f.entries() {
		if nonDefault && e.isDefault() {
			continue
		}
		one := shown{Key: e.key, Value: e.jsonValue(), Type: e.option.Type.String(), Unit: e.option.Unit, Default: e.isDefault()}
		one.Secret = e.option.IsSecret()
		if s, ok := e.node.settings[e.option.Name]; ok {
			one.Source = toRange(s.place).String()
		}
		all = append(all, one)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}

func (e entry) jsonValue() any {
	s, written := e.node.settings[e.option.Name]
	switch {
	case !written && !e.option.HasDefault(), e.option.IsSecret():
		return nil
	case written && s.outside:
		return strings.Join(strings.Fields(s.text), " ")
	}
	v, err := e.node.value(e.option)
	if err != nil {
		return nil
	}
	switch v := v.(type) {
	case time.Duration:
		return FormatDuration(v)
	case Size, Rate, *When:
		return fmt.Sprint(v)
	case Source:
		return v.texts()
	}
	return v
}

// texts are the lookups as written in a list of plain text.
func (s Source) texts() []string {
	out := make([]string, len(s))
	for i, l := range s {
		out[i] = l.String()
	}
	return out
}

// String is the lookup as text: store(), the name of a table or the value.
func (l Lookup) String() string {
	if l.Kind == LookupStore {
		return "store()"
	}
	return l.Text
}

// Get is the value in force of one key, as one would write it. An unknown key
// is an ErrUnknownKey, with a suggestion.
func Get(f *File, key string) (string, error) {
	for _, e := range f.entries() {
		if e.key == key {
			return e.render(), nil
		}
	}
	return "", unknownKey(key, f.Keys())
}

func unknownKey(key string, known []string) error {
	if hint := didYouMean(key, known); hint != "" {
		return fmt.Errorf("%w %q, %s", ErrUnknownKey, key, hint)
	}
	return fmt.Errorf("%w %q", ErrUnknownKey, key)
}

// render is a default or a bound of o as one would write it.
func (o *Option) render(v any) string {
	if o.Type == TypeSize || o.Type == TypeScore || v == nil {
		n, _ := number(v)
		if o.Type == TypeSize {
			return Size(n).String()
		}
		return renderValue(n)
	}
	if o.Type == TypeWhen {
		return fmt.Sprint(v)
	}
	return renderValue(v)
}

// renderValue is a Go value of any Type as one would write it.
func renderValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		return quote(FormatDuration(v))
	case Rate:
		return quote(v.String())
	case Score:
		return "score(" + renderValue(float64(v)) + ")"
	case []string:
		return "[" + quoteAll(v) + "]"
	case map[string]string:
		return renderMap(v)
	case map[string]float64:
		return renderMap(v)
	case Source:
		return v.String()
	}
	return fmt.Sprint(v) // bool, integers, Size, Secret, When
}

func renderMap[V any](m map[string]V) string {
	if len(m) == 0 {
		return "{}"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, quote(k)+" = "+renderValue(m[k]))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// String is the source as one would write it.
func (s Source) String() string {
	parts := make([]string, len(s))
	for i, l := range s {
		parts[i] = l.String()
		if l.Kind != LookupStore {
			parts[i] = quote(parts[i])
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// quote is text as HCL writes it.
func quote(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}
