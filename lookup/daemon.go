package lookup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxReply bounds a daemon's answer, in octets (socketmap_table(5): 100,000).
const maxReply = 100_000

// daemon asks a server over connections that it keeps: at most one idle.
type daemon struct {
	network, address string
	// exchange asks one question; an error means that the connection is of no
	// use any more.
	exchange func(rw *bufio.ReadWriter, key string) (answer, error)

	mu     sync.Mutex
	idle   net.Conn
	closed bool
}

// answer is what the server said. A fault is the server's, not the connection's.
type answer struct {
	value string
	ok    bool
	fault error
}

// dial reads inet:host:port, unix:/path, or host:port.
func daemonAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return "unix", path, nil
	}
	address = strings.TrimPrefix(s, "inet:")
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("%q is no address: want host:port, inet:host:port or unix:/path", s)
	}
	return "tcp", address, nil
}

func openTCP(name string, _ Options) (Table, error) {
	network, address, err := daemonAddress(name)
	if err != nil {
		return nil, err
	}
	return &daemon{network: network, address: address, exchange: tcpExchange}, nil
}

func openSocketmap(name string, _ Options) (Table, error) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || i == len(name)-1 || strings.ContainsAny(name[i+1:], " \t") {
		return nil, fmt.Errorf("%q: want inet:host:port:NAME or unix:/path:NAME", name)
	}
	network, address, err := daemonAddress(name[:i])
	if err != nil {
		return nil, err
	}
	of := name[i+1:]
	return &daemon{network: network, address: address, exchange: func(rw *bufio.ReadWriter, key string) (answer, error) {
		return socketmapExchange(rw, of, key)
	}}, nil
}

// Lookup asks the daemon. A connection that was idle may have been closed by it,
// and then a new one is tried.
func (d *daemon) Lookup(ctx context.Context, key string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if conn := d.take(); conn != nil {
		if a, err := d.ask(ctx, conn, key); err == nil {
			return a.value, a.ok, a.fault
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, d.network, d.address)
	if err != nil {
		return "", false, err
	}
	a, err := d.ask(ctx, conn, key)
	if err != nil {
		return "", false, err
	}
	return a.value, a.ok, a.fault
}

func (d *daemon) ask(ctx context.Context, conn net.Conn, key string) (answer, error) {
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	rw := bufio.NewReadWriter(bufio.NewReader(io.LimitReader(conn, 2*maxReply)), bufio.NewWriter(conn))
	a, err := d.exchange(rw, key)
	if err == nil && rw.Reader.Buffered() > 0 {
		err = errors.New("the server said more than an answer")
	}
	if err != nil || !stop() {
		conn.Close()
		return a, err
	}
	d.keep(conn)
	return a, nil
}

func (d *daemon) take() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.idle
	d.idle = nil
	return conn
}

func (d *daemon) keep(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle != nil || d.closed {
		conn.Close()
		return
	}
	d.idle = conn
}

// Whole is true: the daemon knows itself what it takes apart.
func (d *daemon) Whole() bool { return true }

// Close closes the idle connection.
func (d *daemon) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.idle == nil {
		return nil
	}
	conn := d.idle
	d.idle = nil
	return conn.Close()
}

// tcpExchange is tcp_table(5): "get KEY", answered by 200 and the value, 500 for
// none, 400 for a fault. What is not printable is %XX.
func tcpExchange(rw *bufio.ReadWriter, key string) (a answer, err error) {
	fmt.Fprintf(rw, "get %s\n", percentEncode(key))
	if err := rw.Flush(); err != nil {
		return a, err
	}
	line, err := readLine(rw.Reader)
	if err != nil {
		return a, err
	}
	code, text, _ := strings.Cut(line, " ")
	text, err = percentDecode(text)
	if err != nil {
		return a, err
	}
	switch code {
	case "200":
		return answer{value: text, ok: true}, nil
	case "500":
		return answer{}, nil
	case "400":
		return answer{fault: fmt.Errorf("the server says: %.200s", text)}, nil
	}
	return a, fmt.Errorf("%.40q is no answer of tcp_table(5)", line)
}

func readLine(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := r.ReadSlice('\n')
		b.Write(part)
		switch {
		case b.Len() > maxReply:
			return "", errors.New("the answer is too long")
		case err == nil:
			return strings.TrimSuffix(b.String(), "\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '%' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func percentDecode(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%.40q: a %% without two digits", s)
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%.40q: a %% without two digits", s)
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}

// socketmapExchange is socketmap_table(5): netstrings of "NAME KEY", answered by
// OK and the value, NOTFOUND, or TEMP, TIMEOUT, PERM and why.
func socketmapExchange(rw *bufio.ReadWriter, name, key string) (a answer, err error) {
	question := name + " " + key
	fmt.Fprintf(rw, "%d:%s,", len(question), question)
	if err := rw.Flush(); err != nil {
		return a, err
	}
	text, err := readNetstring(rw.Reader)
	if err != nil {
		return a, err
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "OK":
		return answer{value: rest, ok: true}, nil
	case "NOTFOUND":
		return answer{}, nil
	case "TEMP", "TIMEOUT", "PERM":
		return answer{fault: fmt.Errorf("the server says: %s %.200s", word, rest)}, nil
	}
	return a, fmt.Errorf("%.40q is no answer of socketmap_table(5)", text)
}

func readNetstring(r *bufio.Reader) (string, error) {
	n := 0
	for i := 0; ; i++ {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == ':' && i > 0:
			b := make([]byte, n+1)
			if _, err := io.ReadFull(r, b); err != nil {
				return "", err
			}
			if b[n] != ',' {
				return "", errors.New("a netstring without its comma")
			}
			return string(b[:n]), nil
		case c < '0' || c > '9' || i > 6:
			return "", errors.New("a netstring without its length")
		}
		if n = n*10 + int(c-'0'); n > maxReply {
			return "", errors.New("the answer is too long")
		}
	}
}
