package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	r := startHouse(t, nil)
	r.want(t, "250 2.0.0", "smtp", "send", "--to", "alice@example.test", "--subject", "found-again")
	r.await(t, "stored in INBOX")
	out := r.want(t, "ok  ", "check")
	for _, area := range []string{"configuration", "certificate", "disk", "server", "database", "journal", "queue", "postmaster", "lua"} {
		if !strings.Contains(out, area) {
			t.Errorf("no %s in\n%s", area, out)
		}
	}
	r.want(t, "folders with 1 messages: all is well", "db", "check")
	r.want(t, "folders with 1 messages: all is well", "mailbox", "verify", "alice")
	if _, errs, code := r.mtad("", "mailbox", "verify", "nobody"); code != 67 || !strings.Contains(errs, "no such user") {
		t.Errorf("exit %d %s", code, errs)
	}

	// What is wrong is named, with what to do.
	check(t, os.Chmod(filepath.Join(r.dev.Path, "data"), 0o755))
	r.edit(t, func(s string) string {
		return strings.Replace(s, `postmaster = "alice@example.test"`, `postmaster = "nobody@example.test"`, 1)
	})
	r.want(t, "reloaded", "reload")
	out, _, code := r.mtad("", "check")
	for _, want := range []string{"has mode 0755", "-> chmod 700", "nobody gets postmaster's mail"} {
		if code != exitNo || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	check(t, os.Chmod(filepath.Join(r.dev.Path, "data"), 0o700))

	// Octets that changed on the disk are found while the server runs.
	segments, err := filepath.Glob(filepath.Join(r.dev.Path, "data", storeDir, "journal", "*"))
	check(t, err)
	for _, path := range segments {
		b, err := os.ReadFile(path)
		check(t, err)
		if i := bytes.Index(b, []byte("found-again")); i > 0 {
			b[i]++
			check(t, os.WriteFile(path, b, 0o600))
		}
	}
	if out, errs, code := r.mtad("", "db", "check"); code != exitNo || !strings.Contains(out, "LOST message ") || !strings.Contains(errs, "keep a copy") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
}

// A store without its server is opened directly.
func TestCheckOffline(t *testing.T) {
	r := startHouse(t, nil)
	r.want(t, "250 2.0.0", "smtp", "send", "--to", "alice@example.test")
	r.await(t, "stored in INBOX")
	r.stop()
	check(t, <-r.stopped)
	r.stopped <- nil
	r.want(t, "folders with 1 messages: all is well", "db", "check")
	if out, _, code := r.mtad("", "check"); code != exitNo || !strings.Contains(out, "mtad is not running") {
		t.Errorf("exit %d %s", code, out)
	}
}

func TestCertificateAge(t *testing.T) {
	r := startHouse(t, nil)
	c, err := loadConfig(r.config())
	check(t, err)
	cert, err := c.certificate()
	check(t, err)
	for left, want := range map[time.Duration]level{-time.Hour: levelBad, time.Hour: levelBad, 10 * 24 * time.Hour: levelWarn, 100 * 24 * time.Hour: levelOK} {
		if got := checkCertificate(c, cert.Leaf.NotAfter.Add(-left)); len(got) != 1 || got[0].Level != want {
			t.Errorf("%v left: %+v", left, got)
		}
	}
}
