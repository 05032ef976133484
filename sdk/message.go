package sdk

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"mtad/sdk/mtadpb"
)

// Message is what a filter sees: session, envelope, header and facts. It is
// valid during the call it was given to. Its octets, but for the first few, are
// fetched from mtad as they are read.
type Message struct {
	view   *mtadpb.View
	start  []byte // of its octets, sent unasked
	stream mtadpb.Filter_SessionServer
}

// View is everything, as the protocol has it.
func (m *Message) View() *mtadpb.View { return m.view }

// ID is the transaction's ID, as in replies and traces.
func (m *Message) ID() string { return m.view.GetId() }

// Client is the session.
func (m *Message) Client() *mtadpb.Client { return m.view.GetClient() }

// Sender is the reverse-path, "" for bounces.
func (m *Message) Sender() string { return m.view.GetSender() }

// Rcpts are the recipients' addresses.
func (m *Message) Rcpts() []string {
	out := make([]string, 0, len(m.view.GetRcpts()))
	for _, r := range m.view.GetRcpts() {
		out = append(out, r.GetAddr())
	}
	return out
}

// Rcpt is, at rcpt and deliver, the recipient in question.
func (m *Message) Rcpt() *mtadpb.Recipient {
	for _, r := range m.view.GetRcpts() {
		if r.GetId() == m.view.GetRcpt() {
			return r
		}
	}
	return nil
}

// Header returns the unfolded value of the first field of that name.
func (m *Message) Header(name string) (string, bool) {
	for _, f := range m.view.GetHeader() {
		n, value, ok := bytes.Cut(f.GetRaw(), []byte(":"))
		if ok && strings.EqualFold(strings.TrimSpace(string(n)), name) {
			return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(string(value))), true
		}
	}
	return "", false
}

// Size is the octets of the message.
func (m *Message) Size() int64 { return m.view.GetSize() }

// Raw reads the whole message as it is now. It must be read during the call, by
// one goroutine.
func (m *Message) Raw() io.Reader { return &puller{m: m} }

// Body reads what follows the header.
func (m *Message) Body() io.Reader { return &puller{m: m, off: m.view.GetHeaderSize()} }

// puller fetches the message piece by piece.
type puller struct {
	m   *Message
	off int64
	buf []byte
	eof bool
}

// pullSize is how much is asked for at a time.
const pullSize = 128 << 10

func (p *puller) Read(b []byte) (int, error) {
	for len(p.buf) == 0 {
		if p.eof {
			return 0, io.EOF
		}
		if err := p.pull(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n, nil
}

func (p *puller) pull() error {
	if n := int64(len(p.m.start)); p.off >= 0 && p.off < n {
		p.buf, p.off, p.eof = p.m.start[p.off:], n, n >= p.m.Size()
		return nil
	}
	req := &mtadpb.Pull{Offset: p.off, Length: pullSize}
	if err := p.m.stream.Send(&mtadpb.FromPlugin{Kind: &mtadpb.FromPlugin_Pull{Pull: req}}); err != nil {
		return err
	}
	in, err := p.m.stream.Recv()
	if err != nil {
		return err
	}
	c := in.GetChunk()
	switch {
	case c == nil:
		return errors.New("sdk: mtad answered a pull with something else")
	case c.GetError() != "":
		return errors.New("sdk: " + c.GetError())
	case len(c.GetData()) == 0 && !c.GetEof():
		return io.ErrNoProgress
	}
	p.buf, p.eof = c.GetData(), c.GetEof()
	p.off += int64(len(p.buf))
	return nil
}
