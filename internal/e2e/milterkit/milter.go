package milterkit

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// Milter is a milter that does what a script says. A script has a line for each
// event: the event's letter and replies with " ; " between them; several lines of
// one event are about one after the other, and the last stays. A reply is its
// letter and a string in quotes, | for NUL; an event without a script is answered
// with "c". Words in place of a reply:
//
//	silent  nothing is said
//	hangup  the connection ends
//	slow    the milter takes its time
//	raw     octets that need not be a packet
type Milter struct {
	Addr  string // HOST:PORT
	Terms Terms
	Extra string        // after the three numbers of the negotiation
	Greet string        // in place of the negotiation's answer: octets
	Deaf  bool          // nothing is noted
	Names bool          // macros are noted
	Ended chan struct{} // an element for each session that the client ended

	listener net.Listener
	mu       sync.Mutex
	script   map[byte][]string
	count    map[byte]int
	log      []string
	conns    int
	open     int
	gone     chan struct{} // somebody has left
}

// slow is how long a slow milter takes.
const slow = 300 * time.Millisecond

// NewMilter starts a milter.
func NewMilter(t testing.TB, terms Terms) *Milter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	m := &Milter{
		Addr: l.Addr().String(), listener: l, Terms: terms, Ended: make(chan struct{}, 1000), gone: make(chan struct{}, 1),
		script: map[byte][]string{}, count: map[byte]int{},
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.note("connection " + strconv.Itoa(m.next()))
			go func() {
				defer m.left()
				defer c.Close()
				m.serve(c)
			}()
		}
	}()
	t.Cleanup(m.Close)
	return m
}

func (m *Milter) next() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns++
	m.open++
	return m.conns
}

func (m *Milter) left() {
	m.mu.Lock()
	m.open--
	m.mu.Unlock()
	select {
	case m.gone <- struct{}{}:
	default: // one says enough
	}
}

func (m *Milter) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open == 0
}

// AwaitIdle waits until nobody is connected.
func (m *Milter) AwaitIdle(t testing.TB) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !m.idle() {
		select {
		case <-m.gone:
		case <-limit:
			t.Fatal("somebody does not leave the milter")
		}
	}
}

// Conns is how many connections were made.
func (m *Milter) Conns() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns
}

func (m *Milter) note(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, s)
}

// Take returns what was noted since the last time.
func (m *Milter) Take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.log
	m.log = nil
	return out
}

// Follow puts a script in place of what there is.
func (m *Milter) Follow(script string) { m.Become(m.Terms, script) }

// Become is Follow, and changes what the milter negotiates from now on.
func (m *Milter) Become(terms Terms, script string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Terms, m.log = terms, nil
	clear(m.script)
	clear(m.count)
	m.add(script)
}

// Play makes the milter that of a case.
func (m *Milter) Play(c Case) {
	m.Become(c.Terms, c.Script)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Greet = c.Greet
}

// Close makes the milter one that is down.
func (m *Milter) Close() { m.listener.Close() }

// Learn adds lines to the script.
func (m *Milter) Learn(script string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(script)
}

func (m *Milter) add(script string) {
	for line := range strings.Lines(script) {
		event, replies, _ := strings.Cut(strings.TrimSpace(line), " ")
		m.script[event[0]] = append(m.script[event[0]], replies)
	}
}

func (m *Milter) terms() Terms {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Terms
}

func (m *Milter) serve(c net.Conn) {
	in, terms := bufio.NewReader(c), m.terms()
	for {
		code, data, err := read(in)
		if err != nil {
			m.Ended <- struct{}{}
			return
		}
		if !m.Deaf && (code != 'D' || m.Names) {
			m.note(strings.TrimSpace(fmt.Sprintf("> %c %s", code, show(data))))
		}
		switch code {
		case 'D', 'A':
		case 'K':
			m.Ended <- struct{}{}
		case 'Q':
			m.Ended <- struct{}{}
			return
		case 'O':
			c.Write(m.greeting(terms))
		default:
			if terms.Steps&kinds[code].mute == 0 && !m.reply(c, code) {
				return
			}
		}
	}
}

func (m *Milter) greeting(terms Terms) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Greet != "" {
		return []byte(m.Greet)
	}
	return Packet('O', terms.append()+m.Extra)
}

// Await waits for a client to end its session.
func (m *Milter) Await(t testing.TB) {
	t.Helper()
	select {
	case <-m.Ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the client does not leave the milter, which saw\n%s", strings.Join(m.Take(), "\n"))
	}
}

// line is the line of the script for this event.
func (m *Milter) line(code byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	replies := m.script[code]
	if len(replies) == 0 {
		return "c"
	}
	i := min(m.count[code], len(replies)-1)
	m.count[code]++
	return replies[i]
}

// reply answers an event, and reports whether the connection goes on.
func (m *Milter) reply(c net.Conn, code byte) bool {
	for part := range strings.SplitSeq(m.line(code), " ; ") {
		part = strings.TrimSpace(part)
		switch part {
		case "hangup":
			return false
		case "silent":
			return true
		case "slow":
			time.Sleep(slow)
			continue
		}
		octets, err := octetsOf(part)
		if err != nil {
			m.note("bad script: " + part)
			return false
		}
		c.Write(octets)
	}
	return true
}

// octetsOf is what a reply of a script is on the wire.
func octetsOf(part string) ([]byte, error) {
	word, quoted, _ := strings.Cut(part, `"`)
	data := ""
	if word != part {
		var err error
		if data, err = strconv.Unquote(`"` + quoted); err != nil {
			return nil, err
		}
	}
	data = strings.ReplaceAll(data, "|", "\x00")
	if word == "raw" {
		return []byte(data), nil
	}
	return Packet(word[0], data), nil
}
