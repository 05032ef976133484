package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"mtad/directory"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spamdb"
)

// Spam is what a Server needs to teach the filter of spam.
type Spam struct {
	Keeper *spamdb.Keeper
	// Rules are those whose options say how messages are learned.
	Rules func() (*spam.Engine, error)
}

// Bounds of what is learned.
const (
	maxLearned = 50 << 20 // octets of a message
)

// Taught is what came of a message that was to be learned or forgotten.
type Taught struct {
	Changed bool `json:"changed"` // false: it was known as that already, or is ignored
}

// learnerOf is whose memory a call is about: a user's, or the site's without one.
func (s *Server) learnerOf(ctx context.Context, user string) (string, error) {
	if user == "" {
		return spamdb.Site, nil
	}
	u, err := s.cfg.Directory.User(ctx, user)
	if err != nil {
		return "", about(user, err)
	}
	return spamOwner(u), nil
}

func spamOwner(u directory.User) string { return spamdb.Owner(u.Address) }

// learn learns the message that is the call's body, or forgets it.
func (s *Server) learn(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	class, ok := map[string]bayes.Class{"spam": bayes.Spam, "ham": bayes.Ham, "none": bayes.None}[q.Get("class")]
	if !ok {
		return &Error{Usage, "class is one of spam, ham, none"}
	}
	owner, err := s.learnerOf(r.Context(), q.Get("user"))
	if err != nil {
		return err
	}
	text, err := readBounded(r.Body, maxLearned)
	if err != nil {
		return err
	}
	e, err := s.cfg.Spam.Rules()
	if err != nil {
		return err
	}
	j := spam.Judge{Engine: e, Learned: s.cfg.Spam.Keeper, Owner: owner}
	changed, err := j.Teach(r.Context(), text, class)
	if err != nil {
		return err
	}
	return write(w, Taught{changed})
}

func readBounded(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = &Error{BadData, fmt.Sprintf("the message has more than %d octets", most)}
	}
	return text, err
}

func (s *Server) learned(ctx context.Context, q url.Values) (spamdb.Stats, error) {
	owner, err := s.learnerOf(ctx, q.Get("user"))
	if err != nil {
		return spamdb.Stats{}, err
	}
	return spamdb.StatsOf(ctx, s.cfg.Spam.Keeper.Bayes(owner))
}

// exportLearned writes a backup. It is made whole first: nothing is read of the database
// while a caller takes its time.
func (s *Server) exportLearned(w http.ResponseWriter, r *http.Request) error {
	owner, err := s.learnerOf(r.Context(), r.URL.Query().Get("user"))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := bayes.Export(r.Context(), s.cfg.Spam.Keeper.Bayes(owner), &out); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain")
	rc := http.NewResponseController(w)
	for b := out.Next(1 << 20); len(b) > 0; b = out.Next(1 << 20) {
		if err := rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// importLearned replaces what an owner has learned by a backup, which is the call's body.
func (s *Server) importLearned(w http.ResponseWriter, r *http.Request) error {
	rc := http.NewResponseController(w)
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})); err != nil {
		return err
	}
	owner, err := s.learnerOf(r.Context(), r.URL.Query().Get("user"))
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.cfg.Info.DataDir, "backup-")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // what is left is removed by hand
	n, err := io.Copy(f, io.LimitReader(r.Body, bayes.MaxBackup+1))
	switch {
	case err != nil:
		return err
	case n > bayes.MaxBackup:
		return &Error{BadData, fmt.Sprintf("the backup has more than %d MiB", bayes.MaxBackup>>20)}
	}
	done, err := bayes.Import(r.Context(), s.cfg.Spam.Keeper.Bayes(owner), f, time.Now(), r.URL.Query().Get("force") != "")
	if err != nil {
		return &Error{BadData, err.Error()}
	}
	return write(w, done)
}

// Learn has a message learned as spam or ham, or forgotten (none), for a user, or for the
// site ("").
func (c *Client) Learn(ctx context.Context, user, class string, text []byte) (Taught, error) {
	q := url.Values{"user": {user}, "class": {class}}
	return decodeBody[Taught](c)(c.call(ctx, http.MethodPost, "/v1/spam/learn", q, bytes.NewReader(text), int64(len(text))))
}

// Learned tells how much was learned.
func (c *Client) Learned(ctx context.Context, user string) (spamdb.Stats, error) {
	return read[spamdb.Stats](ctx, c, "/v1/spam/stats", url.Values{"user": {user}})
}

// ExportLearned writes all that was learned, as sa-learn --backup does.
func (c *Client) ExportLearned(ctx context.Context, user string, w io.Writer) error {
	return c.copy(ctx, "/v1/spam/export", url.Values{"user": {user}}, w)
}

// ImportLearned replaces all that was learned by a backup of so many octets, with force
// even if that looks like a loss.
func (c *Client) ImportLearned(ctx context.Context, user string, r io.Reader, size int64, force bool) (bayes.Imported, error) {
	q := url.Values{"user": {user}}
	if force {
		q.Set("force", "yes")
	}
	return decodeBody[bayes.Imported](c)(c.call(ctx, http.MethodPost, "/v1/spam/import", q, r, size))
}
