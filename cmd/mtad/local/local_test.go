package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/admin"
	"mtad/maildrop"
	"mtad/message"
	"mtad/smtp"
	"mtad/smtpd"
)

// desk is one at which the system's user nobody is the owner of nobody's@x.test.
func desk(t *testing.T) (*Desk, *bytes.Buffer) {
	var log bytes.Buffer
	return &Desk{
		Settings: func() Intake { return Intake{Trusted: []string{"www-data", "uid12345"}} },
		Origin:   func() string { return "here.test" },
		Limits: func() smtpd.Limits {
			return smtpd.Limits{MessageSize: 1000, Recipients: 3, Header: message.Limits{HeaderSize: 200, Fields: 10, Lines: 20, Depth: 5, Parts: 5}}
		},
		SpoolDir: t.TempDir(),
		Own: func(_ context.Context, user string, a smtp.Address) (bool, error) {
			if a.Local == "broken" {
				return false, errors.New("no lookup")
			}
			return a.String() == user+"s@x.test", nil
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

// Who may send as whom: root, the server's own user and trusted users as anyone.
func TestSender(t *testing.T) {
	const root, nobody, unknown = 0, 65534, 12345
	for _, c := range []struct {
		uid        uint32
		want, gets string
		told       bool
	}{
		{root, "", "<root@here.test>", false},
		{root, "a@b.test", "<a@b.test>", false},
		{root, "<>", "<>", false},
		{uint32(os.Geteuid()), "a@b.test", "<a@b.test>", false},
		{33, "a@b.test", "<a@b.test>", false}, // www-data
		{nobody, "", "<nobody@here.test>", false},
		{nobody, "nobody", "<nobody@here.test>", false},
		{nobody, "nobodys@x.test", "<nobodys@x.test>", false},
		{nobody, "nobody@x.test", "<nobody@here.test>", true}, // an account of that name
		{nobody, "root", "<nobody@here.test>", true},
		{nobody, "<>", "<nobody@here.test>", true},
		{nobody, "a@b.test\r\nRCPT TO:<x@y>", "<nobody@here.test>", true},
		{unknown, "", "<uid12345@here.test>", false},
		{unknown, "uid12345s@x.test", "<uid12345@here.test>", true}, // it only looks like a name
		{unknown, "a@b.test", "<uid12345@here.test>", true},
	} {
		d, log := desk(t)
		got, err := d.sender(t.Context(), c.uid, c.want)
		if err != nil || got.Path() != c.gets || (log.Len() > 0) != c.told || strings.Count(log.String(), "\n") > 1 {
			t.Errorf("%d as %q: %s, %v\n%s", c.uid, c.want, got.Path(), err, log)
		}
	}
	d, _ := desk(t)
	if _, err := d.sender(t.Context(), nobody, "broken@x.test"); err == nil || !Passes(err) {
		t.Errorf("a lookup that fails: %v", err)
	}
}

// What an envelope may say is looked at here, whatever the program looked at.
func TestLetter(t *testing.T) {
	many := make([]string, 4)
	for i := range many {
		many[i] = fmt.Sprint("u", i)
	}
	for _, c := range []struct {
		e    maildrop.Envelope
		head string
		want string // in the error
	}{
		{maildrop.Envelope{Rcpts: []string{"a", "b@x.test"}}, "", ""},
		{maildrop.Envelope{}, "", "no recipients"},
		{maildrop.Envelope{Rcpts: many}, "", "4 recipients, recipient_limit is 3"},
		{maildrop.Envelope{Rcpts: []string{"a"}}, strings.Repeat("X: y\r\n", 100), "the header is too large"},
		{maildrop.Envelope{Rcpts: []string{"a\r\nX: y"}}, "", "is no address"},
		{maildrop.Envelope{Rcpts: []string{""}}, "", "is no address"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Notify: []string{"NEVER", "DELAY"}}, "", "NOTIFY"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Notify: []string{"X\r\n"}}, "", "NOTIFY"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Return: "ALL"}, "", "ALL"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Body: "BINARYMIME"}, "", "BINARYMIME"},
		{maildrop.Envelope{Rcpts: []string{"a"}, ID: strings.Repeat("x", 101)}, "", "xxx"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Each: make([]maildrop.Params, 2)}, "", "of 2 recipients"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Each: []maildrop.Params{{Type: "x400", Original: "a"}}}, "", "ORCPT"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Each: []maildrop.Params{{Type: "rfc822", Original: "a\r\nb"}}}, "", "ORCPT"},
		{maildrop.Envelope{Rcpts: []string{"a"}, Verify: true, Sender: maildrop.Nobody}, "", "nobody to tell"},
	} {
		d, _ := desk(t)
		_, err := d.letter(t.Context(), 0, c.e, message.FromBytes([]byte(c.head+"\r\n")))
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || Passes(err)) {
			t.Errorf("%+v: %v, want %q", c.e, err, c.want)
		}
	}
	d, _ := desk(t)
	l, err := d.letter(t.Context(), 65534, maildrop.Envelope{
		Key: "k", Name: " A\r\nBcc: x \x00" + strings.Repeat("é", 300), Rcpts: []string{"a", "b"}, Return: "HDRS", ID: "x y", Body: "8BITMIME",
		Each: []maildrop.Params{{Notify: []string{"NEVER"}}, {Notify: []string{"SUCCESS"}, Type: "rfc822", Original: "c@d.test"}},
	}, message.FromBytes([]byte("\r\n")))
	if err != nil || l.Key != "65534.k" || l.By != "userid 65534" || len(l.Name) > maxName || !strings.HasPrefix(l.Name, "ABcc: x é") {
		t.Errorf("%+v %v", l, err)
	}
	if got := fmt.Sprintln(l.Rcpts[0].Params.Notify, l.Rcpts[1].Params.Notify, l.Rcpts[1].Params.OriginalRecipient, l.Params.Return, l.Params.EnvelopeID); got != "[NEVER] [SUCCESS] c@d.test HDRS x y\n" {
		t.Errorf("%s", got)
	}
}

