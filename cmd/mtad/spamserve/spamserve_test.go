package spamserve

import (
	"context"
	"errors"
	"fmt"
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
	good := Options{Listen: "127.0.0.1:0", MaxSize: 1 << 20, MaxRequests: 5, Timeout: time.Minute}
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

// TestState: what TELL says is there after a restart, and counts.
func TestState(t *testing.T) {
	path := t.TempDir() + "/10.cf"
	mtatest.Write(t, path, "body BAYES_99 eval:check_bayes('0.9', '1')\nscore BAYES_99 0 0 6 6\ntflags BAYES_99 learn\nbayes_min_spam_num 2\nbayes_min_ham_num 2\n")
	e, err := spam.Open([]string{path}, spam.Options{Bayes: true})
	mtatest.Check(t, err)
	o := Options{Listen: "unix:" + mtatest.OpenDir(t) + "/s", MaxSize: 1 << 20, MaxRequests: 5, Timeout: time.Minute, State: t.TempDir() + "/state"}
	during := func(do func(ask func(string) string)) {
		ctx, stop := context.WithCancel(t.Context())
		mtatest.Check(t, Serve(ctx, o, e, slog.New(slog.DiscardHandler), func(a net.Addr) {
			go func() {
				defer stop()
				do(func(request string) string {
					c, err := net.Dial(a.Network(), a.String())
					if err != nil {
						t.Error(err)
						return ""
					}
					defer c.Close()
					_, _ = io.WriteString(c, request) // the answer shows
					out, err := io.ReadAll(c)
					if err != nil {
						t.Error(err)
					}
					return string(out)
				})
			}()
		}))
	}
	tell := func(class, text string) string {
		return fmt.Sprintf("TELL SPAMC/1.5\r\nMessage-class: %s\r\nSet: local\r\nContent-length: %d\r\n\r\n%s", class, len(text), text)
	}
	during(func(ask func(string) string) {
		for _, m := range []string{"spam \nlottery prize 1\n", "spam \nlottery prize 2\n", "ham \nagenda review 1\n", "ham \nagenda review 2\n"} {
			class, text, _ := strings.Cut(m, " ")
			if out := ask(tell(class, text)); !strings.Contains(out, "DidSet: local") {
				t.Errorf("%q: %q", m, out)
			}
		}
		if out := ask(tell("ham", "\nagenda review 2\n")); strings.Contains(out, "DidSet") {
			t.Errorf("known: %q", out)
		}
	})
	during(func(ask func(string) string) {
		if out := ask("SYMBOLS SPAMC/1.5\r\nContent-length: 15\r\n\r\n\nlottery prize\n"); !strings.HasSuffix(out, "BAYES_99") {
			t.Errorf("%q", out)
		}
	})
}
