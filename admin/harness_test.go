package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"mtad/deliver/relay"
	"mtad/deliver/route"
	"mtad/directory"
	"mtad/journal"
	"mtad/mailbox"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spamdb"
	"mtad/store"
	"mtad/trace"
)

// harness is a server on a real store, and a client of it.
type harness struct {
	*Client
	server *Server
	socket string
	cfg    Config
	reload func() ([]string, error)
	stops  atomic.Int32
	done   chan error
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	dir := t.TempDir()
	db := must[*store.DB](t)(store.Open(filepath.Join(dir, "store"), store.Options{}, mailbox.Schema(), directory.Schema(), queue.Schema(), spamdb.Schema()))
	boxes := must[*mailbox.Store](t)(mailbox.Open(t.Context(), db, mailbox.Options{}))
	dir2 := must[*directory.Directory](t)(directory.New(db, directory.Options{Settings: directory.Settings{DefaultDomain: "example.test"}}))
	traces := must[*trace.Log](t)(trace.Open(filepath.Join(dir, "traces.db"), trace.Options{}))
	keeper := spamdb.NewKeeper(db, slog.New(slog.DiscardHandler))
	h := &harness{socket: filepath.Join(dir, "control.sock"), done: make(chan error, 1)}
	h.reload = func() ([]string, error) { return nil, nil }
	h.cfg = Config{
		Info: Info{Version: "1.2", PID: 42, Started: time.Unix(1000, 0).UTC(), Config: "/etc/mtad/mtad.hcl", DataDir: dir, Hostname: "mx.example.test"},
		DB:   db, Queue: queue.New(queue.Config{DB: db}), Directory: dir2, Mailboxes: boxes, Traces: traces,
		Router: route.New(dir2, &route.Config{
			Origin: "example.test", Separator: "+", Aliases: []route.AliasSource{nil}, Relayhost: "smart",
			Routes: []route.Named{{Name: "smart", Way: route.Way{Via: route.ViaSMTP, Route: relay.Route{Name: "smart", Hosts: []string{"127.0.0.1:2525"}, Security: relay.Plain}}}},
		}),
		Steps: func() []pipeline.Stats { return []pipeline.Stats{someStats()} },
		Listeners: func() []Listener {
			return []Listener{
				{Name: "mx", Protocol: "smtp", Addr: []string{"127.0.0.1:25"}, TLS: "opportunistic", Connections: 3},
				{Name: "imap", Protocol: "imap", TLS: "none", Connections: 5},
				{Name: "imaps", Protocol: "imap", TLS: "implicit", Connections: 5},
			}
		},
		Reload: func(context.Context) ([]string, error) { return h.reload() },
		Stop:   func() { h.stops.Add(1) },
		CheckScript: func(_ context.Context, _, _, _, text string) string {
			if text == "bad" {
				return "1:1: bad"
			}
			return ""
		},
		Spam: Spam{keeper, func() (*spam.Engine, error) {
			return spam.New(conf.Parse("test", "body MONEY /money/", conf.Options{}), spam.Options{Bayes: true}), nil
		}},
		Log: slog.New(slog.DiscardHandler),
	}
	h.server = must[*Server](t)(New(h.cfg))
	l := must[*socket](t)(listenSocket(h.socket))
	go func() { h.done <- h.server.ServeControl(l) }()
	h.Client = NewClient(h.socket)
	t.Cleanup(func() {
		h.Client.Close()
		h.close(t)
		check(t, errors.Join(keeper.Close(), db.Close(), traces.Close()))
	})
	return h
}

func listenSocket(path string) (*socket, error) {
	l, err := Listen(path)
	s, _ := l.(*socket)
	return s, err
}

// close ends the server; a second call does nothing.
func (h *harness) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	check(t, h.server.Close(ctx))
	if err := <-h.done; err != nil {
		t.Error(err)
	}
	h.done <- nil
}

func someStats() pipeline.Stats {
	took := make([]int64, len(pipeline.LatencyBounds())+1)
	took[0], took[2], took[len(took)-1] = 4, 2, 1
	return pipeline.Stats{
		Pipeline: "inbound", Step: "spf", Kind: "spf", Actions: map[pipeline.Action]int64{pipeline.Continue: 5, pipeline.Reject: 2},
		Faults: 1, Skipped: 3, Took: took, Total: 7 * time.Millisecond, BreakerOpen: true,
	}
}

// code is what a command would exit with; 0 for nil.
func code(t *testing.T, err error) Code {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is a %T, not an *Error", err, err)
	}
	return e.Code
}

// enqueue puts a message with one item for each recipient into the queue.
func (h *harness) enqueue(t *testing.T, id message.ID, body, sender string, created time.Time, hold string, rcpts ...string) {
	t.Helper()
	place, err := h.cfg.DB.Journal().Append(t.Context(), journal.Record{ID: id, Kind: 1, Body: message.FromBytes([]byte(body))})
	check(t, err)
	check(t, h.cfg.DB.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Place(id, place); err != nil {
			return err
		}
		tx.Applied(place)
		for i, r := range rcpts {
			it := &queue.Item{
				Message: id, Sender: sender, Rcpt: r, Dest: "route:smart", Data: []byte("{}"),
				Created: created, Next: created.Add(time.Hour), Expires: created.Add(24 * time.Hour), Hold: hold,
			}
			if err := h.cfg.Queue.Add(tx, it); err != nil {
				return err
			}
			if i%2 == 1 {
				if _, err := tx.Exec("UPDATE queue SET attempts = 2, reply = '451 later', host = 'mx' WHERE id = ?", it.ID); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func ids(items []Item) string {
	s := ""
	for _, it := range items {
		s += fmt.Sprintf("%s>%s ", it.Sender, it.Rcpt)
	}
	return s
}
