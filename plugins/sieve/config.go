package sieve

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"mtad/config"
	"mtad/pipeline"
	lang "mtad/sieve"
)

// Kind is filter "sieve". s finds the users' scripts; nil if there is no store.
func Kind(s Scripts) pipeline.Kind {
	return pipeline.Kind{
		Name: "sieve", Doc: "Runs a Sieve script: one for all, or each recipient's own.",
		Stages: pipeline.At(pipeline.Message, pipeline.Deliver), Options: options,
		New: func(b config.Block, env pipeline.Env) (pipeline.Filter, error) { return newFilter(b, env, s) },
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
}

var options = []config.Option{
	{Name: "script", Type: config.TypePath, Reload: true, Doc: "A script that runs for every recipient, or in the pipeline of a listener for every message. Either this or scripts is written.", Example: `"rules/global.sieve"`},
	{Name: "scripts", Type: config.TypeSource, Reload: true, Doc: "Where each recipient's active script is: store().", Example: "store()", Dovecot: "sieve"},
	{Name: "disable", Type: config.TypeStrings, Values: lang.Extensions(), Reload: true, Doc: "Extensions that scripts can not require.", Example: `["reject", "ereject"]`, Dovecot: "sieve_extensions"},
	{Name: "separator", Type: config.TypeString, Default: "+", Reload: true, Doc: "What stands between user and detail of an address, for :user and :detail.", Example: `"-"`, Postfix: "recipient_delimiter", Dovecot: "recipient_delimiter"},
	{Name: "max_script", Type: config.TypeSize, Default: config.Size(1 << 20), Min: config.Size(1 << 10), Max: config.Size(16 << 20), Reload: true, Doc: "Octets of a script.", Example: "100 * KB", Dovecot: "sieve_max_script_size"},
	{Name: "max_redirects", Type: config.TypeInt, Default: 5, Min: 1, Max: 100, Unit: "redirects", Reload: true, Doc: "How many addresses a script can send one message on to. More is an error of the script.", Example: "1", Dovecot: "sieve_max_redirects"},
	{Name: "max_actions", Type: config.TypeInt, Default: 32, Min: 1, Max: 1000, Unit: "actions", Reload: true, Doc: "How many actions a script can take on one message. More is an error of the script.", Example: "10", Dovecot: "sieve_max_actions"},
	{Name: "cpu", Type: config.TypeDuration, Default: "5s", Min: "10ms", Max: "30s", Reload: true, Doc: "How long a script can run for one message.", Example: `"1s"`, Dovecot: "sieve_max_cpu_time"},
	{Name: "cache", Type: config.TypeInt, Default: 1000, Min: 1, Max: 100000, Unit: "scripts", Reload: true, Doc: "How many users' scripts are kept compiled, within 64 MB of their text.", Example: "100"},
}

// newFilter reads and compiles the script that the block names.
func newFilter(b config.Block, env pipeline.Env, s Scripts) (pipeline.Filter, error) {
	f := &filter{scripts: s, log: env.Log}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.lang = lang.Options{
		Without: f.Disable, Separator: f.Separator,
		Limits: lang.Limits{Script: int(f.MaxScript), Redirects: f.MaxRedirects, Actions: f.MaxActions},
	}
	f.cache = newCache(f.Cache, cacheOctets)
	if err := f.check(b); err != nil {
		return nil, err
	}
	if !b.Has("script") {
		return f, nil
	}
	text, err := f.read()
	if err != nil {
		return nil, b.Errorf("script", "%v", err)
	}
	c := compile(text, f.lang)
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
	case b.Has("scripts") && f.scripts == nil:
		return b.Errorf("scripts", "there is no store here")
	case f.Separator == "":
		return b.Errorf("separator", "separator is empty")
	}
	return nil
}

// read reads the file of the block.
func (f *filter) read() (string, error) {
	st, err := os.Stat(f.Script)
	if err == nil && st.Size() > int64(f.MaxScript) {
		return "", errors.New("the script is larger than max_script")
	}
	if err == nil && !st.Mode().IsRegular() {
		return "", errors.New("not a file")
	}
	text, err := os.ReadFile(f.Script)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return string(text), err
}
