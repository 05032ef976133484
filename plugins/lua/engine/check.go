package engine

import (
	"errors"
	"fmt"
	"strings"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// CheckEdit says what is wrong with an edit that a script can not have asked for
// in this form: it comes from a worker, which is not believed.
func CheckEdit(m pipeline.Modification) error {
	switch m := m.(type) {
	case pipeline.AddHeader:
		return checkField(m.Name, m.Value, m.Raw)
	case pipeline.InsertHeader:
		return checkField(m.Name, m.Value, m.Raw)
	case pipeline.SetHeader:
		return checkField(m.Name, m.Value, m.Raw)
	case pipeline.RemoveHeader:
		return checkField(m.Name, "", false)
	case pipeline.SetSender:
		return checkAddress(m.Addr, true, m.Params)
	case pipeline.AddRecipient:
		return checkAddress(m.Addr, false, m.Params)
	case pipeline.RemoveRecipient:
		return checkAddress(m.Addr, false, nil)
	case pipeline.Redirect:
		return checkAddress(m.Addr, false, nil)
	case pipeline.Respond:
		return checkAddress(m.To, false, nil)
	case pipeline.SetFolder:
		return checkFolder(m.Folder, nil)
	case pipeline.FileInto:
		return checkFolder(m.Folder, m.Flags)
	case pipeline.SetFlags:
		return checkFolder("", m.Flags)
	case pipeline.AddAuthResult:
		if !keyword(m.Result.Method) || !keyword(m.Result.Result) || len(m.Result.Props) > 0 {
			return errors.New("not a result that scripts can add")
		}
	case pipeline.ReplaceBody:
		if m.Body.Size() > maxBody {
			return errors.New("a body of more than 1 MiB")
		}
	}
	return nil
}

func checkField(name, value string, raw bool) error {
	if raw || !message.ValidFieldName(name) || len(value) > maxField {
		return fmt.Errorf("not a field: %.80q", name)
	}
	return nil
}

func checkAddress(a smtp.Address, null bool, params []string) error {
	if null && a.IsZero() && params == nil {
		return nil
	}
	if b, err := smtp.ParseAddress(a.String()); err != nil || b != a || a.Local == "" || params != nil {
		return fmt.Errorf("not an address: %.80q", a.String())
	}
	return nil
}

func checkFolder(name string, flags []string) error {
	if badFolder(name) {
		return fmt.Errorf("not a folder: %.80q", name)
	}
	for _, f := range flags {
		if badFlag(f) || len(flags) > maxFlags {
			return fmt.Errorf("not a flag: %.80q", f)
		}
	}
	return nil
}

func badFolder(name string) bool {
	return len(name) > maxFolder || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func badFlag(f string) bool {
	return f == "" || len(f) > maxFlag || strings.ContainsFunc(f, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"]`, r) })
}

// CheckReply says what is wrong with a reply from a worker.
func CheckReply(r smtp.Reply) error {
	if len(r.Text) > maxReply || !printable(r.Text) {
		return fmt.Errorf("not a reply: %.80q", r.Text)
	}
	return nil
}
