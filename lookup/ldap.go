package lookup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// directory asks an LDAP server over one connection, which is made when first
// needed and again when it is lost.
type directory struct {
	servers  []string // URIs
	tls      *tls.Config
	startTLS bool
	bindDN   string
	password string
	bind     bool

	base, filter format
	scope, deref int
	size         int
	timeout      time.Duration
	attributes   []string // whose values are the result
	special      []string // whose values are DNs or URLs to look at
	leaf         []string // results of entries without special attributes
	terminal     []string // results that keep special attributes from being followed
	depth        int
	results      results

	mu   sync.Mutex
	conn *ldap.Conn
}

// openLDAP reads ldap_table(5)'s settings.
func openLDAP(path string, _ Options) (Table, error) {
	p, err := readParams(path)
	if err != nil {
		return nil, err
	}
	d := &directory{
		timeout: p.seconds("timeout", Timeout), size: p.number("size_limit", 0, 0, 1<<20),
		depth: p.number("recursion_limit", 1000, 1, 1000), results: p.results(),
		special: List(p.text("special_result_attribute", "")), leaf: List(p.text("leaf_result_attribute", "")),
		terminal: List(p.text("terminal_result_attribute", "")),
	}
	none := ""
	if len(d.special)+len(d.leaf) == 0 {
		none = "maildrop"
	}
	d.attributes = List(p.text("result_attribute", none))
	d.base = p.format("search_base", p.require("search_base"))
	d.filter = p.format("query_filter", p.text("query_filter", "(mailacceptinggeneralid=%s)"))
	if _, err := ldap.CompileFilter(d.filterFor(splitKey("user@example.org"))); err != nil {
		p.errorf("query_filter", "query_filter: %v", err)
	}
	d.scope = p.word("scope", "sub", map[string]int{"sub": ldap.ScopeWholeSubtree, "base": ldap.ScopeBaseObject, "one": ldap.ScopeSingleLevel})
	d.deref = p.number("dereference", 0, 0, 3)
	p.readBind(d)
	p.readServers(d)
	p.ignore("version", "debuglevel", "cache", "cache_expiry", "cache_size", "chase_referrals")
	if err := p.err(); err != nil {
		return nil, err
	}
	return d, nil
}

func (p *params) format(name, text string) format {
	f, err := parseFormat(text, false)
	if err != nil {
		p.errorf(name, "%s: %v", name, err)
	}
	return f
}

// word is a setting that has few values.
func (p *params) word(name, otherwise string, values map[string]int) int {
	v := p.text(name, otherwise)
	n, ok := values[v]
	if !ok {
		var all []string
		for w := range values {
			all = append(all, w)
		}
		slices.Sort(all)
		p.errorf(name, "%s = %q: want %s", name, v, strings.Join(all, ", "))
	}
	return n
}

func (p *params) readBind(d *directory) {
	switch v := p.text("bind", "yes"); v {
	case "yes", "simple":
		d.bind = true
	case "no", "none":
	default:
		p.errorf("bind", "bind = %q: want yes or no; SASL is not to be had", v)
	}
	d.bindDN, d.password = p.text("bind_dn", ""), p.text("bind_pw", "")
	if d.bindDN == "" {
		d.bind = false
	}
	// RFC 4513, 5.1.2: a name without a password is an unauthenticated bind.
	if d.bind && d.password == "" {
		p.errorf("bind_pw", "bind_dn without bind_pw: a server takes that for anonymous (RFC 4513, 5.1.2)")
	}
}

func (p *params) readServers(d *directory) {
	port := p.number("server_port", 389, 1, 65535)
	d.startTLS = p.yes("start_tls")
	d.tls = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !p.yesUnless("tls_require_cert")} //nolint:gosec // as the administrator wrote
	if file := p.text("tls_ca_cert_file", ""); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			p.errorf("tls_ca_cert_file", "%v", err)
		}
		d.tls.RootCAs = x509.NewCertPool()
		if err == nil && !d.tls.RootCAs.AppendCertsFromPEM(text) {
			p.errorf("tls_ca_cert_file", "%s has no certificate", file)
		}
	}
	if cert := p.text("tls_cert", ""); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, p.text("tls_key", cert))
		if err != nil {
			p.errorf("tls_cert", "%v", err)
		}
		d.tls.Certificates = []tls.Certificate{pair}
	}
	for _, s := range List(p.text("server_host", "localhost")) {
		if !strings.Contains(s, "://") {
			if _, _, err := net.SplitHostPort(s); err != nil {
				s = net.JoinHostPort(s, fmt.Sprint(port))
			}
			s = "ldap://" + s
		}
		if u, err := url.Parse(s); err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" && u.Scheme != "ldapi" {
			p.errorf("server_host", "%q is no server: want a host, or ldap://, ldaps:// or ldapi://", s)
		}
		d.servers = append(d.servers, s)
	}
}

// yesUnless is yes where nothing is said.
func (p *params) yesUnless(name string) bool {
	if p.text(name, "") == "" {
		return true
	}
	return p.yes(name)
}

func (d *directory) filterFor(k key) string {
	text, _ := d.filter.expand(k, k, ldap.EscapeFilter)
	return text
}

