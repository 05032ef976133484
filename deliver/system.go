package deliver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/deliver/route"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/smtp"
)

// Handing is mail for a program or a file of the system.
type Handing struct {
	ID      message.ID
	Sender  smtp.Address
	Rcpts   []HandedTo
	Message message.Bytes // as it is stored: without Return-Path and Delivered-To
	Client  Brought
	User    string // as whom; "" is nobody in particular (default_privs)

	Command string // a command line, as aliases(5) has it
	Path    string // or a file, or with a slash at the end a Maildir
	Route   *route.Local
	Via     route.Via // of Route
	Timeout time.Duration
}

// HandedTo is one recipient of a Handing.
type HandedTo struct {
	Addr     smtp.Address // who it is delivered for
	Original smtp.Address // as in the envelope
	User     string       // Addr's local-part without a detail
	Detail   string       // behind the separator
}

// Brought is who brought a message, as programs are told.
type Brought struct {
	Addr       string `json:"addr,omitempty"`
	Port       string `json:"port,omitempty"`
	Name       string `json:"name,omitempty"`
	Helo       string `json:"helo,omitempty"`
	Protocol   string `json:"protocol,omitempty"` // "ESMTP"
	Method     string `json:"method,omitempty"`   // of the login
	Login      string `json:"login,omitempty"`
	AuthSender string `json:"auth,omitempty"` // AUTH of MAIL
}

// brought finds out who brought a message.
func brought(v *pipeline.View) *Brought {
	c := v.Client()
	out := &Brought{Helo: c.Helo, Name: c.Name}
	if c.Protocol == "smtp" || c.Protocol == "lmtp" {
		out.Protocol = strings.ToUpper(c.Protocol)
		if c.ESMTP && c.Protocol == "smtp" {
			out.Protocol = "ESMTP"
		}
	}
	if c.Addr.IsValid() {
		out.Addr, out.Port = c.Addr.Addr().Unmap().String(), strconv.Itoa(int(c.Addr.Port()))
		out.Name = cmp.Or(c.Name, "unknown")
	}
	if c.Auth != nil {
		out.Method, out.Login = c.Auth.Mechanism, c.Auth.User
	}
	if auth := v.SenderParams().Auth; auth != nil {
		out.AuthSender = *auth
	}
	return out
}

// handed is a recipient of a Handing.
func (a *Agent) handed(d *queued) HandedTo {
	base, detail := a.cfg.Router.Split(d.Act.Mailbox.Local)
	return HandedTo{d.Act.Mailbox, d.Act.Rcpt, base, detail}
}

// client is who brought an item's message.
func (d *queued) client() Brought {
	if d.Client == nil {
		return Brought{}
	}
	return *d.Client
}

// replyNoSystem is what programs and files of the system get where the server can
// not reach any.
var replyNoSystem = smtp.NewReply(451, 3, 5, "This server runs without a monitor: it hands no mail to programs and files")

// attemptSystem hands a message to the programs and files that aliases and users
// name.
func (a *Agent) attemptSystem(ctx context.Context, job *queue.Job, data []queued, body message.Bytes) []queue.Result {
	out := make([]queue.Result, len(data))
	for i := range data {
		d := &data[i]
		h := Handing{
			ID: job.Message, Sender: d.Sender, User: d.Act.Hand.User, Message: d.Act.revision(body),
			Rcpts: []HandedTo{a.handed(d)}, Client: d.client(),
		}
		where := d.Act.Hand.Text
		if d.Act.Hand.Command {
			h.Command, where = d.Act.Hand.Text, "|"+where
		} else {
			h.Path = d.Act.Hand.Text
		}
		out[i] = a.hand(ctx, job, []*queued{d}, where, "local", h)
	}
	return out
}

// maxHanded is how many recipients one run of a program has (postconf(5),
// default_destination_recipient_limit).
const maxHanded = 50

// handLocal hands a message to the program or file of a route.
func (a *Agent) handLocal(ctx context.Context, job *queue.Job, data []queued, e errand, out []queue.Result) {
	l := e.way.Local
	size := maxHanded
	if l.Single || e.way.Via != route.ViaPipe {
		size = 1
	}
	byDomain := slices.SortedStableFunc(slices.Values(e.idx), func(i, k int) int {
		return strings.Compare(strings.ToLower(data[i].Act.Mailbox.Domain), strings.ToLower(data[k].Act.Mailbox.Domain))
	})
	for len(byDomain) > 0 {
		first, together := &data[byDomain[0]], []*queued(nil)
		n := 1
		for n < len(byDomain) && n < size && strings.EqualFold(data[byDomain[n]].Act.Mailbox.Domain, first.Act.Mailbox.Domain) {
			n++
		}
		h := Handing{
			ID: job.Message, Sender: first.Sender, Message: e.body, Client: first.client(), Route: &l, Via: e.way.Via, Timeout: l.Timeout,
		}
		for _, i := range byDomain[:n] {
			h.Rcpts, together = append(h.Rcpts, a.handed(&data[i])), append(together, &data[i])
		}
		res := a.hand(ctx, job, together, "route "+l.Name, programOf(e.way.Via), h)
		for _, i := range byDomain[:n] {
			out[i] = res
		}
		byDomain = byDomain[n:]
	}
}

// hand hands a message over for some recipients, and makes the result of each.
func (a *Agent) hand(ctx context.Context, job *queue.Job, to []*queued, where, by string, h Handing) (res queue.Result) {
	reply := replyNoSystem
	if a.cfg.Hand != nil {
		reply = a.cfg.Hand(ctx, h)
	}
	if errors.Is(ctx.Err(), context.Canceled) && reply.Temporary() {
		return queue.Result{Status: queue.Postponed}
	}
	for _, d := range to {
		res = a.told(job, d, where, by, reply)
	}
	return res
}
