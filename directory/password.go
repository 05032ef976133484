package directory

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
	hashMemory  = 19456 // KiB
	hashTime    = 2
	hashThreads = 1
	hashLength  = 32
	saltLength  = 16
	maxPassword = 1024

	maxHashMemory  = 256 << 10 // KiB: what a hash from elsewhere may ask for
	maxHashTime    = 16
	maxHashThreads = 16
	maxKnown       = 10000 // verified logins remembered
)

// hashPassword makes a PHC string: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
func hashPassword(password string) string {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	sum := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashLength)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, hashMemory, hashTime, hashThreads, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

var errHash = errors.New("directory: not an argon2id hash in PHC string form")

// phc is a parsed PHC string.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

func parsePHC(s string) (h phc, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return phc{}, errHash
	}
	if h.memory > maxHashMemory || h.time < 1 || h.time > maxHashTime || h.threads < 1 || h.threads > maxHashThreads {
		return phc{}, fmt.Errorf("%w: parameters %s out of bounds", errHash, parts[3])
	}
	b64 := base64.RawStdEncoding.Strict()
	var errSalt, errSum error
	h.salt, errSalt = b64.DecodeString(parts[4])
	h.sum, errSum = b64.DecodeString(parts[5])
	if errSalt != nil || errSum != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return phc{}, errHash
	}
	return h, nil
}

func (h phc) matches(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// fingerprint lets a login that was verified once pass without argon2: an HMAC
// of login and password under a key that never leaves this process, valid for
// as long as the stored hash is the same.
type fingerprint struct {
	mac  [32]byte
	hash string
}

func (d *Directory) fingerprint(u User, password string) fingerprint {
	m := hmac.New(sha256.New, d.key[:])
	fmt.Fprintf(m, "%d\x00%s", u.ID, password)
	return fingerprint{[32]byte(m.Sum(nil)), u.Hash}
}

func (d *Directory) recall(u User, password string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, ok := d.known[u.ID]
	if !ok {
		return false
	}
	if was.hash != u.Hash {
		delete(d.known, u.ID)
		return false
	}
	now := d.fingerprint(u, password)
	return hmac.Equal(was.mac[:], now.mac[:])
}

func (d *Directory) remember(u User, password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.known {
		if len(d.known) < maxKnown {
			break
		}
		delete(d.known, id)
	}
	d.known[u.ID] = d.fingerprint(u, password)
}

// Authenticate checks a login and its password. Whatever does not fit, an
// unknown or disabled user included, gives ErrBadPassword, and takes as long
// as a wrong password. It waits while others are checked; ctx bounds that.
func (d *Directory) Authenticate(ctx context.Context, login, password string) (User, error) {
	u, err := d.User(ctx, login)
	unknown := errors.Is(err, ErrNoUser) || errors.Is(err, ErrBadAddress)
	if err != nil && !unknown {
		return User{}, err
	}
	if len(password) > maxPassword {
		password, unknown = "", true
	}
	if !unknown && !u.Disabled && d.recall(u, password) {
		return u, nil
	}
	hash := u.Hash
	if unknown || hash == "" {
		hash, unknown = d.dummy(), true
	}
	ok, err := d.check(ctx, hash, password)
	if err != nil {
		return User{}, err
	}
	if !ok || unknown || u.Disabled {
		return User{}, ErrBadPassword
	}
	d.remember(u, password)
	return u, nil
}

// check runs argon2, a few at a time.
func (d *Directory) check(ctx context.Context, hash, password string) (bool, error) {
	h, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	select {
	case d.verify <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-d.verify }()
	return h.matches(password), nil
}

// newHash is check's counterpart for a new password.
func (d *Directory) newHash(ctx context.Context, password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", ErrWeak
	}
	select {
	case d.verify <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-d.verify }()
	return hashPassword(password), nil
}
