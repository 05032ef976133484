package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const mtadHCL = `hostname = "mx.example.test"
myorigin = "example.test"
data_dir = "data"
user     = "nobody"
dns_zone = "zone.txt"
postmaster = "box@example.test"
client_connection_limit = 200
listener "mx" {
  addr     = ["127.0.0.1:%d"]
  pipeline = "inbound"
}
listener "imap" {
  protocol = "imap"
  addr     = ["127.0.0.1:%d"]
}
pipeline "inbound" {
%s}
pipeline "generated" {
}
pipeline "delivery" {
  filter "sieve" { script = "rules.sieve" }
}
`

// What mtad runs for each message.
var scripts = map[mode]string{
	discard: "discard;\n",
	mailbox: `require "fileinto";
if header :contains "subject" ["lottery", "casino"] { fileinto "Junk"; }
elsif address :is "from" "boss@example.test" { keep; }
`,
}

// startMtad starts the binary with one account. The milters that listen on these
// sockets are filters.
func startMtad(dir, binary string, m mode, milters ...string) (*system, error) {
	smtp, err := freePort()
	if err != nil {
		return nil, err
	}
	imap, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &system{name: "mtad", addr: fmt.Sprintf("127.0.0.1:%d", smtp), mode: m, count: func() (int, error) { return 0, nil }}
	config, text := filepath.Join(dir, "mtad.hcl"), fmt.Sprintf(mtadHCL, smtp, imap, milterFilters(milters))
	var to *sink
	switch m {
	case mailbox:
		s.count = func() (int, error) { return countIMAP(fmt.Sprintf("127.0.0.1:%d", imap)) }
	case relay:
		if to, err = startSink(); err != nil {
			return nil, err
		}
		text += fmt.Sprintf("route \"sink\" {\n  to = [\"127.0.0.1:%d\"]\n  security = \"none\"\n}\nrelayhost = \"sink\"\n", to.port)
		s.count = func() (int, error) { return int(to.total.Load()), nil }
	}
	err = errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(config, []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "zone.txt"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "rules.sieve"), []byte(scripts[m]), 0o644),
	)
	if err == nil {
		err = exec.Command("chown", "-R", "nobody:", dir).Run()
	}
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", "-c", config)
	cmd.Stderr = log
	begin := time.Now()
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	s.stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if to != nil {
			to.stop()
		}
	}
	greeted, err := awaitBanner(s.addr)
	s.startMS, s.idle = float64(greeted.Sub(begin))/float64(time.Millisecond), s.memory()
	if err == nil {
		err = addBox(binary, config)
	}
	if err != nil {
		s.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return s, nil
}

func milterFilters(sockets []string) string {
	var b strings.Builder
	for i, socket := range sockets {
		fmt.Fprintf(&b, "  filter \"milter\" \"null%d\" {\n    connect = \"unix:%s\"\n    pure = true\n  }\n", i, socket)
	}
	return b.String()
}

// addBox makes the account.
func addBox(binary, config string) error {
	for _, args := range [][]string{{"domain", "add", "example.test"}, {"user", "add", "box@example.test", "--password-stdin"}} {
		c := exec.Command(binary, append(args, "-c", config)...)
		c.Stdin = strings.NewReader("secret\n")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("mtad %v: %w: %s", args, err, out)
		}
	}
	return nil
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
