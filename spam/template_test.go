package spam_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

var sortedAddresses = regexp.MustCompile(`\t\*\s+\[\S+\(at\)\S+\]\n`)

const headerRules = `use_bayes 0
report_safe 0
report_hostname host.test
add_header all Tags _TESTS( )_ _SCORE(000)_ _REQD_ _YESNO(a,b)_ _YESNO_ _YESNOCAPS_ _STARS(+)_ _UNKNOWNTAG_
add_header all Relays _LASTEXTERNALIP_ _LASTEXTERNALREVIP_ _LASTEXTERNALRDNS_ _LASTEXTERNALHELO_ _FIRSTTRUSTEDIP_
add_header all Sub _SUBTESTS(,)_ _SUBTESTSCOLLAPSED(,)_ _LANGUAGES_ _SUBJPREFIX_
add_header all Itself _ADDEDHEADER_ _ADDEDHEADERHAM_ _ADDEDHEADERSPAM_
add_header all Scores _TESTSSCORES(,)_
add_header all Head _HEADER(Subject)_ \n folded _HEADER(From:addr)_
add_header all Preview _PREVIEW_
add_header spam Report _REPORT_
clear_report_template
report _YESNO_ _SCORE_ of _REQD_: _PREVIEW_
report _SUMMARY_
`

// TestTemplates compares the report and the fields with SpamAssassin's.
func TestTemplates(t *testing.T) {
	o := spamtest.Start(t, ".", spamtest.Stock, spamtest.Site, "rewrite=1", "text="+headerRules)
	dir := t.TempDir()
	more := filepath.Join(dir, "more.cf")
	mtatest.Check(t, os.WriteFile(more, []byte(headerRules), 0o600))
	rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site, more}, conf.Options{Local: true})
	mtatest.Check(t, err)
	e := spam.New(rs, spam.Options{})
	for _, m := range spamtest.Corpus(3, mtatest.Fewer(30)) {
		t.Run(m.Name, func(t *testing.T) {
			var want struct {
				Hits              map[string]float64
				Report, Rewritten spamtest.Bytes
			}
			o.About(t, "check", m.Text, &want)
			r := e.Check(context.Background(), m.Text, scan.Facts{})
			if !sameHits(r, want.Hits) {
				return // TestAgreement tells of them
			}
			p := r.Report(spam.Host{Version: spam.Version})
			if got := sorted(p.Text()); got != sorted(string(want.Report)) {
				t.Errorf("report:\n%s\nwant\n%s", got, sorted(string(want.Report)))
			}
			got, theirs := fields(p.Headers()), fields(strings.ReplaceAll(string(want.Rewritten), "\r\n", "\n"))
			if got != theirs {
				t.Errorf("fields:\n%s\nwant\n%s", got, theirs)
			}
		})
	}
}

func sameHits(r *spam.Result, want map[string]float64) bool {
	n := 0
	for _, h := range append(slices.Clone(r.Hits), r.Sub...) {
		if want[h.Rule] != h.Value {
			return false
		}
		n++
	}
	return n == len(want)
}

