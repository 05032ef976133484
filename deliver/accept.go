package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"mtad/deliver/route"
	"mtad/directory"
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

// Bounds of what is decided in the session.
const (
	// MaxPlans is how many local mailboxes run their Deliver stage before
	// the reply; the rest run it from the queue. By LMTP it is all of them: each
	// is to be answered.
	MaxPlans = 20
	// maxHops is the default of Config.MaxHops.
	maxHops = 100
)

// Lifetimes of queue items (RFC 5321, 4.5.4.1).
const (
	MaxAge     = 5 * 24 * time.Hour
	MaxAgeNull = 24 * time.Hour
)

// Config of an Agent.
type Config struct {
	Hostname  string
	DB        *store.DB
	Mailboxes *mailbox.Store
	Router    *route.Router
	// Delivery and Generated return the pipelines in force for local
	// recipients and for mail made here, and a function to call afterwards.
	Delivery  func() (*pipeline.Pipeline, func())
	Generated func() (*pipeline.Pipeline, func())
	// Trace is given what happens to messages. It may be nil.
	Trace func(pipeline.Trace)
	// Limits bound what is read of a message: those it was accepted under.
	Limits message.Limits
	// MaxHops is how many Received fields a message may have (RFC 5321, 6.3);
	// 100.
	MaxHops int
	// Budget bounds the work on one message before its reply; 4 minutes.
	Budget time.Duration
	// MaxAge and MaxAgeNull bound how long delivery is tried.
	MaxAge, MaxAgeNull time.Duration
	// WarnLocal and WarnOther are when a sender is told of a delay: for mail
	// that users of ours submitted, and for other mail.
	WarnLocal, WarnOther time.Duration
	Log                  *slog.Logger
	Now                  func() time.Time
	// Hand hands mail to a program or file of the system, and answers as a host
	// would; nil if there is no way to do so.
	Hand func(context.Context, Handing) smtp.Reply
	// State is what the rules of a local mailbox remember; nil if nothing is.
	State func(mailbox smtp.Address) (pipeline.KV, error)
	// Handed is what programs of this machine handed in, by Local.Key; nil if nothing
	// is.
	Handed *directory.State
}

// Agent is the delivery agent. SetQueue must be called before it is used.
type Agent struct {
	cfg     Config
	queue   *queue.Queue
	acts    chan struct{} // places for acting on accepted messages
	acting  sync.WaitGroup
	handing sync.Map      // keys of what is being handed in
	stop    chan struct{} // closed by Wait: what fails is left to the next start
	once    sync.Once
}

// maxActing bounds the accepted messages that are being acted on at once.
const maxActing = 256

