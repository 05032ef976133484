package sieve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/sieve/mail"
	"mtad/smtp"
)

// find is the first action of a kind.
func find(r lang.Result, k lang.ActionKind) (lang.Action, bool) {
	i := slices.IndexFunc(r.Actions, func(a lang.Action) bool { return a.Kind == k })
	if i < 0 {
		return lang.Action{}, false
	}
	return r.Actions[i], true
}

// planner turns what a script decided for one recipient into a plan.
//
// A keep, explicit or not, is the pipeline's implicit keep left alone: it goes
// to the folder that earlier filters chose. So what stands beside it must not
// cancel it.
type planner struct {
	*job
	result lang.Result
	out    pipeline.Verdict
	kept   bool
	keep   lang.Action
	base   lang.Message // what the recipient's own revision becomes; nil: nothing new

	cancels bool
	passed  bool // the explicit keep
}

// deliver is the plan for one recipient.
func (r *job) deliver(ctx context.Context, result lang.Result) (pipeline.Verdict, error) {
	if a, ok := find(result, lang.Reject); ok {
		return refuse(r.view, a), nil
	}
	p := &planner{job: r, result: result}
	p.keep, p.kept = find(result, lang.Keep)
	if a, ok := p.first(); ok && a.Message != nil {
		p.base = a.Message
		p.out.Mods = edits(r.view.Message(), a.Message)
	}
	for _, a := range result.Actions {
		if err := p.action(ctx, a); err != nil {
			return pipeline.Verdict{}, err
		}
	}
	for _, m := range result.Marks {
		p.out.Mods = append(p.out.Mods, pipeline.Remember{Key: duplicateKey(m.ID), For: m.For})
	}
	switch {
	case !p.kept && !p.cancels:
		p.out.Mods = append(p.out.Mods, pipeline.CancelKeep{})
	case p.kept && len(p.keep.Flags) > 0:
		p.out.Mods = append(p.out.Mods, pipeline.SetFlags{Flags: p.keep.Flags})
	}
	return p.out, nil
}

// first is the action whose message becomes the recipient's own: the keep, else
// the first that stores or sends it.
func (p *planner) first() (lang.Action, bool) {
	if p.kept {
		return p.keep, true
	}
	i := slices.IndexFunc(p.result.Actions, func(a lang.Action) bool { return a.Kind == lang.FileInto || a.Kind == lang.Redirect })
	if i < 0 {
		return lang.Action{}, false
	}
	return p.result.Actions[i], true
}

// edition is the message of an action, if it is not the recipient's own.
func (p *planner) edition(a lang.Action) pipeline.Edition {
	switch m, ok := a.Message.(*mail.Message); {
	case a.Message == p.base:
		return pipeline.Edition{}
	case ok:
		return pipeline.Edition{Message: m.Mail()}
	}
	return pipeline.Edition{Message: p.view.Message()}
}

func (p *planner) action(ctx context.Context, a lang.Action) error {
	add := func(m pipeline.Modification) { p.out.Mods = append(p.out.Mods, m) }
	switch a.Kind {
	case lang.Keep:
		p.passed = p.passed || !a.Implicit
	case lang.FileInto:
		name, err := p.folder(ctx, a)
		if err != nil {
			return err
		}
		e := p.edition(a)
		if p.kept && strings.EqualFold(name, p.view.Folder()) && e.Message == nil {
			// The same folder twice is one copy (RFC 5228, 2.10.3), with
			// the flags of the last (RFC 5232, 3).
			if p.passed {
				p.keep.Flags = a.Flags
			}
			return nil
		}
		add(pipeline.FileInto{Folder: name, Flags: a.Flags, Copy: p.kept || a.Copy, Edition: e})
		p.cancels = p.cancels || !a.Copy
	case lang.Redirect:
		list, err := p.addressees(a)
		if err != nil {
			return err
		}
		for _, to := range list {
			add(pipeline.Redirect{Addr: to, Copy: p.kept || a.Copy, Edition: p.edition(a)})
		}
		p.cancels = p.cancels || !a.Copy && len(list) > 0
	case lang.Pipe:
		if err := p.pipe(ctx, a); err != nil {
			return err
		}
	case lang.Vacate:
		if why := p.vacation(ctx, a, add); why != "" {
			p.out.Note = "no vacation answer: " + why
		}
	case lang.Notify:
		if err := p.notify(ctx, a, add); err != nil {
			return err
		}
	case lang.SendReport:
		if p.byProgram() {
			p.out.Note = "no report: the message was made by a program"
			return nil
		}
		add(p.report(a))
	}
	return nil
}

