package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// Steps that go-milter has no constants for: the milter takes packets of up to
// 256 KiB or 1 MiB, less an octet.
const (
	optData256K gomilter.OptProtocol = 1 << 28 // SMFIP_MDS_256K
	optData1M   gomilter.OptProtocol = 1 << 29 // SMFIP_MDS_1M
)

// The offers of each version: later ones add to earlier ones. Versions 1 and 5
// have none of their own, and 1 is not spoken any more.
var offers = []struct {
	version uint32
	actions gomilter.OptAction
	steps   gomilter.OptProtocol
}{
	{
		2, gomilter.OptAddHeader | gomilter.OptChangeBody | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt |
			gomilter.OptChangeHeader | gomilter.OptQuarantine,
		gomilter.OptNoConnect | gomilter.OptNoHelo | gomilter.OptNoMailFrom | gomilter.OptNoRcptTo |
			gomilter.OptNoBody | gomilter.OptNoHeaders | gomilter.OptNoEOH,
	},
	{3, 0, gomilter.OptNoUnknown},
	{4, 0, gomilter.OptNoData},
	{
		6, gomilter.OptChangeFrom | gomilter.OptAddRcptWithArgs | gomilter.OptSetSymList,
		gomilter.OptSkip | gomilter.OptRcptRej | gomilter.OptHeaderLeadingSpace | optData256K | optData1M |
			gomilter.OptNoHeaderReply | gomilter.OptNoConnReply | gomilter.OptNoHeloReply |
			gomilter.OptNoMailReply | gomilter.OptNoRcptReply | gomilter.OptNoDataReply |
			gomilter.OptNoUnknownReply | gomilter.OptNoEOHReply | gomilter.OptNoBodyReply,
	},
}

// terms are what both sides agreed on.
type terms struct {
	version uint32
	actions gomilter.OptAction
	steps   gomilter.OptProtocol
	macros  map[gomilter.Stage][]string // those that the milter asked for
	limit   int                         // octets of data in a packet
}

// offer is what we can do in that version.
func offer(version uint32) terms {
	t := terms{version: version}
	for _, o := range offers {
		if o.version <= version {
			t.actions |= o.actions
			t.steps |= o.steps
		}
	}
	return t
}

// dial connects and negotiates.
func (f *filter) dial(ctx context.Context) (*link, error) {
	d := net.Dialer{Timeout: f.ConnectTimeout}
	conn, err := d.DialContext(ctx, f.endpoint.network, f.endpoint.addr)
	if err != nil {
		return nil, fmt.Errorf("milter: %w", timedOut(err))
	}
	l := newLink(conn)
	stop := l.watch(ctx)
	err = l.negotiate(ctx, f)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, f.errorf("negotiation: %w", err)
	}
	return l, nil
}

func (l *link) negotiate(ctx context.Context, f *filter) error {
	ours := offer(uint32(f.Protocol))
	var data []byte
	for _, n := range []uint32{ours.version, uint32(ours.actions), uint32(ours.steps)} {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	l.put(gomilter.CodeOptNeg, data)
	if err := l.arm(ctx, f.CommandTimeout); err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	code, data, err := l.read()
	if err != nil {
		return err
	}
	if gomilter.Code(code) != gomilter.CodeOptNeg {
		return fmt.Errorf("%w: answered with %q", ErrProtocol, code)
	}
	l.terms, err = agree(ours, data)
	return err
}

// agree reads the milter's side. It may want less than was offered, never more.
func agree(ours terms, data []byte) (terms, error) {
	if len(data) < 12 {
		return terms{}, fmt.Errorf("%w: an answer of %d octets", ErrProtocol, len(data))
	}
	t := terms{
		version: binary.BigEndian.Uint32(data),
		actions: gomilter.OptAction(binary.BigEndian.Uint32(data[4:])),
		steps:   gomilter.OptProtocol(binary.BigEndian.Uint32(data[8:])),
		limit:   gomilter.MaxBodyChunk,
	}
	if t.version < 2 || t.version > ours.version {
		return terms{}, fmt.Errorf("%w: wants version %d where 2 to %d were offered", ErrProtocol, t.version, ours.version)
	}
	if more := t.actions &^ ours.actions; more != 0 {
		return terms{}, fmt.Errorf("%w: wants actions %#x that were not offered", ErrProtocol, uint32(more))
	}
	if more := t.steps &^ ours.steps; more != 0 {
		return terms{}, fmt.Errorf("%w: wants steps %#x that were not offered", ErrProtocol, uint32(more))
	}
	switch {
	case t.steps&optData1M != 0:
		t.limit = 1<<20 - 1
	case t.steps&optData256K != 0:
		t.limit = 256<<10 - 1
	}
	var err error
	t.macros, err = symbols(data[12:])
	return t, err
}

// symbols reads the lists of macros that a milter wants: a stage's number, names
// with spaces between them, a NUL; any number of times.
func symbols(data []byte) (map[gomilter.Stage][]string, error) {
	var lists map[gomilter.Stage][]string
	for len(data) > 0 {
		if len(data) < 5 {
			return nil, fmt.Errorf("%w: a list of macros is cut short", ErrProtocol)
		}
		stage := gomilter.Stage(binary.BigEndian.Uint32(data))
		names, rest, ok := bytes.Cut(data[4:], []byte{0})
		if !ok || stage > gomilter.StageEOH {
			return nil, fmt.Errorf("%w: a list of macros for stage %d", ErrProtocol, stage)
		}
		if lists == nil {
			lists = map[gomilter.Stage][]string{}
		}
		lists[stage] = macroNames(string(names))
		data = rest
	}
	return lists, nil
}

// macroNames splits a list; names of more than one letter get their braces.
func macroNames(s string) []string {
	names := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
	for i, n := range names {
		if len(n) > 1 && n[0] != '{' {
			names[i] = "{" + n + "}"
		}
	}
	return names
}
