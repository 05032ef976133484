package sieve

import (
	"context"
	"mime"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// raw is a message for tests, read by the standard library.
type raw struct {
	header textproto.MIMEHeader
	size   int64
}

func parseRaw(t testing.TB, s string) *raw {
	t.Helper()
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
	m, err := mail.ReadMessage(strings.NewReader(s))
	if err != nil {
		t.Fatalf("test message: %v", err)
	}
	return &raw{textproto.MIMEHeader(m.Header), int64(len(s))}
}

func (r *raw) Header(name string) []string {
	var out []string
	for _, v := range r.header.Values(name) {
		if d, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
			v = d
		}
		out = append(out, strings.TrimSpace(v))
	}
	return out
}

func (r *raw) Addresses(name string) []Address {
	var out []Address
	for _, v := range r.header.Values(name) {
		list, err := mail.ParseAddressList(v)
		if err != nil {
			out = append(out, Address{Invalid: v})
		}
		for _, a := range list {
			out = append(out, addr(a.Address))
		}
	}
	return out
}

func (r *raw) Size() int64 { return r.size }

func addr(s string) Address {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return Address{Local: s}
	}
	return Address{Local: s[:i], Domain: s[i+1:]}
}

// outcome is what golden files show of a run.
func outcome(r Result, err error) string {
	var b strings.Builder
	for _, a := range r.Actions {
		b.WriteString(a.String() + "\n")
	}
	if err != nil {
		b.WriteString("error: " + err.Error() + "\n")
	}
	if b.Len() == 0 {
		return "nothing\n"
	}
	return b.String()
}

// TestGolden runs the scripts of testdata. Commands:
//
//	message NAME            a message
//	run NAME... [from= to=] run a script over messages
//	test NAME [require=]    evaluate one test a line
//	check                   what Compile says of a script
//	string [require=]       what a string of the script stands for
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		g := &golden{messages: map[string]*raw{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "message":
				g.messages[d.CmdArgs[0].Key] = parseRaw(t, d.Input+"\n")
				return "ok\n"
			case "run":
				return g.run(t, d)
			case "test":
				return g.test(t, d)
			case "check":
				return g.check(d)
			case "string":
				return g.string(t, d)
			}
			return "unknown command " + d.Cmd
		})
	})
}

type golden struct{ messages map[string]*raw }

func (g *golden) env(t *testing.T, d *datadriven.TestData, name string) Env {
	m := g.messages[name]
	if m == nil {
		d.Fatalf(t, "no message %s", name)
	}
	e := Env{Message: m, Envelope: Envelope{addr("sender@example.net"), addr("user@example.org")}}
	if d.HasArg("from") {
		var s string
		d.ScanArgs(t, "from", &s)
		e.Envelope.From = addr(strings.Trim(s, "<>"))
	}
	if d.HasArg("to") {
		var s string
		d.ScanArgs(t, "to", &s)
		e.Envelope.To = addr(s)
	}
	return e
}

func (g *golden) run(t *testing.T, d *datadriven.TestData) string {
	s, problems := Compile(d.Input, Options{Limits: Limits{Steps: 20_000_000}})
	if s == nil {
		return problems.String()
	}
	var names []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			names = append(names, a.Key)
		}
	}
	var b strings.Builder
	for _, n := range names {
		if len(names) > 1 {
			b.WriteString(n + ":\n")
		}
		b.WriteString(outcome(s.Run(context.Background(), g.env(t, d, n))))
	}
	return b.String()
}

// requires is the require command for the argument of that name.
func requires(d *datadriven.TestData) string {
	for _, a := range d.CmdArgs {
		if a.Key == "require" {
			return `require ["` + strings.Join(a.Vals, `", "`) + `"];` + "\n"
		}
	}
	return ""
}

// test answers each line of the input: a prologue of commands may come first,
// up to a line of "--".
func (g *golden) test(t *testing.T, d *datadriven.TestData) string {
	prologue, tests, ok := strings.Cut(d.Input, "\n--\n")
	if !ok {
		prologue, tests = "", d.Input
	}
	var b strings.Builder
	for line := range strings.Lines(tests) {
		line = strings.TrimSpace(line)
		s, problems := Compile(requires(d)+prologue+"\nif "+line+" { keep; } else { discard; }", Options{})
		if s == nil {
			b.WriteString(problems.String())
			continue
		}
		r, err := s.Run(context.Background(), g.env(t, d, d.CmdArgs[0].Key))
		switch {
		case err != nil:
			b.WriteString("error: " + err.Error() + "\n")
		case r.Actions[0].Kind == Keep:
			b.WriteString("true\n")
		default:
			b.WriteString("false\n")
		}
	}
	return b.String()
}

func (g *golden) check(d *datadriven.TestData) string {
	_, problems := Compile(d.Input, Options{})
	if len(problems) == 0 {
		return "ok\n"
	}
	return problems.String()
}

// string shows each line, a quoted string, as the script sees it.
func (g *golden) string(t *testing.T, d *datadriven.TestData) string {
	prologue, list, ok := strings.Cut(d.Input, "\n--\n")
	if !ok {
		prologue, list = "", d.Input
	}
	var b strings.Builder
	for line := range strings.Lines(list) {
		s, problems := Compile(requires(d)+`require "reject";`+"\n"+prologue+"\nreject "+strings.TrimSpace(line)+";", Options{})
		if s == nil {
			b.WriteString("refused: " + problems[0].Message + "\n")
			continue
		}
		r, err := s.Run(context.Background(), Env{Message: &raw{}})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(r.Actions[0].String()[len("reject "):] + "\n")
	}
	return b.String()
}
