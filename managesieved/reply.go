package managesieved

import (
	"strconv"
	"strings"
)

// reply is the end of a command (RFC 5804, 1.3).
type reply struct {
	status string // OK, NO or BYE
	code   string // response code without parentheses, or ""
	text   string
	syntax bool         // the command made no sense
	then   func() error // what comes after the answer, if anything
}

func ok(text string) reply        { return reply{status: "OK", text: text} }
func no(code, text string) reply  { return reply{status: "NO", code: code, text: text} }
func bye(code, text string) reply { return reply{status: "BYE", code: code, text: text} }

// String is the reply as it is sent.
func (r reply) String() string {
	s := r.status
	if r.code != "" {
		s += " (" + r.code + ")"
	}
	if r.text != "" {
		s += " " + quote(r.text)
	}
	return s + "\r\n"
}

// maxQuoted is how long a quoted string may be (RFC 5804, 4).
const maxQuoted = 1024

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quote writes a string: quoted where it can be, else as a literal, which has no
// plus sign from a server.
func quote(s string) string {
	if len(s) > maxQuoted || strings.ContainsAny(s, "\r\n\x00") {
		return "{" + strconv.Itoa(len(s)) + "}\r\n" + s
	}
	return `"` + escape.Replace(s) + `"`
}
