package admin

import (
	"context"
	"errors"
	"net/http"

	"mtad/config"
	"mtad/directory"
	"mtad/queue"
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

// sentinels are the errors of the rooms below, and what they mean here. The
// first that fits counts.
var sentinels = []struct {
	err  error
	code Code
}{
	{directory.ErrNoUser, NoUser},
	{directory.ErrNoAlias, NoUser},
	{directory.ErrNoDomain, NoHost},
	{directory.ErrNoScript, NoInput},
	{directory.ErrExists, No},
	{directory.ErrInUse, No},
	{directory.ErrLoop, No},
	{directory.ErrBadAddress, BadData},
	{directory.ErrBadName, BadData},
	{directory.ErrWeak, BadData},
	{directory.ErrTooMany, BadData},
	{directory.ErrTooBig, BadData},
	{queue.ErrNone, No},
	{trace.ErrNone, No},
	{store.ErrNoMessage, No},
	{store.ErrClosed, Temporary},
	{store.ErrUnavailable, Temporary},
	{trace.ErrClosed, Temporary},
	{context.DeadlineExceeded, Temporary},
	{context.Canceled, Temporary},
}

// errorOf finds the code of an error.
func errorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var diags config.Diagnostics
	var diag *config.Diagnostic
	switch {
	case errors.As(err, &diags):
		return &Error{BadConfig, diags.Error()}
	case errors.As(err, &diag):
		return &Error{BadConfig, config.Diagnostics{diag}.Error()}
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return &Error{s.code, err.Error()}
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
