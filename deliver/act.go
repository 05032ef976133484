package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"mtad/deliver/route"
	"mtad/internal/crash"
	"mtad/internal/invariants"
	"mtad/journal"
	"mtad/mailbox"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/smtp"
	"mtad/store"
)

// actRetry is the pause between tries; the store may be full or locked.
const actRetry = time.Second

// persist acts on an accepted message, as often as it takes: what is in the
// journal has been promised.
func (a *Agent) persist(ctx context.Context, r *accepted) {
	for {
		err := a.act(ctx, r)
		if err == nil || errors.Is(err, store.ErrClosed) || ctx.Err() != nil {
			return // after ErrClosed the journal is replayed at the next start
		}
		a.cfg.Log.Error("act on accepted message; trying again", "id", r.view.ID(), "err", err)
		select {
		case <-time.After(actRetry):
		case <-a.stop:
			return
		}
	}
}

// soon acts on a message made here: at once, or where that fails in the
// background, for whoever had it made need not wait for the database. The
// journal's backlog bounds how many there are.
func (a *Agent) soon(ctx context.Context, r *accepted) {
	if err := a.act(ctx, r); err != nil {
		a.cfg.Log.Error("act on a message made here; trying again", "id", r.view.ID(), "err", err)
		a.acting.Go(func() { a.persist(ctx, r) })
	}
}

// maxReplayPause is the longest pause between tries of what could not be
// replayed.
const maxReplayPause = time.Minute

// Replay acts on the messages that the journal has accepted and the database
// does not know of yet, and returns how many there were. What can't be done now
// (a full disk) is tried again in the background, so that the server answers
// what it can meanwhile. Call it once, before the servers start.
func (a *Agent) Replay(ctx context.Context) int {
	n, err := a.replay(ctx)
	if err == nil {
		return n
	}
	a.cfg.Log.Error("act on messages accepted before the last stop; trying again", "err", err)
	a.acting.Go(func() {
		ctx := context.WithoutCancel(ctx)
		for pause := actRetry; ; pause = min(2*pause, maxReplayPause) {
			select {
			case <-time.After(pause):
			case <-a.stop:
				return
			}
			if _, err = a.replay(ctx); err == nil || errors.Is(err, store.ErrClosed) {
				return
			}
			a.cfg.Log.Error("act on messages accepted before the last stop; trying again", "err", err)
		}
	})
	return n
}

// replay returns how many messages were waiting.
func (a *Agent) replay(ctx context.Context) (n int, err error) {
	err = a.cfg.DB.Replay(ctx, func(e journal.Entry) error {
		if e.Kind != KindMessage {
			return nil
		}
		n++
		m, err := a.parse(e.Body)
		if err != nil {
			return err
		}
		v, acts, err := decodeRecord(e.Meta, m)
		if err != nil {
			return err
		}
		return a.act(ctx, a.accepted(v, acts, e.Place))
	})
	return n, err
}

// act does what the record says. New messages come first: if the process dies
// before the transaction they are made again, never lost.
// A panic is an error: one message must not end the server, at every start anew.
func (a *Agent) act(ctx context.Context, r *accepted) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("deliver: panic: %v\n%s", p, debug.Stack())
		}
	}()
	a.makeAll(ctx, r)
	var events []pipeline.Event
	err = a.cfg.DB.UpdateSoon(ctx, func(tx *store.Tx) error {
		events = events[:0]
		if r.again { // the last try may have been committed, whatever was said of it
			if done, err := tx.IsApplied(r.place); done || err != nil {
				return err
			}
		}
		if r.wanted() {
			if err := tx.Place(r.view.ID(), r.place); err != nil {
				return err
			}
		}
		evs, err := a.rows(tx, r)
		events = evs
		if err == nil {
			err = a.rememberHanded(tx, r.view)
		}
		crash.Point(crash.Filing)
		tx.Applied(r.place)
		return err
	})
	if err == nil {
		a.cfg.Trace(pipeline.Trace{ID: r.view.ID(), Events: events})
		for i := range r.acts {
			if act := &r.acts[i]; act.Kind == actFile && act.Hold == "" && act.Bounce.IsZero() {
				a.remember(ctx, r.view, act)
			}
		}
	}
	r.again = true
	return err
}

