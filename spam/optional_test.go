package spam_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// optionalRules load what is not loaded by default, and have rules for all of it.
func optionalRules() string {
	var b strings.Builder
	b.WriteString(`
loadplugin Mail::SpamAssassin::Plugin::AuthRes
loadplugin Mail::SpamAssassin::Plugin::PDFInfo
loadplugin Mail::SpamAssassin::Plugin::TextCat
loadplugin Mail::SpamAssassin::Plugin::AntiVirus
loadplugin Mail::SpamAssassin::Plugin::DecodeShortURLs
loadplugin Mail::SpamAssassin::Plugin::Phishing
loadplugin Mail::SpamAssassin::Plugin::OLEVBMacro
olemacro_extended_scan 1
body OLE_MACRO eval:check_olemacro()
body OLE_OBJECT eval:check_oleobject()
body OLE_CSV eval:check_olemacro_csv()
body OLE_MALICE eval:check_olemacro_malice()
body OLE_RENAMED eval:check_olemacro_renamed()
body OLE_LOCKED eval:check_olemacro_encrypted()
body OLE_DOWNLOAD eval:check_olemacro_download_exe()
body PROGRAM eval:check_microsoft_executable()
body NAME_SUSPECT eval:check_suspect_name()
body SHORT_URL eval:short_url()
priority SHORT_URL -50
body PHISHING eval:check_phishing()
url_shortener example.com .example.net click.info
authres_networks all
authres_ignored_authserv other.example.net
ok_languages de zh fr la
`)
	for _, method := range []string{"spf", "dkim", "dmarc", "arc", "iprev", "auth", "dkim-adsp"} {
		for _, result := range []string{"pass", "fail", "none", "neutral", "softfail", "missing", "policy"} {
			fmt.Fprintf(&b, "header AR_%s_%s eval:check_authres_result('%s', '%s')\n", strings.ToUpper(strings.ReplaceAll(method, "-", "_")), strings.ToUpper(result), method, result)
		}
	}
	for i, call := range []string{"pdf_count(1)", "pdf_count(2,3)", "pdf_image_count(1,2)", "pdf_pixel_coverage(1000,200000)", "pdf_image_size_exact(240,320)", "pdf_image_size_range(100,100,200,700)", "pdf_named('invoice.pdf')",
		"pdf_name_regex('/^[ab]\\./i')", "pdf_name_regex('inv')", "pdf_image_to_text_ratio(0.0,0.01)", "pdf_match_details('producer','/ghostscript/i')", "pdf_match_details('creator','Hell')", "pdf_match_details('author','col\\(e')", "pdf_match_details('title','.')",
		"pdf_match_details('created','^2007')", "pdf_is_encrypted()", "pdf_is_empty_body()", "pdf_is_empty_body(300)"} {
		fmt.Fprintf(&b, "body PDF_%d eval:%s\n", i, call)
	}
	b.WriteString("uri PDF_LINK /(?:pdf|second|hex|plain)\\.example/\nheader LANGUAGE X-Languages =~ /de/\n")
	return b.String()
}

// optionalTags are the tags that these plugins set.
var optionalTags = []string{"PDFCOUNT", "PDFIMGCOUNT", "PDFVERSION", "PDFNAME", "PDFIMGDIM", "PDFIMGAREA", "PDFMD5", "PDFMD5FUZZY1", "PDFMD5FUZZY2", "PDFAUTHOR", "PDFCREATOR", "PDFPRODUCER", "PDFTITLE", "LANGUAGES", "TEXTCATRESULTS"}

