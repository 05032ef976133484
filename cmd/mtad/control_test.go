package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/admin"
	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/dev"
	"mtad/internal/mtatest"
	"mtad/message"
)

func TestLive(t *testing.T) {
	r := startHouse(t, nil)
	for _, form := range []string{"table", "ndjson"} {
		ctx, cancel := context.WithCancel(context.Background())
		pr, pw := io.Pipe()
		root := newRoot()
		root.SetArgs([]string{"trace", "live", "-o", form, "-c", r.config()})
		root.SetOut(pw)
		root.SetErr(pw)
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, root)
			pw.Close()
		}()
		// Mail is sent until the subscription sees some.
		found := make(chan string, 1)
		go func() {
			buf := make([]byte, 64<<10)
			n, _ := pr.Read(buf)
			found <- string(buf[:n])
			io.Copy(io.Discard, pr)
		}()
		first := ""
		for first == "" {
			r.want(t, "250 2.0.0", "smtp", "send", "--to", "alice@example.test")
			select {
			case first = <-found:
			case <-time.After(50 * time.Millisecond):
			}
		}
		if form == "table" && !strings.Contains(first, " session  127.0.0.1") && !strings.Contains(first, " deliver ") {
			t.Errorf("got %q", first)
		}
		if form == "ndjson" {
			var tr admin.Trace
			if line, _, _ := strings.Cut(first, "\n"); json.Unmarshal([]byte(line), &tr) != nil || tr.ID == "" {
				t.Errorf("got %q", first)
			}
		}
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("%s: exit %d", form, code)
		}
	}
}

func TestMetricsOfARunningHouse(t *testing.T) {
	r := startHouse(t, nil)
	r.want(t, "250 2.0.0", "smtp", "send", "--client", "192.0.2.10", "--file", filepath.Join(r.dev.Path, "mail", "good.eml"))
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", r.dev.Ports.HTTP))
	check(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	check(t, err)
	for _, want := range []string{
		`mtad_pipeline_step_verdicts_total{action="continue",kind="spf",pipeline="inbound",step="spf"} 1`,
		`mtad_pipeline_step_seconds_count{kind="lua",pipeline="delivery",step="sort"} 1`,
		`mtad_connections{listener="mx",protocol="smtp"}`, `mtad_connections{listener="imap",protocol="imap"} 0`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("missing %s", want)
		}
	}
	out := r.want(t, "mx", "status", "-o", "json")
	var st admin.Status
	check(t, json.Unmarshal([]byte(out), &st))
	if st.PID != os.Getpid() || !filepath.IsAbs(st.Config) || len(st.Listeners) != 7 || len(st.Steps) < 6 {
		t.Errorf("got %+v", st)
	}
}

