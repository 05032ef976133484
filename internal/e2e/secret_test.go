//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secrets are what must be nowhere, by name.
type secrets map[string]string

// in names the secrets that a text has, plain or within something in base64,
// which can begin at any of three places.
func (s secrets) in(text []byte) (found []string) {
	for name, secret := range s {
		forms := []string{secret}
		for shift := range 3 {
			b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
			// What neighbours have a part in is cut off.
			forms = append(forms, b[(shift*8+5)/6:(shift+len(secret))*8/6])
		}
		for _, f := range forms {
			if bytes.Contains(text, []byte(f)) {
				found = append(found, name+" as "+f)
				break
			}
		}
	}
	return found
}

func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	s := secrets{"pw": "correct horse"}
	for _, before := range []string{"", "a", "ab", "abc"} {
		text := base64.StdEncoding.EncodeToString([]byte(before + "correct horse" + before))
		if len(s.in([]byte("x"+text+"x"))) != 1 {
			t.Errorf("%q is not found in %s", before, text)
		}
	}
	if found := s.in([]byte("correct")); found != nil {
		t.Errorf("found %v", found)
	}
}

// exchange sends lines, each after the answer to the one before, and returns the
// answers. An answer ends with a line that has no hyphen after its code, or,
// for IMAP, with one that begins with a tag or a plus.
func exchange(t testing.TB, conn net.Conn, imap bool, lines ...string) string {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(timeLimit))
	r := bufio.NewReader(conn)
	var out strings.Builder
	answer := func(greeting bool) bool {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return false
			}
			out.WriteString(line)
			switch {
			case imap && (greeting || strings.HasPrefix(line, "t ") || strings.HasPrefix(line, "+") || strings.HasPrefix(line, "* BAD")):
				return true
			case !imap && (len(line) < 4 || line[3] != '-'):
				return true
			}
		}
	}
	if !answer(true) {
		return ""
	}
	for _, l := range lines {
		if _, err := io.WriteString(conn, l+"\r\n"); err != nil || !answer(false) {
			break
		}
	}
	return out.String()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// No secret is in anything that a server writes or answers, at any level of its
// log.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"debug", "info", "warn", "error"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			testSecrets(t, level)
		})
	}
}

func testSecrets(t *testing.T, level string) {
	all := secrets{
		"password": "quartz-Falcon-11", "new password": "violet-Marble-22", "wrong password": "copper-Walrus-33",
		"route's password": "bronze-Pigeon-44", "sieve script": "indigo-Badger-55",
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	all["DKIM key"] = base64.StdEncoding.EncodeToString(der)[20:]
	pemText := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "\n", `\n`)

	leveled := replace(`postmaster =`, "log_level = \"debug\"\npostmaster =")
	hop := start(t, func(s *server, text string) string { s.t = t; return leveled(s, text) })
	addUser(t, hop, "relay@example.test", all["route's password"])
	s := start(t, func(s *server, text string) string {
		s.t = t
		text = leveled(s, text)
		text = replace(`to       = ["`+local(s.Sink)+`"]`, fmt.Sprintf("to = [%q]\n  username = \"relay@example.test\"\n  password = %q", local(hop.Submission), all["route's password"]))(s, text)
		text = replace(`security = "none"`, `security = "encrypt"`)(s, text)
		return replace("pipeline \"outbound\" {\n", "pipeline \"outbound\" {\n  filter \"dkim_sign\" {\n    domain = \"example.test\"\n    selector = \"s1\"\n    key = \""+pemText+"\"\n  }\n")(s, text)
	})
	for _, srv := range []*server{s, hop} {
		srv.change("mtad.hcl", `log_level = "debug"`, fmt.Sprintf("log_level = %q", level))
		srv.do("reload")
	}
	live := spawn(t, "", mtadPath, "-c", s.config(), "trace", "live", "-o", "ndjson")
	eventually(t, "a story as it happens", timeLimit, func() bool {
		s.sendSubject("look at me")
		return live.Out.String() != ""
	})
	addUser(t, s, "dora@example.test", all["password"])
	busy(t, s, all)

	var said bytes.Buffer
	note := func(args ...string) {
		out, _ := s.mtad(args...)
		fmt.Fprintf(&said, "\n== mtad %s\n%s", strings.Join(args, " "), out)
	}
	for _, args := range []string{
		"trace last", "trace last -o json", "config show", "config show -n", "config show -o json", "config get route.sink.password",
		"config get pipeline.outbound.filter.dkim_sign.key", "config explain route.password", "status -o json", "queue list -o json",
		"user list -o json", "check", "route test x@far.test", "sieve list dora@example.test",
	} {
		note(strings.Fields(args)...)
	}
	mustSay(t, said.String(), "dkim_sign")
	resp, err := http.Get("http://" + local(s.HTTP) + "/metrics")
	check(t, err)
	_, err = io.Copy(&said, resp.Body)
	check(t, err)
	resp.Body.Close()
	// An error beside a secret shows the line that it is in.
	s.change("mtad.hcl", all["route's password"]+`"`, all["route's password"]+`" x`)
	note("config", "check")
	note("reload")
	s.stop()
	hop.stop()
	live.Stop(time.Second)
	for what, text := range map[string][]byte{
		"answers": said.Bytes(), "log": []byte(s.proc.Out.String()), "log of the next hop": []byte(hop.proc.Out.String()), "trace live": []byte(live.Out.String()),
	} {
		for _, f := range all.in(text) {
			t.Errorf("%s: %s", what, f)
		}
	}
	mustSay(t, live.Out.String(), "dora@example.test", "x@far.test", "sieve")
	delete(all, "sieve script") // which is kept, for its user
	for _, dir := range []string{s.dir, hop.dir} {
		check(t, filepath.WalkDir(filepath.Join(dir, "data"), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			for _, f := range all.in([]byte(read(t, path))) {
				t.Errorf("%s: %s", path, f)
			}
			return nil
		}))
	}
}

