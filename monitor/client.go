package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Client is the child's side. Its methods may be called by several goroutines at
// once.
type Client struct {
	mu      sync.Mutex // of writing to channel
	channel *net.UnixConn
	done    chan struct{}
}

// Error is a call without a result.
type Error struct {
	Fault Fault
	Text  string
}

func (e *Error) Error() string { return fmt.Sprintf("monitor: %s: %s", e.Fault, e.Text) }

// IsFault reports whether err is that fault of a call.
func IsFault(err error, f Fault) bool {
	var e *Error
	return errors.As(err, &e) && e.Fault == f
}

func newClient(channel *net.UnixConn) *Client {
	c := &Client{channel: channel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		// The monitor says nothing here: what comes is its end.
		var b [1]byte
		_, _ = c.channel.Read(b[:])
	}()
	return c
}

// Done is closed when the monitor has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection; the monitor kills what runs.
func (c *Client) Close() error { return c.channel.Close() }

// Tell tells the monitor how the server is.
func (c *Client) Tell(s State) error { return c.send([]byte{version, byte(s)}, nil) }

func (c *Client) send(packet, oob []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channel.SetWriteDeadline(time.Now().Add(frameTime))
	_, _, err := c.channel.WriteMsgUnix(packet, oob, nil)
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	return nil
}

// Result is what a command said.
type Result struct {
	Exit   int // status; 128 and the signal's number if one ended it
	Output []byte
	Cut    bool // there was more than 64 KiB of output
}

// Run runs a program with size octets of mail as its standard input: a command
// line as a user, or that of a route. The error is an *Error if the monitor
// answered.
func (c *Client) Run(ctx context.Context, r Request, mail io.Reader, limit time.Duration) (Result, error) {
	r.Op = OpRun
	a, err := c.do(ctx, &r, mail, limit)
	if err != nil {
		return Result{}, err
	}
	return Result{a.Exit, a.Output, a.Cut}, nil
}

// Deliver adds size octets of mail to a file or a Maildir, as a user, or to that
// of a route: all of them, synced, or none. Other programs that lock the file see
// it before or after.
func (c *Client) Deliver(ctx context.Context, r Request, mail io.Reader, limit time.Duration) error {
	r.Op = OpDeliver
	_, err := c.do(ctx, &r, mail, limit)
	return err
}

// Forward reads a file of a user's home directory: ".forward", or that with an
// extension. ok is false if there is none. The error is an Unsafe one if others
// can have written it.
func (c *Client) Forward(ctx context.Context, user, name string, limit time.Duration) (text []byte, ok bool, err error) {
	a, err := c.do(ctx, &Request{Op: OpForward, User: user, Path: name}, nil, limit)
	if IsFault(err, NoFile) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return a.Output, true, nil
}

// do makes a call. Its end by ctx is noticed by the monitor, which kills what
// runs.
func (c *Client) do(ctx context.Context, r *Request, mail io.Reader, limit time.Duration) (*Answer, error) {
	r.Version, r.Millis = version, limit.Milliseconds()
	if err := r.check(); err != nil {
		return nil, &Error{Refused, err.Error()}
	}
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The monitor answers in time; the rest is for a monitor that hangs.
	conn.SetDeadline(time.Now().Add(limit + 2*grace + 2*frameTime))
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	a, err := c.converse(conn, r, mail)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("monitor: %w", context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("monitor: %w", err)
	case a.Fault != "":
		return nil, &Error{a.Fault, a.Text}
	}
	return a, nil
}

// converse writes the request and the mail, and reads the answer, which may come
// before all mail was taken.
func (c *Client) converse(conn net.Conn, r *Request, mail io.Reader) (*Answer, error) {
	if err := writeFrame(conn, r); err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		var err error
		if r.Size > 0 {
			_, err = io.CopyN(conn, mail, r.Size)
		}
		if err != nil && !errors.Is(err, unix.EPIPE) {
			conn.Close() // a short mail has no answer
		}
		sent <- err
	}()
	b, err := readFrame(conn)
	conn.SetWriteDeadline(time.Now()) // nobody wants the rest
	if serr := <-sent; err != nil {
		return nil, errors.Join(serr, err)
	}
	return parseAnswer(b)
}

// open makes the stream of a call and gives the monitor its end.
func (c *Client) open() (net.Conn, error) {
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	defer ours.Close() // FileConn has one of its own
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("monitor: %w", err)
	}
	if err := c.send([]byte{version, byte(call)}, unix.UnixRights(int(theirs.Fd()))); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// pair makes two connected sockets, which nothing that is started inherits.
func pair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("monitor: socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "child"), nil
}

// unixConn makes a connection of a socket, which is closed.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("monitor: %w", err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("monitor: the channel is no Unix socket")
	}
	return u, nil
}
