package script

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/admin"
	"mtad/pipeline"
)

const letterText = "From: Al <al@example.net>\nTo: bob+x@example.org\nSubject: [dev] Hello\n\nhello\n"

func sieveRun(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	return runOf(t, Sieve(env()), stdin, args...)
}

// Every action is printed as a script writes it.
func TestSieveTest(t *testing.T) {
	letter := file(t, "letter.eml", letterText)
	for _, tt := range []struct {
		script, want string
		args         []string
	}{
		{"", "keep\n", nil},
		{`discard;`, "discard\n", nil},
		{`require "fileinto"; fileinto "Lists";`, `fileinto "Lists"` + "\n", nil},
		{`redirect "a@b.example";`, `redirect "a@b.example"` + "\n", nil},
		{`require ["fileinto", "mailbox", "copy", "imap4flags", "special-use"]; fileinto :copy :create :specialuse "\\Junk" :flags ["\\Seen", "x"] "a \"b\"";`,
			`fileinto :copy :create :specialuse "\\Junk" :flags ["\\Seen", "x"] "a \"b\""` + "\nkeep\n", nil},
		{`require "reject"; reject "no";`, `reject "no"` + "\n", nil},
		{`require "ereject"; ereject "no";`, `ereject "no"` + "\n", nil},
		{`require ["vacation", "fcc"]; vacation :days 2 :subject "s" :fcc "Sent" "t";`, `vacation :seconds 172800 :subject "s" :fcc "Sent" "t"` + "\nkeep\n", nil},
		{`require "enotify"; notify :importance "1" :message "m" "mailto:a@b.example";`, `notify :importance "1" :message "m" "mailto:a@b.example"` + "\nkeep\n", nil},
		{`require ["vnd.dovecot.pipe", "copy"]; pipe :copy :try "p" ["a", "b"];`, `pipe :try :copy "p" "a" "b"` + "\nkeep\n", nil},
		{`require "vnd.dovecot.report"; report :headers_only "abuse" "m" "a@b.example";`, `report :headers_only "abuse" "m" "a@b.example"` + "\nkeep\n", nil},
		{`require "vnd.dovecot.debug"; debug_log "here";`, "# line 1 says: here\nkeep\n", nil},
		{`require "envelope"; if envelope "from" "x@y.example" { discard; }`, "discard\n", []string{"--from", "x@y.example"}},
		{`require "envelope"; if envelope "from" "al@example.net" { discard; }`, "discard\n", nil},
		{`require ["envelope", "subaddress"]; if envelope :detail "to" "x" { discard; }`, "discard\n", nil},
		{`require "environment"; if environment "zone" "north" { discard; }`, "discard\n", []string{"--env", "zone=north"}},
		{`require "environment"; if environment "vnd.dovecot.username" "ann@example.org" { discard; }`, "discard\n", []string{"--auth", "ann@example.org"}},
		{`require "include"; include "other";`, `fileinto "included"` + "\n", nil},
	} {
		path := file(t, "script.sieve", tt.script)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "other.sieve"), []byte(`require "fileinto"; fileinto "included";`), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := sieveRun(t, "", append([]string{"test", path, letter}, tt.args...)...); out != tt.want || code != 0 {
			t.Errorf("%s\ngot %d %s\nwant %s", tt.script, code, out, tt.want)
		}
	}
}

// A vacation answer that manners forbid is shown, and why it is not sent. What
// was returned has nobody to answer, whatever From says.
func TestSieveUnanswered(t *testing.T) {
	script := file(t, "script.sieve", `require ["vacation", "envelope"]; vacation :days 1 "t"; if envelope "from" "" { discard; }`)
	for header, want := range map[string]string{
		"":                               "vacation :seconds 86400 \"t\"\nkeep\n",
		"Return-Path: <>\n":              "vacation :seconds 86400 \"t\"\n# no vacation answer: there is nobody to answer\ndiscard\n",
		"Precedence: bulk\n":             "vacation :seconds 86400 \"t\"\n# no vacation answer: it is bulk mail\nkeep\n",
		"Return-Path: <x-owner@a.net>\n": "vacation :seconds 86400 \"t\"\n# no vacation answer: the sender is no person\nkeep\n",
	} {
		if out, code := sieveRun(t, header+letterText, "test", script, "-"); out != want || code != 0 {
			t.Errorf("%sgot %d %s\nwant %s", header, code, out, want)
		}
	}
	if out, _ := sieveRun(t, "Precedence: bulk\n"+letterText, "test", script, "-", "-o", "json"); !strings.Contains(out, `"unsent": "it is bulk mail"`) {
		t.Errorf("got %s", out)
	}
}

// What is stored is what came: octets that are no text would be changed on the way.
func TestPutUTF8(t *testing.T) {
	for text, want := range map[string]string{"# \xff\nkeep;": "not UTF-8", "# ü\nkeep;": "no server here"} {
		if out, _ := runOf(t, Stored("sieve", env()), text, "put", "ann", "x"); !strings.Contains(out, want) {
			t.Errorf("%q: %s", text, out)
		}
	}
}

