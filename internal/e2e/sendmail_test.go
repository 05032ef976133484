//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// toolsOf links mtad's compatible commands in a folder that everybody may read.
func toolsOf(t testing.TB) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtad-tools")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	b, err := os.ReadFile(mtadPath)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "mtad"), b, 0o755))
	must(t, filepath.Join(dir, "mtad"), "compat", "install", "--dir", dir)
	return dir
}

// Programs that call sendmail: mail(1), s-nail, cron.
func TestSendmailClients(t *testing.T) {
	s := start(t)
	tools := toolsOf(t)
	env := []string{"env", "MTAD_CONFIG=" + s.config(), "HOME=" + s.dir}
	rc := filepath.Join(s.dir, "mailrc")
	write(t, rc, "set sendmail="+tools+"/sendmail\n")
	for _, c := range [][]string{
		{"MAILRC=" + rc, program(t, "bsd-mailx"), "-s", "by mail", "-c", "bob@example.test", "alice@example.test"},
		{program(t, "s-nail"), "-n", "-S", "mta=" + tools + "/sendmail", "-s", "by nail", "-c", "bob@example.test", "alice@example.test"},
		{tools + "/sendmail", "-i", "-FCronDaemon", "-B8BITMIME", "-oem", "alice"},
	} {
		if out, code := run(t, "a line\n", s.dir, append(env, c...)...); code != 0 {
			t.Fatalf("%v: exit %d\n%s", c, code, out)
		}
	}
	got := strings.Join(s.mail("alice", 3), "\n")
	mustSay(t, got, "Subject: by mail\r\n", "Subject: by nail\r\n", "\r\n\r\na line\r\n", "(mtad, from userid ", "From: CronDaemon <", "\r\nMessage-ID: <")
	s.mail("bob", 2)
}

// cron mails what a job prints; it has the path of sendmail built in.
func TestCronMail(t *testing.T) {
	mtatest.NeedRoot(t, "cron, and a mount namespace")
	s := start(t)
	tools := toolsOf(t)
	tab := filepath.Join(s.dir, "tabs")
	check(t, os.Mkdir(tab, 0o730))
	write(t, filepath.Join(tab, "root"), "MAILTO=alice@example.test\nMTAD_CONFIG="+s.config()+"\n@reboot echo the job says this\n")
	check(t, os.Chmod(filepath.Join(tab, "root"), 0o600))
	wrapper := filepath.Join(tools, "wrapper")
	check(t, os.WriteFile(wrapper, []byte("#!/bin/sh\nMTAD_CONFIG="+s.config()+" exec "+tools+"/sendmail \"$@\"\n"), 0o755))
	program(t, "sendmail") // is there to be covered
	script := fmt.Sprintf(`mount --make-rprivate / && mount --bind %s "$(readlink -f /usr/sbin/sendmail)" && mount --bind %s /var/spool/cron/crontabs && mount -t tmpfs none /run && exec %s -f`,
		wrapper, tab, program(t, "cron"))
	spawn(t, s.dir, program(t, "unshare"), "--mount", "sh", "-c", script)
	got := strings.Join(s.mail("alice", 1), "")
	mustSay(t, got, "the job says this\r\n", "To: alice@example.test\r\n", "Subject: Cron <root@", "X-Cron-Env: ")
}

// A user who may not use the control socket, and a server that is down.
func TestMaildrop(t *testing.T) {
	mtatest.NeedRoot(t, "it becomes another user")
	tools := toolsOf(t)
	drop := filepath.Join(tools, "drop")
	s := start(t, replace(`maildrop_directory = "maildrop"`, fmt.Sprintf("maildrop_directory = %q", drop)))
	write(t, filepath.Join(tools, "user.hcl"), fmt.Sprintf("data_dir = %q\nmaildrop_directory = %q\n", s.dir+"/data", drop))
	check(t, os.Chmod(filepath.Join(tools, "user.hcl"), 0o644))
	send := func(uid int, subject string, args ...string) {
		t.Helper()
		id := fmt.Sprint(uid)
		argv := append([]string{program(t, "setpriv"), "--reuid", id, "--regid", id, "--clear-groups",
			"env", "MTAD_CONFIG=" + tools + "/user.hcl", tools + "/sendmail"}, args...)
		if out, code := run(t, "Subject: "+subject+"\n\nx\n", tools, argv...); code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
	}
	send(65534, "first", "-f", "president@elsewhere.test", "alice@example.test")
	mustSay(t, s.mail("alice", 1)[0], "Return-Path: <nobody@example.test>", "from userid 65534)", "Subject: first")
	s.proc.Await(t, "the sender of local mail is not the user's")
	s.stop()
	send(65534, "second", "alice@example.test")
	send(0, "third", "-f", "president@elsewhere.test", "alice@example.test")
	list, err := filepath.Glob(drop + "/*.mail")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	// Whoever forges a file forges one of their own.
	for _, path := range list {
		if out, code := run(t, "", tools, program(t, "setpriv"), "--reuid", "1234", "--regid", "1234", "--clear-groups", "cat", path); code == 0 {
			t.Errorf("anybody may read it: %s", out)
		}
	}
	if out, code := run(t, "", tools, program(t, "setpriv"), "--reuid", "1234", "--regid", "1234", "--clear-groups", "rm", "-f", list[0]); code == 0 {
		t.Errorf("anybody may remove it: %s", out)
	}
	// A second of one is no second message, whatever it is called.
	must(t, "cp", "-p", list[0], filepath.Join(drop, "again.mail"))
	s.start()
	got := strings.Join(s.mail("alice", 3), "\n")
	mustSay(t, got, "Subject: second", "Subject: third", "Return-Path: <president@elsewhere.test>")
	eventually(t, "an empty directory", 5*time.Second, func() bool {
		list, err := filepath.Glob(drop + "/*.mail")
		return err == nil && len(list) == 0
	})
	s.mail("alice", 3)
	// Who may not read the configuration holds to limits that may be others.
	s.stop()
	check(t, os.WriteFile(s.config(), []byte(read(t, s.config())+"recipient_limit = 100\n"), 0o644))
	s.start()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("alice+%d@example.test", i)
	}
	if out, code := run(t, "nobody\n", "", mtadPath, "-c", s.config(), "user", "add", "nobody@example.test", "--password-stdin"); code != 0 {
		t.Fatal(out)
	}
	send(65534, "many", many...)
	mustSay(t, s.mail("nobody", 1)[0], "Subject: Mail was not taken", "101 recipients, recipient_limit is 100")
	s.mail("alice", 3)
}
