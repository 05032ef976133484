package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/dev"
	"mtad/internal/mtatest"
	"mtad/pipeline"
	"mtad/smtp"
	"mtad/smtpd"
)

// running is dev mode's house, on free ports, inside the test's process.
type running struct {
	dev     dev.Dir
	house   *house
	traces  <-chan pipeline.Trace
	log     *mtatest.Buffer
	stop    context.CancelFunc
	stopped chan error
}

// startHouse starts dev mode in a new directory. change may edit its
// configuration.
func startHouse(t *testing.T, change func(string) string) *running {
	t.Helper()
	r := &running{
		dev: dev.Dir{Path: t.TempDir(), Ports: dev.PortsFrom(mtatest.DevPorts(t).Base)},
		log: &mtatest.Buffer{}, stopped: make(chan error, 1),
	}
	check(t, r.dev.Prepare())
	if change != nil {
		r.edit(t, change)
	}
	s, err := dev.StartSink(filepath.Join(r.dev.Path, "sink"), r.dev.Ports.Sink)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	ready := make(chan struct{})
	go func() {
		r.stopped <- serve(ctx, source{path: r.config()}, &boot.Start{}, r.log, func(h *house) error {
			r.house = h
			r.traces, _ = h.traces.Subscribe()
			defer close(ready)
			return seed(ctx, h)
		})
	}()
	select {
	case <-ready:
	case err := <-r.stopped:
		t.Fatalf("serve: %v\n%s", err, r.log)
	}
	t.Cleanup(func() {
		r.stop()
		check(t, <-r.stopped)
	})
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *running) config() string { return filepath.Join(r.dev.Path, configName) }

// edit changes the configuration file.
func (r *running) edit(t *testing.T, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(r.config())
	check(t, err)
	check(t, os.WriteFile(r.config(), []byte(change(string(b))), 0o600))
}

// mtad runs a command line and returns what it printed and its exit code.
func (r *running) mtad(stdin string, args ...string) (out, errs string, code int) {
	return runMtad(stdin, append([]string{"-c", r.config()}, args...)...)
}

func runMtad(stdin string, args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&o)
	root.SetErr(&e)
	code = run(ctx, root)
	return o.String(), e.String(), code
}

// want runs a command that must succeed and print something.
func (r *running) want(t *testing.T, text string, args ...string) string {
	t.Helper()
	out, errs, code := r.mtad("", args...)
	if code != 0 || !strings.Contains(out, text) {
		t.Fatalf("mtad %s: exit %d, no %q in\n%s%s", strings.Join(args, " "), code, text, out, errs)
	}
	return out
}

// await waits until an event says something.
func (r *running) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case tr := <-r.traces:
			for _, e := range tr.Events {
				if strings.Contains(fmt.Sprintf("%+v", e), text) {
					return
				}
			}
		case <-timeout:
			t.Fatalf("nothing said %q\n%s", text, r.log)
		}
	}
}

// smtpAddr is where the house takes mail.
func (r *running) smtpAddr() string { return fmt.Sprintf("127.0.0.1:%d", r.dev.Ports.SMTP) }

// failing is a writer that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// An account that is not here, and one that is gone, have no addresses; that is an
// answer, not a fault.
func TestStandingOfNobody(t *testing.T) {
	r := startHouse(t, nil)
	a := smtp.Address{Local: "alice", Domain: "example.test"}
	for user, want := range map[string]smtpd.Standing{"alice@example.test": smtpd.Own, "bob@example.test": smtpd.Foreign, "eve@far.test": smtpd.Foreign, "no address": smtpd.Foreign} {
		if got, err := r.house.standing(t.Context(), user, a); err != nil || got != want {
			t.Errorf("%s: %v, %v", user, got, err)
		}
	}
}
