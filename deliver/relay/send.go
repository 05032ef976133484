package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/crash"
	"mtad/message"
	"mtad/smtp"
)

// transact is send for what the host can take by its extensions.
func (cn *conn) transact(ctx context.Context, job *Job) ([]Result, error) {
	cn.ctx = ctx
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		cn.net.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	if reply := cn.unfit(job); !reply.IsZero() {
		return all(job, cn.result(reply)), nil
	}
	results := make([]Result, len(job.Rcpts))
	accepted, data, err := cn.envelope(job, results)
	if err != nil {
		return nil, err
	}
	switch {
	case accepted == nil: // MAIL was refused
		return results, cn.reset()
	case len(accepted) == 0 && data.Code == 354 && cn.lmtp:
		// It breaks RFC 2033, 4.2, and would answer a message nobody is to get
		// with silence.
		return results, fmt.Errorf("%w: 354 without recipients", errReply)
	case len(accepted) == 0 && data.Code == 354:
		// The host waits for a message nobody is to get.
		_, err := cn.cmd(cn.cfg.Timeouts.FinalDot, ".")
		return results, err
	case len(accepted) == 0:
		return results, cn.reset()
	case data.OK() && data.Code != 354:
		// Taken for a final reply it would lose the message.
		cn.settle(results, accepted, replyNonsense)
		return results, fmt.Errorf("%w: %d to DATA", errReply, data.Code)
	case data.Code != 354:
		cn.settle(results, accepted, data)
		return results, cn.reset()
	}
	if err = cn.body(job.Message); err != nil {
		final := resultOf(err, cn.host).Reply
		if word, werr := cn.read(lastWord); werr == nil && !word.OK() {
			final = word // a host that hangs up in the middle may have said why
		}
		cn.settle(results, accepted, final)
		return results, err
	}
	if !stop() {
		<-ended
	}
	return results, cn.finals(ctx, results, accepted)
}

// finals gives the accepted recipients the reply that the message came to: by LMTP
// one after the other (RFC 2033, 4.2). If the connection breaks in between, those
// who were answered are done, and the others are not.
func (cn *conn) finals(ctx context.Context, results []Result, accepted []int) error {
	groups := [][]int{accepted}
	if cn.lmtp {
		groups = slices.Collect(slices.Chunk(accepted, 1))
	}
	for n, group := range groups {
		reply, err := cn.final(ctx)
		if n == 0 {
			crash.Point(crash.Relaying)
		}
		if err == nil && reply.OK() && !accepts(reply) {
			reply, err = replyNonsense, fmt.Errorf("%w: %d to the message", errReply, reply.Code)
			cn.settle(results, slices.Concat(groups[n:]...), reply)
			return err
		}
		if err != nil {
			cn.settle(results, slices.Concat(groups[n:]...), resultOf(err, cn.host).Reply)
			return err
		}
		cn.settle(results, group, reply)
	}
	return nil
}

var replyNonsense = smtp.NewReply(450, 5, 0, "Host does not speak SMTP")

// unfit says why the host can't take the message at all.
func (cn *conn) unfit(job *Job) smtp.Reply {
	if size, ok := cn.ext["SIZE"]; ok {
		if limit, err := strconv.ParseInt(size, 10, 64); err == nil && limit > 0 && job.Message.Size() > limit {
			return smtp.NewReply(552, 3, 4, "Message is larger than the host takes")
		}
	}
	if _, ok := cn.ext["8BITMIME"]; !ok && eightBit(job.Message) {
		return smtp.NewReply(554, 6, 3, "Host does not take 8-bit content") // RFC 6152, 3
	}
	return smtp.Reply{}
}

