package bayes

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
)

// Result is what Bayes says of a message.
type Result struct {
	// Scored is false if nothing can be said; Reason says why.
	Scored bool
	Reason string
	// Probability is that of spam: 0 to 1.
	Probability float64
	// Spam and Ham are how many messages were learned.
	Spam, Ham int64
	// Counted: the message's tokens were looked for. Tokens is how many there are, Known how many of them
	// were learned; Spammy and Hammy are those that count, the strongest first.
	Counted       bool
	Tokens, Known int
	Spammy, Hammy []Evidence
}

// Evidence is a token that counts.
type Evidence struct {
	Token
	Count
	Probability float64
}

// Score finds the probability of a message with these tokens.
func (s *Settings) Score(ctx context.Context, st Store, tokens []Token) (*Result, error) {
	hashes := make([]Hash, len(tokens))
	for i := range tokens {
		hashes[i] = tokens[i].Hash
	}
	r := &Result{}
	var counts []Count
	err := st.View(ctx, func(tx Reader) error {
		t, _, err := tx.Counts(nil)
		r.Spam, r.Ham = t.Spam, t.Ham
		if r.Reason = s.missing(t); err != nil || r.Reason != "" {
			return err
		}
		_, counts, err = tx.Counts(hashes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bayes: counts of %d tokens: %w", len(tokens), err)
	}
	if r.Reason == "" {
		s.weigh(r, tokens, counts)
	}
	return r, nil
}

// Available reports whether enough was learned to judge by. Else messages are scored
// as if there were no Bayes.
func (s *Settings) Available(ctx context.Context, st Store) (bool, error) {
	var t Totals
	err := st.View(ctx, func(tx Reader) (err error) {
		t, _, err = tx.Counts(nil)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("bayes: how much was learned: %w", err)
	}
	return s.missing(t) == "", nil
}

// missing says why there is too little to judge by, "" if there is enough.
func (s *Settings) missing(t Totals) string {
	switch {
	case float64(t.Spam) < s.MinSpam:
		return fmt.Sprintf("only %d spam was learned, bayes_min_spam_num is %v", t.Spam, s.MinSpam)
	case float64(t.Ham) < s.MinHam:
		return fmt.Sprintf("only %d ham was learned, bayes_min_ham_num is %v", t.Ham, s.MinHam)
	case t.Spam == 0 || t.Ham == 0:
		return "nothing was learned of spam or of ham"
	}
	return ""
}

// weigh fills in a result from counts.
func (s *Settings) weigh(r *Result, tokens []Token, counts []Count) {
	least := int64(1)
	if !s.Hapaxes {
		least = 2
	}
	known := make([]Evidence, 0, len(tokens))
	for i, c := range counts {
		if c.Spam+c.Ham >= least {
			known = append(known, Evidence{tokens[i], c, Probability(c.Spam, c.Ham, r.Spam, r.Ham)})
		}
	}
	if len(known) == 0 {
		r.Reason = "none of the tokens was learned"
		return
	}
	r.Counted, r.Tokens, r.Known = true, len(tokens), len(known)
	known = slices.DeleteFunc(known, func(e Evidence) bool { return e.strength() < minStrength })
	slices.SortFunc(known, stronger)
	known = known[:min(len(known), significants)]
	if len(known) == 0 {
		r.Reason = "none of the tokens is a sign"
		return
	}
	probs := make([]float64, len(known))
	spammy := 0
	for i := range known {
		if probs[i] = known[i].Probability; probs[i] >= 0.5 {
			spammy++
		}
	}
	r.Spammy, r.Hammy = make([]Evidence, 0, spammy), make([]Evidence, 0, len(known)-spammy)
	for _, e := range known {
		if e.Probability < 0.5 {
			r.Hammy = append(r.Hammy, e)
		} else {
			r.Spammy = append(r.Spammy, e)
		}
	}
	r.Probability = Combine(r.Spam, r.Ham, probs)
	r.Scored = true
}

func (e *Evidence) strength() float64 { return math.Abs(e.Probability - 0.5) }

// stronger sorts by how much tokens say; by their hashes if that is the same.
func stronger(a, b Evidence) int {
	switch x, y := a.strength(), b.strength(); {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

// Between is check_bayes of the rules BAYES_00 to BAYES_999: whether the probability is
// more than least (or least is zero) and at most most.
func (r *Result) Between(least, most float64) bool {
	return r.Scored && (least == 0 || r.Probability > least) && r.Probability <= most
}

// Hashes are those of the tokens that count, for Touch.
func (r *Result) Hashes() []Hash {
	out := make([]Hash, 0, len(r.Hammy)+len(r.Spammy))
	for _, e := range r.Hammy {
		out = append(out, e.Hash)
	}
	for _, e := range r.Spammy {
		out = append(out, e.Hash)
	}
	return out
}
