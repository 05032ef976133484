// Package local takes the mail of programs on this machine: from the control socket
// and from the maildrop directory.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	gosmtp "github.com/emersion/go-smtp"

	"mtad/admin"
	"mtad/config"
	"mtad/deliver"
	"mtad/maildrop"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
	"mtad/smtpd"
)

// Intake are what the configuration says of it.
type Intake struct {
	Maildrop string   `mtad:"maildrop_directory"`
	Trusted  []string `mtad:"trusted_users"`
}

// Options describes Intake.
var Options = []config.Option{
	{Name: "maildrop_directory", Type: config.TypePath, Default: maildrop.DefaultDir, Doc: "Where `sendmail` leaves mail of users who may not use the control socket, and all mail while the server is down. Every user of the system may add files. Empty means nowhere.", Example: `"/var/spool/mtad"`},
	{Name: "trusted_users", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Users of the system who may send by `sendmail -f` with any envelope sender, as root may. Others have name@myorigin, and addresses whose mail comes to them as users of the system (system_users, aliases); with any other they send as name@myorigin.", Example: `["www-data"]`},
}

// CheckMaildrop says what is wrong with the directory, for the user to whom data_dir belongs.
func (in *Intake) CheckMaildrop(dataDir string) error {
	st, err := os.Stat(dataDir)
	if in.Maildrop == "" || err != nil { // another check tells of data_dir
		return nil
	}
	owner := st.Sys().(*syscall.Stat_t)
	return maildrop.Check(in.Maildrop, int(owner.Uid), int(owner.Gid))
}

// Desk is where local mail is handed in.
type Desk struct {
	Agent    *deliver.Agent
	Settings func() Intake
	Origin   func() string // myorigin
	Limits   func() smtpd.Limits
	SpoolDir string
	// Own reports whether mail for an address comes to a user of the system.
	Own func(ctx context.Context, user string, a smtp.Address) (bool, error)
	Log *slog.Logger
}

func bad(format string, args ...any) error {
	return &admin.Error{Code: admin.BadData, Text: fmt.Sprintf(format, args...)}
}

// Passes reports whether an error is one that passes.
func Passes(err error) bool {
	var e *admin.Error
	return deliver.PutOff(err) && !(errors.As(err, &e) && e.Code == admin.BadData)
}

// Submit takes a record of the control socket, and returns the ID of the message.
func (d *Desk) Submit(ctx context.Context, uid uint32, r io.Reader) (string, error) {
	limit := d.Limits().MessageSize
	spool := &message.Spool{Dir: d.SpoolDir, Limit: limit}
	defer spool.Close()
	e, err := maildrop.Read(io.LimitReader(r, limit+maildrop.Overhead+1), spool)
	switch {
	case errors.Is(err, message.ErrTooLarge):
		return "", bad("message file too big: message_size_limit is %d octets", limit)
	case errors.Is(err, maildrop.ErrRecord):
		return "", bad("%v", err)
	case err != nil:
		return "", &admin.Error{Code: admin.Temporary, Text: err.Error()}
	}
	id, err := d.take(ctx, uid, e, spool.Bytes())
	var answer *admin.Error
	switch {
	case err == nil, errors.As(err, &answer):
		return id, err
	case deliver.PutOff(err):
		return id, &admin.Error{Code: admin.Temporary, Text: err.Error()}
	}
	return id, bad("%v", err)
}

// Scanner reads the maildrop directory; nil if there is none, which is logged with what
// to do. That of the package is made by the package, or by root's process.
func (d *Desk) Scanner() *maildrop.Scanner {
	dir := d.Settings().Maildrop
	if dir == "" {
		return nil
	}
	var err error
	if dir == maildrop.DefaultDir {
		err = maildrop.Check(dir, os.Geteuid(), os.Getegid())
	} else {
		err = maildrop.Make(dir, os.Geteuid(), os.Getegid())
	}
	if err != nil {
		d.Log.Warn("no mail is taken from the maildrop directory", "err", err)
		return nil
	}
	return &maildrop.Scanner{
		Dir: dir, SpoolDir: d.SpoolDir, MaxSize: func() int64 { return d.Limits().MessageSize }, Again: Passes, Log: d.Log,
		Take: func(ctx context.Context, uid uint32, e maildrop.Envelope, body message.Bytes) error {
			_, err := d.take(ctx, uid, e, body)
			return err
		},
		Refused: func(ctx context.Context, uid uint32, why error) error {
			_, own, _ := d.owner(uid)
			return d.Agent.Notice(ctx, own, "Mail was not taken", fmt.Sprintf("Mail that you handed in on this machine was not taken:\r\n\r\n    %s\r\n\r\nNobody got it. Send it again without that fault.\r\n", line(why.Error())))
		},
	}
}

// take takes a message of a user for good, once: a second of the same key is that one.
func (d *Desk) take(ctx context.Context, uid uint32, e maildrop.Envelope, body message.Bytes) (string, error) {
	l, err := d.letter(ctx, uid, e, body)
	if err != nil {
		return "", err
	}
	id, err := d.Agent.Once(ctx, l.Key, func() (message.ID, error) {
		if !e.Verify {
			return d.Agent.Submit(ctx, l)
		}
		var rcpts []smtp.Address
		for _, r := range l.Rcpts {
			rcpts = append(rcpts, r.Addr)
		}
		return 0, d.Agent.Verify(ctx, l.Sender, rcpts)
	})
	if id == 0 {
		return "", err
	}
	return id.String(), err
}

// letter is a message of a user as the agent takes it.
func (d *Desk) letter(ctx context.Context, uid uint32, e maildrop.Envelope, body message.Bytes) (l deliver.Local, err error) {
	limits := d.Limits()
	if len(e.Rcpts) > limits.Recipients {
		return l, bad("%d recipients, recipient_limit is %d", len(e.Rcpts), limits.Recipients)
	}
	m, err := message.ParseLimited(body, limits.Header)
	if err != nil {
		return l, err
	}
	if m.Oversize() != nil {
		return l, bad("the header is too large")
	}
	l = deliver.Local{Key: fmt.Sprintf("%d.%s", uid, e.Key), By: fmt.Sprintf("userid %d", uid), Name: name(e.Name), Message: m}
	if l.Sender, err = d.sender(ctx, uid, e.Sender); err != nil {
		return l, err
	}
	if err := params(&l.Params, e); err != nil {
		return l, err
	}
	if len(e.Each) > 0 && len(e.Each) != len(e.Rcpts) {
		return l, bad("the envelope has parameters of %d recipients, and %d recipients", len(e.Each), len(e.Rcpts))
	}
	for i, text := range e.Rcpts {
		a, err := d.address(text)
		if err != nil {
			return l, err
		}
		p := maildrop.Params{Notify: e.Notify}
		if len(e.Each) > 0 {
			p = e.Each[i]
		}
		r := pipeline.Recipient{Addr: a}
		if err := rcptParams(&r.Params, p); err != nil {
			return l, err
		}
		l.Rcpts = append(l.Rcpts, r)
		l.Params.UTF8 = l.Params.UTF8 || !a.ASCII()
	}
	l.Params.UTF8 = l.Params.UTF8 || !l.Sender.ASCII()
	switch {
	case len(l.Rcpts) == 0:
		return l, bad("there are no recipients")
	case e.Verify && l.Sender.IsZero():
		return l, bad("there is nobody to tell what became of it")
	}
	return l, nil
}

// params are the parameters of MAIL.
func params(p *smtp.MailParams, e maildrop.Envelope) error {
	words := map[string][]string{"return": {"", "FULL", "HDRS"}, "body": {"", "7BIT", "8BITMIME"}}
	if !slices.Contains(words["return"], e.Return) || !slices.Contains(words["body"], e.Body) || len(e.ID) > 100 {
		return bad("the envelope has %q, %q, %q", e.Return, e.Body, e.ID)
	}
	p.Return, p.Body, p.EnvelopeID = gosmtp.DSNReturn(e.Return), gosmtp.BodyType(e.Body), line(e.ID)
	return nil
}

// maxOriginal bounds the octets of ORCPT (RFC 3461, 4.2).
const maxOriginal = 500

// rcptParams are the parameters of RCPT.
func rcptParams(p *smtp.RcptParams, e maildrop.Params) error {
	for _, n := range e.Notify {
		if !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, n) || n == "NEVER" && len(e.Notify) > 1 {
			return bad("the envelope has NOTIFY=%q", e.Notify)
		}
		p.Notify = append(p.Notify, gosmtp.DSNNotify(n))
	}
	typ := gosmtp.DSNAddressType(strings.ToUpper(e.Type))
	known := typ == gosmtp.DSNAddressTypeRFC822 || typ == gosmtp.DSNAddressTypeUTF8
	if e.Original != "" && (!known || len(e.Original) > maxOriginal || line(e.Original) != e.Original) {
		return bad("the envelope has ORCPT=%q", e.Type+";"+e.Original)
	}
	p.OriginalRecipientType, p.OriginalRecipient = typ, e.Original
	return nil
}

