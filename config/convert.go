package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// errWants says that a value is not of the option's type; the caller knows
// which that is.
var errWants = errors.New("wrong type")

// converters make the Go value of each Type from what was written. dir is the
// directory of the file.
var converters = map[Type]func(v cty.Value, dir string) (any, error){
	TypeBool:     func(v cty.Value, _ string) (any, error) { return toBool(v) },
	TypeInt:      func(v cty.Value, _ string) (any, error) { return toInt(v) },
	TypeFloat:    func(v cty.Value, _ string) (any, error) { return toFloat(v) },
	TypeString:   func(v cty.Value, _ string) (any, error) { return toString(v) },
	TypePath:     toPath,
	TypeDuration: toDuration,
	TypeSize:     toSize,
	TypeRate:     toRate,
	TypeStrings:  func(v cty.Value, _ string) (any, error) { return toList(v) },
	TypePaths: func(v cty.Value, dir string) (any, error) {
		list, err := toList(v)
		for i, s := range list {
			list[i] = within(dir, s)
		}
		return list, err
	},
	TypeStringMap: func(v cty.Value, _ string) (any, error) { return toMap(v, toText) },
	TypePathMap: func(v cty.Value, dir string) (any, error) {
		return toMap(v, func(v cty.Value) (string, error) {
			s, err := toString(v)
			return within(dir, s), err
		})
	},
	TypeFloatMap: func(v cty.Value, _ string) (any, error) { return toMap(v, toFloat) },
	TypeSource:   toSource,
	TypeScore:    toScore,
	TypeSecret: func(v cty.Value, _ string) (any, error) {
		s, err := toString(v)
		return Secret(s), err
	},
}

// fromCty converts a written value and checks it against the option. Its errors
// do not name the option.
func fromCty(o *Option, v cty.Value, dir string) (any, error) {
	conv, ok := converters[o.Type]
	if !ok || !v.IsWhollyKnown() {
		return nil, errWants
	}
	out, err := conv(v, dir)
	if err != nil {
		return nil, err
	}
	return out, checkLimits(o, out)
}

func toBool(v cty.Value) (bool, error) {
	if v.Type() != cty.Bool || v.IsNull() {
		return false, errWants
	}
	return v.True(), nil
}

func toString(v cty.Value) (string, error) {
	if v.Type() != cty.String || v.IsNull() {
		return "", errWants
	}
	return v.AsString(), nil
}

// toText is toString for elements of maps, where numbers and booleans are as
// good as their text.
func toText(v cty.Value) (string, error) {
	if !v.Type().IsPrimitiveType() || v.IsNull() {
		return "", errWants
	}
	if _, err := toFloat(v); err != nil && v.Type() == cty.Number {
		return "", err
	}
	s, err := convert.Convert(v, cty.String)
	if err != nil {
		return "", errWants
	}
	return s.AsString(), nil
}

func toFloat(v cty.Value) (float64, error) {
	if v.Type() != cty.Number || v.IsNull() {
		return 0, errWants
	}
	f, _ := v.AsBigFloat().Float64()
	if math.IsInf(f, 0) { // 1 / 0
		return 0, errWants
	}
	return f, nil
}

func toInt(v cty.Value) (int64, error) {
	if v.Type() != cty.Number || v.IsNull() {
		return 0, errWants
	}
	n, acc := v.AsBigFloat().Int64()
	if acc != big.Exact {
		return 0, errWants
	}
	return n, nil
}

func toPath(v cty.Value, dir string) (any, error) {
	s, err := toString(v)
	if err != nil || s == "" {
		return s, err
	}
	return within(dir, s), nil
}

// within is path as seen from the working directory, if it was written in a
// file of dir.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func toDuration(v cty.Value, _ string) (any, error) {
	if n, err := toFloat(v); err == nil && n != 0 {
		return nil, errWants
	} else if err == nil {
		return time.Duration(0), nil
	}
	s, err := toString(v)
	if err != nil {
		return nil, err
	}
	d, err := ParseDuration(s)
	if err != nil {
		return nil, errWants
	}
	return d, nil
}

func toSize(v cty.Value, _ string) (any, error) {
	n, err := toInt(v)
	if err != nil || n < 0 {
		return nil, errWants
	}
	return Size(n), nil
}

func toRate(v cty.Value, _ string) (any, error) {
	s, err := toString(v)
	if err != nil {
		return nil, err
	}
	r, err := ParseRate(s)
	if err != nil {
		return nil, errWants
	}
	return r, nil
}

// elements are the elements of a list, a tuple or a set.
func elements(v cty.Value) ([]cty.Value, bool) {
	t := v.Type()
	if v.IsNull() || !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return nil, false
	}
	return v.AsValueSlice(), true
}

