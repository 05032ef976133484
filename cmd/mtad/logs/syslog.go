package logs

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mtad/trace/postfix"
)

// facilities are syslog's numbers (RFC 5424, 6.2.1), those that a program may use.
var facilities = map[string]int{
	"user": 1, "mail": 2, "daemon": 3, "auth": 4, "lpr": 6, "news": 7, "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

var facilityNames = slices.Sorted(func(yield func(string) bool) {
	for name := range facilities {
		if !yield(name) {
			return
		}
	}
})

// Bounds of what waits for syslog.
const (
	syslogQueue = 4096        // lines
	syslogLine  = 8000        // octets of one; rsyslog takes 8 KB
	syslogWrite = time.Second // that the daemon may take for a line
	syslogPause = time.Second // between tries to reach it
	syslogClose = 2 * time.Second
	quietTime   = time.Minute // between complaints on standard error
)

// defaultSocket is where libc's syslog(3) writes.
const defaultSocket = "/dev/log"

// socketOf reads log_to: ok says that it is syslog.
func socketOf(to string) (path string, ok bool) {
	if to == "syslog" {
		return defaultSocket, true
	}
	return strings.CutPrefix(to, "syslog:")
}

// CheckTo says what is wrong with log_to, "" if nothing is.
func CheckTo(to string) string {
	path, ok := socketOf(to)
	switch {
	case to == "stderr" || ok && strings.HasPrefix(path, "/"):
		return ""
	case ok:
		return fmt.Sprintf("%q is no absolute path of a socket", path)
	}
	return fmt.Sprintf("%q is neither stderr nor syslog nor syslog:/path", to)
}

// syslog sends lines to the daemon, in the form of libc's syslog(3) (RFC 3164).
// Whoever logs never waits for it: what does not fit is lost and counted.
type syslog struct {
	path     string
	facility int
	complain func(string)
	lines    chan postfix.Line
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once

	mu    sync.Mutex
	lost  int       // since the daemon was last told
	quiet time.Time // until when nothing is said on standard error

	conn net.Conn // of run
}

func openSyslog(path string, facility int, complain func(string)) *syslog {
	s := &syslog{
		path: path, facility: facility, complain: complain,
		lines: make(chan postfix.Line, syslogQueue), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go s.run()
	return s
}

func (s *syslog) send(l postfix.Line) {
	select {
	case s.lines <- l:
	default:
		s.lose(errors.New("it takes no more lines"))
	}
}

// lose counts a line that is lost, and says so now and then.
func (s *syslog) lose(why error) {
	s.mu.Lock()
	s.lost++
	say := time.Now().After(s.quiet)
	if say {
		s.quiet = time.Now().Add(quietTime)
	}
	s.mu.Unlock()
	if say {
		s.complain(fmt.Sprintf("log lines are being lost: syslog at %s: %v", s.path, why))
	}
}

// close sends what waits, for a little while.
func (s *syslog) close() {
	s.once.Do(func() { close(s.stop) })
	select {
	case <-s.done:
	case <-time.After(syslogClose):
	}
}

// run is the only goroutine that uses the connection.
func (s *syslog) run() {
	defer close(s.done)
	defer func() {
		if s.conn != nil {
			s.conn.Close()
		}
	}()
	for {
		select {
		case l := <-s.lines:
			s.deliver(l)
		case <-s.stop:
			for len(s.lines) > 0 {
				s.deliver(<-s.lines)
			}
			return
		}
	}
}

// deliver sends a line, and tries until the daemon has it or the server stops.
func (s *syslog) deliver(l postfix.Line) {
	for {
		err := s.write(l)
		switch {
		case err == nil:
			s.tellLost()
			return
		case errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.EINVAL):
			s.lose(err)
			return
		}
		select {
		case <-s.stop:
			s.lose(err)
			return
		case <-time.After(syslogPause):
		}
	}
}

// write sends a line, over a new connection if the old one is broken: the daemon
// may have been restarted.
func (s *syslog) write(l postfix.Line) error {
	b := s.format(l)
	var err error
	for range 2 {
		if s.conn == nil {
			if s.conn, err = net.Dial("unixgram", s.path); err != nil {
				return err
			}
		}
		if err = s.conn.SetWriteDeadline(time.Now().Add(syslogWrite)); err == nil {
			_, err = s.conn.Write(b)
		}
		if err == nil || errors.Is(err, syscall.EMSGSIZE) {
			return err
		}
		s.conn.Close()
		s.conn = nil
	}
	return err
}

func (s *syslog) format(l postfix.Line) []byte {
	text := postfix.Clean(l.Text)
	if len(text) > syslogLine {
		text = strings.ToValidUTF8(text[:syslogLine], "")
	}
	return fmt.Appendf(nil, "<%d>%s %s[%d]: %s", s.facility<<3|int(l.Severity), l.Time.Local().Format(time.Stamp), l.Program, l.PID, text)
}

// tellLost tells the daemon what it missed.
func (s *syslog) tellLost() {
	s.mu.Lock()
	n := s.lost
	s.mu.Unlock()
	if n == 0 {
		return
	}
	err := s.write(postfix.Line{
		Time: time.Now(), Program: program, PID: ownPID, Severity: postfix.Warning,
		Text: fmt.Sprintf("warning: %d log lines were lost: syslog did not take them", n),
	})
	if err == nil {
		s.mu.Lock()
		s.lost -= n
		s.mu.Unlock()
	}
}
