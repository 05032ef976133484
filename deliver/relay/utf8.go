package relay

import (
	"context"

	"mtad/message"
	"mtad/smtp"
)

// replyUTF8 is for mail that needs SMTPUTF8 where the host does not have it
// (RFC 6531, 3.5).
var replyUTF8 = smtp.NewReply(553, 6, 7, "Host does not take internationalized mail")

// needsUTF8 reports whether SMTPUTF8 was asked for, or an address has it.
func needsUTF8(job *Job) bool {
	if job.Params.UTF8 || !job.Sender.ASCII() {
		return true
	}
	for _, r := range job.Rcpts {
		if !r.Addr.ASCII() {
			return true
		}
	}
	return false
}

// send carries one message over the connection. Without results the host never
// judged a recipient; with results and an error the connection is of no more
// use.
func (cn *conn) send(ctx context.Context, job *Job) ([]Result, error) {
	if _, ok := cn.ext["SMTPUTF8"]; ok || !needsUTF8(job) {
		return cn.transact(ctx, job)
	}
	// To a host without SMTPUTF8 goes what has an equal in US-ASCII.
	sender, ok := job.Sender.ToASCII()
	if !ok || job.Params.UTF8 && headerBeyondASCII(job.Message) {
		return all(job, cn.result(replyUTF8)), nil
	}
	plain := *job
	plain.Sender, plain.Params.UTF8, plain.Rcpts = sender, false, nil
	var at []int
	for i, r := range job.Rcpts {
		if r.Addr, ok = r.Addr.ToASCII(); ok {
			plain.Rcpts, at = append(plain.Rcpts, r), append(at, i)
		}
	}
	out := all(job, cn.result(replyUTF8))
	if len(at) == 0 {
		return out, nil
	}
	results, err := cn.transact(ctx, &plain)
	if results == nil {
		return nil, err
	}
	for k, i := range at {
		out[i] = results[k]
	}
	return out, err
}

// headerBeyondASCII reports whether the header of a message, or of one of its
// parts, has more than US-ASCII (RFC 6532, 3.2).
func headerBeyondASCII(b message.Bytes) bool {
	m, err := message.Parse(b)
	if err != nil {
		return true
	}
	if eightBit(message.Section(b, 0, m.HeaderSize())) {
		return true
	}
	root, err := m.Structure()
	if err != nil {
		return true
	}
	return !root.Walk(func(p *message.Part) bool {
		return !eightBit(message.Section(b, p.Offset, p.HeaderSize))
	})
}
