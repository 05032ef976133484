package spamscore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
	"mtad/spam"
	"mtad/spam/bayes"
)

func build(body string) (pipeline.Filter, error) { return buildWith(body, nil, nobody{}) }

func buildWith(body string, l spam.Learned, u Users) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags[0]
	}
	z, err := dns.ParseZone(strings.NewReader(records))
	if err != nil {
		return nil, err
	}
	return newFilter(b, pipeline.Env{Now: time.Now, DNS: z}, l, u, &spam.Engines{})
}

// nobody has preferences.
type nobody struct{}

func (nobody) Preferences(context.Context, smtp.Address) (text, version string, ok bool, err error) {
	return "", "", false, nil
}

const records = `
7.100.51.198.list.test   A 127.0.0.2
7.100.51.198.closed.test A 127.255.255.254
7.100.51.198.broken.test FAIL
7.100.51.198.asn.test    TXT "64500" "198.51.100.0" "24"
`

// results is a filter that has found results of authentication.
type results []pipeline.AuthResult

func (results) Stages() pipeline.Stages { return pipeline.At(pipeline.Mail) }

func (r results) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	var v pipeline.Verdict
	for _, a := range r {
		v.Mods = append(v.Mods, pipeline.AddAuthResult{Result: a})
	}
	return v, nil
}

// run sends a message through the filter.
func run(t *testing.T, f pipeline.Filter, found results, text string) string {
	t.Helper()
	p, err := pipeline.New("p", []*pipeline.Step{{Name: "auth", Filter: found, OnError: pipeline.TempFail}}, pipeline.Env{})
	mtatest.Check(t, err)
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(text, "\n", "\r\n"))))
	mtatest.Check(t, err)
	flow := p.Open(pipeline.Client{Hostname: "mx.test", Helo: "client.test", Addr: netip.MustParseAddrPort("198.51.100.7:25")})
	defer flow.Close()
	sender, err := smtp.ParseAddress("bounce@example.com")
	mtatest.Check(t, err)
	flow.Begin(1, sender, smtp.MailParams{})
	flow.Run(t.Context(), pipeline.Mail)
	flow.SetMessage(m, [][]byte{flow.View().Received("x", time.Now(), false)}, nil)
	stage, view := pipeline.Message, flow.View()
	if f.Stages() == pipeline.At(pipeline.Deliver) {
		stage, view = pipeline.Deliver, view.AtRcpt(1, smtp.Address{Local: "Alice", Domain: "example.test"})
	}
	v, err := f.Filter(t.Context(), stage, view)
	mtatest.Check(t, err)
	return v.Note + "; " + v.String()
}

func TestVerdicts(t *testing.T) {
	f, err := build(`rules = ["testdata/local.cf"]`)
	mtatest.Check(t, err)
	fail := pipeline.AuthResult{Method: "spf", Result: "fail", Props: []pipeline.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "bounce@example.com"}}}
	signed := pipeline.AuthResult{Method: "dkim", Result: "pass", Props: []pipeline.AuthProp{{Type: "header", Name: "d", Value: "example.com"}, {Type: "header", Name: "s", Value: "s1"}}}
	none := pipeline.AuthResult{Method: "dkim", Result: "none"}
	const head = "From: a@example.com\n"
	for _, c := range []struct {
		found results
		text  string
		want  []string
		not   string
	}{
		{results{fail, none}, head + "Subject: Money\n\nIt is FREE.\n", []string{"score 8.3 of 5.0", `add-score SUBJECT_MONEY 3.5 "Subject speaks of money"`, "add-score FREE 2.0", "add-score FORGED 1.5", "add-score FORGED_MONEY 1.0",
			"add-score CLIENT 0.2", "add-score SENDER 0.1", "add-header X-Spam-Flag: YES", "X-Spam-Status: Yes, score=8.3 required=5.0 tests=CLIENT,FORGED,FORGED_MONEY, FREE,", "tag spam.status=spamscore"}, "unknown"},
		{results{signed}, head + "Subject: Hello\n\nx\n", []string{"add-score SIGNED -1.0", "tag spamscore.unknown=FORGED", "X-Spam-Status: No, score=-0.7"}, "FORGED_MONEY"},
		{nil, head + "Subject: Money\n\nx\n", []string{"tag spamscore.unknown=FORGED FORGED_MONEY SIGNED"}, "add-score FORGED"},
	} {
		got := run(t, f, c.found, c.text)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q: %s\nwants %s", c.text, got, want)
			}
		}
		if strings.Contains(got, c.not) {
			t.Errorf("%q: %s\nmust not have %s", c.text, got, c.not)
		}
	}
	if f, err = build("rules = [\"testdata/local.cf\"]\nheaders = false\nmax_size = 1 * KB"); err != nil {
		t.Fatal(err)
	}
	if got := run(t, f, nil, head+"Subject: Money\n\nx\n"); strings.Contains(got, "X-Spam") || !strings.Contains(got, "SUBJECT_MONEY") {
		t.Error(got)
	}
	if got := run(t, f, nil, head+"Subject: Money\n\n"+strings.Repeat("x\n", 1000)); !strings.Contains(got, "not judged") || strings.Contains(got, "add-score") {
		t.Error(got)
	}
}

