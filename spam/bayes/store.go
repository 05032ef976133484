package bayes

import (
	"context"
	"fmt"
	"time"
)

// Class is what a message was learned as.
type Class byte

// The classes, as backups have them.
const (
	None Class = 0
	Spam Class = 's'
	Ham  Class = 'h'
)

func (c Class) String() string {
	switch c {
	case Spam:
		return "spam"
	case Ham:
		return "ham"
	}
	return "none"
}

// Count is how often a token was learned, and when it was last of use, in seconds
// since 1970. One without either is not there.
type Count struct{ Spam, Ham, ATime int64 }

// Entry is a token's count.
type Entry struct {
	Hash
	Count
}

// Totals are what is counted of a store as a whole. Times are seconds since 1970.
type Totals struct {
	Spam, Ham      int64 // messages learned
	Tokens         int64
	Oldest, Newest int64 // bounds of the tokens' times
	// LastExpire is when the last expiry was looked into; it found tokens that were
	// unused for ExpireAge seconds, and took Expired of them.
	LastExpire, ExpireAge, Expired int64
}

// Store keeps what was learned. Memory is one; mtad/spamdb keeps it in the server's database.
type Store interface {
	// View calls f with a state that does not change meanwhile.
	View(ctx context.Context, f func(Reader) error) error
	// Update calls f, and keeps all that f changes, or nothing if f fails. Where others
	// write at the same time f may be called more than once: only the last counts.
	Update(ctx context.Context, f func(Writer) error) error
}

// Reader reads a state of a store.
type Reader interface {
	// Counts gives the totals, and the counts of tokens in the order asked for.
	Counts(tokens []Hash) (Totals, []Count, error)
	// Seen says what a message was learned as.
	Seen(id string) (Class, error)
	// Each calls the functions with every token and with every message that was
	// learned; one that is nil is not called. They must not write.
	Each(token func(Entry) error, message func(id string, c Class) error) error
}

// Writer changes a store.
type Writer interface {
	Reader
	// Put sets the totals and counts of tokens; a token without spam and ham goes.
	Put(t Totals, entries []Entry) error
	// Mark keeps what a message was learned as; None forgets it.
	Mark(id string, c Class) error
	// Clear takes all tokens, messages and totals.
	Clear() error
}

// Lesson is a message to learn or to forget.
type Lesson struct {
	// IDs are the names that the message is known by (MessageIDs makes them): it is
	// kept under the first, and found under any.
	IDs    []string
	Tokens []Token
	Class  Class     // what it is; not looked at to forget
	Time   time.Time // when it came; one more than a day after Now counts as Now
	Now    time.Time
	// Keep: a message that was learned as the opposite stays that (for automatic learning).
	Keep bool
}

// Learn counts a message. What was learned already is not learned twice, and what was
// learned as the opposite is forgotten first. It reports whether the message is new
// as what it is.
func Learn(ctx context.Context, s Store, l Lesson) (learned bool, err error) {
	if len(l.IDs) == 0 || l.Class != Spam && l.Class != Ham {
		return false, fmt.Errorf("bayes: a lesson of class %v and %d names can not be learned: it needs a class and a name", l.Class, len(l.IDs))
	}
	err = s.Update(ctx, func(tx Writer) error {
		learned = false
		id, was, err := find(tx, l.IDs)
		switch {
		case err != nil:
			return err
		case was == l.Class, was != None && l.Keep:
			return nil
		case was != None:
			if err := forget(tx, id, was, l.Tokens); err != nil {
				return err
			}
		}
		learned = true
		if err := change(tx, l.Class, 1, l.Tokens, l.atime()); err != nil {
			return err
		}
		return tx.Mark(l.IDs[0], l.Class)
	})
	if err != nil {
		return false, fmt.Errorf("bayes: learn %s: %w", l.IDs[0], err)
	}
	return learned, nil
}

