package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mtad/dns"
	"mtad/internal/command"
	"mtad/message"
	"mtad/pipeline"
)

// Host is what scripts reach outside of their View. What is nil is not there,
// and a script that asks for it fails with an error that says so.
type Host struct {
	DNS   dns.Resolver
	KV    pipeline.KV
	Map   func(ctx context.Context, table, key string) (value string, ok bool, err error)
	Fetch func(ctx context.Context, r Request) (Response, error)
	Pipe  func(ctx context.Context, command string, input message.Bytes) (Output, error)
	Log   func(level slog.Level, text string)
	Now   func() time.Time
}

// Request is one that a script makes by HTTP.
type Request struct {
	Method string
	URL    string
	Header map[string]string
	Body   string
}

// Response is what came back, its body cut to MaxFetch.
type Response struct {
	Status int
	Type   string // Content-Type
	Body   string
}

// Output is what a command came to.
type Output struct {
	Status int    // of its exit; 128 and the signal's number for one that was killed
	Text   string // both outputs, cut to MaxOutput
}

// Bounds of what comes from outside.
const (
	MaxFetch  = 1 << 20
	MaxOutput = command.MaxOutput
	maxURL    = 4096
)

// Errors of a Host that scripts may see as a second result instead.
var (
	ErrNotAllowed = errors.New("not allowed by the configuration")
	ErrNoTable    = errors.New("no such table in the option maps")
)

func (h *Host) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func (h *Host) log(level slog.Level, text string) {
	if h.Log != nil {
		h.Log(level, text)
	}
}
