package config

import (
	"fmt"
	"slices"
	"time"
)

// Type is the type of an option's value.
type Type uint8

// The types of options, and what a Decode target's field must be for each.
const (
	TypeInvalid   Type = iota
	TypeBool           // bool
	TypeInt            // int64, or any integer type that holds the value
	TypeFloat          // float64
	TypeString         // string, or a type made of it
	TypePath           // string; made relative to the file it is written in
	TypeDuration       // time.Duration
	TypeSize           // Size
	TypeRate           // Rate
	TypeStrings        // []string
	TypePaths          // []string; file names, made relative to the file they are written in
	TypeStringMap      // map[string]string
	TypePathMap        // map[string]string; file names, made relative to the file they are written in
	TypeFloatMap       // map[string]float64
	TypeSource         // Source
	TypeScore          // Score
	TypeSecret         // Secret
	TypeWhen           // *When
)

// Option describes one setting. The zero Default means there is none: the
// setting's zero value is in force until it is written.
type Option struct {
	Name     string   // as written
	Type     Type     //
	Default  any      // in force when unwritten: a Go value, or text such as "3s" and "200/h"
	Unit     string   // of a bare number: "connections", "points"
	Doc      string   // one or more sentences
	Example  string   // the value as one would write it: `["zen.spamhaus.org"]`
	Reload   bool     // a change takes effect on reload, without a restart
	Secret   bool     // never printed
	Postfix  string   // name of the same thing in Postfix's main.cf
	Dovecot  string   // name of the same thing in Dovecot
	Min, Max any      // inclusive bounds: number, Size, time.Duration or text; nil is none
	Values   []string // the only values a string may have; the elements of a list
	// PostfixValues and DovecotValues are those servers' words for Values, in their
	// order, where they differ; "" is one that they have no word for.
	PostfixValues, DovecotValues []string
	Required                     bool // must be written
}

// IsSecret reports whether the option's value must not be printed.
func (o *Option) IsSecret() bool { return o.Secret || o.Type == TypeSecret }

// theirs are another server's words for Values.
func (o *Option) theirs(dovecot bool) []string {
	if dovecot {
		return o.DovecotValues
	}
	return o.PostfixValues
}

// inTheirs is a value in another server's words, or as it is.
func (o *Option) inTheirs(value string, dovecot bool) string {
	words := o.theirs(dovecot)
	if i := slices.Index(o.Values, value); i >= 0 && i < len(words) && words[i] != "" {
		return words[i]
	}
	return value
}

// inOurs is the value that another server's word stands for, or the word itself.
func (o *Option) inOurs(word string, dovecot bool) string {
	if i := slices.Index(o.theirs(dovecot), word); i >= 0 && word != "" && !slices.Contains(o.Values, word) {
		return o.Values[i]
	}
	return word
}

// HasDefault reports whether a value is in force when none is written.
func (o *Option) HasDefault() bool { return o.Default != nil }

// typeInfo is what is known of a Type apart from how to convert to it.
type typeInfo struct {
	name string // in references
	want string // in errors: "timeout wants ..."
	zero any    // the Go type of its values
}

var typeInfos = [...]typeInfo{
	TypeInvalid:   {"invalid", "nothing", nil},
	TypeBool:      {"bool", "true or false", false},
	TypeInt:       {"int", "a whole number", int64(0)},
	TypeFloat:     {"number", "a number", float64(0)},
	TypeString:    {"string", `a string in quotes`, ""},
	TypePath:      {"path", `a file name in quotes`, ""},
	TypeDuration:  {"duration", `a duration such as "3s", "5m" or "2d"`, time.Duration(0)},
	TypeSize:      {"size", "a size such as 512 * KB or 10 * MB", Size(0)},
	TypeRate:      {"rate", `a rate such as "200/h"`, Rate{}},
	TypeStrings:   {"list of strings", `a list of strings such as ["a", "b"]`, []string(nil)},
	TypePaths:     {"list of paths", `a list of file names such as ["a.cf", "/etc/b"]`, []string(nil)},
	TypeStringMap: {"map of strings", `a map such as { name = "value" }`, map[string]string(nil)},
	TypePathMap:   {"map of paths", `a map of file names such as { vips = "maps/vips" }`, map[string]string(nil)},
	TypeFloatMap:  {"map of numbers", `a map of numbers such as { "name" = 6 }`, map[string]float64(nil)},
	TypeSource:    {"source", `store(), a table such as "file:PATH" or { key = "value" }, or a list of values and these`, Source(nil)},
	TypeScore:     {"score", "points such as score(3)", Score(0)},
	TypeSecret:    {"secret", `a string, env("NAME") or file("path")`, Secret("")},
	TypeWhen:      {"condition", "a condition such as !auth.ok && size < 1 * MB", (*When)(nil)},
}

// String is the type's name in reference pages.
func (t Type) String() string { return t.info().name }

func (t Type) info() typeInfo {
	if int(t) >= len(typeInfos) {
		return typeInfos[TypeInvalid]
	}
	return typeInfos[t]
}

// fallback is the value in force when the option is not written.
func (o *Option) fallback() (any, error) {
	if o.Default == nil {
		return o.Type.info().zero, nil
	}
	v, err := fromGo(o, o.Default)
	if err != nil {
		return nil, fmt.Errorf("default of %s: %w", o.Name, err)
	}
	return v, nil
}
