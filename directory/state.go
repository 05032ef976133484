package directory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"mtad/store"
)

const (
	maxKey       = 512
	maxValue     = 64 << 10
	maxNamespace = 64
	maxStateKeys = 1_000_000 // of a namespace
	maxRows      = 1_000_000 // of a lookup table
	sweepChunk   = 1000
	never        = math.MaxInt64
)

// ErrNotCounter says that Add met a value that Set wrote.
var ErrNotCounter = errors.New("directory: the value is not a counter")

// State is small state of filters, one namespace each: values and counters
// that may expire. Above a million keys those that expire first give way.
type State struct {
	d         *Directory
	namespace string
	limit     int
}

// State opens a namespace: at most 64 octets.
func (d *Directory) State(namespace string) (*State, error) {
	if namespace == "" || len(namespace) > maxNamespace {
		return nil, fmt.Errorf("%w: namespace %q", ErrBadName, namespace)
	}
	return &State{d, namespace, maxStateKeys}, nil
}

// Limit is the same namespace with room for fewer keys.
func (s *State) Limit(keys int) *State { return &State{s.d, s.namespace, min(keys, s.limit)} }

func (s *State) expiry(ttl time.Duration) int64 {
	if ttl <= 0 {
		return never
	}
	return s.d.now().Add(ttl).UnixMilli()
}

// Get reads a value; ok is false for one that is missing or expired. A counter
// reads as its decimal digits.
func (s *State) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		value, ok, err = s.get(tx, key)
		return err
	})
	return value, ok, wrap("state", err, nil)
}

func (s *State) get(tx *store.Tx, key string) (value []byte, ok bool, err error) {
	err = tx.QueryRow("SELECT value FROM state WHERE namespace = ? AND key = ? AND expiry > ?", s.namespace, key, s.d.now().UnixMilli()).Scan(&value)
	if errors.Is(err, store.ErrNoRows) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// Set writes a value of at most 64 KiB under a key of at most 512 octets; a
// ttl of zero means no expiry.
func (s *State) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return wrap("state", s.d.db.Update(ctx, func(tx *store.Tx) error { return s.SetIn(tx, key, value, ttl) }), nil)
}

// SetIn is Set in a transaction.
func (s *State) SetIn(tx *store.Tx, key string, value []byte, ttl time.Duration) error {
	if len(key) > maxKey || len(value) > maxValue {
		return ErrTooBig
	}
	return s.set(tx, key, value, s.expiry(ttl))
}

func (s *State) set(tx *store.Tx, key string, value []byte, expiry int64) error {
	_, err := tx.Exec(`INSERT INTO state VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expiry = excluded.expiry`, s.namespace, key, value, expiry)
	if err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow("SELECT keys FROM state_count WHERE namespace = ?", s.namespace).Scan(&n); err != nil || n <= s.limit {
		return err
	}
	_, err = tx.Exec(`DELETE FROM state WHERE rowid IN
		(SELECT rowid FROM state WHERE namespace = ? ORDER BY expiry LIMIT ?)`, s.namespace, n-s.limit+s.limit/100)
	return err
}

// Add adds delta to a counter, which begins at 0, and returns the sum. The
// first Add after an expiry begins a new counter with that ttl; later ones
// leave the expiry as it is.
func (s *State) Add(ctx context.Context, key string, delta int64, ttl time.Duration) (sum int64, err error) {
	if len(key) > maxKey {
		return 0, ErrTooBig
	}
	err = s.d.db.Update(ctx, func(tx *store.Tx) error {
		var value []byte
		expiry := int64(0)
		err := tx.QueryRow("SELECT value, expiry FROM state WHERE namespace = ? AND key = ? AND expiry > ?", s.namespace, key, s.d.now().UnixMilli()).
			Scan(&value, &expiry)
		switch {
		case errors.Is(err, store.ErrNoRows):
			sum, expiry = 0, s.expiry(ttl)
		case err != nil:
			return err
		default:
			if sum, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return ErrNotCounter
			}
		}
		sum += delta
		return s.set(tx, key, strconv.AppendInt(nil, sum, 10), expiry)
	})
	return sum, wrap("state", err, nil)
}

// Delete removes a key.
func (s *State) Delete(ctx context.Context, key string) error {
	return wrap("state", s.d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM state WHERE namespace = ? AND key = ?", s.namespace, key)
		return err
	}), nil)
}

// Sweep removes expired state of all namespaces, some at a time, and returns
// how many keys went.
func (d *Directory) Sweep(ctx context.Context) (removed int, err error) {
	for n := sweepChunk; n == sweepChunk; {
		err := d.db.Update(ctx, func(tx *store.Tx) error {
			r, err := tx.Exec(`DELETE FROM state WHERE rowid IN (
				SELECT s.rowid FROM state_count c JOIN state s ON s.namespace = c.namespace
				WHERE s.expiry <= ? LIMIT ?)`, d.now().UnixMilli(), sweepChunk)
			n = int(r.Changes)
			return err
		})
		if err != nil {
			return removed, wrap("sweep", err, nil)
		}
		removed += n
	}
	return removed, nil
}

// Row is an entry of a lookup table.
type Row struct{ Key, Value string }

// PutRow sets a key of a lookup table, which begins to exist with its first.
func (d *Directory) PutRow(ctx context.Context, table string, row Row) error {
	if table == "" || len(table) > maxNamespace {
		return fmt.Errorf("%w: table %q", ErrBadName, table)
	}
	if row.Key == "" || len(row.Key) > maxKey || len(row.Value) > maxValue {
		return ErrTooBig
	}
	return wrap("put row", d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO lookup VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", table, row.Key, row.Value)
		if err != nil {
			return err
		}
		var n int
		err = tx.QueryRow("SELECT rows FROM lookup_count WHERE tab = ?", table).Scan(&n)
		if err == nil && n > maxRows {
			return ErrTooMany
		}
		return err
	}), nil)
}

// Row reads a key of a lookup table.
func (d *Directory) Row(ctx context.Context, table, key string) (value string, ok bool, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT value FROM lookup WHERE tab = ? AND key = ?", table, key).Scan(&value)
	})
	if errors.Is(err, store.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, wrap("row", err, nil)
}

// DeleteRow removes a key of a lookup table; a missing one is no error.
func (d *Directory) DeleteRow(ctx context.Context, table, key string) error {
	return wrap("delete row", d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("DELETE FROM lookup WHERE tab = ? AND key = ?", table, key)
		return err
	}), nil)
}

// Rows reads up to limit rows of a table with keys above after, in key order.
func (d *Directory) Rows(ctx context.Context, table, after string, limit int) (out []Row, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT key, value FROM lookup WHERE tab = ? AND key > ? ORDER BY key LIMIT ?", table, after, limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			var r Row
			if err := rows.Scan(&r.Key, &r.Value); err != nil {
				return err
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	return out, wrap("rows", err, nil)
}
