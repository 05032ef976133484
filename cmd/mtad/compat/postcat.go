package compat

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mtad/admin"
	"mtad/message"
	"mtad/selector"
)

// Parts are what is printed of a message; none is all of it.
type Parts struct {
	Envelope, Header, Body bool
	Lines                  bool // they end in LF, as postcat has them; else as they are stored
	Verbose                bool // each line of the message says what it is
}

// postcat is postcat(1).
func postcat(ctx context.Context, env *Env, args []string) int {
	const name = "postcat"
	opts, ids, err := getopt(args, "bc:defhoqv")
	if err != nil {
		fmt.Fprintf(env.Err, "%s: %v\n", name, err)
		return env.ended(name, exitFatal, fatalf("usage: postcat [-beh] [-c config_dir] -q [-v] [queue_id...]"))
	}
	parts, config, search := Parts{Lines: true}, "", false
	for _, o := range opts {
		switch o.flag {
		case 'b':
			parts.Body = true
		case 'e':
			parts.Envelope = true
		case 'h':
			parts.Header = true
		case 'v':
			parts.Verbose = true
		case 'q':
			search = true
		case 'c':
			config = o.arg
		case 'd', 'f', 'o': // of the form of queue files
		}
	}
	if !search {
		return env.ended(name, exitFatal, fatalf("the queue is no folder of files: use -q with queue IDs"))
	}
	return env.ended(name, exitFatal, env.with(config, func(c *admin.Client) error {
		for _, text := range ids {
			id, err := message.ParseID(text)
			if err == nil {
				err = Cat(ctx, c, id, parts, env.Out)
			}
			var a *admin.Error
			if err != nil && (!errors.As(err, &a) || a.Code == admin.No) {
				err = fatalf("open queue file %s: No such file or directory", Clean(text))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// Cat prints a message of the queue: what is said of it, between lines with stars,
// and what it is.
func Cat(ctx context.Context, c *admin.Client, id message.ID, parts Parts, w io.Writer) error {
	var found *entry
	err := each(ctx, c, selector.Selector{IDs: []string{id.String()}}, time.Now(), func(e *entry) error {
		found = e
		return nil
	})
	if err != nil {
		return err
	}
	if found == nil {
		return &admin.Error{Code: admin.No, Text: id.String() + " is not in the queue"}
	}
	if !parts.Envelope && !parts.Header && !parts.Body {
		parts.Envelope, parts.Header, parts.Body = true, true, true
	}
	out := bufio.NewWriter(w)
	file := found.queue + "/" + found.id
	if parts.Envelope {
		found.envelope(out, file)
	}
	if parts.Header || parts.Body {
		cut := &cutter{w: out, parts: parts}
		if err := c.Message(ctx, id, cut); err != nil {
			return err
		}
		cut.end()
	}
	if parts.Envelope {
		fmt.Fprintf(out, "*** HEADER EXTRACTED %s ***\n*** MESSAGE FILE END %s ***\n", file, file)
	}
	return out.Flush()
}

// envelope prints the records before the message.
func (e *entry) envelope(w io.Writer, file string) {
	fmt.Fprintf(w, "*** ENVELOPE RECORDS %s ***\n", file)
	fmt.Fprintf(w, "message_size: %15d %15d %15d %15d %15d %15d\n", e.size, 0, len(e.rcpts), 0, e.size, 0)
	at := e.created.Local().Format(time.ANSIC)
	fmt.Fprintf(w, "message_arrival_time: %s\ncreate_time: %s\n", at, at)
	fmt.Fprintf(w, "named_attribute: log_ident=%s\nsender: %s\n", e.id, Clean(e.sender))
	for _, r := range e.rcpts {
		fmt.Fprintf(w, "recipient: %s\n", Clean(r.addr))
	}
	fmt.Fprintf(w, "*** MESSAGE CONTENTS %s ***\n", file)
}

// cutter passes on the parts of a message that are wanted. The empty line that
// ends the header is the body's.
type cutter struct {
	w      *bufio.Writer
	parts  Parts
	line   []byte // the begin of one
	inBody bool
}

func (c *cutter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			c.line = append(c.line, b...)
			break
		}
		c.line = append(c.line, b[:end]...)
		if err := c.pass(); err != nil {
			return 0, err
		}
		b = b[end:]
	}
	return n, nil
}

// pass prints the line.
func (c *cutter) pass() error {
	line := c.line
	c.line = c.line[:0]
	if text := bytes.TrimRight(line, "\r\n"); len(text) == 0 {
		c.inBody = true
	}
	if c.inBody && !c.parts.Body || !c.inBody && !c.parts.Header {
		return nil
	}
	if c.parts.Lines && bytes.HasSuffix(line, []byte("\r\n")) {
		line = append(line[:len(line)-2], '\n')
	}
	if c.parts.Verbose {
		if _, err := c.w.WriteString("regular_text: "); err != nil {
			return err
		}
	}
	_, err := c.w.Write(line)
	return err
}

// end prints a last line that has no end; where lines with stars follow it gets one.
func (c *cutter) end() {
	if len(c.line) == 0 {
		return
	}
	if c.parts.Envelope || c.parts.Lines {
		c.line = append(c.line, '\n')
	}
	// A write that fails is noticed by Flush.
	_ = c.pass()
}
