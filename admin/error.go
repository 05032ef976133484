package admin

import (
	"context"
	"errors"
	"net/http"

	"mtad/config"
	"mtad/deliver/route"
	"mtad/directory"
	"mtad/queue"
	"mtad/selector"
	"mtad/store"
	"mtad/trace"
)

// Code says what went wrong: 1 is a negative answer, the others are those of
// sysexits.h. A command exits with it.
type Code int

// The codes.
const (
	No          Code = 1  // a negative answer: no such thing, exists already
	Usage       Code = 64 // a call that makes no sense
	BadData     Code = 65 // an address, a script or a password that can't be
	NoInput     Code = 66 // no such script
	NoUser      Code = 67
	NoHost      Code = 68 // no such domain
	Unavailable Code = 69 // the server does not run
	Bug         Code = 70 // an error that nobody expected
	Temporary   Code = 75 // try again later
	Permission  Code = 77
	BadConfig   Code = 78 // the configuration is wrong; the text says where
)

// Error is an answer that is no success.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"error"` // for a person
}

func (e *Error) Error() string { return e.Text }

// sentinels are the errors of the rooms below, and what they mean to a person;
// "" is the error's own words. The first that fits counts.
var sentinels = []struct {
	err  error
	code Code
	text string
}{
	{directory.ErrNoUser, NoUser, "no such user; `mtad user list` shows who there is"},
	{directory.ErrNoAlias, NoUser, "no such alias; `mtad alias list` shows what there is"},
	{directory.ErrNoDomain, NoHost, "not one of the domains that mail is taken for; `mtad domain add` adds one"},
	{directory.ErrNoScript, NoInput, "no such script; `mtad sieve list` shows what there is"},
	{directory.ErrNoGrant, No, "no such grant; `mtad user show` shows what there is"},
	{directory.ErrExists, No, "is there already"},
	{directory.ErrStands, No, "the domain stands for another, and has that one's users and aliases"},
	{directory.ErrInUse, No, "in use: it has users or aliases of its own, another domain stands for it, or it stands for one itself"},
	{route.ErrTooMany, BadData, route.ErrTooMany.Error() + " aliases"},
	{directory.ErrBadAddress, BadData, "no valid address or domain"},
	{directory.ErrBadName, BadData, "no valid name: want 1 to 512 octets of text"},
	{directory.ErrWeak, BadData, "the password is empty or too long"},
	{directory.ErrTooMany, BadData, "too many of them"},
	{directory.ErrTooBig, BadData, "larger than 1 MB"},
	{queue.ErrNone, No, "nothing in the queue fits that"},
	{queue.ErrUnderWay, Temporary, "all of it is being tried at this moment; ask again when that is over, or hold it first"},
	{trace.ErrNone, No, "no trace"},
	{store.ErrNoMessage, No, "no such message"},
	{store.ErrClosed, Temporary, "the server is stopping"},
	{trace.ErrClosed, Temporary, "the server is stopping"},
	{store.ErrDamaged, Temporary, store.ErrDamaged.Error()},
	{store.ErrUnavailable, Temporary, "the database can't be used now; the server's log says why"},
	{context.DeadlineExceeded, Temporary, "that took too long; try again"},
	{context.Canceled, Temporary, "broken off"},
}

// subjectError says what an error is about: an address, a name.
type subjectError struct {
	subject string
	err     error
}

func (e *subjectError) Error() string { return e.subject + ": " + e.err.Error() }
func (e *subjectError) Unwrap() error { return e.err }

// about says what an error, if there is one, is about.
func about(subject string, err error) error {
	if err == nil {
		return nil
	}
	return &subjectError{subject, err}
}

// errorOf finds the code of an error.
func errorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var sel *selector.Error
	if errors.As(err, &sel) {
		return &Error{Usage, sel.Error()}
	}
	var diags config.Diagnostics
	var diag *config.Diagnostic
	switch {
	case errors.As(err, &diags):
		return &Error{BadConfig, diags.Error()}
	case errors.As(err, &diag):
		return &Error{BadConfig, config.Diagnostics{diag}.Error()}
	}
	var subject *subjectError
	for _, s := range sentinels {
		switch {
		case !errors.Is(err, s.err):
		case errors.As(err, &subject):
			return &Error{s.code, subject.subject + ": " + s.text}
		default:
			return &Error{s.code, s.text}
		}
	}
	return &Error{Bug, err.Error()}
}

// status is the HTTP status that goes with the code.
func (c Code) status() int {
	switch c {
	case No, NoInput, NoUser, NoHost:
		return http.StatusNotFound
	case Usage, BadData:
		return http.StatusBadRequest
	case BadConfig:
		return http.StatusUnprocessableEntity
	case Permission:
		return http.StatusForbidden
	case Unavailable, Temporary:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
