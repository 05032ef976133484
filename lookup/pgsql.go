package lookup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pgsql asks a PostgreSQL server. Connections are made when they are needed, at
// most a few at a time, and closed when idle.
type pgsql struct {
	configs []*pgxpool.Config // one a host
	query   *statement
	results results

	mu    sync.Mutex
	pools []*pgxpool.Pool // made when first asked
	first int             // the host that answered last: one that is down is not waited for each time
}

// openPgSQL reads pgsql_table(5)'s settings: hosts, user, password, dbname, query,
// encoding, result_format, domain, expansion_limit, idle_interval; and query's
// forerunners.
func openPgSQL(path string, _ Options) (Table, error) {
	p, err := readParams(path)
	if err != nil {
		return nil, err
	}
	t := &pgsql{
		query:   p.statement(func(n int) string { return fmt.Sprintf("$%d::text", n) }),
		results: p.results(),
	}
	idle := p.seconds("idle_interval", time.Minute)
	p.ignore("retry_interval")
	user, password, name := p.text("user", ""), p.text("password", ""), p.text("dbname", "")
	encoding := p.text("encoding", "UTF8")
	if !strings.EqualFold(encoding, "UTF8") && !strings.EqualFold(encoding, "UTF-8") {
		p.errorf("encoding", "encoding = %s: only UTF8 can be had", encoding)
	}
	for _, host := range List(p.text("hosts", "localhost")) {
		c, err := pgxpool.ParseConfig(pgsqlURI(host, user, password, name))
		if err != nil {
			p.errorf("hosts", "hosts: %q: %v", host, errors.Unwrap(err))
			continue
		}
		c.MaxConns, c.MinConns, c.MaxConnIdleTime = 4, 0, idle
		c.ConnConfig.ConnectTimeout = Timeout / 2
		// The query must not be in force in another transaction than its answer.
		c.ConnConfig.RuntimeParams["application_name"] = "mtad"
		c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
		t.configs = append(t.configs, c)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	t.pools = make([]*pgxpool.Pool, len(t.configs))
	return t, nil
}

// pgsqlURI names a database: host, host:port, unix:/directory, inet:host:port, or
// a URI, which has all itself.
func pgsqlURI(host, user, password, name string) string {
	if strings.HasPrefix(host, "postgresql://") || strings.HasPrefix(host, "postgres://") {
		return host
	}
	u := url.URL{Scheme: "postgres", Path: "/" + name, User: url.UserPassword(user, password)}
	query := url.Values{}
	if dir, ok := strings.CutPrefix(host, "unix:"); ok {
		// A socket's name ends in the port.
		if i := strings.Index(dir, "/.s.PGSQL."); i >= 0 {
			query.Set("port", dir[i+len("/.s.PGSQL."):])
			dir = dir[:i]
		}
		query.Set("host", dir)
	} else {
		u.Host = strings.TrimPrefix(host, "inet:")
		if _, _, err := net.SplitHostPort(u.Host); err != nil && strings.Count(u.Host, ":") > 1 {
			u.Host = "[" + u.Host + "]"
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

func (t *pgsql) pool(i int) (*pgxpool.Pool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools == nil {
		return nil, errors.New("the table is closed")
	}
	if t.pools[i] == nil {
		pool, err := pgxpool.NewWithConfig(context.Background(), t.configs[i])
		if err != nil {
			return nil, err
		}
		t.pools[i] = pool
	}
	return t.pools[i], nil
}

// Lookup asks for a key, one host after the other until one answers.
func (t *pgsql) Lookup(ctx context.Context, text string) (string, bool, error) {
	k := splitKey(strings.ToLower(text))
	args, ok := t.query.arguments(k)
	if !ok || !t.results.eligible(k) || !utf8.ValidString(text) {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var errs []error
	for n, first := 0, t.begin(-1); n < len(t.configs); n++ {
		i := (first + n) % len(t.configs)
		found, err := t.ask(ctx, i, args)
		if stale(err) && ctx.Err() == nil {
			// Connections that were idle are dead since the server's restart.
			found, err = t.askAnew(ctx, i, args)
		}
		if err == nil {
			t.begin(i)
			return t.results.join(k, found)
		}
		errs = append(errs, err)
	}
	return "", false, errors.Join(errs...)
}

// begin is the host to begin with, after i has answered if it is one.
func (t *pgsql) begin(i int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i >= 0 {
		t.first = i
	}
	return t.first
}

// stale reports whether an error may be the connection's, and no other one's.
func stale(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, "57P") || strings.HasPrefix(e.Code, "08")
	}
	var failed *pgconn.ConnectError
	return err != nil && !errors.As(err, &failed)
}

// askAnew asks over a new connection.
func (t *pgsql) askAnew(ctx context.Context, i int, args []any) ([]string, error) {
	pool, err := t.pool(i)
	if err != nil {
		return nil, err
	}
	pool.Reset()
	return t.ask(ctx, i, args)
}

func (t *pgsql) ask(ctx context.Context, i int, args []any) (found []string, err error) {
	pool, err := t.pool(i)
	if err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, t.query.sql, append([]any{pgx.QueryExecModeDescribeExec}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() && len(found) <= maxValues {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			if v != nil {
				found = append(found, fmt.Sprint(v))
			}
		}
	}
	return found, rows.Err()
}

// Whole is false.
func (t *pgsql) Whole() bool { return false }

// Close closes the connections.
func (t *pgsql) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		if p != nil {
			p.Close()
		}
	}
	t.pools = nil
	return nil
}
