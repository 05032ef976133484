package inspect_test

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/inspect"
	"mtad/spam/spamtest/cases"
)

func plain(body string) string {
	return "Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body + "\n"
}

// TestTextOfLanguages: the text whose language is looked for is without marks of a subject,
// links and addresses, and counted in octets.
func TestTextOfLanguages(t *testing.T) {
	// The subject is the first line of the text, and each paragraph has an end.
	length := func(n string) string { return "header %s X-Languages-Length =~ /^" + n + "$/" }
	japanese := strings.Repeat("\u3042", 30)
	cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::TextCat\nok_languages de\n",
		cases.Hit(length("7"), plain("abc")),
		cases.Hit(length("7"), "Subject: Re: AW: x\n\nabc\n"),
		cases.Hit(length("10"), plain("a http://b.c/d ef")),
		cases.Hit(length("10"), plain("a https%3A%2F%2Fb.c ef")),
		cases.Hit(length("9"), plain("a me@b.c d")),
		cases.Hit(length("10"), plain("a www.b.c ef")),
		cases.Hit(length("13"), plain("a @b.c ef")),
		cases.Hit(length("33"), plain(japanese+"@example.com a")), // 64 octets before "@", and no more
		cases.Hit(length("22"), plain("me@"+"a"+japanese+"\u3042"+strings.Repeat("b", 50)+" c")),
	)
}

// part is a message of one part.
func part(header, body string) string { return "Subject: x\n" + header + "\n\n" + body + "\n" }

// file is a message of a text and a file, in base64.
func file(typ, name string, data string) string {
	return "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\ntext\n--b\nContent-Type: " + typ + "; name=\"" + name + "\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"" + name + "\"\n\n" +
		base64.StdEncoding.EncodeToString([]byte(data)) + "\n--b--\n"
}

// TestFiles: AntiVirus knows programs by their names, or by how they begin, and names
// that do not go with the type.
func TestFiles(t *testing.T) {
	const program, suspect = "body %s eval:check_microsoft_executable()", "body %s eval:check_suspect_name()"
	// The first octets of a program, up to the place of its second header.
	mz := "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00"
	cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::AntiVirus\n",
		cases.Hit(program, file("application/octet-stream", "setup.exe", "x")),
		cases.Hit(program, file("application/octet-stream", "SETUP.ScR", "x")),
		cases.Miss(program, file("application/octet-stream", "setup.exe.txt", "x")),
		cases.Hit(program, file("application/octet-stream", "a.bin", mz)),
		cases.Hit(program, file("image/png", "a.png", mz)),
		cases.Miss(program, file("application/octet-stream", "a.bin", "x"+mz)),
		cases.Miss(program, part("Content-Type: application/octet-stream; name=a.bin", "TVqQAAMAAAAEAAAA")), // not encoded
		cases.Hit(program, part("Content-Type: text/plain", "begin 644 a\nM35H``````````````\nend")),
		cases.Miss(program, part("Content-Type: application/x-y", "begin 644 a\nM35H``````````````\nend")),
		cases.Miss(program, part("Content-Type: text/plain", "x M35H``````````````")),
		cases.Miss(program, file("application/octet-stream", "", "x")),
		cases.Hit(suspect, file("image/png", "a.txt", "x")),
		cases.Miss(suspect, file("text/html", "a.txt", "x")),
		cases.Miss(suspect, file("application/octet-stream", "a.txt", "x")), // that may be anything
		cases.Hit(suspect, file("text/plain", "a.jpeg", "x")),
		cases.Miss(suspect, file("image/jpeg", "a.gif", "x")),
		cases.Hit(suspect, file("text/plain", "a.vcf", "x")),
		cases.Miss(suspect, file("text/x-vcard", "a.vcf", "x")), // "x-" counts for nothing
		cases.Hit(suspect, file("image/png", "a.exe", "x")),
		cases.Miss(suspect, file("application/pdf", "a.exe", "x")),
		cases.Hit(suspect, file("application/pdf", "a.doc", "x")),
		cases.Miss(suspect, file("application/vnd.ms-word", "a.DOC", "x")),
		cases.Miss(suspect, file("application/vnd.ms-powerpoint", "a.ppt", "x")),
		cases.Hit(suspect, file("application/vnd.ms-excel", "a.ppt", "x")),
		cases.Miss(suspect, file("application/vnd.ms-excel", "a.b.xls", "x")),
		cases.Miss(suspect, file("image/png", "txt.png", "x")),
		cases.Hit(suspect, file("image/png", "txt", "x")), // a name without a dot is an ending
	)
}