// TestOptionalAsPerl compares the functions of plugins that are not loaded by default.
func TestOptionalAsPerl(t *testing.T) {
	mtatest.Program(t, "spamassassin")
	feed := filepath.Join(t.TempDir(), "feed")
	mtatest.Check(t, os.WriteFile(feed, []byte("# comment\nhttp://bit.ly/3abc\nhttps://www.example.com/docs/index.html\nhttp://pdf.example.com/x\n"), 0o600))
	stats := filepath.Join(t.TempDir(), "stats")
	mtatest.Check(t, os.WriteFile(stats, []byte("first\n\"2026\",\"7.5\",\"http://second.example.net/y\",\"1\"\n\"2026\",\"3\",\"https://example.com/unsubscribe\",\"1\"\n"), 0o600))
	site := netSite(t, optionalRules()+"phishing_openphish_feed "+feed+"\nphishing_phishstats_feed "+stats+"\n")
	rules := stockDir(t)
	rs, err := conf.Load([]string{rules, site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	if len(rs.Problems) > 0 {
		t.Error(rs.Problems)
	}
	e, o := spam.New(rs, spam.Options{}), spamtest.Start(t, ".", rules, site, "tags="+strings.Join(optionalTags, ","))
	n := max(40, *agreementSize-60)
	if mtatest.Race {
		n = 10
	}
	both, all := map[string]int{}, optionalRules()
	for _, m := range append(spamtest.Special(*agreementSeed, n), spamtest.Corpus(*agreementSeed, n)...) {
		var v struct {
			verdict
			Tags map[string]*spamtest.Bytes
		}
		o.About(t, "check", m.Text, &v)
		r := e.Check(context.Background(), m.Text, scan.Facts{})
		compareHits(t, m.Name, r, &v.verdict, func(rule string) bool { return strings.Contains(all, " "+rule+" ") }, both)
		for _, name := range optionalTags {
			want := ""
			if w := v.Tags[name]; w != nil {
				want = string(*w)
			}
			got := strings.Join(r.Scan.Tag(name), " ")
			if name == "TEXTCATRESULTS" {
				got, want = inBoth(got, want)
			}
			if got != want {
				t.Errorf("%s: tag %s\n got %q\nwant %q", m.Name, name, got, want)
			}
		}
		spamtest.Keep(t, m.Name, m.Text)
	}
	for _, name := range e.Rules() {
		if strings.Contains(optionalRules(), " "+name+" ") && both[name] == 0 {
			t.Logf("%s has not hit", name)
		}
	}
}

// TestOddNumbers: no number in the rules, or in a user's preferences, ends the server.
func TestOddNumbers(t *testing.T) {
	document := "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("Dies ist ein deutscher Text. ", 30) +
		"\n--b\nContent-Type: application/msword; name=a.doc\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"
	for _, n := range []string{"-1", "99999999999999999999"} {
		text := optionalRules()
		for name := range strings.FieldsSeq("textcat_max_ngrams textcat_optimal_ngrams textcat_max_languages olemacro_num_mime olemacro_max_file olemacro_num_zip olemacro_zip_depth" +
			" uridnsbl_max_domains freemail_max_body_emails freemail_max_body_freemails body_part_scan_size rawbody_part_scan_size") {
			text += name + " " + n + "\n"
		}
		file := filepath.Join(t.TempDir(), "more.cf")
		mtatest.Check(t, os.WriteFile(file, []byte(text), 0o600))
		rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site, file}, conf.Options{Local: true})
		mtatest.Check(t, err)
		if r := spam.New(rs, spam.Options{}).Check(context.Background(), []byte(document), scan.Facts{}); len(r.Hits) == 0 {
			t.Errorf("%s: no rule hits", n)
		}
	}
}

// inBoth leaves those of languages with distances that both name, "en:1200(1.00)": of
// equals any may be the last of twenty there.
func inBoth(a, b string) (string, string) {
	languages := func(s string) map[string]string {
		out := map[string]string{}
		for _, f := range strings.Fields(s) {
			name, distance, _ := strings.Cut(f, ":")
			out[name] = distance
		}
		return out
	}
	mine, theirs := languages(a), languages(b)
	maps.DeleteFunc(mine, func(name, _ string) bool { return theirs[name] == "" && len(theirs) > 15 })
	maps.DeleteFunc(theirs, func(name, _ string) bool { return mine[name] == "" && len(mine) > 15 })
	return fmt.Sprint(mine), fmt.Sprint(theirs)
}
