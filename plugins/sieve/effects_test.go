package sieve

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// deliverTo runs bob's script over the test message.
func deliverTo(t *testing.T, s *store, options, script string) (*pipeline.View, pipeline.Trace) {
	t.Helper()
	s.texts["bob@example.org"] = script
	f, err := build("scripts = store()\n"+options, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	fate, v, trace := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f)
	if fate.Refused() {
		t.Fatalf("refused: %v", fate)
	}
	return v, trace
}

func newStore() *store { return &store{texts: map[string]string{}} }

func octets(t *testing.T, m *message.Message) string {
	t.Helper()
	b, err := message.ReadAll(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says fails unless all of the texts are in s.
func says(t *testing.T, s string, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in:\n%s", want, s)
		}
	}
}

// What a script made of the message goes where the script was when it filed it
// (RFC 5293, 6).
func TestEdits(t *testing.T) {
	v, _ := deliverTo(t, newStore(), "", `require ["editheader", "fileinto", "copy"];
		fileinto "as it came"; addheader "X-One" "Grüße"; redirect "a@example.net"; deleteheader "Subject"; addheader :last "X-Two" "2"; keep;`)
	if got := planText(v); got != `file-into "as it came" copy edited; redirect <a@example.net> copy edited; keep` {
		t.Errorf("got %s", got)
	}
	p := v.Plan()
	if got := octets(t, p.Files[0].Message); got != testMail {
		t.Errorf("as it came:\n%s", got)
	}
	one := octets(t, p.Redirects[0].Message)
	says(t, one, "X-One: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Al", "Subject: ")
	kept := octets(t, v.Message())
	says(t, kept, "X-One: ", "X-Two: 2\r\n\r\nbody")
	if strings.Contains(kept, "Subject:") || strings.Contains(one, "X-Two") {
		t.Errorf("kept:\n%s\nredirected:\n%s", kept, one)
	}
}

func TestReplaced(t *testing.T) {
	v, _ := deliverTo(t, newStore(), "", `require "replace"; replace :subject "Gone" "Nothing to see";`)
	says(t, octets(t, v.Message()), "Original-Subject: =?utf-8?q?Gr", "Subject: Gone\r\n", "From: Al", "Content-Type: text/plain; charset=utf-8\r\n\r\nNothing to see")
	v, _ = deliverTo(t, newStore(), "", `require "enclose"; enclose :subject "Warning" :headers ["From", "Message-ID"] "Take care";`)
	says(t, octets(t, v.Message()), "From: Al", "Subject: Warning", "multipart/mixed", "Take care", "message/rfc822", "\r\n\r\n"+testMail)
}

func TestVacation(t *testing.T) {
	const script = `require ["vacation", "fcc", "imap4flags"]; vacation :days 2 :subject "Fort" :handle "h" :fcc "Sent" :flags "\\Seen" "Ich bin nicht da, grüße";`
	v, _ := deliverTo(t, newStore(), "", script)
	p := v.Plan()
	if planText(v) != "keep" || len(p.Responses) != 1 {
		t.Fatalf("plan %s, %v", planText(v), p.Responses)
	}
	re := p.Responses[0]
	if re.To.String() != "sender@example.net" || re.For.Hours() != 48 || !strings.HasPrefix(re.Once, "v") || re.Fcc == nil || re.Fcc.Folder != "Sent" || re.Fcc.Flags[0] != `\Seen` {
		t.Errorf("got %+v", re)
	}
	says(t, string(re.Data), "From: <bob@example.org>", "To: <sender@example.net>", "Subject: Fort", "Auto-Submitted: auto-replied", "gr=C3=BC=C3=9Fe")
	again, _ := deliverTo(t, newStore(), "", script)
	if again.Plan().Responses[0].Once != re.Once {
		t.Error("the same answer has another key")
	}
	// The RFC's manners are those of the room autoreply; that they are asked is shown here.
	v, trace := deliverTo(t, newStore(), "", strings.Replace(script, `"h"`, `"h2" :addresses "x@example.org"`, 1))
	if len(v.Plan().Responses) != 1 || v.Plan().Responses[0].Once == re.Once {
		t.Errorf("%v %v", v.Plan().Responses, trace)
	}
	v, _ = deliverTo(t, newStore(), `vacation_max = "192h"`, strings.Replace(script, ":days 2", ":days 20", 1))
	if got := v.Plan().Responses[0].For.Hours(); got != 192 {
		t.Errorf("for %v hours", got)
	}
	v, _ = deliverTo(t, newStore(), "", `require "vacation-seconds"; vacation :seconds 0 :mime text:
Content-Type: text/html
X-Evil: 1

<b>away</b>
.
;`)
	re = v.Plan().Responses[0]
	says(t, string(re.Data), "Content-Type: text/html\r\n\r\n<b>away</b>", "Subject: =?utf-8?q?Auto:_Gr")
	if re.Once != "" || strings.Contains(string(re.Data), "X-Evil") {
		t.Errorf("%+v\n%s", re, re.Data)
	}
}

