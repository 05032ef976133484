// Command mtad is the mail server and everything that goes with it: one file a
// subcommand, serve.go wires the house.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/compat"
	"mtad/config"
	"mtad/monitor"
	"mtad/plugins/lua/worker"
)

// Exit codes: 1 is a negative answer, the rest are those of sysexits.h.
const (
	exitNo       = 1
	exitUsage    = 64
	exitData     = 65
	exitNoInput  = 66
	exitNoUser   = 67
	exitNoDaemon = 69
	exitBug      = 70
	exitIO       = 74
	exitTemp     = 75
	exitDenied   = 77
	exitConfig   = 78
)

// exitError carries an exit code. Its text goes to standard error unless empty.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == monitor.HelperArg {
		os.Exit(monitor.Helper(os.Args[2:], os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == worker.Arg {
		os.Exit(worker.Main(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if c, ok := compat.Find(filepath.Base(os.Args[0])); ok {
		os.Exit(c.Run(ctx, compatEnv(&global{}, os.Stdin, os.Stdout, os.Stderr), os.Args[1:]))
	}
	os.Exit(run(ctx, newRoot()))
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var diags config.Diagnostics
	var diag *config.Diagnostic
	var ee *exitError
	var answer *admin.Error
	switch {
	case errors.As(err, &diags):
		diags.Write(root.ErrOrStderr(), false)
		return exitConfig
	case errors.As(err, &diag):
		config.Diagnostics{diag}.Write(root.ErrOrStderr(), false)
		return exitConfig
	case errors.As(err, &ee):
		if msg := ee.Error(); msg != "" {
			fmt.Fprintln(root.ErrOrStderr(), "mtad:", msg)
		}
		return ee.code
	case errors.As(err, &answer):
		if answer.Code != admin.BadConfig && !strings.Contains(answer.Text, "\n") {
			answer.Text = "mtad: " + answer.Text
		}
		fmt.Fprintln(root.ErrOrStderr(), answer.Text)
		return int(answer.Code)
	}
	fmt.Fprintln(root.ErrOrStderr(), "mtad:", err)
	return exitUsage
}

// global are the flags of every command.
type global struct {
	config string // of --config; "" means look for it
}

func newRoot() *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:           "mtad",
		Short:         "A mail server: one pipeline of filters, one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVarP(&g.config, "config", "c", "", "configuration file (default: ./mtad-dev/mtad.hcl, then /etc/mtad/mtad.hcl)")
	root.AddCommand(
		newServe(g), newStatus(g), newReload(g), newStop(g), newConfig(g), newFilter(), newPlugin(g),
		newQueue(g), newTrace(g), newLog(g), newReport(g), newDomain(g), newUser(g), newAlias(g), newRoute(g), newMap(g), newSpam(g), newSieve(g), newLua(g),
		newSMTP(g), newMilter(g), newPipeline(g), newDB(g), newMailbox(g), newCheck(g), newVersion(), newCompat(g), newSendmail(g),
	)
	return root
}

// Places where the configuration is looked for.
const (
	devDir        = "mtad-dev"
	systemConfig  = "/etc/mtad/mtad.hcl"
	configName    = "mtad.hcl"
	controlSocket = "control.sock"
)

// configPath is the file of --config, of the environment, of dev mode in this
// directory, or the system's.
func (g *global) configPath() (string, error) {
	for _, named := range []string{g.config, os.Getenv("MTAD_CONFIG")} {
		if named == "" {
			continue
		}
		if _, err := os.Stat(named); err != nil {
			return "", exitf(exitNoInput, "configuration: %w", err)
		}
		return named, nil
	}
	for _, p := range []string{devDir + "/" + configName, systemConfig} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", exitf(exitConfig, "no configuration: neither %s/%s nor %s is there; `mtad serve --dev` makes the first, --config names another", devDir, configName, systemConfig)
}
