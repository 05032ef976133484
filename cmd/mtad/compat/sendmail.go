package compat

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"

	"mtad/admin"
	"mtad/maildrop"
	"mtad/message"
	"mtad/smtp"
)

// Exit codes of sysexits.h that sendmail has.
const (
	exitUsage   = 64
	exitData    = 65
	exitIO      = 74
	exitTempErr = 75
)

// mailing is what sendmail's flags say.
type mailing struct {
	env     maildrop.Envelope
	config  string
	mode    byte // of -b: m, p, s, v, i
	extract bool // -t
	dots    bool // -i: "." is a line like others
	verbose bool
	flush   *option // -q: f, R, I
	rcpts   []string

	warnings []string
}

// coded is an error with its exit code.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }

func codef(code int, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}

// sendmail is Postfix's sendmail(1).
func sendmail(ctx context.Context, env *Env, args []string) int {
	err := env.sendmail(ctx, args)
	var c *coded
	var a *admin.Error
	var sub *exited
	code := exitTempErr
	switch {
	case err == nil:
		return 0
	case errors.As(err, &sub):
		return sub.code
	case errors.As(err, &c):
		code = c.code
	case errors.As(err, &a):
		code = int(a.Code)
	}
	fmt.Fprintf(env.Err, "sendmail: fatal: %v\n", err)
	return code
}

// exited is the end of another command that was run, which has said why.
type exited struct{ code int }

func (e *exited) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// run runs another command.
func (e *Env) run(ctx context.Context, config string, fn func(context.Context, *Env, []string) int, args ...string) error {
	if config != "" {
		args = append([]string{"-c", config}, args...)
	}
	if code := fn(ctx, e, args); code != 0 {
		return &exited{code}
	}
	return nil
}

func (e *Env) sendmail(ctx context.Context, args []string) error {
	m, err := parseMailing(args)
	if err != nil {
		return err
	}
	for _, w := range m.warnings {
		fmt.Fprintf(e.Err, "sendmail: warning: %s\n", w)
	}
	switch {
	case m.mode == 'p':
		return e.run(ctx, m.config, mailq)
	case m.mode == 'i':
		return e.run(ctx, m.config, newaliases)
	case m.mode == 's':
		return e.dialogue(ctx, m)
	case m.flush != nil && m.flush.flag == 'I':
		return e.run(ctx, m.config, postqueue, "-i", m.flush.arg)
	case m.flush != nil && m.flush.flag == 'R':
		return e.run(ctx, m.config, postqueue, "-s", m.flush.arg)
	case m.flush != nil:
		return e.run(ctx, m.config, postqueue, "-f")
	case len(m.rcpts) == 0 && !m.extract:
		return codef(exitUsage, "Recipient addresses must be specified on the command line or via the -t option")
	}
	return e.mail(ctx, m)
}

const sendmailFlags = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"

// parseMailing reads the command line.
func parseMailing(args []string) (*mailing, error) {
	m := &mailing{mode: 'm'}
	args = slices.Clone(args)
	for i, a := range args { // -q may have no argument
		if a == "--" || !strings.HasPrefix(a, "-") && (i == 0 || len(args[i-1]) != 2) {
			break
		}
		if a == "-q" {
			args[i] = "-q0"
		}
	}
	opts, rest, err := getopt(args, sendmailFlags)
	if err != nil {
		return nil, codef(exitUsage, "usage: sendmail [options] (%v)", err)
	}
	for _, o := range opts {
		if err := m.option(o); err != nil {
			return nil, err
		}
	}
	for _, r := range rest {
		if strings.HasPrefix(r, "-") {
			return nil, codef(exitUsage, "Recipient addresses must not start with '-'")
		}
		found, err := addresses(r)
		if err != nil {
			return nil, err
		}
		m.rcpts = append(m.rcpts, found...)
	}
	m.env.Verify = m.mode == 'v'
	if m.verbose && m.env.Notify == nil && !m.env.Verify {
		m.env.Notify = []string{"SUCCESS", "FAILURE", "DELAY"}
	}
	switch {
	case m.env.Verify && m.extract:
		return nil, codef(exitUsage, "-t option cannot be used with -bv")
	case m.env.Verify && m.env.Notify != nil:
		return nil, codef(exitUsage, "-N option cannot be used with -bv")
	}
	return m, nil
}

