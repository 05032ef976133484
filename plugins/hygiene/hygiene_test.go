package hygiene

import (
	"fmt"
	"strings"
	"testing"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

func build(body string) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags[0]
	}
	return newFilter(b, pipeline.Env{})
}

// ask has a filter judge a message that came with our Received on top.
func ask(t *testing.T, f pipeline.Filter, text string, p smtp.MailParams) string {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := pipeline.New("p", nil, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	flow := pipe.Open(pipeline.Client{})
	defer flow.Close()
	flow.Begin(1, smtp.Address{}, p)
	flow.SetMessage(m, [][]byte{[]byte("Received: by us\r\n")}, nil)
	out, err := f.Filter(t.Context(), pipeline.Message, flow.View())
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const good = "From: a@b.test\r\nTo: c@d.test\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@b.test>\r\nSubject: x\r\n\r\nbody\r\n"

// Each message has one defect, which the option of that name speaks of.
var malformed = []struct{ option, text, says string }{
	{"no_header", "just text\r\nand more\r\n", "it has no header"},
	{"no_header", "\r\nFrom: a@b.test\r\n", "it has no header"},
	{"broken_header", strings.Replace(good, "Subject", "no field\r\nSubject", 1), "a line of the header is no field"},
	{"broken_header", "From: a@b.test\r\nDate: x\r\nMessage-ID: <1@b.test>\r\nHello.\r\n", "a line of the header is no field"},
	{"broken_header", "From a@b.test Wed Nov 25\r\n" + good, "a line of the header is no field"},
	{"no_body", strings.TrimSuffix(good, "body\r\n"), "it has no body"},
	{"no_body", strings.TrimSuffix(good, "\r\nbody\r\n"), "it has no body"},
	{"no_from", strings.TrimPrefix(good, "From: a@b.test\r\n"), "it has no From field"},
	{"bad_from", strings.Replace(good, "a@b.test", "", 1), "a From field has no address"},
	{"bad_from", strings.Replace(good, "a@b.test", "undisclosed:;", 1), "a From field has no address"},
	{"double_from", "FROM: x@y.test\r\n" + good, "it has 2 From fields"},
	{"double_from", "From : x@y.test\r\nfrom:\tz@y.test\r\n" + good, "it has 3 From fields"},
	{"no_date", strings.Replace(good, "Date", "X-Date", 1), "it has no Date field"},
	{"no_message_id", strings.Replace(good, "Message-ID", "X-ID", 1), "it has no Message-ID field"},
	{"duplicate", "subject: y\r\nCc: a@b.test\r\nCC: a@b.test\r\n" + good, "it has several fields Cc, Subject"},
	{"eight_bit", strings.Replace(good, "Subject: x", "Subject: Gr\xfc\xdfe", 1), "field Subject has octets beyond US-ASCII"},
	{"eight_bit", strings.Replace(good, "a@b.test", "Jürgen <a@b.test>", 1), "field From has octets beyond US-ASCII"},
	{"control", strings.Replace(good, "Subject: x", "Subject: a\x1b[31mb", 1), "field Subject has a control character"},
	{"long_line", strings.Replace(good, "Subject: x", "Subject: "+strings.Repeat("x", 990), 1), "field Subject has a line of more than 998 octets"},
}

func TestDefects(t *testing.T) {
	for _, c := range malformed {
		alone := ""
		for _, o := range options[:len(options)-1] {
			alone += o.Name + " = \"accept\"\n"
		}
		for what, want := range map[string]string{
			accept: "continue",
			score:  fmt.Sprintf("continue; add-score hygiene_%s 2.0 %q", c.option, c.says),
			reject: "reject 550 5.6.0 Malformed message: " + c.says,
		} {
			f, err := build(strings.Replace(alone, c.option+` = "accept"`, fmt.Sprintf("%s = %q", c.option, what), 1))
			mtatest.Check(t, err)
			if got := ask(t, f, c.text, smtp.MailParams{}); got != want {
				t.Errorf("%s = %q of %.80q:\ngot  %s\nwant %s", c.option, what, c.text, got, want)
			}
			if got := ask(t, f, good, smtp.MailParams{}); got != "continue" {
				t.Errorf("%s = %q: a good message is judged %s", c.option, what, got)
			}
		}
	}
}

// The defaults, and what they make of each.
func TestDefaults(t *testing.T) {
	f, err := build("")
	mtatest.Check(t, err)
	for _, c := range malformed {
		want := map[string]string{"double_from": "reject", "no_header": "continue; add", "broken_header": "continue; add", "no_from": "continue; add"}[c.option]
		if got := ask(t, f, c.text, smtp.MailParams{}); want != "" && !strings.HasPrefix(got, want) || want == "" && got != "continue" {
			t.Errorf("%s: %.60q is judged %s", c.option, c.text, got)
		}
	}
}

// Octets beyond US-ASCII are what SMTPUTF8 is for (RFC 6532).
func TestUTF8(t *testing.T) {
	f, err := build(`eight_bit = "reject"`)
	mtatest.Check(t, err)
	var p smtp.MailParams
	p.UTF8 = true
	if got := ask(t, f, strings.Replace(good, "Subject: x", "Subject: ä", 1), p); got != "continue" {
		t.Error(got)
	}
}

func TestConfig(t *testing.T) {
	for _, body := range []string{`no_from = "bounce"`, `points = "x"`, `no_form = "reject"`} {
		if _, err := build(body); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, err := build(body)
		return err
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
