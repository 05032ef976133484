package hand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"mtad/deliver"
	"mtad/deliver/route"
	"mtad/monitor"
	"mtad/smtp"
)

// Monitor is what is asked of the monitor; *monitor.Client is one.
type Monitor interface {
	Run(ctx context.Context, r monitor.Request, mail io.Reader, limit time.Duration) (monitor.Result, error)
	Deliver(ctx context.Context, r monitor.Request, mail io.Reader, limit time.Duration) error
	Forward(ctx context.Context, user, name string, limit time.Duration) (text []byte, ok bool, err error)
}

const (
	// fileTime is how long a file may take, which others may have locked.
	fileTime = 5 * time.Minute
	// maxRuns bounds what is handed over at once, so that the monitor has room
	// for reading .forward files.
	maxRuns = 12
)

// Config of Hands.
type Config struct {
	Monitor   Monitor
	TimeLimit func() time.Duration // command_time_limit, now
	Log       *slog.Logger
	Now       func() time.Time // nil: time.Now
}

// Hands hands mail over. Its Hand is deliver.Config.Hand.
type Hands struct {
	cfg   Config
	slots chan struct{}
}

// New makes Hands.
func New(cfg Config) *Hands {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Hands{cfg: cfg, slots: make(chan struct{}, maxRuns)}
}

// Hand hands mail over and says what came of it.
func (h *Hands) Hand(ctx context.Context, m deliver.Handing) smtp.Reply {
	if m.Path == "/dev/null" {
		return smtp.NewReply(250, 0, 0, "Discarded")
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return replyNotNow
	}
	req := request(&m)
	p := &parcel{Handing: &m, flags: flagsOf(&m), now: h.cfg.Now()}
	size, err := p.size()
	if err != nil {
		h.cfg.Log.Error("hand over: read message", "id", m.ID, "err", err)
		return replyNotNow
	}
	req.Size = size
	body, stop := p.open()
	defer stop()
	if m.Command == "" && m.Via != route.ViaPipe {
		if err := h.cfg.Monitor.Deliver(ctx, req, body, fileTime); err != nil {
			return h.fault(&m, err)
		}
		return smtp.NewReply(250, 0, 0, "Delivered to "+fileKind(&m))
	}
	limit := m.Timeout
	if limit == 0 {
		limit = h.cfg.TimeLimit()
	}
	res, err := h.cfg.Monitor.Run(ctx, req, body, limit)
	if err != nil {
		return h.fault(&m, err)
	}
	reply := replyOf(res)
	if !reply.OK() {
		h.cfg.Log.Warn("program that takes mail", "id", m.ID, "program", what(&m), "exit", res.Exit, "output", printable(res.Output, maxText))
	}
	return reply
}

// what names where mail goes, for the log.
func what(m *deliver.Handing) string {
	switch {
	case m.Route != nil:
		return "route " + m.Route.Name
	case m.Command != "":
		return "|" + m.Command
	}
	return m.Path
}

func fileKind(m *deliver.Handing) string {
	if m.Via == route.ViaMaildir || strings.HasSuffix(m.Path, "/") {
		return "Maildir"
	}
	return "file"
}

// request tells the monitor what is to be done, and the envelope.
func request(m *deliver.Handing) monitor.Request {
	c, flags := m.Client, ""
	if m.Route != nil {
		flags = m.Route.Flags
	}
	lower := func(flag, s string) string {
		if strings.Contains(flags, flag) {
			return strings.ToLower(s)
		}
		return s
	}
	whole := func(a smtp.Address) string {
		if strings.Contains(flags, "q") || a.Domain == "" {
			return a.String()
		}
		return a.Local + "@" + a.Domain
	}
	e := &monitor.Envelope{
		Sender: whole(m.Sender), Queue: m.ID.String(), Size: m.Message.Size(), Nexthop: m.Rcpts[0].Addr.Domain,
		ClientAddress: c.Addr, ClientPort: c.Port, ClientHelo: c.Helo, ClientHostname: c.Name, ClientProtocol: c.Protocol,
		SASLMethod: c.Method, SASLUsername: c.Login, SASLSender: c.AuthSender,
	}
	for _, r := range m.Rcpts {
		addr := smtp.Address{Local: lower("u", r.Addr.Local), Domain: lower("h", r.Addr.Domain)}
		e.Recipients = append(e.Recipients, monitor.Recipient{
			Address: whole(addr), Local: addr.Local, User: lower("u", r.User), Extension: lower("u", r.Detail),
			Domain: addr.Domain, Original: whole(r.Original),
		})
	}
	req := monitor.Request{User: m.User, Command: m.Command, Path: m.Path, Mail: e}
	if m.Route != nil {
		req.Route = m.Route.Name
		if m.Route.Nexthop != "" {
			e.Nexthop = m.Route.Nexthop
		}
	}
	return req
}

