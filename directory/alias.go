package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mtad/smtp"
	"mtad/store"
)

const (
	maxDepth   = 10   // aliases leading to aliases
	maxTargets = 1000 // mailboxes one address may lead to
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
		if _, err := classOf(tx, a.Domain); err != nil {
			return err
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

// Class is what an address is to this server.
type Class uint8

// The classes of an address.
const (
	Foreign    Class = iota // not one of our domains
	RelayClass              // of a domain taken for another server
	UserClass               // a mailbox here
	AliasClass              // leads to Targets
	Unknown                 // of our domain, and nobody
)

// Target is where an alias leads in the end.
type Target struct {
	Address smtp.Address
	User    *User  // nil for addresses elsewhere
	Detail  string // behind the separator, for users
}

// Result is what Lookup found.
type Result struct {
	Class   Class
	User    User     // UserClass
	Detail  string   // UserClass: behind the separator, as written
	Targets []Target // AliasClass: each once
}

// Lookup says what an address is and where it leads. Aliases are followed to
// the end, at most ten deep and to a thousand targets (ErrTooMany). A target
// that leads back is left out; ErrLoop if then nothing is left.
func (d *Directory) Lookup(ctx context.Context, local, domain string) (r Result, err error) {
	generation := d.cache.generation() // before anything that it covers is read
	s := d.settings.Load()
	if domain == "" {
		domain = s.DefaultDomain
	}
	domain, err = canonicalDomain(domain)
	if err != nil {
		return Result{Class: Foreign}, nil
	}
	a := smtp.Address{Local: local, Domain: domain}
	if r, ok := d.cache.get(a); ok {
		return r, nil
	}
	err = d.db.View(ctx, func(tx *store.Tx) error {
		l := lookup{tx: tx, settings: s, visited: map[smtp.Address]bool{}, found: map[smtp.Address]bool{}}
		r, err = l.run(a)
		return err
	})
	if err == nil {
		d.cache.put(a, generation, r)
	}
	return r, wrap("lookup", err, ErrNoUser)
}

// lookup is one run through the aliases.
type lookup struct {
	tx       *store.Tx
	settings *Settings
	visited  map[smtp.Address]bool // aliases
	found    map[smtp.Address]bool // final addresses
	targets  []Target
}

func (l *lookup) run(a smtp.Address) (Result, error) {
	class, err := classOf(l.tx, a.Domain)
	if errors.Is(err, store.ErrNoRows) {
		return Result{Class: Foreign}, nil
	}
	if err != nil {
		return Result{}, err
	}
	h, err := l.resolve(a, class)
	if err != nil {
		return Result{}, err
	}
	switch {
	case h.user != nil:
		return Result{Class: UserClass, User: *h.user, Detail: h.detail}, nil
	case h.targets != nil:
		if err := l.follow(h, 1); err != nil {
			return Result{}, err
		}
		if len(l.targets) == 0 {
			return Result{}, fmt.Errorf("%w: %v", ErrLoop, a)
		}
		return Result{Class: AliasClass, Targets: l.targets}, nil
	case class == Relay:
		return Result{Class: RelayClass}, nil
	}
	return Result{Class: Unknown}, nil
}

// hit is the row that takes an address.
type hit struct {
	key     smtp.Address // of the row
	user    *User
	detail  string
	targets []string
}

// resolve finds who takes an address: the address as it is, without its
// detail, postmaster's and abuse's stand-ins, the domain's catch-all.
func (l *lookup) resolve(a smtp.Address, class DomainClass) (hit, error) {
	original := a.Local
	a.Local = strings.ToLower(a.Local)
	tries := []struct {
		a      smtp.Address
		detail string
	}{{a, ""}}
	if i := strings.IndexAny(a.Local, l.settings.Separator); i > 0 {
		base, detail := a.Local[:i], ""
		if len(original) == len(a.Local) {
			detail = original[i+1:]
		} else {
			detail = a.Local[i+1:]
		}
		tries = append(tries, struct {
			a      smtp.Address
			detail string
		}{smtp.Address{Local: base, Domain: a.Domain}, detail})
	}
	for _, try := range tries {
		h, err := l.row(try.a)
		if err != nil || h.user != nil || h.targets != nil {
			h.detail = try.detail
			return h, err
		}
	}
	if h, err := l.standIn(a, class); err != nil || h.user != nil || h.targets != nil {
		return h, err
	}
	return l.row(smtp.Address{Domain: a.Domain})
}

// standIn finds who answers for postmaster and abuse where nobody of that name
// is (RFC 5321, 4.5.1; RFC 2142, 4).
func (l *lookup) standIn(a smtp.Address, class DomainClass) (hit, error) {
	if class != Local || a.Local != postmaster && a.Local != abuse {
		return hit{}, nil
	}
	if a.Local == abuse {
		if h, err := l.row(smtp.Address{Local: postmaster, Domain: a.Domain}); err != nil || h.user != nil || h.targets != nil {
			return h, err
		}
	}
	if l.settings.Postmaster == "" {
		return hit{}, nil
	}
	return hit{key: a, targets: []string{l.settings.Postmaster}}, nil
}

// row looks for an alias, unless it was followed before, then for a user.
func (l *lookup) row(a smtp.Address) (hit, error) {
	if !l.visited[a] {
		targets, err := l.aliasTargets(a)
		if err != nil || targets != nil {
			return hit{key: a, targets: targets}, err
		}
	}
	if a.Local == "" {
		return hit{}, nil
	}
	u, err := findUser(l.tx, a)
	if errors.Is(err, store.ErrNoRows) {
		return hit{}, nil
	}
	return hit{key: a, user: &u}, err
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

// follow adds where an alias leads.
func (l *lookup) follow(h hit, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w aliases after one another at %v", ErrTooMany, h.key)
	}
	l.visited[h.key] = true
	for _, t := range h.targets {
		a, err := l.settings.address(t)
		if err != nil {
			return err
		}
		if err := l.target(a, h, depth); err != nil {
			return err
		}
	}
	return nil
}

// target adds one target of an alias. Where an alias names its own user, the
// detail it was called with goes on to that user.
func (l *lookup) target(a smtp.Address, from hit, depth int) error {
	class, err := classOf(l.tx, a.Domain)
	if errors.Is(err, store.ErrNoRows) {
		return l.add(Target{Address: a})
	}
	if err != nil {
		return err
	}
	h, err := l.resolve(a, class)
	switch {
	case err != nil:
		return err
	case h.user != nil:
		to, err := l.settings.address(h.user.Address)
		if err != nil {
			return err
		}
		if h.key == from.key {
			h.detail = from.detail
		}
		return l.add(Target{Address: to, User: h.user, Detail: h.detail})
	case h.targets != nil && !l.visited[h.key]:
		return l.follow(h, depth+1)
	case h.targets == nil && class == Relay:
		return l.add(Target{Address: a})
	}
	return nil // leads back, or to nobody
}

func (l *lookup) add(t Target) error {
	if l.found[t.Address] {
		return nil
	}
	if len(l.targets) == maxTargets {
		return fmt.Errorf("%w targets", ErrTooMany)
	}
	l.found[t.Address] = true
	l.targets = append(l.targets, t)
	return nil
}
