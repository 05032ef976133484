package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// newLogger makes the one logger of the process.
func newLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// setLevel takes a level that the configuration has checked.
func setLevel(v *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err == nil {
		v.Set(l)
	}
}

// lateLog is the log of what is made before the log is: nothing until it has a
// target.
type lateLog struct{ target atomic.Pointer[slog.Logger] }

func (l *lateLog) Enabled(ctx context.Context, level slog.Level) bool {
	t := l.target.Load()
	return t != nil && t.Enabled(ctx, level)
}

func (l *lateLog) Handle(ctx context.Context, r slog.Record) error {
	return l.target.Load().Handler().Handle(ctx, r)
}

func (l *lateLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lateLog) WithGroup(string) slog.Handler      { return l }