// New makes an agent.
func New(cfg Config) *Agent {
	orTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	orTime(&cfg.Budget, 4*time.Minute)
	orTime(&cfg.MaxAge, MaxAge)
	orTime(&cfg.MaxAgeNull, MaxAgeNull)
	orTime(&cfg.WarnLocal, 4*time.Hour)
	orTime(&cfg.WarnOther, 24*time.Hour)
	if cfg.MaxHops == 0 {
		cfg.MaxHops = maxHops
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trace == nil {
		cfg.Trace = func(pipeline.Trace) {}
	}
	return &Agent{cfg: cfg, acts: make(chan struct{}, maxActing), stop: make(chan struct{})}
}

// parse reads a message.
func (a *Agent) parse(b message.Bytes) (*message.Message, error) {
	return message.ParseLimited(b, a.cfg.Limits)
}

// SetQueue gives the agent the queue that its Attempt and Report serve.
func (a *Agent) SetQueue(q *queue.Queue) { a.queue = q }

// Replies of acceptance.
var (
	replyQueued   = smtp.NewReply(250, 0, 0, "Ok: queued")
	replyHops     = smtp.NewReply(554, 4, 6, "Too many hops")
	replyLoop     = smtp.NewReply(554, 4, 6, "Mail loop: the message was here before")
	replyNobody   = smtp.NewReply(550, 1, 1, "No recipients are left")
	replyStorage  = smtp.NewReply(452, 3, 1, "Can not store the message now")
	replyLookup   = smtp.NewReply(451, 3, 0, "Can not look up recipients now")
	replyVanished = smtp.NewReply(451, 3, 0, "A recipient was removed meanwhile, try again")
	replyEdited   = smtp.NewReply(554, 3, 4, "A rule made the message too large")
	replyNotNow   = smtp.NewReply(451, 3, 0, "Can not send the message on now")
	replyLate     = smtp.NewReply(451, 3, 0, "Judging the message took too long, try again")
	replyGone     = smtp.NewReply(421, 4, 2, "You left before the message was stored")
)

// Accept decides what becomes of the message in the flow's View, makes it
// durable, and returns the final reply: 250 only when the journal has it on
// disk. gone is asked just before. Where each recipient is answered (by LMTP, and
// where the sender wants PRDR), refused are those whose rules said no: nobody is told of them otherwise.
func (a *Agent) Accept(ctx context.Context, f *pipeline.Flow, gone func() error) (final smtp.Reply, refused map[pipeline.RcptID]smtp.Reply) {
	select {
	case a.acts <- struct{}{}:
	case <-ctx.Done():
		return replyStorage, nil
	}
	if lmtp(f.View()) || f.View().SenderParams().PRDR {
		refused = map[pipeline.RcptID]smtp.Reply{}
	}
	r, reply := a.accept(ctx, WithResults(f.View(), a.cfg.Hostname), f.Record, gone, refused)
	if r == nil {
		<-a.acts
		return reply, refused
	}
	a.acting.Go(func() {
		defer func() { <-a.acts }()
		crash.Point(crash.Accepted)
		a.persist(context.WithoutCancel(ctx), r)
	})
	return replyQueued, refused
}

// Wait waits until everything accepted has been acted on. What can't be now is
// not tried again: the journal has it, for the next start. Nothing may be
// accepted afterwards.
func (a *Agent) Wait() {
	a.once.Do(func() { close(a.stop) })
	a.acting.Wait()
}

// accepted is a message that is in the journal and not acted on yet.
type accepted struct {
	view  *pipeline.View
	acts  []act
	place journal.Place
	open  func() (*journal.Content, error) // the octets as they are stored

	again  bool  // acting on it was tried before
	made   bool  // messages that the acts give rise to have been made,
	unsent []act // but for these
}

func (a *Agent) accepted(v *pipeline.View, acts []act, p journal.Place) *accepted {
	return &accepted{view: v, acts: acts, place: p, open: func() (*journal.Content, error) { return a.cfg.DB.Journal().Open(p) }}
}

// accept decides and stores. It returns what is to be acted on, or the refusal. If
// refused is not nil it takes the recipients who refuse where others accept.
func (a *Agent) accept(ctx context.Context, v *pipeline.View, note func(pipeline.Event), gone func() error, refused map[pipeline.RcptID]smtp.Reply) (*accepted, smtp.Reply) {
	if hops(v.Message()) > a.cfg.MaxHops {
		return nil, replyHops
	}
	acts, reply := a.decide(ctx, v, note, refused)
	if !reply.IsZero() {
		return nil, reply
	}
	return a.keep(ctx, v, acts, note, gone)
}

// keep puts a message and what is to be done with it into the journal.
func (a *Agent) keep(ctx context.Context, v *pipeline.View, acts []act, note func(pipeline.Event), gone func() error) (*accepted, smtp.Reply) {
	meta, err := encodeRecord(v, acts)
	if err != nil {
		a.cfg.Log.Error("accept", "id", v.ID(), "err", err)
		return nil, replyStorage
	}
	if err := gone(); err != nil {
		note(pipeline.Event{Kind: pipeline.EventReply, Note: "the client left; nothing was stored"})
		return nil, replyGone
	}
	if ctx.Err() != nil {
		note(pipeline.Event{Kind: pipeline.EventReply, Note: "the time for the message is over; nothing was stored"})
		return nil, replyLate
	}
	place, err := a.cfg.DB.Journal().Append(ctx, journal.Record{
		ID: v.ID(), Kind: KindMessage, Meta: meta, Body: v.Message().Bytes(),
	})
	if err != nil {
		a.cfg.Log.Error("accept: journal", "id", v.ID(), "err", err)
		if errors.Is(err, journal.ErrTooBig) {
			return nil, replyEdited // by edits for single recipients: it will be as big again
		}
		return nil, replyStorage
	}
	// Invariant: what is accepted is on disk.
	if invariants.Enabled {
		checkStored(v.ID(), place, a.cfg.DB.Journal().End())
	}
	return a.accepted(v, acts, place), smtp.Reply{}
}

// checkStored checks that what the client is told of is before the journal's end.
func checkStored(id message.ID, p journal.Place, end journal.Position) {
	if end.Before(p.End()) {
		invariants.Broken("deliver: %v is accepted up to %v, and the journal ends at %v", id, p.End(), end)
	}
}

// checkActs checks that what was kept does all that was planned: each act is
// there, or another stores the same for the same account; and that what is filed
// has an account.
func checkActs(id message.ID, planned, kept []act) {
	for _, p := range planned {
		if p.Kind == actFile && p.Account == 0 {
			invariants.Broken("deliver: %v: mail for %s is nobody's", id, p.Mailbox)
		}
		if !slices.ContainsFunc(kept, func(k act) bool { return k.ID == p.ID && k.Mailbox == p.Mailbox || p.sameCopy(k) }) {
			invariants.Broken("deliver: %v: nothing is done for %s", id, p.Mailbox)
		}
	}
}

// hops counts the Received fields.
func hops(m *message.Message) int {
	n := 0
	for _, f := range m.Header().Fields() {
		if f.Is("Received") {
			n++
		}
	}
	return n
}

// decide makes a plan for every recipient. The reply is zero unless all of them
// said no.
func (a *Agent) decide(ctx context.Context, v *pipeline.View, note func(pipeline.Event), each map[pipeline.RcptID]smtp.Reply) ([]act, smtp.Reply) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Budget)
	defer cancel()
	acts, err := a.resolve(ctx, v, note)
	switch {
	case errors.Is(err, errVanished):
		return nil, replyVanished
	case err != nil:
		a.cfg.Log.Error("accept: resolve", "id", v.ID(), "err", err)
		return nil, replyLookup
	}
	if len(acts) == 0 {
		return nil, replyNobody
	}
	hold, quarantine := v.Held()
	if quarantine != "" {
		hold = "quarantine: " + quarantine
	}
	planned, refused := 0, smtp.Reply{}
	for i := range acts {
		act := &acts[i]
		own := v.MessageFor(act.ID)
		if r := act.edit(v.Message(), own, own); act.Bounce.IsZero() {
			act.Bounce = r
		}
		switch {
		case !act.Bounce.IsZero():
			refused = act.Bounce
		case hold != "":
			act.Hold = hold // for people: rules run on release
			if act.Kind == actFile {
				act.Kind = actLater
			}
		case act.Kind == actFile && (planned < MaxPlans || lmtp(v)):
			planned++
			if r := a.plan(ctx, v, v.Message(), act, note); !r.IsZero() {
				act.Bounce, act.planned, refused = r, true, r
			}
		case act.Kind == actFile:
			act.Kind = actLater
		}
	}
	if each != nil {
		acts = answered(acts, each)
	}
	for _, act := range acts {
		if act.Bounce.IsZero() || handedIn(v) {
			kept := mergeCopies(a.sortRefusals(v, acts))
			// Invariant: every recipient gets what was planned for them.
			if invariants.Enabled {
				checkActs(v.ID(), acts, kept)
			}
			return kept, smtp.Reply{}
		}
	}
	return nil, refused
}

