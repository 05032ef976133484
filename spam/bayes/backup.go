package bayes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Export writes all of a store as "sa-learn --backup" does (version 3), for
// "sa-learn --restore" or Import. Messages whose names have line ends are left out.
func Export(ctx context.Context, s Store, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := s.View(ctx, func(tx Reader) error {
		t, _, err := tx.Counts(nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "v\t3\tdb_version # this must be the first line!!!\nv\t%d\tnum_spam\nv\t%d\tnum_nonspam\n", t.Spam, t.Ham)
		token := func(e Entry) error {
			_, err := fmt.Fprintf(out, "t\t%d\t%d\t%d\t%s\n", e.Spam, e.Ham, e.ATime, e.Hash)
			return err
		}
		return tx.Each(token, func(id string, c Class) error {
			if strings.ContainsAny(id, "\r\n") {
				return nil
			}
			_, err := fmt.Fprintf(out, "s\t%c\t%s\n", c, id)
			return err
		})
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("bayes: export: %w", err)
	}
	return nil
}

// Imported is what a backup has brought.
type Imported struct {
	Tokens, Messages int
	Skipped          int // lines that are not understood
	Negative         int // tokens with a count or a time below 0, which is taken as 0
	Future           int // tokens with a time after now, which is taken as now
	Before, Now      Totals
	most             Count // of any token
}

// Bounds of backups.
const (
	// MaxBackup is how large one may be, in octets: ten million tokens and names, where
	// SpamAssassin keeps 150,000 tokens unless it is told to keep more.
	MaxBackup     = 512 << 20
	maxBackupLine = 64 << 10 // octets
	maxCount      = 1e12     // of messages, or of a token
)

// Import replaces all of a store by a backup (version 2 or 3, as sa-learn --restore).
// Nothing changes if it can not be read, and unless force is set, if it looks as if it
// was cut off at the end of a line, has much less than the store or counts that can not be.
func Import(ctx context.Context, s Store, r io.ReadSeeker, now time.Time, force bool) (done Imported, err error) {
	err = s.Update(ctx, func(tx Writer) error {
		before, _, err := tx.Counts(nil)
		if err != nil {
			return err
		}
		_, err = r.Seek(0, io.SeekStart) // it may be a second try
		if err := errors.Join(err, tx.Clear()); err != nil {
			return err
		}
		i := &importer{tx: tx, now: now.Unix()}
		if err = i.read(r); err == nil {
			err = whole(r)
		}
		done = i.done
		done.Before, done.Now = before, i.totals
		if err == nil && !force {
			err = done.doubt()
		}
		return err
	})
	if err != nil {
		return Imported{}, fmt.Errorf("bayes: import: %w", err)
	}
	return done, nil
}

// doubt says why a backup may not be what it seems, nil if nothing speaks against it.
// One is written in an order: how many messages, the tokens, then the names of messages.
// Names alone may be fewer: they can be removed without loss.
func (i Imported) doubt() error {
	was, now := i.Before.Spam+i.Before.Ham, i.Now.Spam+i.Now.Ham
	switch {
	case now > 0 && i.Tokens == 0:
		return fmt.Errorf("the backup is of %d messages and has no tokens: it is cut off, unless all have expired; --force takes it as it is", now)
	case now > 0 && i.Messages == 0:
		return fmt.Errorf("the backup is of %d messages and has the name of none, which come last: it is cut off, unless somebody has removed bayes_seen; --force takes it as it is", now)
	case i.most.Spam > i.Now.Spam || i.most.Ham > i.Now.Ham:
		return fmt.Errorf("the backup is of %d spam and %d ham, and has tokens of %d spam or %d ham: num_spam or num_nonspam is wrong; --force takes it as it is", i.Now.Spam, i.Now.Ham, i.most.Spam, i.most.Ham)
	case i.Now.Tokens < i.Before.Tokens/2 || now < was/2:
		return fmt.Errorf("the backup has less than half of what would be replaced: %d tokens of %d messages, instead of %d of %d; --force replaces it", i.Now.Tokens, now, i.Before.Tokens, was)
	}
	return nil
}

// whole finds a backup whose last line has no end: half of one must not replace all.
func whole(r io.ReadSeeker) error {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err // an empty one is told of later
	}
	var last [1]byte
	if _, err = r.Seek(-1, io.SeekEnd); err == nil {
		_, err = io.ReadFull(r, last[:])
	}
	if err == nil && last[0] != '\n' {
		err = errors.New("the last line has no end: the backup is cut off; if it is whole, put a line end there")
	}
	return err
}

type importer struct {
	tx      Writer
	now     int64
	version int64
	totals  Totals
	hasSpam bool
	hasHam  bool
	batch   []Entry
	hashes  []Hash
	inBatch map[Hash]int
	done    Imported
}

