package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"mtad/dns"
	"mtad/pipeline"
)

// Widths of a story's columns; what is longer pushes the rest on.
const (
	wordWidth = 8  // session, connect, mail ...
	nameWidth = 12 // of the step
	pageWidth = 88 // of a line without its time; longer texts are cut into several
)

// line is how people see an event.
type line struct {
	word   string // where it belongs: a stage, "reply", "relay"
	name   string // the step; "" is none
	tone   string // a color for what follows
	what   string
	detail string
	took   time.Duration
	said   string   // a reply that is among more
	more   []string // edits and errors, a line each
}

// text is the first line.
func (l *line) text(p paint) string {
	s := fmt.Sprintf("%-*s ", wordWidth, l.word)
	if l.name != "" {
		s += fmt.Sprintf("%-*s ", nameWidth, l.name)
	}
	s += p.color(l.tone, l.what)
	if l.detail != "" {
		s += "  " + l.detail
	}
	if l.took > 0 {
		s += p.dim("  (" + took(l.took) + ")")
	}
	return strings.TrimRight(s, " ")
}

// reply is the reply that belongs to an event, for its only line.
func (l *line) reply(p paint) string {
	if l.said == "" {
		return ""
	}
	return "  " + p.dim(l.said)
}

// lineOf finds the words for an event. All text in it is made safe for a
// terminal.
func lineOf(e pipeline.Event) line {
	cleanEvent(&e)
	tell, ok := tellers[e.Kind]
	if !ok {
		return line{word: string(e.Kind), what: join(e.Rcpt, e.Host, e.Action, e.Reply, e.Note)}
	}
	l := tell(&e)
	if e.Kind != pipeline.EventReply && e.Reply != "250" {
		l.said = e.Reply
	}
	if e.Err != "" {
		l.more = append(l.more, below("! ", e.Err)...)
	}
	return l
}

func cleanEvent(e *pipeline.Event) {
	e.Err = firstLine(e.Err)
	for _, s := range []*string{&e.Stage, &e.Step, &e.Filter, &e.Action, &e.Reply, &e.Rcpt, &e.Host, &e.Note, &e.Err, (*string)(&e.Kind)} {
		*s = clean(*s)
	}
	mods := make([]string, len(e.Mods))
	for i, m := range e.Mods {
		mods[i] = clean(m)
	}
	e.Mods = mods
}

// tellers tell each kind of event.
var tellers = map[pipeline.EventKind]func(*pipeline.Event) line{
	pipeline.EventSession: func(e *pipeline.Event) line {
		return line{word: "session", what: join(e.Host, e.Note)}
	},
	pipeline.EventStep: tellStep,
	pipeline.EventMail: func(e *pipeline.Event) line {
		if e.Rcpt == "" {
			return line{word: "mail", what: e.Note}
		}
		if e.Reply == "250" {
			return line{word: "rcpt", what: "to <" + e.Rcpt + ">", detail: e.Note}
		}
		return line{word: "rcpt", what: "to <" + e.Rcpt + ">", more: below("", e.Reply), tone: toneOfReply(e.Reply)}
	},
	pipeline.EventReply: func(e *pipeline.Event) line {
		text := fold(join(e.Reply, by(e.Step), e.Note), pageWidth-wordWidth-1)
		return line{word: "reply", tone: toneOfReply(e.Reply), what: text[0], more: pad(wordWidth+1, text[1:])}
	},
	pipeline.EventLogin: func(e *pipeline.Event) line {
		return line{word: "login", tone: map[string]string{"failed": colorBad}[e.Action], what: join(e.Stage, e.Action, e.Note), detail: e.Host}
	},
	pipeline.EventTaken: func(e *pipeline.Event) line {
		return line{word: "taken", what: fmt.Sprintf("%d octets", e.Size), detail: e.Note}
	},
	pipeline.EventQueue: func(e *pipeline.Event) line {
		if e.Action != "" {
			e.Host = "" // a sender
		}
		return line{word: "queue", what: e.Note, detail: e.Host, more: below("", e.Reply)}
	},
	pipeline.EventDeliver: func(e *pipeline.Event) line {
		to := "<" + e.Rcpt + ">"
		if e.Host != "" && e.Host != e.Rcpt {
			to += " = " + e.Host
		}
		return line{word: "deliver", what: to, detail: e.Note}
	},
	pipeline.EventRelay: func(e *pipeline.Event) line {
		tone := map[string]string{"delivered": colorGood, "failed": colorBad}[e.Action]
		l := line{word: "relay", tone: tone, what: e.Action, detail: "<" + e.Rcpt + ">", took: e.Took}
		if e.Host != "" {
			l.more = below("to ", join(e.Host, e.Note))
		}
		l.more = append(l.more, below("said ", e.Reply)...)
		return l
	},
	pipeline.EventMade: func(e *pipeline.Event) line {
		return line{word: "made", what: e.Note, detail: "for <" + e.Rcpt + ">"}
	},
}