// wanted reports whether any row will refer to the message: one that was only
// discarded or sent on is dead space in the journal from the start.
func (r *accepted) wanted() bool {
	return len(r.unsent) > 0 || slices.ContainsFunc(r.acts, func(act act) bool {
		switch {
		case !act.Bounce.IsZero():
			return false
		case act.Kind == actFile && act.Hold == "":
			return len(filings(&act)) > 0
		}
		return true
	})
}

// makeAll makes the messages that the acts give rise to, once: if the rest fails
// and is tried again they are not made again. What can't be made now goes to the
// queue.
func (a *Agent) makeAll(ctx context.Context, r *accepted) {
	if r.made {
		return
	}
	var unsent []act
	for i := range r.acts {
		if r.acts[i].Hold == "" && r.acts[i].Kind == actFile && r.acts[i].Bounce.IsZero() {
			unsent = append(unsent, a.sendOn(ctx, r, &r.acts[i])...)
		}
	}
	r.made, r.unsent = true, append(unsent, a.tellSender(ctx, r)...)
}

// rows writes mailbox entries and queue items.
func (a *Agent) rows(tx *store.Tx, r *accepted) ([]pipeline.Event, error) {
	var events []pipeline.Event
	var items []*queue.Item
	for _, act := range slices.Concat(r.acts, r.unsent) {
		act := &act
		switch {
		case !act.Bounce.IsZero() && act.Kind != actSend:
		case act.Kind == actFile && act.Hold == "":
			evs, err := a.store(tx, r.view, act)
			if err != nil {
				return nil, err
			}
			events = append(events, evs...)
		default:
			it, err := a.item(r.view, act)
			if err != nil {
				return nil, err
			}
			items = append(items, it)
			events = append(events, pipeline.Event{Time: a.cfg.Now(), Kind: pipeline.EventQueue, Rcpt: act.Rcpt.String(), Host: it.Dest, Note: queueNote(act)})
		}
	}
	// Invariant: a message that rows refer to has a place.
	if invariants.Enabled && !r.wanted() && len(items) > 0 {
		invariants.Broken("deliver: %v: rows for a message that has no place", r.view.ID())
	}
	if len(items) == 0 {
		return events, nil
	}
	return events, a.queue.Add(tx, items...)
}

func queueNote(act *act) string {
	if act.Hold != "" {
		return "held: " + act.Hold
	}
	if act.Kind == actSend {
		return "queued what could not be sent on now"
	}
	return "queued for " + act.Mailbox.String()
}

// store puts the message into the folders of the plan.
func (a *Agent) store(tx *store.Tx, v *pipeline.View, act *act) ([]pipeline.Event, error) {
	var events []pipeline.Event
	for _, file := range filings(act) {
		folder, uid, err := a.file(tx, v, act, file)
		if err != nil {
			return nil, err
		}
		note := fmt.Sprintf("stored in %s as UID %d", folder, uid)
		if !strings.EqualFold(folder, strings.TrimSuffix(file.Folder, mailbox.Separator)) {
			note += fmt.Sprintf("; it can't be stored in %.100q", file.Folder)
		}
		events = append(events, pipeline.Event{
			Time: a.cfg.Now(), Kind: pipeline.EventDeliver, Rcpt: act.Rcpt.String(), Host: act.Mailbox.String(), Note: note,
		})
	}
	if len(events) == 0 {
		events = append(events, pipeline.Event{
			Time: a.cfg.Now(), Kind: pipeline.EventDeliver, Rcpt: act.Rcpt.String(), Host: act.Mailbox.String(),
			Note: "not stored: a rule discarded or redirected it",
		})
	}
	return events, nil
}

// filings are the folders that a plan names, each once, the default one among
// them if the implicit keep stands.
func filings(act *act) []pipeline.FileInto {
	files := slices.Clone(act.Plan.Files)
	if act.Plan.Keeps() {
		files = append(files, pipeline.FileInto{Folder: act.Folder, Flags: act.Plan.Flags})
	}
	var out []pipeline.FileInto
	for _, f := range files {
		if f.Folder == "" {
			f.Folder = mailbox.Inbox
		}
		i := slices.IndexFunc(out, func(o pipeline.FileInto) bool { return strings.EqualFold(o.Folder, f.Folder) })
		if i < 0 {
			out = append(out, f)
		}
	}
	return out
}