func (i *importer) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxBackupLine)
	i.inBatch = map[Hash]int{}
	for n := 1; lines.Scan(); n++ {
		if err := i.line(n, lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	switch {
	case i.version == 0:
		return errors.New("the backup is empty")
	case !i.hasSpam || !i.hasHam:
		return errors.New("the backup has no line num_spam or num_nonspam: it is cut off or none of Bayes")
	}
	return i.flush()
}

func (i *importer) line(n int, line []byte) error {
	if n == 1 {
		return i.first(line)
	}
	kind, rest := column(line)
	switch string(kind) {
	case "v":
		return i.variable(n, rest)
	case "t":
		return i.tokenLine(rest)
	case "s":
		return i.message(rest)
	default:
		i.done.Skipped++
	}
	return nil
}

// first reads the version.
func (i *importer) first(line []byte) error {
	kind, rest := column(line)
	value, name := column(rest)
	if string(kind) != "v" || !bytes.HasPrefix(name, []byte("db_version")) {
		return errors.New(`line 1 is no "v 3 db_version": this is no backup of sa-learn`)
	}
	if i.version, _ = number(value); i.version != 2 && i.version != 3 {
		return fmt.Errorf("version %.20s of the database is not known, only 2 and 3 are", value)
	}
	return nil
}

// variable reads a number of messages. A wrong one would spoil the probability of every token.
func (i *importer) variable(n int, rest []byte) error {
	value, name := column(rest)
	var to *int64
	switch string(name) {
	case "num_spam":
		to, i.hasSpam = &i.totals.Spam, true
	case "num_nonspam":
		to, i.hasHam = &i.totals.Ham, true
	default:
		i.done.Skipped++
		return nil
	}
	v, ok := number(value)
	if !ok || v < 0 {
		return fmt.Errorf("line %d: %s is %.40q, which is no number of messages: the backup is damaged; make another, or set the right one there", n, name, value)
	}
	*to = v
	return nil
}

// tokenLine reads counts, time and hash; version 2 has the token itself.
func (i *importer) tokenLine(rest []byte) error {
	var of [3]int64
	for k := range of {
		var word []byte
		word, rest = column(rest)
		v, ok := number(word)
		if !ok {
			i.done.Skipped++
			return nil
		}
		of[k] = v
	}
	e := Entry{Count: Count{max(0, of[0]), max(0, of[1]), min(max(0, of[2]), i.now)}}
	if i.version < 3 {
		e.Hash = HashOf(rest)
	} else if n, err := hex.Decode(e.Hash[:], rest[:min(len(rest), 10)]); err != nil || n != 5 || len(rest) != 10 {
		i.done.Skipped++
		return nil
	}
	if e.none() {
		i.done.Skipped++
		return nil
	}
	if min(of[0], of[1], of[2]) < 0 {
		i.done.Negative++
	}
	if of[2] > i.now {
		i.done.Future++
	}
	i.done.most = Count{Spam: max(i.done.most.Spam, e.Spam), Ham: max(i.done.most.Ham, e.Ham)}
	return i.add(e)
}

// add takes a token; of one that is there twice the last counts.
func (i *importer) add(e Entry) error {
	if at, twice := i.inBatch[e.Hash]; twice {
		i.batch[at] = e
		return nil
	}
	i.inBatch[e.Hash] = len(i.batch)
	i.batch, i.hashes = append(i.batch, e), append(i.hashes, e.Hash)
	if len(i.batch) >= expireBatch {
		return i.flush()
	}
	return nil
}

// flush writes the tokens gathered, and the totals.
func (i *importer) flush() error {
	_, was, err := i.tx.Counts(i.hashes)
	if err != nil {
		return err
	}
	for k, e := range i.batch {
		i.totals.replaced(was[k], e.Count)
	}
	err = i.tx.Put(i.totals, i.batch)
	i.batch, i.hashes = i.batch[:0], i.hashes[:0]
	clear(i.inBatch)
	i.done.Tokens = int(i.totals.Tokens)
	return err
}

func (i *importer) message(rest []byte) error {
	class, id := column(rest)
	if len(class) != 1 || Class(class[0]) != Spam && Class(class[0]) != Ham || len(id) == 0 {
		i.done.Skipped++
		return nil
	}
	i.done.Messages++
	return i.tx.Mark(string(id), Class(class[0]))
}

// column cuts at the first run of white space.
func column(line []byte) (first, rest []byte) {
	const space = " \t\r\f\v"
	n := bytes.IndexAny(line, space)
	if n < 0 {
		return line, nil
	}
	return line[:n], bytes.TrimLeft(line[n:], space)
}

// number reads a whole number of maxCount at most.
func number(text []byte) (int64, bool) {
	v, err := strconv.ParseInt(string(text), 10, 64)
	return v, err == nil && v <= maxCount && v >= -maxCount
}
