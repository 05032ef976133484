package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"mtad/maildrop"
	"mtad/monitor"
)

// Place is a listener: its name and addresses.
type Place struct {
	Name  string
	Addrs []string
}

// Root is what the monitor needs to know.
type Root struct {
	User    string // whom the server runs as
	DataDir string // made if it is not there
	// Maildrop is made too, unless it is ""; without it there is none.
	Maildrop string
	Places   []Place
	Args     []string // of the server
	Policy   monitor.Policy
	Log      *slog.Logger
}

// Monitor binds the sockets, starts the server as another user, and is its
// monitor until it ends, or ctx does. The status is the server's.
func (s *Start) Monitor(ctx context.Context, r Root) (status int, err error) {
	u, err := findUser(r.User)
	if err != nil {
		return 0, err
	}
	if err := ownDir(r.DataDir, u); err != nil {
		return 0, err
	}
	if err := makeMaildrop(r.Maildrop, u); err != nil {
		r.Log.Warn("no mail will be taken from the maildrop directory", "err", err)
	}
	cfg := monitor.Config{
		User: r.User, Args: r.Args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Stop: ctx.Done(), Log: r.Log, Policy: r.Policy,
		State: func(state monitor.State) {
			if err := notify(state); err != nil {
				r.Log.Warn("monitor", "err", err)
			}
		},
	}
	if cfg.Sockets, err = s.bind(r.Places); err != nil {
		return 0, err
	}
	return monitor.Run(cfg)
}

// bind makes the sockets for the server, each under its listener's name.
func (s *Start) bind(places []Place) (out []monitor.Socket, err error) {
	defer func() {
		if err != nil {
			for _, k := range out {
				k.File.Close()
			}
		}
	}()
	for _, p := range places {
		sockets, err := s.Listen(p.Name, p.Addrs...)
		if err != nil {
			return out, err
		}
		for _, l := range sockets {
			f, err := l.(*net.TCPListener).File()
			l.Close()
			if err != nil {
				return out, fmt.Errorf("listener %s: %w", p.Name, err)
			}
			out = append(out, monitor.Socket{Name: p.Name, File: f})
		}
	}
	return out, s.Unused()
}

// UserError says that there is nobody to run as.
type UserError struct{ text string }

func (e *UserError) Error() string { return e.text }

func findUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	switch {
	case err != nil:
		return nil, &UserError{fmt.Sprintf("there is no user %q to run as (%v): make it (adduser --system --group %s), or name another by user = \"...\" in the configuration; root itself runs the monitor alone", name, err, name)}
	case u.Uid == "0" || u.Gid == "0":
		return nil, &UserError{fmt.Sprintf("user = %q is root, or in its group: name one without rights", name)}
	}
	return u, nil
}

// ownDir makes the directory, and refuses one that is not the user's: the
// server could not open what is in it.
func ownDir(dir string, u *user.User) error {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("data_dir: %w", err)
		}
		return os.Lchown(dir, uid, gid)
	}
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if owner(st) != uid {
		return &UserError{fmt.Sprintf("data_dir %s is not user %s's, whom the server runs as: stop everything that uses it, then chown -R %s: %s", dir, u.Username, u.Username, dir)}
	}
	return nil
}

// makeMaildrop makes the directory where users leave mail.
func makeMaildrop(dir string, u *user.User) error {
	if dir == "" {
		return nil
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	return maildrop.Make(dir, uid, gid)
}

func owner(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }

// BecomeOwner makes a process of root one of the user that a directory belongs
// to, so that what it writes there is not root's, which the server could not
// open.
func BecomeOwner(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	uid := owner(st)
	if os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	gid := int(st.Sys().(*syscall.Stat_t).Gid)
	err = errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid))
	if err != nil {
		return fmt.Errorf("become the owner of %s: %w", filepath.Clean(dir), err)
	}
	return nil
}
