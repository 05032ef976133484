package lookup

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	_ "modernc.org/sqlite" // the driver
)

// sqlite asks a database file.
type sqlite struct {
	db      *sql.DB
	query   *statement
	results results
}

// openSQLite reads sqlite_table(5)'s settings: dbpath, query, result_format,
// domain, expansion_limit. The database is never written to.
func openSQLite(path string, _ Options) (Table, error) {
	p, err := readParams(path)
	if err != nil {
		return nil, err
	}
	file := p.require("dbpath")
	s := &sqlite{query: p.statement(func(n int) string { return fmt.Sprintf("?%d", n) }), results: p.results()}
	if err := p.err(); err != nil {
		return nil, err
	}
	// A URI names the file, so that nothing in its name is a setting.
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"}
	if s.db, err = sql.Open("sqlite", uri.String()); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(4)
	s.db.SetMaxIdleConns(1)
	return s, nil
}

// Lookup asks for a key.
func (s *sqlite) Lookup(ctx context.Context, text string) (string, bool, error) {
	k := splitKey(strings.ToLower(text))
	args, ok := s.query.arguments(k)
	if !ok || !s.results.eligible(k) || !utf8.ValidString(text) {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, s.query.sql, args...)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", false, err
	}
	var found []string
	places := make([]any, len(columns))
	var first sql.NullString // the others are not looked at, as in Postfix
	for i := range places {
		places[i] = new(any)
	}
	for rows.Next() && len(found) <= maxValues {
		places[0] = &first
		if err := rows.Scan(places...); err != nil {
			return "", false, err
		}
		found = append(found, first.String)
	}
	if err := rows.Err(); err != nil {
		return "", false, err
	}
	return s.results.join(k, found)
}

// Whole is false.
func (s *sqlite) Whole() bool { return false }

// Close closes the database.
func (s *sqlite) Close() error { return s.db.Close() }
