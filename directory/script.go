package directory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mtad/store"
)

// MaxScript is how many octets a script may have.
const MaxScript = 1 << 20

const (
	maxScripts    = 50  // of a user in a language
	maxScriptName = 512 // octets
)

// Language is what a script is written in. A user has scripts of each, and of
// each at most one that runs.
type Language string

// The languages.
const (
	Sieve Language = "sieve"
	Lua   Language = "lua"
	// SpamPreferences are scores, lists and the like for the filter spamscore, as in
	// SpamAssassin's user_prefs.
	SpamPreferences Language = "spamassassin"
)

// Script is a user's script without its text.
type Script struct {
	Name    string
	Size    int64  // octets
	Version string // of the text: the same text has the same version
	Active  bool
	Changed time.Time
}

// checkScriptName: RFC 5804, 1.6 has no control characters, nor what ends lines
// or paragraphs.
func checkScriptName(name string) error {
	bad := func(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }
	if name == "" || len(name) > maxScriptName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return ErrBadName
	}
	return nil
}

// PutScript stores a script, replacing one of the same name. The caller has
// checked its syntax. ErrTooBig above 1 MiB, ErrTooMany above 50 scripts.
func (d *Directory) PutScript(ctx context.Context, user int64, in Language, name, text string) error {
	if err := checkScriptName(name); err != nil {
		return err
	}
	if len(text) > MaxScript {
		return ErrTooBig
	}
	sum := sha256.Sum256([]byte(text))
	version := hex.EncodeToString(sum[:16])
	return wrap("put script", d.db.Update(ctx, func(tx *store.Tx) error {
		if err := roomFor(tx, user, in, name); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO script (user, language, name, text, version, changed) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET text = excluded.text, version = excluded.version, changed = excluded.changed`,
			user, in, name, text, version, d.now().Unix())
		return err
	}), ErrNoUser)
}

// roomFor is ErrTooMany if a user can have no script of that name beside the others.
func roomFor(tx *store.Tx, user int64, in Language, name string) error {
	var n int
	err := tx.QueryRow("SELECT count(*) FROM script WHERE user = ? AND language = ? AND name <> ?", user, in, name).Scan(&n)
	if err == nil && n >= maxScripts {
		return ErrTooMany
	}
	return err
}

// HasSpace is nil if PutScript would take a script of size octets (RFC 5804,
// 2.5), else its error.
func (d *Directory) HasSpace(ctx context.Context, user int64, in Language, name string, size int64) error {
	if err := checkScriptName(name); err != nil {
		return err
	}
	if size > MaxScript {
		return ErrTooBig
	}
	return wrap("space for script", d.db.View(ctx, func(tx *store.Tx) error { return roomFor(tx, user, in, name) }), ErrNoUser)
}

// Scripts lists a user's scripts by name.
func (d *Directory) Scripts(ctx context.Context, user int64, in Language) (out []Script, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT name, octet_length(text), version, active, changed FROM script WHERE user = ? AND language = ? ORDER BY name", user, in)
		if err != nil {
			return err
		}
		for rows.Next() {
			var s Script
			var changed int64
			if err := rows.Scan(&s.Name, &s.Size, &s.Version, &s.Active, &changed); err != nil {
				return err
			}
			s.Changed = time.Unix(changed, 0)
			out = append(out, s)
		}
		return rows.Err()
	})
	return out, wrap("scripts", err, ErrNoScript)
}

// ScriptText reads one script. ErrNoScript.
func (d *Directory) ScriptText(ctx context.Context, user int64, in Language, name string) (text string, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT text FROM script WHERE user = ? AND language = ? AND name = ?", user, in, name).Scan(&text)
	})
	return text, wrap("script", err, ErrNoScript)
}

// ActiveScript reads the script that runs at delivery; version changes with
// the text, so it is a key for what was compiled from it. ErrNoScript.
func (d *Directory) ActiveScript(ctx context.Context, user int64, in Language) (name, text, version string, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow("SELECT name, text, version FROM script WHERE user = ? AND language = ? AND active", user, in).Scan(&name, &text, &version)
	})
	return name, text, version, wrap("active script", err, ErrNoScript)
}

// ActivateScript makes a script the only active one; with "" none is.
func (d *Directory) ActivateScript(ctx context.Context, user int64, in Language, name string) error {
	return wrap("activate script", d.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("UPDATE script SET active = 0 WHERE user = ? AND language = ? AND active", user, in); err != nil || name == "" {
			return err
		}
		return one(tx.Exec("UPDATE script SET active = 1 WHERE user = ? AND language = ? AND name = ?", user, in, name))
	}), ErrNoScript)
}

// DeleteScript removes a script; the active one gives ErrInUse (RFC 5804,
// 2.10).
func (d *Directory) DeleteScript(ctx context.Context, user int64, in Language, name string) error {
	return wrap("delete script", d.db.Update(ctx, func(tx *store.Tx) error {
		var active bool
		err := tx.QueryRow("SELECT active FROM script WHERE user = ? AND language = ? AND name = ?", user, in, name).Scan(&active)
		if err == nil && active {
			return ErrInUse
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec("DELETE FROM script WHERE user = ? AND language = ? AND name = ?", user, in, name)
		return err
	}), ErrNoScript)
}

// RenameScript gives a script another name (RFC 5804, 2.11.1). ErrExists, also
// for the name that it has.
func (d *Directory) RenameScript(ctx context.Context, user int64, in Language, from, to string) error {
	if err := checkScriptName(to); err != nil {
		return err
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		if from == to {
			err := tx.QueryRow("SELECT name FROM script WHERE user = ? AND language = ? AND name = ?", user, in, from).Scan(&to)
			return cmp.Or(err, ErrExists)
		}
		return one(tx.Exec("UPDATE script SET name = ? WHERE user = ? AND language = ? AND name = ?", to, user, in, from))
	})
	if errors.Is(err, store.ErrUnique) {
		return ErrExists
	}
	return wrap("rename script", err, ErrNoScript)
}
