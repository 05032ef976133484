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
	Keep       ActionKind = iota + 1 // store it where mail goes by default
	FileInto                         // store it in a folder
	Redirect                         // send it on
	Discard                          // nothing: the implicit keep is off
	Reject                           // refuse it
	Vacate                           // answer it: vacation
	Notify                           // tell somebody of it
	Pipe                             // give it to a program
	SendReport                       // report it as abuse
)

// Action is one thing that the script wants done. A folder or an address occurs
// only once in a Result (RFC 5228, 2.10.3).
type Action struct {
	Kind     ActionKind
	Line     int      // of the script; 0 for the implicit keep
	Implicit bool     // the implicit keep
	Message  Message  // Keep, FileInto, Redirect, Pipe: what the script has made of it; nil is the one that came
	Mailbox  string   // FileInto: the folder, in UTF-8; Vacate, Notify: where a copy of it is kept (:fcc)
	Address  Address  // Redirect, SendReport
	List     string   // Redirect: the list that is sent to, instead of Address (RFC 6134, 2.3)
	Reason   string   // Reject: UTF-8, lines end in CRLF
	Extended bool     // Reject: ereject, which may change the reason's words
	Copy     bool     // FileInto, Redirect, Pipe: it left the implicit keep alone
	Flags    []string // with Mailbox, and Keep: IMAP flags, each once

	// How the folder of Mailbox is found: by its ID, else by its special use,
	// else by name; Create makes it if it is not there.
	MailboxID  string // RFC 9042
	SpecialUse string // RFC 8579: "\Junk"
	Create     bool   // RFC 5490, 3.2

	Vacation     *Vacation
	Notification *Notification
	Program      *Program
	Report       *Report
}

// String is the action as golden files and traces show it.
func (a Action) String() string {
	s := a.what()
	if a.MailboxID != "" {
		s += " id " + strconv.Quote(a.MailboxID)
	}
	if a.SpecialUse != "" {
		s += " special " + strconv.Quote(a.SpecialUse)
	}
	return s + mark(a.Create, " create") + mark(a.Copy, " copy") + flagList(a.Flags) + mark(a.Message != nil, " edited")
}

func (a Action) what() string {
	fcc := ""
	if a.Mailbox != "" {
		fcc = " fcc " + strconv.Quote(a.Mailbox)
	}
	switch a.Kind {
	case Keep:
		return "keep" + mark(a.Implicit, " (implicit)")
	case FileInto:
		return "fileinto " + strconv.Quote(a.Mailbox)
	case Redirect:
		if a.List != "" {
			return "redirect list " + strconv.Quote(a.List)
		}
		return "redirect <" + a.Address.String() + ">"
	case Discard:
		return "discard"
	case Reject:
		return mark(a.Extended, "e") + "reject " + strconv.Quote(a.Reason)
	case Vacate:
		return "vacation " + a.Vacation.Interval.String() + " " + strconv.Quote(a.Vacation.Reason) + fcc
	case Notify:
		return "notify " + strconv.Quote(a.Notification.Method) + fcc
	case Pipe:
		return strings.TrimSpace("pipe " + strconv.Quote(a.Program.Name) + " " + strings.Join(a.Program.Args, " "))
	case SendReport:
		return "report " + a.Report.Feedback + " <" + a.Address.String() + ">"
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
	errPipeTwice   = errors.New("a message can be given to a program only once")
)

// same reports whether two actions lead to the same place.
func (a *Action) same(b *Action) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case Keep, Discard, Reject:
		return true
	case FileInto:
		return a.Mailbox == b.Mailbox && a.MailboxID == b.MailboxID && a.SpecialUse == b.SpecialUse
	case Redirect:
		return a.List == b.List && strings.EqualFold(a.Address.String(), b.Address.String())
	}
	return false
}

// stores reports whether the message stays with someone by this action.
func (a *Action) stores() bool { return a.Kind == Keep || a.Kind == FileInto || a.Kind == Redirect }

// replaces reports whether this action is instead of the implicit keep.
func (a *Action) replaces() bool {
	return (a.stores() || a.Kind == Discard || a.Kind == Reject || a.Kind == Pipe) && !a.Copy
}

// conflict is why two actions can not go together (RFC 5429, 2.4; RFC 5230,
// 4.7).
func (a *Action) conflict(b *Action) error {
	one := func(k ActionKind) bool { return a.Kind == k || b.Kind == k }
	switch {
	case a.Kind == Reject && b.Kind == Reject:
		return errRejectTwice
	case a.Kind == Vacate && b.Kind == Vacate:
		return errVacationTwice
	case one(Reject) && one(Vacate):
		return errVacationReject
	case a.Kind == Pipe && b.Kind == Pipe && a.Program.Name == b.Program.Name:
		return errPipeTwice // spec-bosch-sieve-extprograms, 5.1
	case one(Reject) && (a.stores() || b.stores() || one(Pipe)):
		return errRejectKept
	}
	return nil
}

// take adds an action to the result, or merges it with the one that leads to
// the same place: the last flags count (RFC 5232, 3).
func (m *machine) take(a Action) error {
	a.Line = int(m.line)
	m.cancelled = m.cancelled || a.replaces()
	if a.Flags == nil && (a.Kind == Keep || a.Kind == FileInto) {
		a.Flags = slices.Clip(m.flags)
	}
	switch {
	case a.Kind == Keep:
		a.Message = m.kept()
	case a.stores() || a.Kind == Pipe:
		a.Message = m.edition()
	}
	if a.Kind == Redirect && m.enclosed {
		a.Message = m.unwrapped
	}
	redirects := 0
	for i := range m.actions {
		b := &m.actions[i]
		if err := a.conflict(b); err != nil {
			return err
		}
		if a.same(b) {
			b.Flags, b.Copy = a.Flags, b.Copy && a.Copy
			return nil
		}
		if b.Kind == Redirect || b.Kind == Notify || b.Kind == SendReport {
			redirects++
		}
	}
	// RFC 5228, 2.10.4
	if redirects >= m.limits.Redirects && (a.Kind == Redirect || a.Kind == Notify || a.Kind == SendReport) {
		return fmt.Errorf("more than %d redirects and other messages: %w", m.limits.Redirects, ErrLimit)
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
