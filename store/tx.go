package store

import (
	"errors"
	"fmt"
	"reflect"

	"zombiezen.com/go/sqlite"

	"mtad/journal"
)

var errTransactionGone = errors.New("store: the transaction was rolled back by a fault")

// Tx is one function's part of a transaction. It is used by that function's
// goroutine only, and not after the function returned. Statements are prepared
// once a connection and kept, so their text is constant; values go into
// arguments: nil, integers, floats, bool, string, []byte, and types made of
// these. A uint64 is stored with the bits of an int64.
//
// A parameter whose value the planner looked at (beside an ORDER BY, in a join)
// makes SQLite prepare the statement anew for every value, at ten times the
// cost. Where that matters write +? for it: the index is used all the same.
type Tx struct {
	conn    *conn
	write   bool
	rows    []*Rows
	hooks   []func()
	applied []journal.Place
}

// Result tells what Exec did.
type Result struct {
	Changes int64 // rows inserted, updated or deleted
	LastID  int64 // of the last insert into a table with rowid
}

// OnCommit has fn called after COMMIT succeeded, by the goroutine that writes:
// it must be short and must not call Update.
func (tx *Tx) OnCommit(fn func()) { tx.hooks = append(tx.hooks, fn) }

// Exec runs a statement that gives no rows. A row that exists already gives
// ErrUnique.
func (tx *Tx) Exec(query string, args ...any) (Result, error) {
	st, err := tx.prepare(query, args)
	if err != nil {
		return Result{}, err
	}
	for more := true; more && err == nil; {
		more, err = st.Step()
	}
	if err = errors.Join(err, st.Reset()); err != nil {
		return Result{}, fmt.Errorf("store: %w", describe(err))
	}
	return Result{int64(tx.conn.Changes()), tx.conn.LastInsertRowID()}, nil
}

// Query runs a statement that gives rows. The same text cannot be run again
// before its Rows is closed; reading to the end closes it.
func (tx *Tx) Query(query string, args ...any) (*Rows, error) {
	st, err := tx.prepare(query, args)
	if err != nil {
		return nil, err
	}
	r := &Rows{tx: tx, st: st}
	tx.rows = append(tx.rows, r)
	return r, nil
}

// QueryRow runs a statement of which the first row is wanted; Scan answers
// ErrNoRows if there is none.
func (tx *Tx) QueryRow(query string, args ...any) Row {
	rows, err := tx.Query(query, args...)
	return Row{rows, err}
}

