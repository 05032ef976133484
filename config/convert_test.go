package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestConvert writes a value for an option of each type and reads it back as
// Get shows it; "" is refused.
func TestConvert(t *testing.T) {
	tests := []struct {
		typ           Type
		written, want string
	}{
		{TypeBool, `true`, "true"},
		{TypeBool, `1`, ""},
		{TypeBool, `"true"`, ""},
		{TypeBool, `!true`, "false"},
		{TypeBool, `1 < 2`, "true"},
		{TypeInt, `7`, "7"},
		{TypeInt, `-7`, "-7"},
		{TypeInt, `2 * 3 + 1`, "7"},
		{TypeInt, `1.5`, ""},
		{TypeInt, `"7"`, ""},
		{TypeInt, `9223372036854775807`, "9223372036854775807"},
		{TypeInt, `9223372036854775808`, ""},
		{TypeInt, `1e300`, ""},
		{TypeInt, `null`, "null"},
		{TypeFloat, `1.5`, "1.5"},
		{TypeFloat, `3`, "3"},
		{TypeFloat, `"3"`, ""},
		{TypeFloat, `1 / 4`, "0.25"},
		{TypeFloat, `1 / 0`, ""},
		{TypeString, `"a b"`, `"a b"`},
		{TypeString, `"a\"\n$${x}"`, `"a\"\n$${x}"`},
		{TypeString, `3`, ""},
		{TypeString, `["a"]`, ""},
		{TypeString, `true ? "a" : "b"`, `"a"`},
		{TypePath, `"a/../b"`, `"dir/b"`},
		{TypePath, `"/a//b"`, `"/a/b"`},
		{TypePath, `""`, `""`},
		{TypePath, `1`, ""},
		{TypeDuration, `"90s"`, `"1m30s"`},
		{TypeDuration, `0`, `"0s"`},
		{TypeDuration, `5`, ""},
		{TypeDuration, `"5"`, ""},
		{TypeDuration, `true`, ""},
		{TypeSize, `1024 * KB`, "1 * MB"},
		{TypeSize, `100`, "100"},
		{TypeSize, `0.5 * GB`, "512 * MB"},
		{TypeSize, `-1`, ""},
		{TypeSize, `"1MB"`, ""},
		{TypeSize, `1 / 3`, ""},
		{TypeRate, `"10/60s"`, `"10/m"`},
		{TypeRate, `10`, ""},
		{TypeRate, `"ten"`, ""},
		{TypeRate, `"0"`, `"0"`},
		{TypeStrings, `["a", "b"]`, `["a", "b"]`},
		{TypeStrings, `[]`, "[]"},
		{TypeStrings, `"a"`, ""},
		{TypeStrings, `[1]`, ""},
		{TypePaths, `[1]`, ""},
		{TypePaths, `["/a", "/b/c"]`, `["/a", "/b/c"]`},
		{TypeStrings, `[null]`, ""},
		{TypeStrings, `{ a = 1 }`, ""},
		{TypeStringMap, `{ b = "x", a = 1, c = true }`, `{ "a" = "1", "b" = "x", "c" = "true" }`},
		{TypeStringMap, `{}`, "{}"},
		{TypeStringMap, `{ a = [] }`, ""},
		{TypeStringMap, `{ a = null }`, ""},
		{TypeStringMap, `[]`, ""},
		{TypeStringMap, `{ a = 1 / 0 }`, ""},
		{TypeFloatMap, `{ "a.b" = 1.5 }`, `{ "a.b" = 1.5 }`},
		{TypeFloatMap, `{ a = "1" }`, ""},
		{TypeFloatMap, `3`, ""},
		{TypeSource, `store()`, "store()"},
		{TypeSource, `"x"`, `"x"`},
		{TypeSource, `["x", "file:y", store()]`, `["x", "file:dir/y", store()]`},
		{TypeSource, `[]`, "[]"},
		{TypeSource, `1`, ""},
		{TypeSource, `[[]]`, ""},
		{TypeSource, `score(1)`, ""},
		{TypeScore, `score(3)`, "score(3)"},
		{TypeScore, `score(-0.5)`, "score(-0.5)"},
		{TypeScore, `3`, ""},
		{TypeScore, `score("x")`, ""},
		{TypeScore, `score()`, ""},
		{TypeScore, `score(1 / 0)`, ""},
		{TypeScore, `store()`, ""},
		{TypeSecret, `"x"`, redacted},
		{TypeSecret, `env("PASS")`, redacted},
		{TypeSecret, `3`, ""},
		{TypeSecret, `store()`, ""},
		{TypeWhen, `a  &&  b`, "a && b"},
		{TypeString, `env("HOST")`, `env("HOST")`},
		{TypeString, `upper("x")`, ""},
		{TypeString, `env(1, 2)`, ""},
		{TypeString, `env(["x"])`, ""},
	}
	for _, tt := range tests {
		schema := Schema{Options: []Option{{Name: "x", Type: tt.typ}}}
		f, diags := Parse("dir/mtad.hcl", []byte("x = "+tt.written), schema, outsideWorld())
		if tt.want == "" {
			if len(diags) != 1 {
				t.Errorf("%s %s: got %v", tt.typ, tt.written, diags)
			}
			continue
		}
		if diags != nil {
			t.Errorf("%s %s: %v", tt.typ, tt.written, diags)
			continue
		}
		if got, err := Get(f, "x"); err != nil || got != tt.want {
			t.Errorf("%s %s: got %s, %v, want %s", tt.typ, tt.written, got, err, tt.want)
		}
	}
}

