//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	gosmtp "github.com/emersion/go-smtp"

	"mtad/internal/mtatest"
)

// install installs packages of this side, as an administrator does.
func (m *machine) install(deb string) string {
	m.t.Helper()
	b := read(m.t, deb)
	check(m.t, os.WriteFile(m.path("/tmp/"+filepath.Base(deb)), []byte(b), 0o644))
	return m.do("dpkg", "--force-depends", "--force-confdef", "-i", "/tmp/"+filepath.Base(deb))
}

// sends brings a message for alice to port 25 and returns its trace ID.
func (m *machine) sends(subject string) string {
	m.t.Helper()
	c := gosmtp.NewClient(m.connect(local(25)))
	check(m.t, c.Hello("client.test"))
	check(m.t, c.Mail("ann@good.test", nil))
	check(m.t, c.Rcpt("alice@example.test", nil))
	w, err := c.Data()
	check(m.t, err)
	_, err = w.Write([]byte(letter("ann@good.test", "alice@example.test", subject, "See http://www.bad.example/x")))
	check(m.t, err)
	reply, err := w.CloseWithResponse()
	check(m.t, err)
	c.Close()
	return idIn(m.t, reply.StatusText)
}

// inbox waits until alice has n messages.
func (m *machine) inbox(n int) []string {
	m.t.Helper()
	box := &mailbox{imapclient.New(m.connect(local(143)), nil), m.t}
	box.wait(box.Login("alice@example.test", "secret"))
	return box.await("INBOX", n)
}

// The package under a systemd that runs: installed, started, hardened as the unit
// says, serving; reloaded, restarted, killed, upgraded.
func TestSystemd(t *testing.T) {
	t.Parallel()
	older, newer := debs(t)
	m := boot(t)
	m.install(older)
	if got := m.show("ActiveState") + " " + m.show("Result") + " " + strings.TrimSpace(m.do("systemctl", "is-enabled", "mtad")); got != "active success enabled" {
		t.Fatalf("%s\n%s", got, m.do("journalctl", "-u", "mtad", "--no-pager"))
	}
	defer func() {
		if t.Failed() {
			t.Log(m.try("journalctl", "--no-pager"))
		}
	}()
	m.do("mtad", "domain", "add", "example.test")
	if out, code := m.feed("secret\n", "mtad", "user", "add", "alice@example.test", "--password-stdin"); code != 0 {
		t.Fatal(out)
	}
	id := m.sends("one")
	m.inbox(1)
	m.journal("mtad", "msg=serving", "account=alice@example.test")
	eventually(t, "the story of "+id, timeLimit, func() bool {
		out, _ := m.try("mtad", "trace", id)
		return strings.Contains(out, "stored in INBOX")
	})

	m.confined(t)
	m.drops(t)
	m.users(t)
	m.filters(t)
	m.sends("two")
	mustSay(t, m.inbox(2)[1], "X-Marker: by a milter", "X-House: seen from 127.0.0.1", "urlrep=2")
	m.children(t)
	m.reloads(t)
	m.dies(t)
	m.upgrades(t, newer)
	m.removed(t, newer)
	m.withoutRoot(t)
	m.do("dpkg", "--purge", "mtad")
	for p, there := range map[string]bool{
		"/etc/mtad/mtad.hcl": false, "/etc/mtad/conf.d": false, "/usr/bin/mtad": false,
		"/etc/mtad/house.lua": true, "/var/lib/mtad/store": true, // not the package's
	} {
		if _, err := os.Stat(m.path(p)); (err == nil) != there {
			t.Errorf("after a purge: %s: %v", p, err)
		}
	}
}

