package spamlearn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/directory"
	"mtad/internal/mtatest"
	"mtad/mailbox"
	"mtad/queue"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/spamtest"
	"mtad/spamdb"
	"mtad/store"
)

// desk runs the commands on a database of a server that does not run.
type desk struct{ env *Env }

func newDesk(t *testing.T, rules ...string) *desk {
	dir := t.TempDir()
	return &desk{&Env{
		Client: func() (*admin.Client, error) { return admin.NewClient(filepath.Join(dir, "none.sock")), nil },
		Open: func(context.Context) (*store.DB, error) {
			return store.Open(filepath.Join(dir, "store"), store.Options{}, mailbox.Schema(), directory.Schema(), queue.Schema(), spamdb.Schema())
		},
		Rules: sync.OnceValues(func() (*spam.Engine, error) { return spam.Open(rules, spam.Options{Bayes: true}) }),
		Fail: func(code int, form string, args ...any) error {
			return fmt.Errorf("%d: %w", code, fmt.Errorf(form, args...))
		},
		Clean: func(s string) string { return s },
		Output: func(*cobra.Command) func(io.Writer, any, func(io.Writer) error) error {
			return func(w io.Writer, _ any, fn func(io.Writer) error) error { return fn(w) }
		},
	}}
}

// run runs a command, and returns what it printed.
func (d *desk) run(stdin string, args ...string) (string, error) {
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(d.env)...)
	root.SetArgs(args)
	var out bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.Execute()
	return out.String(), err
}

func (d *desk) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.run("", args...)
	mtatest.Check(t, err)
	return out
}