// What is no record, or too large, is refused before anything is made of it.
func TestSubmitRefuses(t *testing.T) {
	d, _ := desk(t)
	var large bytes.Buffer
	if err := maildrop.Write(&large, maildrop.Envelope{Key: maildrop.NewKey(), Rcpts: []string{"a"}}, message.FromBytes(make([]byte, 1001))); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"": "not a whole record", "x": "not a whole record", large.String(): "message_size_limit is 1000"} {
		_, err := d.Submit(t.Context(), 0, strings.NewReader(text))
		var a *admin.Error
		if !errors.As(err, &a) || a.Code != admin.BadData || !strings.Contains(a.Text, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// The directory is made where it may be; where the server may not, it says who is to,
// and runs without it.
func TestDirectory(t *testing.T) {
	d, log := desk(t)
	intake := Intake{}
	d.Settings = func() Intake { return intake }
	if d.Scanner() != nil || log.Len() > 0 {
		t.Errorf("without a directory: %s", log)
	}
	intake.Maildrop = filepath.Join(t.TempDir(), "drop")
	if d.Scanner() == nil || log.Len() > 0 {
		t.Errorf("%s", log)
	}
	if err := intake.CheckMaildrop(filepath.Dir(intake.Maildrop)); err != nil {
		t.Error(err)
	}
	intake.Maildrop = filepath.Join(intake.Maildrop, "none", "drop")
	if err := intake.CheckMaildrop(t.TempDir()); err == nil || !strings.Contains(err.Error(), "install -d -o ") {
		t.Error(err)
	}
	if d.Scanner() != nil || !strings.Contains(log.String(), "install -d -o ") {
		t.Errorf("%s", log)
	}
}
