package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxCalls  = 20
	frameTime = 10 * time.Second // for a request, and for taking an answer
)

// server answers the child's calls.
type server struct {
	policy Policy
	self   string // the path of this binary
	child  uint32 // the ID of the child's user
	users  func(name string) (*user.User, error)
	passwd func() ([]byte, error)
	state  func(State)
	log    *slog.Logger

	slots chan struct{}
	calls sync.WaitGroup
}

func newServer(p Policy, self string, child uint32, state func(State), log *slog.Logger) *server {
	return &server{
		policy: p, self: self, child: child, users: user.Lookup, state: state, log: log, slots: make(chan struct{}, maxCalls),
		passwd: func() ([]byte, error) { return os.ReadFile("/etc/passwd") },
	}
}

// serve reads packets until the child closes the channel; what runs then is
// killed. A packet that makes no sense is an error, and ends everything: the
// child is not what it should be.
func (s *server) serve(channel *net.UnixConn) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer s.calls.Wait()
	defer stop(errors.New("the server has ended"))
	for {
		k, conn, err := readPacket(channel)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if k != call {
			s.state(State(k))
			continue
		}
		s.calls.Go(func() {
			defer conn.Close()
			s.answer(ctx, conn)
		})
	}
}

// readPacket reads a packet and the stream that comes with a call.
func readPacket(channel *net.UnixConn) (kind, net.Conn, error) {
	// One octet more than a packet has, room for more descriptors than one.
	b, oob := make([]byte, 3), make([]byte, unix.CmsgSpace(4*4))
	n, on, _, _, err := channel.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, nil, err
	}
	files, err := received(oob[:on])
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, io.EOF
	}
	k, err := parsePacket(b[:n], len(files))
	if err != nil || k != call {
		return k, nil, err
	}
	conn, err := net.FileConn(files[0])
	if err != nil {
		return 0, nil, fmt.Errorf("monitor: the descriptor of a call: %w", err)
	}
	if a := conn.LocalAddr(); a == nil || a.Network() != "unix" {
		conn.Close()
		return 0, nil, errors.New("monitor: the descriptor of a call is no Unix stream socket")
	}
	return k, conn, nil
}

// received are the descriptors of a control message; they are the caller's.
func received(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "call"))
		}
	}
	return files, nil
}

// answer reads a request and answers it.
func (s *server) answer(ctx context.Context, conn net.Conn) {
	conn.SetDeadline(time.Now().Add(frameTime))
	b, err := readFrame(conn)
	if err != nil {
		s.log.Warn("monitor: call", "err", err)
		return
	}
	r, err := parseRequest(b)
	var a Answer
	if err != nil {
		a = Answer{Fault: Refused, Text: err.Error()}
	} else {
		a = s.do(ctx, conn, r)
	}
	a.Version = version
	if a.Fault != "" && a.Fault != NoFile {
		s.log.Warn("monitor: call", "op", opOf(r), "user", userOf(r), "fault", string(a.Fault), "err", a.Text)
	}
	conn.SetDeadline(time.Now().Add(frameTime))
	if err := writeFrame(conn, a); err != nil && a.Fault != Timeout {
		s.log.Warn("monitor: answer", "err", err)
	}
}

func opOf(r *Request) string {
	if r == nil {
		return ""
	}
	return string(r.Op)
}

func userOf(r *Request) string {
	if r == nil {
		return ""
	}
	return r.User
}

// grant says what a request means, or why it is not granted.
func (s *server) grant(r *Request) (g Grant, who *account, a Answer) {
	if s.policy == nil {
		return g, nil, Answer{Fault: Refused, Text: "nothing is granted"}
	}
	defer func() { // a policy reads files that users have written
		if p := recover(); p != nil {
			s.log.Error("monitor: panic", "panic", p, "stack", string(debug.Stack()))
			a = Answer{Fault: Failed, Text: "the monitor's policy has a defect; its log says more"}
		}
	}()
	g, err := s.policy.Grant(r, s.users)
	switch {
	case errors.Is(err, ErrUnfit):
		return g, nil, Answer{Fault: Unfit, Text: err.Error()}
	case err != nil:
		return g, nil, Answer{Fault: Refused, Text: err.Error()}
	}
	who, fault, err := s.lookup(&g)
	if err != nil {
		return g, nil, Answer{Fault: fault, Text: err.Error()}
	}
	return g, who, Answer{}
}

