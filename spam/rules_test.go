package spam_test

import (
	"strings"
	"testing"

	"mtad/spam/spamtest/cases"
)

// TestRuleKinds: what each kind of rule looks at, and what its operators and flags mean.
func TestRuleKinds(t *testing.T) {
	fields := func(f ...string) string { return strings.Join(f, "\n") + "\n\nbody\n" }
	text := func(s string) string {
		return "Subject: the subject\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + s + "\n"
	}
	html := func(s string) string { return "Subject: x\nContent-Type: text/html\n\n" + s + "\n" }
	two := "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Disposition: inline\n\nx\n--b\nContent-Type: image/png;\n name=\"a.png\"\nContent-Disposition: ATTACHMENT; filename=a.png\n\nx\n--b--\n"
	hit, miss := cases.Hit, cases.Miss
	meta := func(expression string) string {
		return "header __HAS_%[1]s exists:X-A\nheader __TWICE_%[1]s X-B =~ /b/\ntflags __TWICE_%[1]s multiple\nmeta %[1]s " + strings.NewReplacer("HAS", "__HAS_%[1]s", "TWICE", "__TWICE_%[1]s").Replace(expression)
	}
	cases.Check(t, ".", "util_rb_tld com org net\nloadplugin Mail::SpamAssassin::Plugin::URIDetail\nloadplugin Mail::SpamAssassin::Plugin::MIMEHeader\n",
		hit("header %s Subject =~ /^caf\xc3\xa9$/", fields("Subject: =?iso-8859-1?Q?caf=E9?=")), // decoded, in octets of UTF-8
		hit("header %s Subject:raw =~ /^ =\\?/", fields("Subject: =?iso-8859-1?Q?caf=E9?=")),
		hit("header %s X-A =~ /^a b$/", fields("X-A: a\n b")), hit("header %s X-A:raw =~ /a\\n b/", fields("X-A: a\n b")),
		hit("header %s X-A =~ /^a\\nb$/", fields("X-A: a", "X-A: b")),
		hit("header %s X-A !~ /b/", fields("X-A: a")), hit("header %s X-A !~ /b/", fields("X-C: a")),
		hit("header %s X-A =~ /^none$/ [if-unset: none]", fields("X-C: a")), miss("header %s X-A =~ /^none$/ [if-unset: none]", fields("X-A: a")),
		hit("header %s exists:X-A", fields("X-A:")), miss("header %s exists:X-A", fields("X-C: a")),
		hit("header %s From:addr =~ /^ann\\@example\\.com$/", fields("From: Ann <ann@example.com>")), hit("header %s From:name =~ /^Ann B$/", fields("From: \"Ann B\" <ann@example.com>")),
		hit("header %s ToCc =~ /two/", fields("To: one@example.com", "Cc: two@example.com")), hit("header %s ALL =~ /^X-A: a$/m", fields("x: y", "X-A: a")),
		hit("header %s MESSAGEID =~ /one.*two/s", fields("Resent-Message-Id: <one>", "Message-Id: <two>")),
		hit("body %s /^the subject$/", text("x")), miss("body %s /subject/\ntflags %[1]s nosubject", text("x")), // the subject is the first paragraph
		miss("body %s /the subject/", "Subject: the subject\nContent-Type: <>\n\nx\n"), // there is no part then
		hit("body %s /one two/", text("one\ntwo")), miss("body %s /one two/", text("one\n\ntwo")),
		hit("body %s /one two/", html("one <b>two</b>")), miss("body %s /<b>/", html("one <b>two</b>")),
		hit("rawbody %s /<b>two/", html("one <b>two</b>")), miss("rawbody %s /the subject/", text("x")), hit("rawbody %s /one\\ntwo/", text("one\ntwo")),
		hit("full %s /^Subject: the subject\\n/", text("x")),
		hit("uri %s /^http:\\/\\/a\\.example\\.com\\/x$/", text("see http://a.example.com/x now")), hit("uri %s m{^http://www\\.example\\.com$}", text("see www.example.com now")),
		hit("mimeheader %s Content-Type =~ /name=\"a\\.png\"/", two), hit("mimeheader %s Content-Disposition =~ /^attachment/i", two),
		hit("mimeheader %s Content-Type:raw =~ /;\\n name/", two), miss("mimeheader %s Content-Type =~ /;\\n name/", two),
		hit("uri_detail %s domain =~ /^example\\.com$/ text =~ /bank/", html("<a href=\"http://x.example.com/\">the bank</a>")),
		miss("uri_detail %s domain =~ /^example\\.com$/ text !~ /bank/", html("<a href=\"http://x.example.com/\">the bank</a>")),
		miss("uri_detail %s domain =~ /example/ text =~ /bank/", html("<a href=\"http://x.example.com/\">x</a><a href=\"http://other.org/\">bank</a>")), // of one link
		hit("uri_detail %s type =~ /^img$/ raw =~ /y\\.png/", html("<img src=\"http://x.example.com/y.png\">")),
		miss("uri_detail %s type =~ /^a$/ raw =~ /y\\.png/", html("<img src=\"http://x.example.com/y.png\">")),
		hit("uri_detail %s cleaned =~ /^http:\\/\\/x\\.example\\.com\\/a$/", html("<a href=\"http://x.example.com/%61\">x</a>")),
		hit("uri_detail %s host =~ /^x\\.example\\.com$/", html("<a href=\"http://x.example.com/\">x</a>")),
		hit(meta("HAS && !TWICE"), fields("X-A: a")), miss(meta("HAS && !TWICE"), fields("X-A: a", "X-B: b")),
		hit(meta("TWICE > 1"), fields("X-B: b b")), miss(meta("TWICE > 1"), fields("X-B: b")), hit(meta("(HAS + TWICE) >= 2"), fields("X-A: a", "X-B: b")),
		hit(meta("HAS * 2 - 1 == 1"), fields("X-A: a")), hit(meta("TWICE == 3"), fields("X-B: b b b")),
	)
}
