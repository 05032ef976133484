package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/script"
	"mtad/directory"
	"mtad/managesieved"
	"mtad/pipeline"
	"mtad/plugins/lua/worker"
	filter "mtad/plugins/sieve"
	"mtad/plugins/spamscore"
	"mtad/sieve"
	"mtad/smtp"
)

func newSieve(g *global) *cobra.Command {
	env := g.scriptEnv()
	return noun("sieve", "Sieve scripts: users' own, and what helps to write any", append(script.Stored("sieve", env), script.Sieve(env)...)...)
}

func newLua(g *global) *cobra.Command {
	env := g.scriptEnv()
	return noun("lua", "Lua scripts: users' own, and what helps to write any", append(script.Stored("lua", env), script.Lua(env)...)...)
}

// scriptEnv is what the commands for scripts have from here.
func (g *global) scriptEnv() *script.Env {
	return &script.Env{
		WithClient: g.withClient, Read: readArgument, Clean: clean, Fail: exitf,
		Output: func(cmd *cobra.Command) func(io.Writer, any, []string, [][]string) error {
			f := addFormat(cmd)
			return func(w io.Writer, list any, head []string, rows [][]string) error {
				return printAny(w, *f, list, func(w io.Writer) error { return printTable(w, head, rows) })
			}
		},
	}
}

// checkScript is what is wrong with a user's script, "" if it can run. Lua is
// looked at in a worker: it is the user's.
func (h *house) checkScript(ctx context.Context, language, user, name, text string) string {
	if language == "lua" {
		if err := worker.Check(ctx, name, text); err != nil {
			return err.Error()
		}
		return ""
	}
	if directory.Language(language) == directory.SpamPreferences {
		return h.checkPreferences(text)
	}
	script, problems, err := managesieved.Check(h.accountOptions(ctx, user), name, text)
	switch {
	case err != nil:
		return err.Error()
	case script != nil:
		return ""
	}
	return strings.TrimSuffix(problems.String(), "\n")
}

// checkPreferences is what is wrong with a user's preferences by the rules that they
// are for.
func (h *house) checkPreferences(text string) string {
	p, release := h.deliveryPipeline()
	defer release()
	for _, step := range p.Steps() {
		if spamscore.Preferences(step.Filter) && step.Mode != pipeline.Off {
			return spamscore.CheckPreferences(step.Filter, text)
		}
	}
	return "nobody reads preferences: the pipeline of local delivery has no filter \"spamscore\" with preferences = store()"
}

// accountOptions are sieveOptions by an account's address; "" is nobody's.
func (h *house) accountOptions(ctx context.Context, address string) sieve.Options {
	mailbox, err := smtp.ParseAddress(address)
	if err != nil {
		mailbox = smtp.Address{}
	}
	return h.sieveOptions(ctx, mailbox)
}

// sieveOptions are those that an account's scripts are compiled with when its mail
// comes: those of the first filter of delivery that runs users' scripts and is not
// off.
func (h *house) sieveOptions(ctx context.Context, mailbox smtp.Address) sieve.Options {
	p, release := h.deliveryPipeline()
	defer release()
	for _, step := range p.Steps() {
		if o, ok := filter.Options(ctx, step.Filter, mailbox); ok && step.Mode != pipeline.Off {
			return o
		}
	}
	return sieve.Options{Without: filter.Unoffered()}
}

// newManageSieve makes a listener's ManageSieve server.
func (h *house) newManageSieve(c *loaded, l listener) (*managesieved.Server, error) {
	cfg := managesieved.Config{
		Directory: h.directory, Authenticate: h.sieveLogin,
		Options: func(ctx context.Context, a managesieved.Account) sieve.Options {
			return h.accountOptions(ctx, a.Address)
		},
		Implicit: l.TLS == "implicit", RequireTLS: l.TLS == "required", Logger: h.log, MaxPerAddress: c.top.PerAddress,
	}
	if l.TLS != "none" {
		cfg.TLS = h.tlsConfig()
	}
	return managesieved.New(cfg)
}

// sieveLogin checks a password for ManageSieve.
func (h *house) sieveLogin(ctx context.Context, login, password string, _ netip.AddrPort) (managesieved.Account, error) {
	u, err := h.directory.Authenticate(ctx, login, password)
	if errors.Is(err, directory.ErrBadPassword) {
		return managesieved.Account{}, managesieved.ErrCredentials
	}
	return managesieved.Account{ID: u.ID, Address: u.Address}, err
}
