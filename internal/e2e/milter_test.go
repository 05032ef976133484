//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// openDir is a directory that other users may enter, with a short path.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// opendkim runs OpenDKIM with a new key for example.test and returns its socket
// and a look-up of the public key.
func opendkim(t *testing.T, mode string) (socket string, txt func(string) ([]string, error)) {
	t.Helper()
	path := program(t, "opendkim")
	dir := openDir(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	check(t, err)
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	write(t, dir+"/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	write(t, dir+"/keys", "sel._domainkey.example.test "+record+"\n")
	socket = dir + "/sock"
	write(t, dir+"/opendkim.conf", strings.Join([]string{
		"Socket local:" + socket, "Mode " + mode, "Domain example.test", "Selector sel", "KeyFile " + dir + "/key.pem",
		"TestPublicKeys " + dir + "/keys", "RequireSafeKeys no", "Canonicalization relaxed/simple",
		"AuthservID mx.example.test", "AlwaysAddARHeader yes", "Background no", "Syslog no", "UMask 000",
	}, "\n")+"\n")
	awaitSocket(t, spawn(t, dir, path, "-f", "-x", dir+"/opendkim.conf"), "unix", socket)
	return socket, func(name string) ([]string, error) {
		if name != "sel._domainkey.example.test" {
			return nil, fmt.Errorf("no record for %s", name)
		}
		return []string{record}, nil
	}
}

// spamd runs SpamAssassin without the network, and returns its socket.
func spamd(t *testing.T) string {
	t.Helper()
	path := program(t, "spamd")
	program(t, "spamass-milter")
	program(t, "spamc")
	dir := openDir(t)
	socket := dir + "/spamd"
	argv := []string{path, "-L", "-x", "--max-children=1", "--socketpath=" + socket, "--socketmode=0600", "--helper-home-dir=" + dir}
	if os.Getuid() == 0 {
		argv = append(argv, "-u", "nobody") // it refuses to work as root
	}
	awaitSocket(t, spawn(t, dir, argv...), "unix", socket)
	return socket
}

// spamassMilter runs it in front of spamd.
func spamassMilter(t *testing.T, spamd string, args ...string) (socket string) {
	t.Helper()
	dir := openDir(t)
	socket = dir + "/milter"
	argv := append([]string{program(t, "spamass-milter"), "-p", socket}, args...)
	awaitSocket(t, spawn(t, dir, append(argv, "--", "-U", spamd)...), "unix", socket)
	check(t, os.Chmod(socket, 0o777)) // Postfix's user connects
	return socket
}

// withMilter puts a milter, and nothing else, into a pipeline.
func withMilter(pipeline, socket string) func(*server, string) string {
	re := regexp.MustCompile(`(?ms)^pipeline "` + pipeline + `" \{.*?^\}`)
	return func(s *server, text string) string {
		return re.ReplaceAllLiteralString(text, `pipeline "`+pipeline+`" {
  filter "milter" {
    connect         = "unix:`+socket+`"
    timeout         = "1m"
    command_timeout = "1m"
  }
}`)
	}
}

// The signature that OpenDKIM makes in "outbound" verifies at the next hop.
func TestOpenDKIMSigns(t *testing.T) {
	t.Parallel()
	socket, txt := opendkim(t, "s")
	port := freePort(t)
	hop := startHop(t, port, nil)
	s := start(t, withMilter("outbound", socket), toHop(port))
	for i, text := range []string{"Hello.\n\n  spaces  \n", "\xe4\xf6 eight bits", ".\n.dot\n", strings.Repeat("long ", 1000)} {
		mail := filepath.Join(s.dir, "out.eml")
		write(t, mail, letter("alice@example.test", "x@far.test", fmt.Sprint("signed ", i), text))
		s.do("smtp", "send", "--server", local(s.Submission), "--tls", "--auth", "alice@example.test:alice",
			"--from", "alice@example.test", "--to", "x@far.test", "--file", mail)
		got := hop.await(t, i+1)[i].data
		results, err := dkim.VerifyWithOptions(strings.NewReader(got), &dkim.VerifyOptions{LookupTXT: txt})
		if err != nil || len(results) != 1 || results[0].Err != nil {
			t.Fatalf("%v, %+v\n%s\n%s", err, results, got, s.do("trace", "last"))
		}
	}
}

// SpamAssassin's fields are in the mailbox, and GTUBE is refused.
func TestSpamassMilter(t *testing.T) {
	t.Parallel()
	daemon := spamd(t)
	t.Run("marks and refuses", func(t *testing.T) {
		s := start(t, withMilter("inbound", spamassMilter(t, daemon, "-r", "15")))
		ham := letter("ann@good.test", "alice@example.test", "ham", "How are you?")
		check(t, submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, ham))
		msg := s.one("alice")
		if !strings.HasPrefix(field(msg, "X-Spam-Status"), "No, score=") || field(msg, "X-Spam-Checker-Version") == "" {
			t.Errorf("got\n%s", msg)
		}
		err := submit(t, local(s.SMTP), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "spam", gtube))
		if err == nil || !strings.Contains(err.Error(), "Blocked by SpamAssassin") {
			t.Fatalf("GTUBE: %v", err)
		}
		mustSay(t, s.do("trace", idIn(t, err.Error())), "milter", "reject", "550 5.7.1 Blocked by SpamAssassin")
	})
	t.Run("as through Postfix", func(t *testing.T) {
		socket := spamassMilter(t, daemon)
		compareWithPostfix(t, socket, oddLetter, letter("ann@good.test", "alice@example.test", "spam", "Buy\n\n"+gtube))
	})
}