// confined checks what the kernel says of both processes.
func (m *machine) confined(t *testing.T) {
	t.Helper()
	uid := strings.TrimSpace(m.do("id", "-u", "mtad"))
	for pid, want := range map[string]map[string]string{
		m.monitor(): {"Uid": "0 0 0 0", "Seccomp": "2", "NoNewPrivs": "1", "CapBnd": "00000000000004e1", "CapAmb": "0000000000000000"},
		m.server():  {"Uid": strings.Repeat(uid+" ", 3) + uid, "Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0000000000000000", "CapPrm": "0000000000000000"},
	} {
		for key, want := range want {
			if got := m.status(pid, key); got != want {
				t.Errorf("%s of %s: %q, want %q", key, m.status(pid, "Name"), got, want)
			}
		}
	}
	// The unit's view of files, by a command that is in it.
	inside := func(script string) (string, int) {
		return m.try("nsenter", "--mount", "--target", m.monitor(), "sh", "-c", script)
	}
	for script, fails := range map[string]bool{
		"touch /etc/x": true, "touch /usr/x": true, "touch /sys/fs/cgroup/x": true, "echo 1 >/proc/sys/kernel/sysrq": true,
		"touch /var/lib/mtad/x && rm /var/lib/mtad/x": false, "touch /tmp/x && rm /tmp/x": false,
	} {
		if out, code := inside(script); (code != 0) != fails {
			t.Errorf("%s: exit %d %s", script, code, out)
		}
	}
	out, _ := m.try("systemd-analyze", "security", "--no-pager", "mtad")
	t.Log(regexp.MustCompile(`Overall exposure.*`).FindString(out))
}

// journal is what a unit has logged, when all of want is there: what a process writes
// gets there some time later.
func (m *machine) journal(unit string, want ...string) (log string) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%q in the journal", want), timeLimit, func() bool {
		log = m.do("journalctl", "-u", unit, "-o", "cat", "--no-pager")
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(log, w) })
	})
	return log
}

// nobody begins a command as a user who may do nothing.
var nobody = []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}

// handIn runs sendmail behind a command.
func (m *machine) handIn(argv ...string) {
	m.t.Helper()
	argv = append(slices.Clone(argv), "mtad", "sendmail", "-i", "dora@example.test")
	if out, code := m.feed("Subject: handed in\n\nx\n", argv...); code != 0 {
		m.t.Fatalf("%v: exit %d %s", argv, code, out)
	}
}

// drops hands in mail as a user and as root, whatever the directory is like: the
// package has made it, the unit can not mend it, and the log says who can.
func (m *machine) drops(t *testing.T) {
	t.Helper()
	const dir = "/var/spool/mtad"
	stat := func() string { return m.do("stat", "-c", "%U:%G %a", dir) }
	if got := stat(); got != "mtad:mtad 3733\n" {
		t.Errorf("%s: %s", dir, got)
	}
	if out, code := m.feed("secret\n", "mtad", "user", "add", "dora@example.test", "--password-stdin"); code != 0 {
		t.Fatal(out)
	}
	m.handIn(nobody...)
	m.handIn()
	box := &mailbox{imapclient.New(m.connect(local(143)), nil), t}
	box.wait(box.Login("dora@example.test", "secret"))
	got := strings.Join(box.await("INBOX", 2), "\n")
	mustSay(t, got, "from userid 65534)", "Return-Path: <nobody@", "from userid 0)", "Return-Path: <root@")
	if log := m.journal("mtad", "account=dora@example.test"); strings.Contains(log, "the maildrop directory") {
		t.Errorf("nothing is wrong with it:\n%s", log)
	}
	m.do("chmod", "755", dir)
	told, _ := m.try("mtad", "check")
	mustSay(t, told, "maildrop_directory: "+dir+" belongs to", ", mode ", "install -d -o ")
	m.do("systemctl", "restart", "mtad")
	log := m.journal("mtad", "no mail is taken from the maildrop directory")
	hint := regexp.MustCompile(`install -d -o \d+ -g \d+ -m 3733 ` + dir).FindString(log)
	if hint == "" {
		t.Fatalf("nobody is told what to do:\n%s", log)
	}
	m.do("sh", "-c", hint)
	m.do("systemctl", "restart", "mtad")
	if got := stat(); got != "mtad:mtad 3733\n" {
		t.Errorf("%s: %s", dir, got)
	}
	if told, _ := m.try("mtad", "check"); strings.Contains(told, "maildrop") {
		t.Errorf("%s", told)
	}
}

