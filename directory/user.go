package directory

import (
	"context"
	"time"

	"mtad/smtp"
	"mtad/store"
)

// DomainClass says what the server does for a domain.
type DomainClass uint8

// The classes. Their values are stored.
const (
	Local DomainClass = 1 + iota // users and aliases here
	Relay                        // taken for another server
)

func (c DomainClass) String() string {
	switch c {
	case Local:
		return "local"
	case Relay:
		return "relay"
	}
	return "unknown"
}

// Domain is one domain the server takes mail for.
type Domain struct {
	Name  string // A-labels in lower case
	Class DomainClass
}

// AddDomain adds a domain, or changes its class.
func (d *Directory) AddDomain(ctx context.Context, name string, class DomainClass) error {
	name, err := canonicalDomain(name)
	if err != nil {
		return err
	}
	return wrap("add domain", d.update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO domain VALUES (?, ?) ON CONFLICT DO UPDATE SET class = excluded.class", name, class)
		return err
	}), ErrNoDomain)
}

// RemoveDomain removes a domain without users; its aliases go too.
func (d *Directory) RemoveDomain(ctx context.Context, name string) error {
	name, err := canonicalDomain(name)
	if err != nil {
		return err
	}
	return wrap("remove domain", d.update(ctx, func(tx *store.Tx) error {
		var users int
		if err := tx.QueryRow("SELECT count(*) FROM user WHERE domain = ?", name).Scan(&users); err != nil {
			return err
		}
		if users > 0 {
			return ErrInUse
		}
		if _, err := tx.Exec("DELETE FROM alias WHERE domain = ?", name); err != nil {
			return err
		}
		return one(tx.Exec("DELETE FROM domain WHERE name = ?", name))
	}), ErrNoDomain)
}

// one says that a statement should have changed a row.
func one(r store.Result, err error) error {
	if err == nil && r.Changes == 0 {
		return store.ErrNoRows
	}
	return err
}

// Domains lists the domains by name.
func (d *Directory) Domains(ctx context.Context) (out []Domain, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT name, class FROM domain ORDER BY name")
		if err != nil {
			return err
		}
		for rows.Next() {
			var one Domain
			if err := rows.Scan(&one.Name, &one.Class); err != nil {
				return err
			}
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, wrap("domains", err, ErrNoDomain)
}

func classOf(tx *store.Tx, domain string) (c DomainClass, err error) {
	err = tx.QueryRow("SELECT class FROM domain WHERE name = ?", domain).Scan(&c)
	return c, err
}

// User is one account.
type User struct {
	ID       int64  // never used again; the mailbox's AccountID
	Address  string // local@domain, lower case
	Hash     string // PHC string
	Disabled bool   // may not log in; mail is still delivered
	Created  time.Time
}

const userColumns = "id, local, domain, hash, disabled, created"

func (u *User) scan(scan func(...any) error) error {
	var a smtp.Address
	var created int64
	err := scan(&u.ID, &a.Local, &a.Domain, &u.Hash, &u.Disabled, &created)
	u.Address, u.Created = a.String(), time.Unix(created, 0)
	return err
}

// AddUser adds an account to a local domain. The caller then provisions its
// mailbox. ErrExists, ErrNoDomain, ErrBadAddress, ErrWeak.
func (d *Directory) AddUser(ctx context.Context, address, password string) (u User, err error) {
	a, err := d.address(address)
	if err != nil {
		return User{}, err
	}
	hash, err := d.newHash(ctx, password)
	if err != nil {
		return User{}, err
	}
	err = d.update(ctx, func(tx *store.Tx) error {
		if class, err := classOf(tx, a.Domain); err != nil || class != Local {
			return ErrNoDomain
		}
		_, err := tx.Exec("INSERT INTO user (local, domain, hash, created) VALUES (?, ?, ?, ?)", a.Local, a.Domain, hash, d.now().Unix())
		if err != nil {
			return err
		}
		u, err = findUser(tx, a)
		return err
	})
	return u, wrap("add user "+a.String(), err, ErrNoUser)
}

func findUser(tx *store.Tx, a smtp.Address) (u User, err error) {
	err = u.scan(tx.QueryRow("SELECT "+userColumns+" FROM user WHERE domain = ? AND local = ?", a.Domain, a.Local).Scan)
	return u, err
}

// User finds an account by its own address, with the default domain if it has
// none. ErrNoUser, ErrBadAddress.
func (d *Directory) User(ctx context.Context, address string) (u User, err error) {
	a, err := d.address(address)
	if err != nil {
		return User{}, err
	}
	err = d.db.View(ctx, func(tx *store.Tx) error {
		u, err = findUser(tx, a)
		return err
	})
	return u, wrap("user", err, ErrNoUser)
}

// UserByID finds an account by its number.
func (d *Directory) UserByID(ctx context.Context, id int64) (u User, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		return u.scan(tx.QueryRow("SELECT "+userColumns+" FROM user WHERE id = ?", id).Scan)
	})
	return u, wrap("user", err, ErrNoUser)
}

// Users lists the accounts of a domain, or with "" of all, by address.
func (d *Directory) Users(ctx context.Context, domain string) (out []User, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT "+userColumns+" FROM user WHERE ?1 = '' OR domain = ?1 ORDER BY domain, local", domain)
		if err != nil {
			return err
		}
		for rows.Next() {
			var u User
			if err := u.scan(rows.Scan); err != nil {
				return err
			}
			out = append(out, u)
		}
		return rows.Err()
	})
	return out, wrap("users", err, ErrNoUser)
}

// SetPassword replaces a password; logins verified with the old one no longer
// pass.
func (d *Directory) SetPassword(ctx context.Context, address, password string) error {
	hash, err := d.newHash(ctx, password)
	if err != nil {
		return err
	}
	return d.changeUser(ctx, address, func(tx *store.Tx, u User) error {
		_, err := tx.Exec("UPDATE user SET hash = ? WHERE id = ?", hash, u.ID)
		return err
	})
}

// Disable keeps an account from logging in, or lets it again.
func (d *Directory) Disable(ctx context.Context, address string, disabled bool) error {
	return d.changeUser(ctx, address, func(tx *store.Tx, u User) error {
		_, err := tx.Exec("UPDATE user SET disabled = ? WHERE id = ?", disabled, u.ID)
		return err
	})
}

// RemoveUser removes an account and its scripts and returns what it was: the
// caller deletes the mailbox.
func (d *Directory) RemoveUser(ctx context.Context, address string) (removed User, err error) {
	err = d.changeUser(ctx, address, func(tx *store.Tx, u User) error {
		removed = u
		if _, err := tx.Exec("DELETE FROM script WHERE user = ?", u.ID); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM user WHERE id = ?", u.ID)
		return err
	})
	return removed, err
}

func (d *Directory) changeUser(ctx context.Context, address string, fn func(*store.Tx, User) error) error {
	a, err := d.address(address)
	if err != nil {
		return err
	}
	return wrap("user "+a.String(), d.update(ctx, func(tx *store.Tx) error {
		u, err := findUser(tx, a)
		if err != nil {
			return err
		}
		return fn(tx, u)
	}), ErrNoUser)
}
