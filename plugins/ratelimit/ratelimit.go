// Package ratelimit bounds how much users and clients may send in a time.
package ratelimit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mtad/config"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "ratelimit".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "ratelimit", Doc: "Bounds how many messages, and recipients, a user or a client may send in a time.",
		Stages: stages, Options: options, New: newFilter,
	}
}

var stages = pipeline.At(pipeline.Mail, pipeline.Rcpt)

type settings struct {
	User       config.Rate `mtad:"per_user"`
	UserRcpts  config.Rate `mtad:"per_user_recipients"`
	Client     config.Rate `mtad:"per_client"`
	ClientRcpt config.Rate `mtad:"per_client_recipients"`
	Text       string      `mtad:"text"`
}

var options = []config.Option{
	{Name: "per_user", Type: config.TypeRate, Reload: true, Doc: "Messages of one user who has logged in. Unwritten, any number.", Example: `"200/h"`},
	{Name: "per_user_recipients", Type: config.TypeRate, Reload: true, Doc: "Recipients of one user's messages.", Example: `"1000/d"`},
	{Name: "per_client", Type: config.TypeRate, Reload: true, Doc: "Messages of one client who has not logged in: an IPv4 address or an IPv6 /64. Clients in mynetworks are spared.", Example: `"100/h"`, Postfix: "smtpd_client_message_rate_limit"},
	{Name: "per_client_recipients", Type: config.TypeRate, Reload: true, Doc: "Recipients of one such client's messages.", Example: `"500/h"`, Postfix: "smtpd_client_recipient_rate_limit"},
	{Name: "text", Type: config.TypeString, Default: "Too much mail, try again later", Reload: true, Doc: "What is said to who sends more.", Example: `"Too much mail, try again later"`},
}

type filter struct {
	settings
	kv  pipeline.KV
	now func() time.Time
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{kv: env.KV, now: env.Now}
	if f.now == nil {
		f.now = time.Now
	}
	return f, b.Decode(&f.settings)
}

func (*filter) Stages() pipeline.Stages { return stages }

// Access says that the counts outlive the message.
func (*filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Envelope, pipeline.Effects
}

// Filter counts a message at MAIL and a recipient at RCPT. What is refused counts
// too: who goes on trying stays over the limit.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	who, messages, rcpts := f.counted(v)
	if who == "" {
		return pipeline.Verdict{}, nil
	}
	limit, what := messages, "m"
	if s == pipeline.Rcpt {
		limit, what = rcpts, "r"
	}
	if limit.Count == 0 || limit.Per == 0 {
		return pipeline.Verdict{}, nil
	}
	// Windows begin at the same times for all, so that one number is kept for each.
	window := f.now().UnixNano() / int64(limit.Per)
	n, err := f.kv.Add(ctx, fmt.Sprintf("%s %s %d", what, who, window), 1, limit.Per)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	if n <= limit.Count {
		return pipeline.Verdict{}, nil
	}
	return pipeline.Verdict{
		Action: pipeline.TempFail, Reply: smtp.NewReply(450, 7, 1, fmt.Sprintf("%s (at most %v)", f.Text, limit)),
	}, nil
}

// counted is whose mail it is, and what is permitted.
func (f *filter) counted(v *pipeline.View) (who string, messages, rcpts config.Rate) {
	c := v.Client()
	switch {
	case c.Auth != nil:
		return "u:" + strings.ToLower(c.Auth.User), f.User, f.UserRcpts
	case c.Trusted || !c.Addr.IsValid():
		return "", config.Rate{}, config.Rate{}
	}
	a := c.Addr.Addr().Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "", config.Rate{}, config.Rate{}
	}
	return "c:" + p.Masked().String(), f.Client, f.ClientRcpt
}
