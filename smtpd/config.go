package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Need is how much a listener wants of something.
type Need uint8

// How much a listener wants TLS or a login.
const (
	Never    Need = iota
	Optional      // offered
	Required      // MAIL is refused without it
)

// Limits are the bounds of a session. Zero fields mean those of DefaultLimits.
type Limits struct {
	MessageSize    int64 // octets, as announced by SIZE
	Recipients     int   // of a transaction, as announced by LIMITS RCPTMAX
	CommandLine    int   // octets with CR LF
	Connections    int   // of the listener
	PerAddress     int   // connections of one IPv4 address or IPv6 /64
	SlowErrors     int   // refused commands before replies are delayed
	MaxErrors      int   // refused commands before the connection is closed
	AuthFailures   int   // failed logins before the connection is closed
	CommandTimeout time.Duration
	BlockTimeout   time.Duration // between two reads of message data
	SessionTimeout time.Duration
	Message        time.Duration // of the pipeline's work on a message
	Header         message.Limits
}

// DefaultLimits are the promises of RFC 5321, 4.5.3, and what a busy site finds
// sane beyond them.
var DefaultLimits = Limits{
	MessageSize: 50 << 20, Recipients: 1000, CommandLine: 2048,
	Connections: 1000, PerAddress: 20, SlowErrors: 10, MaxErrors: 20, AuthFailures: 3,
	CommandTimeout: 5 * time.Minute, BlockTimeout: 3 * time.Minute, SessionTimeout: 30 * time.Minute,
	Message: 4 * time.Minute, Header: message.DefaultLimits,
}

// Route is what the router says of a recipient.
type Route struct {
	Class  pipeline.Class
	Exempt bool       // postmaster or abuse
	Reply  smtp.Reply // why not; zero if the recipient is welcome
}

// ErrCredentials is what Authenticate returns for a wrong name or password.
// Any other error answers 454.
var ErrCredentials = errors.New("smtpd: wrong name or password")

// Config is a listener. The functions are called from many goroutines at once
// and obey their context.
type Config struct {
	Name       string // labels logs and traces
	Hostname   string // in the banner and in Received
	TLS        *tls.Config
	StartTLS   Need
	Implicit   bool // TLS from the first octet (RFC 8314)
	Auth       Need
	LMTP       bool // LMTP (RFC 2033) is spoken instead of SMTP
	Submission bool // clients are users: their addresses are not recorded, Date and Message-ID are added
	Strict     bool // refuse what only people typing by hand send; else loopback and submission are spared
	SMTPUTF8   bool
	DSN        bool
	PRDR       bool          // each recipient is answered behind the data, if the client wants it (draft-hall-prdr)
	GreetDelay time.Duration // waited before the banner, for early talkers
	Limits     Limits
	SpoolDir   string

	// Pipeline returns the pipeline in force and a function to call when the
	// session has left it.
	Pipeline func() (*pipeline.Pipeline, func())
	// Names looks up the client's name: the verified one and the one its
	// address claims. It may be nil.
	Names func(ctx context.Context, a netip.Addr) (name, reverse string, temporary bool)
	// Trusted reports whether an address is in mynetworks.
	Trusted func(netip.Addr) bool
	// Authenticate checks a password and returns the account's address.
	Authenticate func(ctx context.Context, login, password string, from netip.Addr) (user string, err error)
	// Sender says what an address is to a user who has logged in: in MAIL, and
	// where the message says who wrote it. It may be nil: then nobody asks.
	Sender func(ctx context.Context, user string, a smtp.Address) (Standing, error)
	// Route says what a recipient is.
	Route func(ctx context.Context, v *pipeline.View, rcpt smtp.Address) Route
	// XClient reports whether an address may say by XCLIENT that it is another
	// client. It may be nil.
	XClient func(netip.Addr) bool
	// Hide says which fields of an inbound message filters do not see. It
	// may be nil.
	Hide func(message.Field) bool
	// Accept takes the message that is in the flow's View for good and
	// returns the final reply. It calls gone just before it commits: a
	// client that has left gets no commit. By LMTP, and where the sender wanted
	// PRDR, refused are those recipients who have a reply of their own.
	Accept func(ctx context.Context, f *pipeline.Flow, gone func() error) (final smtp.Reply, refused map[pipeline.RcptID]smtp.Reply)
	// Trace is given the trace of every transaction that ended, and of every
	// session that was refused before one. It may be nil.
	Trace func(pipeline.Trace)

	// Watch is told when a connection has begun, as its trace begins, and when it
	// has ended: then Action says how ("quit", "lost connection after DATA"), Mods
	// how often each command came ("rcpt=1/2": once obeyed), and Took how long it was. nil: nobody wants to know.
	Watch func(pipeline.Event)

	Log *slog.Logger
	Now func() time.Time
}

// lenient reports whether a client is spared the strictness that is for strangers.
// One without an address is on a socket with a path.
func (c *Config) lenient(a netip.Addr) bool {
	return !c.Strict && (c.Submission || a.IsLoopback() || !a.IsValid())
}

func (c *Config) defaults() {
	l, d := &c.Limits, DefaultLimits
	orInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	orTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if l.MessageSize == 0 {
		l.MessageSize = d.MessageSize
	}
	orInt(&l.Recipients, d.Recipients)
	orInt(&l.CommandLine, d.CommandLine)
	orInt(&l.Connections, d.Connections)
	orInt(&l.PerAddress, d.PerAddress)
	orInt(&l.SlowErrors, d.SlowErrors)
	orInt(&l.MaxErrors, d.MaxErrors)
	orInt(&l.AuthFailures, d.AuthFailures)
	orTime(&l.CommandTimeout, d.CommandTimeout)
	orTime(&l.BlockTimeout, d.BlockTimeout)
	orTime(&l.SessionTimeout, d.SessionTimeout)
	orTime(&l.Message, d.Message)
	if l.Header == (message.Limits{}) {
		l.Header = d.Header
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Trusted == nil {
		c.Trusted = func(netip.Addr) bool { return false }
	}
}
