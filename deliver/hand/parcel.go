package hand

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mtad/deliver"
	"mtad/deliver/route"
	"mtad/message"
)

// flags of pipe(8) that change the message.
const (
	flagFrom      = "F" // a "From " line
	flagReturn    = "R" // Return-Path
	flagOriginal  = "O" // X-Original-To
	flagDelivered = "D" // Delivered-To
	flagBlank     = "B" // an empty line behind
	flagQuote     = ">" // ">" before lines that begin with "From "
)

// flagsOf are those of a route, or what local(8) does.
func flagsOf(m *deliver.Handing) string {
	const fields = flagReturn + flagOriginal + flagDelivered
	switch {
	case m.Via == route.ViaPipe:
		return m.Route.Flags
	case m.Command != "":
		return flagFrom + fields
	case fileKind(m) == "Maildir":
		return fields
	}
	return flagFrom + fields + flagBlank + flagQuote
}

// parcel is a message as it is handed over.
type parcel struct {
	*deliver.Handing
	flags string
	now   time.Time
}

func (p *parcel) has(flag string) bool { return strings.Contains(p.flags, flag) }

// size is how many octets it has, which lines that end otherwise have changed.
func (p *parcel) size() (int64, error) {
	var n counter
	err := p.write(&n)
	return int64(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// open begins to write it; stop must be called.
func (p *parcel) open() (body io.Reader, stop func()) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(p.write(w))
	}()
	return r, func() {
		r.Close()
		<-done
	}
}

// write writes it: what local(8) puts before a message, and its lines.
func (p *parcel) write(w io.Writer) error {
	b := bufio.NewWriterSize(w, 64<<10)
	if p.has(flagFrom) {
		from := p.Sender.String()
		if from == "" {
			from = "MAILER-DAEMON"
		}
		fmt.Fprintf(b, "From %s  %s\n", from, p.now.Format(time.ANSIC))
	}
	if p.has(flagReturn) {
		fmt.Fprintf(b, "Return-Path: %s\n", p.Sender.Path())
	}
	if p.has(flagOriginal) {
		fmt.Fprintf(b, "X-Original-To: %s\n", p.Rcpts[0].Original)
	}
	if p.has(flagDelivered) {
		fmt.Fprintf(b, "Delivered-To: %s\n", p.Rcpts[0].Addr)
	}
	if err := p.lines(b); err != nil {
		return err
	}
	if p.has(flagBlank) {
		b.WriteByte('\n')
	}
	return b.Flush()
}

// lines writes the message with LF at the end of each line.
func (p *parcel) lines(b *bufio.Writer) error {
	in := bufio.NewReaderSize(message.NewReader(p.Message), 64<<10)
	quote, begins := p.has(flagQuote), true
	for {
		chunk, err := in.ReadSlice('\n')
		if quote && begins && bytes.HasPrefix(chunk, []byte("From ")) {
			b.WriteByte('>')
		}
		switch {
		case err == nil:
			chunk, begins = bytes.TrimSuffix(chunk[:len(chunk)-1], []byte("\r")), true
			b.Write(chunk)
			err = b.WriteByte('\n')
		case errors.Is(err, bufio.ErrBufferFull):
			if n := len(chunk) - 1; chunk[n] == '\r' { // perhaps of the line's end
				chunk = chunk[:n]
				if err := in.UnreadByte(); err != nil {
					return err
				}
			}
			begins = false
			_, err = b.Write(chunk)
		case errors.Is(err, io.EOF):
			if len(chunk) > 0 || !begins { // a last line without an end gets one
				b.Write(chunk)
				return b.WriteByte('\n')
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}