// TestNetwork: rules ask the server's resolver; a list that does not answer is unknown,
// one that refuses is not asked again, and without the network none is asked.
func TestNetwork(t *testing.T) {
	f, err := build(`rules = ["testdata/lists.cf"]`)
	mtatest.Check(t, err)
	const text = "From: a@example.com\n\nx\n"
	got := run(t, f, nil, text)
	for _, want := range []string{`add-score LISTED 2.0 "Client is on a list"`, "add-score REFUSED 0.1", "tag spamscore.unknown=BROKEN", "X-Spam-ASN: AS64500 198.51.100.0/24"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwants %s", got, want)
		}
	}
	if got = run(t, f, nil, text); !strings.Contains(got, "spamscore.unknown=BROKEN REFUSED") || strings.Contains(got, "add-score REFUSED") {
		t.Errorf("a list that has refused: %s", got)
	}
	f, err = build("rules = [\"testdata/lists.cf\"]\nnetwork = false")
	mtatest.Check(t, err)
	if got := run(t, f, nil, text); strings.Contains(got, "LISTED") || strings.Contains(got, "unknown") {
		t.Errorf("without the network: %s", got)
	}
}

// owners is what several have learned.
type owners map[string]*bayes.Memory

func (o owners) Bayes(owner string) bayes.Store {
	if o[owner] == nil {
		o[owner] = bayes.NewMemory()
	}
	return o[owner]
}

func (o owners) Touch(string, []bayes.Hash, time.Time, bayes.Expiry) {}

func (o owners) Learn(owner string, l bayes.Lesson, e bayes.Expiry) bool {
	return spam.Direct{Store: o.Bayes(owner)}.Learn(owner, l, e)
}

// TestBayes: what is clear is learned unasked, by the site or by whom the message is for,
// and what was learned counts.
func TestBayes(t *testing.T) {
	const spammy, hammy = "Subject: offer\n\nmoney lottery prize claim %d\n", "Subject: hello\n\nthank agenda budget review %d\n"
	for whose, owner := range map[string]string{"site": "", "user": "alice@example.test"} {
		learned := owners{}
		f, err := buildWith("rules = [\"testdata/bayes.cf\"]\nbayes = \""+whose+"\"", learned, nobody{})
		mtatest.Check(t, err)
		for i := range 2 {
			if got := run(t, f, nil, fmt.Sprintf(spammy, i)); !strings.Contains(got, "autolearn=spam autolearn_force=no bayes=0.5") {
				t.Errorf("%s: %s", whose, got)
			}
			if got := run(t, f, nil, fmt.Sprintf(hammy, i)); !strings.Contains(got, "autolearn=ham") || strings.Contains(got, "BAYES") {
				t.Errorf("%s: %s", whose, got)
			}
		}
		if got := run(t, f, nil, fmt.Sprintf(spammy, 1)); !strings.Contains(got, "add-score BAYES_99 4.0") || !strings.Contains(got, "autolearn=unavailable") {
			t.Errorf("%s: %s", whose, got)
		}
		if got := run(t, f, nil, "Subject: x\n\nthank agenda budget review\n"); !strings.Contains(got, "add-score BAYES_00 -2.0") {
			t.Errorf("%s: %s", whose, got)
		}
		if len(learned) != 1 || learned[owner] == nil {
			t.Errorf("%s: %d have learned", whose, len(learned))
		}
	}
	learned := owners{}
	f, err := buildWith("rules = [\"testdata/bayes.cf\"]\nbayes = \"off\"", learned, nobody{})
	mtatest.Check(t, err)
	if got := run(t, f, nil, fmt.Sprintf(spammy, 1)); !strings.Contains(got, "autolearn=disabled") || len(learned) > 0 {
		t.Error(got)
	}
}

// What users prefer teaches themselves at most.
func TestPreferencesTeachNobodyElse(t *testing.T) {
	const text = "Subject: offer\n\nmoney lottery prize claim\n"
	for whose, want := range map[string]string{"site": "autolearn=disabled", "user": "autolearn=spam"} {
		learned := owners{}
		f, err := buildWith("rules = [\"testdata/bayes.cf\"]\npreferences = store()\nbayes = \""+whose+"\"", learned, &many{"required_score 4\n", "1"})
		mtatest.Check(t, err)
		if got := run(t, f, nil, text); !strings.Contains(got, want) || !strings.Contains(got, "tag spam.required=4") || learned[""] != nil && whose == "user" {
			t.Errorf("%s: %s", whose, got)
		}
	}
}

