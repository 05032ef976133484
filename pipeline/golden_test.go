package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"mtad/config"
	"mtad/message"
	"mtad/smtp"
)

// scripted is a filter whose verdicts are written in the test: lines of
//
//	stage [if word]: action [code text]; edit; edit
//
// A stage without a line continues. "error", "panic", "hang" and "ignore" are
// faults; ignore does not even look at its deadline.
type scripted struct {
	lines   []string
	release chan struct{} // ends ignore
}

func (f *scripted) Stages() Stages {
	var set Stages
	for _, l := range f.lines {
		name, _, _ := strings.Cut(l, ":")
		if s, ok := ParseStage(strings.Fields(name)[0]); ok {
			set |= At(s)
		}
	}
	return set
}

func (f *scripted) Filter(ctx context.Context, s Stage, v *View) (Verdict, error) {
	for _, l := range f.lines {
		head, what, _ := strings.Cut(l, ":")
		words := strings.Fields(head)
		if words[0] != s.String() || len(words) > 2 && !mentions(v, words[2]) {
			continue
		}
		switch what = strings.TrimSpace(what); what {
		case "error":
			return Verdict{}, errors.New("on purpose")
		case "panic":
			panic("on purpose")
		case "hang":
			<-ctx.Done()
			return Verdict{}, ctx.Err()
		case "ignore":
			<-f.release
			return Verdict{}, nil
		}
		return parseVerdict(what)
	}
	return Verdict{}, nil
}

// mentions reports whether a word is in the sender, the recipient or the subject.
func mentions(v *View, word string) bool {
	subject := ""
	if m := v.Message(); m != nil {
		subject, _ = m.Header().Get("Subject")
	}
	return strings.Contains(v.Sender().String()+" "+v.Rcpt().Addr.String()+" "+subject, word)
}

func parseVerdict(s string) (Verdict, error) {
	var v Verdict
	for i, part := range strings.Split(s, ";") {
		words := strings.Fields(part)
		if i == 0 {
			a, ok := ParseAction(words[0])
			if !ok {
				return v, fmt.Errorf("no action %q", words[0])
			}
			v.Action = a
			if len(words) > 1 {
				code, err := strconv.Atoi(words[1])
				if err != nil {
					return v, err
				}
				v.Reply = smtp.NewReply(code, 7, 1, strings.Join(words[2:], " "))
			}
			continue
		}
		if err := parseEdit(&v, words); err != nil {
			return v, err
		}
	}
	return v, nil
}

func parseEdit(v *Verdict, w []string) error {
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	addr, _ := smtp.ParseAddress(arg(1))
	n, _ := strconv.Atoi(arg(1))
	rest := strings.Join(w[min(2, len(w)):], " ")
	edits := map[string]Modification{
		"set-sender": SetSender{Addr: addr}, "add-rcpt": AddRecipient{Addr: addr}, "remove-rcpt": RemoveRecipient{Addr: addr},
		"add-header": AddHeader{Name: arg(1), Value: rest}, "insert-header": InsertHeader{At: n, Name: arg(2), Value: strings.Join(w[min(3, len(w)):], " ")},
		"set-header": SetHeader{Name: arg(1), Value: rest}, "set-field": SetHeader{Field: message.FieldID(n), Name: arg(2), Value: arg(3)},
		"remove-header": RemoveHeader{Name: arg(1)}, "remove-nth": RemoveHeader{Name: arg(2), Nth: n},
		"replace-body": ReplaceBody{message.FromBytes([]byte(arg(1) + "\r\n"))},
		"hold":         Hold{arg(1)}, "quarantine": Quarantine{arg(1)}, "score": AddScore{Name: arg(2), Points: float64(n)},
		"result": AddAuthResult{AuthResult{Method: arg(1), Result: arg(2)}}, "tag": Tag{arg(1), arg(2)}, "folder": SetFolder{arg(1)},
		"file": FileInto{Folder: arg(1), Copy: arg(2) == "copy"}, "cancel": CancelKeep{}, "flags": SetFlags{w[1:]}, "redirect": Redirect{Addr: addr},
	}
	if w[0] == "for" { // for ID action|edit...
		r := RcptVerdict{Rcpt: RcptID(n)}
		if a, ok := ParseAction(arg(2)); ok {
			r.Action = a
		} else {
			var one Verdict
			if err := parseEdit(&one, w[2:]); err != nil {
				return err
			}
			r.Mods = one.Mods
		}
		v.Rcpts = append(v.Rcpts, r)
		return nil
	}
	m, ok := edits[w[0]]
	if !ok {
		return fmt.Errorf("no edit %q", w[0])
	}
	v.Mods = append(v.Mods, m)
	return nil
}

