package main

import (
	"context"
	"path/filepath"

	"mtad/cmd/mtad/local"
	"mtad/smtp"
	"mtad/smtpd"
)

// desk is where programs on this machine hand in mail.
func (h *house) desk() *local.Desk {
	return &local.Desk{
		Agent:    h.agent,
		Settings: func() local.Intake { return h.config.Load().top.Intake },
		Origin:   func() string { return h.config.Load().top.Origin },
		Limits:   func() smtpd.Limits { return h.began.limits() },
		SpoolDir: filepath.Join(h.began.top.DataDir, "spool"),
		Own:      h.owns,
		Log:      h.log,
	}
}

// owns reports whether mail for an address comes to a user of the system. An account
// of the same name is somebody else, or may be.
func (h *house) owns(ctx context.Context, user string, a smtp.Address) (bool, error) {
	res, err := h.router.Resolve(ctx, a, true)
	return err == nil && len(res.Targets) == 1 && res.Targets[0].User == user, err
}
