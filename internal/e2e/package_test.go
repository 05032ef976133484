//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"

	"mtad/internal/mtatest"
)

// The units are what systemd understands, with the program that is tested in
// the place of the installed one.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"mtad.service", "mtad.socket"} {
		text := read(t, filepath.Join(root, "packaging/systemd", name))
		write(t, filepath.Join(dir, name), strings.ReplaceAll(text, "/usr/bin/mtad", mtadPath))
	}
	verify := func(unit string) {
		t.Helper()
		cmd := exec.Command(analyze, "verify", "--recursive-errors=no", "--man=no", filepath.Join(dir, unit))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
	verify("mtad.service")
	verify("mtad.socket")
	write(t, filepath.Join(dir, "mtad.service.d/unprivileged.conf"), read(t, filepath.Join(root, "packaging/systemd/unprivileged.conf")))
	verify("mtad.service")
}

// The capabilities that the unit leaves are enough.
func TestUnitCapabilities(t *testing.T) {
	t.Parallel()
	s := newService(t)
	setpriv := program(t, "setpriv")
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindStringSubmatch(read(t, filepath.Join(root, "packaging/systemd/mtad.service")))
	if m == nil {
		t.Fatal("the unit has no CapabilityBoundingSet")
	}
	set := "-all"
	for _, c := range strings.Fields(m[1]) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	s.start(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = setpriv, append([]string{"setpriv", "--inh-caps=-all", "--bounding-set=" + set, "--no-new-privs"}, cmd.Args...)
	})
	s.takes()
	s.proc.Signal(syscall.SIGHUP)
	s.proc.Await(t, "configuration reloaded")
	s.proc.Signal(syscall.SIGTERM)
	if code := s.ended(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// makeDebs builds the package once for all tests, and of it one with a higher
// version whose configuration file is another.
var makeDebs = sync.OnceValues(func() (string, error) {
	out := filepath.Join(filepath.Dir(mtadPath), "debs") // which goes with the tests
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	b, err := exec.Command("sh", "-euc", `VERSION=1.0 "$1" "$2" "$3"
		cd "$2"
		dpkg-deb -R mtad_1.0_*.deb tree
		sed -i 's/^Version: .*/Version: 1.1/' tree/DEBIAN/control
		echo '# version 1.1' >>tree/etc/mtad/mtad.hcl
		dpkg-deb --root-owner-group -Zgzip -z1 --build tree mtad_1.1.deb
		rm -r tree
		mv mtad_1.0_*.deb mtad_1.0.deb`, "sh", filepath.Join(root, "packaging/deb/build.sh"), out, mtadPath).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build.sh: %w\n%s", err, b)
	}
	return out, err
})

func debs(t testing.TB) (older, newer string) {
	t.Helper()
	program(t, "dpkg-deb")
	dir, err := makeDebs()
	check(t, err)
	return filepath.Join(dir, "mtad_1.0.deb"), filepath.Join(dir, "mtad_1.1.deb")
}