func toList(v cty.Value) ([]string, error) {
	all, ok := elements(v)
	if !ok {
		return nil, errWants
	}
	out := make([]string, 0, len(all))
	for _, e := range all {
		s, err := toString(e)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func toMap[V any](v cty.Value, elem func(cty.Value) (V, error)) (map[string]V, error) {
	if v.IsNull() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		return nil, errWants
	}
	out := make(map[string]V, v.LengthInt())
	for k, e := range v.AsValueMap() {
		x, err := elem(e)
		if err != nil {
			return nil, err
		}
		out[k] = x
	}
	return out, nil
}

func toSource(v cty.Value, dir string) (any, error) {
	all, ok := elements(v)
	if !ok {
		all = []cty.Value{v}
	}
	out := make(Source, 0, len(all))
	for _, e := range all {
		l, err := toLookup(e, dir)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func toLookup(v cty.Value, dir string) (Lookup, error) {
	if !v.IsNull() && (v.Type().IsObjectType() || v.Type().IsMapType()) {
		return inline(v)
	}
	if v.Type().Equals(storeType) && !v.IsNull() {
		return Lookup{Kind: LookupStore}, nil
	}
	s, err := toString(v)
	if err != nil {
		return Lookup{}, err
	}
	typ, name, _ := strings.Cut(s, ":")
	path, ok := tableTypes[typ]
	switch {
	case !ok || !strings.Contains(s, ":"):
		return Lookup{LookupValue, s}, nil
	case path:
		name = within(dir, name)
	}
	return Lookup{LookupTable, typ + ":" + name}, nil
}

// inline makes a table of a map that is written out.
func inline(v cty.Value) (Lookup, error) {
	rows, err := toMap(v, toText)
	if err != nil {
		return Lookup{}, err
	}
	m := rows
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.ContainsAny(k+m[k], "{}") || strings.Contains(k, "=") {
			return Lookup{}, fmt.Errorf("%q: a row can not have braces, or = in its key; write a file", k)
		}
		fmt.Fprintf(&b, " {%s = %s}", k, m[k])
	}
	return Lookup{LookupTable, "inline:{" + strings.TrimSpace(b.String()) + "}"}, nil
}

func toScore(v cty.Value, _ string) (any, error) {
	if !v.Type().Equals(scoreType) || v.IsNull() {
		return nil, errWants
	}
	s, ok := v.EncapsulatedValue().(*Score)
	if !ok || math.IsInf(float64(*s), 0) {
		return nil, errWants
	}
	return *s, nil
}

// checkLimits checks bounds and permitted words.
func checkLimits(o *Option, v any) error {
	switch v := v.(type) {
	case string:
		return checkWord(o, v)
	case []string:
		for _, s := range v {
			if err := checkWord(o, s); err != nil {
				return err
			}
		}
		return nil
	}
	n, ok := number(v)
	if !ok {
		return nil
	}
	if low, ok := number(o.Min); ok && n < low {
		return fmt.Errorf("must be at least %s", o.render(o.Min))
	}
	if high, ok := number(o.Max); ok && n > high {
		return fmt.Errorf("must be at most %s", o.render(o.Max))
	}
	return nil
}

// wordError is a string that is none of the option's Values.
type wordError struct {
	word   string
	values []string
	ours   string // what another server's word is here
}

func (e *wordError) Error() string {
	text := fmt.Sprintf("does not know %q; it knows %s", e.word, quoteAll(e.values))
	if e.ours != e.word {
		text += fmt.Sprintf(" (%q is %q here)", e.word, e.ours)
	}
	return text
}

func checkWord(o *Option, s string) error {
	if len(o.Values) == 0 || slices.Contains(o.Values, s) {
		return nil
	}
	ours := o.inOurs(s, false)
	if ours == s {
		ours = o.inOurs(s, true)
	}
	return &wordError{s, o.Values, ours}
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ", ")
}

// number is the numeric value of bounds and of values that may be bounded.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case Size:
		return float64(v), true
	case Score:
		return float64(v), true
	case time.Duration:
		return float64(v), true
	case string:
		d, err := ParseDuration(v)
		return float64(d), err == nil
	}
	return 0, false
}

// fromGo converts a default, written as a Go value, to the option's Go type and
// checks it as if it had been written in a file.
func fromGo(o *Option, v any) (any, error) {
	switch v := v.(type) {
	case time.Duration, Size, Rate, Source, Score, Secret, *When:
		if want := o.Type.info().zero; fmt.Sprintf("%T", v) != fmt.Sprintf("%T", want) {
			return nil, fmt.Errorf("%T is not %s", v, o.Type.info().want)
		}
		return v, checkLimits(o, v)
	case string:
		if o.Type == TypeWhen {
			w, diags := ParseWhen(v)
			return w, diags.Err()
		}
	}
	c, ok := goToCty(v)
	if !ok {
		return nil, fmt.Errorf("%T is not %s", v, o.Type.info().want)
	}
	out, err := fromCty(o, c, "")
	if errors.Is(err, errWants) {
		return nil, fmt.Errorf("%v is not %s", v, o.Type.info().want)
	}
	return out, err
}

func goToCty(v any) (cty.Value, bool) {
	switch v := v.(type) {
	case bool:
		return cty.BoolVal(v), true
	case int:
		return cty.NumberIntVal(int64(v)), true
	case int64:
		return cty.NumberIntVal(v), true
	case float64:
		return cty.NumberFloatVal(v), true
	case string:
		return cty.StringVal(v), true
	case []string:
		list := make([]cty.Value, len(v))
		for i, s := range v {
			list[i] = cty.StringVal(s)
		}
		return cty.TupleVal(list), true
	case map[string]string:
		return ctyObject(v, cty.StringVal), true
	case map[string]float64:
		return ctyObject(v, cty.NumberFloatVal), true
	}
	return cty.NilVal, false
}

func ctyObject[V any](m map[string]V, val func(V) cty.Value) cty.Value {
	out := make(map[string]cty.Value, len(m))
	for _, k := range slices.Collect(maps.Keys(m)) {
		out[k] = val(m[k])
	}
	return cty.ObjectVal(out)
}
