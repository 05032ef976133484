//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// innerVariable says that this test has a mount namespace for itself.
const innerVariable = "MTAD_E2E_INNER"

// alone runs a test once more, in a mount namespace of its own, and reports
// whether this is that run: there it may have other users and other mailboxes
// than the machine has.
func alone(t *testing.T) bool {
	t.Helper()
	mtatest.NeedRoot(t, "it makes users of its own")
	if os.Getenv(innerVariable) != "" {
		return true
	}
	unshare := program(t, "unshare")
	cmd := exec.Command(unshare, "--mount", "--propagation", "private", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), innerVariable+"=1")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip(string(out))
	}
	if err != nil || testing.Verbose() {
		t.Log(string(out))
	}
	if err != nil {
		t.Error(err)
	}
	return false
}

// Users that exist in the namespace alone.
const (
	aliceID  = 23456
	bobID    = 23457
	vmailID  = 123
	serverID = 124
)

// village is a machine with users, as programs in a namespace see it.
type village struct {
	*service
	out string // where what programs got is
}

// newVillage makes users, mailboxes and a server. It is not started.
func newVillage(t *testing.T, settings string) *village {
	t.Helper()
	s := newService(t)
	v := &village{s, filepath.Join(s.dir, "out")}
	passwd, group := read(t, "/etc/passwd"), read(t, "/etc/group")
	for _, u := range []struct {
		name  string
		id    int
		shell string
	}{{"alice", aliceID, "/bin/bash"}, {"bob", bobID, "/bin/sh"}, {"vmail", vmailID, "/usr/sbin/nologin"}, {"mtadtest", serverID, "/usr/sbin/nologin"}} {
		home := filepath.Join(s.dir, "home", u.name)
		check(t, os.MkdirAll(home, 0o755))
		check(t, os.Chown(home, u.id, u.id))
		passwd = line(passwd, fmt.Sprintf("%s:x:%d:%d::%s:%s", u.name, u.id, u.id, home, u.shell))
		group = line(group, fmt.Sprintf("%s:x:%d:", u.name, u.id))
	}
	v.over("/etc/passwd", passwd)
	v.over("/etc/group", group)
	check(t, syscall.Mount("tmpfs", "/var/mail", "tmpfs", 0, "mode=2775,gid=8"))
	check(t, os.Mkdir(v.out, 0o700))
	check(t, os.Chmod(v.out, 0o777|os.ModeSticky))
	s.lines = "user = \"mtadtest\"\n" + settings
	s.configure()
	return v
}

func line(text, more string) string { return strings.TrimRight(text, "\n") + "\n" + more + "\n" }

// over puts a file over one of the machine, which stays as it is.
func (v *village) over(path, text string) {
	v.t.Helper()
	own := filepath.Join(v.dir, "over"+strings.ReplaceAll(path, "/", "-"))
	check(v.t, os.WriteFile(own, []byte(text), 0o644))
	check(v.t, os.Chmod(own, 0o644))
	if _, err := os.Stat(path); err != nil {
		v.t.Skipf("there is no %s to put one over", path)
	}
	check(v.t, syscall.Mount(own, path, "", syscall.MS_BIND, ""))
}

func (v *village) home(user string) string { return filepath.Join(v.dir, "home", user) }

// own writes a file of a user's.
func (v *village) own(id int, path, text string, mode os.FileMode) {
	v.t.Helper()
	_ = os.Remove(path)
	check(v.t, os.WriteFile(path, []byte(text), 0o600))
	check(v.t, os.Chown(path, id, id))
	check(v.t, os.Chmod(path, mode))
}

// show is a program that keeps its environment and its input under a name.
func (v *village) show() string {
	v.t.Helper()
	path := filepath.Join(v.dir, "show.sh")
	write(v.t, path, `#!/bin/sh
# show DIR NAME ARGS: the environment, arguments and input as files
f=$1/$2.$$; shift; shift
{ id -un; for a; do echo "arg $a"; done; env | sort; echo ---; cat; } >$f.tmp
mv $f.tmp $f.txt
`)
	check(v.t, os.Chmod(path, 0o755))
	return path
}

// shown waits until a program was given n mails, and returns what it wrote.
func shown(t testing.TB, dir, name string, n int) (out []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d mails for %s", n, name), timeLimit, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, name+".*.txt"))
		check(t, err)
		out = nil
		for _, f := range found {
			out = append(out, read(t, f))
		}
		return len(found) >= n
	})
	return out
}

