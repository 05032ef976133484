// Package svtest runs test suites that are themselves Sieve scripts, in the form
// that Pigeonhole's .svtest files have: the extension vnd.dovecot.testsuite. A
// suite sets a message, runs commands or whole scripts over it, carries out what
// they decided (in folders and an outbox in memory), and looks at what came of it.
//
// Beside what Pigeonhole has: test_set "spam" (percent) and "virus" (1 to 5) say
// what spamtest and virustest find; test_mailbox_create takes :specialuse and
// :mailboxid; the settings sieve_list_NAME (a file) and sieve_env_NAME make lists
// and items of the environment. vacation and duplicate remember what the suite has
// carried out since its last test_set "message".
package svtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/sieve"
	lang "mtad/sieve"
	"mtad/smtp"
)

// Outcome is what a suite came to.
type Outcome struct {
	Tests    int
	Failures []Failure
}

// Failure is a test that failed.
type Failure struct {
	Test string
	Line int
	Why  string
}

// suite is a run of one file.
type suite struct {
	dir string // of the file, which names in it are relative to
	out io.Writer

	options map[string]string            // of the filter, as HCL values
	maps    map[string]map[string]string // of the filter: options that are maps
	bench   *sieve.Bench
	house   *house

	message *message.Message
	flags   []string // of the message, if it comes from a folder
	from    smtp.Address
	to      smtp.Address
	auth    string
	spam    string // test_set "spam": what spamtest is to find, in percent
	virus   string // test_set "virus": 1 to 5

	script   *lang.Script // compiled last
	binaries map[string]*lang.Script
	results  []lang.Action // of scripts, and of the suite's own commands
	carried  int           // how many of them are carried out
	implicit lang.Action   // the implicit keep, if it is that
	marks    []lang.Mark
	errors   []string
	outbox   []sent

	test    string
	outcome Outcome
}

// sent is a message that was sent.
type sent struct {
	from, to smtp.Address
	m        *message.Message
}

const defaultMessage = "From: sender@example.com\r\nTo: recipient@example.com\r\nSubject: Test\r\nMessage-ID: <test@example.com>\r\n\r\nTest.\r\n"

// Run runs the suite of a file and tells out of each test.
func Run(ctx context.Context, file string, out io.Writer) (Outcome, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Outcome{}, err
	}
	s := &suite{dir: filepath.Dir(file), out: out, options: map[string]string{}, maps: map[string]map[string]string{}, house: newHouse(), binaries: map[string]*lang.Script{}}
	if err := s.setMessage(defaultMessage); err != nil {
		return Outcome{}, err
	}
	if err := s.configure(); err != nil {
		return Outcome{}, err
	}
	opts := s.language()
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return Outcome{}, err
	}
	script, problems := lang.Compile(strings.ReplaceAll(string(text), "${tst.path}", dir), opts)
	if script == nil {
		return Outcome{}, fmt.Errorf("%s:\n%s", file, problems.String())
	}
	_, err = script.Run(ctx, s.env())
	if err != nil {
		return s.outcome, fmt.Errorf("%s: %w", file, err)
	}
	return s.outcome, nil
}

// configure makes the filter anew from the options.
func (s *suite) configure() error {
	var b strings.Builder
	for name, value := range s.options {
		fmt.Fprintf(&b, "%s = %s\n", name, value)
	}
	for name, m := range s.maps {
		fmt.Fprintf(&b, "%s = {\n", name)
		for k, v := range m {
			fmt.Fprintf(&b, "%q = %q\n", k, v)
		}
		b.WriteString("}\n")
	}
	bench, err := sieve.NewBench(b.String(), s.house, time.Now)
	if err != nil {
		return err
	}
	s.bench = bench
	return nil
}

// language is what the suite and its scripts may use: all there is.
func (s *suite) language() lang.Options {
	opts := s.bench.Language()
	opts.Without, opts.Custom = nil, s.commands()
	opts.Limits.Steps = 1 << 40 // a suite is many runs
	opts.Include = func(location, name string) (string, error) {
		dir := "included"
		if location == "global" {
			dir = "included-global"
		}
		text, err := os.ReadFile(filepath.Join(s.dir, dir, filepath.Base(name)+".sieve"))
		return string(text), err
	}
	return opts
}

func (s *suite) setMessage(text string) error {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	m, err := message.Parse(message.FromBytes([]byte(text)))
	if err == nil {
		s.show(m, nil)
	}
	return err
}

// show makes a message the one at hand. Its envelope is what its fields say.
func (s *suite) show(m *message.Message, flags []string) {
	s.message, s.flags = m, flags
	s.from = named(m.Header(), smtp.Address{Local: "sender", Domain: "example.com"}, "Return-Path", "Sender", "From")
	s.to = named(m.Header(), smtp.Address{Local: "recipient", Domain: "example.com"}, "Envelope-To", "To")
}

// named is the first address in the first of those fields that there is.
func named(h *message.Header, none smtp.Address, fields ...string) smtp.Address {
	for _, f := range fields {
		v, ok := h.Get(f)
		if !ok {
			continue
		}
		for _, one := range message.ParseAddressList(v) {
			if a, err := smtp.ParseAddress(one.Local + "@" + one.Domain); err == nil {
				return a
			}
		}
	}
	return none
}

