package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// drainLimit is how many octets past the size limit are read and dropped before
// the connection is closed on a client that goes on.
const drainLimit = 64 << 20

// intake takes message data as it comes, and remembers what was wrong with it.
// The first problem counts; from then on data is dropped.
type intake struct {
	spool   *message.Spool
	problem smtp.Reply
	err     error // of the disk
	drained int64
	lastCR  bool // the last octet was CR, and what follows is not known yet
	fatal   bool // the problem is such that the connection must end
	dropped bool // a filter discards the message: it is read, and not kept
}

func (c *conn) newIntake() *intake {
	return &intake{spool: &message.Spool{Dir: c.cfg.SpoolDir, Limit: c.cfg.Limits.MessageSize}}
}

// write spools octets. It returns an error once too much has been drained.
func (in *intake) write(p []byte, limit int64) error {
	if !in.problem.IsZero() || in.err != nil {
		if in.drained += int64(len(p)); in.drained > drainLimit {
			in.fatal = true
			return message.ErrTooLarge
		}
		return nil
	}
	if in.dropped {
		if in.drained += int64(len(p)); in.drained > limit {
			in.problem = tooLarge(limit)
		}
		return nil
	}
	_, err := in.spool.Write(p)
	switch {
	case errors.Is(err, message.ErrTooLarge):
		in.problem = tooLarge(limit)
	case err != nil:
		in.err = err
	}
	return nil
}

func (in *intake) bad(text string) {
	if in.problem.IsZero() {
		in.problem = smtp.NewReply(550, 5, 2, text)
	}
}

// The refusals of RFC 5321, 2.3.8 and 4.1.1.4: CR and LF come in pairs.
const (
	bareLF = "Line ends in a bare LF; lines end in CR LF"
	bareCR = "Bare CR in the message; lines end in CR LF"
	nul    = "NUL in the message"
)