// folder is the name of the folder that an action means: "" for INBOX.
func (p *planner) folder(ctx context.Context, a lang.Action) (string, error) {
	if p.users != nil && (a.MailboxID != "" || a.SpecialUse != "") {
		all := p.users.Folders(p.view.Mailbox())
		if a.MailboxID != "" {
			if name, ok, err := all.ByID(ctx, a.MailboxID); err != nil || ok {
				return inbox(name), err
			}
		}
		if a.SpecialUse != "" {
			// Of several folders, the one that is named (RFC 8579, 4).
			if _, ok, err := all.Special(ctx, a.Mailbox, a.SpecialUse); err != nil || ok {
				return inbox(a.Mailbox), err
			}
			if name, ok, err := all.Special(ctx, "", a.SpecialUse); err != nil || ok {
				return inbox(name), err
			}
		}
	}
	return inbox(a.Mailbox), nil
}

// What is wrong with the list that a redirect names.
var (
	errLists  = errors.New("there is no such list")
	errNobody = errors.New("no address is in this list")
)

// addressees are who a redirect sends to.
func (p *planner) addressees(a lang.Action) ([]smtp.Address, error) {
	if a.List == "" {
		return []smtp.Address{outbound(a.Address)}, nil
	}
	list := p.lists.named(a.List)
	if list == nil {
		return nil, fmt.Errorf("redirect :list %q: %w", a.List, errLists)
	}
	var out []smtp.Address
	for _, s := range list.Keys() {
		to, err := smtp.ParseAddress(s)
		if err != nil || to.Domain == "" {
			continue
		}
		out = append(out, to)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("redirect :list %q: %w", a.List, errNobody) // RFC 6134, 2.3
	}
	if len(out) > p.MaxRedirects {
		return nil, fmt.Errorf("redirect :list %q: %d addresses, more than max_redirects: %w", a.List, len(out), lang.ErrLimit)
	}
	return out, nil
}

// pipe gives the message to a program, now.
func (p *planner) pipe(ctx context.Context, a lang.Action) error {
	m := p.view.Message()
	if edited, ok := a.Message.(*mail.Message); ok {
		m = edited.Mail()
	}
	out, err := p.commands.Run(ctx, a.Program.Name, a.Program.Args, message.NewReader(m.Bytes()), true)
	if err == nil && out.Status != 0 {
		err = fmt.Errorf("it ended with status %d: %.200s", out.Status, strings.Join(strings.Fields(string(out.Stdout)), " "))
	}
	switch {
	case err == nil:
		return nil
	case a.Program.Try && !a.Copy && len(p.result.Actions) == 1:
		p.kept = true // what was to go to the program alone stays here
	case !a.Program.Try:
		return fmt.Errorf("pipe to %q: %w", a.Program.Name, err)
	}
	p.out.Note = fmt.Sprintf("pipe to %q: %v", a.Program.Name, err)
	return nil
}

// edits are the modifications that make to of from.
func edits(from *message.Message, to lang.Message) (out []pipeline.Modification) {
	edited, ok := to.(*mail.Message)
	if !ok {
		return nil
	}
	m := edited.Mail()
	for _, f := range from.Header().Fields() {
		if _, ok := m.Header().ByID(f.ID); !ok {
			out = append(out, pipeline.RemoveHeader{Field: f.ID, Name: f.Name})
		}
	}
	for i, f := range m.Header().Fields() {
		if old, ok := from.Header().ByID(f.ID); !ok || string(old.Raw) != string(f.Raw) {
			out = append(out, pipeline.InsertHeader{At: i, Name: f.Name, Value: f.RawValue(), Raw: true})
		}
	}
	if !m.SameBody(from) {
		out = append(out, pipeline.ReplaceBody{Body: m.Body()})
	}
	return out
}

