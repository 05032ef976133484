package imapd

import (
	"errors"

	"mtad/imapd/wire"
	"mtad/mailbox"
)

// command is one row of the table. run parses the rest of the line and acts; what it
// leaves unread, because it refuses, is skipped. Its error is a *wire.SyntaxError,
// one of the store, or one of the connection.
type command struct {
	states   state
	run      func(*session) (reply, error)
	updates  bool // reports what happened to the selected folder before the answer
	expunges bool // EXPUNGE may be among it (RFC 3501, 7.4.1)
}

const (
	always     = notAuthenticated | authenticated | isSelected
	afterLogin = authenticated | isSelected
)

// commands is every command, a UID form beside its plain one.
var commands = map[string]*command{
	"CAPABILITY": {states: always, run: (*session).capability, updates: true, expunges: true},
	"NOOP":       {states: always, run: (*session).noop, updates: true, expunges: true},
	"LOGOUT":     {states: always, run: (*session).logout},
	"ID":         {states: always, run: (*session).id},

	"STARTTLS":     {states: notAuthenticated, run: (*session).startTLS},
	"LOGIN":        {states: notAuthenticated, run: (*session).login},
	"AUTHENTICATE": {states: notAuthenticated, run: (*session).authenticate},

	"ENABLE":      {states: afterLogin, run: (*session).enable},
	"NAMESPACE":   {states: afterLogin, run: (*session).namespace, updates: true, expunges: true},
	"SELECT":      {states: afterLogin, run: (*session).selectFolder},
	"EXAMINE":     {states: afterLogin, run: (*session).examine},
	"CREATE":      {states: afterLogin, run: (*session).create, updates: true, expunges: true},
	"DELETE":      {states: afterLogin, run: (*session).delete, updates: true, expunges: true},
	"RENAME":      {states: afterLogin, run: (*session).rename, updates: true, expunges: true},
	"SUBSCRIBE":   {states: afterLogin, run: (*session).subscribe, updates: true, expunges: true},
	"UNSUBSCRIBE": {states: afterLogin, run: (*session).unsubscribe, updates: true, expunges: true},
	"LIST":        {states: afterLogin, run: (*session).list, updates: true, expunges: true},
	"LSUB":        {states: afterLogin, run: (*session).lsub, updates: true, expunges: true},
	"STATUS":      {states: afterLogin, run: (*session).statusOf, updates: true, expunges: true},
	"APPEND":      {states: afterLogin, run: (*session).append, updates: true, expunges: true},
	"IDLE":        {states: afterLogin, run: (*session).idle, updates: true, expunges: true},

	"CHECK":       {states: isSelected, run: (*session).noop, updates: true, expunges: true},
	"CLOSE":       {states: isSelected, run: (*session).closeFolder},
	"UNSELECT":    {states: isSelected, run: (*session).unselect},
	"EXPUNGE":     {states: isSelected, run: (*session).expunge, updates: true, expunges: true},
	"UID EXPUNGE": {states: isSelected, run: (*session).uidExpunge, updates: true, expunges: true},
	"SEARCH":      {states: isSelected, run: bySeq((*session).search), updates: true},
	"UID SEARCH":  {states: isSelected, run: byUID((*session).search), updates: true, expunges: true},
	"FETCH":       {states: isSelected, run: bySeq((*session).fetch), updates: true},
	"UID FETCH":   {states: isSelected, run: byUID((*session).fetch), updates: true, expunges: true},
	"STORE":       {states: isSelected, run: bySeq((*session).storeFlags), updates: true},
	"UID STORE":   {states: isSelected, run: byUID((*session).storeFlags), updates: true, expunges: true},
	"COPY":        {states: isSelected, run: bySeq((*session).copy), updates: true, expunges: true},
	"UID COPY":    {states: isSelected, run: byUID((*session).copy), updates: true, expunges: true},
	"MOVE":        {states: isSelected, run: bySeq((*session).move), updates: true, expunges: true},
	"UID MOVE":    {states: isSelected, run: byUID((*session).move), updates: true, expunges: true},
}

// extensions is what capabilities always lists after the base protocol. Each
// word is a promise that the tests hold.
const extensions = "ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN " +
	"LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE ESEARCH WITHIN"

// numbering says whether a command speaks of messages by UID.
type numbering bool

func bySeq(f func(*session, numbering) (reply, error)) func(*session) (reply, error) {
	return func(s *session) (reply, error) { return f(s, false) }
}

func byUID(f func(*session, numbering) (reply, error)) func(*session) (reply, error) {
	return func(s *session) (reply, error) { return f(s, true) }
}

const (
	statusOK  = "OK"
	statusNo  = "NO"
	statusBad = "BAD"
)

// reply is the tagged end of a command.
type reply struct {
	status string
	code   string // response code without brackets, or ""
	text   string
	then   func() error // what comes after the answer, if anything
}

func ok(text string) reply           { return reply{status: statusOK, text: text} }
func okCode(code, text string) reply { return reply{status: statusOK, code: code, text: text} }
func no(code, text string) reply     { return reply{status: statusNo, code: code, text: text} }

func (s *session) answer(tag string, rep reply) {
	s.w.Raw(tag)
	s.w.SP()
	s.w.Raw(rep.status)
	if rep.code != "" {
		s.w.Raw(" [" + rep.code + "]")
	}
	s.w.Raw(" " + rep.text + "\r\n")
}

// run lets a command do its work, and reports what happened to the selected
// folder meanwhile. cmd is nil if the Reader already has an error. The error is
// one that ends the session.
func (s *session) run(cmd *command) (reply, error) {
	if err := s.r.Err(); err != nil {
		return s.refusal(err)
	}
	rep, err := cmd.run(s)
	if err != nil {
		if rep, err = s.refusal(err); err != nil {
			return rep, err
		}
	}
	if cmd.updates && s.selected != nil {
		err = s.sync(cmd.expunges)
	}
	return rep, err
}

// fatal is a command's error that ends the session.
type fatal struct{ error }

// refusal turns a command's error into an answer. Text of an error never
// reaches the client, but for that of a SyntaxError, which is made for it.
func (s *session) refusal(err error) (reply, error) {
	var syntax *wire.SyntaxError
	var end fatal
	switch {
	case errors.As(err, &end):
		return reply{}, end.error
	case s.w.Err() != nil:
		return reply{}, s.w.Err()
	case errors.As(err, &syntax):
		return reply{status: statusBad, code: syntax.Code, text: syntax.Text}, nil
	case s.ctx.Err() != nil:
		return reply{}, s.ctx.Err()
	}
	if readErr := s.r.Err(); readErr != nil && !errors.As(readErr, &syntax) {
		return reply{}, readErr
	}
	for _, known := range storeRefusals {
		if errors.Is(err, known.err) {
			return known.reply, nil
		}
	}
	s.log.Error("imapd: command failed", "account", s.account.Name, "err", err)
	return no("UNAVAILABLE", "Temporary failure, try again later"), nil
}

// storeRefusals is how the store's answers read in the protocol (RFC 5530, 3).
var storeRefusals = []struct {
	err   error
	reply reply
}{
	{mailbox.ErrNoFolder, no("NONEXISTENT", "No such mailbox")},
	{mailbox.ErrExists, no("ALREADYEXISTS", "Mailbox already exists")},
	{mailbox.ErrBadName, no("CANNOT", "Mailbox name is not allowed")},
	{mailbox.ErrInbox, no("CANNOT", "INBOX cannot be deleted")},
	{mailbox.ErrFull, no("LIMIT", "Mailbox is full")},
	{mailbox.ErrTooMany, no("LIMIT", "Too many mailboxes or keywords")},
	{mailbox.ErrGone, no("EXPUNGEISSUED", "Some of the messages are gone")},
}