// eightBit reports whether any octet has its eighth bit set.
func eightBit(b message.Bytes) bool {
	buf := blockFor(b)
	r := message.NewReader(b)
	for {
		n, err := r.Read(buf)
		if beyondASCII(buf[:n]) {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// beyondASCII looks at eight octets at a time: every message is read for it.
func beyondASCII(p []byte) bool {
	const eighth = 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		if binary.NativeEndian.Uint64(p)&eighth != 0 {
			return true
		}
	}
	return slices.ContainsFunc(p, func(c byte) bool { return c >= 0x80 })
}

// blockFor is a buffer to read a message with: a small one for a small message.
func blockFor(b message.Bytes) []byte {
	return make([]byte, min(32<<10, max(b.Size(), 512)))
}

// envelope sends MAIL, every RCPT and DATA, in one go where the host allows it
// (RFC 2920, 3.1). accepted are the recipients that the host took; nil if it
// took not even the sender. data is its answer to DATA.
func (cn *conn) envelope(job *Job, results []Result) (accepted []int, data smtp.Reply, err error) {
	_, pipelining := cn.ext["PIPELINING"]
	t := &cn.cfg.Timeouts
	step := func(line string, last bool) error {
		cn.w.WriteString(line)
		cn.w.WriteString("\r\n")
		if pipelining && !last {
			return nil
		}
		return cn.flush(t.Mail)
	}
	if err := step(cn.mailLine(job), false); err != nil {
		return nil, data, err
	}
	if pipelining {
		for _, r := range job.Rcpts {
			step(cn.rcptLine(r), false)
		}
		if err := step("DATA", true); err != nil {
			return nil, data, err
		}
	}
	mail, err := cn.read(t.Mail)
	if err != nil {
		return nil, data, err
	}
	if mail.Code == 421 {
		// The host takes leave, of everybody (RFC 5321, 3.8): another one,
		// or a new connection to it, may do better.
		return nil, data, &refused{mail, "MAIL"}
	}
	if mail.OK() && !accepts(mail) {
		return nil, data, fmt.Errorf("%w: %d to MAIL", errReply, mail.Code)
	}
	if !mail.OK() {
		copy(results, all(job, cn.result(mail)))
		if pipelining {
			err = cn.skipReplies(len(job.Rcpts))
		}
		return nil, data, err
	}
	accepted = make([]int, 0, len(job.Rcpts))
	for i, r := range job.Rcpts {
		if !pipelining {
			if err := step(cn.rcptLine(r), true); err != nil {
				return nil, data, err
			}
		}
		reply, err := cn.read(t.Rcpt)
		if err != nil {
			return nil, data, err
		}
		if reply.OK() && !accepts(reply) {
			return nil, data, fmt.Errorf("%w: %d to RCPT", errReply, reply.Code)
		}
		results[i] = cn.result(tooMany(reply, i))
		if reply.OK() {
			accepted = append(accepted, i)
		}
	}
	if !pipelining {
		if len(accepted) == 0 {
			return accepted, data, nil
		}
		if err := step("DATA", true); err != nil {
			return nil, data, err
		}
	}
	data, err = cn.read(t.DataStart)
	return accepted, data, err
}

// tooMany makes a 552 that speaks of too many recipients what it should be
// (RFC 5321, 4.5.3.1.10).
func tooMany(r smtp.Reply, before int) smtp.Reply {
	if r.Code == 552 && before > 0 && (r.Enhanced == smtp.Code{} || r.Enhanced == smtp.Code{5, 5, 3}) {
		r.Code, r.Enhanced = 452, smtp.Code{4, 5, 3}
	}
	return r
}

// skipReplies reads the answers to RCPTs that came after a refused MAIL, and to
// DATA; a host that says 354 all the same gets an empty message it must refuse.
func (cn *conn) skipReplies(rcpts int) error {
	for range rcpts {
		if _, err := cn.read(cn.cfg.Timeouts.Rcpt); err != nil {
			return err
		}
	}
	data, err := cn.read(cn.cfg.Timeouts.DataStart)
	if err == nil && data.Code == 354 {
		if cn.lmtp {
			return fmt.Errorf("%w: 354 without recipients", errReply)
		}
		_, err = cn.cmd(cn.cfg.Timeouts.FinalDot, ".")
	}
	return err
}

func (cn *conn) result(r smtp.Reply) Result {
	_, dsn := cn.ext["DSN"]
	return Result{Reply: r, Host: cn.host.String(), TLS: cn.tls, DSN: dsn}
}

// settle gives the accepted recipients the reply that the message came to.
func (cn *conn) settle(results []Result, accepted []int, r smtp.Reply) {
	for _, i := range accepted {
		results[i] = cn.result(r)
	}
}

func (cn *conn) reset() error {
	reply, err := cn.cmd(cn.cfg.Timeouts.Mail, "RSET")
	if err == nil && !reply.OK() {
		err = errReply
	}
	return err
}

// mailLine is MAIL with the parameters that the host understands.
func (cn *conn) mailLine(job *Job) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:" + job.Sender.Path())
	p := &job.Params
	if _, ok := cn.ext["SIZE"]; ok {
		b.WriteString(" SIZE=" + strconv.FormatInt(job.Message.Size(), 10))
	}
	if _, ok := cn.ext["8BITMIME"]; ok {
		body := p.Body
		if body != gosmtp.Body8BitMIME && eightBit(job.Message) {
			body = gosmtp.Body8BitMIME // whatever the client said, or a filter added
		}
		if body != "" {
			b.WriteString(" BODY=" + string(body))
		}
	}
	if _, ok := cn.ext["SMTPUTF8"]; ok && needsUTF8(job) {
		b.WriteString(" SMTPUTF8")
	}
	if _, ok := cn.ext["DSN"]; ok {
		if p.Return != "" {
			b.WriteString(" RET=" + string(p.Return))
		}
		if p.EnvelopeID != "" {
			b.WriteString(" ENVID=" + smtp.EncodeXtext(p.EnvelopeID))
		}
	}
	return b.String()
}

// rcptLine is RCPT with the parameters that the host understands.
func (cn *conn) rcptLine(r Rcpt) string {
	line := "RCPT TO:" + r.Addr.Path()
	if _, ok := cn.ext["DSN"]; !ok {
		return line
	}
	if len(r.Params.Notify) > 0 {
		line += " NOTIFY=" + joinNotify(r.Params.Notify)
	}
	if r.Params.OriginalRecipient != "" {
		line += " ORCPT=" + strings.ToLower(string(r.Params.OriginalRecipientType)) + ";" + smtp.EncodeORCPT(r.Params.OriginalRecipientType, r.Params.OriginalRecipient)
	}
	return line
}

func joinNotify(list []gosmtp.DSNNotify) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = string(n)
	}
	return strings.Join(words, ",")
}

