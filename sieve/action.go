package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ActionKind is what is to be done with the message.
type ActionKind uint8

// The kinds of actions.
const (
	Keep     ActionKind = iota + 1 // store it where mail goes by default
	FileInto                       // store it in a folder
	Redirect                       // send it on
	Discard                        // nothing: the implicit keep is off
	Reject                         // refuse it
)

// Action is one thing that the script wants done. A folder or an address occurs
// only once in a Result (RFC 5228, 2.10.3).
type Action struct {
	Kind     ActionKind
	Line     int      // of the script; 0 for the implicit keep
	Implicit bool     // the implicit keep
	Mailbox  string   // FileInto: the folder, in UTF-8
	Address  Address  // Redirect
	Reason   string   // Reject: UTF-8, lines end in CRLF
	Extended bool     // Reject: ereject, which may change the reason's words
	Copy     bool     // FileInto, Redirect: it left the implicit keep alone
	Flags    []string // Keep, FileInto: IMAP flags, each once
}

// String is the action as golden files and traces show it.
func (a Action) String() string {
	switch a.Kind {
	case Keep:
		return "keep" + mark(a.Implicit, " (implicit)") + flagList(a.Flags)
	case FileInto:
		return "fileinto " + strconv.Quote(a.Mailbox) + mark(a.Copy, " copy") + flagList(a.Flags)
	case Redirect:
		return "redirect <" + a.Address.String() + ">" + mark(a.Copy, " copy")
	case Discard:
		return "discard"
	case Reject:
		return mark(a.Extended, "e") + "reject " + strconv.Quote(a.Reason)
	}
	return "invalid"
}

func mark(on bool, s string) string {
	if on {
		return s
	}
	return ""
}

func flagList(flags []string) string {
	if len(flags) == 0 {
		return ""
	}
	return " [" + strings.Join(flags, " ") + "]"
}

// Errors of actions that can not go together.
var (
	errRejectTwice = errors.New("a message can be rejected only once")
	errRejectKept  = errors.New("a message that is rejected can not be kept, filed or redirected")
)

// same reports whether two actions lead to the same place.
func (a *Action) same(b *Action) bool {
	return a.Kind == b.Kind && a.Mailbox == b.Mailbox && strings.EqualFold(a.Address.String(), b.Address.String())
}

// stores reports whether the message stays with someone by this action.
func (a *Action) stores() bool { return a.Kind == Keep || a.Kind == FileInto || a.Kind == Redirect }

// take adds an action to the result, or merges it with the one that leads to
// the same place: the last flags count (RFC 5232, 3).
func (m *machine) take(a Action) error {
	a.Line = int(m.line)
	m.cancelled = m.cancelled || !a.Copy
	if (a.Kind == Keep || a.Kind == FileInto) && a.Flags == nil {
		a.Flags = slices.Clip(m.flags)
	}
	redirects := 0
	for i := range m.actions {
		b := &m.actions[i]
		if a.Kind == Reject && b.Kind == Reject {
			return errRejectTwice // RFC 5429, 2.4
		}
		if a.Kind == Reject && b.stores() || a.stores() && b.Kind == Reject {
			return errRejectKept
		}
		if a.same(b) {
			b.Flags, b.Copy = a.Flags, b.Copy && a.Copy
			return nil
		}
		if b.Kind == Redirect {
			redirects++
		}
	}
	// RFC 5228, 2.10.4
	if a.Kind == Redirect && redirects >= m.limits.Redirects {
		return fmt.Errorf("more than %d redirects: %w", m.limits.Redirects, ErrLimit)
	}
	if len(m.actions) >= m.limits.Actions {
		return fmt.Errorf("more than %d actions: %w", m.limits.Actions, ErrLimit)
	}
	m.actions = append(m.actions, a)
	return nil
}

// perform applies the tags of a command to its action and takes it.
func (b *bound) perform(m *machine, a Action) error {
	for i := range b.tags {
		if t := &b.tags[i]; t.row.apply != nil {
			if err := t.row.apply(m, t.val, &a); err != nil {
				return err
			}
		}
	}
	return m.take(a)
}
