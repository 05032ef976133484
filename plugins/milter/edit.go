package milter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// draft is the message as the edits of one end of message have made it so far:
// what the milter counts in. The pipeline gets the edits as modifications.
type draft struct {
	fields   []field
	spaces   bool // values bring their leading white space
	ours     bool // one of the fields is our Received
	actions  gomilter.OptAction
	mods     []pipeline.Modification
	body     message.Spool
	replaced bool
	cr       bool // the new body ends in CR so far
	lf       bool // it ends in a line break
}

// field is a header field's shadow.
type field struct {
	id     message.FieldID // 0: it was added by this end of message
	name   string
	hidden bool // the milter does not see it
}

// newDraft indexes the header. Our own Received is hidden, as in Postfix and
// Sendmail: it is the one that the message did not come with. So is the "From "
// line of an mbox, which is no field.
func newDraft(m, original *message.Message, spaces bool) *draft {
	d := &draft{spaces: spaces, fields: make([]field, 0, m.Header().Len())}
	for _, f := range m.Header().Fields() {
		hidden := f.Name == ""
		if !d.ours && original != nil && f.Is("Received") {
			if _, came := original.Header().ByID(f.ID); !came {
				d.ours, hidden = true, true
			}
		}
		d.fields = append(d.fields, field{f.ID, f.Name, hidden})
	}
	return d
}

// draftEdits are what a milter may answer an end of message with before its
// verdict.
var draftEdits = map[gomilter.ModifyActCode]func(*draft, []byte) error{
	gomilter.ActAddHeader:    (*draft).addHeader,
	gomilter.ActInsertHeader: (*draft).insertHeader,
	gomilter.ActChangeHeader: (*draft).changeHeader,
	gomilter.ActReplBody:     (*draft).replaceBody,
	gomilter.ActAddRcpt:      (*draft).addRcpt,
	wire.ActAddRcptPar:       (*draft).addRcptArgs,
	gomilter.ActDelRcpt:      (*draft).removeRcpt,
	gomilter.ActChangeFrom:   (*draft).changeFrom,
	gomilter.ActQuarantine:   (*draft).quarantine,
}

// may checks that an edit was negotiated.
func (d *draft) may(action gomilter.OptAction, what string) error {
	if d.actions&action == 0 {
		return fmt.Errorf("%w: it %s without having asked to", wire.ErrProtocol, what)
	}
	return nil
}

