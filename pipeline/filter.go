package pipeline

import (
	"context"
	"io"
	"log/slog"
	"time"

	"mtad/config"
	"mtad/dns"
)

// A Filter judges one stage of one transaction. It is called from many
// goroutines at once, obeys the context's deadline, and keeps nothing of the
// View after it returns. An error is a fault of the filter, answered by the
// step's on_error; a refusal is a Verdict.
type Filter interface {
	Stages() Stages
	Filter(ctx context.Context, s Stage, v *View) (Verdict, error)
}

// Opener is for filters that keep state for an SMTP session: milter, external,
// lua. Open is called when the session reaches the first stage of the pipeline;
// the Session then stands for the filter.
type Opener interface {
	Open(ctx context.Context, v *View) (Session, error)
}

// Session is a filter's state for one SMTP session. Its Stages, and its Access
// where it has that, are asked after Open: a milter negotiates them. The calls
// of one Session come one after the other.
type Session interface {
	Filter
	// End tells how a transaction ended; also for one that got no further
	// than MAIL.
	End(ctx context.Context, o Outcome) error
	io.Closer
}

// Retractor is an Opener that can take back a call of its sessions. Where its
// Access says that there are no Effects, a session may be opened, and told of a
// command, while an earlier filter still judges that. If that one ends the stage,
// Retract makes the session what it was before: later calls come to what they
// would have come to without this one. A session that was opened for such a call
// is closed instead, and the next call opens another; so is one whose Retract
// fails.
type Retractor interface {
	Opener
	Retract(ctx context.Context, session Session, s Stage) error
}

// Outdater is for filters that are made of files besides their options. Outdated
// reports whether these have changed: then a reload makes the filter anew.
type Outdater interface {
	Outdated() bool
}

// Outcome is how a transaction ended.
type Outcome uint8

// The outcomes of a transaction.
const (
	Accepted Outcome = iota + 1
	Refused
	Aborted // RSET, a lost connection, a new EHLO
)

func (o Outcome) String() string { return [...]string{"none", "accepted", "refused", "aborted"}[o&3] }

// Access is declared by filters that may run beside others: what they read and
// write at a stage. A filter without it reads and writes everything. The View
// hides what is not declared as read; writing more than declared is a fault. That
// of a Retractor holds for its sessions, which may declare less.
type Access interface {
	Access(Stage) (reads, writes Facts)
}

// Prefetcher is a filter that asks the domain name system, and can say what
// before its turn comes. At Connect, Helo, Mail and Rcpt it lists what it will
// want to know, as far as the View tells; the loop asks, so that the resolver has
// the answers, or is about to, when the filter wants them. Nothing else comes of
// it: Prefetch only looks at the View, and never sees an answer.
type Prefetcher interface {
	Prefetch(s Stage, v *View) []dns.Question
}

// Runner is for filters that hold resources: pools, processes, rule sets. Start
// is called before the first Filter, Close after the last.
type Runner interface {
	Start(ctx context.Context) error
	io.Closer
}

// Kind is a type of filter as the configuration knows it.
type Kind struct {
	Name    string // as written after filter
	Doc     string // one sentence
	Stages  Stages // where its filters may be asked
	Options []config.Option
	// New decodes and validates a block. It does no I/O but reading files
	// that the block names.
	New func(b config.Block, env Env) (Filter, error)
}

// Env is everything a filter may learn from outside its View, so that a session
// can be recorded and replayed.
type Env struct {
	Log  *slog.Logger
	DNS  dns.Resolver
	KV   KV
	Now  func() time.Time
	Rand io.Reader
}

// KV is small state that outlives a message: counters, seen sets. Keys are at
// most 512 octets, values 64 KiB; a ttl of zero means no expiry. Writing it is
// the fact Effects.
type KV interface {
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Add adds delta to a counter, which begins at 0, and returns the sum.
	// The first Add after an expiry begins a new counter with that ttl.
	Add(ctx context.Context, key string, delta int64, ttl time.Duration) (int64, error)
}
