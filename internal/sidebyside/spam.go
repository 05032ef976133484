package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"mtad/spam/spamtest"
)

// scorer is a server that judges messages.
type scorer struct {
	*system
	share   int // one in so many of the messages is enough: it is slow
	request func(text []byte) []byte
	ends    bool           // the client ends its side, as spamc does
	score   *regexp.Regexp // in its answer
}

// scorers compares what judges messages: SpamAssassin's spamd, rspamd and mtad.
func (b *bench) scorers() error {
	texts := make([][]byte, 0, 200)
	size := 0
	for _, m := range spamtest.LongCorpus(1, cap(texts)) {
		texts, size = append(texts, m.Text), size+len(m.Text)
	}
	var all []*scorer
	for _, start := range []func(dir string) (*scorer, error){startSpamd, startRspamd, b.startSpamMtad} {
		s, err := start(filepath.Join(b.dir, fmt.Sprint("scorer", len(all))))
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Printf("skipped: %v (make peers)\n", err)
			continue
		}
		if err != nil {
			return err
		}
		defer s.stop()
		if _, err := s.pass(texts[:len(texts)/s.share], 2); err != nil { // what is made ready at first use
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, s)
	}
	fmt.Printf("\n%-36s %10s %10s %10s %10s %10s %10s\n", fmt.Sprintf("spam: %d octets a message", size/len(texts)), "CPU ms", "p50 ms", "p99 ms", "2 clients", "ready ms", "PSS MiB")
	figures := make([][4][]float64, len(all))
	for range b.rounds {
		for i, s := range all {
			if err := s.measure(texts[:len(texts)/s.share], &figures[i]); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	for i, s := range all {
		f := &figures[i]
		fmt.Printf("%-36s %10.2f %10.2f %10.2f %8.0f/s %10.0f %10d\n", "  "+s.name, median(f[0]), median(f[1]), median(f[2]), median(f[3]), s.startMS, s.memory()>>20)
	}
	return nil
}

// measure takes one round: messages one by one, then two at once.
func (s *scorer) measure(texts [][]byte, f *[4][]float64) error {
	used := s.cpu()
	times, err := s.pass(texts, 1)
	if err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	f[0] = append(f[0], (s.cpu()-used)*1000/float64(len(texts)))
	f[1], f[2] = append(f[1], at(times, 0.5)), append(f[2], at(times, 0.99))
	begin := time.Now()
	if _, err := s.pass(texts, 2); err != nil {
		return err
	}
	f[3] = append(f[3], float64(len(texts))/time.Since(begin).Seconds())
	return nil
}

// pass has all messages judged by so many clients, each on a connection of its own, and
// returns how many milliseconds each took.
func (s *scorer) pass(texts [][]byte, clients int) ([]float64, error) {
	times, errs := make([]float64, len(texts)), make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < len(texts) && errs[c] == nil; i += clients {
				begin := time.Now()
				errs[c] = s.ask(texts[i])
				times[i] = time.Since(begin).Seconds() * 1000
			}
		})
	}
	wg.Wait()
	return times, errors.Join(errs...)
}

func (s *scorer) ask(text []byte) error {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(s.request(text)); err != nil {
		return err
	}
	if s.ends {
		c.(*net.TCPConn).CloseWrite()
	}
	answer, err := io.ReadAll(c)
	if err == nil && !s.score.Match(answer) {
		err = fmt.Errorf("an answer without a score: %.200q", answer)
	}
	return err
}

func askSpamd(text []byte) []byte {
	return append(fmt.Appendf(nil, "CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n", len(text)), text...)
}

var spamdScore = regexp.MustCompile(`(?m)^Spam: `)

