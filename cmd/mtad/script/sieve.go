package script

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/autoreply"
	"mtad/message"
	"mtad/pipeline"
	filter "mtad/plugins/sieve"
	"mtad/plugins/sieve/svtest"
	"mtad/sieve"
	"mtad/sieve/mail"
	"mtad/smtp"
)

// Sieve are the commands that only Sieve has.
func Sieve(env *Env) []*cobra.Command {
	return []*cobra.Command{newSieveCheck(env), newSieveTest(env), newSieveTrace(env), newSieveSuite(env)}
}

func newSieveCheck(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Tell what is wrong with a script in a file or on standard input", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := fileArgument(args)
			name := file
			if file == "-" {
				name = "the script"
			}
			script, err := compileSieve(env, cmd, file, filter.Unoffered()...)
			if err != nil {
				return err
			}
			if script == nil {
				return env.Fail(exitData, "%s can not run", name)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", name)
			return nil
		},
	}
}

// compileSieve compiles a file and prints what is wrong with it; nil if it can
// not run, or wants extensions that it is to be without. Scripts that it includes
// are beside it: NAME.sieve.
func compileSieve(env *Env, cmd *cobra.Command, file string, without ...string) (*sieve.Script, error) {
	text, err := env.Read(file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	script, problems := sieve.Compile(string(text), sieve.Options{Include: beside(filepath.Dir(file)), Without: without})
	fmt.Fprint(cmd.ErrOrStderr(), problems.String())
	return script, nil
}

// beside finds scripts to be included in a directory.
func beside(dir string) func(location, name string) (string, error) {
	return func(_, name string) (string, error) {
		if name == "" || strings.ContainsAny(name, "/\\\x00") {
			return "", fs.ErrNotExist
		}
		text, err := os.ReadFile(filepath.Join(dir, name+".sieve"))
		return string(text), err
	}
}

// trial is a run of a script that changes nothing.
type trial struct {
	env   *Env
	from  string
	to    string
	user  string
	items []string
	json  string
	steps bool
	out   io.Writer

	login  string          // of the client that sent the message
	header *message.Header // of the message
	sender smtp.Address
	own    []string // the account's addresses
}

func (t *trial) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.from, "from", "", "the reverse-path (default: the address in Return-Path, or From)")
	f.StringVar(&t.to, "to", "", "the recipient (default: the first in Delivered-To, or To)")
	f.StringVar(&t.user, "auth", "", "the account that the script belongs to (default: the recipient)")
	f.StringArrayVar(&t.items, "env", nil, "an item of the environment, as NAME=VALUE")
	f.StringVarP(&t.json, "output", "o", "text", "text or json")
}

func newSieveTest(env *Env) *cobra.Command {
	t := &trial{env: env}
	cmd := &cobra.Command{
		Use: "test SCRIPT MESSAGE", Short: "Say what a script would do with a message", Args: cobra.ExactArgs(2),
		Long: `Run a script over a message in a file ("-" is standard input) and print what it
decides, an action a line, as a script would write it. Every extension is there;
nothing is sent, stored or run, no folder exists but INBOX, and nothing was seen
before. Scripts that it includes are looked for in its own directory, as
NAME.sieve. No server and no configuration is needed.

--trace shows each command with its arguments before it runs, each comparison,
and what came of each test.`,
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&t.steps, "trace", false, "show every command, comparison and test")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		script, err := compileSieve(env, cmd, args[0])
		if err != nil {
			return err
		}
		if script == nil {
			return env.Fail(exitData, "%s can not run", args[0])
		}
		text, err := env.Read(args[1], cmd.InOrStdin())
		if err != nil {
			return err
		}
		t.out = cmd.OutOrStdout()
		return t.run(cmd.Context(), script, text)
	}
	return cmd
}

func newSieveTrace(env *Env) *cobra.Command {
	t := &trial{env: env, steps: true}
	cmd := &cobra.Command{
		Use: "trace USER MESSAGE", Short: "Run a user's script over a message again, and show every step", Args: cobra.ExactArgs(2),
		Long: `Run the script that is active for a user over a message: one that the server has,
named by its ID (as logs, ` + "`mtad trace`" + ` and Received fields show it), with the
envelope that it came in, or one in a file. Every command, comparison and test is shown, and what the script decides.
Nothing is sent, stored or run.`,
	}
	t.flags(cmd)
	cmd.RunE = env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		script, err := t.active(ctx, c, cmd, args[0])
		if err != nil {
			return err
		}
		text, err := t.fetch(ctx, c, cmd, args[1])
		if err != nil {
			return err
		}
		t.to = cmp.Or(t.to, t.user)
		t.out = cmd.OutOrStdout()
		return t.run(ctx, script, text)
	})
	return cmd
}

