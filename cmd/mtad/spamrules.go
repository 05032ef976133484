package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"mtad/cmd/mtad/spamlearn"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

func newSpamRules() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rules", Short: "List the rules; with --lint tell what is wrong with them", Args: cobra.NoArgs,
		Long: "List the rules with their types, scores and whether they run. With --lint show only the lines that can not be\n" +
			"obeyed, by file and line, and the rules that can not run, and why; exits 1 if there are any. Told of are also\n" +
			"settings that change nothing here and patterns that match every text. With --corpus count in how many messages\n" +
			"of yours each rule hits: --lint then tells also of those that never do.",
		Example: "  mtad spam rules --lint\n  mtad spam rules --lint --corpus ~/Maildir/.Junk --corpus old.mbox",
	}
	f := addFormat(cmd)
	var src spamSource
	src.flags(cmd)
	lint := cmd.Flags().Bool("lint", false, "show what is wrong")
	corpus := cmd.Flags().StringArray("corpus", nil, "messages to count hits in: a file, a directory, a Maildir or an mbox; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rs, e, err := src.load()
		if err != nil {
			return err
		}
		l := &ruleList{cmd: cmd, format: *f, rules: rs, engine: e}
		if len(*corpus) > 0 {
			if err := l.count(cmd.Context(), *corpus); err != nil {
				return err
			}
		}
		if *lint {
			return l.lint()
		}
		return l.list()
	}
	return cmd
}

// ruleList is what there is to tell of rules.
type ruleList struct {
	cmd    *cobra.Command
	format format
	rules  *conf.Ruleset
	engine *spam.Engine

	messages int            // of the corpus; 0 without
	hits     map[string]int // of a rule, how many messages
}

// count judges the messages of a corpus.
func (l *ruleList) count(ctx context.Context, paths []string) error {
	all, err := spamlearn.Messages(paths, l.cmd.InOrStdin())
	if err != nil {
		return fileError(err)
	}
	l.hits = map[string]int{}
	for text, err := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(l.cmd.ErrOrStderr(), "mtad: %s\n", clean(err.Error()))
			continue
		}
		l.messages++
		r := l.engine.Check(ctx, text, scan.Facts{})
		for _, h := range append(r.Sub, r.Hits...) {
			l.hits[h.Rule]++
		}
	}
	if l.messages == 0 {
		return exitf(exitNoInput, "--corpus: there is no message in it")
	}
	return nil
}

// ruleRow is what is shown of a rule.
type ruleRow struct {
	Rule        string     `json:"rule"`
	Type        string     `json:"type"`
	Score       float64    `json:"score"`
	Description string     `json:"description,omitempty"`
	State       spam.State `json:"state"`
	Why         string     `json:"why,omitempty"`
	Messages    *int       `json:"messages,omitempty"` // of the corpus, in which it hits
}

func (l *ruleList) list() error {
	var list []ruleRow
	var table [][]string
	for _, r := range l.rules.Rules() {
		x := ruleRow{Rule: r.Name, Type: r.Type.String(), Score: l.rules.Score(r.Name, 0), Description: l.rules.Description(r.Name)}
		x.State, x.Why = l.engine.State(r.Name)
		cells := []string{x.Rule, x.Type, fmt.Sprintf("%g", x.Score), string(x.State)}
		if l.messages > 0 {
			n := l.hits[r.Name]
			x.Messages = &n
			cells = append(cells, strconv.Itoa(n))
		}
		list = append(list, x)
		table = append(table, append(cells, x.Description))
	}
	head := []string{"RULE", "TYPE", "SCORE", "STATE", "WHAT IT IS FOR"}
	if l.messages > 0 {
		head = []string{"RULE", "TYPE", "SCORE", "STATE", "MESSAGES", "WHAT IT IS FOR"}
	}
	return printList(l.cmd.OutOrStdout(), l.format, list, func(w io.Writer) error { return printTable(w, head, table) })
}

// fault is something that lint tells.
type fault struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Rule string `json:"rule,omitempty"`
	What string `json:"what"`
}

func (l *ruleList) lint() error {
	list := []fault{}
	for _, p := range slices.Concat(l.rules.Problems, l.rules.Notes) {
		list = append(list, fault{File: p.File, Line: p.Line, Rule: p.Rule, What: p.Text})
	}
	wrong, never := len(l.rules.Problems), 0
	for _, r := range l.rules.Rules() {
		switch state, why := l.engine.State(r.Name); {
		case state == spam.Cannot:
			list = append(list, fault{File: r.File, Line: r.Line, Rule: r.Name, What: "can not run: " + why})
			wrong++
		case state == spam.Runs && l.messages > 0 && l.hits[r.Name] == 0:
			list = append(list, fault{File: r.File, Line: r.Line, Rule: r.Name, What: "never hits in the corpus"})
			never++
		}
	}
	err := printList(l.cmd.OutOrStdout(), l.format, list, func(w io.Writer) error {
		out := &lines{w: w}
		for _, x := range list {
			out.printf("%s\n", clean(conf.Problem{File: x.File, Line: x.Line, Rule: x.Rule, Text: x.What}.String()))
		}
		return out.err
	})
	if l.messages > 0 {
		fmt.Fprintf(l.cmd.ErrOrStderr(), "%d rules never hit in %d messages\n", never, l.messages)
	}
	if err == nil && wrong > 0 {
		err = exitf(exitNo, "%d faults in %d rules", wrong, len(l.rules.Rules()))
	}
	return err
}
