// Command first is odd as it was, built with the SDK of the first version of the
// protocol. Nothing below this folder is to be changed.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"mtad/plugins/external/testdata/first/sdk"
)

func main() {
	sdk.Serve(sdk.Manifest{
		Name: "odd", Version: "0", Stages: []string{"mail", "message"}, Writes: []string{"score", "header"},
	}, func(config map[string]string) (sdk.Filter, error) {
		if config["fail"] != "" {
			return nil, errors.New(config["fail"])
		}
		return opener{}, nil
	})
}

type opener struct{}

func (opener) Filter(context.Context, string, *sdk.Message) (*sdk.Verdict, error) {
	return nil, errors.New("asked without a session")
}

func (opener) Open(context.Context) (sdk.Filter, error) { return &session{}, nil }

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
	case "count":
		v.AddHeader("X-Count", strconv.Itoa(s.asked)+" "+strconv.Itoa(s.ended))
	}
	return v.Note("stage " + stage), nil
}