// transmit sends a message and returns the answer to it.
func transmit(t testing.TB, addr, from string, to []string, data string) string {
	t.Helper()
	c, err := gosmtp.Dial(addr)
	check(t, err)
	defer c.Close()
	check(t, c.Hello("client.test"))
	check(t, c.Mail(from, nil))
	for _, rcpt := range to {
		check(t, c.Rcpt(rcpt, nil))
	}
	w, err := c.Data()
	check(t, err)
	_, err = io.WriteString(w, data)
	check(t, err)
	reply, err := w.CloseWithResponse()
	check(t, err)
	return reply.StatusText
}

// same is what two mail servers must agree in: the environment but for what is
// their own, and the lines above the first Received field but for the time.
func same(text string) string {
	env, mail, _ := strings.Cut(text, "---\n")
	var out []string
	for l := range strings.Lines(env) {
		if name, _, _ := strings.Cut(l, "="); !slices.Contains([]string{"PWD", "MAIL_CONFIG", "_", "OLDPWD", "SHLVL", "TZ", "LANG"}, name) {
			out = append(out, l)
		}
	}
	top, _, _ := strings.Cut(mail, "Received:")
	// An alias of Postfix's is told, here whom it leads to.
	top = strings.Replace(top, "Delivered-To: root@", "Delivered-To: alice@", 1)
	top = regexp.MustCompile(`(?m)^(From .*)  [A-Z].*$`).ReplaceAllString(top, "$1  DATE")
	_, body, _ := strings.Cut(mail, "\n\n")
	return strings.Join(out, "") + "---\n" + top + "...\n\n" + body
}

// typical are entries as they stand in the files of aliases of many machines,
// below those of Debian's installer.
const typical = `# See man 5 aliases for format
postmaster:    root
mailer-daemon: postmaster
nobody:        root
hostmaster:    root
usenet:        news
news:          root
webmaster:     root
www:           webmaster
ftp:           root
abuse:         root
root:          alice
# programs, files and lists
prog:          "|SHOW OUT prog a \"b c\" '$SENDER'"
plain:         |/bin/true
archive:       DIR/archive/mbox, DIR/archive/Maildir/
devnull:       /dev/null
team:          :include:DIR/team
owner-team:    bob
"my list":     alice,
               bob
`

