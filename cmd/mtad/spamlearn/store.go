package spamlearn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"mtad/admin"
	"mtad/directory"
	"mtad/spam"
	"mtad/spam/bayes"
	"mtad/spamdb"
	"mtad/store"
)

// teacher is who has what was learned: the server that runs, or its database, opened
// here. The second implementation is local; the first is *admin.Client.
type teacher interface {
	Learn(ctx context.Context, user, class string, text []byte) (admin.Taught, error)
	Learned(ctx context.Context, user string) (spamdb.Stats, error)
	backups
}

// backups go out and in.
type backups interface {
	ExportLearned(ctx context.Context, user string, w io.Writer) error
	ImportLearned(ctx context.Context, user string, r io.Reader, size int64, force bool) (bayes.Imported, error)
}

// local is a server's database while the server does not run.
type local struct {
	db     *store.DB
	keeper *spamdb.Keeper
	users  *directory.Directory
	rules  func() (*spam.Engine, error)
}

// newLocal takes over the database.
func newLocal(db *store.DB, rules func() (*spam.Engine, error)) (*local, error) {
	users, err := directory.New(db, directory.Options{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &local{db: db, keeper: spamdb.NewKeeper(db, slog.New(slog.DiscardHandler)), users: users, rules: rules}, nil
}

func (l *local) close() error { return errors.Join(l.keeper.Close(), l.db.Close()) }

func (l *local) owner(ctx context.Context, user string) (string, error) {
	if user == "" {
		return spamdb.Site, nil
	}
	u, err := l.users.User(ctx, user)
	if errors.Is(err, directory.ErrNoUser) || errors.Is(err, directory.ErrBadAddress) {
		return "", &admin.Error{Code: admin.NoUser, Text: user + ": no such user"}
	}
	return spamdb.Owner(u.Address), err
}

var classes = map[string]bayes.Class{"spam": bayes.Spam, "ham": bayes.Ham, "none": bayes.None}

func (l *local) Learn(ctx context.Context, user, class string, text []byte) (out admin.Taught, err error) {
	owner, err := l.owner(ctx, user)
	if err != nil {
		return out, err
	}
	e, err := l.rules()
	if err != nil {
		return out, err
	}
	j := spam.Judge{Engine: e, Learned: l.keeper, Owner: owner}
	out.Changed, err = j.Teach(ctx, text, classes[class])
	return out, err
}

func (l *local) Learned(ctx context.Context, user string) (spamdb.Stats, error) {
	owner, err := l.owner(ctx, user)
	if err != nil {
		return spamdb.Stats{}, err
	}
	return spamdb.StatsOf(ctx, l.keeper.Bayes(owner))
}

func (l *local) ExportLearned(ctx context.Context, user string, w io.Writer) error {
	owner, err := l.owner(ctx, user)
	if err != nil {
		return err
	}
	return bayes.Export(ctx, l.keeper.Bayes(owner), w)
}

func (l *local) ImportLearned(ctx context.Context, user string, r io.Reader, _ int64, force bool) (out bayes.Imported, err error) {
	owner, err := l.owner(ctx, user)
	if err != nil {
		return out, err
	}
	f, ok := r.(*os.File)
	if !ok {
		return out, errors.New("a backup is read from a file")
	}
	return bayes.Import(ctx, l.keeper.Bayes(owner), f, time.Now(), force)
}