// begin starts a scorer, and waits until it judges.
func (s *scorer) begin(cmd *exec.Cmd, dir string) (*scorer, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	s.stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	message := bytes.ReplaceAll([]byte("From: a@example.org\nSubject: x\n\ntext\n"), []byte("\n"), []byte("\r\n"))
	for err = s.ask(message); err != nil; err = s.ask(message) {
		if time.Since(begin) > 90*time.Second {
			s.stop()
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("%s: %w\n%s", s.name, err, said)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.startMS = time.Since(begin).Seconds() * 1000
	return s, nil
}

func newScorer(name, dir string) (*scorer, string, error) {
	port, err := freePort()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	s := &scorer{system: &system{name: name, addr: fmt.Sprintf("127.0.0.1:%d", port)}, share: 1, request: askSpamd, ends: true, score: spamdScore}
	return s, fmt.Sprint(port), err
}

// startSpamMtad serves Debian's rules as they are, without tests over the network.
func (b *bench) startSpamMtad(dir string) (*scorer, error) {
	s, _, err := newScorer("mtad", dir)
	if err != nil {
		return nil, err
	}
	return s.begin(exec.Command(b.binary, "spam", "spamd", "--listen", s.addr, "--rules", spamtest.Stock+","+spamtest.Site), dir)
}

// startSpamd starts SpamAssassin's with the same rules, local tests only and no Bayes.
func startSpamd(dir string) (*scorer, error) {
	binary, err := exec.LookPath("spamd")
	if err != nil {
		return nil, err
	}
	s, port, err := newScorer("spamd", dir)
	if err != nil {
		return nil, err
	}
	s.share = 5
	site := filepath.Join(dir, "site")
	if err := errors.Join(exec.Command("cp", "-r", spamtest.Site, site).Run(),
		os.WriteFile(filepath.Join(site, "local.cf"), []byte("use_bayes 0\nuse_razor2 0\nuse_pyzor 0\ndns_available no\n"), 0o644),
		exec.Command("chown", "-R", "nobody:", dir).Run()); err != nil {
		return nil, err
	}
	return s.begin(exec.Command(binary, "-L", "-x", "-i", "127.0.0.1", "-A", "127.0.0.1", "-p", port, "-m", "2", "--min-children=2",
		"--min-spare=1", "--max-spare=2", "-u", "nobody", "--siteconfigpath="+site, "-H", dir, "-s", "stderr"), dir)
}

// rspamdOff are the modules that ask the network or Redis.
var rspamdOff = strings.Fields("rbl spf dkim dmarc arc asn dkim_signing fuzzy_check ratelimit greylist neural reputation history_redis mx_check phishing replies url_redirector maps_stats")

// startRspamd starts rspamd as it comes, without what asks the network, with two workers.
func startRspamd(dir string) (*scorer, error) {
	binary, err := exec.LookPath("rspamd")
	if err != nil {
		return nil, err
	}
	s, port, err := newScorer("rspamd", dir)
	if err != nil {
		return nil, err
	}
	control, err := freePort()
	if err != nil {
		return nil, err
	}
	s.ends, s.score = false, regexp.MustCompile(`"score":`)
	s.request = func(text []byte) []byte {
		return append(fmt.Appendf(nil, "POST /checkv2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n", len(text)), text...)
	}
	etc := filepath.Join(dir, "etc")
	if err := exec.Command("cp", "-r", "/etc/rspamd", etc).Run(); err != nil {
		return nil, err
	}
	files := map[string]string{
		"options.inc":           "pidfile = \"" + dir + "/pid\";\ndns { nameserver = [\"127.0.0.1:1\"]; timeout = 0.01s; retransmits = 1; }\ntemp_dir = \"" + dir + "\";\n",
		"worker-normal.inc":     "count = 2;\nbind_socket = \"127.0.0.1:" + port + "\";\n",
		"worker-controller.inc": fmt.Sprintf("bind_socket = \"127.0.0.1:%d\";\n", control),
		"worker-proxy.inc":      "enabled = false;\n", "worker-fuzzy.inc": "enabled = false;\n",
		"logging.inc": "type = \"console\"; level = \"warning\";\n",
	}
	for _, m := range rspamdOff {
		files[m+".conf"] = "enabled = false;\n"
	}
	override := filepath.Join(etc, "override.d")
	err = errors.Join(os.MkdirAll(override, 0o755), os.MkdirAll(filepath.Join(etc, "local.d"), 0o755))
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(override, name), []byte(text), 0o644))
	}
	if err = errors.Join(err, exec.Command("chown", "-R", "_rspamd:", dir).Run()); err != nil {
		return nil, err
	}
	return s.begin(exec.Command(binary, "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", filepath.Join(etc, "rspamd.conf"), "--var=CONFDIR="+etc,
		"--var=LOCAL_CONFDIR="+etc, "--var=DBDIR="+dir, "--var=RUNDIR="+dir, "--var=LOGDIR="+dir), dir)
}