// users runs the monitor's own tests (commands, mailboxes and .forward as the
// users) as a unit with all that mtad.service has. They look into the homes of
// those users, which the monitor itself may not: hence two capabilities more.
func (m *machine) users(t *testing.T) {
	t.Helper()
	cmd := exec.Command("go", "test", "-c", "-o", m.path("/opt/monitor.test"), "./monitor")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	unit := regexp.MustCompile(`(?m)^(Type|Exec\w*|Restart\w*|KillMode)=.*\n`).ReplaceAllString(read(t, filepath.Join(root, "packaging/systemd/mtad.service")), "")
	unit = strings.Replace(unit, "[Service]\n", "[Service]\nType=oneshot\nWorkingDirectory=/tmp\nExecStart=/opt/monitor.test -test.v\n", 1)
	unit = regexp.MustCompile(`(?m)^CapabilityBoundingSet=.*`).ReplaceAllString(unit, "$0 CAP_DAC_OVERRIDE CAP_FOWNER")
	check(t, os.WriteFile(m.path("/etc/systemd/system/monitor-test.service"), []byte(unit), 0o644))
	m.do("systemctl", "daemon-reload")
	_, code := m.try("systemctl", "start", "monitor-test")
	out := m.journal("monitor-test", "\nPASS\n")
	if code != 0 || strings.Count(out, "--- PASS: Test") < 10 {
		t.Errorf("the monitor's tests in its unit: exit %d\n%s", code, out)
	}
}

// filters puts a process, a script and a milter on a local socket into the
// pipeline of the running server.
func (m *machine) filters(t *testing.T) {
	t.Helper()
	check(t, mtatest.Build(root, m.path("/opt/urlrep"), "./examples/urlrep"))
	for name, text := range map[string]string{"/opt/urls.json": `{"bad.example": 2}`, "/etc/mtad/house.lua": houseRule} {
		check(t, os.WriteFile(m.path(name), []byte(text), 0o644))
		check(t, os.Chmod(m.path(name), 0o644))
	}
	l, err := net.Listen("unix", m.path("/run/marker.sock"))
	check(t, err)
	check(t, os.Chmod(m.path("/run/marker.sock"), 0o666))
	serveMarker(t, l)
	// Fields by the rules' templates would name the rules' points alone.
	m.change("/etc/mtad/mtad.hcl", `filter "spamscore" {}`, `filter "spamscore" { headers = false }`)
	m.change("/etc/mtad/mtad.hcl", `filter "thresholds" {`, `filter "lua" "house" { script = "house.lua" }
  filter "external" "urlrep" {
    path   = "/opt/urlrep"
    config = { map = "/opt/urls.json" }
  }
  filter "milter" "marker" { connect = "unix:/run/marker.sock" }
  filter "thresholds" {`)
	m.change("/etc/mtad/mtad.hcl", `filter "sieve" "user" { scripts = store() }`, `filter "sieve" "user" { scripts = store() }
  filter "lua" "own" { scripts = store() }`)
	m.do("systemctl", "reload", "mtad")
	check(t, os.WriteFile(m.path("/tmp/alice.lua"), []byte("function deliver(msg) msg:set_flags(\"\\\\Flagged\") end\n"), 0o644))
	m.do("mtad", "lua", "put", "alice@example.test", "main", "/tmp/alice.lua", "--activate")
}

// children checks the processes of a filter and of users' Lua scripts: they are the
// server's, may do as little, and the plugin's socket is where nobody else looks;
// killed, it is there again.
func (m *machine) children(t *testing.T) {
	t.Helper()
	uid := strings.TrimSpace(m.do("id", "-u", "mtad"))
	found := map[string]bool{}
	for pid := range strings.FieldsSeq(m.do("pgrep", "-P", m.server())) {
		found[m.status(pid, "Name")+" "+strings.ReplaceAll(m.do("cat", "/proc/"+pid+"/cmdline"), "\x00", " ")] = true
		for key, want := range map[string]string{
			"Uid": strings.Repeat(uid+" ", 3) + uid, "Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0000000000000000", "CapPrm": "0000000000000000",
		} {
			if got := m.status(pid, key); got != want {
				t.Errorf("%s of %s: %q, want %q", key, pid, got, want)
			}
		}
	}
	if names := fmt.Sprint(found); !strings.Contains(names, "urlrep /opt/urlrep") || !strings.Contains(names, "lua-worker") {
		t.Errorf("the server has started %s", names)
	}
	private, code := m.try("nsenter", "--mount", "--target", m.monitor(), "sh", "-c", "stat -c '%a %U' /tmp/mtad-plugin-*")
	if code != 0 || private != "700 mtad\n" {
		t.Errorf("the sockets' folders: %s", private)
	}
	if out, code := m.try("sh", "-c", "ls -d /tmp/mtad-plugin-*"); code == 0 {
		t.Errorf("outside of the unit there is %s", out)
	}
	// What the kernel has, the unit leaves to the workers.
	kernel, _ := m.try("mtad", "check")
	if !strings.Contains(kernel, "behind Landlock") {
		m.journal("mtad", "without Landlock")
	} else if log := m.journal("mtad"); strings.Contains(log, "without Landlock") {
		t.Errorf("Landlock: %s\n%s", kernel, log)
	}
	m.do("pkill", "-9", "-x", "urlrep")
	eventually(t, "another urlrep", timeLimit, func() bool {
		out, code := m.try("pgrep", "-P", m.server(), "-x", "urlrep")
		return code == 0 && out != ""
	})
	mustSay(t, m.do("mtad", "plugin", "logs", "urlrep"), "plugin died", "signal: killed")
}

