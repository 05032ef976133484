package milterd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
)

// edits are the packets that make of a message what the filters made of it.
type edits struct {
	terms *wire.Terms
	out   []byte
}

// all gathers the difference between two revisions. An error says what the mail
// server has not offered to do.
func (e *edits) all(before, after *pipeline.View) error {
	for _, part := range []func(before, after *pipeline.View) error{
		e.sender, e.recipients, e.header, e.body, e.keep,
	} {
		if err := part(before, after); err != nil {
			return err
		}
	}
	return nil
}

// put adds an edit that needs one of these actions.
func (e *edits) put(code gomilter.ModifyActCode, actions gomilter.OptAction, what string, data ...byte) error {
	if e.terms.Actions&actions == 0 {
		return fmt.Errorf("the mail server lets milters of version %d not %s", e.terms.Version, what)
	}
	if len(data) > gomilter.MaxBodyChunk {
		return fmt.Errorf("%s: %d octets are more than a packet holds", what, len(data))
	}
	e.out = wire.Append(e.out, byte(code), data...)
	return nil
}

func terminated(parts ...string) (out []byte) {
	for _, p := range parts {
		out = append(append(out, strings.ReplaceAll(p, "\x00", "")...), 0)
	}
	return out
}

func (e *edits) sender(before, after *pipeline.View) error {
	was, is := before.SenderParams().Raw, after.SenderParams().Raw
	same := strings.Join(was, " ") == strings.Join(is, " ")
	if before.Sender() == after.Sender() && same {
		return nil
	}
	args := []string{after.Sender().Path()}
	if !same && len(is) > 0 {
		args = append(args, strings.Join(is, " "))
	}
	return e.put(gomilter.ActChangeFrom, gomilter.OptChangeFrom, "change the sender", terminated(args...)...)
}

// recipients adds and removes them. One whose copy was dropped is removed.
func (e *edits) recipients(before, after *pipeline.View) error {
	had := map[pipeline.RcptID]bool{}
	for _, r := range before.Rcpts() {
		had[r.ID] = true
	}
	keeps := map[pipeline.RcptID]bool{}
	for _, r := range after.Rcpts() {
		switch {
		case after.Forked(r.ID):
			return fmt.Errorf("an edit for %s alone can not be told to the mail server", r.Addr)
		case r.Drop:
			continue
		}
		keeps[r.ID] = true
		if had[r.ID] {
			continue
		}
		if err := e.addRcpt(r); err != nil {
			return err
		}
	}
	for _, r := range before.Rcpts() {
		if keeps[r.ID] {
			continue
		}
		if err := e.put(gomilter.ActDelRcpt, gomilter.OptRemoveRcpt, "remove a recipient", terminated(r.Addr.Path())...); err != nil {
			return err
		}
	}
	return nil
}

func (e *edits) addRcpt(r pipeline.Recipient) error {
	if params := strings.Join(r.Params.Raw, " "); params != "" {
		return e.put(wire.ActAddRcptPar, gomilter.OptAddRcptWithArgs, "add a recipient with parameters", terminated(r.Addr.Path(), params)...)
	}
	return e.put(gomilter.ActAddRcpt, gomilter.OptAddRcpt, "add a recipient", terminated(r.Addr.Path())...)
}

// header says what became of each field. Changes and removals count the fields
// of a name as the mail server has them, from 1; insertions count all fields from
// 0, its own Received among them.
func (e *edits) header(before, after *pipeline.View) error {
	had, has := before.Original().Header(), after.Message().Header()
	if err := e.changes(had, has); err != nil {
		return err
	}
	if err := e.removals(had, has); err != nil {
		return err
	}
	return e.insertions(had, before.Message().Header(), has)
}

