package sieve_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"mtad/message"
	"mtad/sieve"
	"mtad/sieve/mail"
)

// world is what the scripts of a golden file see around them.
type world struct {
	environment map[string]string
	mailboxes   []box
	lists       map[string][]string
	scripts     map[string]string // "location/name": text
	programs    map[string]string // name: what it writes; "false" is that it fails
	seen        map[string]bool
	methods     map[string]string // of notification, and whether they are online
	log         []string
}

// box is a mailbox.
type box struct {
	name, use, id string
	annotations   map[string]string
}

func newWorld() *world {
	return &world{
		environment: map[string]string{}, lists: map[string][]string{}, scripts: map[string]string{}, programs: map[string]string{},
		seen: map[string]bool{}, methods: map[string]string{"mailto": "maybe"},
	}
}

// build takes what a command of a golden file says of the world; false if it is
// none of these:
//
//	environment          an item and its value a line
//	mailboxes            a line each: NAME use=\\Junk id=X /private/x=value
//	list                 its name, then a member a line
//	script NAME          the text of a script to include; "global" makes it one
//	program NAME         what it writes, or "false" if it fails
//	methods              a scheme of notification a line, and whether it is online
func (w *world) build(d *datadriven.TestData) bool {
	lines := slices.DeleteFunc(strings.Split(d.Input, "\n"), func(s string) bool { return s == "" })
	switch d.Cmd {
	case "environment":
		for _, line := range lines {
			item, value, _ := strings.Cut(line, " ")
			w.environment[item] = value
		}
	case "mailboxes":
		for _, line := range lines {
			w.mailboxes = append(w.mailboxes, readBox(line))
		}
	case "list":
		w.lists[lines[0]] = lines[1:]
	case "script":
		location := "personal/"
		if d.HasArg("global") {
			location = "global/"
		}
		w.scripts[location+name(d)] = d.Input + "\n"
	case "program":
		w.programs[name(d)] = d.Input
	case "methods":
		for _, line := range lines {
			scheme, online, _ := strings.Cut(line, " ")
			w.methods[scheme] = online
		}
	default:
		return false
	}
	return true
}

// name is a command's first argument, which may hold "=" or ":".
func name(d *datadriven.TestData) string { return d.CmdArgs[0].Key }

func readBox(line string) box {
	b := box{annotations: map[string]string{}}
	for i, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case i == 0:
			b.name = word
		case key == "use":
			b.use = value
		case key == "id":
			b.id = value
		default:
			b.annotations[key] = value
		}
	}
	return b
}

// around fills in what is not the message.
func (w *world) around(t *testing.T, d *datadriven.TestData, e *sieve.Env) {
	e.Mailboxes, e.Lists, e.Notifier, e.Programs = w, wordLists(w.lists), methods(w.methods), w
	e.Environment = func(item string) (string, bool) { s, ok := w.environment[item]; return s, ok }
	e.Seen = func(_ context.Context, id string) (bool, error) { return w.seen[id], nil }
	e.Log = func(line int, text string) { w.log = append(w.log, fmt.Sprintf("log %d: %s", line, text)) }
	e.Event = d.HasArg("event")
	for _, a := range d.CmdArgs {
		if len(a.Vals) != 1 {
			continue
		}
		value := a.Vals[0]
		number, _ := strconv.Atoi(value)
		switch a.Key {
		case "clock":
			now, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			e.Now = func() time.Time { return now }
		case "spam":
			e.Spam = func() (float64, bool) { return float64(number), true }
		case "virus":
			e.Virus = func() (int, bool) { return number, true }
		}
	}
}

// options are those of Compile.
func (w *world) options() sieve.Options {
	return sieve.Options{Limits: sieve.Limits{Steps: 20_000_000, VacationMin: time.Second}, Include: func(location, name string) (string, error) {
		s, ok := w.scripts[location+"/"+name]
		if !ok {
			return "", fs.ErrNotExist
		}
		return s, nil
	}}
}

func (w *world) find(is func(box) bool) (box, bool) {
	if i := slices.IndexFunc(w.mailboxes, is); i >= 0 {
		return w.mailboxes[i], true
	}
	return box{}, false
}

