package sieve_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"mtad/message"
	"mtad/sieve"
	"mtad/sieve/mail"
)

// parseRaw reads a message for tests.
func parseRaw(t testing.TB, s string) *mail.Message {
	t.Helper()
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
	m, err := message.Parse(message.FromBytes([]byte(s)))
	if err != nil {
		t.Fatalf("test message: %v", err)
	}
	return mail.New(m, addr("user@example.org"))
}

func addr(s string) sieve.Address {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return sieve.Address{Local: s}
	}
	return sieve.Address{Local: s[:i], Domain: s[i+1:]}
}

// outcome is what golden files show of a run.
func outcome(r sieve.Result, err error) string {
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

// TestGolden runs the scripts of testdata/golden. Commands:
//
//	message NAME [pad=N]    a message; pad makes it so many octets longer, blank
//	                        gives it an empty line at its end
//	run NAME... [from= to=] run a script over messages; show prints more of the
//	                        actions, handles those of vacation alone, remember
//	                        the marks of duplicates; event is that of IMAP; clock=,
//	                        spam= and virus= are what the host knows
//	test NAME [require=]    evaluate one test a line
//	check                   what sieve.Compile says of a script
//	string [require=]       what a string of the script stands for
//
// and those of world.build, for what follows them.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		g := &golden{world: newWorld(), messages: map[string]*mail.Message{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if g.build(d) {
				return "ok\n"
			}
			switch d.Cmd {
			case "message":
				pad := 0
				d.MaybeScanArgs(t, "pad", &pad)
				text := d.Input + "\n"
				if d.HasArg("blank") {
					text += "\n"
				}
				g.messages[d.CmdArgs[0].Key] = parseRaw(t, text+strings.Repeat("0123456789abcde\n", pad/16))
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

type golden struct {
	*world
	messages map[string]*mail.Message
}

func (g *golden) env(t *testing.T, d *datadriven.TestData, name string) sieve.Env {
	m := g.messages[name]
	if m == nil {
		d.Fatalf(t, "no message %s", name)
	}
	e := sieve.Env{Message: m, Envelope: sieve.Envelope{From: addr("sender@example.net"), To: addr("user@example.org")}}
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
	g.around(t, d, &e)
	return e
}

func (g *golden) run(t *testing.T, d *datadriven.TestData) string {
	s, problems := sieve.Compile(d.Input, g.options())
	if s == nil {
		return problems.String()
	}
	var names []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 && !slices.Contains([]string{"show", "remember", "handles", "event"}, a.Key) {
			names = append(names, a.Key)
		}
	}
	var b strings.Builder
	b.WriteString(problems.String())
	for _, n := range names {
		if len(names) > 1 {
			b.WriteString(n + ":\n")
		}
		r, err := s.Run(context.Background(), g.env(t, d, n))
		for _, line := range g.log {
			b.WriteString(line + "\n")
		}
		g.log = nil
		b.WriteString(g.result(t, d, r, err))
	}
	return b.String()
}

// result is the outcome of a run, in detail where that is asked for.
func (g *golden) result(t *testing.T, d *datadriven.TestData, r sieve.Result, err error) string {
	if d.HasArg("remember") {
		for _, m := range r.Marks {
			g.seen[m.ID] = true
		}
	}
	if d.HasArg("handles") {
		return handles(r)
	}
	if !d.HasArg("show") || err != nil {
		return outcome(r, err)
	}
	var b strings.Builder
	for _, a := range r.Actions {
		b.WriteString(a.String() + "\n" + shown(t, a))
	}
	return b.String()
}

// handles are what tells the vacation replies of a run apart.
func handles(r sieve.Result) string {
	var b strings.Builder
	for _, a := range r.Actions {
		if a.Vacation != nil {
			b.WriteString(a.Vacation.Handle[:8] + " " + strconv.Quote(a.Vacation.Subject) + "\n")
		}
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
		s, problems := sieve.Compile(requires(d)+prologue+"\nif "+line+" { keep; } else { discard; }", g.options())
		if s == nil {
			b.WriteString(problems.String())
			continue
		}
		r, err := s.Run(context.Background(), g.env(t, d, d.CmdArgs[0].Key))
		switch {
		case err != nil:
			b.WriteString("error: " + err.Error() + "\n")
		case r.Actions[0].Kind == sieve.Keep:
			b.WriteString("true\n")
		default:
			b.WriteString("false\n")
		}
	}
	return b.String()
}

func (g *golden) check(d *datadriven.TestData) string {
	_, problems := sieve.Compile(d.Input, g.options())
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
		s, problems := sieve.Compile(requires(d)+`require "reject";`+"\n"+prologue+"\nreject "+strings.TrimSpace(line)+";", sieve.Options{})
		if s == nil {
			b.WriteString("refused: " + problems[0].Message + "\n")
			continue
		}
		r, err := s.Run(context.Background(), sieve.Env{Message: parseRaw(t, "\n")})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(r.Actions[0].String()[len("reject "):] + "\n")
	}
	return b.String()
}
