package compat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"mtad/admin"
	"mtad/message"
	"mtad/selector"
)

const postqueueUsage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

// postqueue is postqueue(1).
func postqueue(ctx context.Context, env *Env, args []string) int {
	config, mode, arg := "", byte(0), ""
	opts, rest, err := getopt(args, "c:fi:jps:v")
	if err != nil {
		fmt.Fprintf(env.Err, "postqueue: %v\n", err)
		return env.ended("postqueue", exitUnavailable, fatalf(postqueueUsage))
	}
	modes := 0
	for _, o := range opts {
		switch o.flag {
		case 'c':
			config = o.arg
		case 'v':
		default:
			mode, arg = o.flag, o.arg
			modes++
		}
	}
	if modes != 1 || len(rest) > 0 {
		return env.ended("postqueue", exitUnavailable, fatalf(postqueueUsage))
	}
	return env.ended("postqueue", exitUnavailable, env.with(config, func(c *admin.Client) error {
		switch mode {
		case 'p':
			return list(ctx, c, env, true)
		case 'j':
			return list(ctx, c, env, false)
		case 'i':
			id, err := message.ParseID(arg)
			if err != nil {
				return fatalf("Cannot flush queue ID - invalid name: %q", Clean(arg))
			}
			return retry(ctx, c, selector.Selector{IDs: []string{id.String()}})
		case 's':
			return retry(ctx, c, selector.Selector{Domain: strings.Trim(arg, "[]")})
		}
		return retry(ctx, c, selector.Selector{})
	}))
}

// retry has mail tried now that is not held; that there is none is no error.
func retry(ctx context.Context, c *admin.Client, sel selector.Selector) error {
	_, err := c.ChangeQueue(ctx, "retry", admin.Change{Selector: sel, All: true})
	var none *admin.Error
	if errors.As(err, &none) && none.Code == admin.No {
		return nil
	}
	return err
}

// mailq is sendmail -bp. What sendmail's flags but -C mean for a list is nothing.
func mailq(ctx context.Context, env *Env, args []string) int {
	config := ""
	for i, a := range args {
		if (a == "-C" || a == "-c") && i+1 < len(args) {
			config = args[i+1]
		}
	}
	return env.ended("mailq", exitUnavailable, env.with(config, func(c *admin.Client) error {
		return list(ctx, c, env, true)
	}))
}

// entry is a message in the queue, as Postfix has it.
type entry struct {
	queue   string // active, deferred, hold
	id      string
	sender  string
	size    int64
	created time.Time
	ended   bool
	rcpts   []recipient
}

type recipient struct{ addr, reason string }

const (
	queueActive   = "active"
	queueDeferred = "deferred"
	queueHold     = "hold"
)

// queueOf is the queue that an item of ours would be in.
func queueOf(it *admin.Item, now time.Time) string {
	switch {
	case it.State == "held":
		return queueHold
	case it.Next.After(now):
		return queueDeferred
	}
	return queueActive
}

// rank orders queues: a message is in the first that one of its recipients is in.
var rank = map[string]int{queueActive: 0, queueDeferred: 1, queueHold: 2}

// add makes an item part of its message.
func (e *entry) add(it *admin.Item, now time.Time) {
	if q := queueOf(it, now); e.queue == "" || rank[q] < rank[e.queue] {
		e.queue = q
	}
	if it.Created.Before(e.created) {
		e.created = it.Created
	}
	e.ended = e.ended || it.Ended != ""
	e.rcpts = append(e.rcpts, recipient{it.Rcpt, reason(it)})
}

// reason is what keeps an item in the queue.
func reason(it *admin.Item) string {
	why := it.Reply
	switch {
	case it.Host == "" || why == "":
	case strings.HasPrefix(it.Host, "|"), strings.HasPrefix(it.Host, "/"), it.Host == "error", it.Host == "retry":
		if words := strings.SplitN(why, " ", 3); len(words) == 3 { // no host said this
			why = words[2]
		}
	default:
		why = "host " + it.Host + " said: " + why
	}
	if it.Hold != "" {
		why = it.Hold
	}
	return strings.Join(strings.Fields(why), " ")
}