// TestLanguagesOfBodies: octets beyond ASCII are odd to those who read none of the
// languages that have them.
func TestLanguagesOfBodies(t *testing.T) {
	const many = "body %s eval:check_body_8bits()"
	text := func(s string) string { return part("Content-Type: text/plain; charset=utf-8", s) }
	six, eight := "\u00e4\u00e4\u00e4", "\u00e4\u00e4\u00e4\u00e4"
	for languages, list := range map[string][]cases.Case{
		"de fr": {cases.Hit(many, text(eight)), cases.Miss(many, text(six+"x"+six))},
		"de ru": {cases.Miss(many, text(eight))},
		"all":   {cases.Miss(many, text(eight))},
	} {
		t.Run(languages, func(t *testing.T) {
			cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::TextCat\nok_languages "+languages+"\n", list...)
		})
	}
}

// TestResults: AuthRes believes fields of servers that are believed, and only those that
// can be read whole.
func TestResults(t *testing.T) {
	result := func(method, result string) string {
		return "header %s eval:check_authres_result('" + method + "', '" + result + "')"
	}
	field := func(values ...string) string {
		var b strings.Builder
		for _, v := range values {
			b.WriteString("Authentication-Results: " + v + "\n")
		}
		return b.String() + "Subject: x\n\nx\n"
	}
	cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::AuthRes\nauthres_networks all\nauthres_trusted_authserv mx.example.org MX2.example.org\nauthres_ignored_authserv bad.example.org\n",
		cases.Hit(result("spf", "pass"), field("mx.example.org; spf=pass smtp.mailfrom=example.com")),
		cases.Hit(result("spf", "PASS"), field("mx.example.org; SPF = pass")),
		cases.Hit(result("spf", "missing"), field("mx.example.org; spf=Pass")), // RFC 8601 allows it
		cases.Hit(result("spf", "missing"), field("mx.example.org; dkim=pass header.d=example.com")),
		cases.Miss(result("spf", "missing"), field("mx.example.org; spf=none")),
		cases.Hit(result("spf", "pass"), field("MX.Example.Org 1; spf=pass")),
		cases.Hit(result("spf", "pass"), field("mx2.example.org; spf=pass")),
		cases.Hit(result("spf", "missing"), field("other.example.org; spf=pass")),
		cases.Hit(result("spf", "missing"), field("bad.example.org; spf=pass")),
		cases.Hit(result("spf", "missing"), field("mx.example.org; none")),
		cases.Hit(result("spf", "missing"), field("mx.example.org spf=pass")),
		cases.Hit(result("spf", "pass"), field("mx.example.org (a (b) c); spf=pass (d)")),
		cases.Hit(result("spf", "missing"), field("mx.example.org; spf=pass (no \\) end)")),
		cases.Hit(result("spf", "missing"), field("mx.example.org; spf=pass (open")),
		cases.Hit(result("spf", "fail"), field("mx.example.org; spf=fail reason=\"a \\\" b\" smtp.helo=x")),
		cases.Hit(result("spf", "missing"), field("mx.example.org; spf=good")),
		cases.Hit(result("dkim", "missing"), field("mx.example.org; nosuch=pass; dkim=pass")),
		cases.Hit(result("dkim", "pass"), field("mx.example.org; dkim/1=pass")),
		cases.Hit(result("dkim", "pass"), field("mx.example.org; dkim=fail; dkim=pass; dkim=none")), // one that is good is enough
		cases.Hit(result("dkim", "fail"), field("mx.example.org; dkim=fail; dkim=none")),
		cases.Hit(result("dkim", "pass"), field("mx.example.org; dkim=fail", "mx.example.org; dkim=pass")),
		cases.Hit(result("arc", "pass"), "ARC-Authentication-Results: i=1; mx.example.org; arc=pass\nSubject: x\n\nx\n"),
		cases.Hit(result("arc", "missing"), "ARC-Authentication-Results: mx.example.org; arc=pass\nSubject: x\n\nx\n"),
		cases.Hit(result("dmarc", "pass"), field("mx.example.org;\n\tdmarc=pass\n\theader.from=example.com")),
	)
}

