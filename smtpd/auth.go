package smtpd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// mayAuth reports whether a login may be tried now: before TLS only from
// loopback, where nobody listens in.
func (c *conn) mayAuth() bool {
	cl := c.flow.Client()
	return c.cfg.Auth != Never && cl.Auth == nil && (cl.TLS != nil || !cl.Addr.IsValid() || cl.Addr.Addr().IsLoopback())
}

var (
	errCancelled = errors.New("smtpd: client cancelled the exchange")
	errBase64    = errors.New("smtpd: not base64")
)

// mechanisms are the SASL mechanisms: each gets the name and the password.
var mechanisms = map[string]func(c *conn, initial []byte, has bool) (login, password string, err error){
	"PLAIN": (*conn).saslPlain,
	"LOGIN": (*conn).saslLogin,
}

// auth logs the client in (RFC 4954, 4).
func (c *conn) auth(ctx context.Context, arg string) error {
	mech, initial, has := strings.Cut(arg, " ")
	mech = strings.ToUpper(mech)
	cl := c.flow.Client()
	switch {
	case c.cfg.Auth == Never:
		return c.refuse(ctx, smtp.NewReply(502, 5, 1, "AUTH is not offered"))
	case cl.Auth != nil:
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "You are logged in"))
	case c.mail:
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "Not inside a transaction"))
	case cl.Helo == "" || !cl.ESMTP:
		return c.refuse(ctx, smtp.NewReply(503, 5, 1, "Say "+c.greetedBy(true)+" first"))
	case !c.mayAuth():
		return c.refuse(ctx, smtp.NewReply(538, 7, 11, "Use STARTTLS first"))
	case mechanisms[mech] == nil:
		return c.refuse(ctx, smtp.NewReply(504, 5, 4, "Mechanism is not offered"))
	}
	first, err := decodeResponse([]byte(initial), has)
	if err != nil {
		return c.refuse(ctx, smtp.NewReply(501, 5, 2, "Initial response is not base64"))
	}
	login, password, err := mechanisms[mech](c, first, has)
	switch {
	case errors.Is(err, errCancelled):
		return c.refuse(ctx, smtp.NewReply(501, 0, 0, "Authentication cancelled"))
	case errors.Is(err, errBase64):
		return c.refuse(ctx, smtp.NewReply(501, 5, 2, "Response is not what "+mech+" wants"))
	case errors.Is(err, errTooLong):
		return c.refuse(ctx, smtp.NewReply(500, 5, 6, "Response too long"))
	case err != nil:
		return err
	}
	return c.login(ctx, mech, login, password)
}

// login checks the password and asks the filters.
func (c *conn) login(ctx context.Context, mech, login, password string) error {
	user, err := c.cfg.Authenticate(ctx, login, password, c.flow.Client().Addr.Addr())
	switch {
	case errors.Is(err, ErrCredentials):
		return c.loginFailed(ctx, mech, login)
	case err != nil:
		c.log().Error("authenticate", "login", login, "err", err)
		return c.refuse(ctx, smtp.NewReply(454, 7, 0, "Can not check passwords now"))
	}
	c.flow.SetClient(func(cl *pipeline.Client) { cl.Auth = &pipeline.Login{Mechanism: mech, User: user} })
	fate := c.flow.Run(ctx, pipeline.Auth)
	c.flow.Settle(pipeline.Auth)
	if fate.Refused() {
		c.flow.SetClient(func(cl *pipeline.Client) { cl.Auth = nil })
		return c.refusal(ctx, fate)
	}
	c.flow.Record(pipeline.Event{Kind: pipeline.EventSession, Note: "logged in as " + user + " by " + mech})
	c.reply(smtp.NewReply(235, 7, 0, "Welcome"))
	return nil
}

// loginFailed answers slowly, so that guessing is slow, and not for ever.
func (c *conn) loginFailed(ctx context.Context, mech, login string) error {
	c.log().Warn("login failed", "mechanism", mech, "login", login)
	c.traceLogin(mech, login)
	c.authErrs++
	t := time.NewTimer(time.Duration(c.authErrs) * 500 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	err := c.refuse(ctx, smtp.NewReply(535, 7, 8, "Name or password is wrong"))
	if err == nil && c.authErrs >= c.cfg.Limits.AuthFailures {
		c.reply(smtp.NewReply(421, 7, 0, c.cfg.Hostname+" Too many failed logins"))
		return errQuit
	}
	return err
}

// traceLogin hands on that a login failed, under the session's ID.
func (c *conn) traceLogin(mech, login string) {
	id, err := message.ParseID(c.flow.Client().Session)
	if c.cfg.Trace == nil || err != nil {
		return
	}
	c.cfg.Trace(pipeline.Trace{ID: id, Events: []pipeline.Event{{
		Time: c.cfg.Now(), Kind: pipeline.EventLogin, Stage: "smtp", Host: c.flow.Client().Peer(), Action: "failed", Note: login + " by " + mech,
	}}})
}

// saslPlain reads authzid NUL authcid NUL password (RFC 4616, 2). An authzid
// other than the authcid would be acting for somebody else: refused.
func (c *conn) saslPlain(initial []byte, has bool) (login, password string, err error) {
	if !has {
		if initial, err = c.challenge(""); err != nil {
			return "", "", err
		}
	}
	parts := bytes.Split(initial, []byte{0})
	if len(parts) != 3 || len(parts[0]) > 0 && !bytes.EqualFold(parts[0], parts[1]) {
		return "", "", errBase64
	}
	return string(parts[1]), string(parts[2]), nil
}

// saslLogin is LOGIN, which no RFC defines: a question for the name, one for the
// password.
func (c *conn) saslLogin(initial []byte, has bool) (login, password string, err error) {
	if !has {
		if initial, err = c.challenge("Username:"); err != nil {
			return "", "", err
		}
	}
	secret, err := c.challenge("Password:")
	return string(initial), string(secret), err
}

// challenge asks the client for its next response.
func (c *conn) challenge(text string) ([]byte, error) {
	c.reply(smtp.Reply{Code: 334, Text: base64.StdEncoding.EncodeToString([]byte(text))})
	line, err := c.readLine()
	if err != nil {
		return nil, err
	}
	if string(line) == "*" {
		return nil, errCancelled
	}
	return decodeResponse(line, true)
}

// decodeResponse undoes base64; "=" is an empty response (RFC 4954, 4).
func decodeResponse(b []byte, has bool) ([]byte, error) {
	if !has || string(b) == "=" {
		return nil, nil
	}
	out, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil {
		return nil, errBase64
	}
	return out, nil
}
