package relay

import (
	"strings"
	"testing"

	"mtad/message"
)

// To a host without SMTPUTF8 goes what has an equal in US-ASCII, and each recipient
// who has none is told so alone.
func TestUTF8(t *testing.T) {
	const no, ok = "553 5.6.7 Host does not take internationalized mail", "250 2.0.0 stored"
	const ascii = "Subject: x\r\n\r\nfor all\r\n"
	const part = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: ü\r\n\r\nx\r\n--b--\r\n"
	for _, c := range []struct {
		name, ext, from, to, text string
		utf8                      bool
		want, lines               string
	}{
		{"asked for and not needed", "", "a@here.test", "x@there.test y@there.test", ascii, true, ok + " | " + ok, "MAIL FROM:<a@here.test>"},
		{"body beyond US-ASCII", "", "a@here.test", "x@there.test", "Subject: x\r\n\r\nü\r\n", true, ok, "BODY=8BITMIME"},
		{"domains", "", "a@bücher.test", "x@grün.test", ascii, true, ok, "MAIL FROM:<a@xn--bcher-kva.test> RCPT TO:<x@xn--grn-ioa.test>"},
		{"one local-part", "", "a@here.test", "ü@there.test y@there.test", ascii, true, no + " | " + ok, "RCPT TO:<y@there.test>"},
		{"every local-part", "", "a@here.test", "ü@there.test", ascii, true, no, ""},
		{"the sender", "", "ü@here.test", "x@there.test", ascii, true, no, ""},
		{"the header", "", "a@here.test", "x@there.test", "Subject: ü\r\n\r\nx\r\n", true, no, ""},
		{"a part's header", "", "a@here.test", "x@there.test", part, true, no, ""},
		{"a header nobody asked for", "", "a@here.test", "x@there.test", "Subject: ü\r\n\r\nx\r\n", false, ok, "BODY=8BITMIME"},
		{"a host that has it", "\r\n250-SMTPUTF8", "ü@here.test", "ü@grün.test", "Subject: ü\r\n\r\nx\r\n", true, ok, "MAIL FROM:<ü@here.test> BODY=8BITMIME SMTPUTF8 RCPT TO:<ü@grün.test>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRemote(t, map[string][]string{"EHLO": {"250-remote\r\n250-PIPELINING" + c.ext + "\r\n250 8BITMIME"}})
			j := newJob(c.text, strings.Fields(c.to)...)
			j.Sender, j.Params.UTF8, j.Message = addr(c.from), c.utf8, message.FromBytes([]byte(c.text))
			j.Route.Hosts = []string{r.addr()}
			if got := deliver(t, client(t, nil), j); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			got := strings.ReplaceAll(r.got(), "\n", " ")
			if !strings.Contains(got, c.lines) || strings.Contains(got, "SMTPUTF8") != (c.ext != "") {
				t.Errorf("said %s", got)
			}
		})
	}
}