// answered takes out the recipients nobody wants the mail for, and notes their
// refusals. One member of an alias that refuses never refuses the alias.
func answered(acts []act, each map[pipeline.RcptID]smtp.Reply) []act {
	accepted := map[pipeline.RcptID]bool{}
	for _, act := range acts {
		for _, id := range act.ids() {
			accepted[id] = accepted[id] || act.Bounce.IsZero()
		}
	}
	return slices.DeleteFunc(acts, func(act act) bool {
		for _, id := range act.ids() {
			if !accepted[id] {
				each[id] = act.Bounce
			}
		}
		return !accepted[act.ID]
	})
}

// ids are the envelope's recipients that an act is for.
func (act *act) ids() []pipeline.RcptID { return append([]pipeline.RcptID{act.ID}, act.also...) }

// lmtp reports whether a message came by LMTP: the client keeps what is not taken.
func lmtp(v *pipeline.View) bool { return v.Client().Protocol == "lmtp" }

// mergeCopies leaves one of the acts that would do the same for one account:
// alice+a and alice+b get a copy each only if rules tell them apart.
func mergeCopies(acts []act) []act {
	var out []act
	for _, act := range acts {
		if act.Kind != actFile || act.Hold != "" || !act.Bounce.IsZero() || !slices.ContainsFunc(out, act.sameCopy) {
			out = append(out, act)
		}
	}
	return out
}

