package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// tagName is the struct tag that names an option.
const tagName = "mtad"

// Decode copies the block's options into the fields of the struct dst points
// to, with defaults where nothing was written. A field takes part if it has a
// tag `mtad:"name"`; options without a field are left alone, so that one block
// can be decoded into several structs. The values were checked by Load: an error
// here is a mistake in the struct, which CheckStruct finds in a test, or a number
// too large for its field.
func (b Block) Decode(dst any) error {
	v, err := structOf(dst)
	if err != nil {
		return err
	}
	n := b.node()
	var errs []error
	for _, f := range taggedFields(v.Type()) {
		if err := b.decodeField(n, f, v.FieldByIndex(f.index)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b Block) decodeField(n *node, f field, dst reflect.Value) error {
	o := n.typ.option(f.option)
	if o == nil {
		return b.Errorf("", "no option %q for field %s", f.option, f.name)
	}
	if !compatible(o.Type, dst.Type()) {
		return b.Errorf(o.Name, "option %s is a %s, field %s a %s", o.Name, o.Type, f.name, dst.Type())
	}
	value, err := n.value(o)
	if err != nil {
		return err
	}
	if !assign(dst, value) {
		return b.Errorf(o.Name, "%s is too large", o.Name)
	}
	return nil
}

// CheckStruct reports options without a field in the struct dst points to,
// fields whose tag names no option, and fields of a type that cannot hold their
// option. It is for tests.
func CheckStruct(options []Option, dst any) error {
	v, err := structOf(dst)
	if err != nil {
		return err
	}
	t := BlockType{Options: options}
	var errs []error
	seen := map[string]bool{}
	for _, f := range taggedFields(v.Type()) {
		o := t.option(f.option)
		switch {
		case o == nil:
			errs = append(errs, fmt.Errorf("field %s: no option %q", f.name, f.option))
		case seen[f.option]:
			errs = append(errs, fmt.Errorf("field %s: a second one for option %q", f.name, f.option))
		case !compatible(o.Type, f.typ):
			errs = append(errs, fmt.Errorf("field %s: a %s cannot hold a %s", f.name, f.typ, o.Type))
		}
		seen[f.option] = true
	}
	for _, name := range t.optionNames() {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("option %s: no field", name))
		}
	}
	return errors.Join(errs...)
}

func structOf(dst any) (reflect.Value, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, fmt.Errorf("config: decode into %T, which is no pointer to a struct", dst)
	}
	return v.Elem(), nil
}

// field is one field of a struct that takes part in decoding.
type field struct {
	name, option string
	typ          reflect.Type
	index        []int
}

// taggedFields lists the fields with a tag, those of embedded structs too.
func taggedFields(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		if option, ok := f.Tag.Lookup(tagName); ok && f.IsExported() && reachable(t, f.Index) {
			out = append(out, field{f.Name, option, f.Type, f.Index})
		}
	}
	return out
}

// reachable reports whether no embedded pointer lies on the way to a field.
func reachable(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() != reflect.Struct {
			return false
		}
	}
	return true
}

// compatible reports whether a field of type f can hold an option of type t.
func compatible(t Type, f reflect.Type) bool {
	want := reflect.TypeOf(t.info().zero)
	switch {
	case want == nil:
		return false
	case want == f:
		return true
	case t == TypeInt:
		return f != reflect.TypeFor[time.Duration]() && reflect.Zero(f).CanInt()
	case t == TypeString || t == TypePath:
		return f.Kind() == reflect.String
	}
	return false
}

// assign copies value, so that structs share no maps or slices. It reports
// false if the value overflows the field.
func assign(dst reflect.Value, value any) bool {
	switch v := value.(type) {
	case int64:
		if dst.OverflowInt(v) {
			return false
		}
		dst.SetInt(v)
	case string:
		dst.SetString(v)
	case []string:
		dst.Set(reflect.ValueOf(slices.Clone(v)))
	case Source:
		dst.Set(reflect.ValueOf(slices.Clone(v)))
	case map[string]string:
		dst.Set(reflect.ValueOf(maps.Clone(v)))
	case map[string]float64:
		dst.Set(reflect.ValueOf(maps.Clone(v)))
	default:
		dst.Set(reflect.ValueOf(value))
	}
	return true
}
