package monitor

import (
	"errors"
	"fmt"
	"os/user"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// firstUser is the lowest ID of a person (login.defs(5), UID_MIN).
const firstUser = 1000

// Policy says what is granted, as root has configured it. It is asked by several
// goroutines at once, with requests that nobody should trust.
type Policy interface {
	// Grant finds what a request means; users finds one by name. An error is
	// the reason of a refusal, or wraps ErrUnfit.
	Grant(r *Request, users func(string) (*user.User, error)) (Grant, error)
}

// Grant is what a request means.
type Grant struct {
	User    string   // as whom it is done
	System  bool     // User may be a system account: root has named it, or the file that it owns
	Nobody  bool     // User is nobody in particular: HOME and SHELL are not told
	Command string   // OpRun: a command line
	Argv    []string // or a program's absolute path, and its arguments
	Path    string   // OpDeliver: a file, or with a slash at the end a Maildir
	Group   uint32   // OpDeliver: the group that the file's folder belongs to, as it does then; 0: none
	// Listed says that Command or Path is granted if it stands in one of the
	// user's .forward files, which the user's own process looks for.
	Listed bool
}

// account is a user that something is run as.
type account struct {
	name, home string
	uid, gid   uint32
}

// lookup finds the user of a grant.
func (s *server) lookup(g *Grant) (*account, Fault, error) {
	u, err := s.users(g.User)
	if errors.As(err, new(user.UnknownUserError)) {
		return nil, NoUser, err
	}
	if err != nil {
		return nil, Failed, err
	}
	a, err := newAccount(u)
	switch {
	case err != nil:
		return nil, Failed, err
	case a.uid == 0 || a.gid == 0:
		return nil, Refused, fmt.Errorf("%s is root, or in its group", g.User)
	case a.uid < firstUser && !g.System:
		return nil, Refused, fmt.Errorf("%s is a system account", g.User)
	case a.uid == s.child:
		return nil, Refused, fmt.Errorf("%s is the user of the server itself", g.User)
	}
	return a, "", nil
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	a := &account{name: u.Username, home: path.Clean(u.HomeDir), uid: uint32(uid), gid: uint32(gid)}
	if a.home == "/nonexistent" || !path.IsAbs(a.home) {
		a.home = "/" // nobody's
	}
	return a, nil
}

// credential has the primary group alone: mail needs no others. With another
// group the process is none that the user may trace (ptrace(2)), which would have
// the group's rights then.
func (a *account) credential(group uint32) *syscall.Credential {
	if group == 0 {
		group = a.gid
	}
	return &syscall.Credential{Uid: a.uid, Gid: group, Groups: []uint32{group}}
}

// shell is a user's login shell; os/user does not tell.
func shell(passwd, name string) string {
	for line := range strings.Lines(passwd) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == name {
			return f[6]
		}
	}
	return ""
}
