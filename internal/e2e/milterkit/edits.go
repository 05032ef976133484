package milterkit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// draft is a message as a mail server makes it of a milter's edits.
type draft struct {
	asker  *Asker
	from   string
	to     []string
	fields [][2]string // the first is the mail server's own Received
	body   string
	fresh  bool // the body is the milter's
	held   string
}

const ownField = "Received"

func newDraft(a *Asker, m Mail) *draft {
	fields := append([][2]string{{ownField, " own"}}, m.Fields...)
	return &draft{asker: a, from: m.From, to: slices.Clone(m.To), fields: fields, body: m.Body}
}

func (d *draft) String() string {
	var b strings.Builder
	slices.Sort(d.to)
	fmt.Fprintf(&b, "from %s to %s, held %q\n", d.from, strings.Join(d.to, " "), d.held)
	for _, f := range d.fields {
		b.WriteString(f[0] + ":" + f[1] + "\n")
	}
	return b.String() + "\n" + d.body
}

// outward is a value as the milter is told it.
func (d *draft) outward(value string) string {
	if d.asker.Agreed.Steps&gomilter.OptHeaderLeadingSpace == 0 {
		return strings.TrimPrefix(value, " ")
	}
	return value
}

func (d *draft) inward(value string) string {
	if d.asker.Agreed.Steps&gomilter.OptHeaderLeadingSpace == 0 {
		return " " + value
	}
	return value
}

var draftEdits = map[byte]func(*draft, string) error{
	'h': (*draft).add, 'i': (*draft).insert, 'm': (*draft).change, 'b': (*draft).replace,
	'+': (*draft).addRcpt, '2': (*draft).addRcptArgs, '-': (*draft).removeRcpt, 'e': (*draft).sender, 'q': (*draft).quarantine,
}

func (d *draft) may(action gomilter.OptAction) error {
	if d.asker.Agreed.Actions&action == 0 {
		return errors.New("it was not negotiated")
	}
	return nil
}

// texts splits data into n strings, each with a NUL behind it.
func texts(data string, n int) ([]string, error) {
	all := strings.Split(data, "\x00")
	if len(all) != n+1 || all[n] != "" {
		return nil, fmt.Errorf("%d strings wanted", n)
	}
	return all[:n], nil
}

// unfolded finds what would not be the field's own: a line that does not begin with
// white space, a bare CR.
var unfolded = regexp.MustCompile("\n[^ \t]|\n$|\r")

func field(data string) (f [2]string, err error) {
	s, err := texts(data, 2)
	if err != nil {
		return f, err
	}
	if s[0] == "" || strings.ContainsFunc(s[0], func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) || unfolded.MatchString(s[1]) {
		return f, errors.New("this is no field")
	}
	return [2]string{s[0], s[1]}, nil
}

func (d *draft) add(data string) error {
	f, err := field(data)
	if err == nil {
		d.fields = append(d.fields, [2]string{f[0], d.inward(f[1])})
	}
	return errors.Join(err, d.may(gomilter.OptAddHeader))
}

func (d *draft) insert(data string) error {
	if len(data) < 4 {
		return errors.New("no index")
	}
	at := binary.BigEndian.Uint32([]byte(data))
	f, err := field(data[4:])
	if err != nil || at > 1<<20 {
		return errors.Join(err, fmt.Errorf("index %d", at))
	}
	d.fields = slices.Insert(d.fields, min(int(at), len(d.fields)), [2]string{f[0], d.inward(f[1])})
	return d.may(gomilter.OptAddHeader)
}

func (d *draft) change(data string) error {
	if len(data) < 4 {
		return errors.New("no index")
	}
	nth := binary.BigEndian.Uint32([]byte(data))
	f, err := field(data[4:])
	if err != nil || nth < 1 || nth > 1<<20 {
		return errors.Join(err, fmt.Errorf("index %d", nth))
	}
	at := d.find(f[0], int(nth))
	switch {
	case f[1] == "" && at >= 0:
		d.fields = slices.Delete(d.fields, at, at+1)
	case f[1] == "":
	case at < 0:
		d.fields = append(d.fields, [2]string{f[0], d.inward(f[1])})
	default:
		d.fields[at][1] = d.inward(f[1])
	}
	return d.may(gomilter.OptChangeHeader)
}

// find is where the nth field of a name is, among those that the milter knows of.
func (d *draft) find(name string, nth int) int {
	for i, f := range d.fields {
		if strings.EqualFold(f[0], name) && f != [2]string{ownField, " own"} {
			if nth--; nth == 0 {
				return i
			}
		}
	}
	return -1
}

func (d *draft) replace(data string) error {
	if len(data) > 65535 {
		return fmt.Errorf("%d octets", len(data))
	}
	if !d.fresh {
		d.fresh, d.body = true, ""
	}
	d.body += data
	return d.may(gomilter.OptChangeBody)
}

func (d *draft) addRcpt(data string) error {
	s, err := texts(data, 1)
	if err == nil {
		d.to = append(d.to, s[0])
	}
	return errors.Join(err, d.may(gomilter.OptAddRcpt))
}

func (d *draft) addRcptArgs(data string) error {
	s, err := texts(data, 2)
	if err == nil {
		d.to = append(d.to, strings.Join(s, "+"))
	}
	return errors.Join(err, d.may(gomilter.OptAddRcptWithArgs))
}

func (d *draft) removeRcpt(data string) error {
	s, err := texts(data, 1)
	if err == nil {
		d.to = slices.DeleteFunc(d.to, func(r string) bool { return r == s[0] })
	}
	return errors.Join(err, d.may(gomilter.OptRemoveRcpt))
}

func (d *draft) sender(data string) error {
	address, _, ok := strings.Cut(data, "\x00")
	if !ok || !strings.HasSuffix(data, "\x00") {
		return errors.New("no end")
	}
	d.from = address
	return d.may(gomilter.OptChangeFrom)
}

func (d *draft) quarantine(data string) error {
	s, err := texts(data, 1)
	if err == nil {
		d.held = s[0]
	}
	return errors.Join(err, d.may(gomilter.OptQuarantine))
}
