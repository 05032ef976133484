package sieve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"mtad/config"
	"mtad/internal/command"
	"mtad/lookup"
	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/sieve/mail"
	"mtad/smtp"
)

// Kind is filter "sieve". u knows the users; nil if there is no store.
func Kind(u Users) pipeline.Kind {
	return pipeline.Kind{
		Name: "sieve", Doc: "Runs a Sieve script: one for all, or each recipient's own.",
		Stages: pipeline.At(pipeline.Message, pipeline.Deliver), Options: options,
		New: func(b config.Block, env pipeline.Env) (pipeline.Filter, error) { return newFilter(b, env, u) },
	}
}

type settings struct {
	Script       string        `mtad:"script"`
	Scripts      config.Source `mtad:"scripts"`
	Disable      []string      `mtad:"disable"`
	Separator    string        `mtad:"separator"`
	MaxScript    config.Size   `mtad:"max_script"`
	MaxRedirects int           `mtad:"max_redirects"`
	MaxActions   int           `mtad:"max_actions"`
	CPU          time.Duration `mtad:"cpu"`
	Cache        int           `mtad:"cache"`

	Global          string            `mtad:"global"`
	Commands        map[string]string `mtad:"commands"`
	Lists           map[string]string `mtad:"lists"`
	Environment     map[string]string `mtad:"environment"`
	SpamMax         float64           `mtad:"spam_max"`
	VirusTag        string            `mtad:"virus_tag"`
	VacationMin     time.Duration     `mtad:"vacation_min"`
	VacationDefault time.Duration     `mtad:"vacation_default"`
	VacationMax     time.Duration     `mtad:"vacation_max"`
	DuplicateMax    time.Duration     `mtad:"duplicate_max"`
}

