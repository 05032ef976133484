//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// seed is the dialogue that every mail course begins with: no brackets, no
// header at all.
const seed = `set timeout 20
spawn telnet 127.0.0.1 PORT
proc say {line code} {
	send -- "$line\r"
	expect {
		-re "\n$code \[^\n\]*\n" {}
		timeout { puts "no $code after $line"; exit 1 }
		eof { puts "closed after $line"; exit 1 }
	}
}
expect -re "\n220 \[^\n\]*\n"
say "helo localhost" 250
say "mail from:root@localhost" 250
say "rcpt to:root@localhost" 250
say "data" 354
send -- "Hello from telnet.\rThe second line.\r"
say "." 250
say "quit" 221
expect eof
`

func TestSeedDialogue(t *testing.T) {
	t.Parallel()
	expect := program(t, "expect")
	program(t, "telnet")
	s := start(t)
	script := filepath.Join(s.dir, "seed.exp")
	write(t, script, strings.Replace(seed, "PORT", fmt.Sprint(s.SMTP), 1))
	out := must(t, expect, script)
	id := idIn(t, out)

	msg := s.one("alice")
	if b := body(msg); b != "Hello from telnet.\r\nThe second line.\r\n" {
		t.Errorf("body is %q in\n%s", b, msg)
	}
	if r := field(msg, "Return-Path"); r != "<root@localhost>" {
		t.Errorf("Return-Path: %s", r)
	}
	s.says(id, "<root@localhost>", "stored in INBOX as UID 1")
}
