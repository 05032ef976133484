//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mail goes from one server to Postfix, from there to another server, and is
// read: below the three Received fields nothing has changed.
func TestThroughPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	far := start(t)
	far.do("domain", "add", "far.test")
	far.do("alias", "add", "@far.test", "carol@example.test")
	_, port, err := net.SplitHostPort(postfix(t, "", far.SMTP))
	check(t, err)
	near := start(t, func(s *server, text string) string {
		return replace(local(s.Sink), "127.0.0.1:"+port)(s, text)
	})
	carol := far.login("carol")
	for i, text := range []string{"Hello.", ".\n..\n.dots\n", "Gr\xc3\xbc\xc3\x9fe \xff\n\n\n", lines(3 << 20), ""} {
		data := letter("alice@example.test", "x@far.test", fmt.Sprintf("by way of Postfix %d", i), strings.TrimSuffix(text, "\r\n"))
		if i == 3 {
			data = letter("alice@example.test", "x@far.test", "big", "") + text
		}
		check(t, submit(t, local(near.SMTP), "alice@example.test", []string{"x@far.test"}, data))
		msg := carol.await("INBOX", i+1)[i]
		if !strings.HasSuffix(msg, data) {
			t.Errorf("message %d arrived as\n%.2000q", i, msg)
		}
		if n := strings.Count(msg, "\r\nReceived: "); n != 3 {
			t.Errorf("message %d has %d Received fields", i, n)
		}
		mustSay(t, msg, "Return-Path: <alice@example.test>", "(Postfix) with ESMTP", "Delivered-To: carol@example.test")
	}
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.test
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
smtpd_milters = MILTER
milter_default_action = tempfail
milter_content_timeout = 60s
local_header_rewrite_clients =
smtputf8_enable = no
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// postfix runs a private Postfix, with a milter if milter is not empty, which
// gives all mail to the next hop, and returns where it listens.
func postfix(t *testing.T, milter string, next int) (addr string) {
	t.Helper()
	bin := program(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("starting Postfix needs root")
	}
	dir, port := openDir(t), freePort(t)
	fill := strings.NewReplacer("DIR", dir, "NEXT", fmt.Sprint(next), "MILTER", milter, "PORT", fmt.Sprint(port))
	for _, sub := range []string{"etc", "spool", "data"} {
		check(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	for name, text := range map[string]string{"main.cf": postfixMain, "master.cf": postfixMaster} {
		path := filepath.Join(dir, "etc", name)
		write(t, path, fill.Replace(text))
		check(t, os.Chmod(path, 0o644))
	}
	must(t, "chown", "postfix", dir+"/data")
	must(t, bin, "-c", dir+"/etc", "start")
	t.Cleanup(func() {
		if out, err := exec.Command(bin, "-c", dir+"/etc", "abort").CombinedOutput(); err != nil {
			t.Errorf("postfix abort: %v\n%s", err, out)
		}
		if t.Failed() {
			log, _ := os.ReadFile(dir + "/maillog")
			t.Logf("Postfix said:\n%s", log)
		}
	})
	return local(port)
}