// TestPDF: PDFInfo reads a file line by line, as it stands: what is packed in it it does not
// see.
func TestPDF(t *testing.T) {
	rule := func(call string) string { return "body %s eval:" + call }
	pdf := func(lines ...string) string {
		return file("application/pdf", "a.pdf", "%PDF-1.4\n"+strings.Join(lines, "\n")+"\n")
	}
	two := strings.Replace(pdf("/Title(b)"), "--b--", strings.TrimSuffix(strings.SplitN(file("application/pdf", "c.pdf", "%PDF-1.5\n"), "text\n", 2)[1], "\n"), 1)
	image := func(w, h string) []string { return []string{"/Image", w + " 0 0 " + h + " 0 0 cm"} }
	cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::PDFInfo\n",
		cases.Hit(rule("pdf_count(1)"), pdf()),
		cases.Miss(rule("pdf_count(2)"), pdf()),
		cases.Hit(rule("pdf_count(2,2)"), two),
		cases.Miss(rule("pdf_count(1,1)"), two),
		cases.Miss(rule("pdf_count(1)"), part("Content-Type: text/plain", "no file")),
		cases.Hit(rule("pdf_count(1)"), file("application/octet-stream", "a.PDF", "%PDF-1.4\n")),
		cases.Hit(rule("pdf_count(1)"), file("application/pdf", "a.txt", "what is no PDF counts too")),
		cases.Miss(rule("pdf_count(1)"), file("application/x-pdf", "a.pdf", "%PDF-1.4\n")),
		cases.Miss(rule("pdf_named('a.pdf')"), file("application/pdf", "a.pdf", "but has no name")),
		cases.Hit(rule("pdf_named('a.pdf')"), pdf()),
		cases.Miss(rule("pdf_named('A.pdf')"), pdf()),
		cases.Hit(rule("pdf_named('a.pdf')"), file("application/pdf", "a.pdf", strings.Repeat("x", 1024)+"%PDF-1.4\n")),
		cases.Miss(rule("pdf_named('a.pdf')"), file("application/pdf", "a.pdf", strings.Repeat("x", 1025)+"%PDF-1.4\n")),
		cases.Hit(rule("pdf_name_regex('/^A/i')"), pdf()),
		cases.Hit(rule("pdf_image_count(1)"), pdf(image("200", "300")...)),
		cases.Miss(rule("pdf_image_count(1)"), pdf("200 0 0 300 0 0 cm")), // nothing says that it is an image
		cases.Hit(rule("pdf_image_count(2,2)"), pdf(append(image("200", "300"), image("20", "30")...)...)),
		cases.Hit(rule("pdf_image_size_exact(300,200)"), pdf(image("200", "300")...)),
		cases.Miss(rule("pdf_image_size_exact(200,300)"), pdf(image("200", "300")...)),
		cases.Hit(rule("pdf_image_size_exact(240,320)"), pdf("<</Subtype/Image/Width 320/Height 240>>")),
		cases.Hit(rule("pdf_image_size_range(300,200)"), pdf(image("200", "300")...)),
		cases.Miss(rule("pdf_image_size_range(301,200)"), pdf(image("200", "300")...)),
		cases.Hit(rule("pdf_image_size_range(300,200,300,200)"), pdf(image("200", "300")...)),
		cases.Miss(rule("pdf_image_size_range(1,1,300,199)"), pdf(image("200", "300")...)),
		cases.Hit(rule("pdf_pixel_coverage(60000,60000)"), pdf(image("200", "300")...)),
		cases.Miss(rule("pdf_pixel_coverage(60001)"), pdf(image("200", "300")...)),
		cases.Hit(rule("pdf_image_to_text_ratio(0.0001,0.1)"), pdf(image("20", "30")...)),
		cases.Miss(rule("pdf_image_to_text_ratio(0.0,0.001)"), pdf(image("20", "30")...)),
		cases.Hit(rule("pdf_is_encrypted()"), pdf("/Encrypt 5 0 R")),
		cases.Miss(rule("pdf_is_encrypted()"), pdf("<</Encrypt 5 0 R")),
		cases.Miss(rule("pdf_is_empty_body()"), pdf()),
		cases.Hit(rule("pdf_is_empty_body()"), strings.Replace(pdf(), "\ntext\n", "\n\n", 1)),
		cases.Hit(rule("pdf_is_empty_body(5)"), pdf()),
		cases.Miss(rule("pdf_is_empty_body(4)"), pdf()),
		cases.Hit(rule("pdf_match_details('author','/^AB$/')"), pdf("/Author(AB)")),
		cases.Hit(rule("pdf_match_details('author','/^A.B$/')"), pdf("/Author(A\\)B)")),
		cases.Hit(rule("pdf_match_details('title','/^hi$/')"), pdf("/Title <68 69>")),
		cases.Hit(rule("pdf_match_details('title','/^hi$/')"), pdf("/Title<FEFF00680069>")),
		cases.Hit(rule("pdf_match_details('title','/^hi$/')"), pdf("/Title(\\376\\377\\000h\\000i)")),
		cases.Miss(rule("pdf_match_details('title','/./')"), pdf("/Title(open")),
		cases.Hit(rule("pdf_match_details('producer','/^x/')"), pdf("<</Creator(a)/Producer(x)>>")),
		cases.Hit(rule("pdf_match_details('created','/^2007/')"), pdf("/CreationDate(D:20070226165054-06'00')")),
		cases.Hit(rule("pdf_match_details('modified','/^2007/')"), pdf("/ModDate (D:20070703144220)")),
		cases.Hit("uri %s /a\\.example\\/1/", pdf("<</S/URI/URI(http://a.example/1)>>")),
		cases.Miss("uri %s /a\\.example\\/2/", pdf("/S /URI /URI <687474703a2f2f612e6578616d706c652f32>")), // no dot is in it before it is read
		cases.Hit("uri %s /a\\.example\\/4/", pdf("/S /URI /URI (http://a.example/4)")),
		cases.Hit("uri %s /a\\.example\\/3/", pdf("x (https://a.example/3)>>/")),
		cases.Miss("uri %s /nodot/", pdf("/URI(nodot)")),
	)
}

