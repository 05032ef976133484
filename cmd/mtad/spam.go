package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/spamlearn"
	"mtad/pipeline"
	"mtad/plugins/spamscore"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/resolve"
	"mtad/spam/scan"
	"mtad/store"
)

func newSpam(g *global) *cobra.Command {
	learn := spamlearn.Commands(&spamlearn.Env{
		Client: g.client, Fail: exitf, Clean: clean,
		Open: func(context.Context) (*store.DB, error) {
			dir, err := g.storeDir()
			if err != nil {
				return nil, err
			}
			return openOffline(dir)
		},
		Rules: sync.OnceValues(func() (*spam.Engine, error) { return spam.Open(nil, spam.Options{Bayes: true}) }),
		Output: func(cmd *cobra.Command) func(io.Writer, any, func(io.Writer) error) error {
			f := addFormat(cmd)
			return func(w io.Writer, v any, fn func(io.Writer) error) error { return printOne(w, *f, v, fn) }
		},
	})
	return noun("spam", "SpamAssassin's rules and Bayes: what they say of messages, which there are, what was learned",
		append(learn, newSpamCheck(), newSpamExplain(), newSpamRules(), newSpamd(), newSpamPrefs(g))...)
}

// spamSource is where the rules are, and how they are run.
type spamSource struct {
	paths []string
	prefs string
	net   bool
	bayes bool // somebody has learned
}

func (s *spamSource) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&s.paths, "rules", nil, "files and directories with rules, instead of those that are installed")
	cmd.Flags().StringVar(&s.prefs, "prefs", "", "a file with a user's preferences")
	cmd.Flags().BoolVar(&s.net, "net", false, "run rules that ask the DNS: the name servers of dns_server lines, or of this machine")
}

// load reads the rules.
func (s *spamSource) load() (*conf.Ruleset, *spam.Engine, error) {
	o := conf.Options{Local: !s.net}
	rs, err := spam.LoadRules(s.paths, o)
	if err != nil {
		return nil, nil, fileError(err)
	}
	if s.prefs != "" {
		text, err := os.ReadFile(s.prefs)
		if err != nil {
			return nil, nil, fileError(err)
		}
		rs = rs.WithUser(s.prefs, string(text), o)
	}
	engine := spam.Options{Net: s.net, Bayes: s.bayes}
	if s.net {
		if engine.Resolver, err = resolve.New(rs); err != nil {
			return nil, nil, &exitError{exitConfig, err}
		}
	}
	return rs, spam.New(rs, engine), nil
}

// maxFaults bounds the lines that a command tells of which is about something else.
const maxFaults = 10

// tellFaults tells of lines that can not be obeyed and, in files that were named, of rules
// that can not run; named is how many there are in these.
func (s *spamSource) tellFaults(w io.Writer, rs *conf.Ruleset, e *spam.Engine) (named int) {
	faults := rs.Problems
	if s.paths != nil {
		faults = e.Faults(func(string) bool { return true })
	}
	if s.paths != nil || s.prefs != "" {
		named = len(faults)
	}
	for i, p := range faults {
		if i == maxFaults {
			fmt.Fprintf(w, "and %d more: `mtad spam rules --lint` with the same files tells of all\n", len(faults)-i)
			break
		}
		fmt.Fprintf(w, "%s\n", clean(p.String()))
	}
	return named
}

// ruleWarnings tell of faults in the site's own rules: SpamAssassin's are as they are. Their
// filters have been built, which has read them.
func ruleWarnings(c *loaded, b *built) (out []string) {
	told := map[string]bool{}
	for _, p := range c.pipelines {
		for _, block := range p.Blocks("filter") {
			step := b.steps[p.Name()+"/"+block.Name()].step
			if step == nil || step.Mode == pipeline.Off {
				continue
			}
			faults, args := spamscore.Faults(step.Filter)
			if len(faults) == 0 || told[args] {
				continue
			}
			told[args] = true
			for i, f := range faults {
				if i == maxFaults {
					out = append(out, fmt.Sprintf("%d more in the rules of filter %q in pipeline %q: `mtad spam rules --lint%s` tells of all", len(faults)-i, block.Name(), p.Name(), args))
					break
				}
				out = append(out, f)
			}
		}
	}
	return out
}

func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &exitError{exitNoInput, err}
	case errors.Is(err, conf.ErrNoText), errors.Is(err, spam.ErrNoRules):
		return &exitError{exitData, err}
	}
	return &exitError{exitIO, err}
}

// spamVerdict is what -o json shows of a message.
type spamVerdict struct {
	File     string        `json:"file"`
	Spam     bool          `json:"spam"`
	Score    float64       `json:"score"`
	Required float64       `json:"required"`
	Rules    []spamRule    `json:"rules"`
	Sub      []spamRule    `json:"subrules,omitempty"`
	Unknown  []spamUnknown `json:"unknown,omitempty"`
	Cut      []string      `json:"cut,omitempty"`
}

// spamRule is a hit.
type spamRule struct {
	Rule        string  `json:"rule"`
	Score       float64 `json:"score"`
	Value       float64 `json:"value"`
	Description string  `json:"description,omitempty"`
	Match       string  `json:"match,omitempty"`
}

// spamUnknown is a rule that may or may not hit.
type spamUnknown struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

func spamRules(rs *conf.Ruleset, hits []spam.Hit) []spamRule {
	out := []spamRule{}
	for _, h := range hits {
		out = append(out, spamRule{h.Rule, h.Points(), h.Value, rs.Description(h.Rule), strings.ToValidUTF8(h.Match, "\uFFFD")})
	}
	return out
}

func newSpamCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "Judge messages by the rules, without a server", Args: cobra.MinimumNArgs(1),
		Long: "Judge messages by SpamAssassin's rules: print the X-Spam-Status line and the report.\n" +
			"- is standard input. Exits 1 if one is spam, else 65 if files that --rules or --prefs names have faults.\n" +
			"With -o json every hit comes with its score, what it is for and what the pattern matched; -v shows the\n" +
			"rules that only others use, and what is not known.",
	}
	f := addFormat(cmd)
	var src spamSource
	src.flags(cmd)
	verbose := cmd.Flags().BoolP("verbose", "v", false, "also show subrules, and rules that are unknown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rs, e, err := src.load()
		if err != nil {
			return err
		}
		faults := src.tellFaults(cmd.ErrOrStderr(), rs, e)
		var all []spamVerdict
		out := &lines{w: cmd.OutOrStdout()}
		found := false
		for _, path := range args {
			text, err := readArgument(path, cmd.InOrStdin())
			if err != nil {
				return err
			}
			r := e.Check(cmd.Context(), text, scan.Facts{})
			found = found || r.Spam()
			if *f != "table" {
				all = append(all, verdictOf(rs, path, r, *verbose))
				continue
			}
			if len(args) > 1 {
				out.printf("%s:\n", clean(path))
			}
			printVerdict(out, r, *verbose)
		}
		if *f != "table" {
			err = printList(cmd.OutOrStdout(), *f, all, nil)
		}
		if err == nil {
			err = out.err
		}
		switch {
		case err != nil:
		case found:
			err = exitf(exitNo, "")
		case faults > 0:
			err = exitf(exitData, "the rules have faults: %d", faults)
		}
		return err
	}
	return cmd
}

func verdictOf(rs *conf.Ruleset, path string, r *spam.Result, verbose bool) spamVerdict {
	v := spamVerdict{File: path, Spam: r.Spam(), Score: r.Score, Required: r.Required, Rules: spamRules(rs, r.Hits), Cut: r.Cut}
	if verbose {
		v.Sub = spamRules(rs, r.Sub)
	}
	for _, u := range r.Unknown {
		v.Unknown = append(v.Unknown, spamUnknown{u.Rule, u.Why})
	}
	return v
}

func printVerdict(out *lines, r *spam.Result, verbose bool) {
	host, _ := os.Hostname()
	report := r.Report(spam.Host{Name: host, Version: spam.Version})
	status := report.Fill(statusTemplate) // for rules that have none
	for _, h := range report.Fields() {
		if h.Name == "X-Spam-Status" {
			status = h.Template
		}
	}
	out.printf("X-Spam-Status: %s\n\n%s", cleanLines(status), cleanLines(report.Text()))
	for _, cut := range r.Cut {
		out.printf("unknown is what was cut short: %s\n", clean(cut))
	}
	if !verbose {
		return
	}
	for _, h := range r.Sub {
		out.printf("%-28s %s\n", h.Rule, clean(h.Match))
	}
	for _, u := range r.Unknown {
		out.printf("%-28s unknown: %s\n", u.Rule, clean(u.Why))
	}
}

// statusTemplate is that of SpamAssassin's own rules, on one line.
const statusTemplate = "_YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_ autolearn=_AUTOLEARN_ version=_VERSION_"

// cleanLines is clean for a text of several lines with tabs.
func cleanLines(s string) string {
	in := strings.Split(s, "\n")
	for i, l := range in {
		cells := strings.Split(l, "\t")
		for j, cell := range cells {
			cells[j] = clean(cell)
		}
		in[i] = strings.Join(cells, "\t")
	}
	return strings.Join(in, "\n")
}

func newSpamExplain() *cobra.Command {
	cmd := &cobra.Command{Use: "explain RULE...", Short: "Tell what a rule looks for, what it scores and where it stands", Args: cobra.MinimumNArgs(1)}
	var src spamSource
	src.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rs, e, err := src.load()
		if err != nil {
			return err
		}
		out := &lines{w: cmd.OutOrStdout()}
		for i, name := range args {
			r := rs.Rule(name)
			if r == nil {
				return exitf(exitNo, "there is no rule %s; `mtad spam rules` lists them", name)
			}
			if i > 0 {
				out.printf("\n")
			}
			explainRule(out, rs, e, r)
		}
		return out.err
	}
	return cmd
}

func explainRule(out *lines, rs *conf.Ruleset, e *spam.Engine, r *conf.Rule) {
	out.printf("%s  %s\n", r.Name, clean(rs.Description(r.Name)))
	out.printf("  %s: %s\n", r.Type, clean(r.Text))
	if s := rs.Score(r.Name, 0); rs.Score(r.Name, conf.WithNet) != s || rs.Score(r.Name, conf.WithBayes) != s || rs.Score(r.Name, conf.WithNet|conf.WithBayes) != s {
		out.printf("  score: %g local, %g with the network, %g with Bayes, %g with both\n", s, rs.Score(r.Name, conf.WithNet), rs.Score(r.Name, conf.WithBayes), rs.Score(r.Name, conf.WithNet|conf.WithBayes))
	} else if !r.Sub() {
		out.printf("  score: %g\n", s)
	}
	if r.Flags.Text != "" {
		out.printf("  flags: %s\n", clean(r.Flags.Text))
	}
	out.printf("  in %s, line %d\n", clean(r.File), r.Line)
	if r.Expr != nil {
		out.printf("  depends on %s\n", strings.Join(r.Expr.Rules(), ", "))
	}
	if why := e.Cannot()[r.Name]; why != "" {
		out.printf("  can not run: %s\n", clean(why))
	}
	var users []string
	for _, o := range rs.Rules() {
		if o.Expr != nil && slices.Contains(o.Expr.Rules(), r.Name) {
			users = append(users, o.Name)
		}
	}
	if users != nil {
		out.printf("  used by %s\n", strings.Join(users, ", "))
	}
}
