package sieve

import (
	"slices"
	"strings"
	"unicode/utf8"

	"mtad/pipeline"
	lang "mtad/sieve"
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

// deliver turns what a script decided for one recipient into a plan.
//
// A keep, explicit or not, is the pipeline's implicit keep left alone: it goes
// to the folder that earlier filters chose. So what stands beside it must not
// cancel it.
func deliver(v *pipeline.View, r lang.Result) pipeline.Verdict {
	if a, ok := find(r, lang.Reject); ok {
		return refuse(v, a)
	}
	keep, kept := find(r, lang.Keep)
	var out pipeline.Verdict
	cancels, passed := false, false // passed the explicit keep
	for _, a := range r.Actions {
		passed = passed || a.Kind == lang.Keep && !a.Implicit
		switch {
		case a.Kind == lang.FileInto && kept && strings.EqualFold(folder(a.Mailbox), v.Folder()):
			// The same folder twice is one copy (RFC 5228, 2.10.3), with
			// the flags of the last (RFC 5232, 3).
			if passed {
				keep.Flags = a.Flags
			}
		case a.Kind == lang.FileInto:
			out.Mods = append(out.Mods, pipeline.FileInto{Folder: folder(a.Mailbox), Flags: a.Flags, Copy: kept || a.Copy})
			cancels = cancels || !a.Copy
		case a.Kind == lang.Redirect:
			out.Mods = append(out.Mods, pipeline.Redirect{Addr: outbound(a), Copy: kept || a.Copy})
			cancels = cancels || !a.Copy
		}
	}
	switch {
	case !kept && !cancels:
		out.Mods = append(out.Mods, pipeline.CancelKeep{})
	case kept && !keep.Implicit && v.Plan().Cancelled:
		// A filter before this one has filed the message; the script asks
		// for it in the default folder too.
		out.Mods = append(out.Mods, pipeline.FileInto{Folder: v.Folder(), Flags: keep.Flags})
	case kept && len(keep.Flags) > 0:
		out.Mods = append(out.Mods, pipeline.SetFlags{Flags: keep.Flags})
	}
	return out
}

// flagTag carries the flags of a script at Message.
const flagTag = "sieve.flags"

// transaction turns what a script decided for a whole transaction into a verdict.
func transaction(v *pipeline.View, r lang.Result) pipeline.Verdict {
	if a, ok := find(r, lang.Reject); ok {
		return refuse(v, a)
	}
	keep, kept := find(r, lang.Keep)
	flags, stored := keep.Flags, kept
	var out pipeline.Verdict
	for _, a := range r.Actions {
		switch {
		case a.Kind == lang.Redirect:
			out.Mods = append(out.Mods, pipeline.AddRecipient{Addr: outbound(a)})
		case a.Kind == lang.FileInto && kept:
			out.Note = "fileinto beside keep has no effect before delivery"
		case a.Kind == lang.FileInto:
			out.Mods = append(out.Mods, pipeline.SetFolder{Folder: folder(a.Mailbox)})
			flags, stored = a.Flags, true
		}
	}
	switch {
	case stored && len(flags) > 0:
		out.Mods = append(out.Mods, pipeline.Tag{Name: flagTag, Value: strings.Join(flags, " ")})
	case stored:
	case len(out.Mods) > 0: // redirected only
		out.Mods = append(out.Mods, others(v, out.Mods)...)
	default:
		out.Action, out.Note = pipeline.Discard, "the script discards it"
	}
	return out
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

// folder is a mailbox name as the pipeline has it: INBOX is "".
func folder(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return ""
	}
	return name
}

func outbound(a lang.Action) smtp.Address {
	return smtp.Address{Local: a.Address.Local, Domain: a.Address.Domain}
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