// New reports whether a message is not learned yet, under any of its names.
func New(ctx context.Context, s Store, l Lesson) (bool, error) {
	var was Class
	err := s.View(ctx, func(tx Reader) (err error) {
		_, was, err = find(tx, l.IDs)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("bayes: look for %s: %w", l.IDs[0], err)
	}
	return was == None, nil
}

// Forget takes a message from the counts. It reports whether it was learned.
func Forget(ctx context.Context, s Store, l Lesson) (forgotten bool, err error) {
	err = s.Update(ctx, func(tx Writer) error {
		id, was, err := find(tx, l.IDs)
		forgotten = was != None
		if err != nil || !forgotten {
			return err
		}
		return forget(tx, id, was, l.Tokens)
	})
	if err != nil {
		return false, fmt.Errorf("bayes: forget: %w", err)
	}
	return forgotten, nil
}

func (l *Lesson) atime() int64 {
	if l.Time.Sub(l.Now) > 24*time.Hour {
		return l.Now.Unix()
	}
	return l.Time.Unix()
}

// find looks for the first name under which a message was learned.
func find(tx Reader, ids []string) (string, Class, error) {
	for _, id := range ids {
		if c, err := tx.Seen(id); err != nil || c != None {
			return id, c, err
		}
	}
	return "", None, nil
}

func forget(tx Writer, id string, was Class, tokens []Token) error {
	if err := change(tx, was, -1, tokens, 0); err != nil {
		return err
	}
	return tx.Mark(id, None)
}

// change counts a message and its tokens: one more, or one less of its class. Nothing
// becomes less than zero, and no time goes back.
func change(tx Writer, c Class, by int64, tokens []Token, atime int64) error {
	hashes := make([]Hash, len(tokens))
	for i := range tokens {
		hashes[i] = tokens[i].Hash
	}
	t, counts, err := tx.Counts(hashes)
	if err != nil {
		return err
	}
	add := func(spam, ham *int64) {
		if c == Spam {
			*spam = max(0, *spam+by)
		} else {
			*ham = max(0, *ham+by)
		}
	}
	add(&t.Spam, &t.Ham)
	entries := make([]Entry, 0, len(tokens))
	for i, n := range counts {
		was := n
		add(&n.Spam, &n.Ham)
		n.ATime = max(n.ATime, atime)
		if n != was {
			t.replaced(was, n)
			entries = append(entries, Entry{hashes[i], n})
		}
	}
	return tx.Put(t, entries)
}

func (c Count) none() bool { return c.Spam == 0 && c.Ham == 0 }

// replaced counts that a token's count has changed.
func (t *Totals) replaced(was, is Count) {
	switch {
	case was.none() && !is.none():
		t.Tokens++
	case !was.none() && is.none():
		t.Tokens--
		return
	case is.none():
		return
	}
	if first := was.none() && t.Tokens == 1; first {
		t.Newest, t.Oldest = is.ATime, is.ATime
	}
	t.Newest, t.Oldest = max(t.Newest, is.ATime), min(t.Oldest, is.ATime)
}

// Touch notes that tokens were of use for a message that came at a time: such are kept
// longer. A time after now counts as now.
func Touch(ctx context.Context, s Store, tokens []Hash, when, now time.Time) error {
	used := make(map[Hash]int64, len(tokens))
	for _, h := range tokens {
		used[h] = when.Unix()
	}
	return TouchEach(ctx, s, used, now)
}

// TouchEach is Touch for many messages at once: it has the time of each token.
func TouchEach(ctx context.Context, s Store, used map[Hash]int64, now time.Time) error {
	tokens := make([]Hash, 0, len(used))
	for h := range used {
		tokens = append(tokens, h)
	}
	err := s.Update(ctx, func(tx Writer) error {
		t, counts, err := tx.Counts(tokens)
		if err != nil {
			return err
		}
		var entries []Entry
		for i, c := range counts {
			atime := min(used[tokens[i]], now.Unix())
			if c.none() || c.ATime >= atime {
				continue
			}
			c.ATime = atime
			t.replaced(counts[i], c)
			entries = append(entries, Entry{tokens[i], c})
		}
		if entries == nil {
			return nil
		}
		return tx.Put(t, entries)
	})
	if err != nil {
		return fmt.Errorf("bayes: touch %d tokens: %w", len(tokens), err)
	}
	return nil
}