// sameCopy reports whether two acts store the same octets in the same places.
func (act act) sameCopy(other act) bool {
	return other.Kind == actFile && other.Hold == "" && other.Bounce.IsZero() && act.Account == other.Account &&
		act.Folder == other.Folder && act.Skip == other.Skip && bytes.Equal(act.Edited, other.Edited) &&
		reflect.DeepEqual(act.Plan, other.Plan)
}

// sortRefusals deals with recipients who refused where others accepted. Those
// who could not say are asked again from the queue. Of the others the sender is
// told if there is one and the mail is proven to be theirs, else it is kept for
// people to look at: nobody gets a bounce for mail they did not send, and nothing
// vanishes because nobody can be told.
func (a *Agent) sortRefusals(v *pipeline.View, acts []act) []act {
	sure := !v.Sender().IsZero() && proven(v)
	for i := range acts {
		act := &acts[i]
		switch again := act.planned && act.Bounce.Temporary(); {
		case act.Bounce.IsZero() || sure && !again:
			continue
		case !again:
			act.Hold, act.Override = refusedHold+act.Bounce.String(), act.planned
		}
		act.Bounce = smtp.Reply{}
		if act.Kind == actFile {
			act.Kind = actLater
		}
	}
	return acts
}

// refusedHold begins the reason of a hold.
const refusedHold = "quarantine: refused for this recipient: "

// proven reports whether the reverse-path is the sender's own: a login, a trusted
// client, SPF pass, or a DKIM signature of the same domain.
func proven(v *pipeline.View) bool {
	c := v.Client()
	if c.Auth != nil || c.Trusted || c.Protocol == "local" {
		return true
	}
	for _, r := range v.AuthResults() {
		if r.Result != "pass" {
			continue
		}
		if r.Method == "spf" && r.Prop("smtp", "mailfrom") != "" {
			return true
		}
		if r.Method == "dkim" && strings.EqualFold(r.Prop("header", "d"), v.Sender().Domain) {
			return true
		}
	}
	return false
}

// errVanished is a recipient that was there at RCPT and is not any more. The
// client comes again and is told at RCPT: nothing is lost, nobody is bounced to.
var errVanished = errors.New("deliver: recipient removed since RCPT")