// limited is a scripted filter that declares what it touches.
type limited struct {
	*scripted
	reads, writes Facts
}

func (l limited) Access(Stage) (reads, writes Facts) { return l.reads, l.writes }

// bench is a pipeline under test and one flow through it.
type bench struct {
	now     time.Time
	steps   []*Step
	flow    *Flow
	release chan struct{}
}

func (b *bench) clock() time.Time { return b.now }

// TestGolden runs testdata/*.txt. pipeline defines steps, each begun by
// `step NAME [on_error=...] [shadow] [off] [always] [when=...] [reads=...]
// [writes=...]`; session connects; mail, rcpt, data, message, deliver, queued
// run stages; forget, end, later (of the clock) do what they say.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		b := &bench{now: time.Unix(1700000000, 0), release: make(chan struct{})}
		t.Cleanup(func() { close(b.release) })
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			run, ok := benchCommands[d.Cmd]
			if !ok {
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return run(b, t, d)
		})
	})
}

var benchCommands = map[string]func(*bench, *testing.T, *datadriven.TestData) string{
	"pipeline": (*bench).pipeline, "session": (*bench).session, "mail": (*bench).mail, "rcpt": (*bench).rcpt,
	"message": (*bench).message, "deliver": (*bench).deliver, "run": (*bench).run, "end": (*bench).end,
	"later": func(b *bench, t *testing.T, d *datadriven.TestData) string {
		dur, err := time.ParseDuration(d.CmdArgs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(dur)
		return ""
	},
	"helo":   func(b *bench, _ *testing.T, _ *datadriven.TestData) string { return b.hello() },
	"forget": func(b *bench, _ *testing.T, _ *datadriven.TestData) string { b.flow.Forget(); return "" },
}

func (b *bench) pipeline(t *testing.T, d *datadriven.TestData) string {
	b.steps = nil
	var f *scripted
	for line := range strings.SplitSeq(d.Input, "\n") {
		if !strings.HasPrefix(line, "step ") {
			f.lines = append(f.lines, strings.TrimSpace(line))
			if strings.HasSuffix(line, ": hang") || strings.HasSuffix(line, ": ignore") { // the others may need longer on a busy machine
				b.steps[len(b.steps)-1].Timeout = 20 * time.Millisecond
			}
			continue
		}
		f = &scripted{release: b.release}
		b.steps = append(b.steps, parseStep(t, f, strings.Fields(line)[1:]))
	}
	if _, err := New("test", b.steps, Env{Now: b.clock}); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

func parseStep(t *testing.T, f *scripted, words []string) *Step {
	st := &Step{Name: words[0], Kind: "scripted", Filter: f, OnError: TempFail}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "on_error":
			st.OnError, _ = ParseAction(value)
		case "shadow":
			st.Mode = Shadow
		case "off":
			st.Mode = Off
		case "always":
			st.Always = true
		case "when":
			cond, diags := config.ParseWhen(strings.ReplaceAll(value, "_", " "))
			if diags != nil {
				t.Fatal(diags)
			}
			if st.When, diags = config.CompileWhen(cond, Variables()); diags != nil {
				t.Fatal(diags)
			}
		case "reads", "writes":
			l, _ := st.Filter.(limited)
			l.scripted = f
			for n := range strings.SplitSeq(value, ",") {
				fact, _ := ParseFacts(n)
				if key == "reads" {
					l.reads |= fact
				} else {
					l.writes |= fact
				}
			}
			st.Filter = l
		}
	}
	return st
}