func TestDuplicate(t *testing.T) {
	const script = `require "duplicate"; if duplicate :uniqueid "one" :seconds 60 { discard; }`
	s := newStore()
	v, _ := deliverTo(t, s, "", script)
	marks := v.Plan().Marks
	if planText(v) != "keep" || len(marks) != 1 || marks[0].For.Seconds() != 60 {
		t.Fatalf("plan %s, marks %v", planText(v), marks)
	}
	s.marks = []string{marks[0].Key}
	if v, _ = deliverTo(t, s, "", script); planText(v) != "drop" || len(v.Plan().Marks) != 0 {
		t.Errorf("plan %s, marks %v", planText(v), v.Plan().Marks)
	}
	v, _ = deliverTo(t, s, "", strings.Replace(script, ":seconds", ":last :seconds", 1))
	if planText(v) != "drop" || len(v.Plan().Marks) != 1 {
		t.Errorf("with :last: plan %s, marks %v", planText(v), v.Plan().Marks)
	}
}

func TestNotify(t *testing.T) {
	v, _ := deliverTo(t, newStore(), "", `require "enotify"; notify :importance "1" :message "Mail ist da" "mailto:a@example.com,b@example.com?body=look%20here";`)
	res := v.Plan().Responses
	if len(res) != 2 || res[1].To.String() != "b@example.com" {
		t.Fatalf("got %v", res)
	}
	says(t, string(res[0].Data), "Subject: Mail ist da", "To: <a@example.com>", "Auto-Submitted: auto-notified", "X-Priority: 1", "look here")
	v, trace := deliverTo(t, newStore(), "", `require ["enotify", "fileinto"]; if not valid_notify_method "xmpp:a@example.com" { fileinto "x"; } notify "xmpp:a@example.com";`)
	if planText(v) != "keep" { // an error keeps
		t.Errorf("plan %s, %v", planText(v), trace)
	}
}

// TestMailto is the example of RFC 5436, 3, with "enotify" for the "notify" of its
// draft, and what 2.7 says of the fields of a URI.
func TestMailto(t *testing.T) {
	s := newStore()
	s.texts["bob@example.org"] = `require ["enotify", "variables"];
if header :contains "list-id" "knitting.example.com" {
  if header :matches "Subject" "[*] *" {
    notify :message "From ${1} list: ${2}"
        :importance "3"
        "mailto:0123456789@sms.example.net?to=backup@example.com";
  }
}`
	f, err := build("scripts = store()", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, smtp.MailParams{}, "bob@example.org")
	h := v.Message().Header()
	for _, field := range []string{"List-Id: Knitting Mailing List <knitting.example.com>\r\n", "Subject: [Knitting] A new sweater\r\n"} {
		h, _ = h.Without(func(f message.Field) bool { return f.Is("Subject") }).Insert(0, []byte(field))
	}
	_, v, _ = run(t, v.WithRcpts(v.Rcpts(), v.Message().WithHeader(h)), pipeline.Deliver, f)
	res := v.Plan().Responses
	if len(res) != 2 || res[0].To.String() != "0123456789@sms.example.net" || res[1].To.String() != "backup@example.com" {
		t.Fatalf("got %v", res)
	}
	for _, r := range res {
		says(t, string(r.Data), `Auto-Submitted: auto-notified; owner-email="bob@example.org"`, "From: <bob@example.org>",
			"To: <0123456789@sms.example.net>, <backup@example.com>", "Subject: From Knitting list: A new sweater")
	}

	const unsafe = "mailto:a@example.com?cc=c@example.com&from=evil@example.com&auto-submitted=no&received=x&date=x&message-id=x"
	v, _ = deliverTo(t, newStore(), "", `require "enotify"; notify "`+unsafe+`";`)
	res = v.Plan().Responses
	if len(res) != 2 || res[1].To.String() != "c@example.com" {
		t.Fatalf("got %v", res)
	}
	says(t, string(res[0].Data), "From: <bob@example.org>", "Cc: <c@example.com>", "Auto-Submitted: auto-notified")
	if text := strings.ToLower(string(res[0].Data)); strings.Contains(text, "evil") || strings.Contains(text, "received:") || strings.Contains(text, "date: x") {
		t.Errorf("got\n%s", text)
	}

	for test, want := range map[string]string{
		`notify_method_capability "mailto:" "fcc" "yes"`:                    "keep",
		`notify_method_capability "mailto:a@example.com" "online" "maybe"`:  "keep",
		`notify_method_capability "mailto:" "online" ["yes", "maybe","no"]`: "drop",
		`notify_method_capability "xmpp:" "fcc" ["yes", "no"]`:              "drop",
	} {
		if v, _ := deliverTo(t, newStore(), "", `require "enotify"; if `+test+` { keep; } else { discard; }`); planText(v) != want {
			t.Errorf("%s: %s", test, planText(v))
		}
	}
}

