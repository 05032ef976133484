package sieve

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// vacation is RFC 5230.
var vacation = extension{
	name: "vacation", rfc: "5230",
	commands: []commandRow{{
		signature: signature{name: "vacation", groups: []group{groupInterval}, params: []param{{name: "reason", kind: kindString}}},
		build:     buildVacation,
	}},
	tags: []tagRow{
		{name: "days", group: groupInterval, takes: kindNumber},
		{name: "subject", on: []string{"vacation"}, takes: kindString},
		{name: "from", on: []string{"vacation"}, takes: kindString, check: checkFrom},
		{name: "addresses", on: []string{"vacation"}, takes: kindList},
		{name: "mime", on: []string{"vacation"}},
		{name: "handle", on: []string{"vacation"}, takes: kindString},
	},
}

// vacationSeconds is RFC 6131. It brings vacation with it.
var vacationSeconds = extension{
	name: "vacation-seconds", rfc: "6131",
	tags: []tagRow{{name: "seconds", group: groupInterval, takes: kindNumber}},
}

// checkFrom finds senders that are none (RFC 5230, 4.3; RFC 5703, 5).
func checkFrom(c *checker, v value) {
	if s, ok := v.constant(); ok {
		if err := checkSenders(s); err != nil {
			c.errorf(v.at, "%s is %v", quoted(s), err)
		}
	}
}

// checkSenders checks what stands in a From field: addresses with commas between
// them.
func checkSenders(s string) error {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			if _, err := parseOutbound(s[from:i]); err != nil {
				return err
			}
			from = i + 1
		}
	}
	_, err := parseOutbound(s[from:])
	return err
}

const groupInterval group = "interval"

// Vacation is an automatic reply. The host decides whether it is sent: not to
// machines, lists and strangers to the owner's addresses, and not twice within
// Interval to one sender and Handle (RFC 5230, 4.2 and 4.5; RFC 3834, 2).
type Vacation struct {
	Interval  time.Duration // 0: every time
	Subject   string        // "" is for the host to choose
	From      string        // as in a From field; "" is the owner
	Addresses []string      // of the owner, beside those that the host knows
	MIME      bool          // Reason is a MIME entity with its header
	Handle    string        // tells replies apart; made of what is said if the script gives none
	Reason    string
}

var (
	errVacationTwice  = errors.New("vacation can be done only once")
	errVacationReject = errors.New("a message can not be rejected and answered by vacation")
)

// strings fills in what tags of one command say.
type filler struct {
	m   *machine
	b   *bound
	err error
}

// text is what stands behind a tag, "" if it was not written.
func (f *filler) text(tag string) string {
	t := f.b.option(tag)
	if t == nil || f.err != nil {
		return ""
	}
	s, err := t.val.texts[0].value(f.m)
	f.err = err
	return s
}

func (f *filler) list(tag string) []string {
	t := f.b.option(tag)
	if t == nil || f.err != nil {
		return nil
	}
	list, err := values(f.m, t.val.texts)
	f.err = err
	return list
}

// source is what a script has written behind a tag, before variables are filled
// in; "" if the tag was not written.
func (b *bound) source(tag string) string {
	for i, a := range b.args {
		if a.kind == argTag && a.text == tag && i+1 < len(b.args) && len(b.args[i+1].list) > 0 {
			return b.args[i+1].list[0].text
		}
	}
	return ""
}

// interval is the time between two answers, within its bounds: a number that is
// out of them is moved to the nearest (RFC 5230, 4.1; RFC 6131, 2).
func (c *checker) interval(b *bound) time.Duration {
	l := c.opts.Limits
	t := b.given(groupInterval)
	switch {
	case t == nil:
		return l.VacationDefault
	case t.row.name == "days":
		return max(l.VacationMin, bounded(t.val.num, 24*time.Hour, l.VacationMax))
	case t.val.num == 0:
		return 0 // RFC 6131, 2
	}
	return bounded(t.val.num, time.Second, l.VacationMax)
}

// bounded is n units, at most limit.
func bounded(n int64, unit, limit time.Duration) time.Duration {
	if n >= int64(limit/unit) {
		return limit
	}
	return time.Duration(n) * unit
}

func buildVacation(c *checker, b *bound) action {
	interval, isMIME, reason := c.interval(b), b.tag("mime"), b.vals[0].texts[0]
	// Variables are not filled in for this (RFC 5230, 4.2): a reply that quotes
	// the subject is the same reply for every subject.
	handle := Digest("vacation", b.source("subject"), b.source("from"), strconv.FormatBool(isMIME), b.args[len(b.args)-1].list[0].text)
	c.checkFcc(b)
	return func(m *machine) error {
		if err := m.atDelivery("vacation"); err != nil {
			return err
		}
		f := filler{m: m, b: b}
		v := &Vacation{
			Interval: interval, MIME: isMIME, Subject: f.text("subject"), From: f.text("from"),
			Addresses: f.list("addresses"), Handle: f.text("handle"),
		}
		if f.err != nil {
			return f.err
		}
		s, err := reason.value(m)
		if err != nil {
			return err
		}
		if !utf8.ValidString(s) {
			return errReason
		}
		if v.Reason = s; v.Handle == "" {
			v.Handle = handle
		}
		return b.perform(m, Action{Kind: Vacate, Vacation: v})
	}
}
