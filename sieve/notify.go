package sieve

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// enotify is RFC 5435; the method mailto is RFC 5436, and the host's.
var enotify = extension{
	name: "enotify", rfc: "5435",
	commands: []commandRow{{
		signature: signature{name: "notify", params: []param{{name: "method", kind: kindString}}},
		build:     buildNotify,
	}},
	tests: []testRow{
		{signature: signature{name: "valid_notify_method", params: []param{{name: "notification URIs", kind: kindList}}}, build: buildValidMethod},
		{signature: signature{
			name: "notify_method_capability", groups: []group{groupComparator, groupMatch},
			params: []param{{name: "notification URI", kind: kindString}, {name: "capability", kind: kindString}, {name: "keys", kind: kindList}},
		}, build: buildMethodCapability},
	},
	tags: []tagRow{
		{name: "from", on: []string{"notify"}, takes: kindString},
		{name: "importance", on: []string{"notify"}, takes: kindString, check: func(c *checker, v value) {
			if s, ok := v.constant(); ok && !isImportance(s) {
				c.errorf(v.at, "%s is no importance", quoted(s)).Hint = `"1" is high, "2" normal, "3" low`
			}
		}},
		{name: "options", on: []string{"notify"}, takes: kindList},
		{name: "message", on: []string{"notify"}, takes: kindString},
		{name: "encodeurl", group: groupEncode},
	},
}

const groupEncode group = "encoding"

// fcc keeps a copy of what vacation and notify send (RFC 8580).
var fcc = extension{
	name: "fcc", rfc: "8580",
	tags: []tagRow{{name: "fcc", on: []string{"vacation", "notify"}, takes: kindString, check: func(c *checker, v value) {
		if s, ok := v.constant(); ok && checkMailbox(s) != nil {
			c.errorf(v.at, "%s is %v", quoted(s), errMailbox)
		}
	}, apply: func(m *machine, v value, a *Action) error {
		s, err := v.texts[0].value(m)
		if err != nil {
			return err
		}
		a.Mailbox = s
		return checkMailbox(s)
	}}},
}

// fccTags are those of fileinto that say where and how a copy is kept.
var fccTags = []string{"flags", "create", "specialuse", "mailboxid"}

// checkFcc finds tags that only a copy can have (RFC 8580, 3).
func (c *checker) checkFcc(b *bound) {
	if b.tag("fcc") {
		return
	}
	for _, name := range fccTags {
		if t := b.option(name); t != nil {
			c.errorf(t.at, ":%s goes with :fcc", name)
		}
	}
}

// Notification is a message about the message.
type Notification struct {
	Method     string   // a URI: "mailto:me@example.org?subject=Mail"
	From       string   // "" is for the host to choose
	Importance int      // 1 high, 2 normal, 3 low
	Options    []string // "name=value"
	Message    string   // "" is for the host to choose
}

func isImportance(s string) bool { return s == "1" || s == "2" || s == "3" }

func buildNotify(c *checker, b *bound) action {
	method := b.vals[0].texts[0]
	c.checkFcc(b)
	if s, ok := b.vals[0].constant(); ok && !isURI(s) {
		c.errorf(b.vals[0].at, "%s is no URI", quoted(s)).Hint = `write "mailto:user@example.org"`
	}
	return func(m *machine) error {
		f := filler{m: m, b: b}
		n := &Notification{From: f.text("from"), Message: f.text("message"), Options: f.list("options"), Importance: 2}
		importance := f.text("importance")
		if f.err != nil {
			return f.err
		}
		if isImportance(importance) {
			n.Importance = int(importance[0] - '0')
		}
		s, err := method.value(m)
		if err != nil {
			return err
		}
		if !isURI(s) || m.env.Notifier != nil && !m.env.Notifier.Valid(s) {
			return fmt.Errorf("notify: nothing can be sent to %s", quoted(s))
		}
		if !utf8.ValidString(n.Message) {
			n.Message = strings.ToValidUTF8(n.Message, "\uFFFD")
		}
		n.Method = s
		if b.tag("fcc") && m.env.Notifier != nil {
			if yes, _ := m.env.Notifier.Capability(m.ctx, s, "fcc"); yes != "yes" {
				return fmt.Errorf("notify: no copy can be kept of what is sent to %s", quoted(s)) // RFC 8580, 6
			}
		}
		return b.perform(m, Action{Kind: Notify, Notification: n})
	}
}

// isURI reports whether s has a scheme and something behind it (RFC 3986, 3).
func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || scheme == "" || isDigit(scheme[0]) {
		return false
	}
	for i := range len(scheme) {
		if c := scheme[i]; c == '_' || !isNameStart(c) && !isDigit(c) && strings.IndexByte("+-.", c) < 0 {
			return false
		}
	}
	return !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' || r == '"' })
}

func buildValidMethod(_ *checker, b *bound) test {
	list := b.vals[0].texts
	return func(m *machine) (bool, error) {
		uris, err := values(m, list)
		if err != nil || m.env.Notifier == nil {
			return false, err
		}
		for _, uri := range uris {
			if !isURI(uri) || !m.env.Notifier.Valid(uri) {
				return false, nil
			}
		}
		return true, nil
	}
}

func buildMethodCapability(c *checker, b *bound) test {
	uri, name, q := b.vals[0].texts[0], b.vals[1].texts[0], c.matcher(b, b.vals[2])
	return q.test(func(m *machine, to *seeker) error {
		u, err := uri.value(m)
		if err != nil {
			return err
		}
		capability, err := name.value(m)
		if err != nil || m.env.Notifier == nil {
			return err
		}
		if s, ok := m.env.Notifier.Capability(m.ctx, u, asciiLower(capability)); ok {
			return to.one(subject{text: s, empty: s == ""})
		}
		return nil
	})
}

// encodeURL is RFC 5435, 6: everything but unreserved characters is encoded
// (RFC 3986, 2.3).
func encodeURL(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isDigit(c) || isNameStart(c) || strings.IndexByte("-.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