// file stores one copy. A folder that can't be had is INBOX: mail is not lost
// for a bad name in a rule.
func (a *Agent) file(tx *store.Tx, v *pipeline.View, act *act, f pipeline.FileInto) (string, mailbox.UID, error) {
	account := mailbox.AccountID(act.Account)
	folder, err := a.cfg.Mailboxes.Ensure(tx, account, f.Folder)
	if err != nil {
		if folder, err = a.cfg.Mailboxes.Ensure(tx, account, mailbox.Inbox); err != nil {
			return "", 0, err
		}
	}
	prefix, skip := a.prefix(v, act, f.Edition)
	uid, err := a.cfg.Mailboxes.Deliver(tx, folder.ID, mailbox.Entry{
		Item:    mailbox.Item{Flags: parseFlags(f.Flags)},
		Message: v.ID(), Prefix: prefix, Skip: skip,
		Size: int64(len(prefix)) + v.Message().Size() - skip,
		Date: v.Time(),
	})
	return folder.Name, uid, err
}

// prefix is what final delivery puts before the message: Return-Path (RFC 5321,
// 4.4) and Delivered-To, and the header if it was edited for this recipient.
func (a *Agent) prefix(v *pipeline.View, act *act, e pipeline.Edition) (prefix []byte, skip int64) {
	prefix = fmt.Appendf(nil, "Return-Path: %s\r\nDelivered-To: %s\r\n", act.sender(v).Path(), act.Mailbox)
	m := v.Message()
	switch {
	case e.Edited != nil:
		return append(prefix, e.Edited...), e.Skip
	case act.Edited != nil:
		return append(prefix, act.Edited...), act.Skip
	case m.HeaderSize() == 0 && m.Size() > 0:
		return append(prefix, '\r', '\n'), 0 // a body without a header
	}
	return prefix, 0
}

// parseFlags takes IMAP flag names. What no mailbox can keep is left out: mail
// that was accepted is not kept from its folder by a rule's bad flag.
func parseFlags(names []string) mailbox.Flags {
	system := map[string]mailbox.SystemFlags{
		`\seen`: mailbox.Seen, `\answered`: mailbox.Answered, `\flagged`: mailbox.Flagged,
		`\deleted`: mailbox.Deleted, `\draft`: mailbox.Draft,
	}
	var f mailbox.Flags
	for _, n := range names {
		if s, ok := system[strings.ToLower(n)]; ok {
			f.System |= s
		} else if mailbox.ValidKeyword(n) && len(f.Keywords) < mailbox.MaxKeywords {
			f.Keywords = append(f.Keywords, n)
		}
	}
	return f
}

// item makes a queue item of an act.
func (a *Agent) item(v *pipeline.View, act *act) (*queue.Item, error) {
	q := queued{Act: *act, Sender: act.sender(v), Params: act.mailParams(v), Local: submitted(v), Proven: proven(v)}
	dest := destLocal
	switch act.Kind {
	case actRelay:
		if dest = cmp.Or(act.Dest, act.Mailbox.Domain); strings.HasPrefix(dest, route.LocalKey) {
			q.Client = brought(v)
		}
	case actHand:
		dest, q.Client = destSystem, brought(v)
	default:
		q.View = v.Stored()
	}
	data, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("deliver: write item: %w", err)
	}
	now := a.cfg.Now()
	age := a.cfg.MaxAge
	if v.Sender().IsZero() {
		age = a.cfg.MaxAgeNull
	}
	it := &queue.Item{
		Message: v.ID(), Sender: q.Sender.String(), Rcpt: act.Mailbox.String(), Dest: dest, Data: data,
		Created: now, Next: now, Expires: now.Add(age), Hold: act.Hold,
	}
	if m := v.Message(); m != nil {
		it.Size = m.Size()
	}
	return it, nil
}

// submitted reports whether a user of ours sent the message.
func submitted(v *pipeline.View) bool {
	return v.Client().Auth != nil || v.Client().Protocol == "local"
}