// resolve turns recipients into acts: one for each remote address and for each
// local mailbox with a detail, whoever leads there first. Rules tell alice+a from
// alice+b, and what one of them does must not happen to mail for the other.
func (a *Agent) resolve(ctx context.Context, v *pipeline.View, note func(pipeline.Event)) ([]act, error) {
	var acts []act
	seen := map[string]int{} // to the act
	for _, r := range v.Rcpts() {
		if r.Drop {
			note(pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: r.Addr.String(), Note: "discarded for this recipient"})
			continue
		}
		res, err := a.cfg.Router.Resolve(ctx, r.Addr, true)
		if err != nil {
			return nil, err
		}
		targets := res.Targets
		if len(targets) == 0 && handedIn(v) && !v.Sender().IsZero() {
			acts = append(acts, act{Kind: actRelay, Rcpt: r.Addr, ID: r.ID, Params: r.Params, Mailbox: r.Addr, Bounce: unknown(r)})
			continue
		}
		if len(targets) == 0 && (r.Class == pipeline.Local || r.Class == pipeline.Alias) {
			return nil, fmt.Errorf("%w: %s", errVanished, r.Addr)
		}
		if len(targets) == 0 {
			note(pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: r.Addr.String(), Note: "no such recipient; dropped"})
			continue
		}
		for _, t := range targets {
			key := fmt.Sprint(t.Account, " ", t.Addr.Key(), " ", t.Detail, " ", t.User, " ", t.Text)
			if n, ok := seen[key]; ok {
				acts[n].also = append(acts[n].also, r.ID)
				continue
			}
			seen[key] = len(acts)
			act, err := a.target(ctx, v, r, t)
			if err != nil {
				return nil, err
			}
			act.expand(len(targets))
			acts = append(acts, act)
		}
	}
	return acts, nil
}

// target makes the act of one recipient.
func (a *Agent) target(ctx context.Context, v *pipeline.View, r pipeline.Recipient, t route.Target) (act, error) {
	out := act{
		Kind: actFile, Rcpt: r.Addr, ID: r.ID, Params: r.Params, Account: t.Account, Mailbox: t.Addr, Bounce: r.Refusal,
		Folder: v.Folder(), Owner: t.Owner,
	}
	switch t.Kind {
	case route.Remote:
		way, err := a.cfg.Router.Way(ctx, out.sender(v), t.Addr)
		out.Kind, out.Dest = actRelay, way.Key()
		return out, err
	case route.File, route.Command:
		out.Kind = actHand
		out.Hand = &hand{Command: t.Kind == route.Command, Text: t.Text, User: t.User}
	}
	// RFC 5321, 6.3: a message that was delivered here before comes no more.
	for _, d := range v.Message().Header().Values("Delivered-To") {
		if strings.EqualFold(d, t.Addr.String()) {
			out.Bounce = replyLoop
		}
	}
	return out, nil
}

// plan runs the Deliver stage for one mailbox; base is the message as it is
// stored. A reply is its refusal.
func (a *Agent) plan(ctx context.Context, v *pipeline.View, base *message.Message, act *act, note func(pipeline.Event)) smtp.Reply {
	p, release := a.cfg.Delivery()
	defer release()
	f := p.OpenView(v)
	defer f.Close()
	f.ForRcpt(act.ID, act.Mailbox)
	fate := f.Run(ctx, pipeline.Deliver)
	got := f.View()
	outcome := pipeline.Accepted
	if fate.Refused() {
		outcome = pipeline.Refused
	}
	act.Plan, act.Folder = got.Plan(), got.Folder()
	reply := act.edit(base, v.MessageFor(act.ID), got.Message())
	if reply.IsZero() {
		reply = act.editions(base)
	}
	for _, e := range f.End(ctx, outcome).Events {
		note(e)
	}
	if fate.Refused() {
		return fate.Reply
	}
	return reply
}

// maxEdited bounds what the record keeps of a message that was edited for one
// recipient.
const maxEdited = 8 << 20

