// Package command runs programs that the configuration names, for scripts that
// know them by these names only: bounded in time and output, with nothing in
// their environment but PATH, and killed with all that they have started.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// MaxOutput bounds what is kept of a program's output, in octets.
const MaxOutput = 1 << 20

// The time a program has, and the time its output may be awaited behind its end.
const (
	maxTime   = 30 * time.Second
	graceTime = time.Second
)

// ErrNotAllowed means that no program has that name.
var ErrNotAllowed = errors.New("not allowed by the configuration")

// Set are programs by name, with the arguments that the administrator wrote.
type Set map[string][]string

// Parse reads names and command lines; words are divided by white space.
func Parse(lines map[string]string) (Set, error) {
	out := Set{}
	for name, line := range lines {
		argv := strings.Fields(line)
		if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
			return nil, fmt.Errorf("%s: the program's whole path is wanted, such as /usr/bin/true", name)
		}
		if st, err := os.Stat(argv[0]); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("%s: %s is no program that can be run", name, argv[0])
		}
		out[name] = argv
	}
	return out, nil
}

// Output is what a program came to.
type Output struct {
	Status int    // exit status; 128 and the signal's number if one ended it
	Stdout []byte // cut to MaxOutput
	Stderr []byte // likewise; Stdout has it if they were joined
}

// Run runs the program of that name with further arguments. With joined both
// outputs are in Stdout, in the order they came.
func (s Set) Run(ctx context.Context, name string, args []string, stdin io.Reader, joined bool) (Output, error) {
	argv := s[name]
	if argv == nil {
		return Output{}, ErrNotAllowed
	}
	return Run(ctx, append(argv[:len(argv):len(argv)], args...), stdin, joined)
}

// Run runs a program that the caller vouches for.
func Run(ctx context.Context, argv []string, stdin io.Reader, joined bool) (Output, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	stdout, stderr := &bounded{left: MaxOutput}, &bounded{left: MaxOutput}
	if joined {
		stderr = stdout
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = graceTime
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Output{}, fmt.Errorf("it was killed: %w", ctx.Err())
	case err == nil || errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay):
		status := cmd.ProcessState.ExitCode()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			status = 128 + int(ws.Signal())
		}
		return Output{status, stdout.b.Bytes(), stderr.b.Bytes()}, nil
	}
	return Output{}, err
}

// bounded keeps the beginning of what is written.
type bounded struct {
	b    bytes.Buffer
	left int
}

// Write takes everything and keeps what fits.
func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.b.Write(p[:n])
	return len(p), nil
}