// sendOn makes the messages that a plan asks for: redirects and responses. It
// returns what could not be made now.
func (a *Agent) sendOn(ctx context.Context, r *accepted, of *act) (unsent []act) {
	for _, to := range of.Plan.Redirects {
		switch err := a.redirect(ctx, r, of, to); {
		case errors.Is(err, errRefused):
			// Nothing takes it there (a loop, say): it stays here, as if no
			// rule had spoken (RFC 5228, 2.10.6).
			of.Plan.Cancelled = false
		case err != nil:
			unsent = append(unsent, a.putOff(r, of, err, pipeline.Plan{Redirects: []pipeline.Redirect{to}}))
		}
	}
	for _, re := range of.Plan.Responses {
		if !a.first(ctx, r.view, of.Mailbox, re) {
			continue
		}
		re.Once = "" // the mark is set
		m, err := a.parse(message.FromBytes(re.Data))
		if err == nil {
			err = a.made(ctx, r.view, pipeline.Mailing{}, pipeline.Recipient{Addr: re.To}, m, re.Why)
		}
		if err == nil && re.Fcc != nil {
			a.fileCopy(ctx, r.view, of, m, *re.Fcc)
		}
		if err != nil && !errors.Is(err, errRefused) { // trying again would not change that
			unsent = append(unsent, a.putOff(r, of, err, pipeline.Plan{Responses: []pipeline.Respond{re}}))
		}
	}
	return unsent
}

// fileCopy puts a copy of a message that was sent into a folder of the account
// (RFC 8580). A copy that can't be kept is only noted: the message is out.
func (a *Agent) fileCopy(ctx context.Context, cause *pipeline.View, of *act, m *message.Message, file pipeline.FileInto) {
	id := message.NewID(a.cfg.Now())
	mailing := pipeline.Mailing{ID: id, Time: a.cfg.Now(), Rcpts: []pipeline.Recipient{{ID: 1, Addr: of.Mailbox}}}
	client := pipeline.Client{Session: id.String(), Protocol: "local", Hostname: a.cfg.Hostname, Trusted: true}
	v := pipeline.NewView(client, mailing, m)
	acts := []act{{
		Kind: actFile, Rcpt: of.Mailbox, ID: 1, Account: of.Account, Mailbox: of.Mailbox,
		Plan: pipeline.Plan{Cancelled: true, Files: []pipeline.FileInto{file}},
	}}
	r, reply := a.keep(ctx, v, acts, func(pipeline.Event) {}, func() error { return nil })
	if r == nil {
		a.cfg.Log.Warn("keep a copy of what a rule sent", "id", cause.ID(), "mailbox", of.Mailbox.String(), "reply", reply.String())
		return
	}
	a.cfg.Trace(pipeline.Trace{ID: id, Events: []pipeline.Event{{Time: v.Time(), Kind: pipeline.EventSession, Note: "made here: a copy of what a rule of " + of.Mailbox.String() + " sent about " + cause.ID().String()}}})
	a.soon(context.WithoutCancel(ctx), r)
}

// first reports whether a response is to be sent that is sent only once in a
// time. The mark is set before: rather no answer than two.
func (a *Agent) first(ctx context.Context, v *pipeline.View, mailbox smtp.Address, re pipeline.Respond) bool {
	if re.Once == "" {
		return true
	}
	n := int64(0)
	kv, err := a.state(mailbox)
	if err == nil {
		n, err = kv.Add(ctx, re.Once, 1, re.For)
	}
	if err != nil {
		a.cfg.Log.Warn("no answer: what was answered before is not known", "id", v.ID(), "why", re.Why, "err", err)
	}
	return err == nil && n == 1
}

// errNoState means that an agent was made without Config.State.
var errNoState = errors.New("deliver: nothing is remembered here")

func (a *Agent) state(mailbox smtp.Address) (pipeline.KV, error) {
	if a.cfg.State == nil {
		return nil, errNoState
	}
	return a.cfg.State(mailbox)
}

// remember sets the marks of a plan that was carried out. One that is lost makes
// a duplicate, never a loss.
func (a *Agent) remember(ctx context.Context, v *pipeline.View, act *act) {
	if len(act.Plan.Marks) == 0 {
		return
	}
	kv, err := a.state(act.Mailbox)
	for _, m := range act.Plan.Marks {
		if err == nil {
			err = kv.Set(ctx, m.Key, []byte("1"), m.For)
		}
	}
	if err != nil {
		a.cfg.Log.Warn("remember what a rule saw", "id", v.ID(), "mailbox", act.Mailbox.String(), "err", err)
	}
}