// saLearn runs the real one.
func saLearn(t *testing.T, state string, args ...string) string {
	t.Helper()
	mtatest.Program(t, "sa-learn")
	cmd := exec.CommandContext(t.Context(), "sa-learn", append([]string{"-L", "-p", "/dev/null", "--dbpath", filepath.Join(state, "bayes")}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	mtatest.Check(t, err)
	return string(out)
}

// sorted are the lines of a backup. Messages without a date came now, which is another
// second here and there; and what is read of a backup has no time that is to come.
func sorted(backup string, since time.Time) []string {
	lines := slices.Collect(strings.Lines(backup))
	for i, l := range lines {
		f := strings.Split(l, "\t")
		if f[0] == "t" {
			if at, err := strconv.ParseInt(f[3], 10, 64); err == nil && at >= since.Unix() {
				f[3] = "now"
			}
		}
		lines[i] = strings.Join(f, "\t")
	}
	slices.Sort(lines)
	return lines
}

// corpus writes messages as a Maildir, a directory and an mbox.
func corpus(t *testing.T) (maildir, dir, mbox string) {
	t.Helper()
	top := t.TempDir()
	maildir, dir, mbox = filepath.Join(top, "maildir"), filepath.Join(top, "dir"), filepath.Join(top, "mbox")
	for _, d := range []string{"maildir/cur", "maildir/new", "maildir/tmp", "dir"} {
		mtatest.Check(t, os.MkdirAll(filepath.Join(top, d), 0o700))
	}
	var text bytes.Buffer
	for i, m := range spamtest.Corpus(4, mtatest.Fewer(40)) {
		if strings.HasSuffix(m.Name, "links") || bytes.HasPrefix(m.Text, []byte("From ")) {
			continue // with a host that a SpamAssassin without LibIDN does not find
		}
		if i%8 == 7 {
			m.Text = marked(m.Text)
		}
		switch i % 3 {
		case 0:
			mtatest.Write(t, filepath.Join(maildir, []string{"cur", "new"}[i%2], fmt.Sprint(i)), string(m.Text))
		case 1:
			mtatest.Write(t, filepath.Join(dir, fmt.Sprint(i)), string(m.Text))
		case 2:
			fmt.Fprintf(&text, "From a@example.com  Thu Nov 26 10:00:00 2026\n%s\n", m.Text)
		}
	}
	text.WriteString("From a@example.com  Thu Nov 26 10:00:00 2026\nSubject: x\n\nFrom here on it is text.\n\nFrom there too.\n")
	mtatest.Write(t, mbox, text.String())
	return maildir, dir, mbox
}

// marked puts a message into a report, as SpamAssassin does with spam.
func marked(text []byte) []byte {
	e := spam.New(conf.Parse("x", "header ANY exists:From\nscore ANY 9\nreport_safe 1\n", conf.Options{}), spam.Options{})
	return e.Check(context.Background(), text, spam.Facts{}).Report(spam.Host{Name: "mx.example.org", Version: spam.Version}).Rewrite()
}

// TestAsSaLearn teaches the same to sa-learn and here, and has each read the other's backup.
func TestAsSaLearn(t *testing.T) {
	state, d := t.TempDir(), newDesk(t, spamtest.Stock, spamtest.Site)
	start := time.Now()
	maildir, dir, mbox := corpus(t)
	saLearn(t, state, "--spam", "--mbox", mbox)
	saLearn(t, state, "--ham", filepath.Join(maildir, "new"), filepath.Join(maildir, "cur"))
	saLearn(t, state, "--spam", dir)
	if out := d.must(t, "learn", "--spam", mbox, dir); !strings.Contains(out, "learned as spam") {
		t.Errorf("%q", out)
	}
	d.must(t, "learn", "--ham", maildir)
	want, got := sorted(saLearn(t, state, "--backup"), start), sorted(d.must(t, "export"), start)
	if diff := differences(want, got); diff != nil {
		t.Errorf("%d lines there, %d here: %q", len(want), len(got), diff)
	}
	magic := func(s string) string { // but for times of syncs and expiries
		var out []string
		for l := range strings.Lines(s) {
			if !strings.Contains(l, " last ") {
				out = append(out, l)
			}
		}
		return strings.Join(out, "")
	}
	if want, got := magic(saLearn(t, state, "--dump", "magic")), magic(d.must(t, "stats")); got != want {
		t.Errorf("stats:\n%s\nwant\n%s", got, want)
	}

	backup, second, other := filepath.Join(t.TempDir(), "backup"), t.TempDir(), newDesk(t)
	mtatest.Write(t, backup, d.must(t, "export"))
	saLearn(t, second, "--restore", backup)
	if diff := differences(got, sorted(saLearn(t, second, "--backup"), start)); diff != nil {
		t.Errorf("restored there: %q", diff)
	}
	mtatest.Write(t, backup, saLearn(t, state, "--backup"))
	other.must(t, "import", backup)
	if diff := differences(want, sorted(other.must(t, "export"), start)); diff != nil {
		t.Errorf("imported here: %q", diff)
	}

	saLearn(t, state, "--forget", dir)
	d.must(t, "forget", dir)
	if diff := differences(sorted(saLearn(t, state, "--backup"), start), sorted(d.must(t, "export"), start)); diff != nil {
		t.Errorf("forgotten: %q", diff)
	}
}

// differences are some lines that only one side has.
func differences(a, b []string) []string {
	var out []string
	for i, pair := range [2][2][]string{{a, b}, {b, a}} {
		for _, l := range pair[0] {
			if _, found := slices.BinarySearch(pair[1], l); !found && len(out) < 10 {
				out = append(out, "<>"[i:i+1]+l)
			}
		}
	}
	return out
}

// TestImport: what was replaced is told of, a loss is refused, and a backup of version 2 is
// what sa-learn makes of it.
func TestImport(t *testing.T) {
	const head = "v\t2\tdb_version # this must be the first line!!!\nv\t2\tnum_spam\nv\t2\tnum_nonspam\n"
	const text = head + "t\t1\t0\t100\tviagra\nt\t1\t2\t100\tHSubject:x y\nt\t2\t0\t100\t0123456789\ns\ts\tabc@sa_generated\n"
	d, state := newDesk(t), t.TempDir()
	for _, c := range []struct{ args, stdin, want string }{
		{"import -", text, "3 tokens and the names of 1 message imported\nbefore: 0 tokens of 0 spam and 0 ham; now: 3 tokens of 2 spam and 2 ham\n"},
		{"import -", head, "the backup is of 4 messages and has no tokens: it is cut off"},
		{"import -", "", "the backup is empty"},
		{"import --force -", head + "t\t1\t0\t100\tviagra\n", "before: 3 tokens of 2 spam and 2 ham; now: 1 tokens of 2 spam and 2 ham"},
		{"import -", strings.Replace(text, "v\t2\tnum_spam", "v\t-300\tnum_spam", 1), `line 2: num_spam is "-300", which is no number of messages`},
		{"import -", strings.Replace(text, "v\t2\tnum_spam", "v\t1\tnum_spam", 1), "has tokens of 2 spam or 2 ham: num_spam or num_nonspam is wrong"},
		{"import --force -", strings.Replace(text, "t\t2\t0\t100", "t\t2\t-3\t99999999999", 1), "a time that is to come, which counts as now: 1\ntokens with a number below 0, which counts as 0: 1\n1: the backup is damaged"},
		{"import --force -", head + "t\t1\t0\t100\tviagra\n", "now: 1 tokens"},
		{"import -", text, "before: 1 tokens"},
	} {
		out, err := d.run(c.stdin, strings.Fields(c.args)...)
		if err != nil {
			out += err.Error()
		}
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: %q, want %q", c.args, out, c.want)
		}
	}
	backup := filepath.Join(t.TempDir(), "backup")
	mtatest.Write(t, backup, text)
	saLearn(t, state, "--restore", backup)
	start := time.Now()
	if diff := differences(sorted(saLearn(t, state, "--backup"), start), sorted(d.must(t, "export"), start)); diff != nil {
		t.Errorf("there and here: %q", diff)
	}
}

// endless is an input that does not end, as of a wrong device.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.read += int64(len(b))
	return len(b), nil
}

