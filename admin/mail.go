package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/mailbox"
	"mtad/message"
	"mtad/store"
)

// Mail is a message in a folder.
type Mail struct {
	UID  uint32    `json:"uid"`
	Size int64     `json:"size"` // octets
	Date time.Time `json:"date"` // it was delivered
}

// MailChange is what is to be done to one message of a user.
type MailChange struct {
	User   string   `json:"user"`
	Folder string   `json:"folder"`
	UID    uint32   `json:"uid"`
	Files  []Filing `json:"files,omitempty"`  // folders that it is copied to, made if they are missing
	Flags  []string `json:"flags,omitempty"`  // added to it where it is
	Remove bool     `json:"remove,omitempty"` // from where it is, once it is filed
}

// Filing is a folder and the flags that the message has there besides its own.
type Filing struct {
	Folder string   `json:"folder"` // "" is INBOX
	Flags  []string `json:"flags,omitempty"`
}

// folder finds a folder of a user.
func (s *Server) folder(ctx context.Context, user, name string) (mailbox.Folder, error) {
	u, err := s.cfg.Directory.User(ctx, user)
	if err != nil {
		return mailbox.Folder{}, about(user, err)
	}
	f, err := s.cfg.Mailboxes.Folder(ctx, mailbox.AccountID(u.ID), name)
	if errors.Is(err, mailbox.ErrNoFolder) {
		return f, &Error{NoInput, user + " has no folder " + strconv.Quote(name) + "; `mtad user show` lists them"}
	}
	return f, err
}

func (s *Server) mails(ctx context.Context, q url.Values) ([]Mail, error) {
	f, err := s.folder(ctx, q.Get("user"), q.Get("folder"))
	if err != nil {
		return nil, err
	}
	entries, err := s.entries(ctx, f.ID, nil)
	out := []Mail{}
	for _, e := range entries {
		out = append(out, Mail{uint32(e.UID), e.Size, e.Date})
	}
	return out, err
}

// entries are the rows of some messages; of all without uids.
func (s *Server) entries(ctx context.Context, f mailbox.FolderID, uids []mailbox.UID) ([]mailbox.Entry, error) {
	if uids == nil {
		items, _, err := s.cfg.Mailboxes.Snapshot(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			uids = append(uids, i.UID)
		}
	}
	return s.cfg.Mailboxes.Entries(ctx, f, uids)
}

// mailOctets writes a message.
func (s *Server) mailOctets(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := s.folder(r.Context(), q.Get("user"), q.Get("folder"))
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(q.Get("uid"), 10, 32)
	if err != nil {
		return &Error{Usage, "uid is no number"}
	}
	entries, err := s.entries(r.Context(), f.ID, []mailbox.UID{mailbox.UID(uid)})
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return &Error{No, "no message " + q.Get("uid") + " in " + f.Name}
	}
	if err := s.cfg.Mailboxes.Locate(r.Context(), entries); err != nil {
		return err
	}
	body, err := s.cfg.Mailboxes.Open(r.Context(), entries[0])
	if err != nil {
		return err
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	_, err = io.Copy(w, message.NewReader(body))
	return err
}

// changeMail files, flags and removes. A message that can not be filed is not
// removed.
func (s *Server) changeMail(ctx context.Context, in MailChange) (none, error) {
	f, err := s.folder(ctx, in.User, in.Folder)
	if err != nil {
		return none{}, err
	}
	uids := []mailbox.UID{mailbox.UID(in.UID)}
	stays := !in.Remove
	for _, to := range in.Files {
		target, err := s.ensure(ctx, f.Account, to.Folder)
		if err != nil {
			return none{}, err
		}
		if target.ID == f.ID {
			stays, in.Flags = true, append(in.Flags, to.Flags...)
			continue
		}
		pairs, err := s.cfg.Mailboxes.Copy(ctx, f.ID, target.ID, uids)
		if err != nil {
			return none{}, err
		}
		if len(pairs) == 0 {
			return none{}, &Error{No, "the message is gone"}
		}
		if err := s.flag(ctx, target.ID, pairs[0].Dest, to.Flags); err != nil {
			return none{}, err
		}
	}
	if stays {
		return none{}, s.flag(ctx, f.ID, uids[0], in.Flags)
	}
	// Expunge takes what is marked as deleted (RFC 4315, 2.1).
	if _, _, err := s.cfg.Mailboxes.SetFlags(ctx, f.ID, uids, mailbox.Add, mailbox.Flags{System: mailbox.Deleted}, 0); err != nil {
		return none{}, err
	}
	_, err = s.cfg.Mailboxes.Expunge(ctx, f.ID, uids)
	return none{}, err
}

// ensure finds a folder, or makes it as delivery would.
func (s *Server) ensure(ctx context.Context, account mailbox.AccountID, name string) (f mailbox.Folder, err error) {
	if name == "" {
		name = "INBOX"
	}
	err = s.cfg.DB.Update(ctx, func(tx *store.Tx) error {
		f, err = s.cfg.Mailboxes.Ensure(tx, account, name)
		return err
	})
	return f, err
}

// systemFlags are what flags of the system are called (RFC 3501, 2.3.2).
var systemFlags = map[string]mailbox.SystemFlags{
	`\seen`: mailbox.Seen, `\answered`: mailbox.Answered, `\flagged`: mailbox.Flagged, `\deleted`: mailbox.Deleted, `\draft`: mailbox.Draft,
}

func (s *Server) flag(ctx context.Context, f mailbox.FolderID, uid mailbox.UID, names []string) error {
	var flags mailbox.Flags
	for _, n := range names {
		switch sys, ok := systemFlags[strings.ToLower(n)]; {
		case ok:
			flags.System |= sys
		case mailbox.ValidKeyword(n) && !slices.Contains(flags.Keywords, n):
			flags.Keywords = append(flags.Keywords, n)
		}
	}
	if flags.System == 0 && flags.Keywords == nil {
		return nil
	}
	_, _, err := s.cfg.Mailboxes.SetFlags(ctx, f, []mailbox.UID{uid}, mailbox.Add, flags, 0)
	return err
}
