package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/managesieved"
	filter "mtad/plugins/sieve"
	"mtad/smtp"
)

// sieveClient speaks to the house's ManageSieve listener.
type sieveClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// manage dials and logs in.
func (r *running) manage(t *testing.T, user string) *sieveClient {
	t.Helper()
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.dev.Ports.ManageSieve))
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	c := &sieveClient{t, nc, bufio.NewReader(nc)}
	c.answer()
	c.say("OK", `AUTHENTICATE "PLAIN" %q`, base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+user)))
	return c
}

// answer reads a whole answer.
func (c *sieveClient) answer() string {
	c.t.Helper()
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		check(c.t, err)
		all.WriteString(line)
		if word, _, _ := strings.Cut(line, " "); word == "OK" || word == "NO" {
			return all.String()
		}
	}
}

// say sends a command whose answer has a text in it.
func (c *sieveClient) say(want, format string, args ...any) string {
	c.t.Helper()
	_, err := fmt.Fprintf(c, format+"\r\n", args...)
	check(c.t, err)
	got := c.answer()
	if !strings.Contains(got, want) {
		c.t.Errorf("%s: no %q in %q", fmt.Sprintf(format, args...), want, got)
	}
	return got
}

// What may be written is what the filter of delivery runs: also after a reload,
// for sessions that are open, and by mtad sieve put.
func TestManageSieveOptions(t *testing.T) {
	r := startHouse(t, nil)
	alice := r.manage(t, "alice")
	alice.say(" editheader ", "CAPABILITY")
	alice.say("OK", `PUTSCRIPT "edits" "require \"editheader\"; addheader \"X-A\" \"b\";"`)
	alice.say("OK", `SETACTIVE "edits"`)
	alice.say("NO", `PUTSCRIPT "pipes" "require \"vnd.dovecot.pipe\"; pipe \"x\";"`) // no program is configured
	if _, errs, code := r.mtad("require \"vnd.dovecot.pipe\"; pipe \"x\";", "sieve", "put", "alice", "pipes", "-"); code == 0 {
		t.Errorf("mtad sieve put takes what would not run: %s", errs)
	}

	r.edit(t, func(text string) string {
		return strings.Replace(text, `{ scripts = store() }`, `{
		scripts       = store()
		disable       = ["editheader"]
		commands      = { x = "/bin/true" }
		max_redirects = 3
		max_script    = 1024
	}`, 1)
	})
	r.want(t, "reloaded", "reload")
	if got := alice.say(" vnd.dovecot.pipe ", "CAPABILITY"); strings.Contains(got, "editheader") || !strings.Contains(got, `"MAXREDIRECTS" "3"`) {
		t.Errorf("after the reload: %s", got)
	}
	alice.say("OK", `PUTSCRIPT "pipes" "require \"vnd.dovecot.pipe\"; pipe \"x\";"`)
	alice.say("1:34: error", `CHECKSCRIPT "require \"vnd.dovecot.pipe\"; pipe \"y\";"`)
	alice.say("NO", `SETACTIVE "edits"`)
	if _, errs, code := r.mtad("", "sieve", "activate", "alice", "edits"); code != 65 || !strings.Contains(errs, `no extension "editheader"`) {
		t.Errorf("mtad sieve activate: %d %s", code, errs)
	}
	alice.say("QUOTA/MAXSIZE", `HAVESPACE "x" 1025`)
	alice.say(`"edits" ACTIVE`, "LISTSCRIPTS")

	// Scripts include those of the account.
	alice.say("OK \"", `PUTSCRIPT "all" "require \"include\"; include \"pipes\";"`)
	if _, errs, code := r.mtad(`require "include"; include "all";`, "sieve", "put", "alice", "pipes", "-"); code != 0 {
		t.Errorf("mtad sieve put of a script that includes itself by another, which is an error when it runs (RFC 6609, 3.2): %d %s", code, errs)
	}
	alice.say("OK", `PUTSCRIPT "pipes" "require \"include\"; include \"all\";"`)
	bob := r.manage(t, "bob")
	bob.say("(WARNINGS)", `PUTSCRIPT "all" "require \"include\"; include \"pipes\";"`)
	r.want(t, "managesieve", "status")
}

// Where no filter runs users' scripts, or those that do are off, all of the
// language may be written that filters can run.
func TestManageSieveWithoutFilter(t *testing.T) {
	for _, instead := range []string{"", `filter "sieve" "user" {
		scripts = store()
		mode    = "off"
		disable = ["copy"]
	}`} {
		r := startHouse(t, func(text string) string {
			return strings.Replace(text, `filter "sieve" "user" { scripts = store() }`, instead, 1)
		})
		if o := r.house.sieveOptions(t.Context(), smtp.Address{}); !slices.Equal(o.Without, filter.Unoffered()) || o.Include != nil {
			t.Errorf("options: %+v", o)
		}
	}
}

// What no filter runs is not offered, nor taken by mtad sieve put.
func TestManageSieveUnoffered(t *testing.T) {
	r := startHouse(t, nil)
	alice := r.manage(t, "alice")
	if got := alice.say("VERSION", "CAPABILITY"); strings.Contains(got, "imapsieve") {
		t.Errorf("offered: %s", got)
	}
	alice.say("NO", `CHECKSCRIPT "require \"imapsieve\"; keep;"`)
	if _, errs, code := r.mtad(`require "imapsieve"; keep;`, "sieve", "put", "alice", "events", "-"); code == 0 {
		t.Errorf("mtad sieve put takes what would not run: %s", errs)
	}
}

// The house checks passwords by its directory.
func TestManageSieveLogin(t *testing.T) {
	r := startHouse(t, nil)
	alice := r.manage(t, "alice")
	alice.say("OK", "UNAUTHENTICATE")
	alice.say("OK", `AUTHENTICATE "PLAIN" "AGFsaWNlAGFsaWNl"`)
	alice.say(`"OWNER" "alice@example.test"`, "CAPABILITY")
	if _, err := r.house.sieveLogin(t.Context(), "alice", "wrong", netip.AddrPort{}); !errors.Is(err, managesieved.ErrCredentials) {
		t.Errorf("a wrong password: %v", err)
	}
}
