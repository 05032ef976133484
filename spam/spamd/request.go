package spamd

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"mtad/internal/endpoint"
)

// Limits of what is before a message.
const (
	maxLine    = 4096
	maxHeaders = 256
)

// The codes of answers, those of sysexits.h and one more.
const (
	exUnavailable = 69
	exSoftware    = 70
	exProtocol    = 76
	exTimeout     = 79
)

// fault is a request that can not be answered.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return f.text }

func protocolError(format string, a ...any) error {
	return &fault{exProtocol, "Bad header line: " + oneLine(fmt.Sprintf(format, a...))}
}

// oneLine makes of what a client has sent a part of a line: an answer must have no lines
// of its making.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

func unavailable(format string, a ...any) error {
	return &fault{exUnavailable, "Service Unavailable: " + fmt.Sprintf(format, a...)}
}

// complaint is the answer to a request that failed.
func (s *Server) complaint(err error, r *request) string {
	method, limit := r.method, s.config.Timeout
	if !r.read {
		limit = s.config.RequestTimeout
	}
	var f *fault
	switch {
	case errors.As(err, &f):
	case errors.Is(err, os.ErrDeadlineExceeded) && method == "":
		f = &fault{exTimeout, fmt.Sprintf("Timeout: (%g second socket timeout reading input from client)", s.config.StallTimeout.Seconds())}
	case errors.Is(err, os.ErrDeadlineExceeded):
		f = &fault{exTimeout, fmt.Sprintf("Timeout: (%g second timeout while trying to %s)", limit.Seconds(), method)}
	default:
		f = &fault{exSoftware, "Internal error"}
	}
	return fmt.Sprintf("SPAMD/1.0 %d %s\r\n", f.code, f.text)
}

// request is what a client asks.
type request struct {
	server *Server
	conn   *endpoint.Conn
	in     *bufio.Reader

	method  string
	version float64
	read    bool // it is all there

	length               *string // as it was written
	user, class          string
	packed               bool
	setLocal, setRemote  bool
	dropLocal, dropOther bool
}

// newRequest is read from over, which lies above the connection where TLS is spoken.
func newRequest(s *Server, conn *endpoint.Conn, over io.Reader) *request {
	return &request{server: s, conn: conn, in: bufio.NewReaderSize(over, maxLine)}
}

// line reads a line with its end; the last may have none. io.EOF is for no line.
func (r *request) line() (string, error) {
	b, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", protocolError("(line longer than %d octets)", maxLine)
	case errors.Is(err, io.EOF) && len(b) > 0:
		err = nil
	}
	return string(b), err
}

var (
	command = regexp.MustCompile(`(PROCESS|CHECK|SYMBOLS|REPORT|HEADERS|REPORT_IFSPAM|TELL|SKIP|PING) SPAMC/(.*)`)
	number  = regexp.MustCompile(`^\s*[0-9]*\.?[0-9]*`)
)

// command reads the first line.
func (r *request) command() error {
	r.conn.Wait(true)
	text, err := r.line()
	r.conn.Wait(false)
	if errors.Is(err, io.EOF) {
		return protocolError("(closed before headers)")
	}
	if err != nil {
		return err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	m := command.FindStringSubmatch(text)
	if m == nil {
		return protocolError("%s", text)
	}
	r.method = m[1]
	r.version, _ = strconv.ParseFloat(strings.TrimSpace(number.FindString(m[2])), 64) // 0 where there is none
	return nil
}

// headers reads the lines up to the empty one.
func (r *request) headers() error {
	for range maxHeaders {
		text, err := r.line()
		if errors.Is(err, io.EOF) {
			return protocolError("(EOF during headers)")
		}
		if err != nil {
			return err
		}
		text = strings.TrimSuffix(text, "\r\n")
		if text == "" {
			return nil
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return protocolError("(header not in 'Name: value' format)")
		}
		if err := r.header(name, strings.TrimLeft(value, " \t\r\n\f\v")); err != nil {
			return err
		}
	}
	return protocolError("(too many headers)")
}

func (r *request) header(name, value string) error {
	bare := strings.TrimSuffix(value, "\n")
	has := func(word string) bool { return strings.Contains(strings.ToLower(value), word) }
	switch name {
	case "Content-length":
		if strings.Trim(bare, "0123456789") != "" {
			return protocolError("(Content-Length contains non-numeric bytes)")
		}
		r.length = &bare
	case "User":
		if strings.IndexFunc(bare, func(c rune) bool { return c < ' ' }) >= 0 {
			return protocolError("(User header contains control chars)")
		}
		r.user = bare
	case "Message-class":
		r.class = value
	case "Set":
		r.setLocal, r.setRemote = has("local"), has("remote")
	case "Remove":
		r.dropLocal, r.dropOther = has("local"), has("remote")
	case "Compress":
		if !has("zlib") {
			return protocolError("(compression type not supported: %s)", strings.TrimRight(value, "\r\n"))
		}
		r.packed = true
	}
	return nil
}

// expected is the Content-length as a number, -1 if there is none.
func (r *request) expected() int {
	switch {
	case r.length == nil:
		return -1
	case *r.length == "":
		return 0
	}
	n, err := strconv.Atoi(*r.length)
	if err != nil {
		return math.MaxInt
	}
	return n
}

func (r *request) tooLarge() error {
	return unavailable("message larger than %d octets", r.server.config.MaxSize)
}

// message reads the message.
func (r *request) message() ([]byte, error) {
	n := r.expected()
	switch {
	case r.packed && n < 0:
		return nil, unavailable("Compress requires Content-length header")
	case n > r.server.config.MaxSize:
		return nil, r.tooLarge()
	case r.packed:
		return r.inflated(n)
	}
	text, err := r.lines(n)
	if err == nil && n >= 0 && len(text) != n {
		err = protocolError("(Content-Length mismatch: Expected %s bytes, got %d bytes)", *r.length, len(text))
	}
	return text, err
}

// lines reads lines until there are n octets or more, or to the end.
func (r *request) lines(n int) ([]byte, error) {
	var out bytes.Buffer
	for n < 0 || out.Len() < max(n, 1) {
		piece, err := r.in.ReadSlice('\n')
		out.Write(piece)
		for errors.Is(err, bufio.ErrBufferFull) && out.Len() <= r.server.config.MaxSize {
			piece, err = r.in.ReadSlice('\n')
			out.Write(piece)
		}
		switch {
		case out.Len() > r.server.config.MaxSize:
			return nil, r.tooLarge()
		case errors.Is(err, io.EOF):
			return out.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// inflated reads a packed message of n octets; it ends with the client's side.
func (r *request) inflated(n int) ([]byte, error) {
	packed, err := io.ReadAll(io.LimitReader(r.in, int64(n)))
	if err != nil {
		return nil, err
	}
	broken := unavailable("zlib: failed to find end of zlib stream\n")
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, broken
	}
	defer z.Close()
	text, err := io.ReadAll(io.LimitReader(z, int64(r.server.config.MaxSize)+1))
	switch {
	case err != nil:
		return nil, broken
	case len(text) > r.server.config.MaxSize:
		return nil, r.tooLarge()
	}
	return text, nil
}