var options = []config.Option{
	{Name: "script", Type: config.TypePath, Reload: true, Doc: "A script that runs for every recipient, or in the pipeline of a listener for every message. Either this or scripts is written.", Example: `"rules/global.sieve"`},
	{Name: "scripts", Type: config.TypeSource, Reload: true, Doc: "Where each recipient's active script is: store().", Example: "store()", Dovecot: "sieve"},
	{Name: "disable", Type: config.TypeStrings, Values: lang.Extensions(), Reload: true, Doc: "Extensions that scripts can not require.", Example: `["reject", "ereject"]`, Dovecot: "sieve_extensions"},
	{Name: "separator", Type: config.TypeString, Default: "+", Reload: true, Doc: "What stands between user and detail of an address, for :user and :detail: each character does.", Example: `"-"`, Postfix: "recipient_delimiter", Dovecot: "recipient_delimiter"},
	{Name: "max_script", Type: config.TypeSize, Default: config.Size(1 << 20), Min: config.Size(1 << 10), Max: config.Size(16 << 20), Reload: true, Doc: "Octets of a script.", Example: "100 * KB", Dovecot: "sieve_max_script_size"},
	{Name: "max_redirects", Type: config.TypeInt, Default: 5, Min: 1, Max: 100, Unit: "redirects", Reload: true, Doc: "How many addresses a script can send one message on to. More is an error of the script.", Example: "1", Dovecot: "sieve_max_redirects"},
	{Name: "max_actions", Type: config.TypeInt, Default: 32, Min: 1, Max: 1000, Unit: "actions", Reload: true, Doc: "How many actions a script can take on one message. More is an error of the script.", Example: "10", Dovecot: "sieve_max_actions"},
	{Name: "cpu", Type: config.TypeDuration, Default: "5s", Min: "10ms", Max: "30s", Reload: true, Doc: "How long a script can run for one message.", Example: `"1s"`, Dovecot: "sieve_max_cpu_time"},
	{Name: "global", Type: config.TypePath, Reload: true, Doc: "A directory of scripts that others can include as global: NAME.sieve.", Example: `"/etc/mtad/sieve"`, Dovecot: "sieve_global"},
	{Name: "commands", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Programs that scripts can run by pipe, filter and execute: names, and a program's whole path with its first arguments. They run as the server's user, before the reply, with nothing but PATH in their environment, for 30 s at most.", Example: `{ archive = "/usr/local/bin/archive --quiet" }`, Dovecot: "sieve_pipe_bin_dir"},
	{Name: "lists", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Lists for :list and redirect :list: names, and files with an entry a line. They are read again when they change.", Example: `{ friends = "/etc/mtad/friends" }`},
	{Name: "environment", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Items vnd.dovecot.config.NAME of the test environment.", Example: `{ site = "Berlin" }`},
	{Name: "spam_max", Type: config.TypeFloat, Default: 15.0, Min: 0.1, Max: 1000.0, Unit: "points", Reload: true, Doc: "The score that the test spamtest takes for surely spam.", Example: "10.0", Dovecot: "sieve_spamtest_max_value"},
	{Name: "virus_tag", Type: config.TypeString, Default: "virus", Reload: true, Doc: "The tag that holds the value of the test virustest, 1 (none) to 5 (surely one).", Example: `"clamav"`, Dovecot: "sieve_virustest_status_header"},
	{Name: "vacation_min", Type: config.TypeDuration, Default: "24h", Min: "1s", Max: "8760h", Reload: true, Doc: "The least time between two vacation answers to one sender that :days can ask for.", Example: `"1h"`, Dovecot: "sieve_vacation_min_period"},
	{Name: "vacation_default", Type: config.TypeDuration, Default: "168h", Min: "1s", Max: "8760h", Reload: true, Doc: "That time where a script does not say it.", Example: `"72h"`, Dovecot: "sieve_vacation_default_period"},
	{Name: "vacation_max", Type: config.TypeDuration, Default: "8760h", Min: "192h", Max: "87600h", Reload: true, Doc: "The longest that it can be.", Example: `"720h"`, Dovecot: "sieve_vacation_max_period"},
	{Name: "duplicate_max", Type: config.TypeDuration, Default: "168h", Min: "1s", Max: "8760h", Reload: true, Doc: "How long the test duplicate remembers a message, at most and where a script does not say it.", Example: `"24h"`, Dovecot: "sieve_duplicate_max_period"},
	{Name: "cache", Type: config.TypeInt, Default: 1000, Min: 1, Max: 100000, Unit: "scripts", Reload: true, Doc: "How many users' scripts are kept compiled, within 64 MB of their text.", Example: "100"},
}

// Unoffered are the extensions of the language that no filter offers: scripts are
// not run at IMAP's events, and imapsieve is for servers where they are (RFC 6785,
// 2.1).
func Unoffered() []string { return []string{"imapsieve"} }

// newFilter reads and compiles the script that the block names.
func newFilter(b config.Block, env pipeline.Env, u Users) (pipeline.Filter, error) {
	f := &filter{users: u, log: env.Log, now: env.Now}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if f.now == nil {
		f.now = time.Now
	}
	f.lang = lang.Options{
		Without: append(Unoffered(), f.Disable...), Separator: f.Separator, Programs: slices.Sorted(maps.Keys(f.Commands)),
		Limits: lang.Limits{
			Script: int(f.MaxScript), Redirects: f.MaxRedirects, Actions: f.MaxActions,
			VacationMin: f.VacationMin, VacationDefault: f.VacationDefault, VacationMax: f.VacationMax, DuplicateMax: f.DuplicateMax,
		},
	}
	if len(f.Commands) == 0 {
		f.lang.Without = append(f.lang.Without, "vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute")
	}
	f.cache = newCache(f.Cache, cacheOctets)
	if err := f.check(b); err != nil {
		return nil, err
	}
	var err error
	if f.commands, err = command.Parse(f.Commands); err != nil {
		return nil, b.Errorf("commands", "%v", err)
	}
	f.lists = lists{}
	for name, path := range f.Lists {
		if f.lists[name], err = lookup.OpenFile(path, lookup.Options{}); err != nil {
			return nil, b.Errorf("lists", "%s: %v", name, bare(err))
		}
	}
	if !b.Has("script") {
		return f, nil
	}
	text, err := readScript(f.Script, int64(f.MaxScript))
	if err != nil {
		return nil, b.Errorf("script", "%v", err)
	}
	c := compile(text, f.optionsFor(f.include(context.Background(), smtp.Address{})))
	if c.script == nil {
		return nil, b.Errorf("script", "%s: %s", f.Script, strings.TrimSuffix(c.problems.String(), "\n"))
	}
	for _, p := range c.problems {
		f.log.Warn("sieve script", "script", f.Script, "problem", p.Brief())
	}
	f.one = c
	return f, nil
}

// check finds blocks that name no script, or more than one place of them.
func (f *filter) check(b config.Block) error {
	onlyStore := !slices.ContainsFunc(f.Scripts, func(l config.Lookup) bool { return l.Kind != config.LookupStore })
	switch {
	case b.Has("script") && b.Has("scripts"):
		return b.Errorf("scripts", "script and scripts exclude each other: write two filters")
	case !b.Has("script") && !b.Has("scripts"):
		return b.Errorf("", "filter sieve wants script or scripts")
	case b.Has("scripts") && (len(f.Scripts) == 0 || !onlyStore):
		return b.Errorf("scripts", "scripts of users are looked up in store() only")
	case b.Has("scripts") && f.users == nil:
		return b.Errorf("scripts", "there is no store here")
	case f.Separator == "":
		return b.Errorf("separator", "separator is empty")
	}
	return nil
}

// bare is the error of a file without its path.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

var (
	errNoFile   = errors.New("not a file")
	errTooLarge = errors.New("the script is larger than max_script")
)

// lists are the lists of the option lists, by name.
type lists map[string]*lookup.File

// named finds a list: by its name, or by that of an address book of this name
// (RFC 6134, 2.6).
func (l lists) named(name string) *lookup.File {
	return l[strings.TrimPrefix(name, ":addrbook:")]
}

// Valid reports whether there is such a list.
func (l lists) Valid(name string) bool { return l.named(name) != nil }

// Contains looks a value up.
func (l lists) Contains(_ context.Context, list, value string) (bool, error) {
	t := l.named(list)
	if t == nil {
		return false, nil
	}
	_, ok := t.Get(value)
	return ok, nil
}

// programs runs the programs of the option commands.
type programs struct{ command.Set }

// Filter passes the message through a program.
func (p programs) Filter(ctx context.Context, m lang.Message, program string, args []string) (lang.Message, bool, error) {
	whole, ok := m.(*mail.Message)
	if !ok {
		return m, false, nil
	}
	out, err := p.Run(ctx, program, args, message.NewReader(whole.Mail().Bytes()), false)
	if err != nil || out.Status != 0 || len(out.Stdout) == 0 || len(out.Stdout) >= command.MaxOutput {
		return m, false, ctx.Err()
	}
	changed, err := message.Parse(message.FromBytes(crlf(out.Stdout)))
	if err != nil {
		return m, false, ctx.Err()
	}
	return whole.With(changed), true, nil
}

// Execute runs a program.
func (p programs) Execute(ctx context.Context, in lang.Input, program string, args []string) ([]byte, bool, error) {
	var stdin io.Reader = strings.NewReader(in.Text)
	if m, ok := in.Message.(*mail.Message); ok {
		stdin = message.NewReader(m.Mail().Bytes())
	}
	out, err := p.Run(ctx, program, args, stdin, false)
	if err != nil || out.Status != 0 {
		return nil, false, ctx.Err()
	}
	return out.Stdout, true, nil
}

// crlf ends the lines of what a program wrote as mail's lines end.
func crlf(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// version is the program's.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
