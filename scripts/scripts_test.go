// Package scripts holds ready-made Lua rules. Each says at its top what it does
// and where it belongs; the tests here run them.
package scripts

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua"
	"mtad/smtp"
)

// scene is what a script is asked about.
type scene struct {
	stage  pipeline.Stage
	mail   string // with line ends of Unix
	sender string
	rcpt   string
	user   string // logged in
	auth   []pipeline.AuthResult
	kv     kv
	now    string // 2026-12-25T12:00:00Z
}

// kv is state in memory.
type kv map[string]string

func (m kv) Get(_ context.Context, k string) ([]byte, bool, error) {
	v, ok := m[k]
	return []byte(v), ok, nil
}

func (m kv) Set(_ context.Context, k string, v []byte, _ time.Duration) error {
	m[k] = string(v)
	return nil
}

func (m kv) Add(_ context.Context, k string, n int64, _ time.Duration) (int64, error) {
	old, _ := strconv.ParseInt(m[k], 10, 64)
	m[k] = strconv.FormatInt(old+n, 10)
	return old + n, nil
}

func address(t *testing.T, s string) smtp.Address {
	t.Helper()
	a, err := smtp.ParseAddress(s)
	if err != nil && s != "" {
		t.Fatal(err)
	}
	return a
}

// ask asks a script, and applies what it says.
func ask(t *testing.T, script string, s scene) *pipeline.Flow {
	t.Helper()
	b, diags := config.ParseBlock(`script = "`+script+`"`, config.BlockType{Options: lua.Kind(nil).Options})
	if diags != nil {
		t.Fatal(diags)
	}
	now := time.Date(2026, 12, 25, 12, 0, 0, 0, time.UTC)
	if s.now != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, s.now); err != nil {
			t.Fatal(err)
		}
	}
	if s.kv == nil {
		s.kv = kv{}
	}
	f, err := lua.Kind(nil).New(b, pipeline.Env{KV: s.kv, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(s.mail, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	c := pipeline.Client{Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25")}
	if s.user != "" {
		c.Auth = &pipeline.Login{User: s.user}
	}
	if s.rcpt == "" {
		s.rcpt = "bob@example.org"
	}
	rcpt := pipeline.Recipient{ID: 1, Addr: address(t, s.rcpt), Class: pipeline.Local}
	v := pipeline.NewView(c, pipeline.Mailing{Sender: address(t, s.sender), Rcpts: []pipeline.Recipient{rcpt}}, m)
	given := giver(s.auth)
	p, err := pipeline.New("test", []*pipeline.Step{{Name: "given", Filter: given}, {Name: script, Kind: "lua", Filter: f, OnError: pipeline.TempFail}}, pipeline.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	flow := p.OpenView(v)
	t.Cleanup(flow.Close)
	if s.stage == pipeline.Deliver || s.stage == pipeline.Rcpt {
		flow.ForRcpt(1, smtp.Address{Local: "bob", Domain: "example.org"})
	}
	flow.Run(t.Context(), s.stage)
	return flow
}

// giver is the filters before a script: it gives results.
type giver []pipeline.AuthResult

func (giver) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (g giver) Filter(context.Context, pipeline.Stage, *pipeline.View) (v pipeline.Verdict, err error) {
	for _, r := range g {
		v.Mods = append(v.Mods, pipeline.AddAuthResult{Result: r})
	}
	return v, nil
}

// said is what the script said, and did.
func said(t *testing.T, f *pipeline.Flow) string {
	t.Helper()
	events := f.Trace().Events
	if len(events) == 0 {
		t.Fatal("it was not asked")
	}
	e := events[len(events)-1]
	out := strings.TrimSpace(e.Action + " " + e.Reply)
	for _, m := range e.Mods {
		out += "; " + m
	}
	if e.Err != "" {
		out += "; error " + e.Err
	}
	return out
}

var pass = []pipeline.AuthResult{{Method: "dkim", Result: "pass"}}

const (
	attached = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Disposition: attachment; filename=\"%s\"\n\nx\n--b--\n"
	wallet   = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
)

func TestScripts(t *testing.T) {
	tested := map[string]bool{"procmail.lua": true, "disclaimer.lua": true} // below
	known := kv{"sfrom:bob@example.org\x00ann@a.test": "="}
	busy := kv{"kaccount:ann@example.org": "200", "kauto:bob@example.org:robot@a.test": "10"}
	for _, c := range []struct {
		script string
		scene  scene
		want   string
	}{
		{"lists.lua", scene{stage: pipeline.Deliver, mail: "List-Id: Go Nuts <golang-nuts.googlegroups.com>\n\n"}, `continue; file-into "Lists/golang-nuts"`},
		{"lists.lua", scene{stage: pipeline.Deliver, mail: "List-Unsubscribe: <mailto:u@example.org>\n\n"}, `continue; file-into "Newsletters"`},
		{"lists.lua", scene{stage: pipeline.Deliver, mail: "List-Unsubscribe: <mailto:u@example.org>\nIn-Reply-To: <a@b>\n\n"}, "continue"},
		{"lists.lua", scene{stage: pipeline.Deliver, mail: "List-Id: <../../x>\n\n"}, "continue"},
		{"attachments.lua", scene{stage: pipeline.Message, mail: fmt.Sprintf(attached, "Invoice.PDF.exe")}, "reject 554 5.7.1 Programs are not taken here: Invoice.PDF.exe"},
		{"attachments.lua", scene{stage: pipeline.Message, mail: fmt.Sprintf(attached, "exe.pdf")}, "continue"},
		{"impostor.lua", scene{stage: pipeline.Message, mail: "From: \"Jane Director\" <jane@evil.test>\n\n"}, `continue; add-score impostor 8.0 "jane director from evil.test"`},
		{"impostor.lua", scene{stage: pipeline.Message, mail: "From: \"Jane Director\" <jane@example.org>\n\n"}, "continue"},
		{"plus.lua", scene{stage: pipeline.Deliver, rcpt: "bob+Shop@example.org", mail: "\n"}, `continue; file-into "Shopping"`},
		{"plus.lua", scene{stage: pipeline.Deliver, rcpt: "bob+trip-2026@example.org", mail: "\n"}, `continue; file-into "Plus/trip-2026"`},
		{"plus.lua", scene{stage: pipeline.Deliver, rcpt: "\"bob+../x\"@example.org", mail: "\n"}, "continue"},
		{"plus.lua", scene{stage: pipeline.Deliver, rcpt: "bob@example.org", mail: "\n"}, "continue"},
		{"firsttime.lua", scene{stage: pipeline.Message, mail: "From: ann@a.test\n\n", auth: pass}, `continue; tag first-time; add-score first_time 1.0 "ann@a.test"; add-header X-First-Time-Sender: yes`},
		{"firsttime.lua", scene{stage: pipeline.Message, mail: "From: ann@a.test\n\n", auth: pass, kv: known}, "continue"},
		{"firsttime.lua", scene{stage: pipeline.Message, mail: "From: ann@a.test\n\n", kv: known}, `continue; tag first-time; add-score first_time 1.0 "ann@a.test"; add-header X-First-Time-Sender: unproven`},
		{"ratelimit.lua", scene{stage: pipeline.Rcpt, mail: "\n", user: "cy@example.org", kv: busy}, "continue"},
		{"ratelimit.lua", scene{stage: pipeline.Rcpt, mail: "\n", user: "ann@example.org", kv: busy}, "tempfail 450 4.7.1 Too many recipients in an hour, try again later"},
		{"autoreply.lua", scene{stage: pipeline.Deliver, sender: "ann@a.test", mail: "From: ann@a.test\nTo: bob@example.org\n\n"}, "continue; respond vacation to <ann@a.test>"},
		{"autoreply.lua", scene{stage: pipeline.Deliver, sender: "ann@a.test", mail: "From: ann@a.test\nTo: bob@example.org\n\n", now: "2026-11-01T00:00:00Z"}, "continue"},
		{"autoreply.lua", scene{stage: pipeline.Deliver, sender: "ann@a.test", mail: "From: ann@a.test\nTo: list@a.test\n\n"}, "continue"},
		{"autoreply.lua", scene{stage: pipeline.Deliver, sender: "robot@a.test", mail: "From: robot@a.test\nTo: bob@example.org\nAuto-Submitted: auto-replied\n\n"}, "continue"},
		{"autoreply.lua", scene{stage: pipeline.Deliver, sender: "robot@a.test", mail: "From: robot@a.test\nTo: bob@example.org\nAuto-Submitted: auto-replied\n\n", kv: busy}, `continue; file-into "Automatic"`},
		{"subject.lua", scene{stage: pipeline.Message, mail: "From: ann@a.test\nSubject: hi\n\n"}, "continue; set-header Subject: [external] hi"},
		{"subject.lua", scene{stage: pipeline.Message, mail: "From: ann@a.test\nSubject: [external] hi\n\n"}, "continue"},
		{"subject.lua", scene{stage: pipeline.Message, user: "bob@example.org", mail: "From: bob@example.org\nSubject: Re: [external] Re: [external] hi\n\n"}, "continue; set-header Subject: Re: Re: hi"},
		{"quarantine.lua", scene{stage: pipeline.Message, mail: "Subject: Your password expired\n\n"}, `continue; quarantine "password in the subject"; tag quarantine=password`},
		{"quarantine.lua", scene{stage: pipeline.Message, mail: "Subject: hi\n\nSend Bitcoin to\n" + wallet + " now\n"}, `continue; quarantine "bitcoin in part 1"; tag quarantine=bitcoin`},
		{"quarantine.lua", scene{stage: pipeline.Message, mail: "Subject: hi\n\nmy password is safe\n"}, "continue"},
	} {
		tested[c.script] = true
		if got := said(t, ask(t, c.script, c.scene)); got != c.want {
			t.Errorf("%s, %q: %s; want %s", c.script, c.scene.mail, got, c.want)
		}
	}
	files, err := filepath.Glob("*.lua")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !tested[f] {
			t.Errorf("%s has no test", f)
		}
		if !strings.Contains(string(readme), "["+f+"]("+f+")") {
			t.Errorf("README.md does not tell of %s", f)
		}
	}
}

// A disclaimer is where a reader finds it, or the trace says why it is not.
func TestDisclaimer(t *testing.T) {
	const text = "This message is for its recipient. If that is not you, please delete it."
	for _, c := range []struct{ mail, tag, in string }{
		{"Subject: x\n\nhello\n", "yes", "text/plain"},
		{"Subject: x\n\nhello", "yes", "text/plain"},
		{"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe\n", "yes", "text/plain"},
		{"Content-Type: multipart/mixed; boundary=\"B 1\"\n\n--B 1\n\nhi\n--B 1\nContent-Type: application/pdf\n\nx\n--B 1--\n", "yes", "text/plain"},
		{"DKIM-Signature: v=1\n\nhello\n", "no: the message has a DKIM signature", ""},
		{"Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n", "no: the message is signed", ""},
		{"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n", "no: the message is encrypted", ""},
		{"Subject: x\n\n-----BEGIN PGP SIGNED MESSAGE-----\n", "no: the text is signed or encrypted with OpenPGP", ""},
		{"Content-Type: text/html\n\n<p>x\n", "no: there is no place for text in text/html, 7bit", ""},
		{"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\neA==\n", "no: there is no place for text in text/plain, base64", ""},
		{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", "no: its parts have no end", ""},
		{"Subject: x\n\n" + strings.Repeat("long line of text\n", 70000), "no: the message is too large", ""},
	} {
		f := ask(t, "disclaimer.lua", scene{stage: pipeline.Message, user: "bob@example.org", mail: c.mail})
		if tag, _ := f.View().Tag("disclaimer"); tag != c.tag {
			t.Errorf("%.80q: %q; want %q; %s", c.mail, tag, c.tag, said(t, f))
		}
		m := f.View().Message()
		root, err := m.Structure()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		root.Walk(func(p *message.Part) bool {
			if p.Type == "text" {
				s, err := m.Text(p, 1<<20)
				found = found || err == nil && strings.Contains(s, text)
			}
			return true
		})
		if found != (c.in != "") {
			t.Errorf("%.80q: found %v", c.mail, found)
		}
		if c.in == "" {
			continue
		}
		again := ask(t, "disclaimer.lua", scene{stage: pipeline.Message, user: "bob@example.org", mail: strings.ReplaceAll(string(octets(t, m)), "\r\n", "\n")})
		if got := said(t, again); got != "continue" {
			t.Errorf("%.80q gets another: %s", c.mail, got)
		}
	}
	if got := said(t, ask(t, "disclaimer.lua", scene{stage: pipeline.Message, mail: "\nx\n"})); got != "continue" {
		t.Errorf("mail from outside: %s", got)
	}
}

func octets(t *testing.T, m *message.Message) []byte {
	t.Helper()
	b, err := message.ReadAll(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// letters are mails for procmailrc and its translation, and the folders that both
// put them into; "" is the default.
var letters = []struct {
	mail string
	want []string
}{
	{"From: ann@a.test\nTo: bob@example.org\nSubject: hi\n\nhello\n", []string{""}},
	{"From: The Boss <BOSS@example.com>\nTo: bob@example.org\nSubject: hi\n\nhello\n", []string{"", "boss-copies"}},
	{"From: boss@example.com\nX-Spam-Flag: yes\nSubject: hi\n\nhello\n", []string{"boss-copies", "junk"}},
	{"From: a@a.test\nX-Spam-Flag: NO\nSubject: hi\n\nhello\n", []string{""}},
	{"From: a@a.test\nList-Id: Go <golang-nuts.x.test>\nX-Spam-Flag: NO\n\nunsubscribe\n", []string{"lists-golang-nuts"}},
	{"From: a@a.test\nList-Id: none\n\nhello\n", []string{""}},
	{"From: a@a.test\nTo: x@y.test, Sales <sales@example.org>\n\nhello\n", []string{"sales"}},
	{"From: a@a.test\nCc: sales@example.org\n\nhello\n", []string{"sales"}},
	{"From: a@a.test\nTo: sales@example.org\nPrecedence: bulk\n\nhello\n", []string{""}},
	{"From: a@a.test\nTo: presales@example.org\n\nto unsubscribe, write\n", []string{"newsletters"}},
	{"From: a@a.test\nSubject: Summer SALE\n\nto unsubscribe, write\n", nil},
	{"From: a@a.test\nSubject: Summer sale\n\nUNSUBSCRIBE\n" + strings.Repeat("long\n", 5000), []string{""}},
	{"From: a@a.test\nSubject: unsubscribe\n\nhello\n", []string{""}},
}

// What procmail.lua does with them.
func TestTranslation(t *testing.T) {
	for _, l := range letters {
		if got := filed(t, l.mail); !slices.Equal(got, l.want) {
			t.Errorf("%.100q: %q; want %q", l.mail, got, l.want)
		}
	}
}

// filed are the folders that procmail.lua chooses.
func filed(t *testing.T, mail string) []string {
	t.Helper()
	plan := ask(t, "procmail.lua", scene{stage: pipeline.Deliver, sender: "a@a.test", mail: mail}).View().Plan()
	var out []string
	if plan.Keeps() {
		out = append(out, "")
	}
	for _, f := range plan.Files {
		out = append(out, f.Folder)
	}
	slices.Sort(out)
	return out
}

// What procmail itself does with them.
func TestProcmail(t *testing.T) {
	procmail := mtatest.Program(t, "procmail")
	rc, err := os.ReadFile("testdata/procmailrc")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		dir := t.TempDir()
		mtatest.Write(t, filepath.Join(dir, "rc"), "MAILDIR="+dir+"\nDEFAULT="+dir+"/default\nORGMAIL="+dir+"/default\n"+string(rc))
		if err := os.Chmod(filepath.Join(dir, "rc"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := mtatest.Run(t, l.mail, dir, procmail, "-m", filepath.Join(dir, "rc")); code != 0 {
			t.Fatalf("procmail: %d\n%s", code, out)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			switch f.Name() {
			case "rc":
			case "default":
				got = append(got, "")
			default:
				got = append(got, f.Name())
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, l.want) {
			t.Errorf("%.100q: procmail %q; the translation %q", l.mail, got, l.want)
		}
	}
}