// faults are what mail gets for which the monitor has no result. The log says why.
var faults = map[monitor.Fault]smtp.Reply{
	monitor.Refused: smtp.NewReply(451, 3, 5, "The monitor does not allow this program or file"),
	monitor.NoUser:  smtp.NewReply(451, 3, 5, "There is no user to do this as"),
	monitor.Unfit:   smtp.NewReply(553, 1, 3, "This address can not be handed to a program or file"),
	monitor.Full:    smtp.NewReply(452, 2, 2, "There is no room left for this mailbox"),
}

var replyNotNow = smtp.NewReply(451, 3, 0, "Can not hand the mail over now")

// fault is what mail gets that could not be handed over.
func (h *Hands) fault(m *deliver.Handing, err error) smtp.Reply {
	h.cfg.Log.Error("hand over", "id", m.ID, "to", what(m), "as", m.User, "err", err)
	var f *monitor.Error
	if !errors.As(err, &f) {
		return replyNotNow
	}
	if reply, ok := faults[f.Fault]; ok {
		return reply
	}
	if f.Fault == monitor.Timeout && (m.Command != "" || m.Via == route.ViaPipe) {
		return smtp.NewReply(451, 3, 0, "Command time limit exceeded")
	}
	return replyNotNow
}

// maxText is how much of what a program says a reply has.
const maxText = 400

// printable is the beginning of an output on one line.
func printable(b []byte, limit int) string {
	text := strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			return ' '
		case c < ' ' || c > '~':
			return '?'
		}
		return c
	}, string(b[:min(len(b), 4*limit)]))), " ")
	return text[:min(len(text), limit)]
}

// exits are the meanings of exit codes (sysexits.h), as Postfix has them.
var exits = map[int]struct {
	code smtp.Code
	text string
}{
	64: {smtp.Code{5, 3, 0}, "command line usage error"},
	65: {smtp.Code{5, 6, 0}, "data format error"},
	66: {smtp.Code{5, 3, 0}, "cannot open input"},
	67: {smtp.Code{5, 1, 1}, "user unknown"},
	68: {smtp.Code{5, 1, 2}, "host name unknown"},
	69: {smtp.Code{5, 3, 0}, "service unavailable"},
	70: {smtp.Code{5, 3, 0}, "internal software error"},
	71: {smtp.Code{4, 3, 0}, "system resource problem"},
	72: {smtp.Code{5, 3, 0}, "critical OS file missing"},
	73: {smtp.Code{5, 2, 0}, "can't create user output file"},
	74: {smtp.Code{5, 3, 0}, "input/output error"},
	75: {smtp.Code{4, 3, 0}, "temporary failure"},
	76: {smtp.Code{5, 5, 0}, "remote error in protocol"},
	77: {smtp.Code{5, 7, 0}, "permission denied"},
	78: {smtp.Code{5, 3, 5}, "local configuration error"},
}

// firstSignal is what the exit status of a shell adds to a signal's number.
const firstSignal = 128

// replyOf is what the end of a program means. A program may begin its output
// with an enhanced status code, which goes before the exit status.
func replyOf(res monitor.Result) smtp.Reply {
	if res.Exit == 0 {
		return smtp.NewReply(250, 0, 0, "Delivered to command")
	}
	said := printable(res.Output, maxText)
	if word, rest, _ := strings.Cut(said, " "); res.Exit < firstSignal {
		if c, ok := smtp.ParseCode(word); ok && c[0] != 2 {
			return reply(c, rest)
		}
	}
	code, text := smtp.Code{5, 3, 0}, fmt.Sprintf("Command died with status %d", res.Exit)
	if e, ok := exits[res.Exit]; ok {
		code, text = e.code, e.text
	} else if res.Exit > firstSignal {
		code, text = smtp.Code{4, 3, 0}, fmt.Sprintf("Command died with signal %d", res.Exit-firstSignal)
	}
	if said != "" {
		text += ". Command output: " + said
	}
	return reply(code, text)
}

func reply(c smtp.Code, text string) smtp.Reply {
	number := 550
	if c[0] == 4 {
		number = 450
	}
	return smtp.NewReply(number, c[1], c[2], text)
}