// texts splits data that must be so many strings with a NUL after each; 0 means
// at least one.
func texts(data []byte, want int, what string) ([]string, error) {
	n := len(data)
	if n > 0 && data[n-1] == 0 {
		out := strings.Split(string(data[:n-1]), "\x00")
		if want == 0 || len(out) == want {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: it %s with %q", wire.ErrProtocol, what, cut(string(data)))
}

// namedValue reads a field's name and value.
func (d *draft) namedValue(data []byte, what string) (name, value string, err error) {
	s, err := texts(data, 2, what)
	if err != nil {
		return "", "", err
	}
	if name, value = s[0], s[1]; !message.ValidFieldName(name) {
		return "", "", fmt.Errorf("%w: it %s named %q", wire.ErrProtocol, what, cut(name))
	}
	return name, value, nil
}

// raw is a value as FormatRawField wants it.
func (d *draft) raw(value string) string {
	if d.spaces {
		return value
	}
	return " " + value
}

// indexed reads an index and a field.
func (d *draft) indexed(data []byte, what string) (index int, name, value string, err error) {
	if len(data) < 4 || data[0]&0x80 != 0 {
		return 0, "", "", fmt.Errorf("%w: it %s without an index", wire.ErrProtocol, what)
	}
	index = int(binary.BigEndian.Uint32(data))
	name, value, err = d.namedValue(data[4:], what)
	return index, name, value, err
}

func (d *draft) addHeader(data []byte) error {
	if err := d.may(gomilter.OptAddHeader, "adds a field"); err != nil {
		return err
	}
	name, value, err := d.namedValue(data, "adds a field")
	if err == nil {
		d.add(name, value)
	}
	return err
}

func (d *draft) add(name, value string) {
	d.fields = append(d.fields, field{name: name})
	d.mods = append(d.mods, pipeline.AddHeader{Name: name, Value: d.raw(value), Raw: true})
}

// insertHeader puts a field where the milter says. It counts with our Received:
// 0 is above it, 1 below (cleanup_milter.c). Mail that has none is counted as
// if it had.
func (d *draft) insertHeader(data []byte) error {
	const what = "inserts a field"
	if err := d.may(gomilter.OptAddHeader, what); err != nil {
		return err
	}
	at, name, value, err := d.indexed(data, what)
	if err != nil {
		return err
	}
	if !d.ours {
		at = max(at-1, 0)
	}
	if at >= len(d.fields) {
		d.add(name, value)
		return nil
	}
	d.fields = append(d.fields[:at], append([]field{{name: name}}, d.fields[at:]...)...)
	d.mods = append(d.mods, pipeline.InsertHeader{At: at, Name: name, Value: d.raw(value), Raw: true})
	return nil
}

// changeHeader changes the index-th of the fields of a name that the milter
// sees, removes it if the value is empty, or adds one if there are not so many.
func (d *draft) changeHeader(data []byte) error {
	const what = "changes a field"
	if err := d.may(gomilter.OptChangeHeader, what); err != nil {
		return err
	}
	index, name, value, err := d.indexed(data, what)
	if err != nil {
		return err
	}
	at, nth := d.find(name, max(index, 1))
	switch {
	case value == "":
		mod := pipeline.RemoveHeader{Name: name, Nth: nth}
		if at >= 0 {
			mod.Field = d.fields[at].id
			d.fields = append(d.fields[:at], d.fields[at+1:]...)
		}
		d.mods = append(d.mods, mod)
	case at < 0:
		d.add(name, value)
	default:
		d.mods = append(d.mods, pipeline.SetHeader{Field: d.fields[at].id, Name: name, Nth: nth, Value: d.raw(value), Raw: true})
	}
	return nil
}

// find returns the position of the index-th field of a name among those that the
// milter sees, -1 if there is none, and its number among all of that name.
func (d *draft) find(name string, index int) (at, nth int) {
	for i, f := range d.fields {
		if !strings.EqualFold(f.name, name) {
			continue
		}
		nth++
		if f.hidden {
			continue
		}
		if index--; index == 0 {
			return i, nth
		}
	}
	return -1, nth + 1
}

// replaceBody takes a piece of the new body. Line breaks become CRLF.
func (d *draft) replaceBody(data []byte) error {
	if err := d.may(gomilter.OptChangeBody, "replaces the body"); err != nil {
		return err
	}
	d.replaced = true
	for len(data) > 0 {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line = data[:i]
		}
		data = data[len(line):]
		if len(line) > 0 {
			d.cr, d.lf = line[len(line)-1] == '\r', false
			if err := d.write(line); err != nil {
				return err
			}
		}
		if len(data) == 0 {
			break
		}
		end := []byte("\r\n")
		if d.cr {
			end = end[1:]
		}
		if err := d.write(end); err != nil {
			return err
		}
		d.cr, d.lf, data = false, true, data[1:]
	}
	return nil
}

func (d *draft) write(p []byte) error {
	if _, err := d.body.Write(p); err != nil {
		return fmt.Errorf("the new body: %w", err)
	}
	return nil
}

// address reads one, in angle brackets or not.
func address(s, what string) (smtp.Address, error) {
	a, rest, err := smtp.ParsePath(s, true)
	if err != nil || strings.TrimSpace(rest) != "" {
		return a, fmt.Errorf("%w: it %s %q", wire.ErrProtocol, what, cut(s))
	}
	return a, nil
}

func (d *draft) addRcpt(data []byte) error {
	const what = "adds the recipient"
	if err := d.may(gomilter.OptAddRcpt|gomilter.OptAddRcptWithArgs, what); err != nil {
		return err
	}
	s, err := texts(data, 1, what)
	if err != nil {
		return err
	}
	return d.recipient(s[0], nil)
}

func (d *draft) addRcptArgs(data []byte) error {
	const what = "adds the recipient"
	if err := d.may(gomilter.OptAddRcptWithArgs, what); err != nil {
		return err
	}
	s, err := texts(data, 0, what)
	if err != nil {
		return err
	}
	return d.recipient(s[0], known(s[1:], rcptParam))
}

// recipient adds one. An empty address is passed over, as in Postfix.
func (d *draft) recipient(s string, params []string) error {
	a, err := address(s, "adds the recipient")
	if err == nil && !a.IsZero() {
		d.mods = append(d.mods, pipeline.AddRecipient{Addr: a, Params: params})
	}
	return err
}

func (d *draft) removeRcpt(data []byte) error {
	const what = "removes the recipient"
	if err := d.may(gomilter.OptRemoveRcpt, what); err != nil {
		return err
	}
	s, err := texts(data, 1, what)
	if err != nil {
		return err
	}
	a, err := address(s[0], what)
	if err == nil {
		d.mods = append(d.mods, pipeline.RemoveRecipient{Addr: a})
	}
	return err
}

func (d *draft) changeFrom(data []byte) error {
	const what = "changes the sender to"
	if err := d.may(gomilter.OptChangeFrom, what); err != nil {
		return err
	}
	s, err := texts(data, 0, what)
	if err != nil {
		return err
	}
	a, err := address(s[0], what)
	if err == nil {
		d.mods = append(d.mods, pipeline.SetSender{Addr: a, Params: known(s[1:], mailParam)})
	}
	return err
}

// known keeps the ESMTP parameters that parse takes: as in Postfix, one that is
// not understood does not spoil the address that it came with.
func known(params []string, parse func(string) error) []string {
	var out []string
	for _, arg := range params {
		for p := range strings.FieldsSeq(arg) {
			if parse(p) == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

func rcptParam(s string) error {
	_, err := smtp.ParseRcptParams(s, anyParam)
	return err
}

func mailParam(s string) error {
	_, err := smtp.ParseMailParams(s, anyParam)
	return err
}

func anyParam(string) bool { return true }

func (d *draft) quarantine(data []byte) error {
	if err := d.may(gomilter.OptQuarantine, "quarantines"); err != nil {
		return err
	}
	s, err := texts(data, 1, "quarantines")
	if err == nil {
		d.mods = append(d.mods, pipeline.Quarantine{Reason: printable(s[0])})
	}
	return err
}

// finish completes the new body and returns all edits.
func (d *draft) finish() ([]pipeline.Modification, error) {
	if !d.replaced {
		return d.mods, nil
	}
	if d.body.Size() > 0 && !d.lf {
		if err := d.replaceBody([]byte("\n")); err != nil {
			return nil, err
		}
	}
	return append(d.mods, pipeline.ReplaceBody{Body: d.body.Bytes()}), nil
}
