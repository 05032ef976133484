//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// Mail goes from one server to Postfix, from there to another server, and is
// read: below the three Received fields nothing has changed.
func TestThroughPostfix(t *testing.T) {
	t.Parallel()
	program(t, "postfix")
	far := start(t)
	far.do("domain", "add", "far.test")
	far.do("alias", "add", "@far.test", "carol@example.test")
	addr := mtatest.Postfix(t, local(far.SMTP), "")[0]
	near := start(t, func(s *server, text string) string {
		return replace(local(s.Sink), addr)(s, text)
	})
	carol := far.login("carol")
	for i, text := range []string{"Hello.", ".\n..\n.dots\n", "Gr\xc3\xbc\xc3\x9fe \xff\n\n\n", lines(3 << 20), ""} {
		data := letter("alice@example.test", "x@far.test", fmt.Sprintf("by way of Postfix %d", i), strings.TrimSuffix(text, "\r\n"))
		if i == 3 {
			data = letter("alice@example.test", "x@far.test", "big", "") + text
		}
		check(t, submit(t, local(near.SMTP), "alice@example.test", []string{"x@far.test"}, data))
		msg := carol.await("INBOX", i+1)[i]
		if !strings.HasSuffix(msg, data) {
			t.Errorf("message %d arrived as\n%.2000q", i, msg)
		}
		if n := strings.Count(msg, "\r\nReceived: "); n != 3 {
			t.Errorf("message %d has %d Received fields", i, n)
		}
		mustSay(t, msg, "Return-Path: <alice@example.test>", "(Postfix) with ESMTP", "Delivered-To: carol@example.test")
	}
}
