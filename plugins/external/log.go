package external

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// newHclog gives go-plugin a logger that writes into ours. It carries what the
// plugin prints on standard error.
func newHclog(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Debug})
	l.RegisterSink(sink{log})
	return l
}

type sink struct{ log *slog.Logger }

// Accept takes one line. go-plugin's own chatter is for debugging; what the
// plugin says on standard error comes at the level it has.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if strings.Contains(name, ".") || level >= hclog.Warn {
		to = map[hclog.Level]slog.Level{hclog.Info: slog.LevelInfo, hclog.Warn: slog.LevelWarn, hclog.Error: slog.LevelError}[level]
	}
	if to == slog.LevelInfo && level < hclog.Info {
		to = slog.LevelDebug
	}
	s.log.Log(context.Background(), to, msg, args...)
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
		t.kept.add(Line{r.Time, r.Level.String(), b.String()})
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
