package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"mtad/deliver/route"
	"mtad/directory"
	"mtad/mailbox"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/store"
	"mtad/trace"
)

// Bounds of the HTTP servers.
const (
	maxConnections = 64
	maxRequest     = 4 << 20 // octets: a script of 1 MiB, escaped
	callTime       = time.Minute
	headerTime     = 10 * time.Second
	writeTime      = 30 * time.Second // of one piece of an answer that streams
)

// Config is what a Server stands on. All but CheckScript, Listeners, LogLines, Submit,
// Plugins and Log are needed.
type Config struct {
	Info      Info
	DB        *store.DB
	Queue     *queue.Queue
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Router    *route.Router
	Traces    *trace.Log
	// Steps are the counters of the steps in force.
	Steps func() []pipeline.Stats
	// Listeners are the places where clients connect.
	Listeners func() []Listener
	// Reload puts the configuration file in force and names the settings that
	// wait for a restart.
	Reload func(context.Context) ([]string, error)
	// Stop ends the server; it returns at once.
	Stop func()
	// CheckScript returns what is wrong with a script of a user's in a language
	// (sieve, lua), for a person, or "".
	CheckScript func(ctx context.Context, language, user, name, text string) string
	// Submit takes a message of a user, as package maildrop has it, and returns its
	// ID; it bounds what it reads. nil: none is taken.
	Submit func(ctx context.Context, uid uint32, r io.Reader) (string, error)
	// Plugins are the filters that are programs; nil is none.
	Plugins Plugins
	// LogLines says where the log goes, and which of its newest lines stand behind
	// one; nil is none.
	LogLines func(after uint64) (to string, lines []LogLine)
	// Spam is what the filter of spam has learned.
	Spam Spam
	Log  *slog.Logger
}

// Server answers on the control socket and on the HTTP listener.
type Server struct {
	cfg     Config
	control *http.Server
	public  *http.Server
	live    context.Context // ends answers that stream
	drain   context.CancelFunc
}

// New makes a server. It listens to nothing yet.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listeners == nil {
		cfg.Listeners = func() []Listener { return nil }
	}
	s := &Server{cfg: cfg}
	metrics, err := s.metrics()
	if err != nil {
		return nil, fmt.Errorf("admin: metrics: %w", err)
	}
	public := http.NewServeMux()
	public.Handle("GET /metrics", metrics)
	public.HandleFunc("GET /healthz", s.healthz)
	control := http.NewServeMux()
	control.Handle("GET /metrics", metrics)
	control.HandleFunc("GET /healthz", s.healthz)
	control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &Error{Usage, "no such call: " + r.Method + " " + r.URL.Path})
	})
	for _, rt := range routes() {
		control.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			s.answer(w, r, rt)
		})
	}
	s.live, s.drain = context.WithCancel(context.Background())
	errorLog := slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)
	s.public = &http.Server{Handler: public, ReadTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: time.Minute, ErrorLog: errorLog}
	s.control = &http.Server{
		Handler: admitPeers(control), ReadTimeout: callTime, WriteTimeout: callTime, IdleTimeout: time.Minute,
		ConnContext: withPeer, ErrorLog: errorLog,
	}
	return s, nil
}

// ServeControl answers on a socket that Listen made, until Close.
func (s *Server) ServeControl(l net.Listener) error {
	return serve(s.control, l)
}

// ServePublic answers metrics and health to anybody who can reach l.
func (s *Server) ServePublic(l net.Listener) error {
	return serve(s.public, l)
}

func serve(srv *http.Server, l net.Listener) error {
	err := srv.Serve(netutil.LimitListener(l, maxConnections))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("admin: %w", err)
}

// Drain ends answers that would stream for ever. Calls are still answered.
func (s *Server) Drain() { s.drain() }

// Close stops listening and waits for the answers under way; when ctx ends they
// are cut off.
func (s *Server) Close(ctx context.Context) error {
	s.drain()
	var errs []error
	for _, srv := range []*http.Server{s.public, s.control} {
		if srv.Shutdown(ctx) != nil {
			errs = append(errs, srv.Close())
		}
	}
	return errors.Join(errs...)
}

// answer runs a call and writes what it says.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rt handler) {
	ctx := r.Context()
	if !rt.streams {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	if !rt.uploads {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	}
	out := &output{ResponseWriter: w}
	err := rt.call(s, out, r.WithContext(ctx))
	if err == nil {
		return
	}
	e := errorOf(err)
	if e.Code == Bug {
		s.cfg.Log.Error("control", "call", rt.method+" "+rt.path, "err", err)
	}
	if out.begun {
		// Too late for an answer: the caller sees the connection break.
		panic(http.ErrAbortHandler)
	}
	refuse(w, e)
}

// output knows whether an answer has begun.
type output struct {
	http.ResponseWriter
	begun bool
}

func (o *output) Write(b []byte) (int, error) {
	o.begun = true
	return o.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (o *output) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func refuse(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Code.status())
	// Nobody is left to be told if this fails.
	_ = json.NewEncoder(w).Encode(e)
}

// healthz says whether the database answers.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, _, err := s.cfg.Queue.Count(ctx); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "the database does not answer\n")
		return
	}
	io.WriteString(w, "ok\n")
}
