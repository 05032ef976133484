package script

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"mtad/admin"
	"mtad/pipeline"
)

// runner runs a script over a mailbox.
type runner struct {
	env          *Env
	client       *admin.Client
	scene        *scene
	user, folder string
	apply        bool
	out          io.Writer
	changed      int
}

func (r *runner) all(ctx context.Context, script string, list []admin.Mail) error {
	f, err := r.scene.filter(script, r.out)
	if err != nil {
		return r.env.Fail(exitData, "%s", r.env.Clean(err.Error()))
	}
	p, err := pipeline.New("run", []*pipeline.Step{{Name: "script", Kind: "lua", Filter: f}}, pipeline.Env{Now: time.Now})
	if err != nil {
		return err
	}
	r.scene.mailbox, r.scene.to = r.user, []string{r.user}
	bad := 0
	for _, m := range list {
		if err := r.one(ctx, p, m); err != nil {
			bad++
			fmt.Fprintf(r.out, "%d: %s\n", m.UID, r.env.Clean(err.Error()))
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	did := "would be changed; --apply does it"
	if r.apply {
		did = "changed"
	}
	fmt.Fprintf(r.out, "%d messages, %d %s, %d errors\n", len(list), r.changed, did, bad)
	if bad > 0 {
		return r.env.Fail(exitNo, "%d messages could not be dealt with", bad)
	}
	return nil
}

func (r *runner) one(ctx context.Context, p *pipeline.Pipeline, m admin.Mail) error {
	var b bytes.Buffer
	if err := r.client.MailOctets(ctx, r.user, r.folder, m.UID, &b); err != nil {
		return err
	}
	s := *r.scene
	s.message = b.Bytes()
	v, err := s.view()
	if err != nil {
		return err
	}
	f := p.OpenView(s.atRcpt(v))
	defer f.Close()
	fate := f.Run(ctx, pipeline.Deliver)
	plan := f.View().Plan()
	for _, e := range f.Trace().Events {
		if e.Err != "" {
			return fmt.Errorf("%s", e.Err)
		}
		if len(e.Mods) == 0 && fate.Action == pipeline.Continue {
			return nil
		}
		fmt.Fprintf(r.out, "%d: %s %s\n", m.UID, fate.Action, r.env.Clean(e.Reply))
		for _, mod := range e.Mods {
			fmt.Fprintf(r.out, "  %s\n", r.env.Clean(mod))
		}
	}
	return r.act(ctx, m, fate, plan)
}

// act does what can be done to a message that has been delivered.
func (r *runner) act(ctx context.Context, m admin.Mail, fate pipeline.Fate, plan pipeline.Plan) error {
	change := admin.MailChange{User: r.user, Folder: r.folder, UID: m.UID, Flags: plan.Flags, Remove: plan.Cancelled}
	for _, file := range plan.Files {
		change.Files = append(change.Files, admin.Filing{Folder: file.Folder, Flags: file.Flags})
	}
	if n := len(plan.Redirects) + len(plan.Responses); n > 0 {
		fmt.Fprintln(r.out, "  nothing is sent")
		change.Remove = change.Remove && len(plan.Files) > 0
	}
	if fate.Refused() {
		fmt.Fprintln(r.out, "  it has been taken already: it stays")
		return nil
	}
	if len(change.Files) == 0 && len(change.Flags) == 0 && !change.Remove {
		return nil
	}
	r.changed++
	if !r.apply {
		return nil
	}
	return r.client.ChangeMail(ctx, change)
}
