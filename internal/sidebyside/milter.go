package main

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed testdata/nullmilter.c
var nullMilter []byte

// milterLoads are those that both servers take with milters in front.
var milterLoads = []load{
	{name: "20 sessions, reused", args: []string{"-s", "20", "-d"}},
}

// milters compares acceptance with milters that do nothing, written with
// Sendmail's library: the same processes serve both.
func (b *bench) milters() error {
	bin, err := b.buildMilter()
	if err != nil {
		fmt.Printf("\nmilters: skipped: %v (Debian: gcc, libmilter-dev)\n", err)
		return nil
	}
	for _, n := range []int{0, 1, 3} {
		if err := b.withMilters(bin, n, 0); err != nil {
			return err
		}
	}
	for _, n := range []int{1, 3} {
		if err := b.withMilters(bin, n, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) buildMilter() (string, error) {
	source, bin := filepath.Join(b.dir, "nullmilter.c"), filepath.Join(b.dir, "nullmilter")
	if err := os.WriteFile(source, nullMilter, 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command("cc", "-O2", "-o", bin, source, "-lmilter", "-lpthread").CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc: %w: %.200s", err, out)
	}
	return bin, nil
}

// withMilters measures with n milters. Of those that take a while for MAIL, RCPT, DATA
// and the end, only the latency says something.
func (b *bench) withMilters(bin string, n int, pause time.Duration) error {
	var sockets []string
	var pids []int
	for i := range n {
		socket := filepath.Join(b.dir, fmt.Sprintf("null-%d-%d-%d.sock", n, i, pause.Milliseconds()))
		pid, stop, err := startMilter(bin, socket, pause)
		if err != nil {
			return err
		}
		defer stop()
		sockets, pids = append(sockets, socket), append(pids, pid)
	}
	name := fmt.Sprintf("milter-%d-%d", n, pause.Milliseconds())
	pf, err := startPostfix(filepath.Join(b.dir, "postfix-"+name), discard, sockets...)
	if err != nil {
		return err
	}
	defer pf.stop()
	mt, err := startMtad(filepath.Join(b.dir, "mtad-"+name), b.binary, discard, sockets...)
	if err != nil {
		return err
	}
	defer mt.stop()
	pf.milters, mt.milters = pids, pids
	if pause > 0 {
		fmt.Printf("\nmilters in front: %d, that take %v four times a message\n", n, pause)
		return b.latency(pf, mt)
	}
	fmt.Printf("\n%-36s %10s %10s   %-20s %s\n", fmt.Sprintf("accept, milters in front: %d", n), "postfix/s", "mtad/s", "ratio (spread)", "CPU ms a message: postfix, mtad")
	for _, l := range milterLoads {
		if err := b.row(l, pf, mt); err != nil {
			return err
		}
		fmt.Printf("%-36s %10.2f %10.2f\n", "    CPU ms of the milters", median(pf.beside), median(mt.beside))
	}
	return b.latency(pf, mt)
}

// startMilter starts one that everybody may connect to.
func startMilter(bin, socket string, pause time.Duration) (pid int, stop func(), err error) {
	cmd := exec.Command(bin, "local:"+socket, strconv.FormatInt(pause.Microseconds(), 10))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for range 100 {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return cmd.Process.Pid, stop, os.Chmod(socket, 0o666)
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return 0, nil, fmt.Errorf("%s does not listen on %s", bin, socket)
}
