package mailbox

import (
	"errors"
	"io"
	"time"

	"mtad/journal"
	"mtad/message"
)

// Errors that callers tell apart.
var (
	ErrNoFolder = errors.New("mailbox: no such folder")
	ErrExists   = errors.New("mailbox: folder exists")
	ErrBadName  = errors.New("mailbox: invalid folder name")
	ErrInbox    = errors.New("mailbox: INBOX cannot be deleted")
	ErrFull     = errors.New("mailbox: the folder has no UIDs left")
	ErrTooMany  = errors.New("mailbox: too many folders or keywords")
	ErrGone     = errors.New("mailbox: the message was removed")
)

type (
	// AccountID is a directory user's ID.
	AccountID int64
	// FolderID is never used again after its folder is deleted.
	FolderID int64
	// UID is a message's number in a folder (RFC 3501, 2.3.1.1); from 1 on.
	UID uint32
	// ModSeq counts the changes of a folder (RFC 7162, 3.1); from 1 on.
	ModSeq uint64
)

// Inbox is the folder every account has, in any case of its letters.
const Inbox = "INBOX"

// Separator stands between the levels of a folder's name.
const Separator = "/"

// Folder is one folder of an account.
type Folder struct {
	ID            FolderID
	Account       AccountID
	Name          string // UTF-8, levels separated by "/"; INBOX in upper case
	UIDValidity   uint32 // never used again in the account
	UIDNext       UID
	HighestModSeq ModSeq
	Subscribed    bool
	Use           string // RFC 6154, such as `\Sent`, or ""
}

// Status is a folder with counts.
type Status struct {
	Folder
	Messages, Unseen, Deleted uint32
	Size                      int64 // octets of all messages
}

// SystemFlags is a set of the flags of RFC 3501, 2.3.2, without \Recent.
type SystemFlags uint8

// The system flags. Their values are stored.
const (
	Seen SystemFlags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// Flags of a message. Keywords are sorted and unique without regard to case;
// of two spellings the first one given is kept.
type Flags struct {
	System   SystemFlags
	Keywords []string
}

// Item is what a session remembers of a message.
type Item struct {
	UID    UID
	ModSeq ModSeq
	Flags  Flags
}

// Entry is a message in a folder. Its octets are Prefix followed by the
// journalled Message from octet Skip on: Return-Path and Delivered-To live in
// Prefix; where a recipient's header was edited, Prefix is the whole new
// header and Skip the size of the old one.
type Entry struct {
	Item
	Message message.ID
	Prefix  []byte
	Skip    int64
	Size    int64     // octets of the whole
	Date    time.Time // RFC 3501, 2.3.3, to the second; zone kept
	Summary []byte    // what Remember was given, or nil

	place journal.Place // of Message, where Locate has looked it up
}

// Content is an opened message. Close it.
type Content interface {
	message.Bytes
	io.Closer
}

// FlagOp says what SetFlags does with the flags it is given.
type FlagOp uint8

// The operations of RFC 3501, 6.4.6.
const (
	Add FlagOp = iota
	Remove
	Replace
)

// UIDPair tells where a message was copied (RFC 4315, 3).
type UIDPair struct{ Source, Dest UID }
