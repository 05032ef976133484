package lua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"mtad/dns"
	"mtad/plugins/lua/engine"
)

// fetchTime bounds a request.
const fetchTime = 10 * time.Second

// fetch makes an HTTP request to a host that the configuration names. It follows
// no redirection, uses no proxy and keeps no cookies.
func (f *filter) fetch(ctx context.Context, r engine.Request) (engine.Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return engine.Response{}, errors.New("not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || !f.allowed(u) {
		return engine.Response{}, fmt.Errorf("%s: %w", u.Host, engine.ErrNotAllowed)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), strings.NewReader(r.Body))
	if err != nil {
		return engine.Response{}, errors.New("not a request that can be made")
	}
	req.Header.Set("User-Agent", "mtad")
	for name, value := range r.Header {
		if !strings.EqualFold(name, "Host") {
			req.Header.Set(name, value)
		}
	}
	client := http.Client{
		Transport:     &http.Transport{DialContext: f.dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return engine.Response{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, engine.MaxFetch))
	return engine.Response{Status: res.StatusCode, Type: res.Header.Get("Content-Type"), Body: string(body)}, err
}

// allowed reports whether the configuration names the host.
func (f *filter) allowed(u *url.URL) bool {
	host := strings.ToLower(u.Host)
	if u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host = strings.ToLower(u.Hostname())
	}
	return slices.ContainsFunc(f.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// dial connects to a host, whose addresses the server's own resolver finds.
func (f *filter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil || f.env.DNS == nil {
		return d.DialContext(ctx, network, addr)
	}
	addrs, err := dns.Addrs(ctx, f.env.DNS, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		var c net.Conn
		if c, err = d.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}
