// Package spamlearn is the commands that teach the filter of spam: `mtad spam learn`,
// forget, stats, import and export. They ask the server that runs; where none does they
// open its database.
package spamlearn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mtad/admin"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spamdb"
	"mtad/store"
)

// Codes of exit, those of sysexits.h and "no".
const (
	exitNo      = 1
	exitUsage   = 64
	exitData    = 65
	exitNoInput = 66
)

// Env is what the commands have from the binary.
type Env struct {
	// Client is one of the server that runs, or might.
	Client func() (*admin.Client, error)
	// Open opens the database where no server runs.
	Open func(ctx context.Context) (*store.DB, error)
	// Rules are those whose options say how messages are learned, there.
	Rules func() (*spam.Engine, error)
	Fail  func(code int, format string, args ...any) error
	Clean func(string) string
	// Output adds the flag -o: what it returns prints a value, or a table by fn.
	Output func(cmd *cobra.Command) func(w io.Writer, v any, fn func(io.Writer) error) error
}

// Commands are the commands.
func Commands(env *Env) []*cobra.Command {
	return []*cobra.Command{newLearn(env), newForget(env), newStats(env), newImport(env), newExport(env)}
}

// with calls fn with the server that runs, or else with its database.
func (env *Env) with(ctx context.Context, fn func(t teacher, c *admin.Client) error) (err error) {
	c, err := env.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Learned(ctx, "")
	var e *admin.Error
	if err == nil || !errors.As(err, &e) || e.Code != admin.Unavailable {
		if err == nil {
			err = fn(c, c)
		}
		return err
	}
	db, err := env.Open(ctx)
	if err != nil {
		return err
	}
	l, err := newLocal(db, env.Rules)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return fn(l, nil)
}

func userFlag(cmd *cobra.Command, user *string) {
	cmd.Flags().StringVar(user, "user", "", "the account whose own Bayes is meant, instead of the site's")
}

const sourcesText = `Each argument is a file with a message, an mbox, a Maildir or another directory
of messages, "-" for standard input, or ADDRESS/FOLDER: a folder of an account
here, for which the server must run. What SpamAssassin has marked, or put into a
report, is taken as it was before.`

func newLearn(env *Env) *cobra.Command {
	var spam, ham bool
	var user string
	cmd := &cobra.Command{
		Use: "learn --spam|--ham FILES|ADDRESS/FOLDER...", Short: "Teach Bayes what is spam and what is not", Args: cobra.MinimumNArgs(1),
		Long:    "Teach Bayes messages, for the site, or with --user for one account. What it knows as\nthat already is not learned twice; what it knows as the opposite is forgotten first.\n" + sourcesText,
		Example: "  mtad spam learn --spam junk.mbox\n  mtad spam learn --ham alice@example.org/Archive",
	}
	cmd.Flags().BoolVar(&spam, "spam", false, "they are spam")
	cmd.Flags().BoolVar(&ham, "ham", false, "they are not")
	cmd.MarkFlagsOneRequired("spam", "ham")
	cmd.MarkFlagsMutuallyExclusive("spam", "ham")
	userFlag(cmd, &user)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		class := "ham"
		if spam {
			class = "spam"
		}
		return env.teach(cmd, args, user, class)
	}
	return cmd
}

func newForget(env *Env) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "forget FILES|ADDRESS/FOLDER...", Short: "Have Bayes forget messages that it has learned", Args: cobra.MinimumNArgs(1),
		Long: "Take messages from what Bayes has learned. " + sourcesText,
	}
	userFlag(cmd, &user)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return env.teach(cmd, args, user, "none") }
	return cmd
}

// lesson is a run of learn or forget.
type lesson struct {
	env         *Env
	cmd         *cobra.Command
	teacher     teacher
	user, class string
	progress    *progress
	seen        int
	changed     int
	skipped     int
}

func (env *Env) teach(cmd *cobra.Command, args []string, user, class string) error {
	var paths, folders []string
	for _, a := range args {
		if folder(a) {
			folders = append(folders, a)
		} else {
			paths = append(paths, a)
		}
	}
	from, err := sources(paths, cmd.InOrStdin())
	if err != nil {
		return env.Fail(exitNoInput, "%w", err)
	}
	l := &lesson{env: env, cmd: cmd, user: user, class: class, progress: newProgress(cmd.ErrOrStderr())}
	err = env.with(cmd.Context(), func(t teacher, c *admin.Client) error {
		l.teacher = t
		for _, f := range folders {
			s, err := l.folder(c, f)
			if err != nil {
				return err
			}
			from = append(from, s...)
		}
		return l.all(from)
	})
	l.progress.end()
	if err != nil {
		return err
	}
	if l.seen == 0 {
		return env.Fail(exitNoInput, "there are no messages")
	}
	what := map[string]string{"spam": "learned as spam", "ham": "learned as ham", "none": "forgotten"}[class]
	fmt.Fprintf(cmd.OutOrStdout(), "%d of %s %s\n", l.changed, plural(l.seen), what)
	if l.skipped > 0 {
		return env.Fail(exitData, "%s could not be read", plural(l.skipped))
	}
	return nil
}