// data takes a message (RFC 5321, 4.1.1.4).
func (c *conn) data(ctx context.Context, arg string) error {
	if reply := c.mayData(arg); !reply.IsZero() {
		return c.refuse(ctx, reply)
	}
	fate := c.flow.Run(ctx, pipeline.Data)
	if fate.Refused() {
		err := c.refusal(ctx, fate)
		c.endTransaction(pipeline.Refused)
		return err
	}
	c.reply(smtp.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"})
	if err := c.flush(); err != nil {
		return err
	}
	in := c.newIntake()
	in.dropped = fate.Action == pipeline.Discard // the client is content all the same
	defer in.spool.Close()
	c.wait = c.cfg.Limits.BlockTimeout
	c.widen()
	if err := c.readData(in); err != nil && !in.fatal {
		return err
	}
	return c.finish(ctx, in)
}

// mayData says what is missing before DATA or BDAT.
func (c *conn) mayData(arg string) smtp.Reply {
	switch {
	case !c.mail:
		return smtp.NewReply(503, 5, 1, "MAIL comes first")
	case c.rcpts == 0 && c.cfg.LMTP:
		return smtp.NewReply(503, 5, 1, "No valid recipients") // RFC 2033, 4.2
	case c.rcpts == 0:
		return smtp.NewReply(554, 5, 1, "No valid recipients") // RFC 5321, 3.3
	case arg != "":
		return smtp.NewReply(501, 5, 4, "DATA takes no parameters")
	}
	return smtp.Reply{}
}

// readData reads up to the end of data. Dots are unstuffed (RFC 5321, 4.5.2).
// A line end that is none is noted; a dot alone on such a line might be an
// end of data to somebody else, so it ends the session: what follows it is
// nobody's command (CVE-2023-51764).
func (c *conn) readData(in *intake) error {
	begin := true // at the start of a line
	clean := true // the line break before was CR LF
	cr := false   // what came of the line so far ends in CR
	for {
		if err := c.flush(); err != nil {
			return err
		}
		line, err := c.r.ReadSlice('\n')
		partial := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !partial {
			return noEOF(err)
		}
		if begin && line[0] == '.' {
			switch end, fatal := endOfData(line, partial, clean); {
			case fatal:
				in.bad(bareLF)
				in.fatal = true
				return nil
			case end:
				return nil
			}
			line = line[1:]
		}
		in.inspect(line, partial)
		if err := in.write(line, c.cfg.Limits.MessageSize); err != nil {
			return err
		}
		begin = !partial
		clean = partial || bytes.HasSuffix(line, crlf) || cr && len(line) == 1
		cr = partial && line[len(line)-1] == '\r'
	}
}

var crlf = []byte("\r\n")

// endOfData judges a line that begins with a dot.
func endOfData(line []byte, partial, clean bool) (end, fatal bool) {
	rest := line[1:]
	if partial || len(bytes.Trim(rest, "\r\n")) > 0 {
		return false, false
	}
	if clean && bytes.Equal(rest, crlf) {
		return true, false
	}
	return false, true
}

// noEOF is the error of a stream that ended inside a message.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// inspect looks for what must not be in a message: line is a line, or a part of
// one that is longer than the buffer.
func (in *intake) inspect(line []byte, partial bool) {
	if !in.problem.IsZero() || len(line) == 0 {
		return
	}
	body := line
	if !partial {
		body = line[:len(line)-1]
		switch {
		case len(body) > 0 && body[len(body)-1] == '\r':
			body = body[:len(body)-1]
		case len(body) == 0 && in.lastCR:
		default:
			in.bad(bareLF)
		}
	}
	if in.lastCR && (partial || len(body) > 0 || len(line) > 1) {
		in.bad(bareCR)
	}
	in.lastCR = partial && body[len(body)-1] == '\r'
	if in.lastCR {
		body = body[:len(body)-1]
	}
	if bytes.IndexByte(body, '\r') >= 0 {
		in.bad(bareCR)
	}
	if bytes.IndexByte(body, 0) >= 0 {
		in.bad(nul)
	}
}

// chunked is a transfer by BDAT (RFC 3030, 2).
type chunked struct {
	*intake
	refused smtp.Reply // what every further chunk is told
}

// bdat takes one chunk. Its octets are read whatever the answer, for they are
// on their way.
func (c *conn) bdat(ctx context.Context, arg string) error {
	size, last, ok := parseBDAT(arg)
	if !ok {
		// Without a size the chunk's octets would be read as commands.
		c.reply(smtp.NewReply(501, 5, 4, "Syntax: BDAT size [LAST]"))
		return errQuit
	}
	c.wait = c.cfg.Limits.BlockTimeout
	c.widen()
	if c.chunk == nil {
		reply := c.mayData("")
		c.chunk = &chunked{intake: c.newIntake(), refused: reply}
		if reply.IsZero() {
			if fate := c.flow.Run(ctx, pipeline.Data); fate.Refused() {
				c.chunk.refused = c.traced(fate.Reply)
			} else {
				c.chunk.dropped = fate.Action == pipeline.Discard
			}
		}
	}
	if err := c.readChunk(c.chunk, size); err != nil {
		if c.chunk.fatal {
			return c.lastChunk(ctx)
		}
		return err
	}
	switch ch := c.chunk; {
	case !ch.refused.IsZero():
		err := c.refuseChunk(ctx, ch.refused, last)
		if c.mail {
			c.endTransaction(pipeline.Refused)
		} else {
			c.chunk = nil
		}
		return err
	case !last:
		c.reply(smtp.NewReply(250, 0, 0, fmt.Sprintf("%d octets received", size)))
		return nil
	}
	return c.lastChunk(ctx)
}

// lastChunk ends a BDAT transfer.
func (c *conn) lastChunk(ctx context.Context) error {
	in := c.chunk.intake
	if in.lastCR {
		in.bad(bareCR)
	}
	c.chunk = nil
	defer in.spool.Close()
	return c.finish(ctx, in)
}

func parseBDAT(arg string) (size int64, last, ok bool) {
	num, rest, more := strings.Cut(arg, " ")
	size, err := strconv.ParseInt(num, 10, 63)
	last = strings.EqualFold(strings.TrimSpace(rest), "LAST")
	return size, last, err == nil && size >= 0 && num[0] != '+' && (last || !more)
}

// readChunk reads exactly size octets.
func (c *conn) readChunk(ch *chunked, size int64) error {
	for size > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		if c.r.Buffered() == 0 {
			if _, err := c.r.Peek(1); err != nil {
				return noEOF(err)
			}
		}
		buf, _ := c.r.Peek(int(min(size, int64(c.r.Buffered()))))
		if ch.refused.IsZero() {
			ch.inspectChunk(buf)
		} else if ch.problem.IsZero() {
			ch.problem = ch.refused
		}
		if err := ch.write(buf, c.cfg.Limits.MessageSize); err != nil {
			return err
		}
		c.r.Discard(len(buf))
		size -= int64(len(buf))
	}
	return nil
}

