// Package relay reads the way of a message from its Received fields, as SpamAssassin
// does (Mail::SpamAssassin::Message::Metadata::Received 4.0): which servers handed it
// on, and which of them can be believed. Fields are read in the forms of some sixty
// servers; the line of RFC 5321, 4.4 is one of them.
package relay

import (
	"fmt"
	"strings"
)

// Relay is one hop: the server that By took the message from.
type Relay struct {
	IP      string // of the client, "" if a server is known to keep it to itself
	RDNS    string // its name in the DNS, as By found it
	Helo    string // what it said
	By      string
	Ident   string // RFC 1413
	EnvFrom string // reverse-path, where the field has it
	// HasEnvFrom: it has one, perhaps "".
	HasEnvFrom bool
	ID         string
	Auth       string // how the client has authenticated, "" if it has not
	Private    bool   // the address is none of the Internet
	Internal   bool
	MSA        bool // a server for submission
	NoReverse  bool // By has looked for a name and found none
}

// String is the relay as rules see it in X-Spam-Relays-External and its like.
func (r *Relay) String() string {
	from := r.EnvFrom
	if !truth(from) {
		from = ""
	}
	return fmt.Sprintf("[ ip=%s rdns=%s helo=%s by=%s ident=%s envfrom=%s intl=%d id=%s auth=%s msa=%d ]",
		r.IP, r.RDNS, r.Helo, r.By, r.Ident, from, digit(r.Internal), r.ID, r.Auth, digit(r.MSA))
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Path is the way of a message, the last hop first.
type Path struct {
	// Trusted relays are those whose fields are believed, Untrusted the others;
	// Internal are those of this site, External the others.
	Trusted, Untrusted, Internal, External []*Relay
	Unparseable                            int // Received fields that no form fits
	Costly                                 int // Received fields that were given up: they cost too much
	// LastTrusted and LastInternal are the indexes of the last Received fields that
	// were written by servers of these kinds, -1 if none was.
	LastTrusted, LastInternal int
}

// Cuts tells what was not read to its end.
func (p *Path) Cuts() []string {
	if p.Costly == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Received: %d steps of a field", maxSteps)}
}

// Join is a list of relays as rules see it.
func Join(relays []*Relay) string {
	var out []string
	for _, r := range relays {
		out = append(out, r.String())
	}
	return strings.Join(out, " ")
}
