package deliver

import (
	"context"
	"encoding/json"
	"fmt"

	"mtad/deliver/route"
	"mtad/pipeline"
	"mtad/queue"
)

// Again sends an item through routing once more, with what aliases, domains and
// transports are by now. It is the queue's Again function. What nobody is known for
// any more, and what is not an address, stays as it is: its attempt says so.
func (a *Agent) Again(ctx context.Context, it *queue.Item) ([]*queue.Item, error) {
	same := []*queue.Item{{Sender: it.Sender, Rcpt: it.Rcpt, Dest: it.Dest, Data: it.Data}}
	var d queued
	if err := json.Unmarshal(it.Data, &d); err != nil {
		return nil, fmt.Errorf("deliver: queue item: %w", err)
	}
	if d.Act.Kind == actSend || d.Act.Kind == actHand {
		return same, nil
	}
	res, err := a.cfg.Router.Resolve(ctx, d.Act.Mailbox, true)
	if err != nil || len(res.Targets) == 0 {
		return same, err
	}
	body, err := a.cfg.DB.Bytes(ctx, it.Message)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m, err := a.parse(body)
	if err != nil {
		return nil, err
	}
	v, _, err := decodeRecord(body.Meta(), m)
	if err != nil {
		return nil, err
	}
	var out []*queue.Item
	for _, t := range res.Targets {
		if t.Kind == route.Mailbox && d.Act.Kind == actLater && t.Addr.Equal(d.Act.Mailbox) {
			out = append(out, same...) // with all that was decided of it
			continue
		}
		fresh, err := a.rerouted(ctx, v, &d, t)
		if err != nil {
			return nil, err
		}
		out = append(out, fresh)
	}
	return out, nil
}

// rerouted is an item for where mail that d is about goes now.
func (a *Agent) rerouted(ctx context.Context, v *pipeline.View, d *queued, t route.Target) (*queue.Item, error) {
	r := pipeline.Recipient{Addr: d.Act.Rcpt, ID: d.Act.ID, Params: d.Act.Params}
	act, err := a.target(ctx, v, r, t)
	if err != nil {
		return nil, err
	}
	act.Edited, act.Skip = d.Act.Edited, d.Act.Skip
	if act.Owner.IsZero() {
		act.Owner = d.Act.Owner
	}
	if act.Kind == actFile {
		act.Kind = actLater
	}
	return a.item(v, &act)
}

// Dest is the destination of an item whose way an administrator chose. It is the
// queue's Dest function.
func (a *Agent) Dest(ctx context.Context, it *queue.Item, way string) (string, error) {
	var d queued
	if err := json.Unmarshal(it.Data, &d); err != nil {
		return "", fmt.Errorf("deliver: queue item: %w", err)
	}
	w, err := a.cfg.Router.WayBy(ctx, d.Sender, d.Act.Mailbox, way)
	return w.Key(), err
}
