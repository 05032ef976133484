package directory

import (
	"context"
	"errors"
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
	Stand                        // stands for another domain: its addresses are that one's
)

func (c DomainClass) String() string {
	switch c {
	case Local:
		return "local"
	case Relay:
		return "relay"
	case Stand:
		return "alias"
	}
	return "unknown"
}

// Domain is one domain the server takes mail for.
type Domain struct {
	Name  string // A-labels in lower case
	Class DomainClass
	Of    string // Stand: the domain whose addresses it has
}

// AddDomain adds a domain, or changes its class.
func (d *Directory) AddDomain(ctx context.Context, name string, class DomainClass) error {
	name, err := canonicalDomain(name)
	if err != nil {
		return err
	}
	return wrap("add domain", d.update(ctx, func(tx *store.Tx) error {
		return putDomain(tx, Domain{Name: name, Class: class})
	}), ErrNoDomain)
}

func putDomain(tx *store.Tx, one Domain) error {
	_, err := tx.Exec("INSERT INTO domain VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET class = excluded.class, stands_for = excluded.stands_for", one.Name, one.Class, one.Of)
	return err
}

// AddAliasDomain adds a domain whose addresses are those of another, which is
// one of ours, and stands for none itself. A domain that has users or aliases of
// its own, or that another stands for, can not become one (ErrInUse).
func (d *Directory) AddAliasDomain(ctx context.Context, name, of string) error {
	name, err := canonicalDomain(name)
	if err != nil {
		return err
	}
	if of, err = canonicalDomain(of); err != nil {
		return err
	}
	return wrap("add domain", d.update(ctx, func(tx *store.Tx) error {
		class, _, err := domainOf(tx, of)
		if err != nil {
			return err
		}
		var used int
		err = tx.QueryRow("SELECT (SELECT count(*) FROM user WHERE domain = ?1) + (SELECT count(*) FROM alias WHERE domain = ?1) + (SELECT count(*) FROM domain WHERE stands_for = ?1)", name).Scan(&used)
		switch {
		case err != nil:
			return err
		case used > 0 || class != Local || name == of:
			return ErrInUse
		}
		return putDomain(tx, Domain{name, Stand, of})
	}), ErrNoDomain)
}

// RemoveDomain removes a domain without users; its aliases go too.
func (d *Directory) RemoveDomain(ctx context.Context, name string) error {
	name, err := canonicalDomain(name)
	if err != nil {
		return err
	}
	return wrap("remove domain", d.update(ctx, func(tx *store.Tx) error {
		var users int // and domains that stand for it
		if err := tx.QueryRow("SELECT (SELECT count(*) FROM user WHERE domain = ?1) + (SELECT count(*) FROM domain WHERE stands_for = ?1)", name).Scan(&users); err != nil {
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
		rows, err := tx.Query("SELECT name, class, stands_for FROM domain ORDER BY name")
		if err != nil {
			return err
		}
		for rows.Next() {
			var one Domain
			if err := rows.Scan(&one.Name, &one.Class, &one.Of); err != nil {
				return err
			}
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, wrap("domains", err, ErrNoDomain)
}

// domainOf finds a domain's class, and the one that it stands for.
func domainOf(tx *store.Tx, domain string) (c DomainClass, of string, err error) {
	err = tx.QueryRow("SELECT class, stands_for FROM domain WHERE name = ?", domain).Scan(&c, &of)
	return c, of, err
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
		switch class, _, err := domainOf(tx, a.Domain); {
		case err == nil && class == Stand:
			return ErrStands
		case err != nil || class != Local:
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

// findStood is findUser, also by an address of a domain that stands for the
// user's.
func findStood(tx *store.Tx, a smtp.Address) (User, error) {
	u, err := findUser(tx, a)
	if !errors.Is(err, store.ErrNoRows) {
		return u, err
	}
	_, of, err := domainOf(tx, a.Domain)
	if err != nil || of == "" {
		return User{}, store.ErrNoRows
	}
	return findUser(tx, smtp.Address{Local: a.Local, Domain: of})
}

// User finds an account by its own address, with the default domain if it has
// none; a domain that stands for the account's does as well. ErrNoUser, ErrBadAddress.
func (d *Directory) User(ctx context.Context, address string) (u User, err error) {
	a, err := d.address(address)
	if err != nil {
		return User{}, err
	}
	err = d.db.View(ctx, func(tx *store.Tx) error {
		u, err = findStood(tx, a)
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
		for _, table := range []string{"script", "send_grant"} {
			if _, err := tx.Exec("DELETE FROM "+table+" WHERE user = ?", u.ID); err != nil {
				return err
			}
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
