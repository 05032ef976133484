package imapd

import (
	"errors"
	"strings"

	"mtad/mailbox"
)

// nameArgument reads a command whose one argument is a mailbox name.
func (s *session) nameArgument() (string, error) {
	s.r.SP()
	name := s.r.Mailbox()
	return name, s.r.End()
}

// create makes a folder, with the use it is meant for if that is given (RFC 6154, 3).
func (s *session) create() (reply, error) {
	s.r.SP()
	name := s.r.Mailbox()
	var uses []string
	if s.r.Accept(' ') {
		s.r.Open()
		if s.r.Word() != "USE" {
			s.r.Fail("expected USE")
		}
		s.r.SP()
		uses = s.r.Flags()
		s.r.Close()
	}
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	use, good := specialUse(uses)
	if !good {
		return no("USEATTR", "Special use is not supported"), nil
	}
	// RFC 3501, 6.3.3: a separator at the end only says that children will come.
	name = strings.TrimSuffix(name, mailbox.Separator)
	_, err := s.store.Create(s.ctx, s.account.ID, name, use)
	return ok("Mailbox created"), err
}

// specialUses are the attributes of RFC 6154, 2 that a real folder may have.
var specialUses = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`}

// specialUse returns the one use of a list in its usual spelling. A folder has
// one at most.
func specialUse(uses []string) (use string, ok bool) {
	if len(uses) == 0 {
		return "", true
	}
	for _, known := range specialUses {
		if len(uses) == 1 && strings.EqualFold(uses[0], known) {
			return known, true
		}
	}
	return "", false
}

func (s *session) delete() (reply, error) {
	name, err := s.nameArgument()
	if err != nil {
		return reply{}, err
	}
	folder, err := s.store.Folder(s.ctx, s.account.ID, name)
	if err != nil {
		return reply{}, err
	}
	if err := s.store.Delete(s.ctx, s.account.ID, name); err != nil {
		return reply{}, err
	}
	if s.selected != nil && s.selected.folder.ID == folder.ID { // its name may have changed since
		s.selected, s.state = nil, authenticated
	}
	return ok("Mailbox deleted"), nil
}

func (s *session) rename() (reply, error) {
	s.r.SP()
	from := s.r.Mailbox()
	s.r.SP()
	to := s.r.Mailbox()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	return ok("Mailbox renamed"), s.store.Rename(s.ctx, s.account.ID, from, to)
}

func (s *session) subscribe() (reply, error)   { return s.setSubscribed(true) }
func (s *session) unsubscribe() (reply, error) { return s.setSubscribed(false) }

func (s *session) setSubscribed(on bool) (reply, error) {
	name, err := s.nameArgument()
	if err != nil {
		return reply{}, err
	}
	return ok("Completed"), s.store.Subscribe(s.ctx, s.account.ID, name, on)
}

func (s *session) namespace() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	s.w.Raw("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
	return ok("NAMESPACE completed"), nil
}

// statusItems are what STATUS can tell (RFC 3501, 6.3.10).
var statusItems = map[string]func(*session, mailbox.Status) (uint64, error){
	"MESSAGES":    func(_ *session, st mailbox.Status) (uint64, error) { return uint64(st.Messages), nil },
	"UIDNEXT":     func(_ *session, st mailbox.Status) (uint64, error) { return uint64(st.UIDNext), nil },
	"UIDVALIDITY": func(_ *session, st mailbox.Status) (uint64, error) { return uint64(st.UIDValidity), nil },
	"UNSEEN":      func(_ *session, st mailbox.Status) (uint64, error) { return uint64(st.Unseen), nil },
	"RECENT":      (*session).statusRecent,
}

// statusRecent counts the messages no session has been told of, without
// claiming them.
func (s *session) statusRecent(st mailbox.Status) (uint64, error) {
	first, err := s.store.Recent(s.ctx, st.ID, false)
	if err != nil || first >= st.UIDNext {
		return 0, err
	}
	items, _, err := s.store.Snapshot(s.ctx, st.ID)
	n := uint64(0)
	for _, it := range items {
		if it.UID >= first {
			n++
		}
	}
	return n, err
}

// readStatusItems reads the parenthesised list of what is asked for.
func (s *session) readStatusItems() []string {
	var items []string
	s.r.List(func() {
		item := s.r.Word()
		if statusItems[item] == nil {
			s.r.Fail("Unknown status item")
		}
		items = append(items, item)
	})
	if len(items) == 0 {
		s.r.Fail("expected a status item")
	}
	return items
}

func (s *session) statusOf() (reply, error) {
	s.r.SP()
	name := s.r.Mailbox()
	s.r.SP()
	items := s.readStatusItems()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	folder, err := s.store.Folder(s.ctx, s.account.ID, name)
	if err != nil {
		return reply{}, err
	}
	return ok("STATUS completed"), s.writeStatus(folder, items)
}

func (s *session) writeStatus(folder mailbox.Folder, items []string) error {
	st, err := s.store.Status(s.ctx, folder.ID)
	if err != nil {
		return err
	}
	values := make([]uint64, len(items))
	for i, item := range items {
		if values[i], err = statusItems[item](s, st); err != nil {
			return err
		}
	}
	s.w.Raw("* STATUS ")
	s.w.Mailbox(folder.Name)
	sep := " ("
	for i, item := range items {
		s.w.Raw(sep + item + " ")
		s.w.Number(values[i])
		sep = " "
	}
	s.w.Raw(")\r\n")
	return nil
}

// destination finds the folder that COPY, MOVE and APPEND fill. Where it is
// missing the client is told to create it (RFC 3501, 6.3.11).
func (s *session) destination(name string) (mailbox.Folder, *reply, error) {
	folder, err := s.store.Folder(s.ctx, s.account.ID, name)
	if errors.Is(err, mailbox.ErrNoFolder) {
		missing := no("TRYCREATE", "No such mailbox")
		return folder, &missing, nil
	}
	return folder, nil, err
}
