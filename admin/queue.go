package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mtad/message"
	"mtad/queue"
	"mtad/selector"
	"mtad/store"
)

func itemOf(it *queue.Item) Item {
	return Item{
		ID: it.Message.String(), Row: it.ID, Sender: it.Sender, Rcpt: it.Rcpt, Dest: it.Dest, State: it.State(),
		Created: it.Created, Next: it.Next, Expires: it.Expires, Attempts: it.Attempts,
		Hold: it.Hold, Reply: it.Reply, Host: it.Host, Route: it.Route, Ended: it.Ended, Size: it.Size,
	}
}

// queueItems writes the chosen items as they are read, a JSON object a line, and
// an empty one behind the last.
func (s *Server) queueItems(w http.ResponseWriter, r *http.Request) error {
	var sel selector.Selector
	if err := decode(r.Body, &sel); err != nil {
		return err
	}
	rc, enc := http.NewResponseController(w), json.NewEncoder(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return nil // the caller has left
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	n := 0
	err := s.cfg.Queue.Each(r.Context(), sel, func(it *queue.Item) error {
		if n%flushEvery == 0 {
			if err := rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
				return err
			}
		}
		n++
		return enc.Encode(itemOf(it))
	})
	if err != nil {
		return err
	}
	return errors.Join(rc.SetWriteDeadline(time.Now().Add(writeTime)), enc.Encode(Item{}))
}

// flushEvery is after how many items a caller has time anew.
const flushEvery = 1000

// queueMessage writes the octets of a message that is in the queue.
func (s *Server) queueMessage(w http.ResponseWriter, r *http.Request) error {
	id, err := parseID(r.URL.Query())
	if err != nil {
		return err
	}
	body, err := s.cfg.DB.Bytes(r.Context(), id)
	if errors.Is(err, store.ErrNoMessage) {
		return &Error{No, "no message " + id.String() + " is kept here"}
	}
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	_, err = io.Copy(w, message.NewReader(body))
	return err
}

// queueVerbs are the calls that change the queue.
var queueVerbs = map[string]func(*Server, Change) queue.Action{
	"hold":    func(_ *Server, c Change) queue.Action { return queue.Hold(c.Why) },
	"release": func(s *Server, _ Change) queue.Action { return s.cfg.Queue.Release() },
	"retry":   func(s *Server, _ Change) queue.Action { return s.cfg.Queue.Retry() },
	"requeue": func(*Server, Change) queue.Action { return queue.Requeue() },
	"reroute": func(_ *Server, c Change) queue.Action { return queue.Reroute(c.Via) },
	"bounce":  func(s *Server, c Change) queue.Action { return s.cfg.Queue.Bounce(c.Why) },
	"delete":  func(*Server, Change) queue.Action { return queue.Delete() },
}

// queueChange counts what is chosen and, unless it is a dry run, changes it.
func (s *Server) queueChange(w http.ResponseWriter, r *http.Request) error {
	verb := r.PathValue("verb")
	action := queueVerbs[verb]
	if action == nil {
		return &Error{Usage, "the queue knows no " + verb}
	}
	var c Change
	if err := decode(r.Body, &c); err != nil {
		return err
	}
	switch {
	case c.Selector.IsZero() && !c.All:
		return &Error{Usage, "nothing says which items; all has to be asked for"}
	case c.Why == "" && (verb == "hold" || verb == "bounce"):
		return &Error{Usage, verb + " wants a reason"}
	case verb == "reroute":
		if err := s.cfg.Router.CheckTransport(c.Via); c.Via == "" || err != nil {
			return &Error{Usage, "reroute wants the name of a route block, transport:nexthop or a nexthop, not " + strconv.Quote(c.Via)}
		}
	}
	out, err := s.changeQueue(w, r, c, action(s, c))
	if err != nil {
		return err
	}
	return write(w, out)
}

// changeQueue is queueChange's work, which takes as long as it takes.
func (s *Server) changeQueue(w http.ResponseWriter, r *http.Request, c Change, a queue.Action) (Counts, error) {
	rc := http.NewResponseController(w)
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})); err != nil {
		return Counts{}, err
	}
	if c.DryRun {
		n, err := s.cfg.Queue.Match(r.Context(), c.Selector, a)
		if err == nil && n.Items == 0 {
			err = queue.ErrNone
		}
		return Counts{Items: n.Items, Messages: n.Messages, DryRun: true}, err
	}
	// What was begun is not left half done when the caller leaves.
	n, err := s.cfg.Queue.Change(context.WithoutCancel(r.Context()), c.Selector, a)
	return Counts{Items: n.Items, Messages: n.Messages}, err
}

// queueShape is the queue's distribution by age.
func (s *Server) queueShape(ctx context.Context, of queue.ShapeOf) (*queue.Shape, error) {
	return s.cfg.Queue.Shape(ctx, of)
}

// Queue calls fn with the chosen items, in the order of their messages.
func (c *Client) Queue(ctx context.Context, sel selector.Selector, fn func(*Item) error) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/queue/list", nil, sel)
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		it := &Item{}
		if err := d.Decode(it); err != nil {
			return c.unreachable(err)
		}
		if it.ID == "" {
			return nil
		}
		if err := fn(it); err != nil {
			return err
		}
	}
}

// QueueItems are the items that Queue comes to, for few.
func (c *Client) QueueItems(ctx context.Context, sel selector.Selector) ([]Item, error) {
	out := []Item{}
	err := c.Queue(ctx, sel, func(it *Item) error {
		out = append(out, *it)
		return nil
	})
	return out, err
}

// ChangeQueue does one of hold, release, retry, requeue, reroute, bounce and delete
// to what is chosen.
func (c *Client) ChangeQueue(ctx context.Context, verb string, ch Change) (Counts, error) {
	return change[Counts](ctx, c, "/v1/queue/change/"+url.PathEscape(verb), ch)
}

// QueueShape tells the queue's distribution by age.
func (c *Client) QueueShape(ctx context.Context, of queue.ShapeOf) (queue.Shape, error) {
	return change[queue.Shape](ctx, c, "/v1/queue/shape", of)
}

// Message writes the octets of a message in the queue to w.
func (c *Client) Message(ctx context.Context, id message.ID, w io.Writer) error {
	return c.copy(ctx, "/v1/queue/message", url.Values{"id": {id.String()}}, w)
}
