package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyOption has one option of each type.
func everyOption() []Option {
	var out []Option
	for name, typ := range map[string]Type{
		"b": TypeBool, "i": TypeInt, "f": TypeFloat, "s": TypeString, "p": TypePath, "d": TypeDuration, "z": TypeSize, "r": TypeRate,
		"l": TypeStrings, "sm": TypeStringMap, "fm": TypeFloatMap, "src": TypeSource, "sc": TypeScore, "x": TypeSecret, "w": TypeWhen,
	} {
		out = append(out, Option{Name: name, Type: typ})
	}
	return out
}

type level string

type common struct {
	B bool  `mtad:"b"`
	I uint8 `mtad:"-"` // no option: see TestDecodeFaults
}

type every struct {
	B       bool               `mtad:"b"`
	I       int                `mtad:"i"`
	F       float64            `mtad:"f"`
	S       level              `mtad:"s"`
	P       string             `mtad:"p"`
	D       time.Duration      `mtad:"d"`
	Z       Size               `mtad:"z"`
	R       Rate               `mtad:"r"`
	L       []string           `mtad:"l"`
	SM      map[string]string  `mtad:"sm"`
	FM      map[string]float64 `mtad:"fm"`
	Src     Source             `mtad:"src"`
	Sc      Score              `mtad:"sc"`
	X       Secret             `mtad:"x"`
	W       *When              `mtad:"w"`
	Ignored chan int
}

func TestDecodeEveryType(t *testing.T) {
	text := `
b   = true
i   = -7
f   = 1.5
s   = "text"
p   = "rules/x.lua"
d   = "1h30m"
z   = 10 * MB + 1
r   = "200/h"
l   = ["a", "b"]
sm  = { a = "x", "b.c" = 3, d = true }
fm  = { "zen.spamhaus.org" = 6 }
src = ["v", "file:aliases", "file:/etc/aliases", store()]
sc  = score(-1.5)
x   = "${env("PASS")}!"
w   = a > 1
`
	f, diags := Parse("/etc/mtad/mtad.hcl", []byte(text), Schema{Options: everyOption()}, outsideWorld())
	if diags != nil {
		t.Fatal(diags)
	}
	var got every
	if err := f.Root().Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.W.String() != "a > 1" {
		t.Errorf("condition %q", got.W)
	}
	got.W = nil
	want := every{
		B: true, I: -7, F: 1.5, S: "text", P: "/etc/mtad/rules/x.lua", D: 90 * time.Minute, Z: 10*MB + 1, R: Rate{200, time.Hour},
		L: []string{"a", "b"}, SM: map[string]string{"a": "x", "b.c": "3", "d": "true"}, FM: map[string]float64{"zen.spamhaus.org": 6},
		Src: Source{{LookupValue, "v"}, {LookupTable, "file:/etc/mtad/aliases"}, {LookupTable, "file:/etc/aliases"}, {LookupStore, ""}},
		Sc:  -1.5, X: "hunter2!",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	if string(got.X) != "hunter2!" {
		t.Error("the secret was changed")
	}
}

func TestDecodeDefaults(t *testing.T) {
	f := mustParse(t, "hostname = \"x\"\npipeline \"a\" {\n  filter \"spf\" {}\n}\n")
	var top struct {
		Nets []string `mtad:"mynetworks"`
		Dest Source   `mtad:"mydestination"`
		Size Size     `mtad:"max_size"`
		N    int64    `mtad:"max_rcpts"`
	}
	check(t, f.Root().Decode(&top))
	if len(top.Nets) != 2 || !top.Dest.Uses(LookupStore) || top.Size != 50*MB || top.N != 1000 {
		t.Errorf("%+v", top)
	}
	top.Nets[0] = "changed"
	check(t, f.Root().Decode(&top))
	if top.Nets[0] != "127.0.0.0/8" {
		t.Error("a default is shared between structs")
	}
	var step struct {
		Timeout time.Duration `mtad:"timeout"`
		When    *When         `mtad:"when"`
	}
	pipe, _ := f.Root().Block("pipeline")
	check(t, pipe.Blocks("filter")[0].Decode(&step))
	if step.Timeout != 10*time.Second || step.When != nil {
		t.Errorf("%+v", step)
	}
}

func TestDecodeFaults(t *testing.T) {
	b, diags := ParseBlock("i = 300", BlockType{Name: "block", Options: everyOption()})
	if diags != nil {
		t.Fatal(diags)
	}
	var embedded struct{ common }
	var none struct {
		X int `mtad:"none"`
	}
	var wrong struct {
		I string `mtad:"i"`
	}
	var duration struct {
		I time.Duration `mtad:"i"`
	}
	var small struct {
		I int8 `mtad:"i"`
	}
	tests := []struct {
		dst  any
		want string
	}{
		{nil, "no pointer to a struct"},
		{every{}, "no pointer to a struct"},
		{new(int), "no pointer"},
		{(*every)(nil), "no pointer"},
		{&none, `no option "none"`},
		{&wrong, "block:1:5: option i is a int, field I a string"},
		{&duration, "time.Duration"},
		{&small, "block:1:5: i is too large"},
		{&embedded, `no option "-"`},
	}
	for _, tt := range tests {
		if err := b.Decode(tt.dst); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%T: got %v, want %q", tt.dst, err, tt.want)
		}
	}
	bad := BlockType{Name: "block", Options: []Option{{Name: "i", Type: TypeInt, Default: "x"}}}
	if b, _ = ParseBlock("", bad); b.Decode(&small) == nil {
		t.Error("an impossible default is decoded")
	}
}

