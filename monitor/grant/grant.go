// Package grant says what the monitor does for the server, which it does not
// trust: what root's configuration has, and no more.
//
//   - A command line or file that stands in a file of aliases, or one that such a
//     file includes, as the owner of that file, or as default_privs if that is root.
//   - One that stands in a user's own .forward, as that user, whose process looks
//     for it; mailbox_command, home_mailbox, and the user's file in
//     mail_spool_directory.
//   - The command or path of a route block, as its user. The server gives the name
//     of the route and the envelope; what is made of them is made here.
//
// Files of aliases are read again when they change, all else at the start.
package grant

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path"
	"syscall"

	"mtad/aliases"
	"mtad/monitor"
)

// Config is the part of the configuration that says what is granted.
type Config struct {
	Aliases        []string // paths of files in the form of aliases(5)
	DefaultPrivs   string
	SystemUsers    bool
	MailboxCommand string
	HomeMailbox    string // below the home directory
	Spool          string // mail_spool_directory
	Routes         map[string]Route
}

// Route is a route block to a program or a file.
type Route struct {
	User    string
	Command []string
	Path    string // with a slash at the end a Maildir
}

// Policy is a monitor.Policy.
type Policy struct {
	cfg   Config
	lists lists
}

// New makes a policy.
func New(cfg Config) *Policy { return &Policy{cfg: cfg} }

// Grant finds what a request means.
func (p *Policy) Grant(r *monitor.Request, users func(string) (*user.User, error)) (monitor.Grant, error) {
	switch {
	case r.Op == monitor.OpForward:
		if !p.cfg.SystemUsers {
			return monitor.Grant{}, errors.New("system_users is not set: .forward files may not be read")
		}
		return monitor.Grant{User: r.User}, nil
	case r.Route != "":
		return p.route(r)
	}
	if p.cfg.SystemUsers && r.User != "" {
		if g, ok := p.mailbox(r, users); ok {
			return g, nil
		}
	}
	want := aliases.Target{Kind: aliases.File, Text: r.Path}
	if r.Op == monitor.OpRun {
		want = aliases.Target{Kind: aliases.Command, Text: r.Command}
	}
	listed, err := p.lists.has(p.cfg.Aliases, want, r.User)
	if listed {
		g := monitor.Grant{User: r.User, System: true, Command: r.Command, Path: r.Path}
		if r.User == "" {
			g.User, g.Nobody = p.cfg.DefaultPrivs, true
		}
		return g, nil
	}
	if p.cfg.SystemUsers && r.User != "" {
		return monitor.Grant{User: r.User, Command: r.Command, Path: r.Path, Listed: true}, nil
	}
	return monitor.Grant{}, errors.Join(fmt.Errorf("%s stands in no file of aliases, as read by root, for user %q", want, r.User), err)
}

// mailbox finds where a user of the system has mail.
func (p *Policy) mailbox(r *monitor.Request, users func(string) (*user.User, error)) (monitor.Grant, bool) {
	g := monitor.Grant{User: r.User}
	if r.Op == monitor.OpRun {
		g.Command = r.Command
		return g, r.Command == p.cfg.MailboxCommand
	}
	g.Path = r.Path
	if r.Path == path.Join(p.cfg.Spool, r.User) {
		g.Group = spoolGroup(p.cfg.Spool)
		return g, true
	}
	u, err := users(r.User)
	return g, err == nil && p.cfg.HomeMailbox != "" && r.Path == path.Clean(u.HomeDir)+"/"+p.cfg.HomeMailbox
}

// spoolGroup is the group that may make files in root's folder of mailboxes: mail
// in Debian; 0 if none may.
func spoolGroup(dir string) uint32 {
	st, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Uid != 0 || s.Mode&0o020 == 0 {
		return 0
	}
	return s.Gid
}

// route fills what a route block says.
func (p *Policy) route(r *monitor.Request) (monitor.Grant, error) {
	to, ok := p.cfg.Routes[r.Route]
	switch {
	case !ok || r.Op == monitor.OpRun && len(to.Command) == 0 || r.Op == monitor.OpDeliver && to.Path == "":
		return monitor.Grant{}, fmt.Errorf("there was no such route %q when the monitor started", r.Route)
	case r.Op == monitor.OpRun:
		argv, err := r.Mail.Arguments(to.Command)
		return monitor.Grant{User: to.User, System: true, Argv: argv}, err
	}
	file, err := r.Mail.File(to.Path)
	return monitor.Grant{User: to.User, System: true, Path: file}, err
}