// change edits a file, whose owner and mode stay.
func (m *machine) change(name, old, new string) {
	m.t.Helper()
	text := read(m.t, m.path(name))
	if !strings.Contains(text, old) {
		m.t.Fatalf("%s has no %q", name, old)
	}
	check(m.t, os.WriteFile(m.path(name), []byte(strings.Replace(text, old, new, 1)), 0o640))
}

// reloads checks that a reload with an error fails, says why and changes nothing.
func (m *machine) reloads(t *testing.T) {
	t.Helper()
	before := m.server()
	m.change("/etc/mtad/mtad.hcl", `data_dir =`, "nonsense = 1\ndata_dir =")
	if out, code := m.try("systemctl", "reload", "mtad"); code == 0 {
		t.Errorf("a reload of nonsense: exit %d\n%s", code, out)
	}
	m.journal("mtad", "nonsense")
	m.change("/etc/mtad/mtad.hcl", "nonsense = 1\n", "")
	m.do("systemctl", "reload", "mtad")
	if got := m.show("ActiveState") + " " + m.server(); got != "active "+before {
		t.Errorf("after reloads: %s, the server was %s", got, before)
	}
}

// dies checks that systemd starts again what was killed, and does not what has
// a wrong configuration.
func (m *machine) dies(t *testing.T) {
	t.Helper()
	for i, victim := range []func() string{m.server, m.monitor} {
		was := m.monitor()
		m.do("kill", "-9", victim())
		eventually(t, "a new monitor that is ready", timeLimit, func() bool {
			return m.show("NRestarts") == fmt.Sprint(i+1) && m.show("ActiveState") == "active" && m.monitor() != was
		})
		m.sends("after a kill")
		m.inbox(3 + i)
	}
	m.do("systemctl", "stop", "mtad")
	if got := m.show("Result"); got != "success" {
		t.Errorf("stopped: %s", got)
	}
	m.change("/etc/mtad/mtad.hcl", `data_dir =`, "nonsense = 1\ndata_dir =")
	if _, code := m.try("systemctl", "start", "mtad"); code == 0 {
		t.Error("it starts with nonsense")
	}
	if got := m.show("ActiveState") + " " + m.show("ExecMainStatus") + " " + m.show("NRestarts"); got != "failed 78 0" {
		t.Errorf("with nonsense: %s", got)
	}
	m.change("/etc/mtad/mtad.hcl", "nonsense = 1\n", "")
	m.do("systemctl", "start", "mtad")
	m.connect(local(25)).Close() // ready is ready
}

// upgrades installs a newer package: the server is another one, the edited
// configuration and the mail are what they were.
func (m *machine) upgrades(t *testing.T, deb string) {
	t.Helper()
	was, text := m.monitor(), read(t, m.path("/etc/mtad/mtad.hcl"))
	m.sends("before the upgrade")
	m.install(deb)
	mustSay(t, m.do("dpkg-query", "-W", "-f", "${Version} ${Status}", "mtad"), "1.1 install ok installed")
	if now := m.monitor(); now == was || m.show("ActiveState") != "active" {
		t.Errorf("monitor %s, was %s: %s", now, was, m.show("ActiveState"))
	}
	if read(t, m.path("/etc/mtad/mtad.hcl")) != text {
		t.Error("the configuration was changed")
	}
	m.sends("after the upgrade")
	m.inbox(6)
}

