package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/cmd/mtad/boot"
	"mtad/directory"
	"mtad/mailbox"
	"mtad/queue"
	"mtad/spamdb"
	"mtad/store"
)

func newDB(g *global) *cobra.Command {
	return noun("db", "The database and the journal", newDBCheck(g))
}

func newDBCheck(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Prove that database, journal and folders agree", Args: cobra.NoArgs,
		Long: `Prove that the database is sound, that every message has its octets, whole, in
the journal, that references are counted rightly, and that the counts of every
folder are those of its messages. All mail is read. The server may run
meanwhile; if it does not, the files are opened directly. Exits 1 if anything is
wrong.`,
	}
	f := addFormat(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := g.verify(cmd.Context())
		if err != nil {
			return err
		}
		return printVerified(cmd, *f, v)
	}
	return cmd
}

// verify asks the server, or opens the store where no server runs.
func (g *global) verify(ctx context.Context) (admin.Verified, error) {
	c, err := g.client()
	if err != nil {
		return admin.Verified{}, err
	}
	defer c.Close()
	v, err := c.Verify(ctx, "")
	var e *admin.Error
	if err == nil || !errors.As(err, &e) || e.Code != admin.Unavailable {
		return v, err
	}
	dir, err := g.storeDir()
	if err != nil {
		return v, err
	}
	return verifyOffline(ctx, dir)
}

// storeDir is where the server that the flags name has its database and journal.
func (g *global) storeDir() (string, error) {
	path, err := g.configPath()
	if err != nil {
		return "", err
	}
	dir, err := dataDir(path)
	return filepath.Join(dir, storeDir), err
}

// openOffline opens what a server has stored that does not run.
func openOffline(dir string) (*store.DB, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, exitf(exitNoInput, "nothing is stored: %w", err)
	}
	if err := boot.BecomeOwner(dir); err != nil {
		return nil, &exitError{exitIO, err}
	}
	db, err := store.Open(dir, store.Options{}, schemas()...)
	if err != nil {
		return nil, &exitError{exitTemp, err}
	}
	return db, nil
}

func verifyOffline(ctx context.Context, dir string) (v admin.Verified, err error) {
	db, err := openOffline(dir)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	boxes, err := mailbox.Open(ctx, db, mailbox.Options{})
	if err != nil {
		return v, err
	}
	return admin.VerifyStore(ctx, db, boxes)
}

// schemas are the tables of every room that keeps some.
func schemas() []store.Schema {
	return []store.Schema{mailbox.Schema(), directory.Schema(), queue.Schema(), spamdb.Schema()}
}

func newMailbox(g *global) *cobra.Command {
	return noun("mailbox", "The folders of accounts", newMailboxVerify(g))
}

func newMailboxVerify(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify USER", Short: "Prove that a user's folders are whole", Args: cobra.ExactArgs(1),
		Long: "Compare the counts, UIDs and mod-sequences of a user's folders with their\nmessages, and open every message. Exits 1 if anything is wrong. `mtad db check`\nlooks at everybody's, and at more.",
	}
	f := addFormat(cmd)
	cmd.RunE = g.withClient(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
		v, err := c.Verify(ctx, args[0])
		if err != nil {
			return err
		}
		return printVerified(cmd, *f, v)
	})
	return cmd
}

func printVerified(cmd *cobra.Command, f format, v admin.Verified) error {
	err := printOne(cmd.OutOrStdout(), f, v, func(w io.Writer) error {
		out := &lines{w: w}
		for _, p := range v.Problems {
			out.printf("%s\n", clean(tellProblem(p)))
		}
		if more := v.Found - len(v.Problems); more > 0 {
			out.printf("and %d more\n", more)
		}
		if v.Records > 0 || v.Messages > 0 {
			out.printf("%d messages, %d records in the journal; ", v.Messages, v.Records)
		}
		out.printf("%d folders with %d messages: ", v.Folders, v.Entries)
		if v.Found == 0 {
			out.printf("all is well\n")
		} else {
			out.printf("%d problems\n", v.Found)
		}
		return out.err
	})
	if err == nil && v.Found > 0 {
		err = exitf(exitNo, "%d problems were found; keep a copy of data_dir before you change anything", v.Found)
	}
	return err
}

func tellProblem(p admin.Problem) string {
	text := p.What
	switch {
	case p.Message != "":
		text = "message " + p.Message + ": " + text
	case p.Folder != "":
		text = fmt.Sprintf("account %d, folder %s: %s", p.Account, p.Folder, text)
	}
	if p.Lost {
		text = "LOST " + text
	}
	return text
}