// final reads a reply to the end of data. The message is the host's now, whatever
// becomes of the context: to leave without the answer is to send it twice. So a
// context that ends still grants it Config.Parting.
func (cn *conn) final(ctx context.Context) (smtp.Reply, error) {
	cn.ctx = context.WithoutCancel(ctx)
	patience := cn.cfg.Timeouts.FinalDot
	cn.wait(patience)
	stop := context.AfterFunc(ctx, func() { cn.net.SetReadDeadline(time.Now().Add(min(cn.cfg.Parting, patience))) })
	defer stop()
	return cn.reply()
}

// lastWord is how long to wait for what a host said before it hung up.
const lastWord = time.Second

// body sends the message and the end of data.
func (cn *conn) body(b message.Bytes) error {
	dw := &dotWriter{w: cn.w, begin: true}
	out := &blockWriter{cn: cn, to: dw}
	if _, err := io.CopyBuffer(out, struct{ io.Reader }{message.NewReader(b)}, blockFor(b)); err != nil {
		return err
	}
	if err := dw.end(); err != nil {
		return err
	}
	return cn.flush(cn.cfg.Timeouts.Block)
}

// blockWriter renews the write deadline for each block (RFC 5321, 4.5.3.2.5).
type blockWriter struct {
	cn *conn
	to io.Writer
}

func (b *blockWriter) Write(p []byte) (int, error) {
	b.cn.wait(b.cn.cfg.Timeouts.Block)
	return b.to.Write(p)
}

// dotWriter stuffs dots (RFC 5321, 4.5.2). CR and LF that do not come in pairs
// must not be sent (RFC 5321, 2.3.8): to a host that takes one for the end of a line
// they might end the message, and what follows would be commands. None come in by
// SMTP, but a filter may have written some: LF becomes CR LF, CR a space. It
// changes nothing else.
type dotWriter struct {
	w     io.Writer
	begin bool // at the start of a line
	cr    bool // a CR waits for what follows it
}

func (d *dotWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if d.cr && p[0] != '\n' {
			if err := d.text(space); err != nil {
				return 0, err
			}
		}
		d.cr = false
		end := bytes.IndexByte(p, '\n')
		line := p[:end+1]
		if end < 0 {
			line = p
		}
		p = p[len(line):]
		if err := d.line(line, end >= 0); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// line writes a line, or a part of one that has no end yet.
func (d *dotWriter) line(b []byte, whole bool) error {
	if whole && len(b) > 1 && bytes.IndexByte(b, '\r') == len(b)-2 {
		err := d.text(b) // as nearly all are
		d.begin = true
		return err
	}
	b, d.cr = bytes.CutSuffix(bytes.TrimSuffix(b, lf), cr)
	if len(b) > 0 {
		if err := d.text(bytes.ReplaceAll(b, cr, space)); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	d.begin, d.cr = true, false
	_, err := d.w.Write(crlf)
	return err
}

// text writes octets, with a dot before one that begins a line.
func (d *dotWriter) text(b []byte) error {
	if d.begin && b[0] == '.' {
		if _, err := d.w.Write(dot); err != nil {
			return err
		}
	}
	d.begin = false
	_, err := d.w.Write(b)
	return err
}

var dot, cr, lf, crlf, space = []byte("."), []byte("\r"), []byte("\n"), []byte("\r\n"), []byte(" ")

// end writes the end of data. A last line without CR LF gets one.
func (d *dotWriter) end() error {
	eod := "\r\n.\r\n"
	switch {
	case d.cr:
		eod = " \r\n.\r\n"
	case d.begin:
		eod = ".\r\n"
	}
	_, err := io.WriteString(d.w, eod)
	return err
}
