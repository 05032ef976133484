package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"mtad/message"
)

// Client calls a running server. Every error is an *Error.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the server whose control socket is at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = shortly(path, func(short string) error {
			c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", short)
			return err
		})
		return c, err
	}
	return &Client{path, &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// unreachable says what a failed call means.
func (c *Client) unreachable(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &Error{Permission, "the control socket " + c.socket + " is for root and the user that runs mtad"}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return &Error{Unavailable, "mtad is not running: nothing listens at " + c.socket + "; start it with `mtad serve`"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Temporary, "no answer from mtad at " + c.socket}
	}
	return &Error{Unavailable, fmt.Sprintf("the talk with mtad at %s broke off: %v", c.socket, err)}
}

// do makes a call and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, in any) (io.ReadCloser, error) {
	if in == nil {
		return c.call(ctx, method, path, q, nil, 0)
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, &Error{Bug, err.Error()}
	}
	return c.call(ctx, method, path, q, bytes.NewReader(b), int64(len(b)))
}

// call makes a call with an argument of so many octets.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in io.Reader, size int64) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "mtad", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), in)
	if err != nil {
		return nil, &Error{Bug, err.Error()}
	}
	req.ContentLength = size
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	e := &Error{}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxRequest)).Decode(e); err != nil || e.Code == 0 {
		return nil, &Error{Bug, "mtad answered " + res.Status + "; is it of another version?"}
	}
	return nil, e
}

// fetch makes a call whose answer is a JSON value.
func fetch[Out any](ctx context.Context, c *Client, method, path string, q url.Values, in any) (out Out, err error) {
	return decodeBody[Out](c)(c.do(ctx, method, path, q, in))
}

// decodeBody reads the JSON value of an answer.
func decodeBody[Out any](c *Client) func(body io.ReadCloser, err error) (Out, error) {
	return func(body io.ReadCloser, err error) (out Out, _ error) {
		if err != nil {
			return out, err
		}
		defer body.Close()
		if err := json.NewDecoder(body).Decode(&out); err != nil {
			return out, c.unreachable(err)
		}
		return out, nil
	}
}

func read[Out any](ctx context.Context, c *Client, path string, q url.Values) (Out, error) {
	return fetch[Out](ctx, c, http.MethodGet, path, q, nil)
}

func change[Out any](ctx context.Context, c *Client, path string, in any) (Out, error) {
	return fetch[Out](ctx, c, http.MethodPost, path, nil, in)
}

// change makes a change that has no answer.
func (c *Client) change(ctx context.Context, path string, in any) error {
	_, err := change[none](ctx, c, path, in)
	return err
}

// Status reads the server's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return read[Status](ctx, c, "/v1/status", nil)
}

// Reload puts the configuration file in force; BadConfig leaves the old one.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return change[Reloaded](ctx, c, "/v1/reload", none{})
}

// stopPoll is how often a stopping server is looked for.
const stopPoll = 20 * time.Millisecond

// Stop ends the server and returns when it has let go of everything.
func (c *Client) Stop(ctx context.Context) (Info, error) {
	info, err := change[Info](ctx, c, "/v1/stop", none{})
	if err != nil {
		return info, err
	}
	t := time.NewTicker(stopPoll)
	defer t.Stop()
	for {
		c.Close() // the next call needs the socket
		_, err := c.Status(ctx)
		var e *Error
		if errors.As(err, &e) && e.Code == Unavailable {
			return info, nil
		}
		select {
		case <-ctx.Done():
			return info, &Error{Temporary, "mtad is still stopping"}
		case <-t.C:
		}
	}
}

// LastTraces reads the n newest traces, the newest first.
func (c *Client) LastTraces(ctx context.Context, n int) ([]Trace, error) {
	return read[[]Trace](ctx, c, "/v1/traces", url.Values{"n": {strconv.Itoa(n)}})
}

// Trace reads what happened to one message.
func (c *Client) Trace(ctx context.Context, id message.ID) (Trace, error) {
	return read[Trace](ctx, c, "/v1/traces/one", url.Values{"id": {id.String()}})
}

// LiveTraces calls fn with everything that happens from now on, until ctx ends,
// fn fails or the server stops.
func (c *Client) LiveTraces(ctx context.Context, fn func(Trace) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/traces/live", nil, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var t Trace
		if err := d.Decode(&t); err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return c.unreachable(err)
		}
		if err := fn(t); err != nil {
			return err
		}
	}
}

// copy writes what a call answers to w.
func (c *Client) copy(ctx context.Context, path string, q url.Values, w io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return c.unreachable(err)
	}
	return nil
}

// Domains lists the domains.
func (c *Client) Domains(ctx context.Context) ([]Domain, error) {
	return read[[]Domain](ctx, c, "/v1/domains", nil)
}