// TestShortLinks: a service is named with all its names (".x.y"), or with one.
func TestShortLinks(t *testing.T) {
	short := "body %s eval:short_url()\npriority %[1]s -50"
	link := func(l string) string { return part("Content-Type: text/plain", "see "+l+" now") }
	cases.Check(t, "..", "util_rb_tld com net ly\nloadplugin Mail::SpamAssassin::Plugin::DecodeShortURLs\nurl_shortener bit.ly .example.com\nurl_shortener_get Get.example.net\n",
		cases.Hit(short, link("http://bit.ly/abc")),
		cases.Miss(short, link("http://bit.ly/")), // there is nothing that is short
		cases.Hit(short, link("https://user@BIT.ly:8080/abc?x")),
		cases.Hit(short, link("http://www.bit.ly/abc")),
		cases.Miss(short, link("http://www2.bit.ly/abc")),
		cases.Miss(short, link("http://x.bit.ly/abc")),
		cases.Hit(short, link("http://x.example.com/abc")),
		cases.Miss(short, link("http://example.com/abc")),
		cases.Miss(short, link("http://x.y.example.com/abc")),
		cases.Hit(short, link("http://get.example.net/abc")),
	)
}

// TestFeeds: Phishing knows a link by all of it, or without its parameters, if the rules
// say so.
func TestFeeds(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		mtatest.Write(t, path, text)
		return path
	}
	open := write("open", "http://a.example.com/x?y=1\n# http://comment.example.com/x\nhttp://short.example.com/z\n")
	tank := write("tank", "id,url,more\n1,\"http://b.example.com/p/q?r\",x\n")
	stats := write("stats", "date,score,url\n\"1\",\"7\",\"http://c.example.com/p/q\",\"x\"\n\"1\",\"6\",\"http://d.example.com/p/q\",\"x\"\n")
	config := "util_rb_tld com\nloadplugin Mail::SpamAssassin::Plugin::Phishing\nphishing_openphish_feed " + open + "\nphishing_phishtank_feed " + tank + "\nphishing_phishstats_feed " + stats + "\nphishing_phishstats_minscore 6\n"
	const phishing = "body %s eval:check_phishing()"
	link := func(l string) string { return part("Content-Type: text/plain", "see "+l+" now") }
	for name, c := range map[string]struct {
		config string
		rules  []cases.Case
	}{
		"whole": {config, []cases.Case{
			cases.Hit(phishing, link("http://a.example.com/x?y=1")),
			cases.Miss(phishing, link("http://a.example.com/x?y=2")),
			cases.Miss(phishing, link("http://comment.example.com/x")),
			cases.Hit(phishing, link("http://b.example.com/p/q?r")),
			cases.Hit(phishing, link("http://c.example.com/p/q")),
			cases.Miss(phishing, link("http://d.example.com/p/q")), // its score is not above the least
			cases.Hit(phishing, part("Content-Type: text/html", "<a href=\"http://a.example.com/x?y=1\">x</a>")),
			cases.Miss(phishing, part("Content-Type: text/html", "<img src=\"http://a.example.com/x?y=1\">")),
		}},
		"without parameters": {config + "phishing_uri_noparam 1\n", []cases.Case{
			cases.Hit(phishing, link("http://b.example.com/p/q?other")),
			cases.Miss(phishing, link("http://a.example.com/x?y=1")), // such links are too short
		}},
	} {
		t.Run(name, func(t *testing.T) { cases.Check(t, "..", c.config, c.rules...) })
	}
}