// flagTag carries the flags of a script at Message.
const flagTag = "sieve.flags"

// errAtMessage is an action that only one recipient's script can take.
var errAtMessage = errors.New("can be done at delivery only: the message is for several recipients here")

// transaction turns what a script decided for a whole transaction into a verdict.
func (r *job) transaction(result lang.Result) (pipeline.Verdict, error) {
	v := r.view
	if a, ok := find(result, lang.Reject); ok {
		return refuse(v, a), nil
	}
	keep, kept := find(result, lang.Keep)
	flags, stored := keep.Flags, kept
	var out pipeline.Verdict
	for _, a := range result.Actions {
		if a.Message != nil && len(out.Mods) == 0 {
			out.Mods = edits(v.Message(), result.Actions[len(result.Actions)-1].Message)
		}
		switch {
		case a.Kind == lang.Redirect && a.List == "":
			out.Mods = append(out.Mods, pipeline.AddRecipient{Addr: outbound(a.Address)})
		case a.Kind == lang.FileInto && kept:
			out.Note = "fileinto beside keep has no effect before delivery"
		case a.Kind == lang.FileInto:
			out.Mods = append(out.Mods, pipeline.SetFolder{Folder: inbox(a.Mailbox)})
			flags, stored = a.Flags, true
		case a.Kind != lang.Keep && a.Kind != lang.Discard:
			return pipeline.Verdict{}, fmt.Errorf("line %d: %s %w", a.Line, a, errAtMessage)
		}
	}
	switch redirected := slices.ContainsFunc(result.Actions, func(a lang.Action) bool { return a.Kind == lang.Redirect }); {
	case stored && len(flags) > 0:
		out.Mods = append(out.Mods, pipeline.Tag{Name: flagTag, Value: strings.Join(flags, " ")})
	case stored:
	case redirected: // only
		out.Mods = append(out.Mods, others(v, out.Mods)...)
	default:
		out.Action, out.Note = pipeline.Discard, "the script discards it"
	}
	return out, nil
}

// others removes the recipients that no redirect names.
func others(v *pipeline.View, redirects []pipeline.Modification) []pipeline.Modification {
	var out []pipeline.Modification
	for _, rcpt := range v.Rcpts() {
		named := slices.ContainsFunc(redirects, func(m pipeline.Modification) bool {
			add, ok := m.(pipeline.AddRecipient)
			return ok && add.Addr.Equal(rcpt.Addr)
		})
		if !named {
			out = append(out, pipeline.RemoveRecipient{Rcpt: rcpt.ID, Addr: rcpt.Addr})
		}
	}
	return out
}

// inbox is a mailbox name as the pipeline has it: INBOX is "".
func inbox(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return ""
	}
	return name
}

func outbound(a lang.Address) smtp.Address {
	return smtp.Address{Local: a.Local, Domain: a.Domain}
}

// Bounds of a reply's text.
const (
	maxReplyLines = 20
	maxReplyLine  = 400 // octets; the line with its codes stays below 512
)

// refuse refuses in the session: 550 5.7.1, a line for each line of the reason
// (RFC 5429, 2.5). Where the client did not ask for SMTPUTF8 a reason that is
// not ASCII can't be said (RFC 5429, 2.1.1).
func refuse(v *pipeline.View, a lang.Action) pipeline.Verdict {
	var lines []string
	for line := range strings.SplitSeq(a.Reason, "\n") {
		line = strings.TrimSpace(line)
		for len(line) > maxReplyLine {
			n := cut(line, maxReplyLine)
			lines, line = append(lines, line[:n]), strings.TrimSpace(line[n:])
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	lines = lines[:min(len(lines), maxReplyLines)]
	text := strings.Join(lines, "\n")
	ascii := !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
	if text == "" || !ascii && !v.SenderParams().UTF8 {
		text = "Message refused by the recipient's filter"
	}
	return pipeline.Verdict{Action: pipeline.Reject, Reply: smtp.NewReply(550, 7, 1, text)}
}

// cut is where to break a line that is too long: at white space, else before a
// character.
func cut(s string, limit int) int {
	if i := strings.LastIndexByte(s[:limit], ' '); i > 0 {
		return i
	}
	for limit > 1 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return limit
}