// each calls fn with every message in the queue, one at a time.
func each(ctx context.Context, c *admin.Client, sel selector.Selector, now time.Time, fn func(*entry) error) error {
	var e *entry
	err := c.Queue(ctx, sel, func(it *admin.Item) error {
		if e != nil && e.id != it.ID {
			if err := fn(e); err != nil {
				return err
			}
			e = nil
		}
		if e == nil {
			e = &entry{id: it.ID, sender: it.Sender, size: it.Size, created: it.Created}
		}
		e.add(it, now)
		return nil
	})
	if err == nil && e != nil {
		err = fn(e)
	}
	return err
}

// errReader says that whoever reads the output has left.
var errReader = errors.New("the reader has left")

// printer prints messages.
type printer struct {
	w    *bufio.Writer
	n    int
	size int64
}

// list prints the queue, in the form of mailq or as JSON.
func list(ctx context.Context, c *admin.Client, env *Env, traditional bool) error {
	p := &printer{w: bufio.NewWriter(env.Out)}
	print := p.json
	if traditional {
		print = p.traditional
	}
	err := each(ctx, c, selector.Selector{}, env.Now(), func(e *entry) error {
		if e.sender == "" {
			e.sender = nullSender
		}
		print(e)
		p.n++
		p.size += e.size
		_, err := p.w.Write(nil) // what an earlier write came to
		return err
	})
	if err == nil && traditional {
		p.summary()
	}
	if err == nil {
		err = p.w.Flush()
	}
	if errors.Is(err, syscall.EPIPE) {
		return errReader
	}
	return err
}

const nullSender = "MAILER-DAEMON"

// traditional is the form of mailq.
func (p *printer) traditional(e *entry) {
	if p.n == 0 {
		fmt.Fprintf(p.w, "%-11s %7s %-20s %s\n", "-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------")
	} else {
		fmt.Fprintln(p.w)
	}
	id := e.id + map[string]string{queueActive: "*", queueHold: "!"}[e.queue]
	if e.ended {
		id += "#"
	}
	fmt.Fprintf(p.w, "%-11s %7d %-20s %s\n", id, e.size, e.created.Local().Format("Mon Jan _2 15:04:05"), Clean(e.sender))
	last := ""
	for _, r := range e.rcpts {
		if r.reason != last {
			last = r.reason
			show := Clean(last)
			if show == "" {
				show = "reason unavailable"
			}
			fmt.Fprintf(p.w, "%*s(%s)\n", max(0, 76-len(show)), "", show)
		}
		fmt.Fprintf(p.w, "%-11s %7s %-20s %s\n", "", "", "", Clean(r.addr))
	}
}

// summary is the last line of mailq.
func (p *printer) summary() {
	switch p.n {
	case 0:
		fmt.Fprintln(p.w, "Mail queue is empty")
	case 1:
		fmt.Fprintf(p.w, "\n-- %d Kbytes in 1 Request.\n", p.size/1024)
	default:
		fmt.Fprintf(p.w, "\n-- %d Kbytes in %d Requests.\n", p.size/1024, p.n)
	}
}

// json is a line of postqueue -j.
func (p *printer) json(e *entry) {
	fmt.Fprintf(p.w, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %t, "sender": %s, "recipients": [`,
		quote(e.queue), quote(e.id), e.created.Unix(), e.size, e.ended, quote(e.sender))
	for i, r := range e.rcpts {
		if i > 0 {
			io.WriteString(p.w, ", ")
		}
		fmt.Fprintf(p.w, `{"address": %s`, quote(r.addr))
		if r.reason != "" {
			fmt.Fprintf(p.w, `, "delay_reason": %s`, quote(r.reason))
		}
		io.WriteString(p.w, "}")
	}
	io.WriteString(p.w, "]}\n")
}

// quote is a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return `""` // strings have a form in JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}