// putOff makes an act of what could not be made now.
func (a *Agent) putOff(r *accepted, of *act, err error, what pipeline.Plan) act {
	if !errors.Is(err, errNotNow) {
		a.cfg.Log.Error("send on; put off", "id", r.view.ID(), "err", err)
	}
	late := *of
	what.Cancelled = of.Plan.Cancelled
	late.Kind, late.Plan = actSend, what
	return late
}

// redirect sends the message on with its sender and a Delivered-To, by which a
// loop is seen.
func (a *Agent) redirect(ctx context.Context, r *accepted, act *act, to pipeline.Redirect) error {
	b, err := r.open()
	if err != nil {
		return err
	}
	defer b.Close()
	own := act.revision(b)
	if to.Edited != nil {
		own = revision(b, to.Edited, to.Skip)
	}
	m, err := a.parse(own)
	if err != nil {
		return err
	}
	h, _ := m.Header().Insert(0, message.FormatField("Delivered-To", act.Mailbox.String()))
	rcpt := pipeline.Recipient{Addr: to.Addr, Params: act.Params}
	if !act.forwards() {
		rcpt.Params = withoutSuccess(rcpt.Params)
	}
	rcpt.Params = withOriginal(rcpt.Params, act.Rcpt, to.Addr)
	rcpt.Params.Raw = nil
	mailing := pipeline.Mailing{Sender: r.view.Sender(), Params: passed(r.view.SenderParams())}
	return a.made(ctx, r.view, mailing, rcpt, m.WithHeader(h), "redirect")
}

// made submits a message that another gave rise to, from the sender in its mailing.
// A refusal (errRefused) is noted; trying again would not change it.
func (a *Agent) made(ctx context.Context, v *pipeline.View, mailing pipeline.Mailing, rcpt pipeline.Recipient, m *message.Message, why string) error {
	id := message.NewID(a.cfg.Now())
	rcpt.ID = 1
	from, to := mailing.Sender, rcpt.Addr
	mailing.ID, mailing.Time, mailing.Rcpts = id, a.cfg.Now(), []pipeline.Recipient{rcpt}
	client := pipeline.Client{Session: id.String(), Protocol: "local", Hostname: a.cfg.Hostname, Trusted: true}
	err := a.submit(ctx, pipeline.NewView(client, mailing, m), fmt.Sprintf("made here: %s of %s, from %s to %s", why, v.ID(), from.Path(), to.Path()))
	e := pipeline.Event{Time: a.cfg.Now(), Kind: pipeline.EventMade, Rcpt: to.String(), Note: why + " " + id.String()}
	if err != nil {
		e.Err = err.Error()
	}
	a.cfg.Trace(pipeline.Trace{ID: v.ID(), Events: []pipeline.Event{e}})
	return err
}

// tellSender reports the recipients who refused while others accepted, and the
// deliveries that the sender asked to be told of. Of a list, its owner is told what
// failed.
func (a *Agent) tellSender(ctx context.Context, r *accepted) (unsent []act) {
	var out reports
	told := map[pipeline.RcptID]bool{} // of the expansion
	for i := range r.acts {
		act := &r.acts[i]
		news, ok := act.news()
		if !ok {
			continue
		}
		to, p := r.view.Sender(), r.view.SenderParams()
		switch {
		case news.action == dsnFailed:
			to, p = act.sender(r.view), act.mailParams(r.view)
		case act.Expands != nil && told[act.ID]:
			continue
		case act.Expands != nil:
			told[act.ID] = true
		}
		out.add(to, p, news, i)
	}
	for _, g := range out {
		err := a.reportOf(ctx, r, g)
		if err == nil || g.action() != dsnFailed {
			continue
		}
		for _, i := range g.from {
			act := r.acts[i]
			act.Kind = actSend
			unsent = append(unsent, act)
		}
	}
	return unsent
}

// reportOf reads the message and reports about it.
func (a *Agent) reportOf(ctx context.Context, r *accepted, g *reportGroup) error {
	b, err := r.open()
	if err == nil {
		err = errors.Join(a.report(ctx, g.view(r.view.ID(), r.view.Time()), b, g.rcpts), b.Close())
	}
	if err != nil && !errors.Is(err, errNotNow) {
		a.cfg.Log.Error("report to the sender; put off", "id", r.view.ID(), "err", err)
	}
	return err
}
