package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Edit is one file as it is to be. Comments, order and spacing of everything else
// are as they were. It has not been checked: load it first.
type Edit struct {
	Path string
	Text []byte
}

// Set writes an option: where it is written already, else behind the others of its
// block. value is what one would write, or, where that takes quotes, the text alone:
// mx.example.org for a string, "127.0.0.0/8, 10.0.0.0/8" for a list.
func (f *File) Set(key, value string) (Edit, error) {
	e, err := f.find(key)
	if err != nil {
		return Edit{}, err
	}
	text := literal(e.option, value)
	if _, diags := hclsyntax.ParseExpression([]byte(text), "value", hcl.InitialPos); diags.HasErrors() {
		return Edit{}, fmt.Errorf("%s wants %s", key, e.option.Type.info().want)
	}
	if s, ok := e.node.settings[e.option.Name]; ok {
		return Edit{s.src.name, splice(s.src.text, s.place.Start.Byte, s.place.End.Byte, text)}, nil
	}
	return f.newLine(e, text), nil
}

// Unset takes an option out, so that its default is in force.
func (f *File) Unset(key string) (Edit, error) {
	e, err := f.find(key)
	if err != nil {
		return Edit{}, err
	}
	s, ok := e.node.settings[e.option.Name]
	if !ok {
		return Edit{}, fmt.Errorf("%s is not written anywhere", key)
	}
	from, to := s.whole.Start.Byte, s.whole.End.Byte
	text := s.src.text
	start, end := lineStart(text, from), lineEnd(text, to)
	rest := bytes.TrimSpace(text[to:end])
	if len(bytes.TrimSpace(text[start:from])) == 0 && (len(rest) == 0 || rest[0] == '#' || bytes.HasPrefix(rest, []byte("//"))) {
		from, to = start, end // the line is the option's own, its comment too
	}
	return Edit{s.src.name, splice(text, from, to, "")}, nil
}

// find finds an option by its key.
func (f *File) find(key string) (entry, error) {
	for _, e := range f.entries() {
		if e.key == key {
			return e, nil
		}
	}
	return entry{}, unknownKey(key, f.Keys())
}

// newLine writes an option that is not written: behind the last one of its block,
// of the root's those in the main file, else at the begin.
func (f *File) newLine(e entry, value string) Edit {
	line := e.option.Name + " = " + value + "\n"
	root := e.node.typ.Name == ""
	src := e.node.src
	if root {
		src = f.main
	}
	var last setting
	for _, s := range e.node.settings {
		if s.src == src && s.whole.End.Byte > last.whole.End.Byte {
			last = s
		}
	}
	switch {
	case last.src != nil:
		start := src.text[lineStart(src.text, last.whole.Start.Byte):]
		indent := string(start[:len(start)-len(bytes.TrimLeft(start, " \t"))])
		at := lineEnd(src.text, last.whole.End.Byte)
		rest := bytes.TrimSpace(src.text[last.whole.End.Byte:at])
		if len(rest) > 0 && rest[0] == '}' { // tls { cert = "x" }
			from := brace(src, e.node)
			to := last.whole.End.Byte + bytes.IndexByte(src.text[last.whole.End.Byte:], '}')
			old := strings.TrimSpace(string(src.text[from:to]))
			return Edit{src.name, splice(src.text, from, to, "\n"+indent+"  "+old+"\n"+indent+"  "+line+indent)}
		}
		if src.text[at-1] != '\n' {
			line = "\n" + line
		}
		return Edit{src.name, splice(src.text, at, at, indent+line)}
	case root:
		at := afterComments(src.text)
		return Edit{src.name, splice(src.text, at, at, line)}
	}
	indent := strings.Repeat(" ", e.node.header.Start.Column-1)
	at := brace(src, e.node)
	line = "\n" + indent + "  " + strings.TrimSuffix(line, "\n")
	if rest := src.text[at:lineEnd(src.text, at)]; len(bytes.TrimSpace(rest)) > 0 {
		line += "\n" + indent // tls {}
	}
	return Edit{src.name, splice(src.text, at, at, line)}
}

// brace is the place behind a block's opening brace.
func brace(src *source, n *node) int {
	return n.header.End.Byte + bytes.IndexByte(src.text[n.header.End.Byte:], '{') + 1
}

func lineStart(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

func lineEnd(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

// afterComments is where the lines of comments end that a file begins with.
func afterComments(text []byte) int {
	at := 0
	for at < len(text) {
		end := lineEnd(text, at)
		line := bytes.TrimSpace(text[at:end])
		if len(line) > 0 && line[0] != '#' && !bytes.HasPrefix(line, []byte("//")) {
			return at
		}
		at = end
	}
	return at
}

func splice(text []byte, from, to int, with string) []byte {
	return slices.Concat(text[:from], []byte(with), text[to:])
}

// literal is a value as it is written: what needs quotes and has none gets them.
func literal(o *Option, value string) string {
	value = strings.TrimSpace(value)
	switch o.Type {
	case TypeString, TypePath, TypeDuration, TypeRate, TypeSecret:
		if strings.HasPrefix(value, `"`) || called(value) || value == "null" {
			return value
		}
		return quote(value)
	case TypeStrings, TypePaths, TypeSource:
		if value != "" && strings.ContainsAny(value[:1], "[{\"") || called(value) || value == "null" {
			return value
		}
		var parts []string
		for _, w := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
			if !called(w) {
				w = quote(w)
			}
			parts = append(parts, w)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return value
}

// called reports whether a value is a function's: env("X"), file("x"), store().
func called(value string) bool {
	for _, name := range []string{"env(", "file(", "store("} {
		if strings.HasPrefix(value, name) && strings.HasSuffix(value, ")") {
			return true
		}
	}
	return false
}

// Format is a file with the usual spacing and alignment.
func Format(text []byte) []byte { return hclwrite.Format(text) }
