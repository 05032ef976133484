// Command odd is a plugin for tests: what it does is said by the subject.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"mtad/sdk"
)

func main() {
	m := sdk.Manifest{
		Name: "odd", Version: "0", Stages: []string{"mail", "message"}, Writes: []string{"score", "header"},
		Options: []sdk.Option{{Name: "fail", Doc: "Why it does not start."}},
	}
	if len(os.Args) > 1 { // all that it reads, at the one stage of most filters
		m.Stages, m.Reads = m.Stages[1:], os.Args[1:]
	}
	sdk.Serve(m, func(config map[string]string) (sdk.Filter, error) {
		if config["fail"] != "" {
			return nil, errors.New(config["fail"])
		}
		if len(os.Args) > 1 {
			return plain{}, nil
		}
		return opener{}, nil
	})
}

// plain has no sessions.
type plain struct{}

func (plain) Filter(ctx context.Context, stage string, m *sdk.Message) (*sdk.Verdict, error) {
	return new(session).Filter(ctx, stage, m)
}

type opener struct{}

func (opener) Filter(context.Context, string, *sdk.Message) (*sdk.Verdict, error) {
	return nil, errors.New("asked without a session")
}

func (opener) Open(context.Context) (sdk.Filter, error) { return &session{}, nil }

// grow takes memory until it is stopped.
func grow() error {
	var all [][]byte
	for len(all) < 1<<12 {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 512 {
			b[i] = 1
		}
		all = append(all, b)
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("nobody stopped it at %d pieces", len(all))
}

// limits says what the process may.
func limits() (string, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	privs := regexp.MustCompile(`NoNewPrivs:\t(\d)`).FindSubmatch(b)
	stdin, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		return "", err
	}
	dir, err := os.Stat(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
	if err != nil {
		return "", err
	}
	open := 0
	for ; ; open++ {
		if _, err := os.Open("/dev/null"); err != nil {
			break
		}
	}
	return fmt.Sprintf("privs %s stdin %s dir %o files %v", privs[1], stdin, dir.Mode().Perm(), open > 10 && open < 64), nil
}

// session counts what it was asked.
type session struct{ asked, ended int }

func (s *session) End(string) { s.ended++ }

func (s *session) Filter(ctx context.Context, stage string, m *sdk.Message) (*sdk.Verdict, error) {
	s.asked++
	v := new(sdk.Verdict)
	subject, _ := m.Header("Subject")
	switch subject {
	case "die":
		os.Exit(3)
	case "panic":
		panic("on purpose")
	case "hang":
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	case "error":
		return nil, errors.New("on purpose")
	case "undeclared":
		return v.Quarantine("not declared"), nil
	case "reject":
		return v.Reject(554, "5.7.9", "not today"), nil
	case "size":
		n, err := io.Copy(io.Discard, m.Raw())
		if err != nil {
			return nil, err
		}
		v.AddHeader("X-Size", strconv.FormatInt(n, 10))
	case "env":
		v.AddHeader("X-Env", strconv.Itoa(len(os.Getenv("HOME"))))
	case "grow":
		return nil, grow()
	case "spin":
		for time.Now().Unix() > 0 {
		}
	case "limits":
		n, err := limits()
		if err != nil {
			return nil, err
		}
		v.AddHeader("X-Limits", n)
	case "effects":
		return v.FileInto("Junk"), nil
	case "count":
		v.AddHeader("X-Count", strconv.Itoa(s.asked)+" "+strconv.Itoa(s.ended))
	}
	return v.Note("stage " + stage), nil
}