func TestTracesSurviveARestart(t *testing.T) {
	r := startHouse(t, nil)
	out := r.want(t, "queued [", "smtp", "send", "--to", "alice@example.test")
	_, id, _ := strings.Cut(out, "queued [")
	id = id[:13]
	r.await(t, "stored in INBOX")
	r.stop()
	check(t, <-r.stopped)
	if _, errs, code := r.mtad("", "trace", id); code != exitNoDaemon {
		t.Fatalf("exit %d %s", code, errs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	ready := make(chan struct{})
	go func() {
		r.stopped <- serve(ctx, source{path: r.config()}, &boot.Start{}, r.log, func(*house) error {
			close(ready)
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-r.stopped:
		t.Fatal(err)
	}
	r.want(t, "stored in INBOX as UID 1", "trace", id)
}

// TestSecondServer checks that a server which may not run leaves the socket of
// the one that does alone.
func TestSecondServer(t *testing.T) {
	r := startHouse(t, nil)
	var log mtatest.Buffer
	err := serve(t.Context(), source{path: r.config()}, &boot.Start{}, &log, nil)
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
	r.want(t, "mtad", "status")
}

func TestBusyHTTPPort(t *testing.T) {
	r := startHouse(t, nil)
	other := &running{dev: dev.Dir{Path: t.TempDir(), Ports: r.dev.Ports}, log: &mtatest.Buffer{}}
	check(t, other.dev.Prepare())
	err := serve(t.Context(), source{path: other.config()}, &boot.Start{}, other.log, nil)
	if err == nil || !strings.Contains(err.Error(), "listener http: ") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(other.dev.Path, "data", controlSocket)); err == nil {
		t.Error("the control socket is left")
	}
}

func TestStopByCommand(t *testing.T) {
	r := startHouse(t, nil)
	live := make(chan int, 1)
	go func() {
		_, _, code := r.mtad("", "trace", "live")
		live <- code
	}()
	r.want(t, "stopped", "stop")
	if err := <-r.stopped; err != nil {
		t.Error(err)
	}
	r.stopped <- nil
	if code := <-live; code != 0 && code != exitNoDaemon {
		t.Errorf("live ended with %d", code)
	}
	if strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("errors while stopping:\n%s", r.log)
	}
}

// A certificate that is not there is an error of the configuration, with its
// place, and changes nothing.
func TestReloadWithoutCertificate(t *testing.T) {
	r := startHouse(t, nil)
	key := filepath.Join(r.dev.Path, "key.pem")
	check(t, os.Rename(key, key+".away"))
	for _, verb := range [][]string{{"reload"}, {"config", "check"}} {
		if _, errs, code := r.mtad("", verb...); code != exitConfig || !strings.Contains(errs, "mtad.hcl:") || !strings.Contains(errs, "key.pem") {
			t.Errorf("%s: exit %d %s", verb, code, errs)
		}
	}
	check(t, os.WriteFile(key, []byte("no key"), 0o600))
	if _, errs, code := r.mtad("", "reload"); code != exitConfig || !strings.Contains(errs, "mtad.hcl:") {
		t.Errorf("exit %d %s", code, errs)
	}
	r.want(t, "mtad", "status")
	check(t, os.Rename(key+".away", key))
	r.want(t, "reloaded", "reload")
}

func TestReloadChangesFilters(t *testing.T) {
	r := startHouse(t, nil)
	forged := []string{"smtp", "send", "--client", "203.0.113.5", "--file", filepath.Join(r.dev.Path, "mail", "forged.eml")}
	if out, _, code := r.mtad("", forged...); code != exitNo {
		t.Fatalf("exit %d\n%s", code, out)
	}
	r.edit(t, func(s string) string {
		return strings.Replace(s, `filter "spf" { reject = true }`, `filter "spf" {}`, 1)
	})
	r.want(t, "reloaded", "reload")
	if out, _, code := r.mtad("", forged...); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	r.edit(t, func(s string) string { return s + "\nnonsense {}\n" })
	if _, errs, code := r.mtad("", "reload"); code != exitConfig || !strings.Contains(errs, "mtad.hcl:") {
		t.Errorf("exit %d %s", code, errs)
	}
	if out, _, code := r.mtad("", append(forged, "--server", r.smtpAddr())...); code != 0 {
		t.Errorf("the old configuration does not go on: exit %d\n%s", code, out)
	}
}

func TestAliasThatLeadsNowhere(t *testing.T) {
	r := startHouse(t, nil)
	for target, note := range map[string]string{
		"alice": "", "x@far.test": "", "nobody@example.test": "note: nobody@example.test does not exist here", "ring@example.test": "circle",
	} {
		_, errs, code := r.mtad("", "alias", "add", "ring@example.test", target)
		if code != 0 || !strings.Contains(errs, note) || note == "" && errs != "" {
			t.Errorf("%s: exit %d, %q", target, code, errs)
		}
		r.want(t, "", "alias", "remove", "ring@example.test", target)
	}
}

// A listener that the new configuration has no more goes on until the restart,
// with the pipeline it had.
func TestReloadWithoutAListenerThatIsServed(t *testing.T) {
	r := startHouse(t, nil)
	r.edit(t, func(s string) string {
		s = strings.Replace(s, `listener "mx"`, `listener "front"`, 1)
		return strings.ReplaceAll(strings.ReplaceAll(s, `pipeline = "inbound"`, `pipeline = "in"`), `pipeline "inbound"`, `pipeline "in"`)
	})
	for range 2 {
		r.want(t, "restart: listener.front", "reload")
		r.want(t, "250 2.0.0", "smtp", "send", "--server", r.smtpAddr(), "--to", "alice@example.test")
	}
}

// A reload that fails late changes nothing.
func TestReloadFailsWhole(t *testing.T) {
	r := startHouse(t, nil)
	check(t, os.WriteFile(filepath.Join(r.dev.Path, "dead"), []byte("#!/bin/false\n"), 0o700))
	postmaster := func(to string) string {
		t.Helper()
		res, err := r.house.directory.Lookup(t.Context(), "postmaster", "example.test")
		check(t, err)
		if len(res.Targets) != 1 || !strings.HasPrefix(res.Targets[0], to) {
			t.Errorf("postmaster is %+v, want %s", res.Targets, to)
		}
		return to
	}
	cert := r.house.cert.Load()
	postmaster("alice@")
	r.edit(t, func(s string) string {
		s = strings.Replace(s, `postmaster = "alice@example.test"`, `postmaster = "bob@example.test"`, 1)
		return strings.Replace(s, `filter "spf" {`, `filter "external" "dead" { path = "`+filepath.Join(r.dev.Path, "dead")+`" }`+"\n"+`filter "spf" {`, 1)
	})
	if out, errs, code := r.mtad("", "reload"); code == 0 {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	postmaster("alice@")
	if r.house.cert.Load() != cert {
		t.Error("the certificate was changed")
	}
}

// A new host name waits for the restart everywhere: results in the name that is
// still in use are forged.
func TestReloadOfTheHostname(t *testing.T) {
	r := startHouse(t, nil)
	r.edit(t, func(s string) string {
		return strings.Replace(s, `hostname   = "mx.example.test"`, `hostname   = "new.example.test"`, 1)
	})
	r.want(t, "restart: hostname", "reload")
	for name, want := range map[string]bool{"mx.example.test": true, "far.test": false} {
		m, err := message.Parse(message.FromBytes([]byte("Authentication-Results: " + name + "; spf=pass\r\n\r\nx\r\n")))
		check(t, err)
		if got := r.house.hide(listener{})(m.Header().Fields()[0]); got != want {
			t.Errorf("results of %s are hidden: %v", name, got)
		}
	}
}
