package mtatest

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
	"sync"
	"testing"
	"time"
)

// GTUBE is spam by agreement.
const GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// peerPatience is how long a milter may take to stop: some look up every five
// seconds only.
const peerPatience = 300 * time.Millisecond

// dkimKey is the key of every test: making one takes a while.
var dkimKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// OpenDKIM runs a private OpenDKIM that signs ("s"), verifies ("v") or both for
// a domain, with further lines of its configuration, and returns its socket and
// a look-up of the public key.
func OpenDKIM(t testing.TB, domain, mode string, extra ...string) (socket string, txt func(string) ([]string, error)) {
	t.Helper()
	path, dir := Program(t, "opendkim"), OpenDir(t)
	key, err := dkimKey()
	Check(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	Check(t, err)
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	name := "sel._domainkey." + domain
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	keyFile, keys, conf := filepath.Join(dir, "key.pem"), filepath.Join(dir, "keys"), filepath.Join(dir, "opendkim.conf")
	socket = filepath.Join(dir, "sock")
	Write(t, keyFile, string(private))
	Write(t, keys, name+" "+record+"\n")
	Write(t, conf, strings.Join(append([]string{
		"Socket local:" + socket, "Mode " + mode, "Domain " + domain, "Selector sel", "KeyFile " + keyFile,
		"TestPublicKeys " + keys, "RequireSafeKeys no", "AuthservID mx." + domain, "AlwaysAddARHeader yes",
		"Background no", "Syslog no", "UMask 000",
	}, extra...), "\n")+"\n")
	Spawn(t, dir, peerPatience, path, "-f", "-x", conf).AwaitSocket(t, "unix", socket)
	return socket, func(asked string) ([]string, error) {
		if asked != name {
			return nil, fmt.Errorf("no record for %s", asked)
		}
		return []string{record}, nil
	}
}

// Spamd runs SpamAssassin without the network, and returns its socket.
func Spamd(t testing.TB, args ...string) string {
	t.Helper()
	path := Program(t, "spamd")
	dir := OpenDir(t)
	socket := filepath.Join(dir, "spamd")
	argv := []string{path, "-L", "-x", "--max-children=1", "--socketpath=" + socket, "--socketmode=0600", "--helper-home-dir=" + dir}
	argv = append(argv, args...)
	if os.Getuid() == 0 {
		argv = append(argv, "-u", "nobody") // it refuses to work as root
	}
	Spawn(t, dir, peerPatience, argv...).AwaitSocket(t, "unix", socket)
	return socket
}

// SpamassMilter runs spamass-milter in front of a spamd, and returns its socket.
func SpamassMilter(t testing.TB, spamd string, args ...string) string {
	t.Helper()
	Program(t, "spamc") // which it runs
	dir := OpenDir(t)
	socket := filepath.Join(dir, "milter")
	argv := append([]string{Program(t, "spamass-milter"), "-p", socket}, args...)
	Spawn(t, dir, peerPatience, append(argv, "--", "-U", spamd)...).AwaitSocket(t, "unix", socket)
	Check(t, os.Chmod(socket, 0o777)) // Postfix's user connects
	return socket
}

var masks = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`(?m)^Received: from client\.[^\n]*\n([ \t][^\n]*\n)*`), "Received: OURS\r\n"},
	{regexp.MustCompile(`\bt=\d+`), "t=T"},
	{regexp.MustCompile(`\bb=[A-Za-z0-9+/=\s]+`), "b=B\r\n"},
	{regexp.MustCompile(`(?m)^X-Spam-Checker-Version:[^\n]*\n([ \t][^\n]*\n)*`), "X-Spam-Checker-Version: V\r\n"},
	{regexp.MustCompile(`(?m)^(DMARC-Filter: OpenDMARC Filter) .*`), "$1 V\r"},
	{regexp.MustCompile(`----------=_[0-9A-F.]+`), "BOUNDARY"},
}

// Alike makes what two servers did to a message comparable: the Received field
// for a client whose name begins with "client.", signatures, times and
// boundaries are masked.
func Alike(msg string) string {
	for _, m := range masks {
		msg = m.re.ReplaceAllString(msg, m.by)
	}
	return msg
}
