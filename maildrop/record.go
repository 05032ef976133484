package maildrop

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"mtad/message"
)

// Envelope is what a program says of its message.
type Envelope struct {
	// Key names this handing in, by NewKey: what comes twice under one, by the control
	// socket and by the directory, is one message.
	Key string `json:"key"`
	// Sender is the envelope sender: "" is the user, "<>" nobody.
	Sender string   `json:"sender,omitempty"`
	Rcpts  []string `json:"rcpts"`
	Name   string   `json:"name,omitempty"`   // the person's
	Notify []string `json:"notify,omitempty"` // NEVER, SUCCESS, FAILURE, DELAY
	Each   []Params `json:"each,omitempty"`   // of the Rcpts, if they have their own
	Return string   `json:"return,omitempty"` // FULL, HDRS
	ID     string   `json:"id,omitempty"`     // ENVID
	Body   string   `json:"body,omitempty"`   // 7BIT, 8BITMIME
	Verify bool     `json:"verify,omitempty"` // only tell what would become of it
}

// Params are what is asked for one recipient.
type Params struct {
	Notify   []string `json:"notify,omitempty"`
	Type     string   `json:"type,omitempty"` // of Original: rfc822, utf-8
	Original string   `json:"original,omitempty"`
}

// keyLength is how many characters a Key has: hexadecimal digits.
const keyLength = 32

// NewKey makes the Key of a handing in.
func NewKey() string {
	var b [keyLength / 2]byte
	rand.Read(b[:]) // which never fails
	return hex.EncodeToString(b[:])
}

// validKey reports whether text is a Key.
func validKey(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == keyLength/2 && strings.ToLower(text) == text
}

// Nobody is the sender of mail that nobody is told of.
const Nobody = "<>"

// MaxEnvelope bounds an Envelope's octets.
const MaxEnvelope = 1 << 20

// Overhead is how much more octets a record has than its message, at most.
const Overhead = MaxEnvelope + 256

// ErrRecord is for octets that are no whole record.
var ErrRecord = errors.New("maildrop: not a whole record")

// magic begins a record: it, the lengths of envelope and message, LF; then both, and
// their SHA-256 in hex with LF.
const magic = "mtad-mail-1"

// maxHead bounds the first line.
const maxHead = 64

// Write writes a record.
func Write(w io.Writer, e Envelope, body message.Bytes) error {
	env, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	if len(env) > MaxEnvelope {
		return fmt.Errorf("maildrop: the envelope has %d octets, at most %d are taken", len(env), MaxEnvelope)
	}
	sum := sha256.New()
	to := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	fmt.Fprintf(to, "%s %d %d\n", magic, len(env), body.Size())
	to.Write(env)
	if _, err := io.Copy(to, message.NewReader(body)); err != nil {
		return fmt.Errorf("maildrop: %w", err)
	}
	if err := to.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%x\n", sum.Sum(nil))
	return err
}

// Size is how many octets Write writes.
func Size(e Envelope, body message.Bytes) (int64, error) {
	env, err := json.Marshal(e)
	head := fmt.Sprintf("%s %d %d\n", magic, len(env), body.Size())
	return int64(len(head)+len(env)+2*sha256.Size+1) + body.Size(), err
}

// Read reads a record to its end, which must be r's, and puts the message's octets
// into spool, with line ends as SMTP has them. It believes nothing.
func Read(r io.Reader, spool *message.Spool) (Envelope, error) {
	var e Envelope
	in := bufio.NewReaderSize(r, 64<<10)
	line, err := in.ReadSlice('\n')
	if err != nil || len(line) > maxHead {
		return e, fmt.Errorf("%w: it does not begin like one", ErrRecord)
	}
	var nEnv, nBody int64
	if n, err := fmt.Sscanf(string(line), magic+" %d %d\n", &nEnv, &nBody); n != 2 || err != nil || nEnv < 0 || nBody < 0 || nEnv > MaxEnvelope {
		return e, fmt.Errorf("%w: it does not begin like one", ErrRecord)
	}
	sum := sha256.New()
	sum.Write(line)
	env := make([]byte, nEnv)
	if _, err := io.ReadFull(in, env); err != nil {
		return e, fmt.Errorf("%w: it ends in the envelope", ErrRecord)
	}
	sum.Write(env)
	to := &lines{w: spool}
	switch n, err := io.Copy(io.MultiWriter(sum, to), io.LimitReader(in, nBody)); {
	case err != nil:
		return e, err
	case n < nBody:
		return e, fmt.Errorf("%w: it ends in the message", ErrRecord)
	}
	if err := to.end(); err != nil {
		return e, err
	}
	want := hex.EncodeToString(sum.Sum(nil)) + "\n"
	got, err := io.ReadAll(io.LimitReader(in, int64(len(want))+1))
	switch {
	case err != nil:
		return e, err
	case string(got) != want:
		return e, fmt.Errorf("%w: the checksum is not the one of its octets", ErrRecord)
	}
	d := json.NewDecoder(strings.NewReader(string(env)))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, fmt.Errorf("%w: the envelope: %w", ErrRecord, err)
	}
	if !validKey(e.Key) {
		return e, fmt.Errorf("%w: the envelope has no key", ErrRecord)
	}
	return e, nil
}

// lines makes line ends CR LF, and of CR and NUL elsewhere, which no message has, a
// space.
type lines struct {
	w   io.Writer
	cr  bool // the last octet was CR
	mid bool // in a line
	buf []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.buf = l.buf[:0]
	for _, c := range b {
		if l.cr && c != '\n' {
			l.buf = append(l.buf, ' ')
		}
		l.cr = c == '\r'
		switch c {
		case '\r':
		case '\n':
			l.buf, l.mid = append(l.buf, '\r', '\n'), false
			continue
		case 0:
			l.buf = append(l.buf, ' ')
		default:
			l.buf = append(l.buf, c)
		}
		l.mid = true
	}
	_, err := l.w.Write(l.buf)
	return len(b), err
}

// end ends the last line.
func (l *lines) end() error {
	if !l.mid {
		return nil
	}
	_, err := l.w.Write([]byte("\r\n"))
	return err
}