// edit notes how a recipient's revision differs from the one that is stored:
// another header, or all of it. was is the revision that own was made from, and
// that the act has noted already.
func (act *act) edit(base, was, own *message.Message) smtp.Reply {
	if own == base || own == was && act.Edited != nil {
		return smtp.Reply{}
	}
	whole := act.Edited != nil && act.Skip == base.Size() || !own.SameBody(was) || was != base && act.Edited == nil && !own.SameBody(base)
	act.Skip = base.HeaderSize()
	n := own.HeaderSize()
	if whole {
		act.Skip, n = base.Size(), own.Size()
	}
	if n > maxEdited {
		return replyEdited
	}
	var err error
	if act.Edited, err = message.ReadAll(message.Section(own.Bytes(), 0, n)); err != nil {
		return replyStorage
	}
	return smtp.Reply{}
}

// editions notes how the messages that single actions of the plan take differ
// from the one that is stored. All of a record's editions share its bound.
func (act *act) editions(base *message.Message) smtp.Reply {
	left := int64(maxEdited - len(act.Edited))
	note := func(e *pipeline.Edition) smtp.Reply {
		m := e.Message
		if m == nil {
			return smtp.Reply{}
		}
		skip, n := base.Size(), m.Size()
		if m.SameBody(base) {
			skip, n = base.HeaderSize(), m.HeaderSize()
		}
		if left -= n; left < 0 {
			return replyEdited
		}
		b, err := message.ReadAll(message.Section(m.Bytes(), 0, n))
		if err != nil {
			return replyStorage
		}
		*e = pipeline.Edition{Edited: b, Skip: skip}
		return smtp.Reply{}
	}
	act.Plan.Files, act.Plan.Redirects = slices.Clone(act.Plan.Files), slices.Clone(act.Plan.Redirects)
	for i := range act.Plan.Files {
		if reply := note(&act.Plan.Files[i].Edition); !reply.IsZero() {
			return reply
		}
	}
	for i := range act.Plan.Redirects {
		if reply := note(&act.Plan.Redirects[i].Edition); !reply.IsZero() {
			return reply
		}
	}
	return smtp.Reply{}
}

// revision is the recipient's own revision of the stored message b.
func (act *act) revision(b message.Bytes) message.Bytes { return revision(b, act.Edited, act.Skip) }

// revision puts other octets in the place of the first of b; none if edited is
// nil.
func revision(b message.Bytes, edited []byte, skip int64) message.Bytes {
	if edited == nil {
		return b
	}
	return message.Join(message.FromBytes(edited), message.Section(b, skip, b.Size()))
}

// What becomes of mail made here that is not taken: errRefused is for good,
// errNotNow wants another try.
var (
	errRefused = errors.New("deliver: refused")
	errNotNow  = errors.New("deliver: not taken now")
)

// refusal is the error of a reply that refuses mail made here.
func refusal(r smtp.Reply, step string) error {
	if r.Temporary() {
		return fmt.Errorf("%w: %s %s", errNotNow, step, r)
	}
	return fmt.Errorf("%w: %s %s", errRefused, step, r)
}

// submit runs the Message stage of the generated pipeline on a message made here,
// stores it and acts on it: when it returns nil the message is durable, or a
// filter dropped it. note begins its trace. Unlike mail by SMTP it is for
// recipients of any class.
func (a *Agent) submit(ctx context.Context, v *pipeline.View, note string) error {
	p, release := a.cfg.Generated()
	defer release()
	f := p.OpenView(v)
	defer f.Close()
	f.Record(pipeline.Event{Time: v.Time(), Kind: pipeline.EventSession, Note: note})
	fate := f.Run(ctx, pipeline.Message)
	var err error
	var r *accepted
	switch {
	case fate.Refused():
		err = refusal(fate.Reply, fate.Step)
	case fate.Action != pipeline.Discard:
		var reply smtp.Reply
		if r, reply = a.accept(ctx, f.View(), f.Record, func() error { return nil }, nil); r == nil {
			err = refusal(reply, "")
		}
	}
	t := f.End(ctx, pipeline.Accepted)
	a.cfg.Trace(pipeline.Trace{ID: v.ID(), Events: t.Events})
	if r != nil {
		a.soon(context.WithoutCancel(ctx), r)
	}
	return err
}
