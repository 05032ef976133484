package milter

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/e2e/milterkit"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// blockType is a filter block: the options of every step are not ours.
var blockType = config.BlockType{Name: "filter", Options: options}

// newTestFilter makes a filter from the inside of its block.
func newTestFilter(t testing.TB, body string) *filter {
	t.Helper()
	b, diags := config.ParseBlock(body, blockType)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	f, err := newFilter(b, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.(*filter).Close() })
	return f.(*filter)
}

// configFor is the inside of a filter's block that asks a milter.
func configFor(m *milterkit.Milter, more ...string) string {
	return strings.Join(append([]string{`connect = "inet:` + m.Addr + `"`}, more...), "\n")
}

// newTestPipeline makes a pipeline with one step.
func newTestPipeline(t testing.TB, steps ...*pipeline.Step) *pipeline.Pipeline {
	t.Helper()
	return newPipelineAt(t, testNow, steps...)
}

func newPipelineAt(t testing.TB, now func() time.Time, steps ...*pipeline.Step) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.New("test", steps, pipeline.Env{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func step(f pipeline.Filter) *pipeline.Step {
	return &pipeline.Step{Name: "milter", Kind: "milter", Filter: f, OnError: pipeline.TempFail}
}

var testClient = pipeline.Client{
	Session: "s1", Protocol: "smtp", Hostname: "mx.example.org",
	Addr: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("192.0.2.1:25"),
	Name: "client.example.net", Reverse: "client.example.net",
}

// mail is one transaction to drive through a pipeline.
type mail struct {
	client  pipeline.Client
	from    string
	params  string
	to      []string
	data    string
	early   bool // the filters are asked at Message alone
	noTrace bool
}

const testReceived = "Received: from client.example.net\r\n\tby mx.example.org; Mon, 1 Jan 2024 00:00:00 +0000\r\n"

// result is what came of it.
type result struct {
	fate    pipeline.Fate
	stage   pipeline.Stage
	view    *pipeline.View
	trace   pipeline.Trace
	message string
}

func address1(t testing.TB, s string) smtp.Address {
	t.Helper()
	if s == "" {
		return smtp.Address{}
	}
	a, err := smtp.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// drive sends the mail through the pipeline, as smtpd does.
func drive(t testing.TB, p *pipeline.Pipeline, m mail) result {
	t.Helper()
	flow := p.Open(m.client)
	defer flow.Close()
	return transact(t, flow, m)
}

func transact(t testing.TB, flow *pipeline.Flow, m mail) (r result) {
	t.Helper()
	ctx := context.Background()
	run := func(s pipeline.Stage) bool {
		if m.early && s < pipeline.Message {
			return true
		}
		r.stage = s
		r.fate = flow.Run(ctx, s)
		return r.fate.Action == pipeline.Continue
	}
	outcome := pipeline.Refused
	defer func() {
		r.view = flow.View()
		if msg := r.view.Message(); msg != nil {
			b, err := message.ReadAll(msg.Bytes())
			if err != nil {
				t.Error(err)
			}
			r.message = string(bytes.Clone(b))
		}
		r.trace = flow.Trace()
		flow.End(ctx, outcome)
	}()
	if !run(pipeline.Connect) {
		return r
	}
	flow.SetClient(func(c *pipeline.Client) {
		if !m.early {
			c.Helo, c.ESMTP = "client.example.net", true
		}
	})
	if !run(pipeline.Helo) {
		return r
	}
	params, err := smtp.ParseMailParams(m.params, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	flow.Begin(message.ID(12345), address1(t, m.from), params)
	if !run(pipeline.Mail) {
		return r
	}
	for _, to := range m.to {
		class, addr, ok := strings.Cut(to, ":")
		if !ok {
			class, addr = "local", to
		}
		flow.AddRcpt(pipeline.Recipient{Addr: address1(t, addr), Class: pipeline.Class(class)})
		if !run(pipeline.Rcpt) {
			if r.fate.Action == pipeline.Discard {
				return r
			}
			flow.DropRcpt()
		} else if class == "unknown" {
			flow.DropRcpt()
		}
	}
	if len(flow.View().Rcpts()) == 0 || !run(pipeline.Data) {
		return r
	}
	msg, err := message.Parse(message.FromBytes([]byte(m.data)))
	if err != nil {
		t.Fatal(err)
	}
	var trace [][]byte
	if !m.noTrace {
		trace = [][]byte{[]byte(testReceived)}
	}
	flow.SetMessage(msg, trace, nil)
	if run(pipeline.Message) {
		outcome = pipeline.Accepted
	}
	return r
}

// explain is a trace's steps, for messages of tests.
func explain(tr pipeline.Trace) string {
	var b strings.Builder
	for _, e := range tr.Events {
		b.WriteString(e.Stage + ": " + e.Action + " " + e.Reply + " " + e.Err + "\n")
		for _, m := range e.Mods {
			b.WriteString("  " + m + "\n")
		}
	}
	return b.String()
}

func testNow() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }
