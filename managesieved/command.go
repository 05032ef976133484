package managesieved

import "mtad/directory"

// command is one row of the table. run parses the rest of the command and acts;
// what it leaves unread, because it refuses, is skipped. Its error is a
// *wire.SyntaxError, one of the directory, or one of the connection.
type command struct {
	states state
	run    func(*session) (reply, error)
}

const always = notAuthenticated | authenticated

// commands is every command (RFC 5804, 2).
var commands = map[string]*command{
	"CAPABILITY": {always, (*session).capability},
	"NOOP":       {always, (*session).noop},
	"LOGOUT":     {always, (*session).logout},

	"STARTTLS":       {notAuthenticated, (*session).startTLS},
	"AUTHENTICATE":   {notAuthenticated, (*session).authenticate},
	"UNAUTHENTICATE": {authenticated, (*session).unauthenticate},

	"HAVESPACE":    {authenticated, (*session).haveSpace},
	"PUTSCRIPT":    {authenticated, (*session).putScript},
	"CHECKSCRIPT":  {authenticated, (*session).checkScript},
	"LISTSCRIPTS":  {authenticated, (*session).listScripts},
	"SETACTIVE":    {authenticated, (*session).setActive},
	"GETSCRIPT":    {authenticated, (*session).getScript},
	"DELETESCRIPT": {authenticated, (*session).deleteScript},
	"RENAMESCRIPT": {authenticated, (*session).renameScript},
}

// directoryRefusals is how the directory's answers read in the protocol (RFC
// 5804, 1.3).
var directoryRefusals = []struct {
	err   error
	reply reply
}{
	{directory.ErrNoScript, no("NONEXISTENT", "There is no script of that name")},
	{directory.ErrExists, no("ALREADYEXISTS", "There is a script of that name")},
	{directory.ErrInUse, no("ACTIVE", "The active script can not be deleted")},
	{directory.ErrBadName, no("", "A script can not be named that")},
	{directory.ErrTooBig, no("QUOTA/MAXSIZE", "The script is too large")},
	{directory.ErrTooMany, no("QUOTA/MAXSCRIPTS", "There are too many scripts; delete one first")},
}

func (s *session) capability() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.capabilities()
	return ok("Completed"), nil
}

// noop gives a client its own tag back, which lets it find where it is in what
// comes (RFC 5804, 2.13).
func (s *session) noop() (reply, error) {
	if s.r.AtEnd() {
		return ok("Done"), s.r.End()
	}
	s.r.SP()
	tag := s.r.String()
	rep := ok("Done")
	rep.code = "TAG " + quote(tag)
	return rep, s.r.End()
}

func (s *session) logout() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.state = loggedOut
	return ok("Bye"), nil
}