func TestReport(t *testing.T) {
	v, _ := deliverTo(t, newStore(), "", `require "vnd.dovecot.report"; report "abuse" "It is spam" "Abuse <abuse@example.net>"; discard;`)
	res := v.Plan().Responses
	if planText(v) != "drop" || len(res) != 1 || res[0].To.String() != "abuse@example.net" {
		t.Fatalf("plan %s, %v", planText(v), res)
	}
	says(t, string(res[0].Data), "report-type=feedback-report", "Feedback-Type: abuse", "It is spam", "Original-Rcpt-To: <bob@example.org>", testMail)
	v, _ = deliverTo(t, newStore(), "", `require "vnd.dovecot.report"; report :headers_only "fraud" "x" "abuse@example.net";`)
	if s := string(v.Plan().Responses[0].Data); !strings.Contains(s, "text/rfc822-headers") || strings.Contains(s, "\r\n\r\nbody") {
		t.Errorf("got\n%s", s)
	}
}

// Two accounts that tell each other of all their mail do not go on for ever.
func TestNoLoop(t *testing.T) {
	for _, script := range []string{
		`require "enotify"; notify "mailto:ann@example.org";`,
		`require "vnd.dovecot.report"; report "abuse" "x" "ann@example.org";`,
		`require "vacation"; vacation :addresses "bob@example.org" "away";`,
	} {
		s := newStore()
		s.texts["bob@example.org"] = script
		f, err := build("scripts = store()", s, nil)
		if err != nil {
			t.Fatal(err)
		}
		v := view(t, smtp.MailParams{}, "bob@example.org")
		h, _ := v.Message().Header().Insert(0, []byte("Auto-Submitted: auto-notified\r\n"))
		v = v.WithRcpts(v.Rcpts(), v.Message().WithHeader(h))
		if _, v, trace := run(t, v, pipeline.Deliver, f); len(v.Plan().Responses) > 0 || !strings.Contains(trace.Events[0].Note, "no ") {
			t.Errorf("%s\n%v %v", script, v.Plan().Responses, trace.Events)
		}
	}
}

func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return path
}