// do does what a request asks, if it is granted.
func (s *server) do(ctx context.Context, conn net.Conn, r *Request) Answer {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return Answer{Fault: Busy, Text: fmt.Sprintf("%d calls are under way", cap(s.slots))}
	}
	g, who, refused := s.grant(r)
	if refused.Fault != "" {
		return refused
	}
	p, err := s.process(r, &g, who)
	if err != nil {
		return Answer{Fault: Failed, Text: err.Error()}
	}
	ctx, stop := context.WithTimeoutCause(ctx, r.time(), fmt.Errorf("it took longer than %s", r.time()))
	defer stop()
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	conn.SetDeadline(time.Now().Add(r.time()))
	in := &mail{conn: conn, left: r.Size, hangUp: hangUp}
	p.stdin = in
	if r.Size == 0 {
		p.stdin = nil
		in.finish()
	}
	a := p.run(ctx)
	conn.SetReadDeadline(time.Now()) // ends whoever still reads
	return meaning(r, &g, a)
}

// process is what is run for a request.
func (s *server) process(r *Request, g *Grant, who *account) (*process, error) {
	p := &process{who: who, dir: who.home, env: []string{}, cred: who.credential(g.Group)}
	if _, err := os.Stat(p.dir); errors.Is(err, fs.ErrNotExist) {
		p.dir = "/"
	}
	task := task{Op: r.Op, Home: who.home, Path: g.Path, Size: r.Size, Listed: g.Listed, Command: g.Command, Shared: g.Group != 0}
	switch r.Op {
	case OpForward:
		task.Path = who.home + "/" + r.Path
	case OpRun:
		p.env = s.environment(r, g, who)
		if !g.Listed {
			p.argv = g.Argv
			if g.Command != "" {
				p.argv = commandLine(g.Command)
			}
			return p, nil
		}
	}
	text, err := json.Marshal(task)
	p.argv = []string{s.self, HelperArg, string(text)}
	return p, err
}

// searchPath is where programs are looked for, as Postfix has it.
const searchPath = "/usr/bin:/bin"

// environment is all that a program is told by names: that of local(8).
func (s *server) environment(r *Request, g *Grant, who *account) []string {
	out := []string{"PATH=" + searchPath}
	for _, name := range []string{"TZ", "LANG"} { // postconf(5), export_environment
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	if r.Route != "" {
		return out // as pipe(8)
	}
	if !g.Nobody {
		out = append(out, "HOME="+who.home)
		if passwd, err := s.passwd(); err == nil {
			if sh := shell(string(passwd), who.name); sh != "" {
				out = append(out, "SHELL="+sh)
			}
		}
	}
	return append(out, r.Mail.environment()...)
}

// commandLine is what a command line runs: the program itself where no shell is
// needed, as Postfix does.
func commandLine(line string) []string {
	shell := []string{"/bin/sh", "-c", line}
	argv := strings.Fields(line)
	if len(argv) == 0 || strings.ContainsFunc(line, func(c rune) bool { return !strings.ContainsRune(letters+" \t", c) }) {
		return shell
	}
	if strings.Contains(argv[0], "/") {
		return argv
	}
	for _, dir := range strings.Split(searchPath, ":") {
		if st, err := os.Stat(dir + "/" + argv[0]); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return append([]string{dir + "/" + argv[0]}, argv[1:]...)
		}
	}
	return shell // which may know it
}

// meaning is an answer of the helper as one of the operation.
func meaning(r *Request, g *Grant, a Answer) Answer {
	if a.Fault != "" || a.Exit == 0 || r.Op == OpRun && !(g.Listed && a.Exit == helperRefused && bytes.HasPrefix(a.Output, []byte(notListed))) {
		return a
	}
	text := fmt.Sprintf("%.400s", bytes.TrimSpace(a.Output))
	switch {
	case r.Op == OpForward && a.Exit == helperNoFile:
		return Answer{Fault: NoFile, Text: "there is no " + r.Path}
	case r.Op == OpForward && a.Exit == helperRefused:
		return Answer{Fault: Unsafe, Text: text}
	case a.Exit == helperRefused:
		return Answer{Fault: Refused, Text: text}
	case a.Exit == helperFull:
		return Answer{Fault: Full, Text: text}
	}
	return Answer{Fault: Failed, Text: fmt.Sprintf("exit %d: %s", a.Exit, text)}
}

// mail is the octets that follow a request. When they have been read, or can not
// be, the next thing that comes from the caller is the end.
type mail struct {
	conn   net.Conn
	left   int64
	hangUp context.CancelCauseFunc
}

func (m *mail) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	n, err := m.conn.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	switch {
	case m.left == 0:
		m.finish()
		return n, nil
	case err != nil:
		m.hangUp(errCaller)
	}
	return n, err
}

var errCaller = errors.New("the caller is gone")

// finish watches the caller, who has nothing more to say.
func (m *mail) finish() {
	go func() {
		var b [1]byte
		if _, err := m.conn.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			m.hangUp(errCaller)
		}
	}()
}

// closeOnExec keeps every descriptor that this process was started with, but the
// standard ones, from what it starts.
func closeOnExec() error {
	err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, syscall.ENOSYS) { // before Linux 5.11
		return nil
	}
	return err
}
