package main

import (
	"context"
	"errors"
	"path/filepath"

	"mtad/cmd/mtad/local"
	"mtad/directory"
	"mtad/message"
	"mtad/smtp"
	"mtad/smtpd"
)

// desk is where programs on this machine hand in mail.
func (h *house) desk() *local.Desk {
	return &local.Desk{
		Agent:    h.agent,
		Settings: func() local.Intake { return h.config.Load().top.Intake },
		Origin:   func() string { return h.config.Load().top.Origin },
		Limits:   func() message.Limits { return h.began.messageLimits() },
		MaxSize:  func() int64 { return int64(h.began.top.MessageSize) },
		SpoolDir: filepath.Join(h.began.top.DataDir, "spool"),
		Own:      h.owns,
		Log:      h.log,
	}
}

// owns reports whether an address is an account's, or granted to it. An account that
// is not there owns nothing.
func (h *house) owns(ctx context.Context, account, a smtp.Address) (bool, error) {
	s, err := h.standing(ctx, account.String(), a)
	if errors.Is(err, directory.ErrNoUser) {
		return false, nil
	}
	return s == smtpd.Own, err
}