// option takes a flag. What is not named is of other sendmails, and means nothing.
func (m *mailing) option(o option) error {
	switch o.flag {
	case 'B':
		m.env.Body = strings.ToUpper(o.arg)
		if m.env.Body != "7BIT" && m.env.Body != "8BITMIME" {
			return codef(exitUsage, "-B option needs 8BITMIME or 7BIT")
		}
	case 'C':
		m.config = o.arg
	case 'F':
		m.env.Name = o.arg
	case 'I':
		m.mode = 'i'
	case 'N':
		m.notify(o.arg)
	case 'R':
		r := map[string]string{"full": "FULL", "hdrs": "HDRS"}[strings.ToLower(o.arg)]
		if r == "" {
			m.warn("bad -R option value -- ignored")
			break
		}
		m.env.Return = r
	case 'V':
		m.env.ID = o.arg
	case 'b':
		if len(o.arg) == 0 || !strings.Contains("msvpi", o.arg[:1]) {
			return codef(exitUsage, "unsupported: -b%s; mtad serve runs the server", Clean(o.arg))
		}
		m.mode = o.arg[0]
	case 'f', 'r':
		return m.sender(o.arg)
	case 'i':
		m.dots = true
	case 'o':
		switch {
		case o.arg == "i":
			m.dots = true
		case strings.HasPrefix(o.arg, "8"):
			m.env.Body = "8BITMIME"
		case strings.HasPrefix(o.arg, "7"):
			m.env.Body = "7BIT"
		}
	case 'q':
		return m.queue(o.arg)
	case 't':
		m.extract = true
	case 'v':
		m.verbose = true
	}
	return nil
}

var notifyWords = []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}

// notify is -N. A bad value counts for nothing, as with Postfix.
func (m *mailing) notify(arg string) {
	var words []string
	for word := range strings.SplitSeq(arg, ",") {
		word = strings.ToUpper(strings.TrimSpace(word))
		if !slices.Contains(notifyWords, word) {
			m.warn("unknown DSN NOTIFY command value \"" + Clean(word) + "\"")
			m.warn("bad -N option value -- ignored")
			return
		}
		words = append(words, word)
	}
	if len(words) > 1 && slices.Contains(words, "NEVER") {
		m.warn("bad -N option value -- ignored")
		return
	}
	m.env.Notify = nil
	for _, word := range notifyWords { // in Postfix's order
		if slices.Contains(words, word) {
			m.env.Notify = append(m.env.Notify, word)
		}
	}
}

func (m *mailing) warn(text string) { m.warnings = append(m.warnings, text) }

// sender is -f.
func (m *mailing) sender(arg string) error {
	found, err := addresses(arg)
	switch {
	case strings.TrimSpace(arg) == "" || strings.TrimSpace(arg) == "<>":
		m.env.Sender = maildrop.Nobody
	case err != nil:
		return err
	case len(found) != 1:
		return codef(exitData, "bad sender address: %s", Clean(arg))
	default:
		m.env.Sender = found[0]
	}
	return nil
}

// queue is -q.
func (m *mailing) queue(arg string) error {
	switch {
	case arg != "" && arg[0] >= '0' && arg[0] <= '9': // each so often, with -bd
		m.flush = &option{flag: 'f'}
	case len(arg) > 1 && (arg[0] == 'I' || arg[0] == 'R'):
		m.flush = &option{arg[0], arg[1:]}
	default:
		return codef(exitUsage, "-q%c is not implemented", append([]byte(arg), ' ')[0])
	}
	return nil
}

