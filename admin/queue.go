package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mtad/message"
	"mtad/queue"
	"mtad/store"
)

var errState = &Error{Usage, "status is one of ready, deferred, held"}

// selector checks a Selector and says it in the queue's words.
func (sel *Selector) selector() (queue.Selector, error) {
	out := queue.Selector{
		Message: sel.ID, Sender: sel.From, Rcpt: sel.To, Domain: sel.Domain, State: sel.Status,
		Before: sel.Before, After: sel.After,
	}
	switch sel.Status {
	case "", "ready", "deferred", "held":
	default:
		return out, errState
	}
	if sel.ID == "" {
		return out, nil
	}
	id, err := message.ParseID(sel.ID)
	if err != nil {
		return out, &Error{Usage, err.Error()}
	}
	out.Message = id.String() // in lower case
	return out, nil
}

// values is the Selector as a query.
func (sel *Selector) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"id": sel.ID, "from": sel.From, "to": sel.To, "domain": sel.Domain, "status": sel.Status,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"before": sel.Before, "after": sel.After} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return q
}

// selectorOf reads what values wrote.
func selectorOf(q url.Values) (queue.Selector, error) {
	sel := Selector{ID: q.Get("id"), From: q.Get("from"), To: q.Get("to"), Domain: q.Get("domain"), Status: q.Get("status")}
	for name, t := range map[string]*time.Time{"before": &sel.Before, "after": &sel.After} {
		if v := q.Get(name); v != "" {
			var err error
			if *t, err = time.Parse(time.RFC3339Nano, v); err != nil {
				return queue.Selector{}, &Error{Usage, fmt.Sprintf("%s: %v", name, err)}
			}
		}
	}
	return sel.selector()
}

func itemOf(it *queue.Item) Item {
	return Item{
		ID: it.Message.String(), Row: it.ID, Sender: it.Sender, Rcpt: it.Rcpt, Dest: it.Dest, State: it.State(),
		Created: it.Created, Next: it.Next, Expires: it.Expires, Attempts: it.Attempts,
		Hold: it.Hold, Reply: it.Reply, Host: it.Host,
	}
}

func (s *Server) queueItems(ctx context.Context, q url.Values) ([]Item, error) {
	sel, err := selectorOf(q)
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Queue.List(ctx, sel, 0)
	if err != nil {
		return nil, err
	}
	out := make([]Item, len(found))
	for i, it := range found {
		out[i] = itemOf(it)
	}
	return out, nil
}

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

func (s *Server) queueRetry(ctx context.Context, c Change) (Counts, error) {
	return s.change(ctx, c, s.cfg.Queue.Retry)
}

func (s *Server) queueDelete(ctx context.Context, c Change) (Counts, error) {
	return s.change(ctx, c, s.cfg.Queue.Delete)
}

// change counts what the selector chooses and, unless it is a dry run, does fn.
func (s *Server) change(ctx context.Context, c Change, fn func(context.Context, queue.Selector) (int, error)) (Counts, error) {
	sel, err := c.selector()
	if err != nil {
		return Counts{}, err
	}
	if c.Selector == (Selector{}) && !c.All {
		return Counts{}, &Error{Usage, "nothing says which items; all has to be asked for"}
	}
	found, err := s.cfg.Queue.List(ctx, sel, 0)
	if err != nil {
		return Counts{}, err
	}
	messages := map[message.ID]bool{}
	for _, it := range found {
		messages[it.Message] = true
	}
	out := Counts{Items: len(found), Messages: len(messages), DryRun: c.DryRun}
	switch {
	case len(found) == 0:
		return out, &Error{No, "nothing in the queue fits that"}
	case c.DryRun:
		return out, nil
	}
	out.Items, err = fn(ctx, sel)
	return out, err
}
