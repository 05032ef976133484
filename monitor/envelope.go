package monitor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Envelope is what a program is told of the mail that it gets, and what names of
// files may be made of. It comes from whoever sent the mail.
type Envelope struct {
	Sender     string      `json:"sender,omitempty"` // "" is the null sender
	Recipients []Recipient `json:"recipients"`
	Queue      string      `json:"queue,omitempty"` // the message's ID
	Nexthop    string      `json:"nexthop,omitempty"`
	Size       int64       `json:"size,omitempty"` // octets of the message as it came

	ClientAddress  string `json:"client_address,omitempty"`
	ClientPort     string `json:"client_port,omitempty"`
	ClientHelo     string `json:"client_helo,omitempty"`
	ClientHostname string `json:"client_hostname,omitempty"`
	ClientProtocol string `json:"client_protocol,omitempty"`
	SASLMethod     string `json:"sasl_method,omitempty"`
	SASLSender     string `json:"sasl_sender,omitempty"`
	SASLUsername   string `json:"sasl_username,omitempty"`
}

// Recipient is one recipient.
type Recipient struct {
	Address   string `json:"address"`
	Local     string `json:"local"` // with the extension, without quotes
	User      string `json:"user"`  // without the extension
	Extension string `json:"extension,omitempty"`
	Domain    string `json:"domain,omitempty"`
	Original  string `json:"original,omitempty"` // as in the envelope
}

// Bounds of an envelope.
const (
	MaxRecipients = 50 // of one run of a program, as default_destination_recipient_limit
	maxFact       = 1100
)

// check finds what no address can hold.
func (e *Envelope) check() error {
	if len(e.Recipients) == 0 || len(e.Recipients) > MaxRecipients {
		return fmt.Errorf("%d recipients", len(e.Recipients))
	}
	facts := []string{
		e.Sender, e.Queue, e.Nexthop, e.ClientAddress, e.ClientPort, e.ClientHelo, e.ClientHostname, e.ClientProtocol,
		e.SASLMethod, e.SASLSender, e.SASLUsername,
	}
	for _, r := range e.Recipients {
		facts = append(facts, r.Address, r.Local, r.User, r.Extension, r.Domain, r.Original)
	}
	for _, f := range facts {
		if len(f) > maxFact || strings.ContainsFunc(f, unicode.IsControl) {
			return errors.New("a part of the envelope is too long, or has control characters")
		}
	}
	return nil
}

// environment is what local(8) gives to a program of a recipient. Values come
// from strangers: what a shell could take for more than a word becomes "_"
// (postconf(5), command_expansion_filter).
func (e *Envelope) environment() []string {
	r := &e.Recipients[0]
	out := []string{
		"LOGNAME=" + tame(r.User), "USER=" + tame(r.User), "SENDER=" + tame(e.Sender),
		"RECIPIENT=" + tame(r.Address), "LOCAL=" + tame(r.Local), "DOMAIN=" + tame(r.Domain),
	}
	for _, v := range []struct{ name, value string }{
		{"EXTENSION", r.Extension}, {"ORIGINAL_RECIPIENT", r.Original},
		{"CLIENT_ADDRESS", e.ClientAddress}, {"CLIENT_HELO", e.ClientHelo}, {"CLIENT_HOSTNAME", e.ClientHostname},
		{"CLIENT_PROTOCOL", e.ClientProtocol}, {"SASL_METHOD", e.SASLMethod}, {"SASL_SENDER", e.SASLSender},
		{"SASL_USERNAME", e.SASLUsername},
	} {
		if v.value != "" {
			out = append(out, v.name+"="+tame(v.value))
		}
	}
	return out
}

// letters are what words are made of everywhere.
const letters = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func tame(s string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(letters, c) {
			return c
		}
		return '_'
	}, s)
}

// nobodySends stands for the null sender in arguments (pipe(8), null_sender).
const nobodySends = "MAILER-DAEMON"

