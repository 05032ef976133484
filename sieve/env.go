package sieve

import (
	"context"
	"time"
)

// Entity is a message, or a MIME part of one. What the methods return is read
// only and must stay valid during the run. Names of fields come in any case.
// Nothing is asked for that the script does not look at: a message of which only
// the header is tested need never be parsed further.
type Entity interface {
	// Header returns the values of every field of that name, in order:
	// unfolded, white space at the ends removed, encoded words decoded to
	// UTF-8 (RFC 5228, 2.7.2).
	Header(name string) []string
	// Addresses returns, for each field of that name, the mailboxes in it,
	// those in groups too (RFC 5228, 5.1).
	Addresses(name string) [][]Address
	// Media reads every field of that name as a value with parameters, as
	// Content-Type and Content-Disposition are (RFC 2045, 5.1; RFC 2183).
	Media(name string) []Media
	// Type is the media type in lower case, as it is to be taken where no
	// field or a broken one says it (RFC 2045, 5.2): "text", "plain".
	Type() (typ, subtype string)
	// Children are the parts of a multipart, or the message inside
	// message/rfc822; none for anything else.
	Children() ([]Entity, error)
	// Content is at most limit octets of what the entity holds, its transfer
	// encoding undone and text in UTF-8. A multipart has two contents, what
	// stands before its first part and what behind its last, message/rfc822
	// the header of the message inside (RFC 5173, 5.2).
	Content(limit int) ([][]byte, error)
}

// Media is a header value that begins with a word and has parameters behind it.
type Media struct {
	Value  string // "text/plain", "attachment"
	Params []Param
}

// Param is one parameter, decoded (RFC 2231).
type Param struct{ Name, Value string }

// Message is a whole message.
type Message interface {
	Entity
	// Size is the octets of the message.
	Size() int64
	// Body is at most limit octets of what is behind the header, as it is on
	// the wire (RFC 5173, 5.1); nil if no empty line ends the header: then
	// there is no body, not even an empty one (RFC 5173, 4).
	Body(limit int) ([]byte, error)
}

// Editor is a Message that can be changed. Each method leaves the Message as it
// is and returns another, which is an Editor too.
type Editor interface {
	Message
	// AddField adds a header field at the top, or last at the end (RFC 5293,
	// 4). value is UTF-8.
	AddField(name, value string, last bool) (Message, error)
	// DeleteFields removes fields by their places among those of that name:
	// from 0, ascending (RFC 5293, 5).
	DeleteFields(name string, places []int) (Message, error)
	// ReplacePart puts a MIME entity, header and body, in a part's place
	// (RFC 5703, 5). part is one that Children of this Message or of one it
	// was made from has returned, or nil for everything: then the fields that
	// describe content come from entity, the others stay.
	ReplacePart(part Entity, entity []byte) (Message, error)
	// Enclose makes the message a part of a new one that has header and body
	// of entity (RFC 5703, 6): text with the old message attached. Without a
	// subject it has that of the old one.
	Enclose(subject string, fields []string, text string) (Message, error)
}

// Envelope is the SMTP envelope as far as it concerns the script's owner.
type Envelope struct {
	From Address // the reverse-path; zero for "<>"
	To   Address // the recipient that led here
	Auth string  // who the client has logged in as: the part "auth"
}

