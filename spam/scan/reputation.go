package scan

import "context"

// Reputation is what TxRep knows of a sender: how many messages, and their scores together.
type Reputation struct {
	Count int64
	Total float64
}

// ReputationChange is what a message changes: it adds to what is known under a key, or
// takes that away first.
type ReputationChange struct {
	Key    string
	Remove bool
	Reputation
}

// Reputations keep what is known of senders.
type Reputations interface {
	// Look gives what is known under keys, in their order.
	Look(ctx context.Context, keys []string) ([]Reputation, error)
	// Change changes it, all or nothing.
	Change(ctx context.Context, changes []ReputationChange) error
}
