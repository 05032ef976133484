package directory

import (
	"context"
	"errors"
	"strings"

	"mtad/smtp"
	"mtad/store"
)

const (
	maxTargets = 1000 // of one alias
	postmaster = "postmaster"
	abuse      = "abuse"
)

// Alias is an address that leads to others. "@domain" as the address catches
// what nobody else in the domain takes.
type Alias struct {
	Address string
	Targets []string
}

// aliasAddress reads an alias's own address, which may lack the local-part.
func (d *Directory) aliasAddress(text string) (smtp.Address, error) {
	if domain, ok := strings.CutPrefix(text, "@"); ok {
		domain, err := canonicalDomain(domain)
		return smtp.Address{Domain: domain}, err
	}
	return d.address(text)
}

// AddAlias adds targets to an alias of one of our domains. A user may have an
// alias of the same address; the mail then goes to the targets only, unless the
// address is among them.
func (d *Directory) AddAlias(ctx context.Context, address string, targets ...string) error {
	a, err := d.aliasAddress(address)
	if err != nil {
		return err
	}
	canonical := make([]string, len(targets))
	for i, t := range targets {
		target, err := d.address(t)
		if err != nil {
			return err
		}
		canonical[i] = target.String()
	}
	return wrap("add alias", d.update(ctx, func(tx *store.Tx) error {
		switch class, _, err := domainOf(tx, a.Domain); {
		case err != nil:
			return err
		case class == Stand:
			return ErrStands
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM alias WHERE domain = ? AND local = ?", a.Domain, a.Local).Scan(&n); err != nil {
			return err
		}
		if n+len(canonical) > maxTargets {
			return ErrTooMany
		}
		for _, t := range canonical {
			if _, err := tx.Exec("INSERT INTO alias VALUES (?, ?, ?) ON CONFLICT DO NOTHING", a.Local, a.Domain, t); err != nil {
				return err
			}
		}
		return nil
	}), ErrNoDomain)
}

// RemoveAlias removes some targets of an alias, or without targets all.
func (d *Directory) RemoveAlias(ctx context.Context, address string, targets ...string) error {
	a, err := d.aliasAddress(address)
	if err != nil {
		return err
	}
	return wrap("remove alias", d.update(ctx, func(tx *store.Tx) error {
		if len(targets) == 0 {
			return one(tx.Exec("DELETE FROM alias WHERE domain = ? AND local = ?", a.Domain, a.Local))
		}
		for _, t := range targets {
			target, err := d.address(t)
			if err != nil {
				return err
			}
			if err := one(tx.Exec("DELETE FROM alias WHERE domain = ? AND local = ? AND target = ?", a.Domain, a.Local, target.String())); err != nil {
				return err
			}
		}
		return nil
	}), ErrNoAlias)
}

// Aliases lists the aliases of a domain, or with "" of all.
func (d *Directory) Aliases(ctx context.Context, domain string) (out []Alias, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT local, domain, target FROM alias WHERE ?1 = '' OR domain = ?1 ORDER BY domain, local, target", domain)
		if err != nil {
			return err
		}
		for rows.Next() {
			var a smtp.Address
			var target string
			if err := rows.Scan(&a.Local, &a.Domain, &target); err != nil {
				return err
			}
			name := "@" + a.Domain
			if a.Local != "" {
				name = a.String()
			}
			if n := len(out); n == 0 || out[n-1].Address != name {
				out = append(out, Alias{Address: name})
			}
			last := &out[len(out)-1]
			last.Targets = append(last.Targets, target)
		}
		return rows.Err()
	})
	return out, wrap("aliases", err, ErrNoAlias)
}

// Result is what the directory knows of one address: the row that takes it. Where
// an alias leads is the caller's to follow.
type Result struct {
	Class   DomainClass  // of the domain; zero: it is not in the directory
	Key     smtp.Address // of the row; zero: nobody takes the address. "@domain" has no Local
	Targets []string     // of the alias at Key; nil: there is none. Nobody changes them
	User    *User        // of the account at Key; nil: there is none
	Detail  string       // behind the separator, as written, if Key is the address without it
	StandIn bool         // nobody has the name: Key is the domain's catch-all, or postmaster's stand-in
}

