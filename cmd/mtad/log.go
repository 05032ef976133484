package main

import (
	"context"
	"log/slog"
	"sync/atomic"
)

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
