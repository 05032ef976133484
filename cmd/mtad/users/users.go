// Package users is what the filters "sieve", "lua" and "spamscore" ask about accounts:
// their scripts and preferences, what scripts remember, and their folders.
package users

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mtad/directory"
	"mtad/mailbox"
	"mtad/pipeline"
	"mtad/plugins/lua"
	"mtad/sieve"
	"mtad/smtp"
)

// Users knows the accounts of a directory. The zero Users knows none, and is
// enough to check a configuration with.
type Users struct {
	Directory *directory.Directory
	Mailboxes *mailbox.Store
}

// Script is the active Sieve script of an account.
func (u Users) Script(ctx context.Context, mailbox smtp.Address) (text, version string, ok bool, err error) {
	s, ok, err := u.active(ctx, mailbox, directory.Sieve)
	return s.Text, s.Version, ok, err
}

// ScriptNamed is a Sieve script of an account.
func (u Users) ScriptNamed(ctx context.Context, mailbox smtp.Address, name string) (string, error) {
	user, err := u.Directory.User(ctx, mailbox.String())
	if err != nil {
		return "", err
	}
	text, err := u.Directory.ScriptText(ctx, user.ID, directory.Sieve, name)
	if errors.Is(err, directory.ErrNoScript) {
		err = fs.ErrNotExist
	}
	return text, err
}

// LuaScript is the active Lua script of an account.
func (u Users) LuaScript(ctx context.Context, mailbox smtp.Address) (lua.Script, bool, error) {
	return u.active(ctx, mailbox, directory.Lua)
}

// Preferences are an account's for the filter spamscore.
func (u Users) Preferences(ctx context.Context, mailbox smtp.Address) (text, version string, ok bool, err error) {
	s, ok, err := u.active(ctx, mailbox, directory.SpamPreferences)
	return s.Text, s.Version, ok, err
}

// maxKeys is how many keys of state an account's scripts can have.
const maxKeys = 10_000

// LuaState is the account's own state.
func (u Users) LuaState(mailbox smtp.Address) (pipeline.KV, error) { return u.state("lua.", mailbox) }

// SieveState is the account's own state.
func (u Users) SieveState(mailbox smtp.Address) (pipeline.KV, error) {
	return u.state("sieve.", mailbox)
}

func (u Users) state(space string, mailbox smtp.Address) (pipeline.KV, error) {
	sum := sha256.Sum256([]byte(mailbox.Key()))
	s, err := u.Directory.State(space + hex.EncodeToString(sum[:16]))
	if err != nil {
		return nil, err
	}
	return s.Limit(maxKeys), nil
}

func (u Users) active(ctx context.Context, mailbox smtp.Address, in directory.Language) (s lua.Script, ok bool, err error) {
	user, err := u.Directory.User(ctx, mailbox.String())
	if err == nil {
		s.Name, s.Text, s.Version, err = u.Directory.ActiveScript(ctx, user.ID, in)
	}
	if errors.Is(err, directory.ErrNoScript) || errors.Is(err, directory.ErrNoUser) {
		return s, false, nil
	}
	return s, err == nil, err
}

// Folders are the folders of an account.
func (u Users) Folders(mailbox smtp.Address) sieve.Mailboxes { return folders{u, mailbox} }

type folders struct {
	Users
	of smtp.Address
}

// find is the first folder that fits.
func (f folders) find(ctx context.Context, fits func(mailbox.Folder) bool) (name string, ok bool, err error) {
	user, err := f.Directory.User(ctx, f.of.String())
	if err != nil {
		return "", false, fmt.Errorf("folders of %s: %w", f.of, err)
	}
	all, err := f.Mailboxes.Folders(ctx, mailbox.AccountID(user.ID))
	if err != nil {
		return "", false, err
	}
	for _, one := range all {
		if fits(one) {
			return one.Name, true, nil
		}
	}
	return "", false, nil
}

func named(one mailbox.Folder, name string) bool {
	return one.Name == name || strings.EqualFold(name, mailbox.Inbox) && one.Name == mailbox.Inbox
}

// Exists reports whether there is a folder of that name.
func (f folders) Exists(ctx context.Context, name string) (bool, error) {
	_, ok, err := f.find(ctx, func(one mailbox.Folder) bool { return named(one, name) })
	return ok, err
}

// Special finds the folder with a special use; with a name, only that one.
func (f folders) Special(ctx context.Context, name, use string) (string, bool, error) {
	return f.find(ctx, func(one mailbox.Folder) bool {
		return strings.EqualFold(one.Use, use) && (name == "" || named(one, name))
	})
}

// ByID finds a folder by its ID.
func (f folders) ByID(ctx context.Context, id string) (string, bool, error) {
	return f.find(ctx, func(one mailbox.Folder) bool { return id == FolderID(one.ID) })
}

// FolderID is a folder's MAILBOXID (RFC 8474, 4.1).
func FolderID(id mailbox.FolderID) string { return "F" + strconv.FormatInt(int64(id), 10) }

// Annotation is none: folders have no annotations here.
func (f folders) Annotation(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}
