// Package hygiene judges how well-formed a message is (RFC 5322). Every defect has
// an option that says what it means: nothing, points, or a refusal.
package hygiene

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "hygiene".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "hygiene", Doc: "Judges how well-formed a message is: missing, double and broken header fields.",
		Stages: pipeline.At(pipeline.Message), Options: options, New: newFilter,
	}
}

// settings has an action for each defect.
type settings struct {
	NoHeader     string       `mtad:"no_header"`
	BrokenHeader string       `mtad:"broken_header"`
	NoBody       string       `mtad:"no_body"`
	NoFrom       string       `mtad:"no_from"`
	BadFrom      string       `mtad:"bad_from"`
	DoubleFrom   string       `mtad:"double_from"`
	NoDate       string       `mtad:"no_date"`
	NoMessageID  string       `mtad:"no_message_id"`
	Duplicate    string       `mtad:"duplicate"`
	EightBit     string       `mtad:"eight_bit"`
	Control      string       `mtad:"control"`
	LongLine     string       `mtad:"long_line"`
	Points       config.Score `mtad:"points"`
}

// What a defect may mean.
const (
	accept = "accept"
	score  = "score"
	reject = "reject"
)

var options = []config.Option{
	action("no_header", score, "a body without a header"),
	action("broken_header", score, "a line in the header that is no field: it ends the header, and what follows is body to some and header to others"),
	action("no_body", accept, "a header without a body"),
	action("no_from", score, "no From field"),
	action("bad_from", accept, "a From field without an address"),
	action("double_from", reject, "several From fields: filters and readers may choose different ones"),
	action("no_date", accept, "no Date field; submission adds one"),
	action("no_message_id", accept, "no Message-ID field; submission adds one"),
	action("duplicate", accept, "several of another field that may be there once (RFC 5322, 3.6)"),
	action("eight_bit", accept, "octets beyond US-ASCII in the header of a message that was not sent with SMTPUTF8"),
	action("control", accept, "control characters in the header"),
	action("long_line", accept, "a line of more than 998 octets in the header (RFC 5322, 2.1.1)"),
	{Name: "points", Type: config.TypeScore, Default: config.Score(2), Reload: true, Doc: "Points for each defect whose action is \"score\".", Example: "score(2)"},
}

func action(name, def, doc string) config.Option {
	return config.Option{
		Name: name, Type: config.TypeString, Default: def, Values: []string{accept, score, reject}, Reload: true,
		Doc: "What it means: " + doc + ".", Example: `"reject"`,
	}
}

type filter struct{ settings }

func newFilter(b config.Block, _ pipeline.Env) (pipeline.Filter, error) {
	f := &filter{}
	return f, b.Decode(&f.settings)
}

func (*filter) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (*filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Envelope | pipeline.Header | pipeline.Body, pipeline.Scores
}

// Filter looks for every defect; the first that is refused ends it.
func (f *filter) Filter(_ context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	var out pipeline.Verdict
	for _, d := range f.defects(v) {
		switch d.action {
		case reject:
			out.Action, out.Reply = pipeline.Reject, smtp.NewReply(550, 6, 0, "Malformed message: "+d.text)
			out.Mods = nil
			return out, nil
		case score:
			out.Mods = append(out.Mods, pipeline.AddScore{Name: "hygiene_" + d.name, Points: float64(f.Points), Detail: d.text})
		}
	}
	return out, nil
}

// defect is one that a message has.
type defect struct{ name, action, text string }

// defects lists what is wrong with the message, but for what does not matter.
func (f *filter) defects(v *pipeline.View) []defect {
	var out []defect
	add := func(name, action, text string, args ...any) {
		if action != accept {
			out = append(out, defect{name, action, fmt.Sprintf(text, args...)})
		}
	}
	was, h := v.Original(), v.Message().Header()
	switch {
	case was.Header().Len() == 0:
		add("no_header", f.NoHeader, "it has no header")
	case was.Unseparated() || was.Header().Fields()[0].Name == "":
		add("broken_header", f.BrokenHeader, "a line of the header is no field")
	}
	if was.Body().Size() == 0 {
		add("no_body", f.NoBody, "it has no body")
	}
	from := h.Values("From")
	switch {
	case len(from) == 0:
		add("no_from", f.NoFrom, "it has no From field")
	case len(from) > 1:
		add("double_from", f.DoubleFrom, "it has %d From fields", len(from))
	}
	if len(from) > 0 && slices.ContainsFunc(from, hasNoAddress) {
		add("bad_from", f.BadFrom, "a From field has no address")
	}
	if _, ok := h.First("Date"); !ok {
		add("no_date", f.NoDate, "it has no Date field")
	}
	if _, ok := h.First("Message-ID"); !ok {
		add("no_message_id", f.NoMessageID, "it has no Message-ID field")
	}
	if names := doubles(h); len(names) > 0 {
		add("duplicate", f.Duplicate, "it has several fields %s", strings.Join(names, ", "))
	}
	utf8 := v.SenderParams().UTF8
	for _, c := range octets(was.Header()) {
		switch {
		case c.name == "eight_bit" && !utf8:
			add(c.name, f.EightBit, "field %s has octets beyond US-ASCII", c.field)
		case c.name == "control":
			add(c.name, f.Control, "field %s has a control character", c.field)
		case c.name == "long_line":
			add(c.name, f.LongLine, "field %s has a line of more than %d octets", c.field, maxLine)
		}
	}
	return out
}

// hasNoAddress reports whether a From field names nobody.
func hasNoAddress(value string) bool {
	return !slices.ContainsFunc(message.ParseAddressList(value), func(a message.Address) bool {
		return a.Mark == message.Mailbox && a.Local != ""
	})
}

// single are the fields that a message has once at the most, From apart (RFC
// 5322, 3.6).
var single = []string{"Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject"}

// doubles names the fields of which there are too many.
func doubles(h *message.Header) (names []string) {
	for _, name := range single {
		n := 0
		for _, f := range h.Fields() {
			if f.Is(name) {
				n++
			}
		}
		if n > 1 {
			names = append(names, name)
		}
	}
	return names
}

// maxLine is the longest line without its line break (RFC 5322, 2.1.1).
const maxLine = 998

// found is a defect of octets, and the first field that has it.
type found struct{ name, field string }

// octets looks at the header's octets; each defect is found once.
func octets(h *message.Header) (out []found) {
	add := func(name string, f *message.Field) {
		if !slices.ContainsFunc(out, func(o found) bool { return o.name == name }) {
			out = append(out, found{name, f.Name})
		}
	}
	for _, f := range h.Fields() {
		for line := range bytes.Lines(f.Raw) {
			line = bytes.TrimRight(line, "\r\n")
			if len(line) > maxLine {
				add("long_line", &f)
			}
			for _, c := range line {
				switch {
				case c >= 0x80:
					add("eight_bit", &f)
				case c < ' ' && c != '\t' || c == 0x7f:
					add("control", &f)
				}
			}
		}
	}
	return out
}
