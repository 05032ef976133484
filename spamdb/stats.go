package spamdb

import (
	"context"
	"strings"
	"time"

	"mtad/spam/bayes"
)

// Owner is the owner whose account has an address.
func Owner(address string) string { return strings.ToLower(address) }

// Stats is how much was learned.
type Stats struct {
	Spam   int64 `json:"spam"` // messages
	Ham    int64 `json:"ham"`
	Tokens int64 `json:"tokens"`
	// Oldest and Newest are bounds of when tokens were last of use; zero without any.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// LastExpiry is when tokens were last looked through for what is long of no use: what
	// was so for ExpiryAge seconds went, Expired tokens.
	LastExpiry time.Time `json:"last_expiry,omitzero"`
	ExpiryAge  int64     `json:"expiry_age"`
	Expired    int64     `json:"expired"`
}

// StatsOf reads how much a store has learned.
func StatsOf(ctx context.Context, s bayes.Store) (Stats, error) {
	var t bayes.Totals
	err := s.View(ctx, func(r bayes.Reader) (err error) {
		t, _, err = r.Counts(nil)
		return err
	})
	at := func(sec int64) time.Time {
		if sec == 0 {
			return time.Time{}
		}
		return time.Unix(sec, 0).UTC()
	}
	return Stats{t.Spam, t.Ham, t.Tokens, at(t.Oldest), at(t.Newest), at(t.LastExpire), t.ExpireAge, t.Expired}, err
}