// TestImportBounds: what is too large for a backup is read no further, from standard input and
// from a device; a pipe is read as a file is.
func TestImportBounds(t *testing.T) {
	in := &endless{}
	for _, path := range []string{"-", "/dev/zero"} {
		if f, _, err := openBackup(path, in, 2<<20); f != nil || !errors.Is(err, errNoBackup) || !strings.Contains(err.Error(), "2 MiB at most") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if in.read < 2<<20 || in.read > 3<<20 {
		t.Errorf("%d octets read", in.read)
	}
	large := filepath.Join(t.TempDir(), "large")
	mtatest.Check(t, os.WriteFile(large, nil, 0o600))
	mtatest.Check(t, os.Truncate(large, bayes.MaxBackup+1))
	if _, err := newDesk(t).run("", "import", large); err == nil || !strings.HasPrefix(err.Error(), "65: "+large+": too large for a backup of sa-learn, which has 512 MiB") {
		t.Error(err)
	}
	r, w, err := os.Pipe()
	mtatest.Check(t, err)
	defer r.Close()
	_, err = w.WriteString("v\t3\n")
	mtatest.Check(t, errors.Join(err, w.Close()))
	f, size, err := openBackup(fmt.Sprintf("/dev/fd/%d", r.Fd()), nil, 1<<20)
	mtatest.Check(t, err)
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "v\t3\n" || size != 4 {
		t.Errorf("%q, %d: %v", text, size, err)
	}
}

func TestCommands(t *testing.T) {
	d := newDesk(t, "../../../plugins/spamscore/testdata/bayes.cf")
	for _, c := range []struct {
		stdin, args, want string
	}{
		{"", "learn --spam nowhere", "66: stat nowhere"},
		{"", "learn x", "at least one of the flags"},
		{"", "learn --spam --ham x", "none of the others can be"},
		{"", "learn --spam -", "66: there are no messages"},
		{"", "learn --spam a@example.test/Junk", "64: a@example.test/Junk: folders of accounts are read by the server"},
		{"Subject: x\n\nx\n", "learn --spam --user a@example.test -", "a@example.test: no such user"},
		{"", "import nowhere", "66: open nowhere"},
		{"", "import " + t.TempDir(), "is a directory: want the file"},
		{"Subject: x\n\nx\n", "learn --spam -", "1 of 1 message learned as spam"},
		{"Subject: x\n\nx\n", "learn --spam -", "0 of 1 message learned as spam"},
		{"Subject: x\n\nx\n", "learn --ham -", "1 of 1 message learned as ham"},
		{"Subject: x\n\nx\n", "forget -", "1 of 1 message forgotten"},
		{"From a  Thu Nov 26 10:00:00 2026\nSubject: y\n\n" + strings.Repeat("y\n", maxMessage/2) + "\nFrom a  Thu Nov 26 10:00:00 2026\nSubject: x\n\nx\n", "learn --ham -", "65: 1 message could not be read"},
	} {
		out, err := d.run(c.stdin, strings.Fields(c.args)...)
		if got := fmt.Sprint(out, err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if out := d.must(t, "stats"); !strings.Contains(out, "0          1          0  non-token data: nham") {
		t.Errorf("behind one that is too large: %s", out)
	}
}

func TestProgress(t *testing.T) {
	p := &progress{total: 1000}
	p.add(250)
	if got, want := p.line(2*time.Second), "1 message, 0/s, 25 %, 6s left"; got != want && got != "1 message, 1/s, 25 %, 6s left" {
		t.Errorf("%q, want %q", got, want)
	}
	p = &progress{}
	p.add(250)
	if got, want := p.line(100*time.Millisecond), "1 message, 10/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
