//go:build e2e

package soak

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

const (
	root = "../../.."
	// milterEnv makes the test's own program the milter that is stopped, at an address.
	milterEnv = "MTAD_SOAK_MILTER"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(milterEnv); addr != "" {
		serveMilter(addr)
	}
	os.Exit(m.Run())
}

// marker is a milter that adds a field.
type marker struct{ gomilter.NoOpMilter }

func (marker) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespAccept, m.AddHeader("X-Marker", "by a milter")
}

func serveMilter(addr string) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = (&gomilter.Server{NewMilter: func() gomilter.Milter { return marker{} }, Actions: gomilter.OptAddHeader}).Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// world is a server, what is around it, and what we know of the mail.
type world struct {
	mtatest.Ports
	t      *testing.T
	dir    string
	config string // its file's text
	mtad   string // the program
	proc   *mtatest.Process
	milter *mtatest.Process
	hop    *mtatest.Hop
	mail   *ledger
	tls    *tls.Config

	// gate is held for reading by a client while it has a connection, and
	// for writing while samples are taken.
	gate sync.RWMutex
	done chan struct{} // closed when the load is to end
}

// The filters that are asked, besides those of dev mode. The milter is stopped
// for seconds; mail goes by without it.
const filters = `filter "lua" "house" { script = "house.lua" }
  filter "external" "urlrep" {
    path   = "urlrep"
    config = { map = %q }
  }
  filter "milter" "stopper" {
    connect         = "inet:%s"
    command_timeout = "1s"
    content_timeout = "1s"
    timeout         = "1s"
    on_error        = "continue"
  }
  filter "sieve" "global" { script = "house.sieve" }
  filter "thresholds" {`

const houseRule = `function message(msg)
  msg:add_score(0.5, "house")
  msg:add_header("X-House", "seen from " .. msg.client.addr)
end
`

// bobScript files, flags, and sends on; aliceScript sends copies on.
const (
	bobScript = `require ["fileinto", "imap4flags"];
if header :contains "subject" "report" { addflag "\\Flagged"; fileinto "Reports"; }
elsif header :contains "subject" "forward" { redirect "sent-on@far.test"; }
`
	aliceScript = `require "copy";
if header :contains "subject" "copy" { redirect :copy "copied@far.test"; }
`
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: mtatest.OpenDir(t), Ports: mtatest.DevPorts(t), mail: newLedger(), done: make(chan struct{}),
		mtad: filepath.Join(t.TempDir(), "mtad"),
	}
	mtatest.DependOn(t, root)
	mtatest.Check(t, mtatest.Build(root, w.mtad, "./cmd/mtad"))
	mtatest.Check(t, mtatest.Build(root, filepath.Join(w.dir, "urlrep"), "./examples/urlrep"))
	w.hop = mtatest.StartHop(t, "127.0.0.1:0", hopRefuses())
	addr := w.startMilter()
	w.put("house.lua", houseRule)
	w.put("house.sieve", "require \"imap4flags\";\nif header :contains \"subject\" \"forbidden\" { discard; }\n")
	w.put("urls.json", `{"bad.example": 2}`)
	text := mtatest.DevConfig(t, root, w.Ports)
	for _, r := range [][2]string{
		{`["` + mtatest.Local(w.Sink) + `"]`, `["` + w.hop.Addr + `"]`},
		{`mydestination =`, "mynetworks = [\"127.0.0.0/8\"]\nmydestination ="},
		{`filter "thresholds" {`, fmt.Sprintf(filters, filepath.Join(w.dir, "urls.json"), addr)},
	} {
		if !strings.Contains(text, r[0]) {
			t.Fatalf("the configuration of dev mode has no %q", r[0])
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	w.config = text
	w.put("mtad.hcl", text)
	w.start()
	return w
}

// put writes a file of the server's directory.
func (w *world) put(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	mtatest.Write(w.t, path+".new", text) // a command may read it at any time
	mtatest.Check(w.t, os.Rename(path+".new", path))
}

// startMilter runs this program again, as a milter.
func (w *world) startMilter() (addr string) {
	w.t.Helper()
	addr = mtatest.Local(mtatest.FreePort(w.t))
	w.milter = mtatest.Spawn(w.t, "", time.Second, "env", milterEnv+"="+addr, os.Args[0])
	w.milter.AwaitSocket(w.t, "tcp", addr)
	return addr
}

func (w *world) start() {
	w.t.Helper()
	w.proc = mtatest.Spawn(w.t, "", stopLimit, w.mtad, "serve", "--dev", "--dir", w.dir, "--base-port", fmt.Sprint(w.Base))
	w.proc.Await(w.t, "msg=serving")
	for user, script := range map[string]string{"alice": aliceScript, "bob": bobScript} {
		w.put(user+".sieve", script)
		w.do("sieve", "put", user, "main", filepath.Join(w.dir, user+".sieve"))
		w.do("sieve", "activate", user, "main")
	}
	pem, err := os.ReadFile(filepath.Join(w.dir, "ca.pem"))
	mtatest.Check(w.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	w.tls = &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// stopLimit is how long mtad may take to stop.
const stopLimit = 20 * time.Second

// try runs a command.
func (w *world) try(args ...string) (out string, code int) {
	w.t.Helper()
	return mtatest.Run(w.t, "", "", append([]string{w.mtad, "-c", filepath.Join(w.dir, "mtad.hcl")}, args...)...)
}

// do runs a command that must succeed.
func (w *world) do(args ...string) string {
	w.t.Helper()
	out, code := w.try(args...)
	if code != 0 {
		w.t.Errorf("mtad %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// hopRefuses puts off every eighth recipient, and refuses those that are nobody.
func hopRefuses() func(string) *gosmtp.SMTPError {
	var mu sync.Mutex
	asked := 0
	return func(rcpt string) *gosmtp.SMTPError {
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch {
		case strings.HasPrefix(rcpt, "nobody@"):
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody here"}
		case asked%8 == 0:
			return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "not now"}
		}
		return nil
	}
}
