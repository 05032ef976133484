package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/pipeline"
	"mtad/smtp"
)

// counts is a KV that adds.
type counts struct {
	pipeline.KV
	n    map[string]int64
	fail error
}

func (c *counts) Add(_ context.Context, key string, delta int64, _ time.Duration) (int64, error) {
	c.n[key] += delta
	return c.n[key], c.fail
}

func build(body string, env pipeline.Env) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags[0]
	}
	return newFilter(b, env)
}

func view(c pipeline.Client) *pipeline.View {
	return pipeline.NewView(c, pipeline.Mailing{Rcpts: []pipeline.Recipient{{ID: 1, Addr: smtp.Address{Local: "x", Domain: "y.test"}}}}, nil)
}

func TestLimits(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	kv := &counts{n: map[string]int64{}}
	f, err := build("per_user = \"2/h\"\nper_user_recipients = \"3/d\"\nper_client = \"1/m\"", pipeline.Env{KV: kv, Now: func() time.Time { return now }})
	mtatest.Check(t, err)
	at := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 1) }
	ann, bob := pipeline.Client{Addr: at("192.0.2.1"), Auth: &pipeline.Login{User: "Ann@x.test"}}, pipeline.Client{Addr: at("192.0.2.1"), Auth: &pipeline.Login{User: "bob@x.test"}}
	stranger, near, trusted := pipeline.Client{Addr: at("2001:db8::1")}, pipeline.Client{Addr: at("2001:db8::2")}, pipeline.Client{Addr: at("127.0.0.1"), Trusted: true}
	for i, c := range []struct {
		after time.Duration
		who   pipeline.Client
		stage pipeline.Stage
		ok    bool
	}{
		{0, ann, pipeline.Mail, true}, {0, ann, pipeline.Mail, true}, {0, ann, pipeline.Mail, false}, {0, bob, pipeline.Mail, true}, {time.Hour, ann, pipeline.Mail, true},
		{0, ann, pipeline.Rcpt, true}, {0, ann, pipeline.Rcpt, true}, {0, ann, pipeline.Rcpt, true}, {time.Hour, ann, pipeline.Rcpt, false}, {24 * time.Hour, ann, pipeline.Rcpt, true},
		{0, stranger, pipeline.Mail, true}, {0, near, pipeline.Mail, false}, {0, stranger, pipeline.Rcpt, true}, {time.Minute, near, pipeline.Mail, true},
		{0, trusted, pipeline.Mail, true}, {0, trusted, pipeline.Mail, true}, {0, pipeline.Client{}, pipeline.Mail, true},
	} {
		now = now.Add(c.after)
		v, err := f.Filter(t.Context(), c.stage, view(c.who))
		mtatest.Check(t, err)
		if ok := v.Action == pipeline.Continue; ok != c.ok || !ok && !strings.HasPrefix(v.Reply.String(), "450 4.7.1 Too much mail") {
			t.Errorf("%d: %v, want %v", i, v, c.ok)
		}
	}
	kv.fail = errors.New("no database")
	if _, err := f.Filter(t.Context(), pipeline.Mail, view(ann)); err == nil {
		t.Error("what can not be counted went through")
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, err := build(body, pipeline.Env{})
		return err
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
