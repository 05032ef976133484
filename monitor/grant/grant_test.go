package grant

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/monitor"
)

func users(name string) (*user.User, error) {
	return &user.User{Username: name, Uid: "1234", Gid: "1234", HomeDir: "/home/" + name}, nil
}

// say is what a policy says, on one line.
func say(p *Policy, r monitor.Request) string {
	if r.Mail == nil {
		r.Mail = &monitor.Envelope{Recipients: []monitor.Recipient{{Address: "u@d", Local: "u", User: "u", Domain: "d"}}}
	}
	g, err := p.Grant(&r, users)
	switch {
	case errors.Is(err, monitor.ErrUnfit):
		return "unfit"
	case err != nil:
		return "refused"
	}
	out := []string{"as " + g.User, g.Command, g.Path, strings.Join(g.Argv, " ")}
	for _, flag := range []struct {
		name string
		on   bool
	}{{"system", g.System}, {"default", g.Nobody}, {"listed", g.Listed}, {"group", g.Group != 0}} {
		if flag.on {
			out = append(out, flag.name)
		}
	}
	return strings.Join(strings.Fields(strings.Join(out, " ")), " ")
}

func run(user, command string) monitor.Request {
	return monitor.Request{Op: monitor.OpRun, User: user, Command: command}
}

func file(user, path string) monitor.Request {
	return monitor.Request{Op: monitor.OpDeliver, User: user, Path: path}
}

func route(op monitor.Op, name string) monitor.Request { return monitor.Request{Op: op, Route: name} }

// What root's configuration has is granted, as whom it says.
func TestGrant(t *testing.T) {
	spool := t.TempDir()
	p := New(Config{
		DefaultPrivs: "nobody", SystemUsers: true, MailboxCommand: `/usr/bin/procmail -a "$EXTENSION"`, HomeMailbox: "Maildir/", Spool: spool,
		Routes: map[string]Route{
			"drop": {User: "vmail", Command: []string{"/usr/bin/maildrop", "-d", "$user"}},
			"dir":  {User: "vmail", Path: "/srv/$domain/$user/"},
		},
	})
	for _, tc := range []struct {
		r    monitor.Request
		want string
	}{
		{run("alice", `/usr/bin/procmail -a "$EXTENSION"`), `as alice /usr/bin/procmail -a "$EXTENSION"`},
		{run("", `/usr/bin/procmail -a "$EXTENSION"`), "refused"},
		{run("alice", "id"), "as alice id listed"},
		{file("alice", "/home/alice/Maildir/"), "as alice /home/alice/Maildir/"},
		{file("alice", "/home/bob/Maildir/"), "as alice /home/bob/Maildir/ listed"},
		{file("alice", spool+"/alice"), "as alice " + spool + "/alice"},
		{file("alice", spool+"/bob"), "as alice " + spool + "/bob listed"},
		{file("", spool+"/alice"), "refused"},
		{monitor.Request{Op: monitor.OpForward, User: "alice", Path: ".forward"}, "as alice"},
		{route(monitor.OpRun, "drop"), "as vmail /usr/bin/maildrop -d u system"},
		{route(monitor.OpDeliver, "drop"), "refused"},
		{route(monitor.OpDeliver, "dir"), "as vmail /srv/d/u/ system"},
		{route(monitor.OpRun, "dir"), "refused"},
		{route(monitor.OpRun, "other"), "refused"},
	} {
		if got := say(p, tc.r); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.r, got, tc.want)
		}
	}
	none := New(Config{DefaultPrivs: "nobody"})
	for _, r := range []monitor.Request{run("alice", "id"), file("alice", "/var/mail/alice"), {Op: monitor.OpForward, User: "alice", Path: ".forward"}, run("", "id"), run("alice", "")} {
		if got := say(none, r); got != "refused" {
			t.Errorf("nothing is configured: %+v: %s", r, got)
		}
	}
}

// The group of the folder of mailboxes is lent for nothing but these.
func TestSpoolGroup(t *testing.T) {
	mtatest.NeedRoot(t, "folders are given away")
	spool := t.TempDir()
	mtatest.Check(t, os.Chown(spool, 0, 8))
	mtatest.Check(t, os.Chmod(spool, 0o2775))
	p := New(Config{SystemUsers: true, Spool: spool})
	if got := say(p, file("alice", spool+"/alice")); got != "as alice "+spool+"/alice group" {
		t.Error(got)
	}
	if got := say(p, file("alice", spool+"/x/alice")); strings.Contains(got, "group") {
		t.Error(got)
	}
	mtatest.Check(t, os.Chown(spool, 1234, 8))
	if got := say(p, file("alice", spool+"/alice")); strings.Contains(got, "group") {
		t.Errorf("a folder of somebody's: %s", got)
	}
}

// Commands and files of aliases belong to the owner of the file that they stand
// in, and what changes is seen.
func TestAliases(t *testing.T) {
	mtatest.NeedRoot(t, "files are given away")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	mtatest.Check(t, err)
	write := func(name, text string, owner int, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		_ = os.Remove(path)
		mtatest.Check(t, os.WriteFile(path, []byte(text), 0o600))
		mtatest.Check(t, os.Chown(path, owner, owner))
		mtatest.Check(t, os.Chmod(path, mode))
	}
	nobody := int(mtatest.Nobody(t).Uid)
	include := func(name string) string { return ":include:" + dir + "/" + name }
	write("aliases", "a: |one, /srv/f, "+include("list")+"\nb: "+include("open")+", "+include("link")+", "+include("aliases")+"\n", 0, 0o644)
	write("list", "|two\n/srv/g/\n"+include("list"), nobody, 0o644)
	write("open", "|three", nobody, 0o664)
	write("target", "|four", nobody, 0o644)
	mtatest.Check(t, os.Symlink(dir+"/target", dir+"/link"))
	p := New(Config{Aliases: []string{dir + "/aliases", dir + "/none"}, DefaultPrivs: "daemon"})
	for _, tc := range []struct {
		r    monitor.Request
		want string
	}{
		{run("", "one"), "as daemon one system default"},
		{run("nobody", "one"), "refused"},
		{file("", "/srv/f"), "as daemon /srv/f system default"},
		{run("nobody", "two"), "as nobody two system"},
		{run("", "two"), "refused"},
		{file("nobody", "/srv/g/"), "as nobody /srv/g/ system"},
		{run("nobody", "three"), "refused"},
		{run("nobody", "four"), "refused"},
		{run("alice", "one"), "refused"},
		{run("", "/srv/f"), "refused"},
		{file("", "/srv/ff"), "refused"},
	} {
		if got := say(p, tc.r); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.r, got, tc.want)
		}
	}
	write("list", "|five\n", 0, 0o644)
	write("none", "c: |six", 0, 0o666)
	for command, want := range map[string]bool{"two": false, "five": true, "six": false} {
		_, err := p.Grant(&monitor.Request{Op: monitor.OpRun, Command: command}, users)
		if (err == nil) != want {
			t.Errorf("%s: %v", command, err)
		}
	}
}