// inspectChunk is inspect for octets that are cut anywhere.
func (in *intake) inspectChunk(b []byte) {
	for len(b) > 0 && in.problem.IsZero() {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			in.inspect(b, true)
			return
		}
		in.inspect(b[:i+1], false)
		b = b[i+1:]
	}
}

// finish runs the pipeline on the complete message and has it accepted.
func (c *conn) finish(ctx context.Context, in *intake) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Limits.Message)
	defer cancel()
	reply, each, step := c.judge(ctx, in)
	refused := reply.Code >= 400
	switch {
	case c.cfg.LMTP:
		c.finals(reply, each, step)
	case each != nil:
		c.answerEach(each)
		fallthrough
	default:
		c.final(reply, step)
	}
	// What was committed is answered at once: neither filters that are told of
	// the end nor the commands behind it may come between (RFC 1047, 3).
	err := c.flush()
	outcome := pipeline.Accepted
	if refused {
		outcome = pipeline.Refused
	}
	c.endTransaction(outcome)
	if err != nil {
		return err
	}
	if in.fatal || reply.Code == 421 {
		return errQuit
	}
	if refused {
		c.errors++
	}
	return nil
}

// judge decides what a complete message is answered, and which step said so.
// each, if it is not nil, are recipients who are answered by themselves, and
// refused.
func (c *conn) judge(ctx context.Context, in *intake) (reply smtp.Reply, each map[pipeline.RcptID]smtp.Reply, step string) {
	if in.err != nil {
		c.log().Error("spool", "err", in.err)
		return smtp.NewReply(452, 3, 1, "Can not store the message now"), nil, ""
	}
	if !in.problem.IsZero() {
		return in.problem, nil, ""
	}
	if in.dropped {
		return smtp.NewReply(250, 0, 0, "Ok"), nil, c.flow.View().Discarded()
	}
	m, err := message.ParseLimited(in.spool.Bytes(), c.cfg.Limits.Header)
	if err != nil {
		c.log().Error("spool", "err", err)
		return smtp.NewReply(451, 3, 0, "Can not read the message back"), nil, ""
	}
	if m.Oversize() != nil {
		return smtp.NewReply(552, 3, 4, "Header is too large"), nil, ""
	}
	sender, no := c.author(ctx, m)
	if !no.IsZero() {
		return no, nil, ""
	}
	c.flow.SetMessage(m, append(c.traceFields(m), sender...), c.cfg.Hide)
	fate := c.flow.Run(ctx, pipeline.Message)
	switch {
	case fate.Refused():
		return fate.Reply, nil, fate.Step
	case fate.Action == pipeline.Discard:
		return smtp.NewReply(250, 0, 0, "Ok: queued"), nil, fate.Step
	}
	reply, each = c.cfg.Accept(ctx, c.flow, c.gone)
	if c.cfg.LMTP {
		return reply, each, ""
	}
	if len(c.given) < 2 || reply.Code >= 400 && len(each) == 0 {
		each = nil // one reply says it all
	} else if each == nil {
		each = map[pipeline.RcptID]smtp.Reply{}
	}
	return reply, each, ""
}

// answerEach answers the recipients in the order of their RCPT (draft-hall-prdr):
// 353, then a reply for each. The final one follows.
func (c *conn) answerEach(refused map[pipeline.RcptID]smtp.Reply) {
	c.reply(smtp.Reply{Code: 353, Text: "Each recipient is answered, then the message"})
	for _, g := range c.given {
		r, ok := refused[g.id]
		if !ok {
			r = smtp.NewReply(250, 1, 5, "Recipient ok")
		}
		r = c.traced(r)
		if ok {
			c.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Rcpt: g.addr.String(), Reply: r.String()})
		}
		c.reply(r)
	}
}

// final sends the reply that a message came to.
func (c *conn) final(r smtp.Reply, step string) {
	r = c.traced(r)
	c.flow.Record(pipeline.Event{Kind: pipeline.EventReply, Step: step, Reply: r.String()})
	c.reply(r)
}