// The envelope of a trace is that of the message for the account.
func TestSieveRecall(t *testing.T) {
	event := func(kind pipeline.EventKind, rcpt, reply, note string) pipeline.Event {
		return pipeline.Event{Kind: kind, Rcpt: rcpt, Reply: reply, Note: note}
	}
	for _, c := range []struct {
		events   []pipeline.Event
		from, to string
	}{
		{[]pipeline.Event{event(pipeline.EventMail, "", "", "from <a@x.test>"), event(pipeline.EventMail, "bob@b.test", "250", ""), event(pipeline.EventMail, "ann+l@b.test", "250", "")}, "<a@x.test>", "ann+l@b.test"},
		{[]pipeline.Event{event(pipeline.EventMail, "", "", "from <>"), event(pipeline.EventMail, "alias@b.test", "250", "")}, "<>", "alias@b.test"},
		{[]pipeline.Event{event(pipeline.EventMail, "", "", "from <>"), event(pipeline.EventMail, "x@b.test", "250", ""), event(pipeline.EventMail, "y@b.test", "250", "")}, "<>", ""},
		{[]pipeline.Event{event(pipeline.EventSession, "", "", "made here: redirect of 0x, from <a@x.test> to <ann@b.test>")}, "<a@x.test>", "ann@b.test"},
	} {
		tr := &trial{user: "ann@b.test"}
		tr.recall(admin.Trace{Events: c.events})
		if tr.from != c.from || tr.to != c.to {
			t.Errorf("%+v: from %s to %s", c.events, tr.from, tr.to)
		}
	}
}

func TestSieveTrace(t *testing.T) {
	letter := file(t, "letter.eml", letterText)
	script := file(t, "script.sieve", "require \"variables\";\nif not header :contains \"subject\" [\"x\", \"dev\"] {\n  discard;\n} elsif true {\n  set \"a\" \"b\";\n}\n")
	out, code := sieveRun(t, "", "test", "--trace", script, letter)
	want := `# 2: if
# 2:       "[dev] Hello" :contains "x": no
# 2:       "[dev] Hello" :contains "dev": yes
# 2:     header is true
# 2:   not is false
# 4: elsif
# 4:   true is true
# 5: set "a" "b"
keep
`
	if out != want || code != 0 {
		t.Errorf("got %d\n%s", code, out)
	}
}

func TestSieveJSON(t *testing.T) {
	script := file(t, "script.sieve", `require ["copy", "fileinto"]; fileinto :copy "a";`)
	out, code := sieveRun(t, letterText, "test", "-o", "json", script, "-")
	var got decided
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("%d %v\n%s", code, err, out)
	}
	if len(got.Actions) != 2 || got.Actions[0].Action != "fileinto" || got.Actions[0].Mailbox != "a" || !got.Actions[0].Copy || !got.Actions[1].Implicit {
		t.Errorf("got %+v", got)
	}
}

func TestSieveErrors(t *testing.T) {
	letter := file(t, "letter.eml", letterText)
	good, bad, fails := file(t, "good.sieve", "keep;"), file(t, "bad.sieve", "kep;"), file(t, "fails.sieve", "require \"ihave\";\n\nerror \"so\";")
	events := file(t, "events.sieve", `require "imapsieve"; keep;`)
	nobody := file(t, "nobody.sieve", `require ["enotify", "variables"]; set "n" "ann"; notify "mailto:${n}@";`)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check", good}, 0, "is good"},
		{[]string{"check", bad}, exitData, "did you mean keep?"},
		{[]string{"check", events}, exitData, `there is no extension "imapsieve" here`},
		{[]string{"test", events, letter}, 0, "keep\n"},
		{[]string{"test", nobody, letter}, exitData, "the message is kept"},
		{[]string{"test", bad, letter}, exitData, "can not run"},
		{[]string{"test", fails, letter}, exitData, "line 3: so; the message is kept"},
		{[]string{"test", fails, letter, "-o", "json"}, exitData, `"error": "sieve: line 3: so"`},
		{[]string{"test", good, letter, "-o", "yaml"}, exitUsage, "there are text and json"},
		{[]string{"test", good, letter, "--env", "x"}, exitUsage, "NAME=VALUE"},
		{[]string{"test", good, filepath.Join(t.TempDir(), "none")}, -1, "no such file"},
		{[]string{"testsuite", "../../../plugins/sieve/svtest/testdata/basic.svtest"}, 0, "6 tests, 0 failed"},
		{[]string{"testsuite", "../../../plugins/sieve/svtest/testdata/failing.svtest"}, exitNo, "3 of 5 tests failed"},
		{[]string{"testsuite", good}, 0, "0 tests, 0 failed"},
		{[]string{"testsuite", bad}, exitData, "did you mean keep?"},
		{[]string{"test", good}, -1, "accepts 2 arg"},
	} {
		if out, code := sieveRun(t, "", tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%v: %d %s", tt.args, code, out)
		}
	}
}
