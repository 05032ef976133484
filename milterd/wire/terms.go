package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// Steps that go-milter has no constants for: the milter takes packets of up to
// 256 KiB or 1 MiB, less an octet.
const (
	OptData256K gomilter.OptProtocol = 1 << 28 // SMFIP_MDS_256K
	OptData1M   gomilter.OptProtocol = 1 << 29 // SMFIP_MDS_1M
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
		gomilter.OptSkip | gomilter.OptRcptRej | gomilter.OptHeaderLeadingSpace | OptData256K | OptData1M |
			gomilter.OptNoHeaderReply | gomilter.OptNoConnReply | gomilter.OptNoHeloReply |
			gomilter.OptNoMailReply | gomilter.OptNoRcptReply | gomilter.OptNoDataReply |
			gomilter.OptNoUnknownReply | gomilter.OptNoEOHReply | gomilter.OptNoBodyReply,
	},
}

// Terms are what one side offers, or both agreed on.
type Terms struct {
	Version uint32
	Actions gomilter.OptAction
	Steps   gomilter.OptProtocol
	Macros  map[gomilter.Stage][]string // those that the milter asked for
	Limit   int                         // octets of data in a packet
}

// Offer is all that there is in that version.
func Offer(version uint32) Terms {
	t := Terms{Version: version}
	for _, o := range offers {
		if o.version <= version {
			t.Actions |= o.actions
			t.Steps |= o.steps
		}
	}
	return t
}

// Append appends the data of the packet that says t. Lists of macros are part of
// a milter's answer only.
func (t *Terms) Append(out []byte) []byte {
	for _, n := range []uint32{t.Version, uint32(t.Actions), uint32(t.Steps)} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	for stage := gomilter.StageConnect; stage <= gomilter.StageEOH; stage++ {
		if names := t.Macros[stage]; names != nil {
			out = binary.BigEndian.AppendUint32(out, uint32(stage))
			out = append(append(out, strings.Join(names, " ")...), 0)
		}
	}
	return out
}

// ParseTerms reads the data of a packet that says terms, and whatever lists of
// macros it brings.
func ParseTerms(data []byte) (Terms, error) {
	if len(data) < 12 {
		return Terms{}, fmt.Errorf("%w: a negotiation of %d octets", ErrProtocol, len(data))
	}
	t := Terms{
		Version: binary.BigEndian.Uint32(data),
		Actions: gomilter.OptAction(binary.BigEndian.Uint32(data[4:])),
		Steps:   gomilter.OptProtocol(binary.BigEndian.Uint32(data[8:])),
		Limit:   gomilter.MaxBodyChunk,
	}
	switch {
	case t.Steps&OptData1M != 0:
		t.Limit = 1<<20 - 1
	case t.Steps&OptData256K != 0:
		t.Limit = 256<<10 - 1
	}
	var err error
	t.Macros, err = symbols(data[12:])
	return t, err
}

// Agree reads a milter's answer. It may want less than was offered, never more.
func Agree(ours Terms, data []byte) (Terms, error) {
	t, err := ParseTerms(data)
	if err != nil {
		return Terms{}, err
	}
	if t.Version < 2 || t.Version > ours.Version {
		return Terms{}, fmt.Errorf("%w: wants version %d where 2 to %d were offered", ErrProtocol, t.Version, ours.Version)
	}
	if more := t.Actions &^ ours.Actions; more != 0 {
		return Terms{}, fmt.Errorf("%w: wants actions %#x that were not offered", ErrProtocol, uint32(more))
	}
	if more := t.Steps &^ ours.Steps; more != 0 {
		return Terms{}, fmt.Errorf("%w: wants steps %#x that were not offered", ErrProtocol, uint32(more))
	}
	return t, nil
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
		lists[stage] = MacroNames(string(names))
		data = rest
	}
	return lists, nil
}

// MacroNames splits a list; names of more than one letter get their braces.
func MacroNames(s string) []string {
	names := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
	for i, n := range names {
		if len(n) > 1 && n[0] != '{' {
			names[i] = "{" + n + "}"
		}
	}
	return names
}
