package spamserve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
)

func TestServe(t *testing.T) {
	path := t.TempDir() + "/10.cf"
	mtatest.Write(t, path, "body MONEY /money/\nscore MONEY 6\n")
	e, err := spam.Open([]string{path}, spam.Options{})
	mtatest.Check(t, err)
	good := Options{Listen: "127.0.0.1:0", MaxSize: 1 << 20, MaxConnections: 5, Timeout: time.Minute}
	for _, listen := range []string{good.Listen, "unix:" + mtatest.OpenDir(t) + "/s"} {
		o := good
		o.Listen = listen
		ctx, stop := context.WithCancel(t.Context())
		err = Serve(ctx, o, e, slog.New(slog.DiscardHandler), func(a net.Addr) {
			go func() {
				defer stop()
				c, err := net.Dial(a.Network(), a.String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, "CHECK SPAMC/1.5\r\nContent-length: 7\r\n\r\n\nmoney\n") // the answer shows
				if out, err := io.ReadAll(c); err != nil || !strings.Contains(string(out), "Spam: True ; 6.0 / 5.0") {
					t.Errorf("%q, %v", out, err)
				}
			}()
		})
		mtatest.Check(t, err)
	}
	bad := good
	bad.Allow = []string{"nowhere"}
	if err := Serve(t.Context(), bad, e, nil, nil); !errors.Is(err, ErrUsage) {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	mtatest.Check(t, err)
	defer l.Close()
	good.Listen = l.Addr().String()
	if err := Serve(t.Context(), good, e, nil, nil); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Error(err)
	}
}
