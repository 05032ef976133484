package external

import (
	"context"
	"time"

	"mtad/config"
	"mtad/pipeline"
)

// Plugin is a filter's program, for those who look after it.
type Plugin struct{ proc *process }

// Of is the program of a filter, if it has one.
func Of(f pipeline.Filter) (Plugin, bool) {
	ext, ok := f.(*filter)
	if !ok {
		return Plugin{}, false
	}
	return Plugin{ext.proc}, true
}

// Status is how a program does.
type Status struct {
	Path          string
	Name, Version string // of its manifest
	Protocol      int
	Stages        string
	Reads, Writes string
	Pure          bool
	PID           string // "" while it is down
	Memory        config.Size
	Started       time.Time
	Starts        int
	Down          string // why it is not running
}

// Status is how the program does.
func (p Plugin) Status() Status {
	proc := p.proc
	out := Status{Path: proc.Path}
	if m := proc.manifest.Load(); m != nil {
		out.Name, out.Version, out.Protocol, out.Pure = m.name, m.version, int(m.protocol), m.pure
		out.Stages, out.Reads, out.Writes = m.stages.String(), m.reads.String(), m.writes.String()
	}
	out.Starts = int(proc.starts.Load())
	r := proc.live.Load()
	if r == nil || r.exited() {
		out.Down = errDown.Error()
		if why := proc.why.Load(); why != nil {
			out.Down = *why
		}
		return out
	}
	out.PID, out.Memory = r.usage()
	out.Started = r.started
	return out
}

// Restart puts a new run in the place of this one.
func (p Plugin) Restart(ctx context.Context) error { return p.proc.restart(ctx) }

// Log is the last that was logged about it.
func (p Plugin) Log() []Line { return p.proc.lines.all() }