// Env is what a run sees from outside. Only Message must be set: what is nil
// looks to a script as if it were empty or failed, as the RFCs allow.
type Env struct {
	Message  Message
	Envelope Envelope
	// Event says that an event of IMAP runs the script, not the delivery of a
	// message (RFC 6785): there is no envelope, actions that answer a delivery
	// are errors, and a keep takes no edits. The host sets the items of the
	// environment: location, phase and those that begin with "imap.".
	Event bool
	Flags []string // that the message has already (RFC 5232, 2)

	Now         func() time.Time                                   // "currentdate", with the owner's zone; nil is time.Now
	Environment func(item string) (string, bool)                   // items of RFC 5183, names in lower case
	Spam        func() (percent float64, ok bool)                  // 0 is surely none, 100 surely spam (RFC 5235)
	Virus       func() (value int, ok bool)                        // 1 is surely none, 5 surely one (RFC 5235)
	Mailboxes   Mailboxes                                          // RFC 5490 and its relatives
	Lists       Lists                                              // RFC 6134
	Seen        func(ctx context.Context, id string) (bool, error) // whether a duplicate's mark is there (RFC 7352)
	Notifier    Notifier                                           // RFC 5435
	Programs    Programs                                           // vnd.dovecot.filter and execute
	Log         func(line int, text string)                        // debug_log
	Trace       func(Event)                                        // every command, test and comparison
}

// Mailboxes is what a script can ask about the owner's folders. Names are
// UTF-8.
type Mailboxes interface {
	// Exists reports whether mail can be stored in a folder (RFC 5490, 3.1).
	Exists(ctx context.Context, mailbox string) (bool, error)
	// Special finds the folder that has a special use, such as "\\Junk"
	// (RFC 8579, 3). With mailbox it reports whether that folder has it.
	Special(ctx context.Context, mailbox, use string) (string, bool, error)
	// ByID finds a folder by its MAILBOXID (RFC 9042).
	ByID(ctx context.Context, id string) (string, bool, error)
	// Annotation is the value of a folder's annotation, of the server's
	// where mailbox is "" (RFC 5490, 3.3 and 4).
	Annotation(ctx context.Context, mailbox, name string) (string, bool, error)
}

// Lists are externally stored lists by name (RFC 6134). Of a name that begins
// with "urn:ietf:params:sieve:" they see what is behind it, ":addrbook:friends".
type Lists interface {
	Valid(name string) bool
	Contains(ctx context.Context, list, value string) (bool, error)
}

// Notifier knows the methods of notification that the host offers.
type Notifier interface {
	// Valid reports whether a notification can be sent to a URI
	// (RFC 5435, 4).
	Valid(uri string) bool
	// Capability is the value of a capability of the method: "online" is
	// "yes", "no" or "maybe" (RFC 5435, 5), "fcc" is "yes" or "no" and needs no
	// more of the URI than its scheme (RFC 8580, 6.1).
	Capability(ctx context.Context, uri, name string) (string, bool)
}

// Programs runs what the host has allowed. A program that the host does not
// know, or that fails, is ok false, not an error.
type Programs interface {
	// Filter passes the message through a program.
	Filter(ctx context.Context, m Message, program string, args []string) (out Message, ok bool, err error)
	// Execute runs a program and returns what it writes.
	Execute(ctx context.Context, in Input, program string, args []string) (out []byte, ok bool, err error)
}

// Input is what a program reads: the message, if there is one, or a text.
type Input struct {
	Message Message
	Text    string
}

// Event is a step of a run as traces show it.
type Event struct {
	Kind   EventKind
	Script string // the included one; "" for the main script
	Line   int
	Depth  int      // of blocks and tests around it
	Name   string   // of the command or test; of a comparison, its match type
	Values []string // a command's arguments; a comparison's value and key
	Result bool     // of a test or comparison
}

// EventKind is what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	EventCommand EventKind = iota + 1 // a command is about to run
	EventTest                         // a test has ended
	EventCompare                      // a value was compared with a key
)

// NoBody is embedded in a Message of which scripts can see the header only.
type NoBody struct{}

// Media returns nil.
func (NoBody) Media(string) []Media { return nil }

// Type is text/plain.
func (NoBody) Type() (typ, subtype string) { return "text", "plain" }

// Children returns none.
func (NoBody) Children() ([]Entity, error) { return nil, nil }

// Content is empty.
func (NoBody) Content(int) ([][]byte, error) { return nil, nil }

// Body is empty.
func (NoBody) Body(int) ([]byte, error) { return nil, nil }
