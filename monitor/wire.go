package monitor

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
)

// version is that of the protocol. Monitor and child are one binary, so another
// one is refused.
const version = 1

// Bounds of a call.
const (
	maxFrame  = 512 << 10 // octets of a request or an answer
	maxArg    = 16 << 10  // octets of a command line or a path
	maxOutput = 64 << 10  // octets kept of what a command prints, and of a .forward file
	MaxBody   = 1 << 30   // octets of mail
	MaxTime   = 30 * time.Minute
)

// kind is what a packet on the channel says.
type kind byte

// Kinds of packets. The states are those of [State].
const (
	call kind = 'c'
)

// State is what the child tells of itself.
type State byte

// States.
const (
	Ready     State = 'r'
	Reloading State = 'l'
	Stopping  State = 's'
)

// parsePacket reads a packet that came with some descriptors.
func parsePacket(b []byte, descriptors int) (kind, error) {
	if len(b) != 2 || b[0] != version {
		return 0, fmt.Errorf("monitor: a packet of %d octets, or of another version", len(b))
	}
	want := 0
	switch k := kind(b[1]); k {
	case call:
		want = 1
	case kind(Ready), kind(Reloading), kind(Stopping):
	default:
		return 0, fmt.Errorf("monitor: a packet of kind %#x", b[1])
	}
	if descriptors != want {
		return 0, fmt.Errorf("monitor: a packet of kind %q with %d descriptors", b[1], descriptors)
	}
	return kind(b[1]), nil
}

// Op is what a call asks for.
type Op string

// Operations.
const (
	OpRun     Op = "run"     // a program; the mail is its standard input
	OpDeliver Op = "deliver" // append the mail to a file, or add it to a Maildir
	OpForward Op = "forward" // read a .forward file
)

// Request is a call. The octets of mail follow it.
type Request struct {
	Version int       `json:"version"`
	Op      Op        `json:"op"`
	User    string    `json:"user,omitempty"`    // a login name; "" is nobody in particular
	Route   string    `json:"route,omitempty"`   // the program or file of this route block, as the user it names
	Command string    `json:"command,omitempty"` // of OpRun: a command line
	Path    string    `json:"path,omitempty"`    // of OpDeliver: absolute; of OpForward: a name in the home directory
	Mail    *Envelope `json:"mail,omitempty"`    // of OpRun and OpDeliver
	Size    int64     `json:"size,omitempty"`    // octets of mail; none with OpForward
	Millis  int64     `json:"millis"`            // how long it may take
}

// time is how long the call may take.
func (r *Request) time() time.Duration { return time.Duration(r.Millis) * time.Millisecond }

// parseRequest reads a request and checks everything that can be said of it
// without knowing users and policy.
func parseRequest(b []byte) (*Request, error) {
	var r Request
	if err := strictly(b, &r); err != nil {
		return nil, err
	}
	return &r, r.check()
}

func (r *Request) check() error {
	switch {
	case r.Version != version:
		return fmt.Errorf("version %d, want %d", r.Version, version)
	case r.User != "" && !isLogin(r.User):
		return errors.New("no login name")
	case r.Size < 0 || r.Size > MaxBody:
		return fmt.Errorf("size %d", r.Size)
	case r.Millis <= 0 || r.Millis > MaxTime.Milliseconds():
		return fmt.Errorf("time %d ms", r.Millis)
	}
	for _, s := range []string{r.Route, r.Path, r.Command} {
		if len(s) > maxArg || strings.ContainsFunc(s, unicode.IsControl) {
			return errors.New("a command or path is too long, or has control characters")
		}
	}
	if r.Op == OpForward {
		if !isForward(r.Path) || r.User == "" || r.Size != 0 || r.Mail != nil || r.Command != "" || r.Route != "" {
			return errors.New("forward: no name of a .forward file")
		}
		return nil
	}
	return r.checkMail()
}

// checkMail checks what takes mail.
func (r *Request) checkMail() error {
	if r.Mail == nil {
		return fmt.Errorf("%s: no envelope", r.Op)
	}
	byRoute := r.Route != "" && r.User == "" && r.Command == "" && r.Path == ""
	switch r.Op {
	case OpRun:
		if !byRoute && (r.Command == "" || r.Path != "" || r.Route != "") {
			return errors.New("run: no command")
		}
	case OpDeliver:
		if !byRoute && (!isPath(strings.TrimSuffix(r.Path, "/")) || r.Command != "" || r.Route != "") {
			return errors.New("deliver: no absolute path")
		}
	default:
		return errors.New("no such operation")
	}
	return r.Mail.check()
}

// isLogin reports whether a name can be one of /etc/passwd.
func isLogin(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c == 0x7f || c == ':' || c == '/' || c == '\ufffd'
	})
}

// isPath reports whether a path is absolute, of a file, and has nothing to be
// cleaned away.
func isPath(s string) bool { return path.IsAbs(s) && path.Clean(s) == s && s != "/" }

// isForward reports whether a name is .forward, or that with an address
// extension, as .forward+lists.
func isForward(s string) bool {
	rest, ok := strings.CutPrefix(s, ".forward")
	return ok && (rest == "" || len(rest) > 1 && strings.ContainsRune("+-_=", rune(rest[0]))) && !strings.Contains(rest, "/")
}

// Fault says why a call has no result.
type Fault string

// Faults.
const (
	Refused Fault = "refused" // it is not allowed, and never will be
	NoUser  Fault = "no user"
	NoFile  Fault = "no file"
	Unsafe  Fault = "unsafe"  // a .forward file that others can have written
	Unfit   Fault = "unfit"   // an address that can be no argument, or no part of a file's name
	Full    Fault = "full"    // no room is left, on the disk or by a quota
	Busy    Fault = "busy"    // too many calls at once
	Timeout Fault = "timeout" // its time was up, or the caller hung up
	Failed  Fault = "failed"  // anything else; it may work later
)

// Answer is what came of a call.
type Answer struct {
	Version int    `json:"version"`
	Fault   Fault  `json:"fault,omitempty"` // "" if the call was done
	Text    string `json:"text,omitempty"`  // about the fault, for the log
	Exit    int    `json:"exit"`            // status; 128 and the signal's number if one ended it
	Output  []byte `json:"output,omitempty"`
	Cut     bool   `json:"cut,omitempty"` // there was more output
}

func parseAnswer(b []byte) (*Answer, error) {
	var a Answer
	if err := strictly(b, &a); err != nil {
		return nil, err
	}
	switch {
	case a.Version != version:
		return nil, fmt.Errorf("version %d, want %d", a.Version, version)
	case len(a.Output) > maxOutput || a.Exit < 0 || a.Exit > 255:
		return nil, errors.New("an answer out of bounds")
	}
	return &a, nil
}

// strictly decodes one JSON value without unknown fields.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func readFrame(r io.Reader) ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size == 0 || size > maxFrame {
		return nil, fmt.Errorf("a frame of %d octets", size)
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxFrame {
		return fmt.Errorf("a frame of %d octets", len(b))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}