// What programs of aliases, of users' .forward and mailbox_command get is what
// Postfix's local(8) gives them.
func TestHandAsPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	if !alone(t) {
		return
	}
	v := newVillage(t, "")
	show := v.show()
	theirs := filepath.Join(v.dir, "theirs")
	check(t, os.Mkdir(theirs, 0o700))
	check(t, os.Chmod(theirs, 0o777|os.ModeSticky))
	var text [2]string
	for i, out := range []string{v.out, theirs} {
		text[i] = "root: alice\nprog: \"|" + show + " " + out + " prog '$SENDER' \\\"$EXTENSION\\\"\"\n" +
			"list: :include:" + v.dir + "/list" + fmt.Sprint(i) + "\n"
		v.own(bobID, filepath.Join(v.dir, fmt.Sprint("list", i)), "\"|"+show+" "+out+" listed\"\n", 0o644)
	}
	v.over("/etc/aliases", text[0])
	write(t, filepath.Join(v.dir, "aliases"), text[1])
	must(t, "postalias", "-o", "hash:"+filepath.Join(v.dir, "aliases"))
	v.lines += fmt.Sprintf("mydestination = [\"local.test\"]\nmyorigin = \"local.test\"\naliases = [\"hash:/etc/aliases\"]\nsystem_users = true\nmailbox_command = %q\n",
		show+" "+v.out+" box \"$EXTENSION\"")
	v.configure()
	v.start(nil)
	_, addrs := mtatest.PostfixWith(t, "mydestination = local.test\nmyorigin = local.test\nalias_maps = hash:"+v.dir+"/aliases\nrecipient_delimiter = +\n"+
		"allow_mail_to_commands = alias, forward, include\nlocal_transport = local\nlocal_recipient_maps =\ndefault_transport = discard\nmailbox_command = "+show+" "+theirs+" box \"$EXTENSION\"\n", local(v.smtp), "")
	to := []string{"prog+ext@local.test", "prog@local.test", "list@local.test", "root@local.test", "alice+lists@local.test"}
	count := map[string]int{"prog": 4, "listed": 2, "box": 4}
	for _, from := range []string{"ann@s.test", `"$(touch x);rm|'` + "`id`" + `"@s.test`} {
		data := letter("ann@s.test", "x@local.test", "hello", "From me\n.dot\nend")
		transmit(t, local(v.smtp), from, to, data)
		transmit(t, addrs[0], from, to, data)
	}
	for _, name := range []string{"prog", "listed", "box"} {
		var got, want []string
		for _, s := range shown(t, v.out, name, count[name]) {
			got = append(got, same(s))
		}
		for _, s := range shown(t, theirs, name, count[name]) {
			want = append(want, same(s))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant, as Postfix has it,\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// localAttempt is a first attempt at a recipient, as a trace tells it.
var localAttempt = regexp.MustCompile(`(?m)relay +(\w+) +<(\S+)@local\.test>\n +to (?:.|\n)*?\n +said \d+ (\d\.\d\.\d+) (.*)$`)

// outcomes waits until recipients of a message have been tried, and tells how
// that went, by local-part: "deferred 4.3.0", and what was said.
func (v *village) outcomes(id string, names ...string) (out, said map[string]string) {
	v.t.Helper()
	storyOf(v.t, v.config(), id, fmt.Sprintf("attempts at %q", names), func(story string) bool {
		out, said = map[string]string{}, map[string]string{}
		for _, m := range localAttempt.FindAllStringSubmatch(story, -1) {
			out[m[2]], said[m[2]] = m[1]+" "+m[3], m[4]
		}
		return !slices.ContainsFunc(names, func(n string) bool { return out[n] == "" })
	})
	return out, said
}

// expect sends a message to local names, and waits for what is to become of it.
func (v *village) expect(from, text string, names []string, want map[string]string) (said map[string]string) {
	v.t.Helper()
	var to []string
	for _, n := range names {
		to = append(to, n+"@local.test")
	}
	id := idIn(v.t, transmit(v.t, local(v.smtp), from, to, letter("ann@s.test", "x@local.test", "hello", text)))
	got, said := v.outcomes(id, slices.Collect(maps.Keys(want))...)
	for name, w := range want {
		if got[name] != w {
			v.t.Errorf("%s: %s, want %s: %s", name, got[name], w, said[name])
		}
	}
	return said
}

const delivered = "delivered 2.0.0"

// localTest is the part of a configuration that all of these have.
const localTest = `mydestination = ["local.test"]
myorigin = "local.test"
aliases = ["file:/etc/aliases"]
system_users = true
`

// Exit codes and codes in a program's output mean what they mean to Postfix.
func TestHandExits(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	if !alone(t) {
		return
	}
	v := newVillage(t, localTest)
	names, text := []string{"quota", "nospace", "killed"}, `quota: "|echo 5.2.2 over quota; exit 1"
nospace: "|echo 4.3.1 no space; exit 77"
killed: "|kill -9 $$"
`
	for code := range 80 {
		if code < 3 || code > 62 {
			names = append(names, fmt.Sprint("x", code))
			text += fmt.Sprintf("x%d: \"|echo said; exit %d\"\n", code, code)
		}
	}
	v.over("/etc/aliases", text)
	write(t, filepath.Join(v.dir, "aliases"), text)
	must(t, "postalias", "-o", "hash:"+filepath.Join(v.dir, "aliases"))
	v.start(nil)
	etc, addrs := mtatest.PostfixWith(t, "mydestination = local.test\nalias_maps = hash:"+v.dir+"/aliases\nlocal_transport = local\nlocal_recipient_maps =\n"+
		"default_transport = discard\n", local(v.smtp), "")
	var to []string
	for _, n := range names {
		to = append(to, n+"@local.test")
	}
	id := idIn(t, transmit(t, local(v.smtp), "ann@s.test", to, letter("ann@s.test", "x@local.test", "hello", "x")))
	got, _ := v.outcomes(id, names...)
	transmit(t, addrs[0], "ann@s.test", to, letter("ann@s.test", "x@local.test", "hello", "x"))
	re := regexp.MustCompile(`to=<(\w+)@local\.test>, relay=local.* dsn=(\S+), status=(\w+)`)
	want := map[string]string{}
	eventually(t, "Postfix's attempts", timeLimit, func() bool {
		for _, m := range re.FindAllStringSubmatch(read(t, filepath.Join(filepath.Dir(etc), "maillog")), -1) {
			want[m[1]] = map[string]string{"sent": "delivered", "bounced": "failed", "deferred": "deferred"}[m[3]] + " " + m[2]
		}
		return len(want) >= len(names)
	})
	for _, n := range names {
		if got[n] != want[n] {
			t.Errorf("%s: %s; Postfix: %s", n, got[n], want[n])
		}
	}
}

// A file of aliases as machines have it, mailboxes in /var/mail, and programs that
// do what they should not.
func TestHandAliases(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	v := newVillage(t, localTest+"command_time_limit = \"2s\"\n")
	archive := filepath.Join(v.dir, "archive")
	nobody := mtatest.Nobody(t)
	check(t, os.Mkdir(archive, 0o700))
	check(t, os.Chown(archive, int(nobody.Uid), int(nobody.Gid)))
	write(t, filepath.Join(v.dir, "team"), "# us\nbob, archive\n")
	check(t, os.Chmod(filepath.Join(v.dir, "team"), 0o644))
	v.over("/etc/aliases", strings.NewReplacer("SHOW", v.show(), "OUT", v.out, "DIR", v.dir).Replace(typical)+`
much: "|yes | head -c 1000000; exit 75"
slow: "|sleep 100"
deaf: "|exit 0"
holds: "|setsid sleep 60 & exit 0"
never: "|sleep 0.1"
inject: "|echo $SENDER '$SENDER' \"$SENDER\" >`+v.out+`/sender; true"
full: `+v.dir+`/full/mbox, `+v.dir+`/full/Maildir/
`)
	full := filepath.Join(v.dir, "full")
	check(t, os.Mkdir(full, 0o700))
	check(t, syscall.Mount("tmpfs", full, "tmpfs", 0, "size=64k,mode=0777"))
	defer syscall.Unmount(full, 0)
	v.start(nil)

	v.expect("ann@s.test", "From me\nx", []string{"postmaster", "archive", "devnull", "prog", "plain", `"my list"`}, map[string]string{
		"alice": delivered, "archive": delivered, "devnull": delivered, "prog": delivered, "plain": delivered, "bob": delivered,
	})
	box := read(t, "/var/mail/alice")
	mustSay(t, box, "From ann@s.test  ", "\nReturn-Path: <ann@s.test>\nX-Original-To: ", "\n\n>From me\nx\n\n")
	owner(t, "/var/mail/alice", aliceID, 8, 0o660)
	owner(t, archive+"/mbox", int(nobody.Uid), int(nobody.Gid), 0o600)
	mustSay(t, shown(t, v.out, "prog", 1)[0], "nobody\n", "arg a\narg b c\narg $SENDER\n", "\nLOCAL=prog\n")
	dirs, err := filepath.Glob(archive + "/Maildir/new/*")
	check(t, err)
	if len(dirs) != 1 {
		t.Errorf("the Maildir has %q", dirs)
	} else if text := read(t, dirs[0]); !strings.HasPrefix(text, "Return-Path: <ann@s.test>\n") || strings.Contains(text, "\r") {
		t.Errorf("%q", text)
	}

	hostile := "\"$(touch " + v.out + "/x)\"@s.test"
	said := v.expect(hostile, strings.Repeat("line\n", 1<<19), []string{"much", "slow", "deaf", "holds", "never", "inject", "team", "full"}, map[string]string{
		"much": "deferred 4.3.0", "slow": "deferred 4.3.0", "deaf": delivered, "holds": delivered, "never": delivered, "inject": delivered,
		"bob": delivered, "full": "deferred 4.2.2",
	})
	if !strings.HasPrefix(said["much"], "temporary failure. Command output: y y y") || len(said["much"]) > 500 || said["slow"] != "Command time limit exceeded" {
		t.Errorf("said: %q", said)
	}
	tame := "__touch_" + strings.ReplaceAll(v.out, "/", "/") + "/x_@s.test"
	if text := read(t, filepath.Join(v.out, "sender")); text != tame+" $SENDER "+tame+"\n" {
		t.Errorf("a sender is %q", text)
	}
	if _, err := os.Stat(filepath.Join(v.out, "x")); err == nil {
		t.Error("a sender's command was run")
	}

	// A mailbox that leads elsewhere is left alone.
	check(t, os.Remove("/var/mail/bob"))
	v.own(bobID, filepath.Join(v.dir, "prey"), "prey", 0o600)
	check(t, os.Symlink(filepath.Join(v.dir, "prey"), "/var/mail/bob"))
	v.expect("ann@s.test", "x", []string{"bob"}, map[string]string{"bob": "deferred 4.3.5"})
	if text := read(t, filepath.Join(v.dir, "prey")); text != "prey" {
		t.Errorf("by way of a link: %q", text)
	}
	// What was not there at the start, and is put there now, is seen.
	check(t, os.WriteFile(filepath.Join(v.dir, "over-etc-aliases"), []byte("late: |/bin/true\n"), 0o644))
	eventually(t, "a new alias", timeLimit, func() bool {
		out, _ := run(t, "", "", mtadPath, "-c", v.config(), "route", "test", "late@local.test")
		return strings.Contains(out, "command /bin/true")
	})
	v.expect("ann@s.test", "x", []string{"late"}, map[string]string{"late": delivered})
}

// owner checks whose a file is.
func owner(t *testing.T, path string, uid, gid int, mode os.FileMode) {
	t.Helper()
	st, err := os.Lstat(path)
	check(t, err)
	if s := st.Sys().(*syscall.Stat_t); int(s.Uid) != uid || int(s.Gid) != gid || st.Mode() != mode {
		t.Errorf("%s: %d:%d %v, want %d:%d %v", path, s.Uid, s.Gid, st.Mode(), uid, gid, mode)
	}
}

// A user's .forward is followed if nobody else can have written it; else the mail
// goes to the mailbox, and the reason is told.
func TestHandForward(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	v := newVillage(t, localTest+"home_mailbox = \"Maildir/\"\n")
	v.over("/etc/aliases", "root: alice\n")
	show := v.show()
	forward := filepath.Join(v.home("alice"), ".forward")
	v.own(aliceID, forward, `\alice, "|`+show+` `+v.out+` mine $EXTENSION", `+v.home("alice")+"/box, bob\n", 0o644)
	v.own(aliceID, forward+"+lists", v.home("alice")+"/lists/\n", 0o600)
	v.start(nil)
	v.expect("ann@s.test", "x", []string{"alice", "alice+lists"}, map[string]string{"alice": delivered, "alice+lists": delivered, "bob": delivered})
	mustSay(t, shown(t, v.out, "mine", 1)[0], "alice\n", "\nHOME="+v.home("alice")+"\n", "\nUSER=alice\n", "---\nFrom ann@s.test  ")
	for pattern, n := range map[string]int{v.home("alice") + "/Maildir/new/*": 1, v.home("bob") + "/Maildir/new/*": 1, v.home("alice") + "/lists/new/*": 1, v.home("alice") + "/box": 1} {
		eventually(t, pattern, timeLimit, func() bool {
			found, err := filepath.Glob(pattern)
			return err == nil && len(found) == n
		})
	}
	owner(t, v.home("alice")+"/box", aliceID, aliceID, 0o600)

	theirs := filepath.Join(v.home("bob"), ".forward")
	for name, make := range map[string]func(){
		"may be written by others": func() { v.own(bobID, theirs, "|id", 0o666) },
		"is not the user's":        func() { v.own(aliceID, theirs, "|id", 0o644) },
		"is no plain file":         func() { check(t, os.Symlink(forward, theirs)) },
		"no plain file (fifo)": func() {
			check(t, syscall.Mkfifo(theirs, 0o600))
			check(t, os.Chown(theirs, bobID, bobID))
		},
		"written by others, so": func() {
			v.own(bobID, theirs, "|id", 0o600)
			check(t, os.Chmod(v.home("bob"), 0o775))
		},
	} {
		_ = os.Remove(theirs)
		check(t, os.Chmod(v.home("bob"), 0o755))
		make()
		want, _, _ := strings.Cut(name, " (")
		eventually(t, name, timeLimit, func() bool { // what was read a moment ago holds for a moment
			out, _ := run(t, "", "", mtadPath, "-c", v.config(), "route", "test", "bob@local.test")
			return strings.Contains(out, "not used") && strings.Contains(out, want) && strings.Contains(out, "file "+v.home("bob")+"/Maildir/ (as bob)")
		})
		v.expect("ann@s.test", "x", []string{"bob"}, map[string]string{"bob": delivered})
	}
	v.proc.Await(t, "a .forward is not used")
}

// procmail and maildrop take mail, as a user's command and by routes; what they
// may not do is done by nobody.
func TestHandPrograms(t *testing.T) {
	t.Parallel()
	procmail, maildrop := program(t, "procmail"), program(t, "maildrop")
	if !alone(t) {
		return
	}
	v := newVillage(t, localTest)
	v.over("/etc/aliases", "root: alice\nfilter: \"|"+procmail+" -m "+v.dir+"/rc\"\n")
	show := v.show()
	write(t, filepath.Join(v.dir, "rc"), "LOGFILE="+v.out+"/log\n:0\n* ^Subject: hello\n"+v.out+"/filtered/\n")
	check(t, os.Chmod(filepath.Join(v.dir, "rc"), 0o644))
	v.own(aliceID, filepath.Join(v.home("alice"), ".procmailrc"), "MAILDIR=$HOME\nDEFAULT=$HOME/inbox/\n:0\n* ^Delivered-To: alice\\+lists@\nlists/\n", 0o600)
	v.own(vmailID, filepath.Join(v.dir, "filter"), "to \""+v.dir+"/virtual/$1\"\n", 0o600)
	check(t, os.Mkdir(filepath.Join(v.dir, "virtual"), 0o700))
	check(t, os.Chown(filepath.Join(v.dir, "virtual"), vmailID, vmailID))
	for _, dir := range []string{"carol", "carol/cur", "carol/new", "carol/tmp", "dave", "dave/cur", "dave/new", "dave/tmp"} {
		check(t, os.Mkdir(filepath.Join(v.dir, "virtual", dir), 0o700))
		check(t, os.Chown(filepath.Join(v.dir, "virtual", dir), vmailID, vmailID))
	}
	v.lines += fmt.Sprintf(`mailbox_command = "%s -a \"$EXTENSION\""
virtual_mailbox_domains = ["v.test", "w.test", "m.test", "b.test"]
transport_maps = { "v.test" = "maildrop", "w.test" = "show", "m.test" = "dir", "b.test" = "box" }
route "maildrop" {
  protocol         = "pipe"
  command          = [%q, "%s/filter", "$user"]
  user             = "vmail"
  flags            = "DRhu"
  single_recipient = true
}
route "show" {
  protocol = "pipe"
  command  = [%q, %q, "route", "$${user}", "$(domain)", "-f$sender", "$recipient"]
  user     = "vmail"
}
route "dir" {
  protocol = "maildir"
  path     = "%s/virtual/$domain/$user/"
  user     = "vmail"
}
route "box" {
  protocol = "mbox"
  path     = "%s/virtual/box-$user"
  user     = "vmail"
}
`, procmail, maildrop, v.dir, show, v.out, v.dir, v.dir)
	v.configure()
	v.start(nil)
	v.expect("ann@s.test", "x", []string{"filter", "alice", "alice+lists"}, map[string]string{"filter": delivered, "alice": delivered, "alice+lists": delivered})
	transmit(t, local(v.smtp), "ann@s.test", []string{"Carol@V.test", "dave@v.test", "eve+x@w.test", "fred@w.test", "gus@m.test", "hal@b.test"},
		letter("ann@s.test", "x@v.test", "hello", "From me"))
	for pattern, want := range map[string]string{
		v.out + "/filtered/new/*":           "Delivered-To: filter@local.test\n",
		v.home("alice") + "/inbox/new/*":    "Delivered-To: alice@local.test\n",
		v.home("alice") + "/lists/new/*":    "Delivered-To: alice+lists@local.test\n",
		v.dir + "/virtual/carol/new/*":      "Return-Path: <ann@s.test>\nDelivered-To: Carol@V.test\n",
		v.dir + "/virtual/dave/new/*":       "Delivered-To: dave@v.test\n",
		v.dir + "/virtual/m.test/gus/new/*": "Delivered-To: gus@m.test\n",
		v.dir + "/virtual/box-hal":          "\n>From me\n",
	} {
		eventually(t, pattern, timeLimit, func() bool {
			found, err := filepath.Glob(pattern)
			return err == nil && len(found) == 1 && strings.Contains(read(t, found[0]), want)
		})
	}
	mustSay(t, shown(t, v.out, "route", 1)[0], "vmail\narg eve\narg fred\narg w.test\narg w.test\narg -fann@s.test\narg eve+x@w.test\narg fred@w.test\n", "---\nReceived: ")
	// An address can be neither an option nor a way out.
	to := []string{"../../x@m.test", ".x@m.test"}
	id := idIn(t, transmit(t, local(v.smtp), "ann@s.test", to, letter("ann@s.test", "x@m.test", "hello", "x")))
	storyOf(t, v.config(), id, "a refusal of each", func(story string) bool { return strings.Count(story, "said 553 5.1.3") == len(to) })
}
