// Package logs is where the server's log goes: to standard error or to syslog, as
// text, JSON or in Postfix's form, and its newest lines to whoever asks.
package logs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"mtad/admin"
	"mtad/config"
	"mtad/pipeline"
	"mtad/trace/postfix"
)

// Place is what Options decode into.
type Place struct {
	LogLevel   string `mtad:"log_level"`
	LogFormat  string `mtad:"log_format"`
	LogTo      string `mtad:"log_to"`
	Facility   string `mtad:"syslog_facility"`
	SyslogName string `mtad:"syslog_name"`
}

// Options are the configuration's.
var Options = []config.Option{
	{Name: "log_level", Type: config.TypeString, Default: "info", Values: []string{"debug", "info", "warn", "error"}, Reload: true, Doc: "The least important messages that are logged.", Example: `"debug"`},
	{Name: "log_format", Type: config.TypeString, Default: "text", Values: []string{"text", "json", formPostfix}, Doc: "The form of log lines. With postfix what happens to mail is logged too, in lines as Postfix and Dovecot write them.", Example: `"json"`},
	{Name: "log_to", Type: config.TypeString, Default: "stderr", Doc: "Where log lines go: stderr, syslog (by way of /dev/log), or syslog:/path of another socket.", Example: `"syslog"`, Postfix: "maillog_file"},
	{Name: "syslog_facility", Type: config.TypeString, Default: "mail", Values: facilityNames, Doc: "The facility of lines that go to syslog.", Example: `"local5"`, Postfix: "syslog_facility", Dovecot: "syslog_facility"},
	{Name: "syslog_name", Type: config.TypeString, Default: "postfix", Doc: "What stands before /smtpd and the like in log lines of Postfix's form.", Example: `"postfix"`, Postfix: "syslog_name"},
}

// formPostfix is the log_format that shows mail as Postfix does.
const formPostfix = "postfix"

// program is the server's name where syslog wants one.
const program = "mtad"

// Log is the log of one process.
type Log struct {
	*slog.Logger

	to     string
	recent recent // the newest lines
	form   string
	host   string
	level  *slog.LevelVar
	mail   *postfix.Writer // nil: another form
	syslog *syslog         // nil: standard error

	mu  sync.Mutex // of w
	w   io.Writer
	out []byte
}

// Open begins a log. w is standard error; host is the server's name.
func Open(w io.Writer, s Place, host string) *Log {
	l := &Log{form: s.LogFormat, host: host, level: new(slog.LevelVar), w: w, to: s.LogTo}
	l.SetLevel(s.LogLevel)
	if socket, ok := socketOf(s.LogTo); ok {
		l.syslog = openSyslog(socket, facilities[s.Facility], l.complain)
	}
	if l.form == formPostfix {
		l.mail = postfix.New(l.line, s.SyslogName)
	}
	l.Logger = slog.New(l.handler())
	return l
}

// Close writes what waits, and waits for it only a little.
func (l *Log) Close() {
	if l.mail != nil {
		l.mail.Flush()
	}
	if l.syslog != nil {
		l.syslog.close()
	}
}

// Mail is where traces are shown in Postfix's form; nil if the log has another.
func (l *Log) Mail() *postfix.Writer { return l.mail }

// After says where the log goes, and which of its newest lines stand behind one.
func (l *Log) After(seq uint64) (to string, lines []admin.LogLine) {
	return l.to, l.recent.after(seq)
}

// SetLevel takes a level that the configuration has checked.
func (l *Log) SetLevel(name string) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err == nil {
		l.level.Set(level)
	}
}

// Trace shows what happened to mail, if the log has the form for it.
func (l *Log) Trace(t pipeline.Trace) {
	if l.mail != nil {
		l.mail.Write(t)
	}
}

// complain says on standard error what can't be said in the log.
func (l *Log) complain(text string) {
	l.write(time.Now().Format(time.RFC3339) + " " + program + ": " + text)
}

// write writes a line to standard error.
func (l *Log) write(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = append(append(l.out[:0], line...), '\n')
	_, _ = l.w.Write(l.out) // a log that can't be written is no reason to stop
}

// line takes a line of Postfix's form.
func (l *Log) line(n postfix.Line) {
	text := n.String(l.host)
	l.recent.add(n.Time, n.Severity, text)
	if l.syslog != nil {
		l.syslog.send(n)
		return
	}
	l.write(text)
}

// handler is slog's way into the log.
func (l *Log) handler() slog.Handler {
	h := &handler{log: l, mu: new(sync.Mutex), buf: new(bytes.Buffer)}
	opts := &slog.HandlerOptions{Level: l.level}
	switch {
	case l.form == formPostfix:
		opts.ReplaceAttr = without(slog.TimeKey, slog.LevelKey, slog.MessageKey)
	case l.syslog != nil:
		opts.ReplaceAttr = without(slog.TimeKey)
	}
	if l.form == "json" {
		h.inner = slog.NewJSONHandler(h.buf, opts)
	} else {
		h.inner = slog.NewTextHandler(h.buf, opts)
	}
	return h
}

// without leaves out what is said elsewhere in a line.
func without(keys ...string) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		for _, k := range keys {
			if len(groups) == 0 && a.Key == k {
				return slog.Attr{}
			}
		}
		return a
	}
}

// handler makes lines of records.
type handler struct {
	log   *Log
	inner slog.Handler // writes to buf
	mu    *sync.Mutex  // of buf
	buf   *bytes.Buffer
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	text, err := h.text(ctx, r)
	if err != nil {
		return err
	}
	l, sev := h.log, severityOf(r.Level)
	if l.mail != nil {
		l.mail.Note(r.Time, sev, program, strings.TrimSpace(r.Message+" "+text))
		return nil
	}
	line := postfix.Line{Time: r.Time, Program: program, PID: ownPID, Severity: sev, Text: text}
	if l.syslog == nil {
		l.recent.add(r.Time, sev, text)
		l.write(text)
		return nil
	}
	l.recent.add(r.Time, sev, line.String(l.host))
	l.syslog.send(line)
	return nil
}

// text is what slog's own handler makes of a record, without the line's end.
func (h *handler) text(ctx context.Context, r slog.Record) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	err := h.inner.Handle(ctx, r)
	return strings.TrimSuffix(h.buf.String(), "\n"), err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.inner = h.inner.WithAttrs(attrs)
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	next := *h
	next.inner = h.inner.WithGroup(name)
	return &next
}

func severityOf(l slog.Level) postfix.Severity {
	switch {
	case l >= slog.LevelError:
		return postfix.Err
	case l >= slog.LevelWarn:
		return postfix.Warning
	case l >= slog.LevelInfo:
		return postfix.Info
	}
	return postfix.Debug
}