// fact is the value of a name that pipe(8) has; ofRcpt says that it is the
// recipient's, and r that recipient.
func (e *Envelope) fact(name string, r *Recipient) (value string, ofRcpt, ok bool) {
	switch name {
	case "recipient":
		return r.Address, true, true
	case "original_recipient":
		return r.Original, true, true
	case "user":
		return r.User, true, true
	case "mailbox":
		return r.Local, true, true
	case "extension":
		return r.Extension, true, true
	case "domain":
		return r.Domain, true, true
	case "sender":
		if e.Sender == "" {
			return nobodySends, false, true
		}
		return e.Sender, false, true
	case "size":
		return strconv.FormatInt(e.Size, 10), false, true
	}
	value, ok = map[string]string{
		"queue_id": e.Queue, "nexthop": e.Nexthop, "client_address": e.ClientAddress, "client_port": e.ClientPort,
		"client_helo": e.ClientHelo, "client_hostname": e.ClientHostname, "client_protocol": e.ClientProtocol,
		"sasl_method": e.SASLMethod, "sasl_sender": e.SASLSender, "sasl_username": e.SASLUsername,
	}[name]
	return value, false, ok
}

// ErrUnfit is a recipient or sender that is no part of a program's arguments, or
// of a file's name.
var ErrUnfit = errors.New("it can not be handed over safely")

// Arguments fills a route's command: $name, ${name} and $(name) stand for parts
// of the envelope, $$ for a dollar. An argument with a part of the recipient is
// repeated for each (pipe(8)).
func (e *Envelope) Arguments(command []string) ([]string, error) {
	var out []string
	for _, text := range command {
		for i := range e.Recipients {
			arg, ofRcpt, err := e.fill(text, &e.Recipients[i], func(s string) error { return nil })
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(arg, "-") && !strings.HasPrefix(text, "-") {
				return nil, fmt.Errorf("%w: %q would be taken for an option", ErrUnfit, arg)
			}
			out = append(out, arg)
			if !ofRcpt {
				break
			}
		}
	}
	return out, nil
}

// File fills a route's path for the first recipient. What stands for a part of
// the envelope can not lead elsewhere: it has no slash, and begins with no dot.
func (e *Envelope) File(path string) (string, error) {
	out, _, err := e.fill(path, &e.Recipients[0], func(s string) error {
		if s == "" || s[0] == '.' || strings.Contains(s, "/") {
			return fmt.Errorf("%w: %q is no file's name", ErrUnfit, s)
		}
		return nil
	})
	return out, err
}

// fill replaces the names in a text by their values.
func (e *Envelope) fill(text string, r *Recipient, fits func(string) error) (out string, ofRcpt bool, err error) {
	err = eachName(text, func(literal, name string) error {
		out += literal
		if name == "" {
			return nil
		}
		value, mine, ok := e.fact(name, r)
		if !ok {
			return unknown(name)
		}
		ofRcpt = ofRcpt || mine
		out += value
		return fits(value)
	})
	return out, ofRcpt, err
}

func unknown(name string) error {
	return fmt.Errorf("$%s is nothing: there are user, extension, mailbox, domain, recipient, original_recipient, sender, size, queue_id, nexthop, client_address and others of pipe(8)", name)
}

// CheckNames says what is wrong with the names in an argument or path of a route.
func CheckNames(text string) error {
	return eachName(text, func(_, name string) error {
		if _, _, ok := (&Envelope{}).fact(name, &Recipient{}); name != "" && !ok {
			return unknown(name)
		}
		return nil
	})
}

// eachName calls f with what stands before each name, and the name; it is "" at
// the end.
func eachName(text string, f func(literal, name string) error) error {
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			return f(text, "")
		}
		literal, rest := text[:i], text[i+1:]
		var name string
		switch c := rest[0]; {
		case c == '$':
			literal, rest = literal+"$", rest[1:]
		case c == '{' || c == '(':
			end := strings.IndexByte(rest, map[byte]byte{'{': '}', '(': ')'}[c])
			if end < 2 {
				return fmt.Errorf("%q: the name behind $ has no end", text)
			}
			name, rest = rest[1:end], rest[end+1:]
		default:
			n := strings.IndexFunc(rest, func(c rune) bool { return c != '_' && (c > 'z' || !unicode.IsLetter(c) && !unicode.IsDigit(c)) })
			if n < 0 {
				n = len(rest)
			}
			if n == 0 {
				return fmt.Errorf("%q: a name is missing behind $; a dollar is $$", text)
			}
			name, rest = rest[:n], rest[n:]
		}
		if err := f(literal, name); err != nil {
			return err
		}
		text = rest
	}
}