// mailbox is the account that mail is for.
func (s *suite) mailbox() smtp.Address {
	local, _, _ := strings.Cut(s.to.Local, "+")
	return smtp.Address{Local: local, Domain: s.to.Domain}
}

// view is the message and its envelope as the filter sees them.
func (s *suite) view() *pipeline.View {
	mailing := pipeline.Mailing{ID: message.NewID(time.Now()), Time: time.Now(), Sender: s.from, Rcpts: []pipeline.Recipient{{ID: 1, Addr: s.to}}}
	client := pipeline.Client{Protocol: "smtp", Hostname: "mx." + s.to.Domain}
	return pipeline.NewView(client, mailing, s.message).AtRcpt(1, s.mailbox())
}

func (s *suite) env() lang.Env {
	e := s.bench.Env(s.view())
	e.Envelope.Auth, e.Flags = s.auth, s.flags
	if p, err := strconv.ParseFloat(s.spam, 64); err == nil {
		e.Spam = func() (float64, bool) { return p, true }
	}
	if n, err := strconv.Atoi(s.virus); err == nil {
		e.Virus = func() (int, bool) { return n, true }
	}
	e.Log = func(line int, text string) { fmt.Fprintf(s.out, "%d: %s\n", line, text) }
	return e
}

// renew gives the running suite a new message or envelope to look at.
func (s *suite) renew(call *lang.Call) {
	s.collect(call)
	*call.Env() = s.env()
	call.Change()
}

// collect takes over what the suite's own commands have decided.
func (s *suite) collect(call *lang.Call) {
	s.take(call.Take())
}

// carryOut does what was decided, in folders and outbox.
func (s *suite) carryOut(ctx context.Context) error {
	if s.carried > 0 && s.carried == len(s.results) {
		return nil
	}
	r := lang.Result{Actions: s.results[s.carried:], Marks: s.marks}
	s.carried, s.marks = len(s.results), nil
	if !replacesKeep(s.results) {
		s.implicit.Kind, s.implicit.Implicit = lang.Keep, true
		r.Actions = append(r.Actions[:len(r.Actions):len(r.Actions)], s.implicit)
	}
	fate, v, err := s.bench.Plan(ctx, s.view(), s.mailbox(), r)
	if err != nil {
		return err
	}
	if fate.Refused() {
		if s.from.IsZero() {
			return nil
		}
		return s.send(smtp.Address{}, s.from, []byte("From: <postmaster@"+s.to.Domain+">\r\nTo: "+s.from.Path()+"\r\nAuto-Submitted: auto-replied (rejected)\r\nSubject: Rejected\r\n\r\n"+fate.Reply.Text+"\r\n"))
	}
	return s.perform(ctx, v)
}

func replacesKeep(list []lang.Action) bool {
	for _, a := range list {
		switch a.Kind {
		case lang.Vacate, lang.Notify, lang.SendReport:
		case lang.Redirect, lang.FileInto, lang.Pipe:
			if !a.Copy {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// perform does what the delivery agent does with a plan.
func (s *suite) perform(ctx context.Context, v *pipeline.View) error {
	plan, own := v.Plan(), v.MessageFor(1)
	if v.Message() != nil {
		own = v.Message()
	}
	files := plan.Files
	if plan.Keeps() {
		files = append(files[:len(files):len(files)], pipeline.FileInto{Folder: v.Folder(), Flags: plan.Flags})
	}
	for _, f := range files {
		m := own
		if f.Message != nil {
			m = f.Message
		}
		s.house.file(f.Folder, m, f.Flags)
	}
	for _, to := range plan.Redirects {
		m := own
		if to.Message != nil {
			m = to.Message
		}
		b, err := message.ReadAll(m.Bytes())
		if err != nil {
			return err
		}
		if err := s.send(s.from, to.Addr, b); err != nil {
			return err
		}
	}
	for _, re := range plan.Responses {
		if re.Once != "" {
			if n, err := s.house.Add(ctx, re.Once, 1, re.For); err != nil || n > 1 {
				continue
			}
		}
		if err := s.send(smtp.Address{}, re.To, re.Data); err != nil {
			return err
		}
		if re.Fcc != nil {
			s.house.file(re.Fcc.Folder, s.outbox[len(s.outbox)-1].m, re.Fcc.Flags)
		}
	}
	for _, mark := range plan.Marks {
		if err := s.house.Set(ctx, mark.Key, nil, mark.For); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) send(from, to smtp.Address, data []byte) error {
	m, err := message.Parse(message.FromBytes(data))
	if err == nil {
		s.outbox = append(s.outbox, sent{from, to, m})
	}
	return err
}

// errNoMessage means that a suite asks for a message that is not there.
var errNoMessage = errors.New("there is no such message")

// fetch makes a message that was sent or filed the one at hand.
func (s *suite) fetch(folder string, smtpOut bool, n int64) error {
	if smtpOut {
		if n < 0 || n >= int64(len(s.outbox)) {
			return errNoMessage
		}
		one := s.outbox[n]
		s.message, s.flags, s.from, s.to = one.m, nil, one.from, one.to
		return nil
	}
	list := s.house.folders[inbox(folder)]
	if n < 0 || n >= int64(len(list)) {
		return errNoMessage
	}
	s.show(list[n].m, list[n].flags)
	return nil
}

// reset forgets what was decided.
func (s *suite) reset() { s.results, s.carried, s.implicit, s.marks = nil, 0, lang.Action{}, nil }