func plural(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// folder reports whether an argument is ADDRESS/FOLDER, and no file.
func folder(a string) bool {
	at, slash := strings.IndexByte(a, '@'), strings.IndexByte(a, '/')
	if at <= 0 || slash < at {
		return false
	}
	_, err := os.Lstat(a)
	return err != nil
}

// folder is the messages in a folder of an account.
func (l *lesson) folder(c *admin.Client, arg string) ([]source, error) {
	if c == nil {
		return nil, l.env.Fail(exitUsage, "%s: folders of accounts are read by the server, and it does not run", arg)
	}
	ctx := l.cmd.Context()
	user, name, _ := strings.Cut(arg, "/")
	list, err := c.Messages(ctx, user, name)
	if err != nil {
		return nil, err
	}
	var out []source
	for _, m := range list {
		out = append(out, source{fmt.Sprintf("%s, UID %d", arg, m.UID), m.Size, func() (io.ReadCloser, error) {
			var text bytes.Buffer
			err := c.MailOctets(ctx, user, name, m.UID, &text)
			return io.NopCloser(&text), err
		}})
	}
	return out, nil
}

// all goes through the sources. One that can not be read is told of, and the others follow.
func (l *lesson) all(from []source) error {
	for _, s := range from {
		l.progress.total += s.size
	}
	for _, s := range from {
		for text, err := range s.messages() {
			if err == nil && len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			l.seen++
			if err != nil {
				l.skipped++
				l.progress.end()
				fmt.Fprintf(l.cmd.ErrOrStderr(), "%s\n", l.env.Clean(err.Error()))
				continue
			}
			done, err := l.teacher.Learn(l.cmd.Context(), l.user, l.class, text)
			if err != nil {
				return err
			}
			if done.Changed {
				l.changed++
			}
			l.progress.add(int64(len(text)))
		}
	}
	return nil
}

// progress is shown on terminals.
type progress struct {
	w           io.Writer // nil: not shown
	begin, last time.Time
	total, done int64 // octets
	messages    int
	shown       bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{begin: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

func (p *progress) add(octets int64) {
	p.messages++
	p.done += octets
	if now := time.Now(); p.w != nil && now.Sub(p.last) >= 200*time.Millisecond {
		p.last, p.shown = now, true
		fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(now.Sub(p.begin)))
	}
}

// line tells how far it is.
func (p *progress) line(took time.Duration) string {
	text := fmt.Sprintf("%s, %.0f/s", plural(p.messages), float64(p.messages)/max(took.Seconds(), 1e-3))
	if p.total > 0 && p.done > 0 && p.done <= p.total {
		left := time.Duration(float64(took) * float64(p.total-p.done) / float64(p.done))
		text += fmt.Sprintf(", %d %%, %s left", 100*p.done/p.total, left.Round(time.Second))
	}
	return text
}

// end takes the line away.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func newStats(env *Env) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "stats", Short: "Tell how much Bayes has learned", Args: cobra.NoArgs,
		Long: "Tell how much Bayes has learned, in the words of `sa-learn --dump magic`.",
	}
	userFlag(cmd, &user)
	show := env.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.with(cmd.Context(), func(t teacher, _ *admin.Client) error {
			st, err := t.Learned(cmd.Context(), user)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), st, func(w io.Writer) error { return printStats(w, st) })
		})
	}
	return cmd
}

// printStats writes what sa-learn --dump magic writes.
func printStats(w io.Writer, st spamdb.Stats) error {
	at := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	for _, row := range []struct {
		value int64
		what  string
	}{
		{3, "bayes db version"}, {st.Spam, "nspam"}, {st.Ham, "nham"}, {st.Tokens, "ntokens"},
		{at(st.Oldest), "oldest atime"}, {at(st.Newest), "newest atime"},
		{0, "last journal sync atime"}, // there is no journal
		{at(st.LastExpiry), "last expiry atime"}, {st.ExpiryAge, "last expire atime delta"}, {st.Expired, "last expire reduction count"},
	} {
		if _, err := fmt.Fprintf(w, "%3.3f %10d %10d %10d  non-token data: %s\n", 0.0, 0, row.value, 0, row.what); err != nil {
			return err
		}
	}
	return nil
}