func TestRulesMissing(t *testing.T) {
	if _, err := build(`rules = ["testdata/none.cf"]`); err == nil || !strings.Contains(err.Error(), "testdata/none.cf") {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{"\x7fELF\x00": "no file of rules", "required_score 6\n": "every message would score 0"} {
		path := filepath.Join(t.TempDir(), "10.cf")
		mtatest.Write(t, path, text)
		if _, err := build(fmt.Sprintf("rules = [%q]", path)); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What was cut short is in the note and in a tag; the rules' scores are as they are.
func TestCut(t *testing.T) {
	f, err := build(`rules = ["testdata/local.cf"]`)
	mtatest.Check(t, err)
	got := run(t, f, nil, "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\nfree\n", 1001)+"--b--\n")
	for _, want := range []string{"of 5.0, cut short: parts: 1000 of a multipart; ", "tag spamscore.cut=parts: 1000 of a multipart", "add-score FREE 2.0"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwants %s", got, want)
		}
	}
	if got := run(t, f, nil, "From: a@example.com\n\nfree\n"); strings.Contains(got, "cut") {
		t.Error(got)
	}
}

// Lines that can not be obeyed are no error of the configuration, but are not passed over.
func TestRulesWithFaults(t *testing.T) {
	load := func(text string) string {
		path := filepath.Join(t.TempDir(), "10.cf")
		mtatest.Check(t, os.WriteFile(path, []byte(text), 0o644))
		var out bytes.Buffer
		e, err := spam.Open([]string{path}, spam.Options{})
		mtatest.Check(t, err)
		tell(e, slog.New(slog.NewTextHandler(&out, nil)))
		return out.String()
	}
	if got := load("body A /a/\nbody B /(/\n"); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "lines=1") || !strings.Contains(got, "10.cf:2: B: ") {
		t.Error(got)
	}
	if got := load("body A /a/\n"); strings.Contains(got, "WARN") {
		t.Error(got)
	}
}

func TestREADME(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, err := build(body)
		return err
	})
}

// TestMarks: what rewrite_header says is done to spam, and what the field was is kept.
func TestMarks(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "10.cf")
	mtatest.Write(t, rules, "rewrite_header Subject [_SCORE_]\nrewrite_header From BAD\nbody A /money/\nscore A 9\nbody B /note/\nscore B 0.1\nsubjprefix B [NOTE]\nclear_headers\n")
	f, err := build(fmt.Sprintf("rules = [%q]", rules))
	mtatest.Check(t, err)
	for _, c := range []struct{ head, body, want string }{
		{"From: A <a@b.example>\nSubject: hi\n there\n", "money", "set-header From[1]: (BAD) A <a@b.example>; add-header X-Spam-Prev-From: A <a@b.example>; set-header Subject[1]: [9.0] hi there; add-header X-Spam-Prev-Subject: hi there; tag spamscore.marked=From=1 Subject=1"},
		{"Subject: one\nSubject: two\n", "money", "set-header Subject[1]: [9.0] one; add-header X-Spam-Prev-Subject: one; set-header Subject[2]: [9.0] two; add-header X-Spam-Prev-Subject: two; tag spamscore.marked=Subject=1 Subject=2"},
		{"From: a@b.example\n", "money", "set-header From[1]: (BAD) a@b.example; add-header X-Spam-Prev-From: a@b.example; set-header Subject[1]: [9.0]; add-header X-Spam-Prev-Subject: (nonexistent); tag spamscore.marked=From=1 Subject=0"},
		{"Subject: hi\n", "a note", "set-header Subject[1]: [NOTE] hi; add-header X-Spam-Prev-Subject: hi; tag spamscore.marked=Subject=1"},
		{"Subject: hi\n", "nothing", ``},
	} {
		_, got, _ := strings.Cut(run(t, f, nil, c.head+"\n"+c.body+"\n"), " on mx.test") // behind X-Spam-Checker-Version
		if got = strings.TrimPrefix(got, "; "); got != c.want {
			t.Errorf("%q: %s\nwant %s", c.head, got, c.want)
		}
	}
	f, err = build(fmt.Sprintf("rules = [%q]\nheaders = false", rules))
	mtatest.Check(t, err)
	if got := run(t, f, nil, "Subject: hi\n\nmoney\n"); strings.Contains(got, "set-header") {
		t.Error(got)
	}
}
