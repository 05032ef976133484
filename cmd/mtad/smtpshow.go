package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
)

// dialogue prints the commands and replies of a session.
type dialogue struct {
	w     io.Writer
	line  []byte
	brief bool // print nothing but refusals
	mute  bool // message data goes by
	more  bool // lines of a reply go by whose first was printed
}

// Write is given what is sent and what is received, mixed.
func (d *dialogue) Write(b []byte) (int, error) {
	if d.mute {
		return len(b), nil
	}
	d.line = append(d.line, b...)
	for {
		line, rest, ok := bytes.Cut(d.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		d.print(string(bytes.TrimRight(line, "\r")))
		d.line = append(d.line[:0], rest...)
	}
}

func (d *dialogue) print(line string) {
	isReply := len(line) > 3 && line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-')
	more := d.more
	d.more = isReply && line[0] == '2' && line[3] == '-'
	switch {
	case isReply && more: // what EHLO offers, say
	case d.brief && (!isReply || line[0] < '4'):
	case isReply:
		text := line
		if d.more {
			text += " ..."
		}
		fmt.Fprintf(d.w, "< %s\n", clean(text))
	case strings.HasPrefix(line, "AUTH PLAIN "):
		fmt.Fprintln(d.w, "> AUTH PLAIN ...")
	default:
		fmt.Fprintf(d.w, "> %s\n", clean(line))
	}
}

// isReply reports whether an error is the server's word.
func isReply(err error) bool {
	var e *gosmtp.SMTPError
	return errors.As(err, &e)
}

// replyText is a refusal on one line.
func replyText(err error) string {
	var e *gosmtp.SMTPError
	if !errors.As(err, &e) {
		return clean(err.Error())
	}
	code := ""
	if e.EnhancedCode != (gosmtp.EnhancedCode{}) && e.EnhancedCode != gosmtp.NoEnhancedCode && e.EnhancedCode != gosmtp.EnhancedCodeNotSet {
		code = fmt.Sprintf("%d.%d.%d ", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	return clean(fmt.Sprintf("%d %s%s", e.Code, code, e.Message))
}

// refusal is the exit of a refusal, or of a server that can't be reached.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case isReply(err):
		return exitf(exitNo, "refused: %s", replyText(err))
	case errors.Is(err, io.EOF):
		return exitf(exitTemp, "the server closed the connection")
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return exitf(exitNoDaemon, "no SMTP server there: %w", err)
	}
	return &exitError{exitTemp, err}
}
