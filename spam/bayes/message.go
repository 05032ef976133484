package bayes

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"regexp"
	"strings"

	"mtad/spam/mail"
)

var bracketed = regexp.MustCompile(`(?s)^[\s\v]*<(.+)>[\s\v]*$`)

// MessageIDs are the names that a message is learned under: one made of its To, Date
// and body, and its Message-ID if it has one in brackets.
func MessageIDs(m *mail.Message) []string {
	body := m.Body
	if bytes.Contains(m.Head, []byte("\r\n")) {
		body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	}
	digest := sha1.Sum(body)
	text := field(m, "To") + "\x00" + field(m, "Date") + "\x00" + hex.EncodeToString(digest[:])
	sum := sha1.Sum([]byte(text))
	ids := []string{hex.EncodeToString(sum[:]) + "@sa_generated"}
	if id := bracketed.FindStringSubmatch(m.Header("Message-Id")); id != nil {
		ids = append(ids, id[1])
	}
	return ids
}

// field is a field's last value with the end of its line, "" if it is not there.
func field(m *mail.Message, name string) string {
	if !m.Has(name) {
		return ""
	}
	return strings.TrimSuffix(m.Header(name), "\n") + "\n"
}
