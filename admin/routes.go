package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// handler is one call. streams is for answers without an end that is known.
type handler struct {
	method, path string
	call         func(s *Server, w http.ResponseWriter, r *http.Request) error
	streams      bool
	uploads      bool // its argument may be as long as a message
}

// routes is every call there is. A name once published keeps its meaning; what
// changes it gets another version.
func routes() []handler {
	return []handler{
		{"GET", "/v1/status", get((*Server).status), false, false},
		{"POST", "/v1/reload", post((*Server).reload), false, false},
		{"POST", "/v1/stop", post((*Server).stop), false, false},
		{"GET", "/v1/probe", get((*Server).probe), false, false},
		{"GET", "/v1/verify", (*Server).verify, true, false},

		{"GET", "/v1/traces", get((*Server).lastTraces), false, false},
		{"GET", "/v1/traces/one", get((*Server).oneTrace), false, false},
		{"GET", "/v1/traces/live", (*Server).liveTraces, true, false},
		{"GET", "/v1/report", get((*Server).report), false, false},
		{"GET", "/v1/log", get((*Server).log), false, false},

		{"POST", "/v1/queue/list", (*Server).queueItems, true, false},
		{"GET", "/v1/queue/message", (*Server).queueMessage, false, false},
		{"POST", "/v1/queue/change/{verb}", (*Server).queueChange, true, false},
		{"POST", "/v1/queue/shape", post((*Server).queueShape), false, false},

		{"GET", "/v1/domains", get((*Server).domains), false, false},
		{"POST", "/v1/domains/add", post((*Server).addDomain), false, false},
		{"POST", "/v1/domains/remove", post((*Server).removeDomain), false, false},

		{"GET", "/v1/users", get((*Server).users), false, false},
		{"GET", "/v1/users/one", get((*Server).oneUser), false, false},
		{"POST", "/v1/users/add", post((*Server).addUser), false, false},
		{"POST", "/v1/users/password", post((*Server).setPassword), false, false},
		{"POST", "/v1/users/disable", post((*Server).disableUser), false, false},
		{"POST", "/v1/users/remove", post((*Server).removeUser), false, false},
		{"POST", "/v1/users/grant", post((*Server).addGrant), false, false},
		{"POST", "/v1/users/revoke", post((*Server).removeGrant), false, false},

		{"GET", "/v1/aliases", get((*Server).aliases), false, false},
		{"POST", "/v1/aliases/add", post((*Server).addAlias), false, false},
		{"POST", "/v1/aliases/remove", post((*Server).removeAlias), false, false},
		{"GET", "/v1/route", get((*Server).route), false, false},

		{"GET", "/v1/plugins", get((*Server).plugins), false, false},
		{"GET", "/v1/plugins/log", get((*Server).pluginLog), false, false},
		{"POST", "/v1/plugins/restart", post((*Server).restartPlugin), false, false},

		{"GET", "/v1/scripts", get((*Server).scripts), false, false},
		{"GET", "/v1/scripts/one", get((*Server).oneScript), false, false},
		{"POST", "/v1/scripts/put", post((*Server).putScript), false, false},
		{"POST", "/v1/scripts/activate", post((*Server).activateScript), false, false},
		{"POST", "/v1/scripts/delete", post((*Server).deleteScript), false, false},

		{"GET", "/v1/mail", get((*Server).mails), false, false},
		{"GET", "/v1/mail/one", (*Server).mailOctets, false, false},
		{"POST", "/v1/mail/change", post((*Server).changeMail), false, false},
		{method: "POST", path: "/v1/spam/learn", call: (*Server).learn, uploads: true},
		{"GET", "/v1/spam/stats", get((*Server).learned), false, false},
		{method: "GET", path: "/v1/spam/export", call: (*Server).exportLearned, streams: true},
		{method: "POST", path: "/v1/spam/import", call: (*Server).importLearned, streams: true, uploads: true},
		{method: "POST", path: "/v1/submit", call: (*Server).submit, uploads: true},
	}
}

type call = func(*Server, http.ResponseWriter, *http.Request) error

// get makes a call of a function that reads.
func get[Out any](fn func(*Server, context.Context, url.Values) (Out, error)) call {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		out, err := fn(s, r.Context(), r.URL.Query())
		if err != nil {
			return err
		}
		return write(w, out)
	}
}

// post makes a call of a function that changes something.
func post[In, Out any](fn func(*Server, context.Context, In) (Out, error)) call {
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := decode(r.Body, &in); err != nil {
			return err
		}
		out, err := fn(s, r.Context(), in)
		if err != nil {
			return err
		}
		return write(w, out)
	}
}

// decode reads a call's argument.
func decode(r io.Reader, in any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil && !errors.Is(err, io.EOF) {
		return &Error{Usage, fmt.Sprintf("the call's argument: %v", err)}
	}
	return nil
}

func write(w http.ResponseWriter, out any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// empty answers a list that JSON shows as [] where there is nothing.
func empty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
