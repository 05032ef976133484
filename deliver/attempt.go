package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"mtad/deliver/relay"
	"mtad/deliver/route"
	"mtad/journal"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/smtp"
	"mtad/store"
)

// attemptTimeout bounds one attempt at a destination.
const attemptTimeout = 30 * time.Minute

// Attempt tries the items of one message and one destination. It is the queue's
// Attempt function.
func (a *Agent) Attempt(ctx context.Context, job *queue.Job) []queue.Result {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	body, err := a.cfg.DB.Bytes(ctx, job.Message)
	if err != nil {
		a.cfg.Log.Error("attempt: read message", "id", job.Message, "err", err)
		return same(job, queue.Result{Status: queue.Deferred, Reply: "451 4.3.0 Can not read the message"})
	}
	defer body.Close()
	data := make([]queued, len(job.Items))
	for i, it := range job.Items {
		if err := json.Unmarshal(it.Data, &data[i]); err != nil {
			a.cfg.Log.Error("attempt: queue item", "id", job.Message, "err", err)
			return same(job, queue.Result{Status: queue.Deferred, Reply: "451 4.3.0 Can not read the queue item"})
		}
	}
	switch job.Dest {
	case destLocal:
		return a.attemptLocal(ctx, job, data, body)
	case destSystem:
		return a.attemptSystem(ctx, job, data, body)
	}
	return a.attemptRelay(ctx, job, data, body)
}

// Destinations that are no domain's name: mailboxes here, and programs and files
// of the system.
const (
	destLocal  = "(local)"
	destSystem = "(system)"
)

func same(job *queue.Job, r queue.Result) []queue.Result {
	out := make([]queue.Result, len(job.Items))
	for i := range out {
		out[i] = r
	}
	return out
}

// errand is recipients of a job who get the same octets from the same sender, on
// the same way.
type errand struct {
	way  route.Way
	idx  []int // into the job's items
	body message.Bytes
}

// attemptRelay sends to another host, or whatever the ways to the recipients are
// by now: once for all who share an errand.
func (a *Agent) attemptRelay(ctx context.Context, job *queue.Job, data []queued, body message.Bytes) []queue.Result {
	out := make([]queue.Result, len(data))
	var together []errand
	for i := range data {
		d := &data[i]
		way, err := a.cfg.Router.WayBy(ctx, d.Sender, d.Act.Mailbox, job.Items[i].Route)
		if err != nil {
			a.cfg.Log.Error("attempt: way", "id", job.Message, "rcpt", d.Act.Mailbox.String(), "err", err)
			out[i] = queue.Result{Status: queue.Deferred, Reply: "451 4.3.5 Can not find the way to the recipient now"}
			continue
		}
		n := slices.IndexFunc(together, func(e errand) bool {
			return d.Act.Edited == nil && data[e.idx[0]].Act.Edited == nil && e.way.Key() == way.Key() && data[e.idx[0]].Sender == d.Sender
		})
		if n < 0 {
			n = len(together)
			together = append(together, errand{way: way, body: d.Act.revision(body)})
		}
		together[n].idx = append(together[n].idx, i)
	}
	for _, e := range together {
		a.errand(ctx, job, data, e, out)
	}
	return out
}

// errand puts the results of one errand into out.
func (a *Agent) errand(ctx context.Context, job *queue.Job, data []queued, e errand, out []queue.Result) {
	switch e.way.Via {
	case route.ViaSMTP, route.ViaLMTP:
		a.relay(ctx, job, data, e, out)
		return
	case route.ViaPipe, route.ViaMaildir, route.ViaMbox:
		a.handLocal(ctx, job, data, e, out)
		return
	}
	reply := e.way.Refusal()
	if e.way.Via == route.ViaDiscard {
		reply = smtp.NewReply(250, 0, 0, "Discarded")
	}
	for _, i := range e.idx {
		out[i] = a.told(job, &data[i], string(e.way.Via), programOf(e.way.Via), reply)
	}
}

// programOf is what a way that leads to no host is in a trace.
func programOf(v route.Via) string {
	switch v {
	case route.ViaPipe, route.ViaDiscard:
		return string(v)
	case route.ViaMaildir, route.ViaMbox:
		return "virtual"
	}
	return "error"
}

// told notes what was done for one recipient, and by what, and makes its result.
func (a *Agent) told(job *queue.Job, d *queued, host, by string, r smtp.Reply) queue.Result {
	res := queue.Result{Status: statusOf(r), Reply: r.String(), Host: host}
	a.cfg.Trace(pipeline.Trace{ID: job.Message, Events: []pipeline.Event{{
		Time: a.cfg.Now(), Kind: pipeline.EventRelay, Stage: by, Rcpt: d.Act.Mailbox.String(), Host: host,
		Action: statusWords[res.Status], Reply: res.Reply,
	}}})
	return res
}