// Lookup asks for a key.
func (d *directory) Lookup(ctx context.Context, text string) (string, bool, error) {
	k := splitKey(strings.ToLower(text))
	base, ok := d.base.expand(k, k, ldap.EscapeDN)
	filter, ok2 := d.filter.expand(k, k, ldap.EscapeFilter)
	if !ok || !ok2 || !d.results.eligible(k) || !utf8.ValidString(text) {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	found, err := d.ask(ctx, base, filter)
	if err != nil {
		return "", false, err
	}
	return d.results.join(k, found)
}

// ask asks over the connection that is there, and if that one is lost over a new
// one.
func (d *directory) ask(ctx context.Context, base, filter string) ([]string, error) {
	for fresh := false; ; fresh = true {
		conn, isNew, err := d.connection(ctx, fresh)
		if err != nil {
			return nil, err
		}
		w := walk{d: d, conn: conn, ctx: ctx, seen: map[string]bool{}}
		err = w.search(base, d.scope, filter, 0)
		if err == nil {
			return w.found, nil
		}
		if isNew || ctx.Err() != nil || !ldap.IsErrorWithCode(err, ldap.ErrorNetwork) && !conn.IsClosing() {
			return nil, err
		}
	}
}

// connection is the one that there is, or a new one.
func (d *directory) connection(ctx context.Context, fresh bool) (conn *ldap.Conn, isNew bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil && !fresh && !d.conn.IsClosing() {
		return d.conn, false, nil
	}
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
	var errs []error
	for _, s := range d.servers {
		if conn, err = d.dial(ctx, s); err == nil {
			d.conn = conn
			return conn, true, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s, err))
	}
	return nil, false, errors.Join(errs...)
}

func (d *directory) dial(ctx context.Context, server string) (*ldap.Conn, error) {
	dialer := &net.Dialer{Timeout: d.timeout}
	if deadline, ok := ctx.Deadline(); ok {
		dialer.Deadline = deadline
	}
	conn, err := ldap.DialURL(server, ldap.DialWithDialer(dialer), ldap.DialWithTLSConfig(d.tls))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(d.timeout)
	if d.startTLS {
		c := d.tls.Clone()
		if u, err := url.Parse(server); err == nil {
			c.ServerName = u.Hostname()
		}
		if err := conn.StartTLS(c); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if d.bind {
		if err := conn.Bind(d.bindDN, d.password); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// walk is one look-up, from entry to entry.
type walk struct {
	d     *directory
	conn  *ldap.Conn
	ctx   context.Context
	seen  map[string]bool // DNs and URLs that were looked at
	found []string
}

func (w *walk) search(base string, scope int, filter string, depth int) error {
	d := w.d
	if depth > d.depth || len(w.seen) > maxValues {
		return fmt.Errorf("%w: recursion_limit of %d", errTooMany, d.depth)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	wanted := slices.Concat(d.attributes, d.special, d.leaf, d.terminal)
	r := ldap.NewSearchRequest(base, scope, d.deref, d.size, int(d.timeout.Seconds()), false, filter, wanted, nil)
	answer, err := w.conn.Search(r)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil
	case err != nil:
		return err
	}
	for _, e := range answer.Entries {
		if err := w.entry(e, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry takes the values of one entry, and follows where it leads.
func (w *walk) entry(e *ldap.Entry, depth int) error {
	if w.seen[strings.ToLower(e.DN)] {
		return nil
	}
	w.seen[strings.ToLower(e.DN)] = true
	d := w.d
	terminal := w.take(e, d.terminal) > 0
	w.take(e, d.attributes)
	var next []string
	if !terminal {
		next = valuesOf(e, d.special)
		if len(next) == 0 {
			w.take(e, d.leaf)
		}
	}
	for _, n := range next {
		if w.seen[strings.ToLower(n)] {
			continue
		}
		base, scope, filter := n, ldap.ScopeBaseObject, "(objectClass=*)"
		if strings.HasPrefix(strings.ToLower(n), "ldap:///") {
			u, err := parseURL(n)
			if err != nil {
				return err
			}
			base, scope, filter = u.base, u.scope, u.filter
			w.seen[strings.ToLower(n)] = true
		}
		if err := w.search(base, scope, filter, depth+1); err != nil {
			return err
		}
	}
	if len(w.found) > maxValues {
		return errTooMany
	}
	return nil
}

// take takes the values of these attributes.
func (w *walk) take(e *ldap.Entry, names []string) int {
	values := valuesOf(e, names)
	w.found = append(w.found, values...)
	return len(values)
}

func valuesOf(e *ldap.Entry, names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, e.GetEqualFoldAttributeValues(n)...)
	}
	return out
}

// where is what an LDAP URL says besides the host (RFC 4516, 2).
type where struct {
	base   string
	scope  int
	filter string
}

func parseURL(s string) (w where, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return w, fmt.Errorf("%.200q is no LDAP URL: %w", s, err)
	}
	w = where{base: strings.TrimPrefix(u.Path, "/"), scope: ldap.ScopeBaseObject, filter: "(objectClass=*)"}
	query := strings.Split(u.RawQuery, "?")
	if len(query) > 1 {
		scopes := map[string]int{"sub": ldap.ScopeWholeSubtree, "one": ldap.ScopeSingleLevel, "base": ldap.ScopeBaseObject, "": ldap.ScopeBaseObject}
		scope, ok := scopes[strings.ToLower(query[1])]
		if !ok {
			return w, fmt.Errorf("%.200q is no LDAP URL: unknown scope %q", s, query[1])
		}
		w.scope = scope
	}
	if len(query) > 2 && query[2] != "" {
		if w.filter, err = url.PathUnescape(query[2]); err != nil {
			return w, fmt.Errorf("%.200q is no LDAP URL: %w", s, err)
		}
	}
	return w, nil
}

// Whole is false.
func (d *directory) Whole() bool { return false }

// Close closes the connection.
func (d *directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	return d.conn.Close()
}
