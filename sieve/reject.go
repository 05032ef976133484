package sieve

import (
	"errors"
	"unicode/utf8"
)

// reject and ereject refuse the message (RFC 5429).
var (
	reject  = extension{name: "reject", rfc: "5429", commands: []commandRow{refusal("reject", false)}}
	ereject = extension{name: "ereject", rfc: "5429", commands: []commandRow{refusal("ereject", true)}}
)

var errReason = errors.New("the reason is not UTF-8")

func refusal(name string, extended bool) commandRow {
	return commandRow{
		signature: signature{name: name, params: []param{{name: "reason", kind: kindString}}},
		build: func(c *checker, b *bound) action {
			if s, ok := b.vals[0].constant(); ok && !utf8.ValidString(s) {
				c.errorf(b.vals[0].at, "%v", errReason)
			}
			reason := b.vals[0].texts[0]
			return func(m *machine) error {
				if err := m.atDelivery(name); err != nil {
					return err
				}
				s, err := reason.value(m)
				if err != nil {
					return err
				}
				if !utf8.ValidString(s) {
					return errReason
				}
				return b.perform(m, Action{Kind: Reject, Reason: s, Extended: extended})
			}
		},
	}
}
