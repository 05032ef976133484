package svtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mtad/config"
	"mtad/plugins/sieve"
	lang "mtad/sieve"
	"mtad/sieve/mail"
	"mtad/smtp"
)

// Extension is the capability that suites require.
const Extension = "vnd.dovecot.testsuite"

// errFailed ends a test that test_fail has failed.
var errFailed = errors.New("the test failed")

// row is a command or test of the extension.
type row struct {
	name   string
	test   bool
	match  bool // the last parameter are keys
	block  bool
	tags   []lang.CustomTag
	params []lang.CustomParam
	run    func(ctx context.Context, c *lang.Call) (bool, error)
}

// commands are what the extension adds to the language.
func (s *suite) commands() []lang.Custom {
	one := func(name string) []lang.CustomParam {
		return []lang.CustomParam{{Name: name, Kind: lang.StringArg}}
	}
	index := lang.CustomTag{Name: "index", Takes: lang.NumberArg}
	where := []lang.CustomTag{{Name: "smtp"}, {Name: "folder", Takes: lang.StringArg}}
	folder := []lang.CustomTag{{Name: "specialuse", Takes: lang.StringArg}, {Name: "mailboxid", Takes: lang.StringArg}}
	number := []lang.CustomParam{{Name: "index", Kind: lang.NumberArg}}
	keys := []lang.CustomParam{{Name: "keys", Kind: lang.StringsArg}}
	rows := []row{
		{name: "test", block: true, params: one("name"), run: s.runTest},
		{name: "test_fail", params: one("reason"), run: s.fail},
		{name: "test_set", params: []lang.CustomParam{{Name: "object", Kind: lang.StringArg}, {Name: "value", Kind: lang.StringArg}}, run: s.set},
		{name: "test_script_compile", test: true, params: one("script"), run: s.compile},
		{name: "test_script_run", test: true, tags: []lang.CustomTag{{Name: "append_result"}}, run: s.runScript},
		{name: "test_multiscript", test: true, params: []lang.CustomParam{{Name: "scripts", Kind: lang.StringsArg}}, run: s.multiscript},
		{name: "test_result_execute", test: true, run: s.execute},
		{name: "test_result_action", test: true, match: true, tags: []lang.CustomTag{index}, params: keys, run: s.action},
		{name: "test_result_reset", run: s.resetResult},
		{name: "test_result_print", run: s.print},
		{name: "test_error", test: true, match: true, tags: []lang.CustomTag{index}, params: keys, run: s.errorText},
		{name: "test_config_set", params: []lang.CustomParam{{Name: "setting", Kind: lang.StringArg}, {Name: "value", Kind: lang.StringArg}}, run: s.configSet},
		{name: "test_config_unset", params: one("setting"), run: s.configUnset},
		{name: "test_config_reload", tags: []lang.CustomTag{{Name: "extension", Takes: lang.StringArg}}, run: s.configReload},
		{name: "test_message", tags: where, params: number, run: s.takeMessage},
		{name: "test_message", test: true, tags: where, params: number, run: s.hasMessage},
		{name: "test_mailbox_create", tags: folder, params: one("mailbox"), run: s.createMailbox},
		{name: "test_mailbox_delete", params: one("mailbox"), run: s.deleteMailbox},
		{name: "test_binary_load", params: one("name"), run: s.loadBinary},
		{name: "test_binary_save", params: one("name"), run: s.saveBinary},
		{name: "test_imap_metadata_set", tags: []lang.CustomTag{{Name: "mailbox", Takes: lang.StringArg}}, params: []lang.CustomParam{{Name: "annotation", Kind: lang.StringArg}, {Name: "value", Kind: lang.StringArg}}, run: s.setMetadata},
	}
	out := make([]lang.Custom, len(rows))
	for i, r := range rows {
		out[i] = lang.Custom{Extension: Extension, Name: r.name, Test: r.test, Tags: r.tags, Params: r.params, Block: r.block, Match: r.match, Run: r.run}
	}
	return out
}

// first is the first string of an argument.
func first(c *lang.Call, i int) (string, error) {
	list, err := c.Strings(i)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0], nil
}

