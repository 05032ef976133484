package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mtad/internal/mtatest"
)

// This binary is also the helper, and the child of TestRun.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == HelperArg {
		os.Exit(Helper(os.Args[2:], os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "child" {
		os.Exit(child(os.Args[2]))
	}
	os.Exit(m.Run())
}

const aliceID = 12345

// static grants what a test says: programs, by the shell; files below a folder;
// .forward.
type static struct {
	run     bool
	files   string
	forward bool
	listed  bool
}

func (p static) Grant(r *Request, _ func(string) (*user.User, error)) (Grant, error) {
	g := Grant{User: r.User, Command: r.Command, Path: r.Path, Listed: p.listed, Nobody: r.User == "nobody"}
	switch {
	case r.Op == OpRun && p.run, r.Op == OpDeliver && p.files != "" && strings.HasPrefix(r.Path, p.files), r.Op == OpForward && p.forward:
		return g, nil
	case r.Route != "":
		argv, err := r.Mail.Arguments([]string{"/bin/echo", "$recipient", "$sender"})
		g.User, g.Argv = "alice", argv
		return g, err
	}
	return Grant{}, errors.New("not for this test")
}

// envelope is that of a mail for a user.
func envelope(name string) *Envelope {
	return &Envelope{Sender: "ann$(x)@s.test", Recipients: []Recipient{{Address: name + "@d.test", Local: name, User: name, Domain: "d.test"}}}
}

// start serves a client in this process. alice and nobody are users of it, and
// root, and some system account.
func start(t *testing.T, p Policy) (c *Client, home string) {
	t.Helper()
	mtatest.NeedRoot(t, "the monitor becomes other users")
	home = filepath.Join(mtatest.OpenDir(t), "alice")
	mtatest.Check(t, os.Mkdir(home, 0o700))
	mtatest.Check(t, os.Chown(home, aliceID, aliceID))
	ours, theirs, err := pair(unix.SOCK_SEQPACKET)
	mtatest.Check(t, err)
	channel, err := unixConn(ours)
	mtatest.Check(t, err)
	other, err := unixConn(theirs)
	mtatest.Check(t, err)
	log := &mtatest.Buffer{}
	s := newServer(p, self(), 4321, nil, slog.New(slog.NewTextHandler(log, nil)))
	s.passwd = func() ([]byte, error) { return []byte("alice:x:12345:12345::/:/bin/zsh\n"), nil }
	s.users = func(name string) (*user.User, error) {
		ids := map[string]string{"root": "0", "daemon": "999", "server": "4321", "alice": fmt.Sprint(aliceID), "nobody": "65534"}
		homes := map[string]string{"alice": home, "nobody": "/nonexistent"}
		id, ok := ids[name]
		if !ok {
			return nil, user.UnknownUserError(name)
		}
		return &user.User{Username: name, Uid: id, Gid: id, HomeDir: homes[name]}, nil
	}
	served := make(chan error, 1)
	go func() { served <- s.serve(channel) }()
	c = newClient(other)
	t.Cleanup(func() {
		c.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		channel.Close()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return c, home
}

const limit = 20 * time.Second

func shellRequest(name, script, mail string) Request {
	return Request{User: name, Command: script, Mail: envelope(name), Size: int64(len(mail))}
}

// sh runs a script of the shell.
func sh(t *testing.T, c *Client, name, script, mail string) Result {
	t.Helper()
	r, err := c.Run(t.Context(), shellRequest(name, script, mail), strings.NewReader(mail), limit)
	mtatest.Check(t, err)
	return r
}

// What is run is the user, has nothing of the monitor's, and can become nobody
// else.
func TestRunAs(t *testing.T) {
	t.Setenv("MTAD_SECRET", "hunter2")
	for _, name := range []string{"TZ", "LANG"} {
		t.Setenv(name, "")
		mtatest.Check(t, os.Unsetenv(name))
	}
	c, home := start(t, static{run: true})
	r, w, err := os.Pipe()
	mtatest.Check(t, err)
	defer r.Close()
	defer w.Close()
	inherited, err := unix.Dup(int(r.Fd())) // without close-on-exec
	mtatest.Check(t, err)
	defer unix.Close(inherited)
	mtatest.Check(t, closeOnExec())
	for script, want := range map[string]string{
		"id -u; id -g; id -G": "12345\n12345\n12345\n",
		"pwd":                 home + "\n",
		"umask":               "0077\n",
		"env | sort": "DOMAIN=d.test\nHOME=" + home + "\nLOCAL=alice\nLOGNAME=alice\nPATH=/usr/bin:/bin\nPWD=" + home +
			"\nRECIPIENT=alice@d.test\nSENDER=ann__x_@s.test\nSHELL=/bin/zsh\nUSER=alice\n", // PWD is the shell's own
		"cat":                               "the mail",
		"echo out; echo err >&2; exit 7":    "out\nerr\n",
		"kill -9 $$":                        "",
		"ls /proc/self/fd":                  "0\n1\n2\n3\n", // 3 is ls's own
		"grep NoNewPrivs /proc/self/status": "NoNewPrivs:\t1\n",
		"ps -o sid= -p $$ | tr -d ' ' | sed \"s/^$$\\$/own session/\"": "own session\n",
	} {
		old := unix.Umask(0o077) // as Run sets it
		res := sh(t, c, "alice", script, "the mail")
		unix.Umask(old)
		if string(res.Output) != want {
			t.Errorf("%s: %q, want %q", script, res.Output, want)
		}
		if code := map[string]int{"kill -9 $$": 137, "echo out; echo err >&2; exit 7": 7}[script]; res.Exit != code {
			t.Errorf("%s: exit %d", script, res.Exit)
		}
	}
	if res := sh(t, c, "nobody", "id -u; pwd", ""); string(res.Output) != "65534\n/\n" {
		t.Errorf("nobody: %q", res.Output)
	}
}

// What may not be is refused, whoever asks.
func TestRefused(t *testing.T) {
	mtatest.NeedRoot(t, "the monitor becomes other users")
	c, home := start(t, static{run: true, files: "/"})
	one := func(r Request) error {
		if r.Op != OpForward && r.Mail == nil {
			r.Mail = envelope("alice")
		}
		_, err := c.do(t.Context(), &r, nil, limit)
		return err
	}
	bad := envelope("alice")
	bad.Sender = "a\nb@s.test"
	many := envelope("alice")
	many.Recipients = make([]Recipient, MaxRecipients+1)
	for _, tc := range []struct {
		name  string
		r     Request
		fault Fault
	}{
		{"root", Request{Op: OpRun, User: "root", Command: "true"}, Refused},
		{"system account", Request{Op: OpRun, User: "daemon", Command: "true"}, Refused},
		{"the server", Request{Op: OpRun, User: "server", Command: "true"}, Refused},
		{"no user", Request{Op: OpRun, User: "zoe", Command: "true"}, NoUser},
		{"no login", Request{Op: OpRun, User: "a:b", Command: "true"}, Refused},
		{"no command", Request{Op: OpRun, User: "alice"}, Refused},
		{"two things", Request{Op: OpRun, User: "alice", Command: "true", Route: "r"}, Refused},
		{"lines", Request{Op: OpRun, User: "alice", Command: "true\nfalse"}, Refused},
		{"lines of an envelope", Request{Op: OpRun, User: "alice", Command: "true", Mail: bad}, Refused},
		{"too many", Request{Op: OpRun, User: "alice", Command: "true", Mail: many}, Refused},
		{"relative", Request{Op: OpDeliver, User: "alice", Path: "x"}, Refused},
		{"not clean", Request{Op: OpDeliver, User: "alice", Path: home + "/../x"}, Refused},
		{"no folder", Request{Op: OpDeliver, User: "alice", Path: home + "/none/x"}, Failed},
		{"forward", Request{Op: OpForward, User: "alice", Path: ".forward"}, Refused},
		{"not forward", Request{Op: OpForward, User: "alice", Path: ".ssh/id_rsa"}, Refused},
		{"nothing", Request{Op: "reboot", User: "alice"}, Refused},
	} {
		if err := one(tc.r); !IsFault(err, tc.fault) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	mtatest.Check(t, one(Request{Op: OpRun, User: "alice", Command: "true"}))
}

// A route's arguments are made by the monitor.
func TestRoute(t *testing.T) {
	c, _ := start(t, static{})
	e := envelope("alice")
	e.Recipients = append(e.Recipients, Recipient{Address: "b c@d.test"})
	res, err := c.Run(t.Context(), Request{Route: "r", Mail: e}, nil, limit)
	if err != nil || string(res.Output) != "alice@d.test b c@d.test ann$(x)@s.test\n" {
		t.Errorf("%q %v", res.Output, err)
	}
	e.Sender = "-x@s.test"
	if _, err := c.Run(t.Context(), Request{Route: "r", Mail: e}, nil, limit); !IsFault(err, Unfit) {
		t.Errorf("an option: %v", err)
	}
}

// No policy grants nothing.
func TestNothingGranted(t *testing.T) {
	c, home := start(t, nil)
	if _, err := c.Run(t.Context(), shellRequest("alice", "true", ""), nil, limit); !IsFault(err, Refused) {
		t.Error(err)
	}
	if err := c.Deliver(t.Context(), Request{User: "alice", Path: home + "/mbox", Mail: envelope("alice")}, nil, limit); !IsFault(err, Refused) {
		t.Error(err)
	}
	if _, _, err := c.Forward(t.Context(), "alice", ".forward", limit); !IsFault(err, Refused) {
		t.Error(err)
	}
}

// gone waits until a process is no more, or a zombie.
func gone(t *testing.T, pid string) {
	t.Helper()
	mtatest.Eventually(t, "the end of process "+pid, limit, func() bool {
		b, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

// pidIn waits for a file with a process ID.
func pidIn(t *testing.T, path string) (pid string) {
	t.Helper()
	mtatest.Eventually(t, "a process", limit, func() bool {
		b, err := os.ReadFile(path)
		pid = string(b)
		return err == nil && strings.HasSuffix(pid, "\n")
	})
	return pid
}

// When time is up, or the caller or the server is gone, the whole group is
// killed, also what ignores SIGTERM.
func TestKilled(t *testing.T) {
	c, home := start(t, static{run: true})
	const stubborn = "trap '' TERM; sleep 1000 & echo $! >pid; wait; wait"
	pid := filepath.Join(home, "pid")
	run := func(ctx context.Context, d time.Duration) error {
		_, err := c.Run(ctx, shellRequest("alice", stubborn, "x"), strings.NewReader("x"), d)
		return err
	}
	err := run(t.Context(), 300*time.Millisecond)
	if !IsFault(err, Timeout) {
		t.Errorf("time is up: %v", err)
	}
	gone(t, pidIn(t, pid))
	mtatest.Check(t, os.Remove(pid))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, limit) }()
	child := pidIn(t, pid)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	gone(t, child)
	mtatest.Check(t, os.Remove(pid))

	go func() { done <- run(t.Context(), limit) }()
	child = pidIn(t, pid)
	c.Close()
	if err := <-done; err == nil {
		t.Error("a call outlives the channel")
	}
	gone(t, child)
}

// What a command leaves in its group is killed when it ends.
func TestLeftBehind(t *testing.T) {
	c, home := start(t, static{run: true})
	begin := time.Now()
	sh(t, c, "alice", "sleep 1000 & echo $! >pid", "")
	if d := time.Since(begin); d > limit/2 {
		t.Errorf("it took %s", d)
	}
	gone(t, pidIn(t, filepath.Join(home, "pid")))
}

// Neither a command that reads nothing nor one that prints without end is
// waited for or kept.
func TestBounds(t *testing.T) {
	c, home := start(t, static{run: true})
	big := strings.Repeat("x", 4<<20)
	if res := sh(t, c, "alice", "exit 3", big); res.Exit != 3 {
		t.Errorf("unread mail: %+v", res)
	}
	if res := sh(t, c, "alice", "wc -c", big); strings.TrimSpace(string(res.Output)) != fmt.Sprint(len(big)) {
		t.Errorf("mail: %q", res.Output)
	}
	res := sh(t, c, "alice", "yes | head -c 10000000", "")
	if len(res.Output) != maxOutput || !res.Cut || res.Exit != 0 {
		t.Errorf("output: %d octets, %v", len(res.Output), res.Cut)
	}
	r, w := io.Pipe()
	done := make(chan error, maxCalls)
	for range maxCalls {
		go func() {
			_, err := c.Run(t.Context(), shellRequest("alice", "echo $$ >>pid; cat", "y"), r, limit)
			done <- err
		}()
	}
	mtatest.Eventually(t, "all calls", limit, func() bool {
		b, _ := os.ReadFile(filepath.Join(home, "pid"))
		return bytes.Count(b, []byte("\n")) == maxCalls
	})
	if _, err := c.Run(t.Context(), shellRequest("alice", "exit", ""), nil, limit); !IsFault(err, Busy) {
		t.Errorf("one call more than allowed: %v", err)
	}
	for range maxCalls {
		w.Write([]byte("y"))
		mtatest.Check(t, <-done)
	}
}

// deliverTo delivers for alice.
func deliverTo(t *testing.T, c *Client, path, text string, size int, d time.Duration) error {
	return c.Deliver(t.Context(), Request{User: "alice", Path: path, Mail: envelope("alice"), Size: int64(size)}, strings.NewReader(text), d)
}

func TestDeliver(t *testing.T) {
	c, home := start(t, static{files: "/"})
	mbox := filepath.Join(home, "mbox")
	deliver := func(path, text string, size int) error {
		return deliverTo(t, c, path, text, size, limit)
	}
	for range 2 {
		mtatest.Check(t, deliver(mbox, "From me\n", 8))
	}
	var st unix.Stat_t
	mtatest.Check(t, unix.Stat(mbox, &st))
	b, err := os.ReadFile(mbox)
	mtatest.Check(t, err)
	if string(b) != "From me\nFrom me\n" || st.Uid != aliceID || st.Mode&0o7777 != 0o600 {
		t.Errorf("%q, owner %d, mode %o", b, st.Uid, st.Mode)
	}
	// Half a mail is none.
	if err := deliver(mbox, "half", 8); err == nil {
		t.Error("a short mail was delivered")
	}
	mtatest.Eventually(t, "half a mail taken back", limit, func() bool {
		after, err := os.ReadFile(mbox)
		return err == nil && bytes.Equal(after, b)
	})
	mtatest.Check(t, os.Symlink(mbox, filepath.Join(home, "link")))
	mtatest.Check(t, os.Link(mbox, filepath.Join(home, "hard")))
	mtatest.Check(t, unix.Mkfifo(filepath.Join(home, "fifo"), 0o666))
	mtatest.Check(t, os.Chown(filepath.Join(home, "fifo"), aliceID, aliceID))
	mtatest.Check(t, os.WriteFile(filepath.Join(home, "roots"), nil, 0o666))
	mtatest.Check(t, os.Chmod(filepath.Join(home, "roots"), 0o666))
	for _, name := range []string{"link", "hard", "fifo", "roots"} {
		if err := deliver(filepath.Join(home, name), "x", 1); !IsFault(err, Refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that somebody has locked is waited for, within the time.
func TestDeliverLocked(t *testing.T) {
	c, home := start(t, static{files: "/"})
	mbox := filepath.Join(home, "mbox")
	mtatest.Check(t, os.WriteFile(mbox, nil, 0o600))
	mtatest.Check(t, os.Chown(mbox, aliceID, aliceID))
	f, err := os.OpenFile(mbox, os.O_RDWR, 0)
	mtatest.Check(t, err)
	defer f.Close()
	mtatest.Check(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	err = deliverTo(t, c, mbox, "x", 1, 500*time.Millisecond)
	if !IsFault(err, Timeout) {
		t.Errorf("locked: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- deliverTo(t, c, mbox, "x", 1, limit) }()
	mtatest.Check(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}))
	mtatest.Check(t, <-done)
}

func TestForward(t *testing.T) {
	c, home := start(t, static{forward: true})
	path := filepath.Join(home, ".forward")
	read := func() (string, bool, error) {
		b, ok, err := c.Forward(t.Context(), "alice", ".forward", limit)
		return string(b), ok, err
	}
	if text, ok, err := read(); err != nil || ok || text != "" {
		t.Errorf("none: %q %v %v", text, ok, err)
	}
	write := func(text string, mode os.FileMode, owner int) {
		mtatest.Check(t, os.WriteFile(path, []byte(text), 0o600))
		mtatest.Check(t, os.Chmod(path, mode))
		mtatest.Check(t, os.Chown(path, owner, owner))
	}
	write("bob@example.test\n", 0o600, aliceID)
	if text, ok, err := read(); err != nil || !ok || text != "bob@example.test\n" {
		t.Errorf("%q %v %v", text, ok, err)
	}
	for name, tc := range map[string]struct {
		text  string
		mode  os.FileMode
		owner int
	}{
		"others may write": {"x", 0o666, aliceID},
		"somebody else's":  {"x", 0o644, 23456},
		"too large":        {strings.Repeat("x", maxOutput+1), 0o600, aliceID},
	} {
		write(tc.text, tc.mode, tc.owner)
		if _, ok, err := read(); ok || !IsFault(err, Unsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mtatest.Check(t, os.Remove(path))
	mtatest.Check(t, os.Symlink("/etc/passwd", path))
	if _, ok, err := read(); ok || !IsFault(err, Unsafe) {
		t.Errorf("link: %v", err)
	}
	mtatest.Check(t, os.Remove(path))
	mtatest.Check(t, unix.Mkfifo(path, 0o600))
	mtatest.Check(t, os.Chown(path, aliceID, aliceID))
	if _, ok, err := read(); ok || !IsFault(err, Unsafe) {
		t.Errorf("fifo: %v", err)
	}
	mtatest.Check(t, os.Remove(path))
	write("bob@example.test\n", 0o600, aliceID)
	mtatest.Check(t, os.Chmod(home, 0o777))
	if _, ok, err := read(); ok || !IsFault(err, Unsafe) {
		t.Errorf("in a folder of everybody's: %v", err)
	}
}

// What a user's .forward names is done; nothing else is, and nothing if others
// may have written it.
func TestListed(t *testing.T) {
	c, home := start(t, static{run: true, files: "/", listed: true})
	path := filepath.Join(home, ".forward+x")
	mtatest.Check(t, os.WriteFile(path, []byte("\\alice, \"|cat; echo $USER\", "+home+"/box, |/no/program\n"), 0o600))
	mtatest.Check(t, os.Chown(path, aliceID, aliceID))
	if res := sh(t, c, "alice", "cat; echo $USER", "hi "); string(res.Output) != "hi alice\n" || res.Exit != 0 {
		t.Errorf("%+v", res)
	}
	if res := sh(t, c, "alice", "/no/program", ""); res.Exit != helperFault {
		t.Errorf("no program: %+v", res)
	}
	mtatest.Check(t, deliverTo(t, c, home+"/box", "x", 1, limit))
	if err := deliverTo(t, c, home+"/other", "x", 1, limit); !IsFault(err, Refused) {
		t.Errorf("another file: %v", err)
	}
	other := func() error {
		_, err := c.Run(t.Context(), shellRequest("alice", "id", ""), nil, limit)
		return err
	}
	if err := other(); !IsFault(err, Refused) {
		t.Errorf("another command: %v", err)
	}
	mtatest.Check(t, os.WriteFile(path, []byte("|id"), 0o600))
	mtatest.Check(t, other())
	mtatest.Check(t, os.Chmod(path, 0o620))
	if err := other(); !IsFault(err, Refused) {
		t.Errorf("anybody's: %v", err)
	}
}

// A file beside the mailbox locks it too; a stale one is nobody's.
func TestLockFile(t *testing.T) {
	c, home := start(t, static{files: "/"})
	mbox := filepath.Join(home, "mbox")
	mtatest.Check(t, os.WriteFile(mbox+".lock", nil, 0o600))
	if err := deliverTo(t, c, mbox, "x", 1, 500*time.Millisecond); !IsFault(err, Timeout) {
		t.Errorf("locked: %v", err)
	}
	old := time.Now().Add(-2 * staleLock)
	mtatest.Check(t, os.Chtimes(mbox+".lock", old, old))
	mtatest.Check(t, deliverTo(t, c, mbox, "x", 1, limit))
	if _, err := os.Stat(mbox + ".lock"); err == nil {
		t.Error("the lock is still there")
	}
}

func TestMaildir(t *testing.T) {
	c, home := start(t, static{files: "/"})
	dir := filepath.Join(home, "a", "Maildir")
	for range 2 {
		mtatest.Check(t, deliverTo(t, c, dir+"/", "text", 4, limit))
	}
	if err := deliverTo(t, c, dir+"/", "half", 8, limit); err == nil {
		t.Error("half a mail was delivered")
	}
	found, err := filepath.Glob(dir + "/new/*")
	mtatest.Check(t, err)
	for _, f := range found {
		var st unix.Stat_t
		mtatest.Check(t, unix.Stat(f, &st))
		if st.Mode&0o7777 != 0o600 || st.Uid != aliceID || st.Size != 4 {
			t.Errorf("%+v", st)
		}
	}
	mtatest.Eventually(t, "no rest", limit, func() bool {
		rest, _ := filepath.Glob(dir + "/tmp/*")
		return len(rest) == 0
	})
	if len(found) != 2 {
		t.Errorf("%q", found)
	}
	full := filepath.Join(home, "full")
	mtatest.Check(t, os.Mkdir(full, 0o700))
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=64k,mode=0777"); err != nil {
		t.Skip("no tmpfs here:", err)
	}
	defer unix.Unmount(full, 0)
	big := strings.Repeat("x", 1<<20)
	for _, path := range []string{full + "/", full + "/mbox"} {
		if err := deliverTo(t, c, path, big, len(big), limit); !IsFault(err, Full) {
			t.Errorf("%s: %v", path, err)
		}
	}
	mtatest.Eventually(t, "nothing left", limit, func() bool {
		rest, _ := filepath.Glob(full + "/tmp/*")
		st, err := os.Stat(full + "/mbox")
		return len(rest) == 0 && err == nil && st.Size() == 0
	})
}

// The helper does nothing that it does not know.
func TestHelper(t *testing.T) {
	for _, args := range [][]string{nil, {"deliver"}, {"{}"}, {`{"op":"reboot"}`}, {`{"op":"run"}`}} {
		var out bytes.Buffer
		if code := Helper(args, strings.NewReader(""), &out); code != helperFault || out.Len() == 0 {
			t.Errorf("%v: exit %d, %q", args, code, &out)
		}
	}
	if exitStatus(syscall.WaitStatus(3<<8)) != 3 {
		t.Error("exit status")
	}
}