func newSieveSuite(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "testsuite FILE...", Short: "Run test suites written in Sieve (.svtest)", Args: cobra.MinimumNArgs(1),
		Long: `Run suites of tests that are themselves Sieve scripts, with the commands and tests
of the extension vnd.dovecot.testsuite, as Pigeonhole's .svtest files have them.
Messages are filed, sent and answered in memory; no server and no configuration
is needed. Names of files are relative to the suite's own directory; scripts that
others include are in its directories included and included-global.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			tests, failures := 0, 0
			for _, file := range args {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n", env.Clean(file))
				got, err := svtest.Run(cmd.Context(), file, cmd.OutOrStdout())
				if err != nil {
					return env.Fail(exitData, "%v", err)
				}
				tests, failures = tests+got.Tests, failures+len(got.Failures)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d tests, %d failed\n", tests, failures)
			if failures > 0 {
				return env.Fail(exitNo, "%d of %d tests failed", failures, tests)
			}
			return nil
		},
	}
}

// active compiles the script that runs for a user.
func (t *trial) active(ctx context.Context, c *admin.Client, cmd *cobra.Command, name string) (*sieve.Script, error) {
	u, err := c.User(ctx, name)
	if err != nil {
		return nil, err
	}
	if t.user == "" {
		t.user = u.Address
	}
	list, err := c.Scripts(ctx, "sieve", u.Address)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if !s.Active {
			continue
		}
		text, err := c.Script(ctx, "sieve", u.Address, s.Name)
		if err != nil {
			return nil, err
		}
		script, problems := sieve.Compile(text.Text, sieve.Options{Without: filter.Unoffered(), Include: func(location, name string) (string, error) {
			if location != "personal" {
				return "", fs.ErrNotExist
			}
			other, err := c.Script(ctx, "sieve", u.Address, name)
			if err != nil {
				return "", fs.ErrNotExist
			}
			return other.Text, nil
		}})
		fmt.Fprint(cmd.ErrOrStderr(), problems.String())
		if script == nil {
			return nil, t.env.Fail(exitData, "the script %s of %s can not run", s.Name, u.Address)
		}
		return script, nil
	}
	return nil, t.env.Fail(exitNo, "%s has no active script", u.Address)
}

// fetch is a message that the server has, or a file.
func (t *trial) fetch(ctx context.Context, c *admin.Client, cmd *cobra.Command, name string) ([]byte, error) {
	id, err := message.ParseID(name)
	if err != nil {
		return t.env.Read(name, cmd.InOrStdin())
	}
	var b strings.Builder
	if err := c.Message(ctx, id, &b); err != nil {
		return nil, err
	}
	if tr, err := c.Trace(ctx, id); err == nil { // else it is older than what traces are kept for
		t.recall(tr)
	}
	return []byte(b.String()), nil
}

// recall takes over the envelope and the client from a trace. What the flags say
// wins.
func (t *trial) recall(tr admin.Trace) {
	s := scene{from: t.from}
	for _, e := range tr.Events {
		s.recall(e)
	}
	t.from, t.login = s.from, s.user
	if s.client != "" {
		t.items = append([]string{"remote-ip=" + s.client}, t.items...)
	}
	for _, to := range s.to {
		a, err := smtp.ParseAddress(to)
		if mine := s.account(pipeline.Recipient{Addr: a}).String() == t.user; t.to == "" && err == nil && (mine || len(s.to) == 1) {
			t.to = to
		}
	}
}

// run runs the script and prints what it decides.
func (t *trial) run(ctx context.Context, script *sieve.Script, text []byte) error {
	if t.json != "text" && t.json != "json" {
		return t.env.Fail(exitUsage, "there is no output %q; there are text and json", t.json)
	}
	e, err := t.scene(text)
	if err != nil {
		return err
	}
	result, err := script.Run(ctx, e)
	if t.json == "json" {
		if printErr := t.printJSON(result, err); printErr != nil {
			return printErr
		}
	} else {
		for _, a := range result.Actions {
			fmt.Fprintln(t.out, t.env.Clean(Line(a)))
			if why := t.unanswered(a); why != "" {
				fmt.Fprintf(t.out, "# no vacation answer: %s\n", why)
			}
		}
	}
	if err != nil {
		return t.env.Fail(exitData, "%s; the message is kept", strings.TrimPrefix(err.Error(), "sieve: "))
	}
	return nil
}

// unanswered is why a vacation answer is not sent, "" for one that is, and for
// actions of other kinds.
func (t *trial) unanswered(a sieve.Action) string {
	if a.Vacation == nil {
		return ""
	}
	return autoreply.Refuse(t.header, t.sender, append(t.own, a.Vacation.Addresses...))
}

// scene is what the script sees.
func (t *trial) scene(text []byte) (sieve.Env, error) {
	m, err := message.Parse(message.FromBytes(crlf(text)))
	if err != nil {
		return sieve.Env{}, t.env.Fail(exitData, "the message: %v", err)
	}
	from := t.from
	if _, returned := m.Header().Get("Return-Path"); returned && from == "" {
		from = cmp.Or(first(addresses(m, "Return-Path")), "<>")
	}
	from = cmp.Or(from, first(addresses(m, "From")))
	to := cmp.Or(t.to, first(append(addresses(m, "Delivered-To"), addresses(m, "To")...)))
	user := cmp.Or(t.user, to)
	sender, rcpt, owner := sieveAddress(from), sieveAddress(to), sieveAddress(user)
	t.header, t.sender, t.own = m.Header(), smtp.Address{Local: sender.Local, Domain: sender.Domain}, []string{rcpt.String(), owner.String()}
	items := map[string]string{"location": "MDA", "phase": "during", "name": "mtad", "vnd.dovecot.username": user, "vnd.dovecot.default-mailbox": "INBOX"}
	for _, item := range t.items {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return sieve.Env{}, t.env.Fail(exitUsage, "--env %s: NAME=VALUE is wanted", item)
		}
		items[strings.ToLower(name)] = value
	}
	e := sieve.Env{
		Message: mail.New(m, owner), Envelope: sieve.Envelope{From: sender, To: rcpt, Auth: t.login},
		Environment: func(item string) (string, bool) {
			s, ok := items[item]
			return s, ok
		},
		Notifier: filter.Notifier{}, Mailboxes: onlyInbox{},
		Log: func(line int, text string) { fmt.Fprintf(t.out, "# line %d says: %s\n", line, t.env.Clean(text)) },
	}
	if t.steps && t.json == "text" {
		e.Trace = t.step
	}
	return e, nil
}

func sieveAddress(s string) sieve.Address {
	a, err := smtp.ParseAddress(strings.Trim(s, "<>"))
	if err != nil {
		return sieve.Address{}
	}
	return sieve.Address{Local: a.Local, Domain: a.Domain}
}

// step prints one event of a run.
func (t *trial) step(e sieve.Event) {
	at := strconv.Itoa(e.Line)
	if e.Script != "" {
		at = e.Script + ":" + at
	}
	values := make([]string, len(e.Values))
	for i, v := range e.Values {
		values[i] = quoted(v)
	}
	indent := strings.Repeat("  ", e.Depth)
	switch e.Kind {
	case sieve.EventCommand:
		fmt.Fprintf(t.out, "# %s: %s%s\n", at, indent, t.env.Clean(strings.TrimSpace(e.Name+" "+strings.Join(values, " "))))
	case sieve.EventTest:
		fmt.Fprintf(t.out, "# %s: %s%s is %v\n", at, indent, e.Name, e.Result)
	case sieve.EventCompare:
		fmt.Fprintf(t.out, "# %s: %s%s :%s %s: %s\n", at, indent, t.env.Clean(values[0]), e.Name, t.env.Clean(values[1]), map[bool]string{true: "yes", false: "no"}[e.Result])
	}
}

// maxShown bounds how much of a value a trace shows, in characters.
const maxShown = 100

func quoted(s string) string {
	if strings.HasPrefix(s, ":") {
		return s
	}
	if r := []rune(s); len(r) > maxShown {
		s = string(r[:maxShown]) + "..."
	}
	return strconv.Quote(s)
}

// onlyInbox are the folders of an account that has no others.
type onlyInbox struct{}

func (onlyInbox) Exists(_ context.Context, name string) (bool, error) {
	return strings.EqualFold(name, "INBOX"), nil
}

func (onlyInbox) Special(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}

func (onlyInbox) ByID(context.Context, string) (string, bool, error) { return "", false, nil }

func (onlyInbox) Annotation(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}

// decided is a result as -o json prints it.
type decided struct {
	Actions []decision `json:"actions"`
	Error   string     `json:"error,omitempty"`
}

type decision struct {
	Action    string   `json:"action"`
	Line      int      `json:"line,omitempty"`
	Implicit  bool     `json:"implicit,omitempty"`
	Mailbox   string   `json:"mailbox,omitempty"`
	Address   string   `json:"address,omitempty"`
	List      string   `json:"list,omitempty"`
	Text      string   `json:"text,omitempty"`
	Subject   string   `json:"subject,omitempty"`
	Method    string   `json:"method,omitempty"`
	Program   string   `json:"program,omitempty"`
	Arguments []string `json:"arguments,omitempty"`
	Flags     []string `json:"flags,omitempty"`
	Copy      bool     `json:"copy,omitempty"`
	Create    bool     `json:"create,omitempty"`
	Special   string   `json:"special_use,omitempty"`
	Edited    bool     `json:"edited,omitempty"`
	Unsent    string   `json:"unsent,omitempty"` // why a vacation answer is not sent
}

func (t *trial) printJSON(r sieve.Result, err error) error {
	out := decided{Actions: []decision{}}
	if err != nil {
		out.Error = err.Error()
	}
	for _, a := range r.Actions {
		name, _, _ := strings.Cut(Line(a), " ")
		d := decision{
			Action: name, Line: a.Line, Implicit: a.Implicit, Mailbox: a.Mailbox, List: a.List, Text: a.Reason, Flags: a.Flags,
			Copy: a.Copy, Create: a.Create, Special: a.SpecialUse, Edited: a.Message != nil, Unsent: t.unanswered(a),
		}
		if a.Address != (sieve.Address{}) {
			d.Address = a.Address.String()
		}
		switch {
		case a.Vacation != nil:
			d.Text, d.Subject = a.Vacation.Reason, a.Vacation.Subject
		case a.Notification != nil:
			d.Text, d.Method = a.Notification.Message, a.Notification.Method
		case a.Program != nil:
			d.Program, d.Arguments = a.Program.Name, a.Program.Args
		case a.Report != nil:
			d.Text = a.Report.Message
		}
		out.Actions = append(out.Actions, d)
	}
	enc := json.NewEncoder(t.out)
	enc.SetIndent("", "  ")
	return errors.Join(enc.Encode(out))
}

// Line is an action as a script would write it, without the semicolon.
func Line(a sieve.Action) string {
	var words []string
	tag := func(on bool, list ...string) {
		if on {
			words = append(words, list...)
		}
	}
	name := ""
	switch a.Kind {
	case sieve.Keep:
		name = "keep"
	case sieve.FileInto:
		name = "fileinto"
	case sieve.Redirect:
		name = "redirect"
	case sieve.Discard:
		name = "discard"
	case sieve.Reject:
		name = map[bool]string{false: "reject", true: "ereject"}[a.Extended]
	case sieve.Vacate:
		name = "vacation"
		tag(true, ":seconds", strconv.FormatInt(int64(a.Vacation.Interval.Seconds()), 10))
		tag(a.Vacation.Subject != "", ":subject", text(a.Vacation.Subject))
		tag(a.Mailbox != "", ":fcc", text(a.Mailbox))
	case sieve.Notify:
		name = "notify"
		tag(a.Notification.Importance != 2, ":importance", text(strconv.Itoa(a.Notification.Importance)))
		tag(a.Notification.Message != "", ":message", text(a.Notification.Message))
		tag(a.Mailbox != "", ":fcc", text(a.Mailbox))
	case sieve.Pipe:
		name = "pipe"
		tag(a.Program.Try, ":try")
	case sieve.SendReport:
		name = "report"
		tag(a.Report.HeadersOnly, ":headers_only")
	}
	tag(a.Copy, ":copy")
	tag(a.Create, ":create")
	tag(a.SpecialUse != "", ":specialuse", text(a.SpecialUse))
	tag(a.MailboxID != "", ":mailboxid", text(a.MailboxID))
	if len(a.Flags) > 0 {
		list := make([]string, len(a.Flags))
		for i, f := range a.Flags {
			list[i] = text(f)
		}
		tag(true, ":flags", "["+strings.Join(list, ", ")+"]")
	}
	switch a.Kind {
	case sieve.FileInto:
		tag(true, text(a.Mailbox))
	case sieve.Redirect:
		tag(a.List != "", ":list", text(a.List))
		tag(a.List == "", text(a.Address.String()))
	case sieve.Reject:
		tag(true, text(a.Reason))
	case sieve.Vacate:
		tag(true, text(a.Vacation.Reason))
	case sieve.Notify:
		tag(true, text(a.Notification.Method))
	case sieve.Pipe:
		tag(true, text(a.Program.Name))
		for _, arg := range a.Program.Args {
			tag(true, text(arg))
		}
	case sieve.SendReport:
		tag(true, text(a.Report.Feedback), text(a.Report.Message), text(a.Address.String()))
	}
	return strings.Join(append([]string{name}, words...), " ")
}

// text is a string of the language, on one line.
func text(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r\n", `\n`, "\n", `\n`).Replace(s) + `"`
}
