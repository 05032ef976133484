package store

import (
	"errors"
	"fmt"
)

const versionTable = `CREATE TABLE IF NOT EXISTS schema_version (
	name    TEXT PRIMARY KEY,
	version INTEGER NOT NULL
) STRICT, WITHOUT ROWID`

// migrate brings the tables of all schemas up to date, in one transaction: a
// migration that fails leaves everything to the program that was there before.
func migrate(c *conn, schemas []Schema) error {
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := c.script(versionTable)
	for i := 0; err == nil && i < len(schemas); i++ {
		err = schemas[i].migrate(c)
	}
	if err != nil {
		return errors.Join(err, c.script("ROLLBACK"))
	}
	return c.script("COMMIT")
}

func (s *Schema) migrate(c *conn) error {
	version, err := s.version(c)
	if err != nil {
		return err
	}
	if version > len(s.Migrations) {
		return fmt.Errorf("%w: tables %q are at version %d, this program knows %d; run the newer program, or restore a backup made before it",
			ErrNewer, s.Name, version, len(s.Migrations))
	}
	for n := version; n < len(s.Migrations); n++ {
		if err := s.step(c, n); err != nil {
			return fmt.Errorf("migrate %s to version %d: %w", s.Name, n+1, err)
		}
	}
	return nil
}

func (s *Schema) version(c *conn) (int, error) {
	var n int
	tx := &Tx{conn: c}
	err := tx.QueryRow("SELECT version FROM schema_version WHERE name = ?", s.Name).Scan(&n)
	if errors.Is(err, ErrNoRows) {
		return 0, nil
	}
	return n, err
}

// step runs one migration and its bookkeeping.
func (s *Schema) step(c *conn, n int) error {
	if err := c.script(s.Migrations[n]); err != nil {
		return err
	}
	tx := &Tx{conn: c}
	_, err := tx.Exec("INSERT INTO schema_version VALUES (?, ?) ON CONFLICT DO UPDATE SET version = excluded.version", s.Name, n+1)
	return err
}