// scratch is a root of its own, with as much in it as the program needs.
func scratch(t *testing.T) string {
	t.Helper()
	dir := mtatest.OpenDir(t)
	for _, d := range []string{"etc", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "tmp", "dev"} {
		check(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	write(t, filepath.Join(dir, "var/lib/dpkg/status"), "")
	for name, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n", "shadow": "", "gshadow": "",
		"resolv.conf": "nameserver 127.0.0.1\n", "hosts": "127.0.0.1 localhost\n",
	} {
		write(t, filepath.Join(dir, "etc", name), text)
		check(t, os.Chmod(filepath.Join(dir, "etc", name), 0o644))
	}
	// A program that needs no library has none here.
	libs, _ := run(t, "", "", "ldd", mtadPath)
	for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(libs, -1) {
		b, err := os.ReadFile(lib)
		if err != nil {
			continue
		}
		to := filepath.Join(dir, lib)
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		check(t, os.WriteFile(to, b, 0o755))
		check(t, os.Chmod(to, 0o755))
		for d := filepath.Dir(to); d != dir; d = filepath.Dir(d) {
			check(t, os.Chmod(d, 0o755))
		}
	}
	return dir
}

// hostState is what installing would change on a host.
func hostState(t *testing.T) string {
	t.Helper()
	out := read(t, "/etc/passwd") + read(t, "/etc/group")
	for _, p := range []string{"/var/lib/dpkg/status", "/etc/mtad", "/var/lib/mtad", "/var/spool/mtad", "/usr/bin/mtad", "/usr/lib/systemd/system/mtad.service"} {
		if st, err := os.Stat(p); err == nil {
			out += fmt.Sprintln(p, st.ModTime(), st.Size())
		}
	}
	return out
}

// The package installs into a root of its own, with its user, directory and
// configuration; the program that is in it takes mail with that configuration,
// changed in its ports only. An upgrade keeps what was changed and brings what was
// not, with the mail; a downgrade finds a database that is newer, and leaves it;
// a purge leaves the mail.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	dpkg, sqlite := program(t, "dpkg"), program(t, "sqlite3")
	program(t, "useradd")
	mtatest.NeedRoot(t, "a package is installed, into a root of its own")
	before := hostState(t)
	dir := scratch(t)
	older, newer := debs(t)
	mustSay(t, must(t, "dpkg-deb", "--info", older), "Package: mtad", "conffiles")
	install := func(args ...string) {
		t.Helper()
		argv := []string{dpkg, "--root=" + dir, "--log=/dev/null", "--force-script-chrootless", "--force-depends", "--force-confdef"}
		must(t, append(argv, args...)...)
	}
	conf := filepath.Join(dir, "etc/mtad/mtad.hcl")
	install("-i", older)
	installed(t, dir)
	install("-i", newer) // nobody changed the file: it is the new one
	installed(t, dir)
	mustSay(t, read(t, conf), "# version 1.1")
	install("-i", older)
	installed(t, dir)
	servesInstalled(t, dir, 1)
	changed := read(t, conf)
	check(t, os.WriteFile(filepath.Join(dir, "etc/mtad/conf.d/hostname.hcl"), []byte("hostname = \"other.test\"\n"), 0o640))
	install("-i", newer)
	installed(t, dir)
	if read(t, conf) != changed || !strings.Contains(read(t, filepath.Join(dir, "etc/mtad/conf.d/hostname.hcl")), "other.test") {
		t.Error("an upgrade has changed the configuration")
	}
	mustSay(t, read(t, conf+".dpkg-dist"), "# version 1.1")
	servesInstalled(t, dir, 2)
	// As if the newer program had changed the tables.
	db := filepath.Join(dir, "var/lib/mtad/store/mtad.db")
	must(t, sqlite, db, "UPDATE schema_version SET version = version + 1 WHERE name = 'mailbox'")
	install("-i", older)
	if out, code := inRoot(dir, "", "serve"); code != 78 {
		t.Errorf("a downgrade: exit %d\n%s", code, out)
	} else {
		mustSay(t, out, "newer version of this program", "run the newer program, or restore a backup")
	}
	must(t, sqlite, db, "UPDATE schema_version SET version = version - 1 WHERE name = 'mailbox'")
	install("-i", newer)
	servesInstalled(t, dir, 3)
	install("--purge", "mtad")
	for p, there := range map[string]bool{"etc/mtad": false, "usr/bin/mtad": false, "var/lib/mtad/store": true} {
		if _, err := os.Stat(filepath.Join(dir, p)); (err == nil) != there {
			t.Errorf("after a purge: %s: %v", p, err)
		}
	}
	if hostState(t) != before {
		t.Error("the host was changed")
	}
}

