package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// MaxKey bounds a key, in octets: a longer one is in no table. Clients choose
// keys.
const MaxKey = 1000

// Timeout bounds one look-up in a daemon or database that has no bound of its
// own.
const Timeout = 10 * time.Second

// Table is one lookup table. It may be asked by several goroutines at once.
type Table interface {
	// Lookup finds the value of a key. An error says that the answer can not
	// be known now.
	Lookup(ctx context.Context, key string) (value string, ok bool, err error)
	// Whole says that the table matches patterns, and is to be asked for whole
	// addresses alone, not for the parts of one (regexp_table(5)).
	Whole() bool
	Close() error
}

// Options are what tables may use.
type Options struct {
	Log *slog.Logger     // what goes wrong with a file that was changed; may be nil
	Now func() time.Time // may be nil
}

func (o Options) filled() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// types opens each type of table, by what stands behind "TYPE:".
var types = map[string]func(name string, o Options) (Table, error){
	"file": openFile, "texthash": openFile, "hash": openFile, "btree": openFile, "lmdb": openFile, "dbm": openFile, "cdb": openFile,
	"regexp": openRegexp, "pcre": openPCRE, "cidr": openCIDR,
	"inline": openInline, "static": openStatic, "unix": openUnix,
	"sqlite": openSQLite, "pgsql": openPgSQL, "ldap": openLDAP,
	"tcp": openTCP, "socketmap": openSocketmap,
}

// sources are the types that read a file in the source form of postmap(1), whatever
// Postfix makes of it; files are all whose name is a path.
var (
	sources = []string{"file", "texthash", "hash", "btree", "lmdb", "dbm", "cdb"}
	files   = append(slices.Clone(sources), "regexp", "pcre", "cidr", "sqlite", "pgsql", "ldap")
)

// SourceTypes are the types of tables that are files in the source form of
// postmap(1).
func SourceTypes() []string { return slices.Clone(sources) }

// Types are the names of all types, in order.
func Types() []string {
	var out []string
	for name := range types {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Split takes a table's name apart. ok is false for what names no table: a
// domain, say, or an IPv6 address.
func Split(spec string) (typ, name string, ok bool) {
	typ, name, ok = strings.Cut(spec, ":")
	if ok {
		_, ok = types[typ]
	}
	return typ, name, ok
}

// Path is the file that a table's name names; ok is false if it names none.
func Path(spec string) (path string, ok bool) {
	typ, name, ok := Split(spec)
	return name, ok && slices.Contains(files, typ)
}

// Open opens a table.
func Open(spec string, o Options) (Table, error) {
	o = o.filled()
	typ, name, ok := Split(spec)
	switch {
	case !ok && typ == "mysql":
		return nil, errors.New("mysql: is not to be had: sqlite:, pgsql:, ldap:, tcp: and socketmap: are")
	case !ok:
		return nil, fmt.Errorf("%q is no table: want TYPE:NAME, with %s as the type", spec, strings.Join(Types(), ", "))
	case name == "":
		return nil, fmt.Errorf("%q names no table: something must follow %s:", spec, typ)
	}
	t, err := types[typ](name, o)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", spec, err)
	}
	return named{t, spec}, nil
}

// named adds the table's name to errors, and bounds keys.
type named struct {
	Table
	spec string
}

func (n named) Lookup(ctx context.Context, key string) (value string, ok bool, err error) {
	if key == "" || len(key) > MaxKey || strings.ContainsRune(key, 0) {
		return "", false, nil
	}
	value, ok, err = n.Table.Lookup(ctx, key)
	if err != nil {
		return "", false, fmt.Errorf("table %s: %w", n.spec, err)
	}
	return value, ok, nil
}

func (n named) String() string { return n.spec }

// Tables are asked one after the other.
type Tables []Table

// OpenAll opens tables; if one can not be opened none is.
func OpenAll(specs []string, o Options) (Tables, error) {
	var out Tables
	for _, s := range specs {
		t, err := Open(s, o)
		if err != nil {
			return nil, errors.Join(err, out.Close())
		}
		out = append(out, t)
	}
	return out, nil
}

// Find asks for each key in turn, all tables for one key before the next key;
// tables of patterns are asked for the first key alone. A later key is a part of
// the first.
func (ts Tables) Find(ctx context.Context, keys ...string) (value string, found string, ok bool, err error) {
	for i, key := range keys {
		for _, t := range ts {
			if i > 0 && t.Whole() {
				continue
			}
			value, ok, err := t.Lookup(ctx, key)
			if err != nil || ok {
				return value, key, ok, err
			}
		}
	}
	return "", "", false, nil
}

// Close closes all.
func (ts Tables) Close() error {
	var errs []error
	for _, t := range ts {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// List reads a value that is a list: its elements stand between commas and white
// space.
func List(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}
