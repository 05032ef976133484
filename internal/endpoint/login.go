package endpoint

import (
	"context"
	"encoding/base64"
	"strings"
	"time"
)

// Plain takes a PLAIN response in base64 apart: authzid NUL authcid NUL
// password. One may act only as oneself (RFC 4616, 2).
func Plain(response string) (name, password string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", "", false
	}
	fields := strings.Split(string(raw), "\x00")
	if len(fields) != 3 || fields[1] == "" || fields[0] != "" && fields[0] != fields[1] {
		return "", "", false
	}
	return fields[1], fields[2], true
}

// LoginFailed counts a failed login and waits before it may be answered, each
// time longer. more is false if the client has had its last one.
func (c *Conn) LoginFailed(ctx context.Context) (failures int, more bool, err error) {
	c.failures++
	if !sleep(ctx, c.config.FailureDelay*time.Duration(c.failures)) {
		return c.failures, false, ctx.Err()
	}
	return c.failures, c.failures < c.config.MaxFailures, nil
}

// sleep waits, and reports whether it was not cut short.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