func TestCheckStruct(t *testing.T) {
	if err := CheckStruct(everyOption(), &every{}); err != nil {
		t.Error(err)
	}
	var dst struct {
		A int           `mtad:"a"`
		B time.Duration `mtad:"b"`
		I int           `mtad:"i"`
		J int           `mtad:"i"`
		*common
	}
	err := CheckStruct([]Option{{Name: "b", Type: TypeBool}, {Name: "c", Type: TypeBool}, {Name: "i", Type: TypeInt}}, &dst)
	for _, want := range []string{`field A: no option "a"`, "field B: a time.Duration cannot hold a bool", "field J: a second one", "option c: no field"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if CheckStruct(nil, 3) == nil {
		t.Error("3 is a struct")
	}
}

const blocksText = `hostname = "x"
listener "mx" {
  addr = ["a"]
}
pipeline "in" {
  filter "spf" {}
  filter "rbl" "zen" { zones = {} }
}
`

func TestBlock(t *testing.T) {
	root := mustParse(t, blocksText).Root()
	pipe, ok := root.Block("pipeline")
	if !ok || pipe.Key() != "pipeline.in" || pipe.Type() != "pipeline" || pipe.Name() != "in" {
		t.Fatalf("pipeline %v %q", ok, pipe.Key())
	}
	filters := pipe.Blocks("filter")
	if len(filters) != 2 || len(pipe.Blocks("")) != 2 || len(root.Blocks("")) != 2 || len(pipe.Blocks("x")) != 0 {
		t.Fatal("blocks are lost")
	}
	if got := fmt.Sprint(filters[0].Labels(), filters[1].Labels()); got != "[spf spf] [rbl zen]" {
		t.Error(got)
	}
	if filters[0].Has("zones") || !filters[1].Has("zones") {
		t.Error("Has is wrong")
	}
	if got := filters[1].Pos("zones").String() + " " + filters[1].Pos("").String(); got != "mtad.hcl:7:32 mtad.hcl:7:3" {
		t.Error(got)
	}
	if _, ok := root.Block("tls"); ok {
		t.Error("a block that was not written")
	}
}

func TestZeroBlock(t *testing.T) {
	var b Block
	if b.Type()+b.Name()+b.Key() != "" || b.Labels() != nil || b.Blocks("") != nil || b.Has("x") || b.Pos("x") != (Range{}) {
		t.Error("the zero Block is not empty")
	}
	if err := b.Decode(&struct{}{}); err != nil {
		t.Error(err)
	}
	if got := b.Errorf("x", "bad %d", 1).Error(); got != "bad 1" {
		t.Error(got)
	}
}

func TestBlockErrors(t *testing.T) {
	root := mustParse(t, blocksText).Root()
	listener, _ := root.Block("listener")
	tests := []struct {
		err  error
		want string
	}{
		{listener.Errorf("addr", "port %d is taken", 25), "mtad.hcl:3:10: port 25 is taken\n      addr = [\"a\"]\n             ^^^^^"},
		{listener.Errorf("tls", "no certificate"), "mtad.hcl:2:1: no certificate\n    listener \"mx\" {\n    ^^^^^^^^"},
		{listener.Unknown("pipeline", "pipeline", "im", []string{"inn", "out"}), "mtad.hcl:2:1: unknown pipeline \"im\"\n    listener \"mx\" {\n    ^^^^^^^^"},
		{root.Unknown("hostname", "route", "smarthots", []string{"smarthost"}), "mtad.hcl:1:12: unknown route \"smarthots\"\n    hostname = \"x\"\n               ^^^\ndid you mean \"smarthost\"?"},
		{root.Errorf("", "nothing listens"), "mtad.hcl: nothing listens"},
	}
	for _, tt := range tests {
		var d Diagnostics
		d.Add(fmt.Errorf("wrapped: %w", tt.err))
		if got := d.Error(); got != tt.want {
			t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
		}
	}
}

func TestDiagnosticsAdd(t *testing.T) {
	one := &Diagnostic{Message: "one", Pos: Range{File: "f", Line: 1, Col: 2}, Hint: "do this"}
	var d Diagnostics
	d.Add(nil)
	d.Add(errors.Join(one, errors.New("two"), Diagnostics{one, one}))
	d.Add(errors.New("three"))
	if len(d) != 5 || d.Err() == nil || (Diagnostics{}).Err() != nil {
		t.Errorf("%d diagnostics", len(d))
	}
	if got := one.Error(); got != "f:1:2: one (do this)" {
		t.Error(got)
	}
}

func TestEqual(t *testing.T) {
	filter := func(text string) Block {
		f := mustParse(t, "hostname = \"x\"\npipeline \"p\" {\n"+text+"\n}\n")
		pipe, _ := f.Root().Block("pipeline")
		return pipe
	}
	base := filter(`filter "spf" { when = size <  1 }`)
	tests := []struct {
		text string
		want bool
	}{
		{`filter "spf" { when = size < 1 }`, true},
		{"\n\nfilter \"spf\" {\n timeout = \"10s\"\n when = size < 1\n }", true},
		{`filter "spf" { when = size < 2 }`, false},
		{`filter "spf" {}`, false},
		{"filter \"spf\" {\n timeout = \"11s\"\n when = size < 1\n }", false},
		{`filter "spf" "b" { when = size < 1 }`, false},
		{`filter "ratelimit" "spf" { when = size < 1 }`, false},
		{"", false},
	}
	for _, tt := range tests {
		if got := base.Equal(filter(tt.text)); got != tt.want {
			t.Errorf("%s: %v", tt.text, got)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	before := mustParse(t, "hostname = \"x\"\nmax_rcpts = 5\ntls {}\nlistener \"a\" { addr = [] }\n")
	after := mustParse(t, "hostname = \"y\"\nmax_rcpts = 6\nlistener \"a\" { addr = [\"b\"] }\nlistener \"c\" { addr = [] }\n")
	want := []string{"hostname", "listener.a.addr", "listener.c.addr", "listener.c.tls", "listener.c.pipeline", "tls.cert"}
	if got := NeedsRestart(before, after); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := NeedsRestart(before, before); got != nil {
		t.Errorf("got %v", got)
	}
}
