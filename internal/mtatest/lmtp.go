package mtatest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// LMTPStore is a mail store of somebody else, which takes mail by LMTP.
type LMTPStore struct {
	Socket string // its path
	Addr   string // host:port
	mail   string // where it keeps mail
}

// Has reports whether the store has a message of that text in a place whose path
// has the name.
func (s *LMTPStore) Has(t testing.TB, name, text string) bool {
	t.Helper()
	found := false
	Check(t, filepath.WalkDir(s.mail, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(path, name) {
			return nil // files come and go
		}
		b, err := os.ReadFile(path)
		found = found || err == nil && strings.Contains(string(b), text)
		return nil
	}))
	return found
}

const dovecotConf = `base_dir = DIR/run
state_dir = DIR/run
log_path = DIR/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
mail_location = maildir:DIR/mail/%n
first_valid_uid = 1
mail_plugins = quota
userdb {
  driver = passwd-file
  args = username_format=%n DIR/users
}
passdb {
  driver = passwd-file
  args = username_format=%n DIR/users
}
service lmtp {
  unix_listener DIR/lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
protocol lmtp {
  postmaster_address = postmaster@store.test
}
plugin {
  quota = maildir:User quota
}
`

// Dovecot runs a private Dovecot that takes mail by LMTP for alice and bob, and
// for full, whose mailbox is. It needs root.
func Dovecot(t testing.TB) *LMTPStore {
	t.Helper()
	bin := Program(t, "dovecot")
	Program(t, "/usr/lib/dovecot/lmtp")
	NeedRoot(t, "starting Dovecot")
	dir, port := OpenDir(t), FreePort(t)
	users := ""
	for _, u := range []string{"alice", "bob", "full"} {
		users += u + ":{PLAIN}x:65534:65534::DIR/mail/" + u + "::"
		if u == "full" {
			users += "userdb_quota_rule=*:bytes=10"
		}
		users += "\n"
	}
	fill := strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(port))
	Write(t, filepath.Join(dir, "users"), fill.Replace(users))
	Check(t, os.Chmod(filepath.Join(dir, "users"), 0o644))
	Write(t, filepath.Join(dir, "dovecot.conf"), fill.Replace(dovecotConf))
	Check(t, os.Mkdir(filepath.Join(dir, "mail"), 0o777))
	Check(t, os.Chmod(filepath.Join(dir, "mail"), 0o777))
	proc := Spawn(t, dir, 2*time.Second, bin, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	proc.AwaitSocket(t, "tcp", Local(port))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Dovecot said:\n%s", log)
		}
	})
	return &LMTPStore{Socket: filepath.Join(dir, "lmtp"), Addr: Local(port), mail: filepath.Join(dir, "mail")}
}

const cyrusConf = `configdirectory: DIR/conf
defaultpartition: default
partition-default: DIR/mail
cyrus_user: nobody
cyrus_group: nogroup
admins: admin
autocreate_quota: 0
autocreate_post: 1
lmtpsocket: DIR/sock/lmtp
proc_path: DIR/proc
mboxname_lockpath: DIR/lock
`

const cyrusServices = `START {
}
SERVICES {
  unix cmd="BIN/lmtpd -a -C DIR/imapd.conf" listen="DIR/sock/lmtp" prefork=0
  inet cmd="BIN/lmtpd -a -C DIR/imapd.conf" listen="ADDR" prefork=0
}
EVENTS {
}
`

// Unpacked is a program of a Debian package that can not be installed beside others:
// .ci/peers.sh unpacks it into .cache/peers; here is a copy where every user may
// run it. libraries is the environment that finds those that came with it.
func Unpacked(t testing.TB, root, peer, path string) (bin, libraries string) {
	t.Helper()
	from := filepath.Join(root, ".cache/peers", peer)
	Program(t, filepath.Join(from, path))
	dir := OpenDir(t)
	Must(t, "cp", "-r", filepath.Join(from, "usr"), dir)
	libs, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu"))
	Check(t, err)
	return filepath.Join(dir, path), "LD_LIBRARY_PATH=" + strings.Join(libs, ":")
}

// Cyrus runs a private Cyrus that takes mail by LMTP for everybody. It needs root;
// root is the repository's.
func Cyrus(t testing.TB, root string) *LMTPStore {
	t.Helper()
	master, libraries := Unpacked(t, root, "cyrus", "usr/lib/cyrus/bin/master")
	NeedRoot(t, "starting Cyrus")
	dir, addr := OpenDir(t), Local(FreePort(t))
	fill := strings.NewReplacer("DIR", dir, "BIN", filepath.Dir(master), "ADDR", addr)
	Write(t, filepath.Join(dir, "imapd.conf"), fill.Replace(cyrusConf))
	Write(t, filepath.Join(dir, "cyrus.conf"), fill.Replace(cyrusServices))
	for _, sub := range []string{"conf", "conf/db", "conf/proc", "conf/socket", "mail", "proc", "lock", "sock"} {
		Check(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	Must(t, "chown", "-R", "nobody:nogroup", dir)
	cmd := exec.Command(master, "-C", filepath.Join(dir, "imapd.conf"), "-M", filepath.Join(dir, "cyrus.conf"), "-p", filepath.Join(dir, "pid"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), libraries)
	p := &Process{Cmd: cmd, Out: &Buffer{}, Exited: make(chan struct{})}
	p.Start(t, 2*time.Second)
	p.AwaitSocket(t, "tcp", addr)
	return &LMTPStore{Socket: filepath.Join(dir, "sock/lmtp"), Addr: addr, mail: filepath.Join(dir, "mail")}
}
