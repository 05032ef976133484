package rewrite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

func build(kind pipeline.Kind, body string) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: kind.Options})
	if diags != nil {
		return nil, diags[0]
	}
	return kind.New(b, pipeline.Env{})
}

// mail is what a filter is asked about.
type mail struct {
	from string
	to   []string
	text string
}

const header = "From: Web Server <www@web1.example.test>,\r\n\t(dev) dev@web1.example.test\r\nTo: Bob <bob+x@old.test>, undisclosed: carol@far.test;\r\n" +
	"Cc: \"bob@old.test\" <root@web1.example.test>\r\nResent-From: www@web1.example.test\r\nSubject: bob@old.test\r\nReply-To: none\r\n\r\nbob@old.test\r\n"

// run has the filter change a message, and says what it is then.
func run(t *testing.T, f pipeline.Filter, m mail) (string, error) {
	t.Helper()
	pipe, err := pipeline.New("p", []*pipeline.Step{{Name: "rewrite", Filter: f, OnError: pipeline.TempFail}}, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pipe.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	flow := pipe.Open(pipeline.Client{})
	defer flow.Close()
	from, err := smtp.ParseAddress(m.from)
	if m.from == "" {
		from, err = smtp.Address{}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	flow.Begin(1, from, smtp.MailParams{})
	for _, to := range m.to {
		word, params, _ := strings.Cut(to, " ")
		a, err := smtp.ParseAddress(word)
		if err != nil {
			t.Fatal(err)
		}
		p, err := smtp.ParseRcptParams(params, func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		flow.AddRcpt(pipeline.Recipient{Addr: a, Params: p})
	}
	parsed, err := message.Parse(message.FromBytes([]byte(m.text)))
	if err != nil {
		t.Fatal(err)
	}
	flow.SetMessage(parsed, nil, nil)
	fate := flow.Run(t.Context(), pipeline.Message)
	if fate.Refused() {
		return "", fmt.Errorf("%s", fate.Reply)
	}
	v := flow.View()
	var b strings.Builder
	fmt.Fprintf(&b, "%s", v.Sender().Path())
	for _, r := range v.Rcpts() {
		fmt.Fprintf(&b, " %s", r.Addr.Path())
		for _, n := range r.Params.Notify {
			fmt.Fprintf(&b, " %s", n)
		}
		if r.Params.OriginalRecipient != "" {
			fmt.Fprintf(&b, " for %s", r.Params.OriginalRecipient)
		}
	}
	b.WriteString("\n")
	text, err := message.ReadAll(v.Message().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.SplitAfter(string(text), "\r\n") {
		if !strings.Contains(header, line) {
			b.WriteString(strings.ReplaceAll(line, "\r\n", "\n"))
		}
	}
	return b.String(), nil
}

func TestRewrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "canonical")
	if err := os.WriteFile(file, []byte("bob@old.test robert@new.test\nwww web@example.test\nweb@example.test webmaster@example.test\n@web1.example.test @web.example.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mail{"www@web1.example.test", []string{"bob+x@old.test NOTIFY=SUCCESS", "bob@old.test ORCPT=rfc822;first@x.test", "carol@far.test"}, header}
	for body, want := range map[string]string{
		"": "<www@web1.example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n",
		`canonical_maps = "file:` + file + `"`: "<www@web.example.test> <carol@far.test> <robert+x@new.test> SUCCESS for bob+x@old.test <robert@new.test> for first@x.test\n" +
			"From: Web Server <www@web.example.test>,\n\t(dev) dev@web.example.test\nTo: Bob <robert+x@new.test>, undisclosed: carol@far.test;\n" +
			"Cc: \"bob@old.test\" <root@web.example.test>\nResent-From: www@web.example.test\n",
		`canonical_maps = "file:` + file + `"` + "\ncanonical_classes = [\"header_recipient\"]": "<www@web1.example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n" +
			"To: Bob <robert+x@new.test>, undisclosed: carol@far.test;\nCc: \"bob@old.test\" <root@web.example.test>\n",
		`canonical_maps = "file:` + file + `"` + "\ncanonical_classes = [\"envelope_sender\"]\norigin = \"web1.example.test\"": "<webmaster@example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n",
		`sender_canonical_maps = { "www@web1.example.test" = "site", "@old.test" = "no@x.test" }`: "<site@web1.example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n" +
			"From: Web Server <site@web1.example.test>,\nResent-From: site@web1.example.test\n",
		`recipient_canonical_maps = { "@old.test" = "@new.test" }`: "<www@web1.example.test> <carol@far.test> <bob+x@new.test> SUCCESS for bob+x@old.test <bob@new.test> for first@x.test\n" +
			"To: Bob <bob+x@new.test>, undisclosed: carol@far.test;\n",
		"masquerade_domains = [\"!web2.example.test\", \"example.test\"]\nmasquerade_exceptions = [\"root\"]": "<www@example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n" +
			"From: Web Server <www@example.test>,\n\t(dev) dev@example.test\nResent-From: www@example.test\n",
		"masquerade_domains = [\"!web1.example.test\", \"example.test\"]": "<www@web1.example.test> <bob+x@old.test> SUCCESS <bob@old.test> for first@x.test <carol@far.test>\n",
	} {
		f, err := build(Kind(), body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got, err := run(t, f, m); err != nil || got != want {
			t.Errorf("%s:\n%s%v\nwant\n%s", body, got, err, want)
		}
	}
	f, err := build(Kind(), `canonical_maps = { "a@b.test" = "b@b.test", "b@b.test" = "a@b.test" }`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := run(t, f, mail{"a@b.test", []string{"x@y.test"}, "Subject: x\r\n\r\n"}); err != nil || !strings.HasPrefix(got, "<a@b.test>") {
		t.Errorf("a circle: %q, %v", got, err)
	}
	if got, err := run(t, f, mail{"", []string{"x@y.test"}, "Subject: x\r\n\r\n"}); err != nil || !strings.HasPrefix(got, "<> ") {
		t.Errorf("the null sender: %q, %v", got, err)
	}
}

func TestBcc(t *testing.T) {
	f, err := build(BccKind(), `
always_bcc         = ["all@arch.test"]
sender_bcc_maps    = { "@web1.example.test" = "out@arch.test" }
recipient_bcc_maps = { "bob@old.test" = "in@arch.test", "@far.test" = "all@arch.test" }`)
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"www@web1.example.test": "<www@web1.example.test> <bob+x@old.test> <c@far.test> <all@arch.test> NEVER <out@arch.test> NEVER <in@arch.test> NEVER\n",
		"":                      "<> <bob+x@old.test> <c@far.test> <all@arch.test> NEVER <in@arch.test> NEVER\n",
	} {
		got, err := run(t, f, mail{from, []string{"bob+x@old.test", "c@far.test"}, "Subject: x\r\n\r\n"})
		if got, _, _ = strings.Cut(got, "Subject"); err != nil || got != want {
			t.Errorf("from %q: %q, %v; want %q", from, got, err, want)
		}
	}
}

// What can not be asked, or leads to nonsense, is a fault: the mail comes again.
func TestFaults(t *testing.T) {
	for body, kind := range map[string]pipeline.Kind{
		`canonical_maps = "tcp:127.0.0.1:1"`: Kind(), `canonical_maps = { "a@b.test" = "no address" }`: Kind(),
		`sender_bcc_maps = "tcp:127.0.0.1:1"`: BccKind(), `recipient_bcc_maps = { "x@y.test" = "no address" }`: BccKind(),
	} {
		f, err := build(kind, body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := run(t, f, mail{"a@b.test", []string{"x@y.test"}, "Subject: x\r\n\r\n"}); err == nil || !strings.HasPrefix(err.Error(), "451") {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	for body, want := range map[string]string{
		`canonical_maps = "word"`: "is no table", `canonical_maps = store()`: "store() has no such table", `canonical_maps = "file:/nonexistent"`: "no such file",
		`masquerade_domains = ["a b"]`: "no domain name", `canonical_classes = ["all"]`: "canonical_classes",
	} {
		if _, err := build(Kind(), body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := build(BccKind(), `always_bcc = ["archive"]`); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("%v", err)
	}
}

func TestReadme(t *testing.T) {
	text := mtatest.Readme(t, options)
	mtatest.Readme(t, bccOptions)
	dir := t.TempDir()
	for _, name := range []string{"canonical", "recipients", "recipient_bcc"} {
		mtatest.Check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	mtatest.Examples(t, text, func(kind, body string) error {
		_, err := build(map[string]pipeline.Kind{"rewrite": Kind(), "bcc": BccKind()}[kind], strings.ReplaceAll(body, "/etc/mtad", dir))
		return err
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
	mtatest.Check(t, config.CheckStruct(bccOptions, &bccSettings{}))
}