func (tx *Tx) prepare(query string, args []any) (*sqlite.Stmt, error) {
	// No statement of Update runs outside its transaction. After a
	// full disk SQLite has rolled back by itself, and each further statement
	// would commit on its own.
	if tx.write && tx.conn.AutocommitEnabled() {
		return nil, errTransactionGone
	}
	st, err := tx.conn.Prepare(query)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, r := range tx.rows {
		if r.st == st {
			return nil, fmt.Errorf("store: still reading from the same query: %s", query)
		}
	}
	if n := st.BindParamCount(); n != len(args) {
		return nil, fmt.Errorf("store: %d arguments for %d parameters: %s", len(args), n, query)
	}
	for i, a := range args {
		if err := bind(st, i+1, a); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func bind(st *sqlite.Stmt, i int, a any) error {
	switch v := a.(type) {
	case nil:
		st.BindNull(i)
	case int:
		st.BindInt64(i, int64(v))
	case int64:
		st.BindInt64(i, v)
	case string:
		st.BindText(i, v)
	case []byte:
		st.BindBytes(i, v)
	case bool:
		st.BindBool(i, v)
	default:
		return bindKind(st, i, reflect.ValueOf(a))
	}
	return nil
}

// bindKind binds values of named types.
func bindKind(st *sqlite.Stmt, i int, v reflect.Value) error {
	switch {
	case v.CanInt():
		st.BindInt64(i, v.Int())
	case v.CanUint():
		st.BindInt64(i, int64(v.Uint()))
	case v.CanFloat():
		st.BindFloat(i, v.Float())
	case v.Kind() == reflect.String:
		st.BindText(i, v.String())
	case v.Kind() == reflect.Bool:
		st.BindBool(i, v.Bool())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		st.BindBytes(i, v.Bytes())
	default:
		return fmt.Errorf("store: cannot bind a %s", v.Type())
	}
	return nil
}

// closeRows ends what the function left open.
func (tx *Tx) closeRows() {
	for len(tx.rows) > 0 {
		tx.rows[0].Close()
	}
}

// Row is the outcome of QueryRow.
type Row struct {
	rows *Rows
	err  error
}

// Scan reads the first row's columns.
func (r Row) Scan(dst ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if r.rows.Next() {
		return r.rows.Scan(dst...)
	}
	if err := r.rows.Err(); err != nil {
		return err
	}
	return ErrNoRows
}

// Rows is read like the one of database/sql.
type Rows struct {
	tx  *Tx
	st  *sqlite.Stmt // nil once closed
	err error
}

// Next moves to the next row; false says the end or an error (see Err).
func (r *Rows) Next() bool {
	if r.st == nil {
		return false
	}
	more, err := r.st.Step()
	if err != nil {
		r.err = fmt.Errorf("store: %w", describe(err))
	}
	if !more || err != nil {
		r.Close()
		return false
	}
	return true
}

// Err is what ended the reading, or nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close may be called more than once.
func (r *Rows) Close() {
	if r.st == nil {
		return
	}
	// Reset repeats the error of the last step, which Next has kept.
	_ = r.st.Reset()
	r.st = nil
	for i, other := range r.tx.rows {
		if other == r {
			r.tx.rows = append(r.tx.rows[:i], r.tx.rows[i+1:]...)
			return
		}
	}
}

// Scan reads the columns of the current row into pointers to integers, floats,
// bools, strings, []byte (copied), and types made of these. NULL is the zero
// value. A nil destination passes over its column.
func (r *Rows) Scan(dst ...any) error {
	if r.st == nil {
		return errors.New("store: scan of closed rows")
	}
	if n := r.st.ColumnCount(); n != len(dst) {
		return fmt.Errorf("store: %d destinations for %d columns", len(dst), n)
	}
	for i, d := range dst {
		if err := scan(r.st, i, d); err != nil {
			return err
		}
	}
	return nil
}

func scan(st *sqlite.Stmt, i int, dst any) error {
	switch p := dst.(type) {
	case nil:
	case *int:
		*p = int(st.ColumnInt64(i))
	case *int64:
		*p = st.ColumnInt64(i)
	case *string:
		*p = st.ColumnText(i)
	case *[]byte:
		*p = blob(st, i)
	case *bool:
		*p = st.ColumnInt64(i) != 0
	default:
		return scanKind(st, i, reflect.ValueOf(dst))
	}
	return nil
}

func scanKind(st *sqlite.Stmt, i int, p reflect.Value) error {
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("store: cannot scan into a %s", p.Type())
	}
	v := p.Elem()
	switch {
	case v.CanInt():
		v.SetInt(st.ColumnInt64(i))
	case v.CanUint():
		v.SetUint(uint64(st.ColumnInt64(i)))
	case v.CanFloat():
		v.SetFloat(st.ColumnFloat(i))
	case v.Kind() == reflect.String:
		v.SetString(st.ColumnText(i))
	case v.Kind() == reflect.Bool:
		v.SetBool(st.ColumnInt64(i) != 0)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes(blob(st, i))
	default:
		return fmt.Errorf("store: cannot scan into a %s", p.Type())
	}
	return nil
}

func blob(st *sqlite.Stmt, i int) []byte {
	n := st.ColumnLen(i)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	st.ColumnBytes(i, b)
	return b
}
