//go:build e2e

package soak

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"mtad/internal/mtatest"
)

// with logs a user in, in one of four ways, does something and logs out. A server
// that does not answer is cut off.
func (w *world) with(user string, n int, work func(c *imapclient.Client) error) (err error) {
	opts := &imapclient.Options{TLSConfig: w.tls}
	var c *imapclient.Client
	switch n % 3 {
	case 0:
		c, err = imapclient.DialInsecure(mtatest.Local(w.IMAP), opts)
	case 1:
		c, err = imapclient.DialStartTLS(mtatest.Local(w.IMAP), opts)
	case 2:
		c, err = imapclient.DialTLS(mtatest.Local(w.IMAPS), opts)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	late := time.AfterFunc(patience, func() { c.Close() })
	defer late.Stop()
	if n%2 == 0 {
		err = c.Login(user+"@example.test", user).Wait()
	} else {
		err = c.Authenticate(sasl.NewPlainClient("", user+"@example.test", user))
	}
	if err == nil {
		err = work(c)
	}
	if err == nil {
		err = c.Logout().Wait()
	}
	return err
}

// reader reads a user's folders, writes down what is there and removes it.
func reader(user string, folders ...string) func(*world, int) error {
	last := map[string]imap.UID{}
	return func(w *world, n int) error {
		return w.with(user, n, func(c *imapclient.Client) error {
			for _, folder := range folders {
				if err := w.readFolder(c, user, folder, last); err != nil {
					return fmt.Errorf("%s of %s: %w", folder, user, err)
				}
			}
			return nil
		})
	}
}

func (w *world) readFolder(c *imapclient.Client, user, folder string, last map[string]imap.UID) error {
	data, err := c.Select(folder, nil).Wait()
	var no *imap.Error
	if errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo {
		return nil // no mail yet
	}
	if err != nil || data.NumMessages == 0 {
		return err
	}
	section := &imap.FetchItemBodySection{Peek: true}
	all := imap.SeqSet{}
	all.AddRange(1, min(data.NumMessages, 50))
	msgs, err := c.Fetch(all, &imap.FetchOptions{UID: true, Envelope: true, Flags: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return err
	}
	var uids imap.UIDSet
	for _, m := range msgs {
		notice := strings.HasPrefix(m.Envelope.Subject, notice)
		if m.UID <= last[folder] {
			return fmt.Errorf("UID %d after UID %d", m.UID, last[folder])
		}
		if !notice && !whole(string(m.FindBodySection(section))) {
			return fmt.Errorf("%q has another body", m.Envelope.Subject)
		}
		last[folder] = m.UID
		w.mail.see(user, m.Envelope.Subject)
		uids.AddNum(m.UID)
	}
	if err := mark(c, uids, imap.FlagDeleted); err != nil {
		return err
	}
	gone, err := c.UIDExpunge(uids).Collect()
	if err == nil && len(gone) != len(msgs) {
		err = fmt.Errorf("%d messages of %d were expunged", len(gone), len(msgs))
	}
	return err
}

func mark(c *imapclient.Client, set imap.NumSet, flags ...imap.Flag) error {
	return c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: flags}, nil).Close()
}

// mailProgram works in two folders of its own: appends, copies, searches, marks,
// fetches and expunges.
func (w *world) mailProgram(n int) error {
	if n%20 == 19 {
		return w.abortIMAP()
	}
	return w.with("carol", n, func(c *imapclient.Client) error {
		from, to := fmt.Sprintf("Work %d", n%3), fmt.Sprintf("Copies %d", n%3)
		if n < 3 {
			if err := errors.Join(c.Create(from, nil).Wait(), c.Create(to, nil).Wait()); err != nil {
				return err
			}
		}
		for range 3 {
			_, text := w.mail.compose("carol@example.test", "appended", 2000)
			a := c.Append(from, int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}})
			_, err := io.WriteString(a, text)
			if err = errors.Join(err, a.Close()); err == nil {
				_, err = a.Wait()
			}
			if err != nil {
				return fmt.Errorf("append: %w", err)
			}
		}
		return errors.Join(rummage(c, from, to), empty(c, from), empty(c, to))
	})
}

// rummage does what a mail program does with three messages.
func rummage(c *imapclient.Client, from, to string) error {
	data, err := c.Select(from, nil).Wait()
	if err != nil {
		return err
	}
	if data.NumMessages != 3 {
		return fmt.Errorf("%s has %d messages, want 3", from, data.NumMessages)
	}
	all := imap.SeqSet{}
	all.AddRange(1, 3)
	if _, err := c.Copy(all, to).Wait(); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err := mark(c, imap.SeqSetNum(2), imap.FlagFlagged, "soaked"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	found, err := c.Search(&imap.SearchCriteria{Flag: []imap.Flag{"soaked"}, Body: []string{"quick brown"}}, nil).Wait()
	if err != nil || len(found.AllSeqNums()) != 1 {
		return fmt.Errorf("search found %v: %w", found, err)
	}
	_, err = c.Fetch(all, &imap.FetchOptions{
		Flags: true, Envelope: true, RFC822Size: true, InternalDate: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{{Specifier: imap.PartSpecifierText, Partial: &imap.SectionPartial{Offset: 10, Size: 1000}}},
	}).Collect()
	return err
}

// empty removes all that a folder has, three messages.
func empty(c *imapclient.Client, folder string) error {
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		return err
	}
	all := imap.SeqSet{}
	all.AddRange(1, 0)
	if err := mark(c, all, imap.FlagDeleted); err != nil {
		return err
	}
	gone, err := c.Expunge().Collect()
	if err == nil && len(gone) != 3 {
		err = fmt.Errorf("%s: %d messages expunged, want 3", folder, len(gone))
	}
	return err
}

// idler waits in IDLE, while mail comes.
func (w *world) idler(n int) error {
	return w.with("alice", n, func(c *imapclient.Client) error {
		if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: n%2 == 0}).Wait(); err != nil {
			return err
		}
		idle, err := c.Idle()
		if err != nil {
			return err
		}
		w.pause(time.Duration(n%10) * 100 * time.Millisecond)
		return errors.Join(idle.Close(), idle.Wait())
	})
}

// abortIMAP leaves in the middle of an APPEND.
func (w *world) abortIMAP() error {
	c, err := net.DialTimeout("tcp", mtatest.Local(w.IMAP), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, "a LOGIN carol@example.test carol\r\nb NONSENSE (((\r\nc APPEND INBOX {100000+}\r\nSubject: aborted\r\n\r\n")
	return err
}
