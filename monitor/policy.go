package monitor

import (
	"errors"
	"fmt"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// firstUser is the lowest ID of a person (login.defs(5), UID_MIN).
const firstUser = 1000

// Policy is what the monitor grants. The zero value grants nothing.
type Policy struct {
	Commands []string // programs that may be run: absolute paths
	// Files are folders below which mail may be appended to files: absolute, or
	// "~" for the user's home directory. Names that begin with a dot are never
	// written to: they are programs' own.
	Files   []string
	Forward bool // .forward files may be read
	Calls   int  // at most so many at once; 0: 20
}

// permits says why a request of a user is not granted, "" if it is.
func (p *Policy) permits(r *Request, who *account) string {
	switch r.Op {
	case OpRun:
		if !slices.Contains(p.Commands, r.Argv[0]) {
			return fmt.Sprintf("%s is not among the programs that may be run", r.Argv[0])
		}
	case OpDeliver:
		if !p.permitsFile(r.Path, who.home) {
			return fmt.Sprintf("%s is not where mail may be put", r.Path)
		}
	case OpForward:
		if !p.Forward {
			return ".forward files may not be read"
		}
	}
	return ""
}

func (p *Policy) permitsFile(file, home string) bool {
	for _, dir := range p.Files {
		if dir == "~" {
			dir = home
		}
		rest, ok := strings.CutPrefix(file, path.Clean(dir)+"/")
		if ok && isPath(dir) && !strings.HasPrefix(rest, ".") && !strings.Contains(rest, "/.") {
			return true
		}
	}
	return false
}

// account is a user that something is run as.
type account struct {
	name, home string
	uid, gid   uint32
}

// lookup finds a user who may be a recipient.
func (s *server) lookup(name string) (*account, Fault, error) {
	u, err := s.users(name)
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
	case a.uid < firstUser || a.gid == 0:
		return nil, Refused, fmt.Errorf("%s is root or a system account", name)
	case a.uid == s.child:
		return nil, Refused, fmt.Errorf("%s is the user of the server itself", name)
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

// credential has the primary group alone: mail needs no others.
func (a *account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{a.gid}}
}