// installed checks users, files and modes.
func installed(t *testing.T, dir string) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^mtad:[^:]*:(\d+):(\d+):[^:]*:/var/lib/mtad:/usr/sbin/nologin$`).FindStringSubmatch(read(t, filepath.Join(dir, "etc/passwd")))
	if m == nil {
		t.Fatalf("no user mtad:\n%s", read(t, filepath.Join(dir, "etc/passwd")))
	}
	for p, want := range map[string]string{
		"var/spool/mtad": m[1] + " " + m[2] + " 43733", "var/lib/mtad": m[1] + " " + m[2] + " 40700", "etc/mtad": "0 " + m[2] + " 40750", "etc/mtad/mtad.hcl": "0 " + m[2] + " 100640",
		"usr/bin/mtad": "0 0 100755", "etc/mtad/conf.d/hostname.hcl": "0 " + m[2] + " 100640",
		"usr/lib/systemd/system/mtad.service": "0 0 100644",
	} {
		st, err := os.Stat(filepath.Join(dir, p))
		check(t, err)
		sys := st.Sys().(*syscall.Stat_t)
		if got := fmt.Sprintf("%d %d %o", sys.Uid, sys.Gid, sys.Mode); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

// inRoot runs the installed program within its root.
func inRoot(dir, stdin string, args ...string) (string, int) {
	cmd := exec.Command("/usr/bin/mtad", args...)
	cmd.Dir, cmd.Stdin, cmd.SysProcAttr = "/", strings.NewReader(stdin), &syscall.SysProcAttr{Chroot: dir}
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// servesInstalled runs the installed server within its root, sends alice a
// message and finds that it is her nth.
func servesInstalled(t *testing.T, dir string, n int) {
	t.Helper()
	mtad := func(stdin string, args ...string) string {
		t.Helper()
		out, code := inRoot(dir, stdin, args...)
		if code != 0 {
			t.Fatalf("mtad %v: exit %d\n%s", args, code, out)
		}
		return out
	}
	mustSay(t, mtad("", "config", "check"), "is good")
	smtp, imap := ownPorts(t, filepath.Join(dir, "etc/mtad/mtad.hcl"))
	p := &mtatest.Process{Cmd: exec.Command("/usr/bin/mtad", "serve"), Out: &mtatest.Buffer{}, Exited: make(chan struct{})}
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	p.Cmd.Dir, p.Cmd.Stdin, p.Cmd.SysProcAttr = "/", null, &syscall.SysProcAttr{Chroot: dir}
	p.Start(t, stopLimit)
	p.Await(t, "msg=serving")
	if n == 1 {
		mtad("", "domain", "add", "example.test")
		mtad("secret\n", "user", "add", "alice@example.test", "--password-stdin")
	}
	check(t, submit(t, local(smtp), "ann@good.test", []string{"alice@example.test"}, letter("ann@good.test", "alice@example.test", "hello", "x")))
	c, err := imapclient.DialInsecure(local(imap), nil)
	check(t, err)
	defer c.Close()
	box := &mailbox{c, t}
	box.wait(box.Login("alice@example.test", "secret"))
	box.await("INBOX", n)
	mustSay(t, mtad("", "stop"), "stopped")
	<-p.Exited
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// ownPorts gives the packaged configuration ports that are free here, once, and
// returns them.
func ownPorts(t *testing.T, path string) (smtp, imap int) {
	t.Helper()
	text := regexp.MustCompile(`"[0-9.]*:(25|587|143|4190)"`).ReplaceAllStringFunc(read(t, path), func(string) string {
		return fmt.Sprintf("%q", local(freePort(t)))
	})
	check(t, os.WriteFile(path, []byte(text), 0o640)) // owner and mode stay
	var ports []int
	for _, m := range regexp.MustCompile(`(?m)^  addr     = \["127\.0\.0\.1:(\d+)"\]`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		check(t, err)
		ports = append(ports, n)
	}
	if len(ports) != 4 {
		t.Fatalf("the packaged listeners have ports %v", ports)
	}
	return ports[0], ports[2]
}
