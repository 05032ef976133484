// Command sidebyside measures mtad beside Debian's Postfix, in one run that
// alternates them, so that what the machine does meanwhile meets both alike:
//
//	go run ./internal/sidebyside -mtad ./mtad -messages 2000 -rounds 3
//
// The load is Postfix's smtp-source, 10 KiB a message, over loopback; what is
// measured is the time until the last message is in a mailbox (Maildir for
// Postfix, INBOX for mtad, with the Deliver stage running a Sieve script for
// each). It prints messages a second, the ratio and its spread. It needs root
// and Postfix, whose instance is private: own configuration, queue and port.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// system is one of the two servers.
type system struct {
	name  string
	addr  string
	count func() (int, error) // messages in the mailbox
	stop  func()
}

// load is one kind of row.
type load struct {
	name string
	args []string
}

var loads = []load{
	{"20 sessions, new connection each", []string{"-s", "20"}},
	{"20 sessions, connections reused", []string{"-s", "20", "-d"}},
	{"1 session", []string{"-s", "1", "-d"}},
	{"100 sessions, connections reused", []string{"-s", "100", "-d"}},
}

func main() {
	mtad := flag.String("mtad", "./mtad", "the binary")
	messages := flag.Int("messages", 1000, "messages a round")
	rounds := flag.Int("rounds", 3, "rounds of each server")
	flag.Parse()
	if err := compare(*mtad, *messages, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

func compare(mtad string, messages, rounds int) error {
	for _, p := range []string{"smtp-source", "postfix"} {
		if _, err := exec.LookPath(p); err != nil {
			fmt.Printf("skipped: %s is not installed (make peers)\n", p)
			return nil
		}
	}
	if os.Getuid() != 0 {
		fmt.Println("skipped: a private Postfix needs root")
		return nil
	}
	dir, err := os.MkdirTemp("", "sidebyside-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	pf, err := startPostfix(filepath.Join(dir, "postfix"))
	if err != nil {
		return err
	}
	defer pf.stop()
	mt, err := startMtad(filepath.Join(dir, "mtad"), mtad)
	if err != nil {
		return err
	}
	defer mt.stop()
	fmt.Printf("%-36s %12s %12s   %s\n", "accept to mailbox, 10 KiB", "postfix/s", "mtad/s", "ratio (lowest to highest)")
	for _, l := range loads {
		if err := row(l, pf, mt, messages, rounds); err != nil {
			return err
		}
	}
	return nil
}

// row alternates the servers and prints medians.
func row(l load, a, b *system, messages, rounds int) error {
	var as, bs, ratios []float64
	for range rounds {
		x, err := a.run(l, messages)
		if err != nil {
			return err
		}
		y, err := b.run(l, messages)
		if err != nil {
			return err
		}
		as, bs, ratios = append(as, x), append(bs, y), append(ratios, y/x)
	}
	slices.Sort(ratios)
	fmt.Printf("%-36s %12.0f %12.0f   %.1f (%.1f to %.1f)\n", l.name, median(as), median(bs), median(ratios), ratios[0], ratios[len(ratios)-1])
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// run sends the messages and waits until all are in the mailbox; it returns
// messages a second.
func (s *system) run(l load, messages int) (float64, error) {
	before, err := s.count()
	if err != nil {
		return 0, err
	}
	args := append(slices.Clone(l.args), "-m", fmt.Sprint(messages), "-l", "10240", "-f", "a@sender.test", "-t", "box@example.test", s.addr)
	begin := time.Now()
	if out, err := exec.Command("smtp-source", args...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: smtp-source: %w: %s", s.name, err, out)
	}
	for deadline := begin.Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n, err := s.count()
		if err != nil {
			return 0, err
		}
		if n-before >= messages {
			return float64(messages) / time.Since(begin).Seconds(), nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s: %d of %d messages arrived", s.name, n-before, messages)
		}
	}
}

// freePort is a port nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitPort waits for a listener.
func waitPort(addr string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

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
in_flow_delay = 0
virtual_mailbox_domains = example.test
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:%[2]s
virtual_gid_maps = static:%[3]s
virtual_mailbox_limit = 0
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
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts an instance of its own that stores into a Maildir.
func startPostfix(dir string) (*system, error) {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	etc, mail := filepath.Join(dir, "etc"), filepath.Join(dir, "mail")
	for _, d := range []string{etc, mail, filepath.Join(dir, "spool"), filepath.Join(dir, "data")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(etc, "main.cf"), fmt.Appendf(nil, mainCF, dir, owner.Uid, owner.Gid), 0o644),
		os.WriteFile(filepath.Join(etc, "master.cf"), fmt.Appendf(nil, masterCF, port), 0o644),
		exec.Command("chown", owner.Uid+":"+owner.Gid, mail, filepath.Join(dir, "data")).Run(),
	)
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("postfix", "-c", etc, "start").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix start: %w: %s", err, out)
	}
	s := &system{name: "postfix", addr: fmt.Sprintf("127.0.0.1:%d", port)}
	s.stop = func() { exec.Command("postfix", "-c", etc, "stop").Run() }
	s.count = func() (int, error) {
		names, err := os.ReadDir(filepath.Join(mail, "box", "new"))
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil
		}
		return len(names), err
	}
	return s, waitPort(s.addr)
}

const mtadHCL = `hostname = "mx.example.test"
myorigin = "example.test"
data_dir = "data"
dns_zone = "zone.txt"
listener "mx" {
  addr     = ["127.0.0.1:%d"]
  pipeline = "inbound"
}
listener "imap" {
  protocol = "imap"
  addr     = ["127.0.0.1:%d"]
}
pipeline "inbound" {
}
pipeline "delivery" {
  filter "sieve" { script = "sort.sieve" }
}
`

const script = `require "fileinto";
if header :contains "subject" ["lottery", "casino"] { fileinto "Junk"; }
elsif address :is "from" "boss@example.test" { keep; }
`

// startMtad starts the binary with one account and counts by IMAP.
func startMtad(dir, binary string) (*system, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	smtp, err := freePort()
	if err != nil {
		return nil, err
	}
	imap, err := freePort()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "mtad.hcl")
	err = errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(config, fmt.Appendf(nil, mtadHCL, smtp, imap), 0o644),
		os.WriteFile(filepath.Join(dir, "zone.txt"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "sort.sieve"), []byte(script), 0o644),
	)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", "-c", config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return nil, err
	}
	s := &system{name: "mtad", addr: fmt.Sprintf("127.0.0.1:%d", smtp)}
	s.stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	imapAddr := fmt.Sprintf("127.0.0.1:%d", imap)
	s.count = func() (int, error) { return countIMAP(imapAddr) }
	if err := waitPort(s.addr); err != nil {
		s.stop()
		return nil, err
	}
	for _, args := range [][]string{{"domain", "add", "example.test"}, {"user", "add", "box@example.test", "--password-stdin"}} {
		c := exec.Command(binary, append(args, "-c", config)...)
		c.Stdin = strings.NewReader("secret\n")
		if out, err := c.CombinedOutput(); err != nil {
			s.stop()
			return nil, fmt.Errorf("mtad %v: %w: %s", args, err, out)
		}
	}
	return s, nil
}

// countIMAP asks for the number of messages in INBOX.
func countIMAP(addr string) (n int, err error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprint(c, "a LOGIN box@example.test secret\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\n"); err != nil {
		return 0, err
	}
	sc := bufio.NewScanner(c)
	for sc.Scan() {
		if _, after, ok := strings.Cut(sc.Text(), "(MESSAGES "); ok {
			_, err := fmt.Sscanf(after, "%d)", &n)
			return n, err
		}
	}
	return 0, errors.Join(errors.New("imap: no STATUS"), sc.Err())
}