// relay sends to the recipients of an errand.
func (a *Agent) relay(ctx context.Context, job *queue.Job, data []queued, e errand, out []queue.Result) {
	idx := e.idx
	first := &data[idx[0]]
	rj := &relay.Job{ID: job.Message, Sender: first.Sender, Params: first.Params, Message: e.body, Route: e.way.Route}
	for _, i := range idx {
		rj.Rcpts = append(rj.Rcpts, relay.Rcpt{
			Addr: data[i].Act.Mailbox, Params: withOriginal(data[i].Act.Params, data[i].Act.Rcpt, data[i].Act.Mailbox),
		})
	}
	begin := a.cfg.Now()
	results := a.cfg.Router.Relay().Deliver(ctx, rj)
	took := a.cfg.Now().Sub(begin)
	events := make([]pipeline.Event, len(results))
	by := "" // SMTP
	if e.way.Route.LMTP {
		by = "lmtp"
	}
	for k, r := range results {
		res := queue.Result{Status: statusOf(r.Reply), Reply: r.Reply.String(), Host: r.Host, Dead: r.Dead, Info: r.DSN}
		if e.way.Route.LMTP && !r.DSN {
			res.Info = nil // what LMTP has taken is delivered
		}
		if errors.Is(ctx.Err(), context.Canceled) && res.Status == queue.Deferred {
			res.Status = queue.Postponed
		}
		out[idx[k]] = res
		events[k] = pipeline.Event{
			Time: begin, Kind: pipeline.EventRelay, Stage: by, Rcpt: rj.Rcpts[k].Addr.String(), Host: r.Host,
			Action: statusWords[res.Status], Reply: r.Reply.String(), Note: r.TLS, Took: took,
		}
	}
	a.cfg.Trace(pipeline.Trace{ID: job.Message, Events: events})
}

var statusWords = map[queue.Status]string{
	queue.Delivered: "delivered", queue.Deferred: "deferred", queue.Failed: "failed", queue.Postponed: "postponed",
}

func statusOf(r smtp.Reply) queue.Status {
	switch {
	case r.OK():
		return queue.Delivered
	case r.Permanent():
		return queue.Failed
	}
	return queue.Deferred
}

// attemptLocal runs the Deliver stage that the session left for later, or that a
// hold put off, and stores the message.
func (a *Agent) attemptLocal(ctx context.Context, job *queue.Job, data []queued, body message.Bytes) []queue.Result {
	out := make([]queue.Result, len(data))
	for i := range data {
		reply, err := a.deliverLater(ctx, job.Items[i], &data[i], body)
		switch {
		case errors.Is(ctx.Err(), context.Canceled) && (err != nil || reply.Temporary()):
			out[i] = queue.Result{Status: queue.Postponed}
		case errors.Is(err, errForwarded):
			out[i] = queue.Result{Status: queue.Delivered, Reply: "250 2.0.0 Ok", Info: true} // what becomes of it there is told
		case errors.Is(err, errQuarantined):
			out[i] = queue.Result{Status: queue.Delivered, Reply: "250 2.0.0 Held", Info: true} // nobody is told
		case err != nil:
			a.cfg.Log.Error("deliver from the queue", "id", job.Message, "rcpt", data[i].Act.Mailbox.String(), "err", err)
			out[i] = queue.Result{Status: queue.Deferred, Reply: "451 4.3.0 Can not store the message now"}
		case reply.IsZero():
			out[i] = queue.Result{Status: queue.Delivered, Reply: "250 2.0.0 Ok"}
		default:
			out[i] = a.told(job, &data[i], "", "virtual", reply)
		}
	}
	return out
}

// errQuarantined says that an item's place was taken by a held one.
var errQuarantined = errors.New("deliver: quarantined")

