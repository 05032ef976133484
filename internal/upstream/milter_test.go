package upstream

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
)

const goMilter = "emersion/go-milter"

// packet sends one packet of the milter protocol.
func (w *wire) packet(code byte, data string) {
	w.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	w.send(string(append(append(b, code), data...)))
}

// receive reads one packet, code 0 if the connection ended.
func (w *wire) receive() (code byte, data []byte) {
	w.t.Helper()
	w.SetReadDeadline(time.Now().Add(patience))
	var n [4]byte
	if _, err := io.ReadFull(w, n[:]); err != nil {
		return 0, nil
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(w, b); err != nil {
		w.t.Fatal(err)
	}
	return b[0], b[1:]
}

// negotiation is the data of OPTNEG.
func negotiation(version uint32, actions gomilter.OptAction, protocol gomilter.OptProtocol) string {
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint32(b, uint32(actions))
	return string(binary.BigEndian.AppendUint32(b, uint32(protocol)))
}

// milterClient runs go-milter's client against a milter played by hand, which
// answered the negotiation.
func milterClient(t *testing.T, answer string) (*gomilter.ClientSession, *wire, error) {
	t.Helper()
	l := listen(t)
	c := gomilter.NewClientWithOptions("tcp", l.Addr().String(), gomilter.ClientOptions{
		ActionMask: 0x1ff, ProtocolMask: gomilter.OptSkip | gomilter.OptRcptRej, ReadTimeout: patience,
	})
	type result struct {
		s   *gomilter.ClientSession
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := c.Session()
		done <- result{s, err}
	}()
	w := accept(t, l)
	w.receive()
	w.packet('O', answer)
	r := <-done
	return r.s, w, r.err
}

// SKIP, the answer that saves sending the rest of a body, is an error.
func TestMilterClientSkipAborts(t *testing.T) {
	s, w, err := milterClient(t, negotiation(6, 0, gomilter.OptSkip))
	if err != nil {
		t.Fatal(err)
	}
	w.packet('s', "")
	if act, err := s.BodyChunk([]byte("x")); err == nil && act.Code == gomilter.ActSkip {
		reconsider(t, goMilter, "the client takes SKIP")
	}
}

// A recipient with parameters ends the exchange in an error.
func TestMilterClientAddRcptWithArgsAborts(t *testing.T) {
	s, w, err := milterClient(t, negotiation(6, gomilter.OptAddRcptWithArgs, 0))
	if err != nil {
		t.Fatal(err)
	}
	w.packet('2', "<b@x.test>\x00NOTIFY=NEVER\x00")
	w.packet('c', "")
	if _, _, err := s.End(); err == nil {
		reconsider(t, goMilter, "the client takes ADDRCPT_PAR")
	}
}

// The client can not say DATA or UNKNOWN, shows no list of macros that the milter
// asked for, keeps no connections and knows no contexts.
func TestMilterClientLacks(t *testing.T) {
	s := names(&gomilter.ClientSession{})
	for _, words := range [][]string{{"Data"}, {"Unknown"}, {"Sym", "MacroList", "Wanted"}, {"Context"}, {"Reset", "QuitNewConn"}} {
		if n := has(s, words...); n != "" {
			reconsider(t, goMilter, "the client's session has "+n)
		}
	}
	if n := has(names(&gomilter.ClientOptions{}), "Pool", "Idle", "Macro", "Sym"); n != "" {
		reconsider(t, goMilter, "the client has an option "+n)
	}
}

// After a negotiation that fails the connection stays open, with nobody to close it.
func TestMilterClientLeaks(t *testing.T) {
	_, w, err := milterClient(t, negotiation(1, 0, 0))
	if err == nil {
		t.Fatal("version 1 was taken")
	}
	if !w.silent() {
		reconsider(t, goMilter, "a failed negotiation closes the connection")
	}
}

// milterServer starts go-milter's server and connects to it.
func milterServer(t *testing.T, backend gomilter.Milter) (*wire, net.Listener) {
	t.Helper()
	l := listen(t)
	s := &gomilter.Server{NewMilter: func() gomilter.Milter { return backend }}
	go s.Serve(l)
	return dial(t, l), l
}

// The default client does not speak to the package's own server: one wants
// version 6, the other has version 2.
func TestMilterDefaultClientAgainstOwnServer(t *testing.T) {
	_, l := milterServer(t, gomilter.NoOpMilter{})
	s, err := gomilter.NewDefaultClient("tcp", l.Addr().String()).Session()
	if err == nil {
		reconsider(t, goMilter, "the default client talks to the package's server")
		s.Close()
	}
}

// Version 2 whatever the client offers: no SKIP, no "no reply" flags that count.
func TestMilterServerVersion(t *testing.T) {
	w, _ := milterServer(t, gomilter.NoOpMilter{})
	w.packet('O', negotiation(6, 0x1ff, 0x1fffff))
	if _, data := w.receive(); len(data) < 4 || binary.BigEndian.Uint32(data) != 2 {
		reconsider(t, goMilter, "the server negotiates its version")
	}
}

// A backend is not told the ESMTP arguments.
func TestMilterServerDropsArguments(t *testing.T) {
	m, ok := reflect.TypeFor[gomilter.Milter]().MethodByName("MailFrom")
	if !ok || m.Type.NumIn() != 2 {
		reconsider(t, goMilter, "MailFrom has other parameters")
	}
}

// macros keeps the macros of the HELO command.
type macros struct {
	gomilter.NoOpMilter
	at chan map[string]string
}

func (m macros) Helo(_ string, mod *gomilter.Modifier) (gomilter.Response, error) {
	m.at <- mod.Macros
	return gomilter.RespContinue, nil
}

// Macros of a stage last to the end of the message; here the next packet of
// macros wipes them out.
func TestMilterServerForgetsMacros(t *testing.T) {
	m := macros{at: make(chan map[string]string, 1)}
	w, _ := milterServer(t, m)
	w.packet('D', "Cj\x00mx.test\x00")
	w.packet('D', "H{tls_version}\x00TLSv1.3\x00")
	w.packet('H', "c.test\x00")
	w.receive()
	if got := <-m.at; got["j"] != "" {
		reconsider(t, goMilter, "the server keeps macros of earlier stages")
	}
}

// UNKNOWN and QUIT_NC, which Postfix sends, end the connection.
func TestMilterServerDisconnects(t *testing.T) {
	for name, code := range map[string]byte{"UNKNOWN": 'U', "QUIT_NC": 'K'} {
		w, _ := milterServer(t, gomilter.NoOpMilter{})
		w.packet(code, "")
		w.SetReadDeadline(time.Now().Add(quiet))
		if _, err := w.Peek(1); !errors.Is(err, io.EOF) {
			reconsider(t, goMilter, "the server stays after "+name)
		}
	}
}