// Found reports whether anybody takes the address.
func (r *Result) Found() bool { return r.Targets != nil || r.User != nil }

// Lookup finds who takes an address: that of the address as it is, without its
// detail, postmaster's and abuse's stand-ins, the domain's catch-all. A domain
// that stands for another has that one's addresses; Key says so.
func (d *Directory) Lookup(ctx context.Context, local, domain string) (r Result, err error) {
	generation := d.cache.generation() // before anything that it covers is read
	s := d.settings.Load()
	if domain == "" {
		domain = s.DefaultDomain
	}
	domain, err = canonicalDomain(domain)
	if err != nil {
		return Result{}, nil
	}
	a := smtp.Address{Local: local, Domain: domain}
	if r, ok := d.cache.get(a); ok {
		return r, nil
	}
	err = d.db.View(ctx, func(tx *store.Tx) error {
		r, err = (&lookup{tx, s}).run(a)
		return err
	})
	if err == nil {
		d.cache.put(a, generation, r)
	}
	return r, wrap("lookup", err, ErrNoUser)
}

// lookup finds one address.
type lookup struct {
	tx       *store.Tx
	settings *Settings
}

func (l *lookup) run(a smtp.Address) (Result, error) {
	class, other, err := domainOf(l.tx, a.Domain)
	if errors.Is(err, store.ErrNoRows) {
		return Result{}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if other != "" {
		a.Domain = other
	}
	r, err := l.resolve(a, class)
	r.Class = class
	return r, err
}

func (l *lookup) resolve(a smtp.Address, class DomainClass) (Result, error) {
	original := a.Local
	a.Local = strings.ToLower(a.Local)
	r, err := l.row(a)
	if err != nil || r.Found() {
		return r, err
	}
	if base, detail, ok := l.settings.split(a.Local, original); ok {
		r, err := l.row(smtp.Address{Local: base, Domain: a.Domain})
		if err != nil || r.Found() {
			r.Detail = detail
			return r, err
		}
	}
	r, err = l.standIn(a, class)
	if err == nil && !r.Found() {
		r, err = l.row(smtp.Address{Domain: a.Domain})
	}
	r.StandIn = true
	return r, err
}

// split takes the detail off a local-part in lower case; the detail is as it was
// written.
func (s *Settings) split(local, original string) (base, detail string, ok bool) {
	i := strings.IndexAny(local, s.Separator)
	if i <= 0 {
		return "", "", false
	}
	if len(original) == len(local) {
		return local[:i], original[i+1:], true
	}
	return local[:i], local[i+1:], true
}

// standIn finds who answers for postmaster and abuse where nobody of that name
// is (RFC 5321, 4.5.1; RFC 2142, 4).
func (l *lookup) standIn(a smtp.Address, class DomainClass) (Result, error) {
	if class == Relay || a.Local != postmaster && a.Local != abuse {
		return Result{}, nil
	}
	if a.Local == abuse {
		if r, err := l.row(smtp.Address{Local: postmaster, Domain: a.Domain}); err != nil || r.Found() {
			return r, err
		}
	}
	if l.settings.Postmaster == "" {
		return Result{}, nil
	}
	return Result{Key: a, Targets: []string{l.settings.Postmaster}}, nil
}

// row looks for an alias and a user.
func (l *lookup) row(a smtp.Address) (r Result, err error) {
	if r.Targets, err = l.aliasTargets(a); err != nil {
		return Result{}, err
	}
	if a.Local != "" {
		u, err := findUser(l.tx, a)
		switch {
		case err == nil:
			r.User = &u
		case !errors.Is(err, store.ErrNoRows):
			return Result{}, err
		}
	}
	if r.Found() {
		r.Key = a
	}
	return r, nil
}

func (l *lookup) aliasTargets(a smtp.Address) (targets []string, err error) {
	// The + keeps the planner from looking at the values: see store.Tx.
	rows, err := l.tx.Query("SELECT target FROM alias WHERE domain = +? AND local = +? ORDER BY target", a.Domain, a.Local)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, rows.Err()
}