func TestPrograms(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	commands := `commands = { keep = "` + program(t, `cat >"$1"`) + " " + out + `", bad = "` + program(t, "exit 3") + `", upper = "` +
		program(t, `sed 's/^body/BODY/'; echo "$@"`) + `", say = "` + program(t, `read line; echo "got $line $1"`) + `" }`
	v, _ := deliverTo(t, newStore(), commands, `require "vnd.dovecot.pipe"; pipe "keep" "more";`)
	if b, err := os.ReadFile(out); planText(v) != "drop" || err != nil || string(b) != testMail {
		t.Errorf("plan %s, %q %v", planText(v), b, err)
	}
	for script, want := range map[string]string{
		`require "vnd.dovecot.pipe"; pipe "bad"; `:                                                                                                                                    "keep",
		`require "vnd.dovecot.pipe"; pipe :try "bad"; `:                                                                                                                               "keep",
		`require ["vnd.dovecot.pipe", "copy", "fileinto"]; pipe :try :copy "bad"; fileinto "x";`:                                                                                      `file-into "x"; drop`,
		`require ["vnd.dovecot.pipe", "copy", "fileinto"]; pipe :copy "bad"; fileinto "x";`:                                                                                           "keep",
		`require ["vnd.dovecot.execute", "variables", "fileinto"]; if execute :input "hello" :output "o" "say" "x" { fileinto "${o}"; }`:                                              `keep`,
		`require ["vnd.dovecot.execute", "variables", "fileinto"]; if execute :input "hello" :output "o" "say" "x" { if string :matches "${o}" "got hello x*" { fileinto "said"; } }`: `file-into "said"; drop`,
		`require ["vnd.dovecot.execute", "fileinto"]; if not execute "bad" { fileinto "failed"; }`:                                                                                    `file-into "failed"; drop`,
		`require ["vnd.dovecot.filter", "body", "fileinto"]; if filter "upper" "tail" { if body :comparator "i;octet" :contains "BODY" { fileinto "filtered"; } }`:                    `file-into "filtered"; drop`,
	} {
		if v, trace := deliverTo(t, newStore(), commands, script); planText(v) != want {
			t.Errorf("%s\ngot %s, want %s\n%v", script, planText(v), want, trace.Events)
		}
	}
	v, trace := deliverTo(t, newStore(), "", `require "vnd.dovecot.pipe"; pipe "keep";`)
	if planText(v) != "keep" || !strings.Contains(trace.Events[0].Note, "no extension") {
		t.Errorf("without commands: %s %v", planText(v), trace)
	}
}

func TestIncluded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "house.sieve"), []byte(`require "fileinto"; fileinto "house";`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStore()
	s.texts["bob@example.org mine"] = `require "fileinto"; fileinto "mine";`
	script := `require "include"; include :personal "mine"; include :global "house"; include :optional "none";`
	v, trace := deliverTo(t, s, `global = "`+dir+`"`, script)
	if planText(v) != `file-into "mine"; file-into "house"; drop` {
		t.Errorf("got %s %v", planText(v), trace)
	}
	if v, trace := deliverTo(t, s, `global = "`+dir+`"`, `require "include"; include :global :optional "../house";`); planText(v) != "keep" {
		t.Errorf("a name that leads elsewhere: %s %v", planText(v), trace)
	}
	// A script that is included is looked at again when it changes.
	f, err := build("scripts = store()", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.texts["bob@example.org"] = `require "include"; include "mine";`
	for _, folder := range []string{"first", "second"} {
		s.texts["bob@example.org mine"] = `require "fileinto"; fileinto "` + folder + `";`
		if _, v, _ := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f); planText(v) != `file-into "`+folder+`"; drop` {
			t.Errorf("got %s", planText(v))
		}
	}
	// So it is when it was missing or broken, and when it goes.
	const owner = "bob@example.org "
	s.texts["bob@example.org"] = `require ["include", "fileinto"]; fileinto "x"; include "late";`
	for _, c := range [][2]string{
		{"", "keep"}, {"kep;", "keep"}, {`require "fileinto"; fileinto "late";`, `file-into "x"; file-into "late"; drop`}, {"", "keep"},
	} {
		if s.texts[owner+"late"] = c[0]; c[0] == "" {
			delete(s.texts, owner+"late")
		}
		if _, v, trace := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f); planText(v) != c[1] {
			t.Errorf("%q: got %s, want %s\n%v", c[0], planText(v), c[1], trace.Events)
		}
	}
}

