package mtatest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
alias_maps =
alias_database =
maillog_file = DIR/maillog
maillog_file_prefixes = DIR
smtp_host_lookup = native
disable_dns_lookups = yes
import_environment = MAIL_CONFIG TZ LANG=C
default_transport = smtp:[127.0.0.1]:NEXT
milter_default_action = tempfail
milter_content_timeout = 60s
local_header_rewrite_clients =
smtputf8_enable = no
`

const postfixMaster = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
local unix - n n - - local
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// Postfix runs a private Postfix that gives all mail to the next hop, HOST:PORT.
// It listens once for each milter, with that milter alone, and without one where
// it is empty; Postfix returns where, in that order. It needs root.
func Postfix(t testing.TB, next string, milters ...string) (addrs []string) {
	t.Helper()
	_, addrs = PostfixWith(t, "", next, milters...)
	return addrs
}

// override puts settings behind a main.cf, without its lines for the same parameters: of
// those each of Postfix's programs would warn, postlogd too, which then waits for itself
// where its socket is full of the others' warnings.
func override(main, settings string) string {
	key := func(line string) string {
		name, _, _ := strings.Cut(line, "=")
		return strings.TrimSpace(name)
	}
	own := map[string]bool{}
	for line := range strings.Lines(settings) {
		own[key(line)] = true
	}
	var out strings.Builder
	for line := range strings.Lines(main) {
		if !own[key(line)] {
			out.WriteString(line)
		}
	}
	return out.String() + settings
}

// PostfixWith is Postfix with lines of main.cf besides; etc is where that is.
func PostfixWith(t testing.TB, settings, next string, milters ...string) (etc string, addrs []string) {
	t.Helper()
	bin := Program(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("starting Postfix needs root")
	}
	dir := OpenDir(t)
	_, port, err := net.SplitHostPort(next)
	Check(t, err)
	master := postfixMaster
	for _, m := range milters {
		addr := Local(FreePort(t))
		master += addr + " inet n - n - - smtpd -o smtpd_milters=" + m + "\n"
		addrs = append(addrs, addr)
	}
	for _, sub := range []string{"etc", "spool", "data"} {
		Check(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	etc = filepath.Join(dir, "etc")
	fill := strings.NewReplacer("DIR", dir, "NEXT", port)
	for name, text := range map[string]string{"main.cf": override(fill.Replace(postfixMain), settings), "master.cf": master} {
		Write(t, filepath.Join(etc, name), text)
		Check(t, os.Chmod(filepath.Join(etc, name), 0o644))
	}
	Must(t, "chown", "postfix", filepath.Join(dir, "data"))
	Must(t, bin, "-c", etc, "start") // it listens when this returns
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		stop := exec.CommandContext(ctx, bin, "-c", etc, "abort")
		stop.WaitDelay = time.Second
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("postfix abort: %v\n%s", err, out)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "maillog"))
			t.Logf("Postfix said:\n%s", log)
		}
	})
	return etc, addrs
}