// deliverLater delivers to one mailbox from the queue. The rules see the
// recipient's own revision.
func (a *Agent) deliverLater(ctx context.Context, it *queue.Item, d *queued, body message.Bytes) (smtp.Reply, error) {
	base, err := a.parse(body)
	if err != nil {
		return smtp.Reply{}, err
	}
	own := base
	if d.Act.Edited != nil {
		if own, err = a.parse(d.Act.revision(body)); err != nil {
			return smtp.Reply{}, err
		}
	}
	v, err := d.View.View(own)
	if err != nil {
		return smtp.Reply{}, err
	}
	if d.Act.Kind == actSend {
		return a.sendLater(ctx, it, v.WithRcpts(v.Rcpts(), base), &d.Act, body)
	}
	act := d.Act
	if act.Account, err = a.cfg.Router.Account(ctx, act.Mailbox); err != nil {
		return smtp.Reply{}, err
	}
	var events []pipeline.Event
	note := func(e pipeline.Event) { events = append(events, e) }
	defer func() { a.cfg.Trace(pipeline.Trace{ID: v.ID(), Events: events}) }()
	stored := v.WithRcpts(v.Rcpts(), base)
	if act.Account == 0 {
		if proven(v) {
			return replyRemoved, nil
		}
		d.Act.Hold = refusedHold + replyRemoved.String()
		return smtp.Reply{}, a.quarantine(ctx, it, stored, &d.Act)
	}
	if act.Override {
		act.Plan = pipeline.Plan{}
		return smtp.Reply{}, a.storeLater(ctx, it, stored, &act, note)
	}
	if reply := a.plan(ctx, v, base, &act, note); !reply.IsZero() {
		if proven(v) || reply.Temporary() && a.cfg.Now().Before(it.Expires) {
			return reply, nil
		}
		// Nobody gets a bounce for mail they did not send: it goes to people.
		d.Act.Hold, d.Act.Override = refusedHold+reply.String(), true
		return smtp.Reply{}, a.quarantine(ctx, it, stored, &d.Act)
	}
	err = a.storeLater(ctx, it, stored, &act, note)
	if err == nil && act.forwards() {
		err = errForwarded
	}
	return smtp.Reply{}, err
}

// errForwarded says that the mail was sent on to one other address, and nothing
// else done with it.
var errForwarded = errors.New("deliver: forwarded")

// replyRemoved is for an account that was removed while its mail waited.
var replyRemoved = smtp.NewReply(550, 1, 1, "The mailbox was removed")

// sendLater makes a message that could not be made when its cause was acted on.
// A redirect that is refused now is stored: its cause was not.
func (a *Agent) sendLater(ctx context.Context, it *queue.Item, v *pipeline.View, act *act, body message.Bytes) (smtp.Reply, error) {
	if !act.Bounce.IsZero() {
		g := reportGroup{to: act.sender(v), params: act.mailParams(v)}
		err := a.report(ctx, g.view(v.ID(), v.Time()), body, []dsnRcpt{{addr: act.Rcpt, params: act.Params, action: dsnFailed, reply: act.Bounce.String()}})
		if errors.Is(err, errNotNow) {
			return replyNotNow, nil
		}
		return smtp.Reply{}, err
	}
	r := &accepted{view: v, open: func() (*journal.Content, error) { return a.cfg.DB.Bytes(ctx, v.ID()) }}
	elsewhere := act.Plan.Cancelled
	switch {
	case len(a.sendOn(ctx, r, act)) > 0:
		return replyNotNow, nil
	case elsewhere && act.Plan.Keeps():
		return smtp.Reply{}, a.cfg.DB.Update(ctx, func(tx *store.Tx) error {
			if _, err := a.store(tx, v, act); err != nil {
				return err
			}
			return a.queue.Finish(tx, it)
		})
	}
	return smtp.Reply{}, nil
}

// storeLater sends on and stores what a plan made in the queue asks for. The
// item goes in the same transaction, so that a crash leaves no duplicate.
func (a *Agent) storeLater(ctx context.Context, it *queue.Item, v *pipeline.View, act *act, note func(pipeline.Event)) error {
	r := &accepted{view: v, open: func() (*journal.Content, error) { return a.cfg.DB.Bytes(ctx, v.ID()) }}
	unsent := a.sendOn(ctx, r, act)
	var items []*queue.Item
	for i := range unsent {
		late, err := a.item(v, &unsent[i])
		if err != nil {
			return err
		}
		items = append(items, late)
	}
	var stored []pipeline.Event
	err := a.cfg.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if stored, err = a.store(tx, v, act); err != nil {
			return err
		}
		if err := a.queue.Add(tx, items...); err != nil {
			return err
		}
		return a.queue.Finish(tx, it)
	})
	for _, e := range stored {
		e.Stage = "queue"
		note(e)
	}
	if err == nil {
		a.remember(ctx, v, act)
	}
	return err
}

// quarantine keeps a message that a recipient refused too late to say so.
func (a *Agent) quarantine(ctx context.Context, old *queue.Item, v *pipeline.View, act *act) error {
	it, err := a.item(v, act)
	if err != nil {
		return err
	}
	err = a.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		if err := a.queue.Add(tx, it); err != nil {
			return err
		}
		return a.queue.Finish(tx, old)
	})
	if err != nil {
		return err
	}
	return errQuarantined
}

