package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"mtad/smtp"
	"mtad/store"
)

// Errors that callers tell apart.
var (
	ErrNoDomain    = errors.New("directory: no such domain")
	ErrNoUser      = errors.New("directory: no such user")
	ErrNoAlias     = errors.New("directory: no such alias")
	ErrNoScript    = errors.New("directory: no such script")
	ErrNoGrant     = errors.New("directory: no such grant")
	ErrExists      = errors.New("directory: exists already")
	ErrInUse       = errors.New("directory: still in use")
	ErrBadAddress  = errors.New("directory: invalid address")
	ErrBadName     = errors.New("directory: invalid name")
	ErrBadPassword = errors.New("directory: wrong login or password")
	ErrWeak        = errors.New("directory: password empty or too long")
	ErrTooMany     = errors.New("directory: too many")
	ErrTooBig      = errors.New("directory: too big")
	ErrStands      = errors.New("directory: the domain stands for another, and has that one's users and aliases")
)

// Settings may change while the directory is in use.
type Settings struct {
	DefaultDomain string // of logins and addresses without one
	Postmaster    string // address that gets postmaster and abuse of domains without their own
	Separator     string // between user and detail, default "+"; every character is one; "-" alone is "none"
}

// Options of New; zero values mean the defaults.
type Options struct {
	Settings
	Verifiers int              // passwords checked at the same time, 19 MiB each; default 2
	Now       func() time.Time // default time.Now
}

// Directory is safe for concurrent use.
type Directory struct {
	db       *store.DB
	now      func() time.Time
	settings atomic.Pointer[Settings]
	verify   chan struct{} // one token for each password being checked
	dummy    func() string // a hash for users that do not exist; made when it is needed
	key      [32]byte      // of the fingerprints, for this process only
	cache    cache         // of Lookup

	mu    sync.Mutex
	known map[int64]fingerprint // of logins that were verified
}

// New uses a database that was opened with Schema.
func New(db *store.DB, opts Options) (*Directory, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Verifiers <= 0 {
		opts.Verifiers = 2
	}
	d := &Directory{db: db, now: opts.Now, verify: make(chan struct{}, opts.Verifiers), known: map[int64]fingerprint{}}
	rand.Read(d.key[:])
	d.dummy = sync.OnceValue(func() string { return hashPassword(rand.Text()) })
	return d, d.Configure(opts.Settings)
}

// Configure replaces the settings.
func (d *Directory) Configure(s Settings) error {
	var err error
	if s.Separator == "" {
		s.Separator = "+"
	}
	if s.Separator == "-" {
		s.Separator = ""
	}
	if s.DefaultDomain != "" {
		if s.DefaultDomain, err = canonicalDomain(s.DefaultDomain); err != nil {
			return err
		}
	}
	if s.Postmaster != "" {
		a, err := s.address(s.Postmaster)
		if err != nil {
			return err
		}
		s.Postmaster = a.String()
	}
	d.settings.Store(&s)
	d.cache.changed()
	return nil
}

// update changes domains, users or aliases.
func (d *Directory) update(ctx context.Context, f func(*store.Tx) error) error {
	defer d.cache.changed() // even after an error: its outcome may be unknown
	return d.db.Update(ctx, f)
}

// canonicalDomain is a domain as it is stored: A-labels in lower case
// (RFC 5890, 2.3.2.1).
func canonicalDomain(s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	for _, r := range s {
		if r >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(s)
			if err != nil {
				return "", fmt.Errorf("%w: domain %q: %w", ErrBadAddress, s, err)
			}
			s = ascii
			break
		}
	}
	if !smtp.ValidDomain(s) {
		return "", fmt.Errorf("%w: %q is no domain name", ErrBadAddress, s)
	}
	return s, nil
}

// address reads an address as it is stored: all in lower case, the default
// domain added.
func (s *Settings) address(text string) (smtp.Address, error) {
	a, err := smtp.ParseAddress(text)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrBadAddress, err)
	}
	if a.Domain == "" {
		a.Domain = s.DefaultDomain
	}
	a.Local = strings.ToLower(a.Local)
	a.Domain, err = canonicalDomain(a.Domain)
	return a, err
}

func (d *Directory) address(text string) (smtp.Address, error) {
	return d.settings.Load().address(text)
}

// wrap names the operation, and says what is missing where a row is.
func wrap(what string, err, missing error) error {
	if err == nil {
		return nil
	}
	if missing != nil && errors.Is(err, store.ErrNoRows) {
		err = missing
	}
	if errors.Is(err, store.ErrUnique) {
		err = ErrExists
	}
	return fmt.Errorf("directory: %s: %w", what, err)
}
