package milter

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	gomilter "github.com/emersion/go-milter"

	"mtad/internal/e2e/milterkit"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// TestSessions runs sessions against a milter that follows a script, and
// compares every packet that it got, and every verdict. The commands:
//
//	milter version=6 actions=0x1ff steps=0x0 macros   its side of the negotiation;
//	    the input has a line for each event with a script: the event's letter and
//	    replies with " ; " between them, | for NUL; several lines: one an event
//	mail        the message of the sessions that follow
//	session     the input is what the client does
func TestSessions(t *testing.T) {
	datadriven.Walk(t, "testdata/sessions", func(t *testing.T, path string) {
		g := &golden{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "milter":
				return g.milter(d)
			case "mail":
				g.data = strings.ReplaceAll(d.Input+"\n", "\n", "\r\n")
				return ""
			case "session":
				return g.session(d)
			}
			t.Fatalf("%s: no command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

type golden struct {
	t    *testing.T
	fake *milterkit.Milter
	p    *pipeline.Pipeline
	data string
	flow *pipeline.Flow
	out  []string
}

func (g *golden) milter(d *datadriven.TestData) string {
	tm := milterkit.Terms{Version: 6, Actions: milterkit.All.Actions}
	var more []string
	macros := false
	for _, a := range d.CmdArgs {
		if a.Key == "macros" {
			macros = true
			continue
		}
		if a.Key == "config" {
			more = append(more, strings.Join(a.Vals, ","))
			continue
		}
		n, err := strconv.ParseUint(a.Vals[0], 0, 32)
		if err != nil {
			g.t.Fatal(err)
		}
		switch a.Key {
		case "version":
			tm.Version = uint32(n)
		case "actions":
			tm.Actions = gomilter.OptAction(n)
		case "steps":
			tm.Steps = gomilter.OptProtocol(n)
		}
	}
	g.fake = milterkit.NewMilter(g.t, tm)
	g.fake.Names = macros
	for line := range strings.Lines(d.Input) {
		if replies, is := strings.CutPrefix(strings.TrimSpace(line), "O "); is {
			s, err := strconv.Unquote(replies)
			if err != nil {
				g.t.Fatal(err)
			}
			g.fake.Extra = s
			continue
		}
		g.fake.Learn(line)
	}
	g.p = newTestPipeline(g.t, step(newTestFilter(g.t, configFor(g.fake, more...))))
	return ""
}

// session does what each line says.
func (g *golden) session(d *datadriven.TestData) string {
	client := testClient
	if d.HasArg("local") {
		client = pipeline.Client{Session: "s2", Protocol: "local", Hostname: "mx.example.org"}
	}
	g.flow, g.out = g.p.Open(client), nil
	for line := range strings.Lines(d.Input) {
		word, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		g.do(word, arg)
	}
	g.flow.Close()
	g.fake.Await(g.t)
	g.packets()
	return strings.Join(g.out, "\n")
}

func (g *golden) do(word, arg string) {
	switch word {
	case "connect":
		g.run(pipeline.Connect)
	case "helo":
		g.flow.SetClient(func(c *pipeline.Client) { c.Helo, c.ESMTP = arg, true })
		g.run(pipeline.Helo)
	case "helo-unseen":
		g.flow.SetClient(func(c *pipeline.Client) { c.Helo, c.ESMTP = arg, true })
	case "starttls":
		g.flow.Forget()
		g.flow.SetClient(func(c *pipeline.Client) {
			c.TLS = &pipeline.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", Bits: 128}
		})
	case "auth":
		g.flow.SetClient(func(c *pipeline.Client) { c.Auth = &pipeline.Login{Mechanism: "PLAIN", User: arg} })
	case "unknown":
		g.flow.SetCommand(arg)
		g.run(pipeline.Unknown)
	case "mail", "mail-unseen":
		path, params, _ := strings.Cut(arg, " ")
		p, err := smtp.ParseMailParams(params, anyParam)
		g.check(err)
		g.flow.Begin(message.ID(12345), g.path(path), p)
		if word == "mail" {
			g.run(pipeline.Mail)
		}
	case "rcpt", "rcpt-unseen", "rcpt-unknown":
		g.rcpt(word, arg)
	case "data":
		g.run(pipeline.Data)
	case "message", "message-untraced":
		g.message(word == "message", arg == "show")
	case "rset":
		g.flow.End(context.Background(), pipeline.Aborted)
	case "accepted":
		g.flow.End(context.Background(), pipeline.Accepted)
	default:
		g.t.Fatalf("no such line: %s", word)
	}
}

func (g *golden) rcpt(word, arg string) {
	path, params, _ := strings.Cut(arg, " ")
	p, err := smtp.ParseRcptParams(params, anyParam)
	g.check(err)
	r := pipeline.Recipient{Addr: g.path(path), Params: p, Class: pipeline.Local}
	if word == "rcpt-unknown" {
		r.Class = pipeline.NoSuch
	}
	g.flow.AddRcpt(r)
	if word == "rcpt-unseen" {
		return
	}
	if g.run(pipeline.Rcpt).Refused() || r.Class == pipeline.NoSuch {
		g.flow.DropRcpt()
	}
}

func (g *golden) message(traced, show bool) {
	m, err := message.Parse(message.FromBytes([]byte(g.data)))
	g.check(err)
	var trace [][]byte
	if traced {
		trace = [][]byte{[]byte("Received: ours\r\n")}
	}
	g.flow.SetMessage(m, trace, nil)
	g.run(pipeline.Message)
	if show {
		b, err := message.ReadAll(g.flow.View().Message().Bytes())
		g.check(err)
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			g.out = append(g.out, strings.TrimRight("| "+strings.ReplaceAll(line, "\t", `\t`), " "))
		}
	}
}

func (g *golden) run(s pipeline.Stage) pipeline.Fate {
	before := len(g.flow.Trace().Events)
	fate := g.flow.Run(context.Background(), s)
	g.packets()
	for _, e := range g.flow.Trace().Events[before:] {
		if e.Kind == pipeline.EventStep {
			err := strings.ReplaceAll(e.Err, g.fake.Addr, "ADDR")
			g.out = append(g.out, strings.Join(strings.Fields(fmt.Sprintf("%s: %s %s %s", e.Stage, e.Action, e.Reply, err)), " "))
			for _, m := range e.Mods {
				g.out = append(g.out, "  "+m)
			}
		}
	}
	return fate
}

func (g *golden) packets() { g.out = append(g.out, g.fake.Take()...) }

func (g *golden) check(err error) {
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *golden) path(s string) smtp.Address {
	a, _, err := smtp.ParsePath(s, false)
	g.check(err)
	return a
}