// addresses reads what stands for recipients: addresses as in a header.
func addresses(text string) (out []string, err error) {
	for _, a := range message.ParseAddressList(text) {
		if a.Mark != message.Mailbox {
			continue
		}
		s := smtp.Address{Local: a.Local, Domain: a.Domain}.String()
		if _, err := smtp.ParseAddress(s); err != nil {
			return out, codef(exitData, "bad address syntax: %s", Clean(text))
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, codef(exitData, "bad address syntax: %s", Clean(text))
	}
	return out, nil
}

// mail takes a message from standard input and hands it in.
func (e *Env) mail(ctx context.Context, m *mailing) error {
	limits := e.Local(m.config)
	spool := &message.Spool{Limit: limits.Size}
	defer spool.Close()
	if !m.env.Verify {
		if err := collect(e.In, spool, m.dots); err != nil {
			return err
		}
	}
	if m.extract {
		found, err := extract(spool.Bytes())
		if err != nil {
			return err
		}
		m.rcpts = append(m.rcpts, found...)
	}
	m.env.Rcpts = unique(m.rcpts)
	switch n := len(m.env.Rcpts); {
	case n == 0:
		return codef(exitUsage, "No recipient addresses found in message header")
	case n > limits.Rcpts:
		return codef(exitData, "%d recipients, at most %d are taken at once", n, limits.Rcpts)
	}
	if m.env.Name == "" {
		m.env.Name = fullName()
	}
	if err := e.handIn(ctx, m.config, m.env, spool.Bytes()); err != nil {
		return err
	}
	if m.env.Verify || m.verbose {
		fmt.Fprintf(e.Out, "Mail Delivery Status Report will be mailed to <%s>.\n", e.told(m.env.Sender))
	}
	return nil
}

// told is who gets reports.
func (e *Env) told(sender string) string {
	if sender != "" {
		return sender
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "you"
}

// fullName is what the user is called.
func fullName() string {
	if name := os.Getenv("NAME"); name != "" {
		return name
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(u.Name, ",")
	return strings.ReplaceAll(name, "&", u.Username)
}

func unique(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// collect reads a message: lines of "From " that begin it are dropped, and "." alone
// ends it unless dots are lines like others.
func collect(in io.Reader, spool *message.Spool, dots bool) error {
	r := bufio.NewReaderSize(in, 64<<10)
	first, begin := true, true
	skip := false // the rest of a line
	for {
		line, err := r.ReadSlice('\n')
		part := errors.Is(err, bufio.ErrBufferFull)
		if begin && !dots && !part && string(bytes.TrimRight(line, "\r\n")) == "." {
			return nil
		}
		if begin {
			skip = first && bytes.HasPrefix(bytes.TrimPrefix(line, []byte(">")), []byte("From "))
			first = skip
		}
		if !skip {
			if _, err := spool.Write(line); errors.Is(err, message.ErrTooLarge) {
				return codef(exitData, "message file too big")
			} else if err != nil {
				return codef(exitIO, "%w", err)
			}
		}
		begin = !part
		switch {
		case part || err == nil:
		case errors.Is(err, io.EOF):
			return nil
		default:
			return codef(exitIO, "read message: %w", err)
		}
	}
}

// extract finds the recipients in a header; of a message that is sent again, the new
// ones.
func extract(body message.Bytes) ([]string, error) {
	m, err := message.Parse(body)
	if err != nil {
		return nil, codef(exitIO, "%w", err)
	}
	prefix := ""
	for _, name := range []string{"Resent-To", "Resent-Cc", "Resent-Bcc"} {
		if _, ok := m.Header().First(name); ok {
			prefix = "Resent-"
		}
	}
	var out []string
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, value := range m.Header().Values(prefix + name) {
			// What is no address there is passed over.
			found, _ := addresses(value)
			out = append(out, found...)
		}
	}
	return out, nil
}

// handIn gives a message to the server, or where it can not be asked, or takes none
// now, to the maildrop directory.
func (e *Env) handIn(ctx context.Context, config string, env maildrop.Envelope, body message.Bytes) error {
	env.Key = maildrop.NewKey() // so that the second try is known for one
	err := e.with(config, func(c *admin.Client) error {
		_, err := c.Submit(ctx, env, body)
		return err
	})
	var a *admin.Error
	if err == nil || ctx.Err() != nil || errors.As(err, &a) && !slices.Contains([]admin.Code{admin.Unavailable, admin.Permission, admin.Temporary, admin.Bug}, a.Code) {
		return err
	}
	dir := e.Local(config).Dir
	if dir == "" {
		return codef(exitTempErr, "%w", err)
	}
	if drop := maildrop.Put(dir, env, body); drop != nil {
		return codef(exitTempErr, "mail not sent: %v; %w", err, drop)
	}
	return nil
}