func TestOpenDKIMAsThroughPostfix(t *testing.T) {
	t.Parallel()
	socket, _ := opendkim(t, "sv")
	compareWithPostfix(t, socket, oddLetter, letter("alice@example.test", "bob@example.test", "signed", "x"))
}

const oddLetter = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Ann <ann@example.test>\r\nTo:alice@example.test\r\nSubject:   two  spaces\r\n\tand a fold\r\nX-A: 1\r\nX-A:\t2\r\nX-Empty:\r\n" +
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.test>\r\n\r\nHello,\r\n\r\n..world.  \r\n.\r\n\r\n"

// compareWithPostfix sends messages through Postfix and through mtad, with the
// same milter: what the mailbox has is what came out of Postfix, but for what
// names a host or a time.
func compareWithPostfix(t *testing.T, socket string, msgs ...string) {
	t.Helper()
	port := freePort(t)
	hop := startHop(t, port, nil)
	addr := postfix(t, "unix:"+socket, port)
	s := start(t, withMilter("inbound", socket))
	alice := s.login("alice")
	for i, data := range msgs {
		check(t, submit(t, addr, "ann@example.test", []string{"alice@example.test"}, data))
		theirs := alike(hop.await(t, i+1)[i].data)
		check(t, submit(t, local(s.SMTP), "ann@example.test", []string{"alice@example.test"}, data))
		ours := alike(alice.await("INBOX", i+1)[i])
		if ours != theirs {
			t.Errorf("message %d\nhere:\n%q\nby Postfix:\n%q", i, ours, theirs)
		}
	}
}

var (
	received = regexp.MustCompile(`(?m)^Received: from client\.test[^\n]*\n([ \t][^\n]*\n)*`)
	times    = regexp.MustCompile(`\bt=\d+`)
	signed   = regexp.MustCompile(`\bb=[A-Za-z0-9+/=\s]+`)
	version  = regexp.MustCompile(`(?m)^X-Spam-Checker-Version:[^\n]*\n([ \t][^\n]*\n)*`)
	boundary = regexp.MustCompile(`----------=_[0-9A-F.]+`)
)

// alike masks what differs between two servers and two moments.
func alike(msg string) string {
	msg = without(msg, "Return-Path", "Delivered-To")
	msg = received.ReplaceAllString(msg, "Received: OURS\r\n")
	msg = times.ReplaceAllString(msg, "t=T")
	msg = signed.ReplaceAllString(msg, "b=B\r\n")
	msg = version.ReplaceAllString(msg, "X-Spam-Checker-Version: V\r\n")
	return boundary.ReplaceAllString(msg, "BOUNDARY")
}