// A store that can not be asked for what a script includes is a fault, and
// forgotten as soon as it can be.
func TestIncludeFault(t *testing.T) {
	s := newStore()
	s.texts["bob@example.org"], s.texts["bob@example.org mine"] = `require "include"; include "mine";`, "discard;"
	f, err := build("scripts = store()", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.named = errors.New("locked")
	if fate, _, trace := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f); fate.Action != pipeline.TempFail || !strings.Contains(trace.Events[0].Err, "locked") {
		t.Errorf("%v %v", fate, trace.Events)
	}
	s.named = nil
	if _, v, _ := run(t, view(t, smtp.MailParams{}, "bob@example.org"), pipeline.Deliver, f); planText(v) != "drop" {
		t.Errorf("got %s", planText(v))
	}
}

func TestFolders(t *testing.T) {
	for script, want := range map[string]string{
		`require ["special-use", "fileinto"]; fileinto :specialuse "\\Junk" "Spam";`:                    `file-into "Rubbish"; drop`,
		`require ["special-use", "fileinto"]; fileinto :specialuse "\\Junk" "Bulk";`:                    `file-into "Bulk"; drop`,
		`require ["special-use", "fileinto"]; fileinto :specialuse "\\Sent" "Spam";`:                    `file-into "Spam"; drop`,
		`require ["mailboxid", "fileinto"]; fileinto :mailboxid "F7" "Old";`:                            `file-into "Archive"; drop`,
		`require ["mailboxid", "fileinto"]; fileinto :mailboxid "F8" "Old";`:                            `file-into "Old"; drop`,
		`require ["mailboxid"]; if mailboxidexists "F7" { discard; }`:                                   `drop`,
		`require ["mailbox"]; if mailboxexists ["Archive"] { discard; }`:                                `drop`,
		`require ["mailbox"]; if mailboxexists ["Archive", "x"] { discard; }`:                           `keep`,
		`require ["special-use"]; if specialuse_exists "\\Junk" { discard; }`:                           `drop`,
		`require ["special-use"]; if specialuse_exists "Archive" "\\Junk" { discard; }`:                 `keep`,
		`require ["environment"]; if environment "vnd.dovecot.username" "bob@example.org" { discard; }`: `drop`,
	} {
		if v, trace := deliverTo(t, newStore(), "", script); planText(v) != want {
			t.Errorf("%s\ngot %s, want %s\n%v", script, planText(v), want, trace.Events)
		}
	}
}

func TestLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "friends")
	if err := os.WriteFile(path, []byte("# friends\nal@example.net\nbo@example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("money\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options := `lists = { friends = "` + path + `", words = "` + words + `" }`
	for script, want := range map[string]string{
		`require "extlists"; if address :list "from" "friends" { discard; }`:                                "drop",
		`require "extlists"; if address :list "to" "friends" { discard; }`:                                  "keep",
		`require "extlists"; if valid_ext_list ["friends", "foes"] { discard; }`:                            "keep",
		`require "extlists"; redirect :list "friends";`:                                                     "redirect <al@example.net>; redirect <bo@example.net>; drop",
		`require "extlists"; redirect :list "words";`:                                                       "keep",
		`require "extlists"; redirect :list ":addrbook:friends";`:                                           "redirect <al@example.net>; redirect <bo@example.net>; drop",
		`require "extlists"; if valid_ext_list ":AddrBook:Default" { discard; }`:                            "drop",
		`require "extlists"; if header :list "from" ":addrbook:default" { discard; }`:                       "keep",
		`require "extlists"; discard; if header :list "from" "foes" { stop; }`:                              "keep",
		`require "extlists"; redirect :list "foes";`:                                                        "keep",
		`require "extlists"; if address :list "from" "urn:ietf:params:sieve:addrbook:friends" { discard; }`: "drop",
	} {
		if v, trace := deliverTo(t, newStore(), options, script); planText(v) != want {
			t.Errorf("%s\ngot %s, want %s\n%v", script, planText(v), want, trace.Events)
		}
	}
}

// A script that fails tells its owner, once a day.
func TestErrorNote(t *testing.T) {
	v, _ := deliverTo(t, newStore(), "", "require \"ihave\";\nerror \"so\";")
	res := v.Plan().Responses
	if planText(v) != "keep" || len(res) != 1 || res[0].To != bob() || res[0].For.Hours() != 24 || res[0].Once == "" {
		t.Fatalf("plan %s, %+v", planText(v), res)
	}
	says(t, string(res[0].Data), "To: <bob@example.org>", "sieve: line 2: so", "Auto-Submitted: auto-generated")
}