// maxName bounds the octets of a person's name.
const maxName = 256

// name is a person's name on one line.
func name(s string) string {
	s = line(s)
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return strings.TrimSpace(s)
}

// line is text without line breaks and other control characters.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// address reads an address; one without a domain is of myorigin.
func (d *Desk) address(text string) (smtp.Address, error) {
	a, rest, err := smtp.ParsePath(text, true)
	switch {
	case err != nil || strings.TrimSpace(rest) != "" || a.IsZero():
		return a, bad("%q is no address", text)
	case a.Domain == "":
		a.Domain = d.Origin()
	}
	return a, nil
}

// owner is a user's name, if the system knows one, and address.
func (d *Desk) owner(uid uint32) (name string, own smtp.Address, known bool) {
	name = fmt.Sprintf("uid%d", uid)
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		name, known = u.Username, true
	}
	return name, smtp.Address{Local: name, Domain: d.Origin()}, known
}

// sender is the envelope sender that a user gets: the one that was asked for, if the
// user may have it, else the user's own. Mail that asks for more goes all the same.
func (d *Desk) sender(ctx context.Context, uid uint32, want string) (smtp.Address, error) {
	name, own, known := d.owner(uid)
	if want == "" {
		return own, nil
	}
	trusted := uid == 0 || int(uid) == os.Geteuid() || known && slices.Contains(d.Settings().Trusted, name)
	if want == maildrop.Nobody && trusted {
		return smtp.Address{}, nil
	}
	a, err := d.address(want)
	if err == nil && (trusted || a.Equal(own)) {
		return a, nil
	}
	if err == nil && known {
		may, lookup := d.Own(ctx, name, a)
		if lookup != nil || may {
			return a, lookup
		}
	}
	d.Log.Warn("the sender of local mail is not the user's; it has the user's own", "user", name, "asked", line(want), "sender", own.String())
	return own, nil
}
