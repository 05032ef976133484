package directory

import (
	"context"
	"fmt"
	"strings"

	"mtad/smtp"
	"mtad/store"
)

// GrantKind says how a user may use an address that is not the user's.
type GrantKind uint8

// The kinds. Their values are stored.
const (
	SendAs   GrantKind = 1 + iota // as if it were the user's own
	OnBehalf                      // in From; the user's own address goes into Sender (RFC 5322, 3.6.2)
)

func (k GrantKind) String() string {
	switch k {
	case SendAs:
		return "send-as"
	case OnBehalf:
		return "on-behalf"
	}
	return "none"
}

// Grant permits a user to send with an address that is not the user's.
type Grant struct {
	Address string // local@domain, "@domain" for all of a domain, "*" for any address
	Kind    GrantKind
}

// Any is the address of a grant for every address.
const Any = "*"

// maxGrants bounds the grants of a user.
const maxGrants = 1000

// grantAddress reads the address of a grant.
func (s *Settings) grantAddress(text string) (string, error) {
	if text == Any {
		return text, nil
	}
	if domain, ok := strings.CutPrefix(text, "@"); ok {
		domain, err := canonicalDomain(domain)
		return "@" + domain, err
	}
	a, err := s.address(text)
	return a.String(), err
}

// AddGrant permits a user to use an address, or changes how. ErrNoUser,
// ErrBadAddress, ErrTooMany.
func (d *Directory) AddGrant(ctx context.Context, user string, g Grant) error {
	if g.Kind != SendAs && g.Kind != OnBehalf {
		return fmt.Errorf("%w: a grant of no kind", ErrBadName)
	}
	address, err := d.settings.Load().grantAddress(g.Address)
	if err != nil {
		return err
	}
	return d.changeUser(ctx, user, func(tx *store.Tx, u User) error {
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM send_grant WHERE user = ?", u.ID).Scan(&n); err != nil {
			return err
		}
		if n >= maxGrants {
			return ErrTooMany
		}
		_, err := tx.Exec("INSERT INTO send_grant VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind", u.ID, address, g.Kind)
		return err
	})
}

// RemoveGrant takes a grant back. ErrNoUser, ErrNoGrant.
func (d *Directory) RemoveGrant(ctx context.Context, user, address string) error {
	address, err := d.settings.Load().grantAddress(address)
	if err != nil {
		return err
	}
	return d.changeUser(ctx, user, func(tx *store.Tx, u User) error {
		r, err := tx.Exec("DELETE FROM send_grant WHERE user = ? AND address = ?", u.ID, address)
		if err == nil && r.Changes == 0 {
			return ErrNoGrant
		}
		return err
	})
}

// Grants lists a user's grants by address.
func (d *Directory) Grants(ctx context.Context, user int64) (out []Grant, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT address, kind FROM send_grant WHERE user = ? ORDER BY address", user)
		if err != nil {
			return err
		}
		for rows.Next() {
			var g Grant
			if err := rows.Scan(&g.Address, &g.Kind); err != nil {
				return err
			}
			out = append(out, g)
		}
		return rows.Err()
	})
	return out, wrap("grants", err, ErrNoUser)
}

// Granted says how a user may use an address by what is granted; zero is not at
// all. The address itself counts before its form without the detail, then its
// domain, then "*".
func (d *Directory) Granted(ctx context.Context, user int64, a smtp.Address) (GrantKind, error) {
	grants, err := d.Grants(ctx, user)
	if err != nil || len(grants) == 0 {
		return 0, err
	}
	s := d.settings.Load()
	domain, err := canonicalDomain(a.Domain)
	if err != nil {
		return 0, nil //nolint:nilerr // nobody has such an address
	}
	lower := strings.ToLower(a.Local)
	keys := []string{smtp.Address{Local: lower, Domain: domain}.String()}
	if base, _, ok := s.split(lower, lower); ok {
		keys = append(keys, smtp.Address{Local: base, Domain: domain}.String())
	}
	for _, key := range append(keys, "@"+domain, Any) {
		for _, g := range grants {
			if g.Address == key {
				return g.Kind, nil
			}
		}
	}
	return 0, nil
}