func newImport(env *Env) *cobra.Command {
	var user string
	var force bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Replace what Bayes has learned by a backup of sa-learn", Args: cobra.ExactArgs(1),
		Long: "Replace what Bayes has learned by what `sa-learn --backup` or `mtad spam export` wrote, 512 MiB at most;\n" +
			"- is standard input. A backup that can not be understood changes nothing, and without --force none that looks as\n" +
			"if it was cut off, that has tokens of more messages than it says were learned, or less than half of what would be\n" +
			"replaced. Times that are to come and numbers below 0 are told of; exits 1 if lines were left out or numbers wrong.",
		Example: "  sa-learn --backup > backup.txt\n  mtad spam import backup.txt\n  ssh old.example.org sa-learn --backup | mtad spam import -",
	}
	userFlag(cmd, &user)
	cmd.Flags().BoolVar(&force, "force", false, "replace what was learned even if the backup has much less, or seems to be cut off")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, size, err := openBackup(args[0], cmd.InOrStdin(), bayes.MaxBackup)
		switch {
		case errors.Is(err, errNoBackup):
			return env.Fail(exitData, "%w", err)
		case err != nil:
			return env.Fail(exitNoInput, "%w", err)
		}
		defer f.Close()
		return env.with(cmd.Context(), func(t teacher, _ *admin.Client) error {
			done, err := t.ImportLearned(cmd.Context(), user, f, size, force)
			if e := (*admin.Error)(nil); err != nil && !errors.As(err, &e) {
				err = env.Fail(exitData, "%w", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d tokens and the names of %s imported\nbefore: %s; now: %s\n", done.Tokens, plural(done.Messages), amount(done.Before), amount(done.Now))
			return env.odd(cmd.OutOrStdout(), done)
		})
	}
	return cmd
}

// odd tells what of a backup was not taken as it stood. Times to come are of messages with
// a wrong date: every old backup has some.
func (env *Env) odd(w io.Writer, done bayes.Imported) error {
	if done.Future > 0 {
		fmt.Fprintf(w, "tokens with a time that is to come, which counts as now: %d\n", done.Future)
	}
	if done.Negative > 0 {
		fmt.Fprintf(w, "tokens with a number below 0, which counts as 0: %d\n", done.Negative)
	}
	switch {
	case done.Skipped > 0:
		return env.Fail(exitNo, "lines that are not understood, and left out: %d", done.Skipped)
	case done.Negative > 0:
		return env.Fail(exitNo, "the backup is damaged: no token can have a number below 0")
	}
	return nil
}

// amount tells how much was learned.
func amount(t bayes.Totals) string {
	return fmt.Sprintf("%d tokens of %d spam and %d ham", t.Tokens, t.Spam, t.Ham)
}

var errNoBackup = errors.New("too large for a backup of sa-learn")

// openBackup opens a file, and tells its size. Of in, which is "-", and of a pipe a copy is
// made. More than so many octets are errNoBackup.
func openBackup(path string, in io.Reader, most int64) (*os.File, int64, error) {
	if path == "-" {
		return copyBackup("standard input", in, most)
	}
	if isDir(path) {
		return nil, 0, fmt.Errorf("%s is a directory: want the file that `sa-learn --backup` wrote", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		defer f.Close()
		return copyBackup(path, f, most)
	default:
		if err = bounded(path, info.Size(), most); err == nil {
			return f, info.Size(), nil
		}
	}
	return nil, 0, errors.Join(err, f.Close())
}

// copyBackup copies what can be read once only.
func copyBackup(name string, in io.Reader, most int64) (*os.File, int64, error) {
	f, err := os.CreateTemp("", "mtad-backup-")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(f.Name()) // it goes when it is closed
	n, cerr := io.Copy(f, io.LimitReader(in, most+1))
	_, serr := f.Seek(0, io.SeekStart)
	if err = errors.Join(err, cerr, serr, bounded(name, n, most)); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, n, nil
}

func bounded(name string, size, most int64) error {
	if size > most {
		return fmt.Errorf("%s: %w, which has %d MiB at most", name, errNoBackup, most>>20)
	}
	return nil
}

func newExport(env *Env) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "export", Short: "Print what Bayes has learned as a backup of sa-learn", Args: cobra.NoArgs,
		Long: "Print what Bayes has learned in the form of `sa-learn --backup`, which `sa-learn --restore`\nand `mtad spam import` take.",
	}
	userFlag(cmd, &user)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.with(cmd.Context(), func(t teacher, _ *admin.Client) error {
			return t.ExportLearned(cmd.Context(), user, cmd.OutOrStdout())
		})
	}
	return cmd
}
