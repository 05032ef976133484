package admin

import (
	"time"

	"mtad/pipeline"
	"mtad/selector"
	"mtad/trace"
)

// Status is the state of the server.
type Status struct {
	Info
	Listeners []Listener    `json:"listeners"`
	Queue     QueueStatus   `json:"queue"`
	Journal   JournalStatus `json:"journal"`
	Traces    trace.Stats   `json:"traces"`
	Steps     []Step        `json:"steps"`
}

// Info is what does not change while the server runs.
type Info struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Config   string    `json:"config"` // the file
	DataDir  string    `json:"data_dir"`
	Hostname string    `json:"hostname"`
}

// Listener is a place where clients connect.
type Listener struct {
	Name        string   `json:"name"`
	Protocol    string   `json:"protocol"`
	Addr        []string `json:"addr"`
	TLS         string   `json:"tls"`
	Connections int      `json:"connections"` // of IMAP: those of all its listeners
}

// QueueStatus counts the queue's items.
type QueueStatus struct {
	Items int `json:"items"`
	Held  int `json:"held"` // of them
}

// JournalStatus is what is accepted and not in the database yet.
type JournalStatus struct {
	Records int   `json:"records"`
	Octets  int64 `json:"octets"`
}

// Step is a filter's place in a pipeline, with its counters.
type Step struct {
	Pipeline    string           `json:"pipeline"`
	Step        string           `json:"step"`
	Kind        string           `json:"kind"`
	Calls       int64            `json:"calls"`
	Actions     map[string]int64 `json:"actions"`
	Faults      int64            `json:"faults"`
	Skipped     int64            `json:"skipped"` // not asked: the breaker was open
	Mean        time.Duration    `json:"mean"`    // nanoseconds a call
	BreakerOpen bool             `json:"breaker_open"`
}

// Reloaded is the answer to a reload.
type Reloaded struct {
	NeedsRestart []string `json:"needs_restart"` // settings that changed and wait for a restart
}

// Trace is what happened to a message.
type Trace struct {
	ID     string           `json:"id"`
	Events []pipeline.Event `json:"events"`
}

// Item is one recipient in the queue.
type Item struct {
	ID       string    `json:"id"` // of the message
	Row      int64     `json:"row"`
	Sender   string    `json:"sender"`
	Rcpt     string    `json:"rcpt"`
	Dest     string    `json:"dest"`
	State    string    `json:"state"` // ready, deferred, held
	Created  time.Time `json:"created"`
	Next     time.Time `json:"next"`
	Expires  time.Time `json:"expires"`
	Attempts int       `json:"attempts"`
	Hold     string    `json:"hold"`
	Reply    string    `json:"reply"` // of the last attempt
	Host     string    `json:"host"`
	Route    string    `json:"route,omitempty"` // the way that an administrator chose
	Ended    string    `json:"ended,omitempty"` // why an administrator gave it up
	Size     int64     `json:"size"`            // of the message, in octets
}

// Change chooses what is to be changed.
type Change struct {
	selector.Selector
	All    bool   `json:"all,omitempty"`     // an empty Selector is meant
	DryRun bool   `json:"dry_run,omitempty"` // only count
	Why    string `json:"why,omitempty"`     // of hold and bounce
	Via    string `json:"via,omitempty"`     // of reroute: a transport
}

// Counts are what a change concerned.
type Counts struct {
	Items    int  `json:"items"`
	Messages int  `json:"messages"`
	DryRun   bool `json:"dry_run"`
}

// Domain is one that the server takes mail for.
type Domain struct {
	Name  string `json:"name"`
	Class string `json:"class"`        // local, relay, alias
	Of    string `json:"of,omitempty"` // alias: the domain whose addresses it has
}

// User is an account.
type User struct {
	ID       int64     `json:"id"`
	Address  string    `json:"address"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Folders  []Folder  `json:"folders,omitempty"`
	Script   string    `json:"script,omitempty"` // the active Sieve script
	Lua      string    `json:"lua,omitempty"`    // the active Lua script
	Grants   []Grant   `json:"grants,omitempty"` // addresses that the user may send with, besides the user's own
}

// Grant is an address that a user may send with.
type Grant struct {
	User    string `json:"user,omitempty"`
	Address string `json:"address"` // local@domain, @domain, *
	Kind    string `json:"kind"`    // send-as, on-behalf
}

// Folder is a mailbox of a user.
type Folder struct {
	Name     string `json:"name"`
	Messages uint32 `json:"messages"`
	Unseen   uint32 `json:"unseen"`
	Size     int64  `json:"size"` // octets
}

// Credentials are a user and a new password.
type Credentials struct {
	Address  string `json:"address"`
	Password string `json:"password"`
}

// Disable says whether a user may log in.
type Disable struct {
	Address  string `json:"address"`
	Disabled bool   `json:"disabled"`
}

// Alias is an address that leads to others.
type Alias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

// Script is a user's script.
type Script struct {
	Language string    `json:"language,omitempty"` // sieve, lua, spamassassin; "" is sieve
	User     string    `json:"user,omitempty"`
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	Active   bool      `json:"active"`
	Changed  time.Time `json:"changed,omitzero"`
	Text     string    `json:"text,omitempty"`
}

// Route says what becomes of mail for an address.
type Route struct {
	Address string      `json:"address"`
	Class   string      `json:"class"`            // local, alias, relay, unknown, denied: for a client that may not relay
	Exempt  bool        `json:"exempt"`           // postmaster or abuse
	Circle  bool        `json:"circle,omitempty"` // its aliases lead in a circle
	Reply   string      `json:"reply,omitempty"`  // what is said, if not what the class says
	Targets []Target    `json:"targets"`
	Steps   []RouteStep `json:"steps"`
}

// RouteStep is one thing that was looked at on the way.
type RouteStep struct {
	Address string `json:"address"`
	Where   string `json:"where"` // a setting, a file
	What    string `json:"what"`  // what came of it
}

// Target is where mail for an address ends.
type Target struct {
	Address string   `json:"address"`
	Account int64    `json:"account,omitempty"` // 0: elsewhere
	Way     string   `json:"way,omitempty"`     // how mail gets there, if elsewhere
	Hosts   []string `json:"hosts,omitempty"`   // of a way that names them
	File    string   `json:"file,omitempty"`    // of the system
	Command string   `json:"command,omitempty"` // a program of the system
	User    string   `json:"user,omitempty"`    // as whom file and command are
	Owner   string   `json:"owner,omitempty"`   // who is told of failures instead of the sender
	TLS     string   `json:"tls,omitempty"`     // what is demanded of it
}

// none is for calls without an argument or an answer.
type none struct{}
