package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mode is what a server does with what it accepts.
type mode int

const (
	discard mode = iota
	mailbox
	relay
)

func (m mode) String() string { return [...]string{"accept", "mailbox", "relay"}[m] }

// system is one of the two servers.
type system struct {
	name    string
	addr    string
	pid     int
	count   func() (int, error) // messages that have arrived where they go
	stop    func()
	startMS float64 // from the command to the banner
	idle    int64   // octets of memory then
	mode    mode
	milters []int     // processes that work for it and the other one
	beside  []float64 // milliseconds of theirs a message, each run
}

// run sends messages and waits until all are where they go. It returns messages
// a second, and milliseconds of processor time a message.
func (s *system) run(l load, messages int) (rate, cpu float64, err error) {
	before, err := s.count()
	if err != nil {
		return 0, 0, err
	}
	used, beside, begin := s.cpu(), cpuOf(s.milters), time.Now()
	if messages, err = send(s, l, messages); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", s.name, err)
	}
	for deadline := begin.Add(3 * time.Minute); s.mode != discard; time.Sleep(3 * time.Millisecond) {
		n, err := s.count()
		if err != nil {
			return 0, 0, err
		}
		if n-before >= messages {
			break
		}
		if time.Now().After(deadline) {
			return 0, 0, fmt.Errorf("%s: %d of %d messages arrived", s.name, n-before, messages)
		}
	}
	rate = float64(messages) / time.Since(begin).Seconds()
	if err := s.settle(); err != nil {
		return 0, 0, err
	}
	s.beside = append(s.beside, (cpuOf(s.milters)-beside)*1000/float64(messages))
	return rate, (s.cpu() - used) * 1000 / float64(messages), nil
}

// settle waits until the server does nothing more.
func (s *system) settle() error {
	for last, end := -1.0, time.Now().Add(time.Minute); ; {
		now := s.cpu()
		if now-last < 0.01 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not come to rest", s.name)
		}
		last = now
		time.Sleep(200 * time.Millisecond)
	}
}

// send runs smtp-source and returns how many messages were sent.
func send(s *system, l load, messages int) (int, error) {
	rcpt := map[mode]string{discard: "box@example.test", mailbox: "box@example.test", relay: "user@d0.test"}[s.mode]
	if l.domains < 2 {
		return messages, source(s.addr, rcpt, l.args, messages)
	}
	each := max(1, messages/l.domains)
	errs := make([]error, l.domains)
	var wg sync.WaitGroup
	places := make(chan struct{}, 20)
	for i := range l.domains {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			errs[i] = source(s.addr, fmt.Sprintf("user@d%d.test", i), l.args, each)
		})
	}
	wg.Wait()
	return each * l.domains, errors.Join(errs...)
}

func source(addr, rcpt string, args []string, messages int) error {
	args = append(slices.Clone(args), "-m", fmt.Sprint(messages), "-l", "10240", "-f", "a@sender.test", "-t", rcpt, addr)
	if out, err := exec.Command("smtp-source", args...).CombinedOutput(); err != nil || strings.Contains(string(out), "fatal") {
		return fmt.Errorf("smtp-source: %w: %s", err, out)
	}
	return nil
}

// family are the processes of a server: the first one and all below it.
func (s *system) family() []int {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if f := statFields(path); len(f) > 1 {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	var out []int
	for pid := range parents {
		for at := pid; at > 1; at = parents[at] {
			if at == s.pid {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// statFields are the fields of /proc/PID/stat from the state on (proc(5)).
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil // it has ended
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)
}

// cpu is the seconds of processor time that the server has used, children that
// have ended among them.
func (s *system) cpu() (seconds float64) { return cpuOf(s.family()) }

func cpuOf(pids []int) (seconds float64) {
	const perSecond = 100 // USER_HZ
	for _, pid := range pids {
		f := statFields(fmt.Sprintf("/proc/%d/stat", pid))
		for i := 11; i <= 14 && i < len(f); i++ { // utime, stime, cutime, cstime
			n, _ := strconv.ParseFloat(f[i], 64)
			seconds += n / perSecond
		}
	}
	return seconds
}

var (
	pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)
	rssLine = regexp.MustCompile(`(?m)^Rss:\s+(\d+) kB`)
)

// memory is the server's proportional set size in octets.
func (s *system) memory() int64 { return rollup(s.family(), pssLine) }

// rollup adds up what a line of /proc/PID/smaps_rollup says, in octets.
func rollup(pids []int, line *regexp.Regexp) (octets int64) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if m := line.FindSubmatch(b); err == nil && m != nil {
			n, _ := strconv.ParseInt(string(m[1]), 10, 64)
			octets += n << 10
		}
	}
	return octets
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

// awaitBanner waits until a server greets, and returns when.
func awaitBanner(addr string) (time.Time, error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.SetDeadline(deadline)
			_, err = bufio.NewReader(c).ReadString('\n')
			now := time.Now()
			io.WriteString(c, "QUIT\r\n")
			c.Close()
			if err == nil {
				return now, nil
			}
		}
		if time.Now().After(deadline) {
			return time.Time{}, err
		}
	}
}

// transactions sends messages one after the other on one connection and returns
// the milliseconds of each, from MAIL to the last reply.
func transactions(addr string, n int) ([]float64, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	reply := func(want byte) error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if line[0] != want {
				return fmt.Errorf("unexpected reply %q", line)
			}
			if line[3] == ' ' {
				return nil
			}
		}
	}
	say := func(text string, want byte) error {
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		return reply(want)
	}
	data := "From: a@sender.test\r\nTo: box@example.test\r\nSubject: x\r\n\r\n" + strings.Repeat(strings.Repeat("X", 78)+"\r\n", 128) + ".\r\n"
	if err := errors.Join(reply('2'), say("EHLO bench.test\r\n", '2')); err != nil {
		return nil, err
	}
	var out []float64
	for range n {
		begin := time.Now()
		err := errors.Join(say("MAIL FROM:<a@sender.test>\r\n", '2'), say("RCPT TO:<box@example.test>\r\n", '2'), say("DATA\r\n", '3'), say(data, '2'))
		if err != nil {
			return nil, err
		}
		out = append(out, float64(time.Since(begin))/float64(time.Millisecond))
	}
	return out, nil
}

// sink is smtp-sink, which counts what it gets.
type sink struct {
	port  int
	cmd   *exec.Cmd
	total atomic.Int64
}

var sinkCount = regexp.MustCompile(`mesg=(\d+)`)

func startSink() (*sink, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &sink{port: port, cmd: exec.Command("smtp-sink", "-c", "-u", "nobody", fmt.Sprintf("127.0.0.1:%d", port), "1024")}
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			if m := sinkCount.FindAllSubmatch(buf[:n], -1); m != nil {
				count, _ := strconv.ParseInt(string(m[len(m)-1][1]), 10, 64)
				s.total.Store(count)
			}
			if err != nil {
				return
			}
		}
	}()
	_, err = awaitBanner(fmt.Sprintf("127.0.0.1:%d", port))
	return s, err
}

func (s *sink) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}
