package autoreply

import (
	"testing"

	"mtad/message"
	"mtad/smtp"
)

// Who gets no automatic reply, and why.
func TestRefuse(t *testing.T) {
	const to = "To: bob@example.test\r\n"
	for _, c := range []struct{ sender, header, want string }{
		{"a@x.test", to, ""},
		{"a@x.test", to + "Auto-Submitted: no\r\n", ""},
		{"a@x.test", to + "Auto-Submitted: No (a person did)\r\n", ""},
		{"a@x.test", to + "Auto-Submitted: no; reason=none\r\n", ""},
		{"a@x.test", to + "Auto-Submitted: auto-notified; owner-email=\"a@x.test\"\r\n", "it is an automatic answer itself"},
		{"a@x.test", to + "Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n", "it is an automatic answer itself"},
		{"a@x.test", to + "Auto-Submitted: nonsense\r\n", "it is an automatic answer itself"},
		{"a@x.test", to + "Precedence: first-class\r\nPrecedence: Junk\r\n", "it is bulk mail"},
		{"a@x.test", to + "X-Auto-Response-Suppress: DR, OOF, RN\r\n", "its sender wants no automatic answer"},
		{"a@x.test", to + "X-Auto-Response-Suppress: All\r\n", "its sender wants no automatic answer"},
		{"a@x.test", to + "X-Auto-Response-Suppress: DR, RN\r\n", ""},
		{"a@x.test", to + "List-Id: <x>\r\n", "it came by a list"},
		{"noreply@x.test", to, "the sender is no person"},
		{"NoReply+shop@x.test", to, "the sender is no person"},
		{"shop.no-reply@x.test", to, "the sender is no person"},
		{"do-not-reply@x.test", to, "the sender is no person"},
		{"DoNotReply@x.test", to, "the sender is no person"},
		{"news-bounces+bob=example.test@x.test", to, "the sender is no person"},
		{"owner-news@x.test", to, "the sender is no person"},
		{"bruno-reply@x.test", to, ""}, // is a name
		{"BOB@example.test", to, "it is one's own"},
		{"a@x.test", "To: \"bob@example.test\" <c@x.test>\r\n", "it is not addressed to this account"},
		{"a@x.test", "To: c@x.test (bob@example.test)\r\n", "it is not addressed to this account"},
	} {
		m, err := message.Parse(message.FromBytes([]byte("From: a@x.test\r\n" + c.header + "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		sender, err := smtp.ParseAddress(c.sender)
		if err != nil {
			t.Fatal(err)
		}
		if got := Refuse(m.Header(), sender, []string{"bob@example.test"}); got != c.want {
			t.Errorf("%s\n%sgot %q, want %q", c.sender, c.header, got, c.want)
		}
	}
}
