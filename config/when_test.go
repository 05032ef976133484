package config

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
)

// mail is what the conditions of tests are about.
type mail struct {
	authed  bool
	size    int64
	ip, who string
	tags    []string
}

func mailVariables() []Variable[*mail] {
	return []Variable[*mail]{
		{Name: "auth.ok", Type: ValueBool, Doc: "Logged in.", Reads: 1, Get: func(m *mail) Value { return Bool(m.authed) }},
		{Name: "auth.user", Type: ValueString, Doc: "Who.", Reads: 1, Get: func(m *mail) Value { return String(m.who) }},
		{Name: "size", Type: ValueNumber, Doc: "Octets.", Reads: 2, Get: func(m *mail) Value { return Number(float64(m.size)) }},
		{Name: "client.ip", Type: ValueString, Doc: "Address.", Get: func(m *mail) Value { return String(m.ip) }},
		{Name: "tags", Type: ValueList, Doc: "Tags.", Reads: 4, Get: func(m *mail) Value { return List(m.tags) }},
	}
}

func someMail() *mail {
	return &mail{authed: true, size: 2000, ip: "192.0.2.7", who: "Alice", tags: []string{"bulk", "vip"}}
}

// runWhen prints the condition, its value for someMail and what it reads.
func runWhen(out io.Writer, text string) {
	w, diags := ParseWhen(text)
	var cond *Cond[*mail]
	if diags == nil {
		cond, diags = CompileWhen(w, mailVariables())
	}
	if diags != nil {
		diags.Write(out, false)
		return
	}
	fmt.Fprintf(out, "%v reads=%d: %s\n", cond.Eval(someMail()), cond.Reads(), w)
}

func TestWhenFromFile(t *testing.T) {
	f := mustParse(t, `hostname = "x"
pipeline "in" {
  filter "spf" { when = size < 1 && oops.here }
}
`)
	pipe, _ := f.Root().Block("pipeline")
	spf, _ := pipe.Block("filter")
	var dst struct {
		When *When `mtad:"when"`
	}
	check(t, spf.Decode(&dst))
	_, diags := CompileWhen(dst.When, mailVariables())
	want := "mtad.hcl:3:37: unknown name oops.here\n" +
		"      filter \"spf\" { when = size < 1 && oops.here }\n" +
		"                                        ^^^^^^^^^\n" +
		"text is written in quotes"
	if got := diags.Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := dst.When.Pos().String(); got != "mtad.hcl:3:25" {
		t.Errorf("condition at %s", got)
	}
}

func TestNilCond(t *testing.T) {
	c, diags := CompileWhen[*mail](nil, nil)
	if diags != nil || c != nil || !c.Eval(nil) || c.Reads() != 0 {
		t.Errorf("nil condition: %v %v", c, diags)
	}
}

func TestVariableWithoutType(t *testing.T) {
	w, _ := ParseWhen("x")
	_, diags := CompileWhen(w, []Variable[int]{{Name: "x", Get: func(int) Value { return Value{} }}})
	if len(diags) != 1 {
		t.Errorf("got %v", diags)
	}
}

func TestCondConcurrent(t *testing.T) {
	w, _ := ParseWhen(`matches(lower(auth.user), "^al") && contains(["a", auth.user], "Alice") && !cidr(client.ip, "10.0.0.0/8")`)
	cond, diags := CompileWhen(w, mailVariables())
	if diags != nil {
		t.Fatal(diags)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if !cond.Eval(someMail()) {
					t.Error("false")
				}
			}
		})
	}
	wg.Wait()
}

func TestWhenAllocatesNothing(t *testing.T) {
	m := someMail()
	for _, text := range allocationFree {
		w, _ := ParseWhen(text)
		cond, diags := CompileWhen(w, mailVariables())
		if diags != nil {
			t.Fatal(diags)
		}
		if n := testing.AllocsPerRun(100, func() { cond.Eval(m) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

var allocationFree = []string{
	"!auth.ok && size < 1 * MB",
	`cidr(client.ip, "10.0.0.0/8", "192.0.2.0/24")`,
	`contains(tags, "vip") && startswith(auth.user, "A")`,
	`contains(["a", "b"], auth.user) || len(tags) > 1`,
}

func BenchmarkWhen(b *testing.B) {
	for _, text := range slices.Concat(allocationFree, []string{`matches(auth.user, "^[A-Z]")`}) {
		b.Run(text, func(b *testing.B) {
			w, _ := ParseWhen(text)
			cond, diags := CompileWhen(w, mailVariables())
			if diags != nil {
				b.Fatal(diags)
			}
			m := someMail()
			b.ReportAllocs()
			for b.Loop() {
				cond.Eval(m)
			}
		})
	}
}

func FuzzWhen(f *testing.F) {
	for _, text := range slices.Concat(allocationFree, []string{
		`size / 0 > 1`, `"a" == [1]`, `-(-size) % 2 == 1 ? auth.ok : true`, `matches("a", "(")`, `len([1, 2]) == 2`,
		`contains([size], 1)`, `tags == tags`, `"${size}"`, `x-y.z[0]`, `[for x in tags : x]`, "<<E\na\nE\n", `len()`, `null`,
	}) {
		f.Add(text)
	}
	m := someMail()
	f.Fuzz(func(t *testing.T, text string) {
		w, diags := ParseWhen(text)
		if diags != nil {
			return
		}
		cond, diags := CompileWhen(w, mailVariables())
		if (cond == nil) == (diags == nil) {
			t.Fatalf("%q: condition %v, diagnostics %v", text, cond, diags)
		}
		if first, second := cond.Eval(m), cond.Eval(m); first != second {
			t.Errorf("%q is not stable", text)
		}
		_ = diags.Error()
	})
}