// removed checks what stays when the package goes: all but the server, which
// runs again when it is back.
func (m *machine) removed(t *testing.T, deb string) {
	t.Helper()
	text := read(t, m.path("/etc/mtad/mtad.hcl"))
	m.do("dpkg", "-r", "mtad")
	if state, _ := m.try("systemctl", "is-active", "mtad"); state != "inactive\n" {
		t.Errorf("removed, it is %s", state)
	}
	if out, code := m.try("pgrep", "-x", "mtad"); code == 0 {
		t.Errorf("removed, it runs as %s", out)
	}
	m.install(deb)
	if got := m.show("ActiveState") + " " + strings.TrimSpace(m.do("systemctl", "is-enabled", "mtad")); got != "active enabled" {
		t.Errorf("back again, it is %s", got)
	}
	if read(t, m.path("/etc/mtad/mtad.hcl")) != text {
		t.Error("the configuration was changed")
	}
	m.inbox(6)
}

// withoutRoot checks the other way to run: sockets of systemd, no monitor, and
// restarts that no client notices.
func (m *machine) withoutRoot(t *testing.T) {
	t.Helper()
	m.do("sh", "-c", `cd /usr/share/doc/mtad/examples && cp mtad.socket /etc/systemd/system/ &&
		mkdir /etc/systemd/system/mtad.service.d && cp unprivileged.conf /etc/systemd/system/mtad.service.d/`)
	for _, port := range []string{"587", "143"} { // below 1024, and no socket has them
		m.change("/etc/mtad/mtad.hcl", `127.0.0.1:`+port, `127.0.0.1:2`+port)
	}
	m.do("systemctl", "stop", "mtad")
	m.do("systemctl", "daemon-reload")
	m.do("systemctl", "enable", "--now", "mtad.socket")
	m.do("systemctl", "start", "mtad.service")
	server := m.monitor()
	for key, want := range map[string]string{"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0000000000000000", "CapBnd": "0000000000000000"} {
		if got := m.status(server, key); got != want {
			t.Errorf("%s without root: %q, want %q", key, got, want)
		}
	}
	if uid := m.status(server, "Uid"); strings.HasPrefix(uid, "0 ") {
		t.Errorf("it runs as %s", uid)
	}
	m.handIn(nobody...)
	eventually(t, "mail taken from the maildrop directory", timeLimit, func() bool { return m.do("find", "/var/spool/mtad", "-type", "f") == "" })
	eventually(t, "the story of it", timeLimit, func() bool {
		return strings.Contains(m.do("mtad", "trace", "last"), "handed in by userid 65534, from <nobody@")
	})
	var greeted, turned atomic.Int64
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.greet(stop, &greeted, &turned) }()
	for range 3 {
		n := greeted.Load()
		m.do("systemctl", "restart", "mtad")
		eventually(t, "clients after a restart", timeLimit, func() bool { return greeted.Load() > n+5 })
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Errorf("a client of a restart: %v", err)
	}
	t.Logf("3 restarts: %d clients greeted, %d asked to come again", greeted.Load(), turned.Load())
	m.sends("to the sockets' server")
	box := &mailbox{imapclient.New(m.connect(local(2143)), nil), t}
	box.wait(box.Login("alice@example.test", "secret"))
	box.await("INBOX", 7)
	out, _ := m.try("systemd-analyze", "security", "--no-pager", "mtad")
	t.Log(regexp.MustCompile(`Overall exposure.*`).FindString(out))
}

// greet connects to port 25 again and again until it is to stop, and returns the
// first connection's error that was not let in or not greeted.
func (m *machine) greet(stop chan struct{}, greeted, turned *atomic.Int64) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		conn, err := m.dial(local(25))
		if err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(timeLimit))
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		switch {
		case strings.HasPrefix(line, "220 "):
			greeted.Add(1)
		case strings.HasPrefix(line, "421 "):
			turned.Add(1)
		default:
			return fmt.Errorf("greeted with %q: %w", line, err)
		}
	}
}