// runTest runs one test; that it fails ends it alone.
func (s *suite) runTest(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err != nil {
		return false, err
	}
	s.outcome.Tests++
	s.test = name
	defer func() { s.test = "" }()
	before, line := len(s.outcome.Failures), c.Line()
	if err := c.Block(); err != nil && !errors.Is(err, errFailed) {
		if errors.Is(err, lang.ErrLimit) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return false, err
		}
		s.outcome.Failures = append(s.outcome.Failures, Failure{name, line, err.Error()})
	}
	word := "ok"
	if len(s.outcome.Failures) > before {
		f := s.outcome.Failures[len(s.outcome.Failures)-1]
		word = fmt.Sprintf("FAILED, line %d: %s", f.Line, f.Why)
	}
	fmt.Fprintf(s.out, "%2d: %s: %s\n", s.outcome.Tests, name, word)
	return false, nil
}

func (s *suite) fail(_ context.Context, c *lang.Call) (bool, error) {
	why, err := first(c, 0)
	if err != nil {
		return false, err
	}
	s.outcome.Failures = append(s.outcome.Failures, Failure{s.test, c.Line(), why})
	return false, errFailed
}

func (s *suite) set(_ context.Context, c *lang.Call) (bool, error) {
	object, err := first(c, 0)
	if err != nil {
		return false, err
	}
	value, err := first(c, 1)
	if err != nil {
		return false, err
	}
	switch object {
	case "message":
		s.house.marks = map[string]mark{} // whom it answered before is another story
		err = s.setMessage(value)
	case "envelope.from":
		s.from, err = address(value)
	case "envelope.to", "envelope.orig_to":
		s.to, err = address(value)
	case "envelope.auth":
		s.auth = value
	case "spam":
		s.spam = value
	case "virus":
		s.virus = value
	default:
		return false, fmt.Errorf("test_set: there is no object %q; there are message, envelope.from, envelope.to, envelope.orig_to, envelope.auth, spam and virus", object)
	}
	if err != nil {
		return false, fmt.Errorf("test_set %q: %w", object, err)
	}
	s.renew(c)
	return false, nil
}

func address(s string) (smtp.Address, error) {
	s = strings.Trim(strings.TrimSpace(s), "<>")
	if s == "" {
		return smtp.Address{}, nil
	}
	a, rest, err := smtp.ParsePath("<"+s+">", false)
	if err == nil && rest != "" {
		err = fmt.Errorf("unexpected %q", rest)
	}
	return a, err
}

// path is a file that the suite names.
func (s *suite) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// compileFile compiles a script; what is wrong with it becomes the errors.
func (s *suite) compileFile(name string) *lang.Script {
	s.errors = nil
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		s.errors = []string{err.Error()}
		return nil
	}
	script, problems := lang.Compile(string(text), s.language())
	for _, p := range problems {
		if p.Severity == lang.Error {
			s.errors = append(s.errors, p.Brief())
		}
	}
	if script == nil {
		s.errors = append(s.errors, "validation failed") // as Pigeonhole counts
	}
	return script
}

func (s *suite) compile(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err != nil {
		return false, err
	}
	s.script = s.compileFile(name)
	return s.script != nil, nil
}

// runOne runs a script over the message at hand; false if it fails.
func (s *suite) runOne(ctx context.Context, script *lang.Script) (lang.Result, bool) {
	limited, cancel := context.WithTimeout(ctx, s.bench.CPU())
	defer cancel()
	r, err := script.Run(limited, s.env())
	if err != nil {
		s.errors = append(s.errors, err.Error())
	}
	return r, err == nil
}

// take adds what a script has decided.
func (s *suite) take(r lang.Result) {
	for _, a := range r.Actions {
		if a.Implicit {
			s.implicit = a
			continue
		}
		s.results = append(s.results, a)
	}
	s.marks = append(s.marks, r.Marks...)
}

var errNoScript = errors.New("test_script_run: no script was compiled")

func (s *suite) runScript(ctx context.Context, c *lang.Call) (bool, error) {
	if s.script == nil {
		return false, errNoScript
	}
	if _, _, given, _ := c.Tag("append_result"); !given {
		s.reset()
	}
	s.errors = nil
	r, ok := s.runOne(ctx, s.script)
	if ok {
		s.take(r)
	}
	return ok, nil
}

// multiscript runs scripts one after the other, as long as the implicit keep is
// on.
func (s *suite) multiscript(ctx context.Context, c *lang.Call) (bool, error) {
	names, err := c.Strings(0)
	if err != nil {
		return false, err
	}
	s.reset()
	for _, name := range names {
		script := s.compileFile(name)
		if script == nil {
			return false, nil
		}
		r, ok := s.runOne(ctx, script)
		if !ok {
			return false, nil
		}
		s.take(r)
		last := r.Actions[len(r.Actions)-1]
		if !last.Implicit {
			break
		}
		if m, ok := last.Message.(*mail.Message); ok {
			s.message = m.Mail()
		}
		s.flags = last.Flags
	}
	return s.executed(ctx), nil
}

