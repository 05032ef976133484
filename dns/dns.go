// Package dns asks the domain name system. A [Resolver] answers one question;
// the functions beside it ask the usual ones: addresses, MX, TXT, reverse names.
// [Client] asks the name servers of the machine, with retries, fail-over and a
// bounded cache (RFC 1035, RFC 2308); [Zone] answers from a file and is the fake
// of tests and of dev mode; a [Recorder] keeps what was asked and answered, so
// that a session can be explained.
package dns

import (
	"context"
	"errors"
	"time"
)

// Type is a resource record type, its number on the wire (RFC 1035, 3.2.2).
type Type uint16

// The types that a mail server asks for.
const (
	A     Type = 1
	NS    Type = 2
	CNAME Type = 5
	SOA   Type = 6
	PTR   Type = 12
	MX    Type = 15
	TXT   Type = 16
	AAAA  Type = 28
	TLSA  Type = 52
)

// Question is what a Resolver is asked.
type Question struct {
	Name string
	Type Type
}

// Record is one resource record of an answer. Which fields count depends on
// the type: Text for A and AAAA (the address), PTR, NS, CNAME (the name with
// no final dot), TXT (its strings joined, RFC 7208, 3.3) and TLSA (in
// presentation form); Text and Pref for MX.
type Record struct {
	Type    Type
	Text    string
	Strings []string // of a TXT record that has more than one
	Pref    uint16
	TTL     time.Duration
}

// Answer is what came back for a question. It is shared by the cache and must
// not be changed.
type Answer struct {
	Records []Record // of the type asked for; aliases have been followed
	Secure  bool     // the resolver vouches for DNSSEC (RFC 4035, 3.2.3)
}

// Errors a Resolver returns; anything else wraps ErrTemporary.
var (
	ErrNoName    = errors.New("dns: no such name")          // NXDOMAIN
	ErrNoData    = errors.New("dns: no such record")        // the name has none of this type
	ErrTemporary = errors.New("dns: temporary failure")     // time-out, SERVFAIL, no server
	ErrName      = errors.New("dns: not a name to ask for") // more than 255 octets, an empty label
)

// Rcode is the code with which a server refuses an answer (RFC 1035, 4.1.1). The error
// of such a question wraps one.
type Rcode int

func (c Rcode) Error() string { return "server says " + rcodeName(int(c)) }

// NotFound reports that the name or the record does not exist: a definite
// answer, not a fault.
func NotFound(err error) bool { return errors.Is(err, ErrNoName) || errors.Is(err, ErrNoData) }

// Resolver answers one question. Implementations are safe for use by several
// goroutines and obey the context's deadline.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) (Answer, error)
}
