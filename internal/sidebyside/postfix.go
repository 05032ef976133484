package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
maillog_file = %[1]s/log
maillog_file_prefixes = /
disable_dns_lookups = yes
default_process_limit = 200
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
in_flow_delay = 0
smtp_tls_security_level = none
`

const masterCF = `127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts an instance of its own, which asks the milters that listen
// on these sockets.
func startPostfix(dir string, m mode, milters ...string) (*system, error) {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &system{name: "postfix", addr: fmt.Sprintf("127.0.0.1:%d", port), mode: m, count: func() (int, error) { return 0, nil }}
	text := fmt.Sprintf(mainCF, dir)
	for i, socket := range milters {
		text += map[bool]string{true: "smtpd_milters =\n", false: ""}[i == 0] + "  unix:" + socket + "\n"
	}
	etc, mail := filepath.Join(dir, "etc"), filepath.Join(dir, "mail")
	var to *sink
	switch m {
	case discard:
		text += "default_transport = discard:\nrelay_domains =\n"
	case mailbox:
		text += fmt.Sprintf("virtual_mailbox_domains = example.test\nvirtual_mailbox_base = %s\nvirtual_mailbox_maps = static:box/\n", mail) +
			fmt.Sprintf("virtual_uid_maps = static:%s\nvirtual_gid_maps = static:%s\nvirtual_mailbox_limit = 0\n", owner.Uid, owner.Gid)
		s.count = func() (int, error) {
			names, err := os.ReadDir(filepath.Join(mail, "box", "new"))
			if errors.Is(err, os.ErrNotExist) {
				return 0, nil
			}
			return len(names), err
		}
	case relay:
		if to, err = startSink(); err != nil {
			return nil, err
		}
		text += fmt.Sprintf("relayhost = [127.0.0.1]:%d\n", to.port)
		s.count = func() (int, error) { return int(to.total.Load()), nil }
	}
	for _, d := range []string{etc, mail, filepath.Join(dir, "spool"), filepath.Join(dir, "data")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(etc, "main.cf"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(etc, "master.cf"), fmt.Appendf(nil, masterCF, port), 0o644),
		exec.Command("chown", owner.Uid+":"+owner.Gid, mail, filepath.Join(dir, "data")).Run(),
	)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if out, err := exec.Command("postfix", "-c", etc, "start").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix start: %w: %s", err, out)
	}
	s.stop = func() {
		exec.Command("postfix", "-c", etc, "stop").Run()
		if to != nil {
			to.stop()
		}
	}
	greeted, err := awaitBanner(s.addr)
	if err != nil {
		s.stop()
		return nil, err
	}
	s.startMS = float64(greeted.Sub(begin)) / float64(time.Millisecond)
	pid, err := os.ReadFile(filepath.Join(dir, "spool/pid/master.pid"))
	if err == nil {
		s.pid, err = strconv.Atoi(strings.TrimSpace(string(pid)))
	}
	s.idle = s.memory()
	return s, err
}