func (s *suite) execute(ctx context.Context, c *lang.Call) (bool, error) {
	s.collect(c)
	return s.executed(ctx), nil
}

// executed carries out what was decided; false if that fails.
func (s *suite) executed(ctx context.Context) bool {
	if err := s.carryOut(ctx); err != nil {
		s.errors = append(s.errors, err.Error())
		return false
	}
	return true
}

// actionNames are those of Pigeonhole.
var actionNames = map[lang.ActionKind]string{
	lang.Keep: "keep", lang.FileInto: "store", lang.Redirect: "redirect", lang.Discard: "discard", lang.Reject: "reject",
	lang.Vacate: "vacation", lang.Notify: "notify", lang.Pipe: "pipe", lang.SendReport: "report",
}

// at picks from a list by the tag :index, from 1; all of it without.
func at(c *lang.Call, list []string) ([]string, error) {
	n, _, given, err := c.Tag("index")
	switch {
	case err != nil || !given:
		return list, err
	case n < 1 || n > int64(len(list)):
		return nil, nil
	}
	return list[n-1 : n], nil
}

func (s *suite) action(_ context.Context, c *lang.Call) (bool, error) {
	s.collect(c)
	var names []string
	for _, a := range s.results {
		names = append(names, actionNames[a.Kind])
	}
	names, err := at(c, names)
	if err != nil {
		return false, err
	}
	return c.Match(names)
}

func (s *suite) resetResult(_ context.Context, c *lang.Call) (bool, error) {
	c.Change()
	s.reset()
	s.outbox = nil
	return false, nil
}

func (s *suite) print(_ context.Context, c *lang.Call) (bool, error) {
	s.collect(c)
	for _, a := range s.results {
		fmt.Fprintf(s.out, "    %s\n", a)
	}
	return false, nil
}

func (s *suite) errorText(_ context.Context, c *lang.Call) (bool, error) {
	list, err := at(c, s.errors)
	if err != nil {
		return false, err
	}
	return c.Match(list)
}

// settings finds the option that stands for a setting of Dovecot's.
func settings() map[string]config.Option {
	out := map[string]config.Option{}
	for _, o := range sieve.Kind(nil).Options {
		if o.Dovecot != "" {
			out[o.Dovecot] = o
		}
	}
	return out
}

// ignored are settings of Dovecot's that nothing here corresponds to, and that
// change nothing that a suite could see.
func ignored(name string) bool {
	return !strings.HasPrefix(name, "sieve_") && name != "recipient_delimiter" || strings.HasSuffix(name, "sieve_extensions") ||
		name == "sieve_global_extensions"
}

// setMap sets an option that is a map: the programs of a directory, an item of
// the environment (sieve_env_NAME), the file of a list (sieve_list_NAME).
func (s *suite) setMap(setting, value string) (bool, error) {
	put := func(option, key, value string) {
		if s.maps[option] == nil {
			s.maps[option] = map[string]string{}
		}
		s.maps[option][key] = value
	}
	if name, ok := strings.CutPrefix(setting, "sieve_env_"); ok {
		put("environment", name, value)
		return true, nil
	}
	path, err := filepath.Abs(s.path(value))
	if err != nil {
		return true, err
	}
	if name, ok := strings.CutPrefix(setting, "sieve_list_"); ok {
		put("lists", name, path)
		return true, nil
	}
	if !strings.HasSuffix(setting, "_bin_dir") {
		return false, nil
	}
	list, err := os.ReadDir(path)
	for _, e := range list {
		put("commands", e.Name(), filepath.Join(path, e.Name()))
	}
	return true, err
}

func (s *suite) configSet(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err != nil {
		return false, err
	}
	value, err := first(c, 1)
	if err != nil || ignored(name) {
		return false, err
	}
	if done, err := s.setMap(name, value); done {
		return false, err
	}
	o, ok := settings()[name]
	if !ok {
		return false, s.without(c.Line(), name)
	}
	text, err := hclValue(o, value)
	if err != nil {
		return false, fmt.Errorf("test_config_set %q: %w", name, err)
	}
	s.options[o.Name] = text
	return false, nil
}

