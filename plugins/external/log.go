package external

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The names that go-plugin logs under: its own, and below it that of the program,
// for its standard error, and of a service that is not used.
const (
	ownName   = "go-plugin"
	stdioName = ownName + ".stdio"
)

// newHclog gives go-plugin a logger that writes into ours. It carries what the
// program prints on standard error.
func newHclog(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: ownName, Output: io.Discard, Level: hclog.Debug})
	l.RegisterSink(sink{log})
	return l
}

type sink struct{ log *slog.Logger }

// Accept takes one line. go-plugin's own chatter is for debugging; what the program
// says comes at the level it has, and as information if it has none.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch own := name == ownName; {
	case name == stdioName:
	case level >= hclog.Error:
		to = slog.LevelError
	case level >= hclog.Warn:
		to = slog.LevelWarn
	case level >= hclog.Info && !own, level >= hclog.Debug && !own && !strings.HasPrefix(msg, "[DEBUG]") && len(args) == 0:
		to = slog.LevelInfo
	}
	s.log.Log(context.Background(), to, msg, args...)
}

// newVoice is where go-plugin writes what a program in Go prints once it serves: it
// redirects its output, the log of package log apart. Closing it is its end.
func newVoice(log *slog.Logger, ended <-chan struct{}) io.WriteCloser {
	r, w := io.Pipe()
	go func() {
		for lines := bufio.NewScanner(newThrottle(r, ended)); lines.Scan(); {
			level := slog.LevelInfo
			if strings.HasPrefix(lines.Text(), "[WARN]") {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, lines.Text())
		}
		// A line within bounds is scanned, so this is the end.
		_ = r.Close()
	}()
	return w
}

// maxLines are kept of what is logged about a plugin.
const maxLines = 500

// Line is one entry of a plugin's log.
type Line struct {
	Time  time.Time
	Level string
	Text  string // the message and its attributes
}

// lines are the last of a plugin's log.
type lines struct {
	mu   sync.Mutex
	last []Line
}

func (l *lines) add(one Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Later than any that a reader has been given.
	one.Time = time.Now()
	if n := len(l.last); n > 0 && !one.Time.After(l.last[n-1].Time) {
		one.Time = l.last[n-1].Time.Add(1)
	}
	if len(l.last) == maxLines {
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.last = append(l.last, one)
}

func (l *lines) all() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.last)
}

// tee logs to the server's log and keeps what is worth it.
type tee struct {
	slog.Handler
	kept *lines
}

// Enabled is true of what is kept.
func (t tee) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || t.Handler.Enabled(ctx, level)
}

// Handle keeps a record, and hands it on.
func (t tee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		var b strings.Builder
		b.WriteString(r.Message)
		r.Attrs(func(a slog.Attr) bool {
			b.WriteString(" " + a.Key + "=" + a.Value.String())
			return true
		})
		t.kept.add(Line{Level: r.Level.String(), Text: b.String()})
	}
	if !t.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs is that of the server's log.
func (t tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tee{t.Handler.WithAttrs(attrs), t.kept}
}

// WithGroup is that of the server's log.
func (t tee) WithGroup(name string) slog.Handler { return tee{t.Handler.WithGroup(name), t.kept} }