func (b *bench) session(t *testing.T, d *datadriven.TestData) string {
	p, err := New("test", b.steps, Env{Now: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	b.flow = p.Open(Client{Protocol: "smtp"})
	t.Cleanup(b.flow.Close)
	out := b.stage(Connect)
	b.flow.Settle(Connect)
	return out + b.hello()
}

func (b *bench) hello() string {
	out := b.stage(Helo)
	b.flow.Settle(Helo)
	return out
}

// stage runs one stage and tells its fate.
func (b *bench) stage(s Stage) string {
	fate := b.flow.Run(context.Background(), s)
	if fate.Action == Continue {
		return ""
	}
	return fmt.Sprintf("%s: %s %s by %s\n", s, fate.Action, fate.Reply, fate.Step)
}

func (b *bench) mail(_ *testing.T, d *datadriven.TestData) string {
	a, _ := smtp.ParseAddress(d.CmdArgs[0].String())
	b.flow.Begin(1, a, smtp.MailParams{})
	out := b.stage(Mail)
	if out != "" {
		b.flow.End(context.Background(), Refused)
	}
	return out
}

func (b *bench) rcpt(_ *testing.T, d *datadriven.TestData) string {
	out := ""
	for _, arg := range d.CmdArgs {
		a, _ := smtp.ParseAddress(arg.String())
		b.flow.AddRcpt(Recipient{Addr: a, Class: Local, Exempt: a.Local == "postmaster"})
		if fate := b.stage(Rcpt); fate != "" {
			b.flow.DropRcpt()
			out += fate
		}
	}
	return out
}

func (b *bench) message(t *testing.T, d *datadriven.TestData) string {
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(d.Input, "\n", "\r\n") + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	b.flow.SetMessage(m, nil, func(f message.Field) bool { return f.Is("X-Forged") })
	return b.stage(Data) + b.stage(Message) + b.show()
}

func (b *bench) deliver(_ *testing.T, d *datadriven.TestData) string {
	id, _ := strconv.Atoi(d.CmdArgs[0].String())
	whole := b.flow
	defer func() { b.flow = whole }()
	b.flow = whole.Pipeline().OpenView(whole.View())
	defer b.flow.Close()
	b.flow.ForRcpt(RcptID(id), smtp.Address{Local: "box", Domain: "x.test"})
	out := b.stage(Deliver) + b.show()
	p := b.flow.View().Plan()
	for _, f := range p.Files {
		out += f.String() + "\n"
	}
	for _, r := range p.Redirects {
		out += r.String() + "\n"
	}
	return out + fmt.Sprintf("keep %v%s\n", p.Keeps(), flagList(p.Flags))
}

func (b *bench) run(_ *testing.T, d *datadriven.TestData) string {
	s, _ := ParseStage(d.CmdArgs[0].String())
	return b.stage(s)
}

// end ends the transaction and prints its trace.
func (b *bench) end(_ *testing.T, _ *datadriven.TestData) string {
	var out strings.Builder
	for _, e := range b.flow.End(context.Background(), Accepted).Events {
		fmt.Fprintf(&out, "%s %s: %s", e.Stage, e.Step, e.Action)
		if e.Reply != "" {
			out.WriteString(" " + e.Reply)
		}
		if e.Shadow {
			out.WriteString(" (shadow)")
		}
		if e.Masked {
			out.WriteString(" (masked)")
		}
		if e.Err != "" {
			line, _, _ := strings.Cut(e.Err, "\n")
			out.WriteString(" ! " + line)
		}
		out.WriteString("\n")
		for _, m := range e.Mods {
			out.WriteString("  " + m + "\n")
		}
	}
	return out.String()
}

// show prints envelope, facts and message as they stand.
func (b *bench) show() string {
	v := b.flow.View()
	var out strings.Builder
	fmt.Fprintf(&out, "from %s to", v.Sender().Path())
	for _, r := range v.Rcpts() {
		fmt.Fprintf(&out, " %s%s", r.ID, r.Addr.Path())
		if !r.Refusal.IsZero() {
			fmt.Fprintf(&out, "(%s)", r.Refusal)
		}
		if r.Drop {
			out.WriteString("(dropped)")
		}
	}
	out.WriteString("\n")
	if hold, q := v.Held(); hold+q != "" {
		fmt.Fprintf(&out, "hold %q quarantine %q\n", hold, q)
	}
	if v.Score() != 0 || len(v.Tags()) > 0 || v.Folder() != "" || len(v.AuthResults()) > 0 {
		fmt.Fprintf(&out, "score %v tags %v folder %q results %d\n", v.Score(), v.Tags(), v.Folder(), len(v.AuthResults()))
	}
	out.WriteString(octets(v.Message(), "|"))
	for _, id := range v.ForkedRcpts() {
		out.WriteString(octets(v.MessageFor(id), id.String()+"|"))
	}
	return out.String()
}

func octets(m *message.Message, prefix string) string {
	if m == nil {
		return ""
	}
	b, err := message.ReadAll(m.Bytes())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n"), "\n")
	return prefix + strings.Join(lines, "\n"+prefix) + "\n"
}