func (e *edits) changes(had, has *message.Header) error {
	nth := map[string]int{}
	for _, f := range had.Fields() {
		name := strings.ToLower(f.Name)
		nth[name]++
		now, ok := has.ByID(f.ID)
		if !ok || bytes.Equal(now.Raw, f.Raw) {
			continue
		}
		value := e.value(now)
		if value == "" {
			value = " " // none at all would remove it
		}
		if err := e.change(f.Name, nth[name], value); err != nil {
			return err
		}
	}
	return nil
}

// removals go from the last field to the first, so that they do not move what is
// still to be counted.
func (e *edits) removals(had, has *message.Header) error {
	nth := map[string]int{}
	for _, f := range had.Fields() {
		nth[strings.ToLower(f.Name)]++
	}
	fields := had.Fields()
	for i := len(fields) - 1; i >= 0; i-- {
		name := strings.ToLower(fields[i].Name)
		if _, ok := has.ByID(fields[i].ID); !ok {
			if err := e.change(fields[i].Name, nth[name], ""); err != nil {
				return err
			}
		}
		nth[name]--
	}
	return nil
}

func (e *edits) change(name string, nth int, value string) error {
	data := binary.BigEndian.AppendUint32(nil, uint32(nth))
	return e.put(gomilter.ActChangeHeader, gomilter.OptChangeHeader, "change a field", append(data, terminated(name, value)...)...)
}

// insertions go from the top to the bottom: each finds those above it in place.
func (e *edits) insertions(original, shown, has *message.Header) error {
	fields := has.Fields()
	last := len(fields) // of those that were there
	for last > 0 && !isOld(fields[last-1], original, shown) {
		last--
	}
	at := 0
	if received := shown.Fields()[0]; !contains(has, received.ID) {
		at = 1 // the mail server's own Received stays where it is
	}
	for i, f := range fields {
		switch {
		case isOld(f, original, shown):
		case i >= last:
			if err := e.put(gomilter.ActAddHeader, gomilter.OptAddHeader, "add a field", terminated(f.Name, e.value(f))...); err != nil {
				return err
			}
		default:
			data := binary.BigEndian.AppendUint32(nil, uint32(at))
			if err := e.put(gomilter.ActInsertHeader, gomilter.OptAddHeader, "insert a field", append(data, terminated(f.Name, e.value(f))...)...); err != nil {
				return err
			}
		}
		at++
	}
	return nil
}

// isOld reports whether a field came with the message, or is the Received that
// filters were shown.
func isOld(f message.Field, original, shown *message.Header) bool {
	return contains(original, f.ID) || f.ID == shown.Fields()[0].ID
}

func contains(h *message.Header, id message.FieldID) bool {
	_, ok := h.ByID(id)
	return ok
}

// value is a field's value as the protocol has it.
func (e *edits) value(f message.Field) string {
	v := strings.ReplaceAll(f.RawValue(), "\r\n", "\n")
	if e.terms.Steps&gomilter.OptHeaderLeadingSpace == 0 {
		v = strings.TrimPrefix(v, " ")
	}
	return v
}

func (e *edits) body(before, after *pipeline.View) error {
	if after.Message().SameBody(before.Message()) {
		return nil
	}
	body := after.Message().Body()
	for off := int64(0); off == 0 || off < body.Size(); {
		n := min(gomilter.MaxBodyChunk, body.Size()-off)
		piece := make([]byte, n)
		if got, err := body.ReadAt(piece, off); int64(got) < n {
			return fmt.Errorf("read the new body: %w", err)
		}
		if err := e.put(gomilter.ActReplBody, gomilter.OptChangeBody, "replace the body", piece...); err != nil {
			return err
		}
		if off += n; n == 0 {
			break
		}
	}
	return nil
}

// keep asks that the message be held.
func (e *edits) keep(_, after *pipeline.View) error {
	hold, quarantine := after.Held()
	if quarantine == "" {
		quarantine = hold
	}
	if quarantine == "" {
		return nil
	}
	return e.put(gomilter.ActQuarantine, gomilter.OptQuarantine, "quarantine", terminated(quarantine)...)
}