// Report tells the sender what became of a job's items: failures, delays, and
// successes where that was asked for. It is the queue's Report function.
func (a *Agent) Report(ctx context.Context, job *queue.Job, outcomes []queue.Outcome) error {
	if err := a.reportAll(ctx, job, outcomes); err != nil {
		return err
	}
	var given []pipeline.Event
	for _, o := range outcomes {
		if o.Expired || o.Item.Ended != "" {
			given = append(given, pipeline.Event{
				Time: a.cfg.Now(), Kind: pipeline.EventQueue, Action: "expired", Rcpt: o.Item.Rcpt, Host: o.Item.Sender,
				Note: "given up for " + o.Item.Rcpt, Reply: o.Result.Reply,
			})
		}
	}
	if len(given) > 0 {
		a.cfg.Trace(pipeline.Trace{ID: job.Message, Events: given})
	}
	return nil
}

// Changed notes what an administrator has done to recipients of a message that
// waits. It is the queue's Changed function.
func (a *Agent) Changed(id message.ID, items int, what string) {
	a.cfg.Trace(pipeline.Trace{ID: id, Events: []pipeline.Event{{
		Time: a.cfg.Now(), Kind: pipeline.EventQueue, Action: what, Size: int64(items),
		Note: fmt.Sprintf("%s by an administrator, recipients: %d", what, items),
	}}})
}

// reportAll tells everybody who is to be told.
func (a *Agent) reportAll(ctx context.Context, job *queue.Job, outcomes []queue.Outcome) error {
	var out reports
	for i, o := range outcomes {
		action, ok := reportOf(o)
		if !ok {
			continue
		}
		var d queued
		if err := json.Unmarshal(o.Item.Data, &d); err != nil {
			return fmt.Errorf("deliver: queue item: %w", err)
		}
		if action == dsnDelayed && !d.Proven && len(d.Act.Params.Notify) == 0 {
			continue // who never sent it, and asked for nothing, is spared
		}
		if !wants(d.Act.Params, action) || d.Act.Kind == actSend && action == dsnDelivered {
			continue
		}
		out.add(d.Sender, d.Params, reported(o, &d, action), i)
	}
	if len(out) == 0 {
		return nil
	}
	body, err := a.cfg.DB.Bytes(ctx, job.Message)
	if err != nil {
		return err
	}
	defer body.Close()
	for _, g := range out {
		if err := a.report(ctx, g.view(job.Message, job.Items[0].Created), body, g.rcpts); err != nil {
			return err
		}
	}
	return nil
}

// reportOf says which kind of report an outcome may give rise to.
func reportOf(o queue.Outcome) (dsnAction, bool) {
	switch {
	case o.Result.Status == queue.Failed:
		return dsnFailed, true
	case o.Delayed:
		return dsnDelayed, true
	case o.Result.Status == queue.Delivered:
		// A host that knows DSN reports itself (RFC 3461, 5.2.2).
		if passed, ok := o.Result.Info.(bool); ok && !passed {
			return dsnRelayed, true
		}
		if o.Result.Info == nil {
			return dsnDelivered, true
		}
	}
	return "", false
}

func reported(o queue.Outcome, d *queued, action dsnAction) dsnRcpt {
	r := dsnRcpt{addr: d.Act.Rcpt, params: d.Act.Params, action: action, reply: o.Result.Reply, host: o.Result.Host}
	if o.Expired {
		r.reply = "550 5.4.7 Delivery time expired; the last answer was: " + o.Result.Reply
	}
	if action == dsnDelayed {
		r.until = o.Item.Expires
	}
	return r
}

// WarnAfter is when the sender of an item is told of its delay; it is the
// queue's WarnAfter function.
func (a *Agent) WarnAfter(it *queue.Item) time.Duration {
	var d queued
	if json.Unmarshal(it.Data, &d) != nil {
		return 0
	}
	if d.Local {
		return a.cfg.WarnLocal
	}
	return a.cfg.WarnOther
}

// report sends one delivery report to the sender of v, whose octets are body. A
// report that a filter refuses is not sent; trying again would not change it.
func (a *Agent) report(ctx context.Context, v *pipeline.View, body message.Bytes, rcpts []dsnRcpt) error {
	original, err := a.parse(body)
	if err != nil {
		return err
	}
	p := v.SenderParams()
	d := dsn{
		id: message.NewID(a.cfg.Now()), hostname: a.cfg.Hostname, now: a.cfg.Now(), to: v.Sender(),
		envID: p.EnvelopeID, full: p.Return != "HDRS", global: p.UTF8, arrived: v.Time(), rcpts: distinct(rcpts), original: original,
	}
	b, err := d.build()
	if err != nil {
		return err
	}
	m, err := a.parse(message.FromBytes(b))
	if err != nil {
		return err
	}
	err = a.made(ctx, v, pipeline.Mailing{}, pipeline.Recipient{Addr: v.Sender()}, m, reason{why: "report", action: rcpts[0].action})
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}