// TestCompoundFiles: of documents before 2007 OLEVBMacro sees marks in the octets, wherever
// they stand.
func TestCompoundFiles(t *testing.T) {
	const (
		macro, object, malice         = "body %s eval:check_olemacro()", "body %s eval:check_oleobject()", "body %s eval:check_olemacro_malice()"
		locked, renamed, csv, program = "body %s eval:check_olemacro_encrypted()", "body %s eval:check_olemacro_renamed()", "body %s eval:check_olemacro_csv()", "body %s eval:check_olemacro_download_exe()"
	)
	plain := inspect.Compound("WordDocument", "text")
	vba := inspect.Compound("WordDocument", "text", "VBA", "\x00Attribut\x00e VB_Name\x00AutoOpen")
	crypt := inspect.Compound("EncryptedPackage", "x")
	doc := func(name, data string) string { return file("application/msword", name, data) }
	cases.Check(t, "..", "loadplugin Mail::SpamAssassin::Plugin::OLEVBMacro\nolemacro_extended_scan 1\n",
		cases.Miss(macro, doc("a.doc", plain)),
		cases.Hit(macro, doc("a.doc", vba)),
		cases.Hit(malice, doc("a.doc", vba)),
		cases.Miss(malice, doc("a.doc", inspect.Compound("VBA", "\x00Attribut\x00e"))),
		cases.Miss(malice, doc("a.doc", inspect.Compound("Text", "AutoOpen"))),
		cases.Hit(macro, doc("a.xls", inspect.Compound("VBA", "\x01\x00O\x00l\x00e\x001\x000\x00N\x00a\x00"))),
		cases.Hit(macro, doc("a.docm", "whatever it holds")),
		cases.Miss(macro, doc("a.txt", "\x00Attribut\x00")), // a text has other marks
		cases.Hit(macro, doc("a.rtf", "{\\rtf1 \\objdat")),
		cases.Hit(renamed, doc("a.dat", plain)),
		cases.Miss(renamed, doc("a.doc", plain)),
		cases.Miss(renamed, doc("a.dat", "text")),
		cases.Hit(locked, doc("a.doc", crypt)),
		cases.Miss(locked, doc("a.doc", plain)),
		cases.Miss(object, doc("a.doc", vba)),
		cases.Hit(csv, doc("a.csv", "=MSEXCEL|'\\..\\..\\Windows\\System32\\cmd.exe")),
		cases.Miss(csv, doc("a.csv", "=MSEXCEL|'\\"+strings.Repeat("x", 20)+"Windows\\System32\\cmd.exe")),
		cases.Hit(csv, doc("a.csv", "=MSEXCEL|"+strings.Repeat("x", 20)+"Windows\\System32\\cmd.exe")),
		cases.Hit(program, doc("a.doc", inspect.Compound("x", "\x00http://www.example.com/downloads/setup.exe\x00"))),
		cases.Miss(program, doc("a.doc", inspect.Compound("x", "\x00http://a.bc.exe\x00"))),
		cases.Miss(macro, part("Content-Type: application/msword; name=a.docm", "x")), // a file that is not encoded is none
	)
}