// tellStep tells what a filter said.
func tellStep(e *pipeline.Event) line {
	l := line{word: e.Stage, name: e.Step, what: e.Action, took: e.Took}
	switch {
	case e.Err != "":
		l.tone = colorWarn
		l.what += " (fault)"
	case e.Reply != "" || e.Action == "discard":
		l.tone = colorBad
	}
	var notes []string
	if e.Step != e.Filter {
		notes = append(notes, e.Filter)
	}
	if e.Rcpt != "" {
		notes = append(notes, "for <"+e.Rcpt+">")
	}
	if e.Shadow {
		notes = append(notes, "shadow: not obeyed")
	}
	if e.Masked {
		notes = append(notes, "not obeyed: postmaster's mail is spared")
	}
	l.detail = join(append(notes, e.Note)...)
	if e.Reply != "" {
		l.more = append(l.more, below("", e.Reply)...)
	}
	for _, q := range e.DNS {
		l.more = append(l.more, below("? ", asked(q))...)
	}
	for _, m := range e.Mods {
		l.more = append(l.more, below("* ", m)...)
	}
	return l
}

// asked is a question to the domain name system and its answer on one line.
func asked(q dns.Asked) string {
	answer := strings.Join(q.Answers, ", ")
	if q.More > 0 {
		answer = fmt.Sprintf("%.270s and %d more", answer, q.More)
	}
	if q.Err != "" {
		answer, _, _ = strings.Cut(strings.TrimPrefix(q.Err, "dns: "), ":")
	}
	return clean(fmt.Sprintf("%s %s: %.300s", q.Type, q.Name, answer))
}

// below makes the lines that stand under an event, as far in as a step's verdict.
func below(mark, text string) []string {
	if text == "" {
		return nil
	}
	const in = wordWidth + 1 + nameWidth + 1
	out := fold(text, pageWidth-in-len(mark))
	for i := range out {
		out[i] = mark + out[i]
		mark = strings.Repeat(" ", len(mark))
	}
	return pad(in, out)
}

// pad moves lines n columns in.
func pad(n int, lines []string) []string {
	for i := range lines {
		lines[i] = strings.Repeat(" ", n) + lines[i]
	}
	return lines
}

// fold cuts text into lines of at most width characters, at spaces where there
// are some. There is always one.
func fold(text string, width int) []string {
	var out []string
	for utf8.RuneCountInString(text) > width {
		cut := cutAt(text, width)
		out = append(out, strings.TrimSpace(text[:cut]))
		text = strings.TrimSpace(text[cut:])
	}
	return append(out, text)
}

// cutAt is where a text that is too long is cut: behind width characters or at
// the last space before.
func cutAt(text string, width int) int {
	n := 0
	for i := range text {
		if n == width {
			if space := strings.LastIndexByte(text[:i], ' '); space > 0 {
				return space
			}
			return i
		}
		n++
	}
	return len(text)
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

// by names the step whose word a reply was.
func by(step string) string {
	if step == "" {
		return ""
	}
	return "by " + step
}

// join puts what is not empty behind one another.
func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "  ")
}

func toneOfReply(r string) string {
	switch {
	case strings.HasPrefix(r, "2"):
		return colorGood
	case strings.HasPrefix(r, "4"):
		return colorWarn
	}
	return colorBad
}

// paint colors text, if it may.
type paint struct{ on bool }

func (p paint) color(c, s string) string {
	if !p.on || c == "" || s == "" {
		return s
	}
	return c + s + colorOff
}

func (p paint) dim(s string) string  { return p.color(colorDim, s) }
func (p paint) bold(s string) string { return p.color("\x1b[1m", s) }
