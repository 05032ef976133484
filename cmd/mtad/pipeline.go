package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mtad/config"
	"mtad/pipeline"
)

func newPipeline(g *global) *cobra.Command {
	return noun("pipeline", "The pipelines of the configuration", newPipelineShow(g))
}

// patience is how long a client waits for the answer at a stage (RFC 5321,
// 4.5.3.2).
var patience = map[pipeline.Stage]time.Duration{
	pipeline.Connect: 5 * time.Minute, pipeline.Helo: 5 * time.Minute, pipeline.Auth: 5 * time.Minute, pipeline.Unknown: 5 * time.Minute,
	pipeline.Mail: 5 * time.Minute, pipeline.Rcpt: 5 * time.Minute, pipeline.Data: 2 * time.Minute, pipeline.Message: 10 * time.Minute,
}

// turnView is a step's part in a stage as -o json shows it.
type turnView struct {
	Pipeline string        `json:"pipeline"`
	Stage    string        `json:"stage"`
	Step     string        `json:"step"`
	Type     string        `json:"type"`
	With     string        `json:"with"` // whose call it may begin with; its own name: it waits for its turn
	Reads    []string      `json:"reads"`
	Writes   []string      `json:"writes"`
	Later    bool          `json:"later,omitempty"` // declared by its sessions
	Timeout  time.Duration `json:"timeout"`
	Worst    time.Duration `json:"worst"`
}

func newPipelineShow(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAME]", Args: cobra.MaximumNArgs(1), Short: "Show who is asked at each stage, who of them together, and how long it may take",
		Long: "Show who is asked at each stage, in order. BEGINS says with whose call a step may begin: where that is another's, both run\n" +
			"at once, because nothing that the earlier steps write is read by the later one. AT WORST is when the step has answered if\n" +
			"every one takes all of its timeout. What a step reads and writes is its own declaration; a session's, as a milter's, is known\n" +
			"only when there is one.",
	}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := g.load()
		if err != nil {
			return err
		}
		b, err := c.buildUnchecked(offline(), nil)
		if err != nil {
			return err
		}
		var names []string
		for _, block := range c.pipelines {
			if len(args) == 0 || args[0] == block.Name() {
				names = append(names, block.Name())
			}
		}
		if len(args) > 0 && len(names) == 0 {
			return exitf(exitNo, "there is no pipeline %q", args[0])
		}
		var all []turnView
		for _, name := range names {
			all = append(all, turns(b.pipelines[name], c.roles(name))...)
		}
		return printList(cmd.OutOrStdout(), *f, all, func(w io.Writer) error { return printTurns(w, names, all) })
	}
	return cmd
}

// turns are those of every stage that a pipeline runs.
func turns(p *pipeline.Pipeline, stages pipeline.Stages) (out []turnView) {
	for s := pipeline.Connect; s <= pipeline.Queued; s++ {
		if !stages.Has(s) {
			continue
		}
		for _, t := range p.Plan(s) {
			out = append(out, turnView{
				Pipeline: p.Name, Stage: s.String(), Step: t.Step.Name, Type: t.Step.Kind, With: t.With.Name,
				Reads: factNames(t.Reads), Writes: factNames(t.Writes), Later: t.Later,
				Timeout: t.Step.TimeoutAt(s), Worst: t.Worst,
			})
		}
	}
	return out
}

func factNames(f pipeline.Facts) []string {
	if f == pipeline.NoFacts {
		return []string{}
	}
	return strings.Split(f.String(), ", ")
}

func printTurns(w io.Writer, pipelines []string, all []turnView) error {
	for i, name := range pipelines {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var rows [][]string
		stage := ""
		for _, t := range all {
			if t.Pipeline != name {
				continue
			}
			begins, shown := "with "+t.With, t.Stage
			if t.With == t.Step {
				begins = "at its turn"
			}
			if t.Stage == stage {
				shown = ""
			}
			stage = t.Stage
			rows = append(rows, []string{shown, t.Step, t.Type, begins, t.facts(t.Reads), t.facts(t.Writes), t.Timeout.String(), t.Worst.String()})
		}
		fmt.Fprintf(w, "pipeline %s\n", clean(name))
		if len(rows) == 0 {
			fmt.Fprintln(w, "asks nobody")
			continue
		}
		if err := printTable(w, []string{"STAGE", "STEP", "TYPE", "BEGINS", "READS", "WRITES", "TIMEOUT", "AT WORST"}, rows); err != nil {
			return err
		}
	}
	return nil
}

func (t *turnView) facts(names []string) string {
	switch {
	case t.Later:
		return "as its session says"
	case len(names) == 0:
		return "-"
	case len(names) == len(factNames(pipeline.AllFacts)):
		return "all"
	}
	return strings.Join(names, " ")
}

// checkPatience finds stages that may take longer than a client waits.
func (c *loaded) checkPatience(b *built) error {
	var diags config.Diagnostics
	for _, block := range c.pipelines {
		p := b.pipelines[block.Name()]
		for s := pipeline.Connect; s <= pipeline.Message; s++ {
			all := p.Plan(s)
			if !c.roles(p.Name).Has(s) || len(all) == 0 || all[len(all)-1].Worst <= patience[s] {
				continue
			}
			diags.Add(block.Errorf("", "pipeline %q may take %v at %s, and a client waits %v (RFC 5321, 4.5.3.2): set shorter timeouts; `mtad pipeline show %s` tells who takes how long",
				p.Name, all[len(all)-1].Worst, s, patience[s], p.Name))
		}
	}
	return diags.Err()
}
