package mtatest

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Virus is what the ClamAV of a test takes for one.
const Virus = "X-THIS-IS-THE-VIRUS-OF-A-TEST"

// OpenDMARC runs an OpenDMARC that calls itself dmarc.test, and returns its
// socket. It has no network at all, so that no policy is looked up;
// that needs root.
func OpenDMARC(t testing.TB) string {
	t.Helper()
	path := Program(t, "opendmarc")
	NeedRoot(t, "OpenDMARC is kept from the network")
	dir := OpenDir(t)
	socket, conf := filepath.Join(dir, "sock"), filepath.Join(dir, "opendmarc.conf")
	hosts := filepath.Join(dir, "ignored") // else it ignores 127.0.0.1
	Write(t, hosts, "192.0.2.1\n")
	Write(t, conf, "AuthservID dmarc.test\nIgnoreHosts "+hosts+"\nRequiredHeaders true\nRejectFailures false\nSyslog false\nUMask 000\nSoftwareHeader true\n")
	Spawn(t, dir, peerPatience, Program(t, "unshare"), "-n", path, "-f", "-c", conf, "-p", "local:"+socket).AwaitSocket(t, "unix", socket)
	return socket
}

// ClamAV runs clamd with one signature, that of Virus, and clamav-milter in front
// of it, which refuses what is infected, and returns the milter's socket.
func ClamAV(t testing.TB) string {
	t.Helper()
	daemon, milter := Program(t, "clamd"), Program(t, "clamav-milter")
	dir := OpenDir(t)
	fill := strings.NewReplacer("DIR", dir)
	Write(t, filepath.Join(dir, "db", "test.ndb"), "Test.Virus:0:*:"+hex.EncodeToString([]byte(Virus))+"\n")
	Write(t, filepath.Join(dir, "clamd.conf"), fill.Replace("LocalSocket DIR/clamd\nLocalSocketMode 666\nDatabaseDirectory DIR/db\nTemporaryDirectory DIR\nForeground yes\n"))
	Write(t, filepath.Join(dir, "milter.conf"), fill.Replace("MilterSocket unix:DIR/milter\nMilterSocketMode 666\nClamdSocket unix:DIR/clamd\n"+
		"Foreground yes\nTemporaryDirectory DIR\nOnInfected Reject\nRejectMsg Infected by %v\nAddHeader Replace\n"))
	Spawn(t, dir, peerPatience, daemon, "--config-file="+filepath.Join(dir, "clamd.conf")).AwaitSocket(t, "unix", filepath.Join(dir, "clamd"))
	socket := filepath.Join(dir, "milter")
	Spawn(t, dir, peerPatience, milter, "--config-file="+filepath.Join(dir, "milter.conf")).AwaitSocket(t, "unix", socket)
	return socket
}

// offline are the modules of Rspamd that want the network or Redis.
const offline = "rbl spf dkim dmarc arc asn dkim_signing fuzzy_check ratelimit greylist neural reputation history_redis mx_check phishing replies url_redirector maps_stats"

// Rspamd runs Rspamd's proxy as a milter that judges by itself, with every module
// off that needs more than the message, and returns its socket. It has no network
// at all; that needs root.
func Rspamd(t testing.TB) string {
	t.Helper()
	path := Program(t, "rspamd")
	NeedRoot(t, "Rspamd is kept from the network")
	dir := OpenDir(t)
	etc, run := filepath.Join(dir, "etc"), filepath.Join(dir, "run")
	Must(t, "cp", "-r", "/etc/rspamd", etc)
	Check(t, os.MkdirAll(run, 0o777))
	override := func(name, text string) {
		Write(t, filepath.Join(etc, "override.d", name), strings.ReplaceAll(text, "DIR", dir))
	}
	Write(t, filepath.Join(dir, "tld"), "test\n") // the real list takes ten seconds to compile
	override("options.inc", "pidfile = \"DIR/run/pid\";\ntemp_dir = \"DIR/run\";\nenable_test_patterns = true;\ndisable_hyperscan = true;\nurl_tld = \"DIR/tld\";\ndns { nameserver = [\"127.0.0.1:1\"]; timeout = 0.01s; retransmits = 1; }\n")
	override("worker-proxy.inc", "bind_socket = \"DIR/run/sock mode=0666\";\nmilter = yes;\ncount = 1;\nupstream \"local\" { default = yes; self_scan = yes; }\n")
	override("logging.inc", "type = \"file\"; filename = \"DIR/run/log\"; level = \"warning\";\n")
	override("milter_headers.conf", "use = [\"x-spamd-bar\", \"x-spam-level\", \"x-spam-status\", \"x-spamd-result\"];\nskip_local = false;\n")
	for m := range strings.FieldsSeq(offline) {
		override(m+".conf", "enabled = false;\n")
	}
	for _, w := range []string{"normal", "controller", "fuzzy"} {
		override("worker-"+w+".inc", "enabled = false;\n")
	}
	Must(t, "chown", "-R", "_rspamd", dir)
	argv := []string{Program(t, "unshare"), "-n", path, "-u", "_rspamd", "-g", "_rspamd", "-f", "-c", filepath.Join(etc, "rspamd.conf")}
	for name, value := range map[string]string{"CONFDIR": etc, "LOCAL_CONFDIR": etc, "DBDIR": run, "RUNDIR": run, "LOGDIR": run} {
		argv = append(argv, "--var="+name+"="+value)
	}
	socket := filepath.Join(run, "sock")
	Spawn(t, dir, peerPatience, argv...).AwaitSocket(t, "unix", socket)
	return socket
}

// LibMilter compiles a milter in C, with Sendmail's library, and runs it.
func LibMilter(t testing.TB, source string) string {
	t.Helper()
	cc := Program(t, "cc")
	if _, err := os.Stat("/usr/include/libmilter/mfapi.h"); err != nil {
		t.Skip("libmilter-dev not installed")
	}
	dir := OpenDir(t)
	program := filepath.Join(dir, "milter")
	Must(t, cc, "-o", program, source, "-lmilter", "-lpthread")
	return milterAt(t, dir, program)
}

// PythonMilter runs a milter in Python, with python3-milter.
func PythonMilter(t testing.TB, source string) string {
	t.Helper()
	python := "/usr/bin/python3" // Debian's, which has Debian's modules
	if _, err := os.Stat(python); err != nil {
		t.Skip("python3 not installed")
	}
	if _, code := Run(t, "", "", python, "-c", "import Milter"); code != 0 {
		t.Skip("python3-milter not installed")
	}
	return milterAt(t, OpenDir(t), python, source)
}

// milterAt runs a milter whose last argument is its socket.
func milterAt(t testing.TB, dir string, argv ...string) string {
	t.Helper()
	socket := filepath.Join(dir, "sock")
	Spawn(t, dir, peerPatience, append(argv, "local:"+socket)...).AwaitSocket(t, "unix", socket)
	Check(t, os.Chmod(socket, 0o777)) // Postfix's user connects
	return socket
}
