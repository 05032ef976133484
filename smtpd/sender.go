package smtpd

import (
	"context"
	"fmt"

	"mtad/message"
	"mtad/smtp"
)

// Standing is what an address is to a user who has logged in.
type Standing uint8

// What an address may be to a user.
const (
	Foreign  Standing = iota // not the user's, nor granted
	OnBehalf                 // may stand in From, with the user's own in Sender
	Own                      // the user's, or granted as if it were
)

// replySender is for an error of Config.Sender.
var replySender = smtp.NewReply(451, 3, 0, "Can not look up whose the address is now")

// user is the account that the client has logged in as, "" if it has not, or if
// nobody asks whose addresses are.
func (c *conn) user() string {
	if a := c.flow.Client().Auth; a != nil && c.cfg.Sender != nil {
		return a.User
	}
	return ""
}

// mayUse says no to an address that is not the user's; zero is yes. The null
// sender is everybody's: receipts have it (RFC 8098, 3).
func (c *conn) mayUse(ctx context.Context, a smtp.Address) smtp.Reply {
	user := c.user()
	if user == "" || a.IsZero() {
		return smtp.Reply{}
	}
	standing, err := c.cfg.Sender(ctx, user, a)
	switch {
	case err != nil:
		c.log().Error("look up whose an address is", "user", user, "address", a.String(), "err", err)
		return replySender
	case standing == Foreign:
		return smtp.NewReply(553, 7, 1, fmt.Sprintf("%s: Sender address rejected: not owned by user %s", a.Path(), user))
	}
	return smtp.Reply{}
}

// authors are the fields that say who wrote a message, or sent it (RFC 5322, 3.6.2
// and 3.6.6).
var authors = []string{"From", "Sender", "Resent-From", "Resent-Sender"}

// author checks who a user's message says that it is from. sender is the field
// that it needs besides, if it needs one.
func (c *conn) author(ctx context.Context, m *message.Message) (sender [][]byte, no smtp.Reply) {
	user := c.user()
	if user == "" {
		return nil, smtp.Reply{}
	}
	behalf, named := false, false
	for _, name := range authors {
		for _, value := range m.Header().Values(name) {
			for _, a := range message.ParseAddressList(value) {
				if a.Mark != message.Mailbox {
					continue
				}
				addr := smtp.Address{Local: a.Local, Domain: a.Domain}
				standing, err := c.cfg.Sender(ctx, user, addr)
				switch {
				case err != nil:
					c.log().Error("look up whose an address is", "user", user, "address", addr.String(), "err", err)
					return nil, replySender
				case standing == Foreign || standing == OnBehalf && name != "From" && name != "Resent-From":
					return nil, smtp.NewReply(550, 7, 1, fmt.Sprintf("%s in %s is not owned by user %s", addr.Path(), name, user))
				}
				behalf = behalf || standing == OnBehalf && name == "From"
				named = named || standing == Own && name == "Sender"
			}
		}
	}
	if behalf && !named {
		return [][]byte{message.FormatField("Sender", user)}, smtp.Reply{}
	}
	return nil, smtp.Reply{}
}