// TestRenderedValuesAreReadBack checks that what Get shows may be written.
func TestRenderedValuesAreReadBack(t *testing.T) {
	values := map[Type][]any{
		TypeBool:      {true, false},
		TypeInt:       {int64(0), int64(-5), int64(1) << 62},
		TypeFloat:     {0.0, 1.5, -1e-9, 1e21},
		TypeString:    {"", "a", "a\"b\\", "${x} %{y} $${z}", "line\nline\ttab", "é世\u200b\x00"},
		TypeDuration:  {time.Duration(0), 90 * time.Second, 48 * time.Hour, 1500 * time.Millisecond},
		TypeSize:      {Size(0), Size(1), 3 * MB, GB + 1},
		TypeRate:      {Rate{}, Rate{1, time.Second}, Rate{200, time.Hour}, Rate{5, 90 * time.Second}},
		TypeStrings:   {[]string{}, []string{"a", "b,c", `"`}},
		TypePaths:     {[]string{}, []string{"/a", "/b,c"}},
		TypeStringMap: {map[string]string{}, map[string]string{"a.b": "c", "": "x", "${y}": "z"}},
		TypeFloatMap:  {map[string]float64{"zen": 6, "x": -0.5}},
		TypeSource:    {Store(), Source{}, Source{{LookupValue, "a"}, {LookupTable, "file:/f"}, {LookupStore, ""}}},
		TypeScore:     {Score(0), Score(-2.5)},
	}
	for typ, list := range values {
		o := Option{Name: "x", Type: typ}
		for _, v := range list {
			text := renderValue(v)
			f, diags := Parse("x", []byte("x = "+text), Schema{Options: []Option{o}}, outsideWorld())
			if diags != nil {
				t.Errorf("%s %#v is shown as %s, which is refused:\n%v", typ, v, text, diags)
				continue
			}
			if back, err := f.root.value(&o); err != nil || !reflect.DeepEqual(back, v) {
				t.Errorf("%s %#v is shown as %s, which reads as %#v", typ, v, text, back)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	tests := []struct {
		option Option
		want   any // nil is refused
	}{
		{Option{Type: TypeInt, Default: 3}, int64(3)},
		{Option{Type: TypeInt, Default: int64(3)}, int64(3)},
		{Option{Type: TypeInt, Default: "3"}, nil},
		{Option{Type: TypeInt}, int64(0)},
		{Option{Type: TypeFloat, Default: 3}, 3.0},
		{Option{Type: TypeFloat, Default: 0.5}, 0.5},
		{Option{Type: TypeDuration, Default: "3s"}, 3 * time.Second},
		{Option{Type: TypeDuration, Default: 3 * time.Second}, 3 * time.Second},
		{Option{Type: TypeDuration, Default: 3 * time.Second, Max: "2s"}, nil},
		{Option{Type: TypeDuration, Default: Size(3)}, nil},
		{Option{Type: TypeSize, Default: 5 * MB}, 5 * MB},
		{Option{Type: TypeSize, Default: 4096}, 4 * KB},
		{Option{Type: TypeRate, Default: "2/m"}, Rate{2, time.Minute}},
		{Option{Type: TypeRate, Default: Rate{2, time.Minute}}, Rate{2, time.Minute}},
		{Option{Type: TypeStrings, Default: []string{"a"}}, []string{"a"}},
		{Option{Type: TypeStrings, Default: []string{"a"}, Values: []string{"b"}}, nil},
		{Option{Type: TypeStringMap, Default: map[string]string{"a": "b"}}, map[string]string{"a": "b"}},
		{Option{Type: TypeFloatMap, Default: map[string]float64{"a": 1}}, map[string]float64{"a": 1}},
		{Option{Type: TypeSource, Default: Store()}, Store()},
		{Option{Type: TypeSource, Default: "file:/x"}, Source{{LookupTable, "file:/x"}}},
		{Option{Type: TypeScore, Default: Score(1)}, Score(1)},
		{Option{Type: TypeScore, Default: Score(1), Min: 2}, nil},
		{Option{Type: TypeSecret, Default: "x"}, Secret("x")},
		{Option{Type: TypeString, Default: "x", Values: []string{"x", "y"}}, "x"},
		{Option{Type: TypeString, Default: "z", Values: []string{"x", "y"}}, nil},
		{Option{Type: TypeBool, Default: true}, true},
		{Option{Type: TypeBool, Default: make(chan int)}, nil},
		{Option{Type: TypeWhen, Default: "a &"}, nil},
	}
	for _, tt := range tests {
		got, err := tt.option.fallback()
		if (err != nil) != (tt.want == nil) || tt.want != nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s default %v: got %#v, %v", tt.option.Type, tt.option.Default, got, err)
		}
	}
}

func TestDefaultCondition(t *testing.T) {
	b, diags := ParseBlock("", BlockType{Options: []Option{{Name: "when", Type: TypeWhen, Default: "auth.ok"}}})
	if diags != nil {
		t.Fatal(diags)
	}
	var dst struct {
		When *When `mtad:"when"`
	}
	check(t, b.Decode(&dst))
	cond, diags := CompileWhen(dst.When, mailVariables())
	if diags != nil || !cond.Eval(&mail{authed: true}) || cond.Eval(&mail{}) {
		t.Errorf("%v", diags)
	}
}

func TestBoundsAreShownInTheirUnit(t *testing.T) {
	tests := []struct {
		option Option
		want   string
	}{
		{Option{Type: TypeSize, Min: KB, Max: 1 << 30}, "at least 1 * KB, at most 1 * GB"},
		{Option{Type: TypeDuration, Min: time.Second, Max: "2d"}, `at least "1s", at most "2d"`},
		{Option{Type: TypeInt, Max: 5}, "at most 5"},
		{Option{Type: TypeScore, Min: -1.5}, "at least -1.5"},
		{Option{Type: TypeInt}, ""},
	}
	for _, tt := range tests {
		if got := tt.option.bounds(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestDefaultText(t *testing.T) {
	tests := []struct {
		option Option
		want   string
	}{
		{Option{Type: TypeInt, Required: true}, "none, it must be set"},
		{Option{Type: TypeInt}, "not set"},
		{Option{Type: TypeInt, Default: 0}, "0"},
		{Option{Type: TypeInt, Default: "odd"}, "odd"},
		{Option{Type: TypeSecret, Default: "hunter2"}, redacted},
		{Option{Type: TypeString, Default: "hunter2", Secret: true}, redacted},
		{Option{Type: TypeWhen, Default: "a  ||  b"}, "a || b"},
	}
	for _, tt := range tests {
		if got := tt.option.defaultText(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// TestSecretOptionOfAnyType checks that Secret hides what is no TypeSecret.
func TestSecretOptionOfAnyType(t *testing.T) {
	schema := Schema{Options: []Option{
		{Name: "pin", Type: TypeString, Secret: true, Values: []string{"hunter2"}, Doc: "A pin.", Example: `"hunter2"`},
		{Name: "map", Type: TypeStringMap, Secret: true, Doc: "A map.", Example: "{}"},
	}}
	f, diags := Parse("x", []byte("pin = \"hunter2\"\nmap = { a = \"hunter2\" }\n"), schema, outsideWorld())
	if diags != nil {
		t.Fatal(diags)
	}
	var out strings.Builder
	check(t, Show(&out, f, false))
	check(t, ShowJSON(&out, f, false))
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("printed: %s", &out)
	}
	_, diags = Parse("x", []byte("pin = \"hunter3\"\nmap = [\"hunter3\"]\n"), schema, outsideWorld())
	if len(diags) != 2 || strings.Contains(diags.Error(), "hunter3") {
		t.Errorf("got %v", diags)
	}
}