// without says that there is no such setting: the test at hand fails, or this as
// a test of its own, and those behind it run nevertheless.
func (s *suite) without(line int, name string) error {
	err := fmt.Errorf("test_config_set: nothing here stands for the setting %q", name)
	if s.test != "" {
		return err
	}
	s.outcome.Tests++
	s.outcome.Failures = append(s.outcome.Failures, Failure{"a setting", line, err.Error()})
	fmt.Fprintf(s.out, "%2d: a setting: FAILED, line %d: %v\n", s.outcome.Tests, line, err)
	return nil
}

// hclValue writes a value of Dovecot's as the option wants it.
func hclValue(o config.Option, value string) (string, error) {
	switch o.Type {
	case config.TypeDuration:
		d, err := dovecotTime(value)
		return fmt.Sprintf("%q", d.String()), err
	case config.TypeInt, config.TypeFloat:
		return value, nil
	case config.TypeSize:
		value = strings.ToUpper(value)
		for _, unit := range []string{"K", "M", "G"} {
			if n, ok := strings.CutSuffix(value, unit); ok {
				return n + " * " + unit + "B", nil
			}
		}
		return value, nil
	case config.TypeString, config.TypePath:
		return fmt.Sprintf("%q", value), nil
	}
	return "", fmt.Errorf("the option %s can not be set by a suite", o.Name)
}

// dovecotTime reads "1d", "30s", "2h"; a bare number is seconds.
func dovecotTime(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		d, err := time.ParseDuration(n + "h")
		return 24 * d, err
	}
	if s != "" && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		s += "s"
	}
	return time.ParseDuration(s)
}

func (s *suite) configUnset(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if o, ok := settings()[name]; ok && err == nil {
		delete(s.options, o.Name)
	}
	return false, err
}

func (s *suite) configReload(_ context.Context, c *lang.Call) (bool, error) {
	if err := s.configure(); err != nil {
		return false, err
	}
	s.renew(c)
	return false, nil
}

// message reads which message is meant.
func (s *suite) which(c *lang.Call) (folder string, out bool, n int64, err error) {
	_, list, given, err := c.Tag("folder")
	_, _, out, _ = c.Tag("smtp")
	if err == nil && given == out {
		err = errors.New("test_message wants :smtp or :folder")
	}
	if given && len(list) > 0 {
		folder = list[0]
	}
	return folder, out, c.Number(0), err
}

func (s *suite) takeMessage(ctx context.Context, c *lang.Call) (bool, error) {
	ok, err := s.hasMessage(ctx, c)
	if err == nil && !ok {
		err = errNoMessage
	}
	return ok, err
}

func (s *suite) hasMessage(_ context.Context, c *lang.Call) (bool, error) {
	folder, out, n, err := s.which(c)
	if err != nil {
		return false, err
	}
	if err := s.fetch(folder, out, n); err != nil {
		return false, nil //nolint:nilerr // that it is not there is the answer
	}
	s.renew(c)
	return true, nil
}

func (s *suite) createMailbox(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err != nil {
		return false, err
	}
	name = inbox(name)
	if _, ok := s.house.folders[name]; !ok {
		s.house.folders[name] = nil
	}
	if _, use, given, err := c.Tag("specialuse"); err != nil {
		return false, err
	} else if given {
		s.house.uses[strings.ToLower(use[0])] = name
	}
	_, id, given, err := c.Tag("mailboxid")
	if given && err == nil {
		s.house.ids[id[0]] = name
	}
	return false, err
}

func (s *suite) deleteMailbox(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	delete(s.house.folders, inbox(name))
	return false, err
}

// loadBinary takes back a script that was saved: a compiled script is immutable,
// and saving it is keeping it.
func (s *suite) loadBinary(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err == nil && s.binaries[name] == nil {
		err = fmt.Errorf("test_binary_load: nothing was saved as %q", name)
	}
	s.script = s.binaries[name]
	return false, err
}

func (s *suite) saveBinary(_ context.Context, c *lang.Call) (bool, error) {
	name, err := first(c, 0)
	if err == nil && s.script == nil {
		err = errNoScript
	}
	s.binaries[name] = s.script
	return false, err
}

func (s *suite) setMetadata(_ context.Context, c *lang.Call) (bool, error) {
	_, list, given, err := c.Tag("mailbox")
	if err != nil {
		return false, err
	}
	mailbox := ""
	if given && len(list) > 0 {
		mailbox = inbox(list[0])
	}
	name, err := first(c, 0)
	if err != nil {
		return false, err
	}
	value, err := first(c, 1)
	s.house.annotations[mailbox+"\x00"+strings.ToLower(name)] = value
	return false, err
}
