package dev

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// Sink is where dev mode's mail to foreign domains ends: a go-smtp server, so
// that somebody else's implementation sits at the other end, which keeps the
// last messages as files.
type Sink struct {
	dir    string
	server *gosmtp.Server
	mu     sync.Mutex
	count  int
}

// sinkKeeps is how many messages a sink keeps.
const sinkKeeps = 100

// StartSink listens at a port of loopback and keeps messages in dir, which must
// be there.
func StartSink(dir string, port int) (*Sink, error) {
	s := &Sink{dir: dir}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	s.server = gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{sink: s}, nil }))
	s.server.Domain = "sink.test"
	s.server.MaxLineLength = 1 << 20 // its default refuses what other hosts take
	s.server.EnableSMTPUTF8, s.server.EnableDSN = true, true
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	go s.server.Serve(l)
	return s, nil
}

// Close stops listening and ends the connections.
func (s *Sink) Close() error { return s.server.Close() }

// keep writes a message and removes the oldest beyond sinkKeeps.
func (s *Sink) keep(from string, to []string, r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	name := fmt.Sprintf("%s-%04d.eml", time.Now().Format("20060102-150405"), s.count)
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "X-Envelope-From: <%s>\r\n", from)
	for _, t := range to {
		fmt.Fprintf(f, "X-Envelope-To: <%s>\r\n", t)
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close(), s.prune())
}

func (s *Sink) prune() error {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.eml"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for len(files) > sinkKeeps {
		if err := os.Remove(files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}

type sinkSession struct {
	sink *Sink
	from string
	to   []string
}

func (s *sinkSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.from, s.to = from, nil
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error { return s.sink.keep(s.from, s.to, r) }
func (s *sinkSession) Reset()                 { s.from, s.to = "", nil }
func (s *sinkSession) Logout() error          { return nil }