// sorted are the lines of a report in the order of their letters: SpamAssassin lists
// hits in no order.
func sorted(s string) string {
	// Of several addresses that FreeMail knows SpamAssassin tells any.
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.Contains(l, "(at)") })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// fields are those of a header that were added, the lines of the report sorted.
func fields(head string) string {
	head = sortedAddresses.ReplaceAllString(head, "")
	var out []string
	for line := range strings.Lines(head) {
		switch {
		case strings.HasPrefix(line, "X-Spam-"):
			out = append(out, line)
		case (line[0] == '\t' || line[0] == ' ') && len(out) > 0:
			if strings.HasPrefix(out[len(out)-1], "X-Spam-Report:") || strings.HasPrefix(out[len(out)-1], "\t") {
				out = append(out, "\t"+strings.TrimLeft(line, "\t "))
			} else {
				out[len(out)-1] += line
			}
		case !strings.HasPrefix(line, "X-Spam") && len(out) > 0 && !strings.HasPrefix(line, "Return-Path"):
			slices.Sort(out)
			return strings.Join(out, "")
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// TestLargeTemplates: no template makes more than a message can carry, nor without end.
func TestLargeTemplates(t *testing.T) {
	many := ""
	for i := range 10_000 {
		many += fmt.Sprintf("add_header all Long%d _HEADER(X-Long)_\n", i)
	}
	for name, text := range map[string]string{
		"tags":   "add_header all Long " + strings.Repeat("_HEADER(X-Long)_ ", 10_000),
		"fields": many,
		"narrow": "report_wrap_width 20\nreport _SUMMARY_ _REPORT_\n",
		"zero":   "report_wrap_width 0\nreport _SUMMARY_ _REPORT_\n",
	} {
		rs := conf.Parse("site.cf", "body WORD /word/\ndescribe WORD There is a word in it.\n"+text, conf.Options{Local: true})
		p := spam.New(rs, spam.Options{}).Check(context.Background(), []byte("X-Long: "+strings.Repeat("word ", 1000)+"\n\nword"), scan.Facts{}).Report(spam.Host{})
		if got := len(p.Headers()) + len(p.Text()); got > 512<<10 {
			t.Errorf("%s: %d octets", name, got)
		}
	}
}

// TestRewrite compares whole messages, but for times and boundaries.
func TestRewrite(t *testing.T) {
	for _, more := range []string{
		"report_safe 0\nrewrite_header Subject *****SPAM _SCORE_*****\nrewrite_header From spam\nrewrite_header To _YESNO_\nrequired_score 2\n",
		"report_safe 1\nrewrite_header Subject [SPAM]\nreport_safe_copy_headers Received X-Mailer Date\nrequired_score 1\n",
		"report_safe 2\nunsafe_report Careful.\nrequired_score 1\n",
		"report_safe 0\nsubjprefix HTML_MESSAGE [html]\nrewrite_header Subject [spam]\nrequired_score 3\n",
	} {
		more = "use_bayes 0\nreport_hostname other.test\nclear_report_template\nreport It is _YESNO_.\n" + more + "remove_header spam Report\n"
		o := spamtest.Start(t, ".", "rules", spamtest.Site, "rewrite=1", "text="+more)
		file := filepath.Join(t.TempDir(), "more.cf")
		mtatest.Check(t, os.WriteFile(file, []byte(more), 0o600))
		rs, err := conf.Load([]string{"rules", spamtest.Site, file}, conf.Options{Local: true})
		mtatest.Check(t, err)
		e := spam.New(rs, spam.Options{})
		host, _ := os.Hostname()
		for _, m := range append(spamtest.Corpus(4, 10), spamtest.Message{Name: "twice", Text: []byte(fieldsTwice)}, spamtest.Message{Name: "spaced", Text: []byte(spacedFields)}) {
			var want struct {
				Hits      map[string]float64
				Rewritten spamtest.Bytes
			}
			o.About(t, "check", m.Text, &want)
			r := e.Check(context.Background(), m.Text, scan.Facts{})
			if !sameHits(r, want.Hits) {
				t.Logf("%s: other hits, not compared", m.Name)
				continue
			}
			got := string(r.Report(spam.Host{Name: host, Version: spam.Version}).Rewrite())
			if a, b := timeless(got), timeless(string(want.Rewritten)); a != b {
				t.Errorf("%s with %q:\n%s\nwant\n%s", m.Name, more, a, b)
			}
		}
	}
}

const (
	fieldsTwice  = "From: A <a@x.test>\nFrom: B <b@x.test>\nSubject: one\nSubject: two\nSUBJECT: three\nTo:b@x.test\n\nbuy\n"
	spacedFields = "From : a@x.test\nSubject : buy\nTo: x\nContent-Type: text/html\n\n<p>buy\n"
)

var (
	boundaryForm = regexp.MustCompile(`----------=_[0-9A-F.]+`)
	madeTime     = regexp.MustCompile(`(\(version 4\.0\.1\);\r?\n\t).*`)
)

func timeless(s string) string {
	return madeTime.ReplaceAllString(boundaryForm.ReplaceAllString(s, "BOUNDARY"), "$1")
}