func (w *world) Exists(_ context.Context, name string) (bool, error) {
	_, ok := w.find(func(b box) bool { return b.name == name })
	return ok, nil
}

func (w *world) Special(_ context.Context, name, use string) (string, bool, error) {
	b, ok := w.find(func(b box) bool { return strings.EqualFold(b.use, use) && (name == "" || b.name == name) })
	return b.name, ok, nil
}

func (w *world) ByID(_ context.Context, id string) (string, bool, error) {
	b, ok := w.find(func(b box) bool { return b.id == id })
	return b.name, ok, nil
}

func (w *world) Annotation(_ context.Context, name, annotation string) (string, bool, error) {
	b, ok := w.find(func(b box) bool { return b.name == name || name == "" && b.name == "server" })
	s, has := b.annotations[annotation]
	return s, ok && has, nil
}

func (w *world) Filter(_ context.Context, m sieve.Message, program string, _ []string) (sieve.Message, bool, error) {
	out, ok := w.programs[program]
	if !ok || out == "false" {
		return nil, false, nil
	}
	changed, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(out+"\n", "\n", "\r\n"))))
	return m.(*mail.Message).With(changed), err == nil, err
}

func (w *world) Execute(_ context.Context, in sieve.Input, program string, args []string) ([]byte, bool, error) {
	out, ok := w.programs[program]
	if in.Message != nil {
		in.Text = "the message"
	}
	return []byte(strings.NewReplacer("ARGS", strings.Join(args, " "), "INPUT", in.Text).Replace(out)), ok && out != "false", nil
}

type wordLists map[string][]string

func (l wordLists) Valid(name string) bool { return l[name] != nil }

func (l wordLists) Contains(_ context.Context, list, value string) (bool, error) {
	return slices.Contains(l[list], value), nil
}

type methods map[string]string

func (m methods) Valid(uri string) bool {
	scheme, _, _ := strings.Cut(uri, ":")
	return m[scheme] != ""
}

func (m methods) Capability(_ context.Context, uri, name string) (string, bool) {
	scheme, _, _ := strings.Cut(uri, ":")
	if name == "fcc" {
		return map[bool]string{true: "yes", false: "no"}[scheme == "mailto"], m[scheme] != ""
	}
	return m[scheme], name == "online" && m[scheme] != ""
}

// shown is more of an action than its String: what is sent, and the message as
// the script has changed it.
func shown(t *testing.T, a sieve.Action) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			b.WriteString("  " + name + ": " + value + "\n")
		}
	}
	if v := a.Vacation; v != nil {
		field("subject", v.Subject)
		field("from", v.From)
		field("addresses", strings.Join(v.Addresses, " "))
		if len(v.Handle) != 32 {
			field("handle", v.Handle)
		}
		if v.MIME {
			field("mime", "yes")
		}
	}
	if n := a.Notification; n != nil {
		field("importance", strconv.Itoa(n.Importance))
		field("from", n.From)
		field("options", strings.Join(n.Options, " "))
		field("message", n.Message)
	}
	if r := a.Report; r != nil {
		field("message", r.Message)
		field("headers only", strconv.FormatBool(r.HeadersOnly))
	}
	if m, ok := a.Message.(*mail.Message); ok {
		text, err := io.ReadAll(message.NewReader(m.Mail().Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(steady(string(text))) {
			b.WriteString("  |" + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	return b.String()
}

var (
	madeBoundary = regexp.MustCompile(`boundary="([A-Z0-9]{26})"`)
	madeID       = regexp.MustCompile(`<[A-Z0-9]{26}@`)
	madeDate     = regexp.MustCompile(`(?m)^Date: .* 20[2-9]\d .*$`)
)

// steady is a message without what is made anew in every run.
func steady(s string) string {
	for i, m := range madeBoundary.FindAllStringSubmatch(s, -1) {
		s = strings.ReplaceAll(s, m[1], fmt.Sprintf("MADE%d", i))
	}
	return madeDate.ReplaceAllString(madeID.ReplaceAllString(s, "<MADE@"), "Date: now")
}
