package mtatest

import (
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// Delivery is a message that a Hop was given.
type Delivery struct {
	From string
	To   []string
	Data string
	// Asked is what MAIL and each RCPT said of reports: "RET=HDRS ENVID=x",
	// "to NOTIFY=[NEVER] ORCPT=rfc822;to".
	Asked []string
}

// Hop is another mail server, go-smtp's: it takes mail and keeps it.
type Hop struct {
	Addr   string
	refuse func(rcpt string) *gosmtp.SMTPError

	mu  sync.Mutex
	got []Delivery
}

// StartHop starts a host that takes mail at an address; refuse, if not nil, says
// which recipients it does not want.
func StartHop(t testing.TB, addr string, refuse func(rcpt string) *gosmtp.SMTPError) *Hop {
	t.Helper()
	return StartHopWith(t, addr, refuse, func(srv *gosmtp.Server) { srv.EnableDSN = true })
}

// StartHopWith is StartHop with extensions of choice.
func StartHopWith(t testing.TB, addr string, refuse func(rcpt string) *gosmtp.SMTPError, extend func(*gosmtp.Server)) *Hop {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	Check(t, err)
	h := &Hop{Addr: l.Addr().String(), refuse: refuse}
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &hopSession{hop: h}, nil }))
	srv.Domain = "hop.test"
	srv.ErrorLog = log.New(io.Discard, "", 0) // clients of tests are killed
	extend(srv)
	srv.MaxLineLength = 1 << 20 // its default refuses what others take
	srv.ReadTimeout = time.Minute
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return h
}

// Deliveries are the messages that came, in their order.
func (h *Hop) Deliveries() []Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// Take returns the messages that came and forgets them.
func (h *Hop) Take() []Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got = nil
	return got
}

// Await waits for n messages.
func (h *Hop) Await(t testing.TB, n int) []Delivery {
	t.Helper()
	Eventually(t, "mail at the next hop", 2*time.Minute, func() bool { return len(h.Deliveries()) >= n })
	return h.Deliveries()
}

type hopSession struct {
	hop *Hop
	d   Delivery
}

func (s *hopSession) Mail(from string, o *gosmtp.MailOptions) error {
	s.d = Delivery{From: from, Asked: []string{fmt.Sprintf("RET=%s ENVID=%s", o.Return, o.EnvelopeID)}}
	return nil
}

func (s *hopSession) Rcpt(to string, o *gosmtp.RcptOptions) error {
	if s.hop.refuse != nil {
		if err := s.hop.refuse(to); err != nil {
			return err
		}
	}
	s.d.To = append(s.d.To, to)
	s.d.Asked = append(s.d.Asked, fmt.Sprintf("%s NOTIFY=%v ORCPT=%s;%s", to, o.Notify, o.OriginalRecipientType, o.OriginalRecipient))
	return nil
}

func (s *hopSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.d.Data = string(b)
	s.hop.mu.Lock()
	defer s.hop.mu.Unlock()
	s.hop.got = append(s.hop.got, s.d)
	return nil
}

func (s *hopSession) Reset()        {}
func (s *hopSession) Logout() error { return nil }