// AddDomain adds a domain, or changes its class.
func (c *Client) AddDomain(ctx context.Context, d Domain) error {
	return c.change(ctx, "/v1/domains/add", d)
}

// RemoveDomain removes a domain without users, and its aliases.
func (c *Client) RemoveDomain(ctx context.Context, name string) error {
	return c.change(ctx, "/v1/domains/remove", Domain{Name: name})
}

// Users lists the accounts of a domain, or with "" of all.
func (c *Client) Users(ctx context.Context, domain string) ([]User, error) {
	return read[[]User](ctx, c, "/v1/users", url.Values{"domain": {domain}})
}

// User reads one account, with its folders.
func (c *Client) User(ctx context.Context, address string) (User, error) {
	return read[User](ctx, c, "/v1/users/one", url.Values{"address": {address}})
}

// AddUser makes an account and its folders.
func (c *Client) AddUser(ctx context.Context, cr Credentials) (User, error) {
	return change[User](ctx, c, "/v1/users/add", cr)
}

// SetPassword replaces a password.
func (c *Client) SetPassword(ctx context.Context, cr Credentials) error {
	return c.change(ctx, "/v1/users/password", cr)
}

// Disable keeps a user from logging in, or lets them again.
func (c *Client) Disable(ctx context.Context, d Disable) error {
	return c.change(ctx, "/v1/users/disable", d)
}

// RemoveUser removes an account and all its mail.
func (c *Client) RemoveUser(ctx context.Context, address string) (User, error) {
	return change[User](ctx, c, "/v1/users/remove", Credentials{Address: address})
}

// Aliases lists the aliases of a domain, or with "" of all.
func (c *Client) Aliases(ctx context.Context, domain string) ([]Alias, error) {
	return read[[]Alias](ctx, c, "/v1/aliases", url.Values{"domain": {domain}})
}

// AddAlias adds targets to an alias.
func (c *Client) AddAlias(ctx context.Context, a Alias) error {
	return c.change(ctx, "/v1/aliases/add", a)
}

// RemoveAlias removes some targets of an alias, or without targets all.
func (c *Client) RemoveAlias(ctx context.Context, a Alias) error {
	return c.change(ctx, "/v1/aliases/remove", a)
}

// Grant lets a user send with an address.
func (c *Client) Grant(ctx context.Context, g Grant) error {
	return c.change(ctx, "/v1/users/grant", g)
}

// Revoke takes a grant back.
func (c *Client) Revoke(ctx context.Context, g Grant) error {
	return c.change(ctx, "/v1/users/revoke", g)
}

// Route reads what becomes of mail for an address, from a sender.
func (c *Client) Route(ctx context.Context, sender, address string) (Route, error) {
	return read[Route](ctx, c, "/v1/route", url.Values{"sender": {sender}, "address": {address}})
}

// Scripts lists a user's scripts in a language; "" is Sieve.
func (c *Client) Scripts(ctx context.Context, language, user string) ([]Script, error) {
	return read[[]Script](ctx, c, "/v1/scripts", url.Values{"language": {language}, "user": {user}})
}

// Script reads a script with its text.
func (c *Client) Script(ctx context.Context, language, user, name string) (Script, error) {
	return read[Script](ctx, c, "/v1/scripts/one", url.Values{"language": {language}, "user": {user}, "name": {name}})
}

// PutScript stores a script; BadData says what is wrong with it.
func (c *Client) PutScript(ctx context.Context, language, user, name, text string) error {
	return c.change(ctx, "/v1/scripts/put", Script{Language: language, User: user, Name: name, Text: text})
}

// ActivateScript makes a script the one that runs; with "" none does.
func (c *Client) ActivateScript(ctx context.Context, language, user, name string) error {
	return c.change(ctx, "/v1/scripts/activate", Script{Language: language, User: user, Name: name})
}

// DeleteScript removes a script that is not active.
func (c *Client) DeleteScript(ctx context.Context, language, user, name string) error {
	return c.change(ctx, "/v1/scripts/delete", Script{Language: language, User: user, Name: name})
}

// Messages lists what is in a folder of a user.
func (c *Client) Messages(ctx context.Context, user, folder string) ([]Mail, error) {
	return read[[]Mail](ctx, c, "/v1/mail", url.Values{"user": {user}, "folder": {folder}})
}

// MailOctets writes the octets of a message in a folder to w.
func (c *Client) MailOctets(ctx context.Context, user, folder string, uid uint32, w io.Writer) error {
	return c.copy(ctx, "/v1/mail/one", url.Values{"user": {user}, "folder": {folder}, "uid": {strconv.FormatUint(uint64(uid), 10)}}, w)
}

// ChangeMail files, flags or removes a message in a folder.
func (c *Client) ChangeMail(ctx context.Context, m MailChange) error {
	return c.change(ctx, "/v1/mail/change", m)
}
