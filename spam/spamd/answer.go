package spamd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"mtad/spam"
)

// answer reads a request and gives what is said to it.
func (r *request) answer(ctx context.Context) ([]byte, error) {
	if err := r.command(); err != nil {
		return nil, err
	}
	switch r.method {
	case "SKIP", "PING":
		if r.version >= 1.5 {
			if err := r.headers(); err != nil {
				return nil, err
			}
		}
		if r.method == "SKIP" {
			return nil, nil
		}
		return []byte("SPAMD/1.5 0 PONG\r\n"), nil
	case "TELL":
		return r.tell(ctx)
	}
	if r.version > 1 {
		if err := r.headers(); err != nil {
			return nil, err
		}
	}
	text, err := r.message()
	if err != nil {
		return nil, err
	}
	release, err := r.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	c := &r.server.config
	start := time.Now()
	result := c.Checker.Check(ctx, text, spam.Facts{})
	if err := ctx.Err(); err != nil {
		return nil, os.ErrDeadlineExceeded
	}
	report := result.Report(c.Host)
	log := c.Logger
	if cut := result.CutNote(); cut != "" {
		log = log.With("cut", cut)
	}
	log.Info("spamd: message judged", "method", r.method, "user", r.user, "size", len(text), "spam", result.Spam(), "score", result.Score, "required", result.Required, "took", time.Since(start))
	return r.tellOf(report), nil
}

var blankLine = regexp.MustCompile(`\r?\n\r?\n`)

// tellOf is the answer about a message, in the form of the client's version.
func (r *request) tellOf(p *spam.Report) []byte {
	yes, no := "True", "False"
	if r.method == "REPORT_IFSPAM" {
		yes, no = "Yes", "No"
	}
	verdict := p.Fill("Spam: _YESNO("+yes+","+no+")_ ; _SCORE_ / _REQD_") + "\r\n\r\n"
	var body []byte
	edited := false
	switch r.method {
	case "CHECK":
		return []byte("SPAMD/1.1 0 EX_OK\r\n" + verdict)
	case "REPORT":
		body = []byte(p.Text())
	case "REPORT_IFSPAM":
		if p.Spam() {
			body = []byte(p.Text())
		}
	case "SYMBOLS":
		body = []byte(strings.Join(p.Names(), ","))
		if r.version < 1.3 {
			body = append(body, "\r\n"...)
		}
	default:
		edited = true
		body = p.Rewrite()
		if at := blankLine.FindIndex(body); r.method == "HEADERS" && at != nil {
			body = body[:at[1]]
		}
	}
	var out bytes.Buffer
	switch {
	case r.version >= 1.3:
		fmt.Fprintf(&out, "SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\n%s", len(body), verdict)
	case !edited:
		out.WriteString("SPAMD/1.1 0 EX_OK\r\n" + verdict)
	case r.version >= 1.2:
		fmt.Fprintf(&out, "SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\n\r\n", len(body))
	default:
		out.WriteString("SPAMD/1.0 0 EX_OK\r\n")
	}
	out.Write(body)
	return out.Bytes()
}

// tell learns from a message, or forgets it. There is nobody to report to.
func (r *request) tell(ctx context.Context) ([]byte, error) {
	if err := r.headers(); err != nil {
		return nil, err
	}
	l := r.server.config.Learner
	switch {
	case l == nil:
		return nil, unavailable("TELL commands are not enabled: set allow_tell = true in this listener of mtad's configuration, or --state for mtad spam spamd.")
	case r.setLocal && r.dropLocal:
		return nil, protocolError("Unable to set local and remove local in the same operation.")
	case r.setRemote && r.dropOther:
		return nil, protocolError("Unable to set remote and remove remote in the same operation.")
	}
	text, err := r.message()
	if err != nil {
		return nil, err
	}
	release, err := r.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	out := "SPAMD/1.1 0 EX_OK\r\n"
	did, header := false, ""
	switch {
	case r.setLocal:
		header = "DidSet: local\r\n"
		did, err = l.Learn(ctx, r.user, text, r.class == "spam")
	case r.dropLocal:
		header = "DidRemove: local\r\n"
		did, err = l.Forget(ctx, r.user, text)
	}
	if err != nil {
		return nil, err
	}
	if did {
		out += header
	}
	return []byte(out + "\r\n\r\n"), nil
}
