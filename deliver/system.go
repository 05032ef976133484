package deliver

import (
	"context"
	"errors"
	"strings"
	"time"

	"mtad/deliver/route"
	"mtad/message"
	"mtad/queue"
	"mtad/smtp"
)

// Handing is mail for a program or a file of the system.
type Handing struct {
	ID      message.ID
	Sender  smtp.Address
	Rcpts   []HandedTo
	Message message.Bytes // as it is stored: without Return-Path and Delivered-To
	User    string        // as whom; "" is nobody in particular (default_privs)

	Command string   // a command line, as aliases(5) has it
	Argv    []string // or a program and arguments, with $user and the like in them
	Path    string   // or a file, or with a slash at the end a Maildir; of a route with $user and the like
	Route   string   // the route block that Argv and Path are from; "" is an alias, or a user's own word
	Timeout time.Duration
}

// HandedTo is one recipient of a Handing.
type HandedTo struct {
	Addr     smtp.Address // who it is delivered for
	Original smtp.Address // as in the envelope
	Detail   string       // behind the separator
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
			Rcpts: []HandedTo{{d.Act.Mailbox, d.Act.Rcpt, d.Act.Hand.Detail}},
		}
		where := d.Act.Hand.Text
		if d.Act.Hand.Command {
			h.Command, where = d.Act.Hand.Text, "|"+where
		} else {
			h.Path = d.Act.Hand.Text
		}
		out[i] = a.hand(ctx, job, d, where, h)
	}
	return out
}

// handLocal hands a message to the program or file of a route.
func (a *Agent) handLocal(ctx context.Context, job *queue.Job, data []queued, e errand, out []queue.Result) {
	l := e.way.Local
	groups := [][]int{e.idx}
	if l.Single || e.way.Via != route.ViaPipe {
		groups = nil
		for _, i := range e.idx {
			groups = append(groups, []int{i})
		}
	}
	for _, idx := range groups {
		h := Handing{
			ID: job.Message, Sender: data[idx[0]].Sender, Message: e.body, User: l.User,
			Argv: l.Command, Path: l.Path, Route: l.Name, Timeout: l.Timeout,
		}
		if e.way.Via == route.ViaMaildir && !strings.HasSuffix(h.Path, "/") {
			h.Path += "/"
		}
		for _, i := range idx {
			_, detail := a.cfg.Router.Split(data[i].Act.Mailbox.Local)
			h.Rcpts = append(h.Rcpts, HandedTo{data[i].Act.Mailbox, data[i].Act.Rcpt, detail})
		}
		res := a.hand(ctx, job, &data[idx[0]], "route "+l.Name, h)
		for _, i := range idx {
			out[i] = res
		}
	}
}

// hand hands a message over and makes the result.
func (a *Agent) hand(ctx context.Context, job *queue.Job, d *queued, where string, h Handing) queue.Result {
	reply := replyNoSystem
	if a.cfg.Hand != nil {
		reply = a.cfg.Hand(ctx, h)
	}
	if errors.Is(ctx.Err(), context.Canceled) && reply.Temporary() {
		return queue.Result{Status: queue.Postponed}
	}
	return a.told(job, d, where, reply)
}
