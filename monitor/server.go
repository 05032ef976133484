package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultCalls = 20
	frameTime    = 10 * time.Second // for a request, and for taking an answer
)

// server answers the child's calls.
type server struct {
	policy Policy
	self   string // the path of this binary
	child  uint32 // the ID of the child's user
	users  func(name string) (*user.User, error)
	state  func(State)
	log    *slog.Logger

	slots chan struct{}
	calls sync.WaitGroup
}

func newServer(p Policy, self string, child uint32, state func(State), log *slog.Logger) *server {
	n := p.Calls
	if n <= 0 {
		n = defaultCalls
	}
	return &server{policy: p, self: self, child: child, users: user.Lookup, state: state, log: log, slots: make(chan struct{}, n)}
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
	if a.Fault != "" {
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

// do does what a request asks, if it is granted.
func (s *server) do(ctx context.Context, conn net.Conn, r *Request) Answer {
	who, fault, err := s.lookup(r.User)
	if err != nil {
		return Answer{Fault: fault, Text: err.Error()}
	}
	if why := s.policy.permits(r, who); why != "" {
		return Answer{Fault: Refused, Text: why}
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return Answer{Fault: Busy, Text: fmt.Sprintf("%d calls are under way", cap(s.slots))}
	}
	ctx, stop := context.WithTimeoutCause(ctx, r.time(), fmt.Errorf("it took longer than %s", r.time()))
	defer stop()
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	conn.SetDeadline(time.Now().Add(r.time()))
	in := &mail{conn: conn, left: r.Size, hangUp: hangUp}
	p := &process{argv: s.argv(r, who), who: who, stdin: in}
	if r.Size == 0 {
		p.stdin = nil
		in.finish()
	}
	a := p.run(ctx)
	conn.SetReadDeadline(time.Now()) // ends whoever still reads
	return s.meaning(r, a)
}

// argv is what is run.
func (s *server) argv(r *Request, who *account) []string {
	switch r.Op {
	case OpDeliver:
		return []string{s.self, HelperArg, string(OpDeliver), r.Path, strconv.FormatInt(r.Size, 10)}
	case OpForward:
		return []string{s.self, HelperArg, string(OpForward), who.home + "/" + r.Path}
	}
	return r.Argv
}

// meaning is an answer of the helper as one of the operation.
func (s *server) meaning(r *Request, a Answer) Answer {
	switch {
	case r.Op == OpRun || a.Fault != "" || a.Exit == 0:
		return a
	case r.Op == OpForward && a.Exit == helperNoFile:
		return Answer{Fault: NoFile, Text: "there is no " + r.Path}
	}
	return Answer{Fault: Failed, Text: fmt.Sprintf("exit %d: %.400s", a.Exit, a.Output)}
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