func addUser(t testing.TB, s *server, name, password string) {
	t.Helper()
	if out, code := run(t, password+"\n", "", mtadPath, "-c", s.config(), "user", "add", name, "--password-stdin"); code != 0 {
		t.Fatalf("user add: exit %d\n%s", code, out)
	}
}

// busy logs in in every way, rightly and wrongly, and sends mail.
func busy(t *testing.T, s *server, all secrets) {
	t.Helper()
	const name = "dora@example.test"
	plain := func(pw string) string { return b64("\x00" + name + "\x00" + pw) }
	overTLS := func(port int) net.Conn {
		c, err := tls.Dial("tcp", local(port), s.tlsConfig())
		check(t, err)
		return c
	}
	open := func(port int) net.Conn {
		c, err := net.Dial("tcp", local(port))
		check(t, err)
		return c
	}
	right, wrong := all["password"], all["wrong password"]
	for _, port := range []int{s.Submissions, s.SMTP} {
		dial := map[bool]func(int) net.Conn{true: overTLS, false: open}[port == s.Submissions]
		mustSay(t, exchange(t, dial(port), false, "EHLO [127.0.0.1]", "AUTH PLAIN "+plain(right), "MAIL FROM:<"+name+">", "RCPT TO:<x@far.test>", "DATA", letter(name, "x@far.test", "out", "x")+".", "QUIT"), "235 2.7.0", "250 2.0.0")
		for _, lines := range [][]string{
			{"AUTH PLAIN", plain(right), "AUTH LOGIN", b64(name), b64(right)}, // the last are no commands any more
			{"AUTH LOGIN", b64(name), b64(right)},
			{"AUTH PLAIN " + plain(wrong), "AUTH PLAIN", plain(wrong), "AUTH LOGIN " + b64(name), b64(wrong)},
			{"AUTH PLAIN " + wrong, "AUTH PLAIN " + b64(right), "AUTH LOGIN =" + b64(wrong)},
			{"AUTH CRAM-MD5 " + b64(wrong), "AUTH LOGIN " + b64(name) + " " + b64(wrong)},
			{"AUTH XYZ", b64(name), b64(wrong)},
			{"XCLIENT ADDR=192.0.2.10", "EHLO x.test", "AUTH PLAIN " + plain(right), b64(right)},
		} {
			exchange(t, dial(port), false, append(append([]string{"EHLO [127.0.0.1]"}, lines...), "QUIT")...)
		}
	}
	for _, dial := range []func() net.Conn{func() net.Conn { return overTLS(s.IMAPS) }, func() net.Conn { return open(s.IMAP) }} {
		mustSay(t, exchange(t, dial(), true, `t LOGIN `+name+` "`+right+`"`, "t LOGOUT"), "t OK")
		for _, lines := range [][]string{
			{"t LOGIN " + name + " " + wrong, fmt.Sprintf("t LOGIN %s {%d}", name, len(wrong)), wrong},
			{"t AUTHENTICATE PLAIN", plain(right)},
			{"t AUTHENTICATE PLAIN " + plain(wrong), "t AUTHENTICATE XYZ " + plain(wrong), "t LOGIN " + name, "t " + wrong},
		} {
			exchange(t, dial(), true, append(lines, "t LOGOUT")...)
		}
	}
	c := open(s.ManageSieve)
	_, err := io.WriteString(c, strings.Join([]string{
		`AUTHENTICATE "PLAIN" "` + plain(wrong) + `"`, `AUTHENTICATE "XYZ" "` + plain(wrong) + `"`, wrong, `AUTHENTICATE "PLAIN" ` + plain(right),
		`AUTHENTICATE "PLAIN"`, `"` + plain(right) + `"`, `CHECKSCRIPT "# ` + all["sieve script"] + `"`, `PUTSCRIPT "x" "` + all["sieve script"] + `"`, "LOGOUT", "",
	}, "\r\n"))
	check(t, err)
	said, err := io.ReadAll(c)
	check(t, errors.Join(err, c.Close()))
	mustSay(t, string(said), `OK "Logged in"`, `OK "Bye"`)
	script := filepath.Join(t.TempDir(), "x.sieve")
	write(t, script, "# "+all["sieve script"]+"\nkeep;\n")
	s.do("sieve", "put", name, "main", script)
	s.do("sieve", "activate", name, "main")
	check(t, submit(t, local(s.SMTP), "ann@good.test", []string{name}, letter("ann@good.test", name, "in", "x")))
	if out, code := run(t, all["new password"]+"\n", "", mtadPath, "-c", s.config(), "user", "passwd", name, "--password-stdin"); code != 0 {
		t.Fatalf("user passwd: exit %d\n%s", code, out)
	}
	s.mtad("smtp", "send", "--server", local(s.Submission), "--tls", "--from", name, "--to", "x@far.test", "--auth", name+":"+all["new password"])
	s.awaitEmptyQueue()
}
