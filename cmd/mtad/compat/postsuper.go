package compat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mtad/admin"
	"mtad/message"
	"mtad/selector"
)

// superAction is what a flag of postsuper does.
type superAction struct {
	flag     byte
	verb     string // of the control socket
	one, all string // what is said of it
	queues   []string
}

var superActions = []superAction{
	{'d', "delete", "removed", "Deleted", nil},
	{'h', "hold", "placed on hold", "Placed on hold", []string{queueActive, queueDeferred}},
	{'H', "release", "released from hold", "Released from hold", []string{queueHold}},
	{'r', "requeue", "requeued", "Requeued", nil},
}

const superUsage = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-r queue_id (requeue)] [-v (verbose)] [queue...]"

// superQueues are the names of queues that postsuper takes; mail of ours is in
// three of them.
var superQueues = []string{queueActive, queueDeferred, queueHold, "incoming", "maildrop"}

// batch is how many messages are changed by one call.
const batch = 1000

// postsuper is postsuper(1), without what mends a queue directory: there is none.
func postsuper(ctx context.Context, env *Env, args []string) int {
	const name = "postsuper"
	opts, queues, err := getopt(args, "c:d:h:H:r:psSv")
	if err != nil {
		fmt.Fprintf(env.Err, "%s: %v\n", name, err)
		return env.ended(name, exitFatal, fatalf(superUsage))
	}
	for _, q := range queues {
		if !slices.Contains(superQueues, q) {
			return env.ended(name, exitFatal, fatalf("invalid directory name: %s", Clean(q)))
		}
	}
	config := ""
	chosen := map[byte][]string{}
	for _, o := range opts {
		switch o.flag {
		case 'c':
			config = o.arg
		case 'd', 'h', 'H', 'r':
			chosen[o.flag] = append(chosen[o.flag], o.arg)
		}
	}
	return env.ended(name, exitFatal, env.with(config, func(c *admin.Client) error {
		for _, a := range superActions {
			if len(chosen[a.flag]) == 0 {
				continue
			}
			s := &super{ctx: ctx, c: c, env: env, action: a, queues: queues}
			if err := s.run(chosen[a.flag]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// super does one thing to many messages.
type super struct {
	ctx    context.Context
	c      *admin.Client
	env    *Env
	action superAction
	queues []string // as given
	done   int
}

func (s *super) run(ids []string) error {
	for _, id := range ids {
		var err error
		switch id {
		case "-":
			err = s.input()
		case selector.All:
			err = s.everything()
		default:
			err = s.some([]string{id})
		}
		if err != nil {
			return err
		}
	}
	what := "messages"
	if s.done == 1 {
		what = "message"
	}
	fmt.Fprintf(s.env.Err, "postsuper: %s: %d %s\n", s.action.all, s.done, what)
	return nil
}

// input takes IDs from standard input, one a line.
func (s *super) input() error {
	var ids []string
	in := bufio.NewScanner(s.env.In)
	for in.Scan() {
		if id := strings.TrimSpace(in.Text()); id != "" {
			ids = append(ids, id)
		}
		if len(ids) == batch {
			if err := s.some(ids); err != nil {
				return err
			}
			ids = ids[:0]
		}
	}
	if err := in.Err(); err != nil {
		return fatalf("read standard input: %v", err)
	}
	return s.some(ids)
}

// wants reports whether a message is in a queue that is meant.
func (s *super) wants(e *entry) bool {
	if len(s.queues) > 0 && !slices.Contains(s.queues, e.queue) {
		return false
	}
	return len(s.action.queues) == 0 || slices.Contains(s.action.queues, e.queue)
}

// everything does it to all messages in the queues that are meant.
func (s *super) everything() error {
	found, err := s.find(selector.Selector{})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(found, batch) {
		if err := s.do(some); err != nil {
			return err
		}
	}
	return nil
}

// some does it to the messages of IDs that are in the queues that are meant, and
// names them. What is no ID of ours is none of a message in the queue.
func (s *super) some(ids []string) error {
	var sel selector.Selector
	for _, text := range ids {
		id, err := message.ParseID(strings.TrimRight(text, "*!#"))
		if err != nil {
			fmt.Fprintf(s.env.Err, "postsuper: warning: invalid mail queue id: %s\n", Clean(text))
			continue
		}
		sel.IDs = append(sel.IDs, id.String())
	}
	if len(sel.IDs) == 0 {
		return nil
	}
	found, err := s.find(sel)
	if err != nil {
		return err
	}
	if err := s.do(found); err != nil {
		return err
	}
	for _, id := range found {
		fmt.Fprintf(s.env.Err, "postsuper: %s: %s\n", id, s.action.one)
	}
	return nil
}

func (s *super) find(sel selector.Selector) (found []string, err error) {
	err = each(s.ctx, s.c, sel, s.env.Now(), func(e *entry) error {
		if s.wants(e) {
			found = append(found, e.id)
		}
		return nil
	})
	return found, err
}

// do changes messages, and counts them. What is requeued is not held any more.
func (s *super) do(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	verbs := []string{s.action.verb}
	if s.action.verb == "requeue" {
		verbs = append(verbs, "release")
	}
	for i, verb := range verbs {
		n, err := s.c.ChangeQueue(s.ctx, verb, admin.Change{Selector: selector.Selector{IDs: ids}, Why: "held by postsuper"})
		var none *admin.Error
		if err != nil && !(errors.As(err, &none) && none.Code == admin.No) {
			return err
		}
		if i == 0 {
			s.done += n.Messages
		}
	}
	return nil
}
