package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
)

// Lua are the commands that only Lua has.
func Lua(env *Env) []*cobra.Command {
	return []*cobra.Command{newCheck(env), newTest(env), newRun(env), newRepl(env)}
}

func newCheck(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Tell what is wrong with a script in a file or on standard input", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := compile(env, cmd, fileArgument(args))
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good: asked at %s; reads %s; writes %s\n", p.Name, p.Stages, orNothing(p.Reads), orNothing(p.Writes))
			return nil
		},
	}
}

func orNothing(f pipeline.Facts) string {
	if f == 0 {
		return "nothing"
	}
	return f.String()
}

func compile(env *Env, cmd *cobra.Command, file string) (*engine.Program, error) {
	text, err := env.Read(file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	p, err := engine.Compile(scriptName(file), text)
	if err != nil {
		return nil, env.Fail(exitData, "%s", env.Clean(err.Error()))
	}
	return p, nil
}

func scriptName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return filepath.Base(file)
}

func newTest(env *Env) *cobra.Command {
	s := &scene{}
	var trace string
	cmd := &cobra.Command{
		Use: "test SCRIPT [MESSAGE]", Short: "Say what a script would do with a message", Args: cobra.RangeArgs(1, 2),
		Long: `Run a script over a message in a file ("-" is standard input), at every stage that
it has a function for, and print what it says. Nothing is sent or stored: what
the script asks for is applied to the message in memory, so that later stages
see it, and kv is empty and forgotten afterwards.

--trace takes the envelope, the client and the answers of DNS from what the
server remembers of a message: an ID, or a file that ` + "`mtad trace ID -o json`" + ` wrote.
With an ID and no MESSAGE the octets come from the server too, if it has them.`,
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&trace, "trace", "", "the ID of a message, or the file of a trace")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if trace != "" {
			if err := s.readTrace(env, cmd, trace); err != nil {
				return err
			}
		}
		if len(args) == 2 {
			b, err := env.Read(args[1], cmd.InOrStdin())
			if err != nil {
				return err
			}
			s.message = b
		}
		return s.run(cmd.Context(), env, args[0], cmd.OutOrStdout())
	}
	return cmd
}

func newRun(env *Env) *cobra.Command {
	s := &scene{}
	var folder string
	var apply bool
	cmd := &cobra.Command{
		Use: "run SCRIPT USER", Short: "Run a script's deliver over the messages of a mailbox", Args: cobra.ExactArgs(2),
		Long: `Run a script's function deliver over every message of a user's folder and print what
it says. Nothing changes, unless --apply is given: then messages are filed, get
flags, or are removed if the script files them elsewhere or discards them. What
would send something or edit a message is never done, and named.`,
	}
	cmd.Flags().StringVar(&folder, "folder", "INBOX", "the folder")
	cmd.Flags().BoolVar(&apply, "apply", false, "do what the script says")
	s.tools(cmd)
	cmd.RunE = env.WithClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		p, err := compile(env, cmd, args[0])
		if err != nil {
			return err
		}
		if !p.Stages.Has(pipeline.Deliver) {
			return env.Fail(exitData, "%s has no function deliver", p.Name)
		}
		u, err := c.User(ctx, args[1])
		if err != nil {
			return err
		}
		list, err := c.Messages(ctx, u.Address, folder)
		if err != nil {
			return err
		}
		r := &runner{env: env, client: c, scene: s, user: u.Address, folder: folder, apply: apply, out: cmd.OutOrStdout()}
		return r.all(ctx, args[0], list)
	})
	return cmd
}

func newRepl(env *Env) *cobra.Command {
	s := &scene{}
	cmd := &cobra.Command{
		Use: "repl [MESSAGE]", Short: "Try the API line by line, with a message as msg", Args: cobra.MaximumNArgs(1),
		Long: `Read Lua from standard input, a statement or an expression at a time, run it in the
sandbox that scripts have, and print what it returns and what msg was asked
for. Globals stay from line to line.`,
	}
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			b, err := env.Read(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			s.message = b
		}
		return s.talk(cmd.Context(), env, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	return cmd
}

// talk is the conversation.
func (s *scene) talk(ctx context.Context, env *Env, in io.Reader, out io.Writer) error {
	stage, ok := pipeline.ParseStage(s.stage)
	if s.stage == "" {
		stage, ok = pipeline.Deliver, true
	}
	if !ok {
		return env.Fail(exitUsage, "no stage %q", s.stage)
	}
	v, err := s.view()
	if err != nil {
		return env.Fail(exitData, "%v", err)
	}
	if stage == pipeline.Deliver {
		v = s.atRcpt(v)
	}
	host, err := s.host(out)
	if err != nil {
		return env.Fail(exitData, "%v", err)
	}
	r, err := engine.NewRepl(engine.Call{Stage: stage, View: v, Host: host, Limits: engine.DefaultLimits})
	if err != nil {
		return err
	}
	defer r.Close()
	lines := newLines(in)
	for text := ""; ; {
		fmt.Fprint(out, map[bool]string{true: "> ", false: ">> "}[text == ""])
		line, err := lines()
		if err != nil {
			fmt.Fprintln(out)
			return nil
		}
		text += line
		got, err := r.Eval(ctx, text)
		if errors.Is(err, engine.ErrIncomplete) && strings.TrimSpace(line) != "" {
			continue
		}
		if text = ""; err != nil {
			got = "error: " + err.Error()
		}
		for l := range strings.Lines(got) {
			fmt.Fprintln(out, env.Clean(strings.TrimSuffix(l, "\n")))
		}
	}
}
