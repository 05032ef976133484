package eval_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// calls are what rules of each type ask.
var calls = map[string]string{
	"header": `check_for_fake_aol_relay_in_rcvd() check_for_faraway_charset_in_headers() check_illegal_chars('Subject','0.01','1') check_illegal_chars('From','0.00','2')
		check_for_forged_hotmail_received_headers() check_for_no_hotmail_received_headers() check_for_msn_groups_headers() check_for_forged_eudoramail_received_headers()
		check_for_forged_yahoo_received_headers() check_for_forged_juno_received_headers() check_for_forged_gmail_received_headers() check_for_matching_env_and_hdr_from()
		sorted_recipients() similar_recipients('0.2','0.65') similar_recipients('0.65','undef') check_for_missing_to_header() check_for_forged_gw05_received_headers()
		check_for_shifted_date('3','6') check_for_shifted_date('-12','-3') check_for_shifted_date('96','undef') check_for_shifted_date('undef','-96')
		received_within_months('0','1') received_within_months('6','undef') received_within_months('undef','3')
		subject_is_all_caps() check_for_to_in_subject('address') check_for_to_in_subject('user') check_outlook_message_id() check_messageid_not_usable()
		check_header_count_range('Subject','2','9') check_header_count_range('Received','1','2') check_header_count_range('X-Nothing','0','0')
		check_unresolved_template() check_ratware_name_id() check_ratware_envelope_from() gated_through_received_hdr_remover() check_equal_from_domains()
		check_for_numeric_helo() helo_ip_mismatch() check_all_trusted() check_no_relays() check_relays_unparseable() check_for_sender_no_reverse()
		check_for_from_domain_in_received_headers('example.com','true') check_for_from_domain_in_received_headers('example.com','false')
		check_for_no_rdns_dotcom_helo() check_for_forged_received_trail() check_for_forged_received_ip_helo() check_for_illegal_ip() check_for_unique_subject_id()
		check_from_in_blocklist() check_to_in_blocklist() check_to_in_welcomelist() check_to_in_more_spam() check_to_in_all_spam() check_from_in_list('blocklist_from')
		check_to_in_list('more_spam_to') check_replyto_in_list('blocklist_from') check_from_in_welcomelist() check_from_in_default_welcomelist() check_forged_in_welcomelist()
		check_forged_in_default_welcomelist() check_mailfrom_matches_rcvd() check_uri_host_listed('MINE') check_uri_host_in_blocklist() check_uri_host_in_welcomelist()
		check_subject_in_welcomelist() check_subject_in_blocklist()
		check_freemail_header('Reply-To') check_freemail_header('From','^z') check_freemail_from('\d') check_freemail_from() 
		check_fromname_spoof() check_fromname_different() check_fromname_domain_differ() check_fromname_owners_differ()
		check_fromname_contains_email() check_fromname_equals_to() check_fromname_equals_replyto() have_any_bounce_relays() check_welcomelist_bounce_relays() check_msg_parse_flags('missing_head_body_separator')
		check_msg_parse_flags('missing_mime_headers') check_msg_parse_flags('missing_mime_head_body_separator') check_msg_parse_flags('truncated_header')
		check_msg_parse_flags('mime_epilogue_exists')`,
	"body": `check_abundant_unicode_ratio('0.02') check_base64_length('78','79') check_base64_length('20') check_blank_line_ratio('0','40','4') check_blank_line_ratio('40','100','4')
		check_body_length('400') check_for_ascii_text_illegal() check_for_faraway_charset() check_for_mime('mime_base64_count') check_for_mime('mime_base64_encoded_text')
		check_for_mime('mime_body_html_count') check_for_mime('mime_body_text_count') check_for_mime('mime_faraway_charset') check_for_mime('mime_missing_boundary')
		check_for_mime('mime_multipart_alternative') check_for_mime('mime_qp_count') check_for_mime('mime_qp_long_line') check_for_mime('mime_attachment')
		check_for_mime('mime_bad_iso_charset') check_for_mime_html() check_for_mime_html_only() check_for_uppercase('25','50') check_for_uppercase('50','101')
		check_https_http_mismatch('1','10') check_iframe_src() check_ma_non_text() check_mime_multipart_ratio('0','0.5') check_mime_multipart_ratio('0.5','3') check_qp_ratio('0.02')
		check_stock_info('0') check_stock_info('2') html_charset_faraway() html_eval('length','< 200') html_eval('image_area','>= 1000') html_image_only('0','400') html_image_only('400','9000')
		html_image_ratio('0.0','0.002') html_image_ratio('0.002','0.5') html_range('length','0','500') html_range('length','100','inf') html_range('obfuscation_ratio','0.01','1.0')
		html_range('bad_tag_ratio','0.1','1') html_range('non_element_ratio','0.1','1') html_range('max_size','3','inf') html_range('image_area','0','5000')
		html_range('closed_extra_ratio','0.01','inf') html_tag_balance('body','> 0') html_tag_balance('b','!= 0')
		html_tag_exists('script') html_tag_exists('form') html_tag_exists('iframe') html_test('html') html_test('embeds') html_test('form_action_mailto')
		html_test('font_low_contrast') html_test('font_invalid_color') html_test('font_face_bad') html_text_match('title','(?i:free|offer)') html_text_not_match('title','\w')
		html_text_match('comment','\bx') html_text_match('anchor','here') html_title_subject_ratio('1.5') image_count('all','1','1') image_count('gif','2') image_count('png','1','1')
		image_name_regex('^image\d') image_named('image1.gif') image_size_exact('gif','30','20') image_size_exact('all','200','300') image_size_range('all','10','20','400','400')
		image_size_range('gif','1','1') image_size_range('jpeg','100','100','2000','2000')
		image_to_text_ratio('all','0.000','0.5') image_to_text_ratio('gif','0.5','100') pixel_coverage('all','100','100000') pixel_coverage('png','1','1000000')
		multipart_alternative_difference('0','50') multipart_alternative_difference('50','100') multipart_alternative_difference_count('0.5','1')
		plaintext_body_length('0','200') plaintext_body_sig_ratio('0','5') plaintext_sig_length('5','100') tvd_vertical_words('0','15') tvd_vertical_words('30','100')
		check_uri_truncated() check_https_ip_mismatch()`,
	// What looks for addresses in the text changes it, in SpamAssassin, under those who
	// come later: asked alone.
	"freemail": `check_freemail_body() check_freemail_body('^ann') check_freemail_replyto() check_freemail_replyto('reply')`,
	"uri":      `check_for_http_redirector()`,
}

// settings are what those rules look into.
const settings = `
loadplugin Mail::SpamAssassin::Plugin::FromNameSpoof
ok_locales en ja
welcomelist_bounce_relays mail.example.com *.bank.example.com
blocklist_from *@bad.example.com ann@*.net
blocklist_to victim@example.com
welcomelist_to friend@example.com
more_spam_to more@example.com
all_spam_to all@example.com
welcomelist_from *@good.example.org
welcomelist_from_rcvd *@bank.example.com example.com
welcomelist_from_rcvd boss@example.net [203.0.113.9]
welcomelist_from_rcvd chief@example.net [198.51.100]
def_welcomelist_from_rcvd *@shop.example.com shop.example.com
welcomelist_allows_relays *@relayed.example.com
enlist_uri_host (MINE) example.net !ok.example.net 203.0.113.7
blocklist_uri_host bad.example.org
welcomelist_uri_host good.example.org
welcomelist_subject [ok]
blocklist_subject pills
freemail_domains gmail.com yahoo.com hotmail.com freemail.example
fns_add_addrlist (GOOD) *@good.example.org
fns_extrachars 20
`

// rulesText gives each call a rule, and names them.
func rulesText(kinds ...string) (text string, names map[string]string) {
	var b strings.Builder
	b.WriteString(settings)
	names = map[string]string{}
	for _, kind := range kinds {
		typ := "header"
		if kind == "body" {
			typ = kind
		}
		for _, call := range splitCalls(calls[kind]) {
			name := fmt.Sprintf("T_%03d", len(names)+1)
			names[name] = call
			fmt.Fprintf(&b, "%s %s eval:%s\nscore %s 0.01\n", typ, name, call, name)
		}
	}
	return b.String(), names
}

func splitCalls(s string) (out []string) {
	for _, part := range strings.SplitAfter(s, ")") {
		// A pattern may have brackets: a call ends where its quotes do.
		if n := len(out); n > 0 && strings.Count(out[n-1], "'")%2 == 1 {
			out[n-1] += part
			continue
		}
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// maker makes messages at random of what functions look for.
type maker struct{ *rand.Rand }

func (m maker) of(list ...string) string { return list[m.IntN(len(list))] }

// maybe is s, one time in n not.
func (m maker) maybe(n int, s string) string {
	if m.IntN(n) == 0 {
		return ""
	}
	return s
}

func (m maker) words(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(m.of("the", "offer", "free", "OFFER", "PILLS", "meeting", "ann@gmail.com", "bob@yahoo.com", "x", "tomorrow", "price: 12", "HERE", "caf\xc3\xa9", "&#x0041;", "1,000", "http://good.example.org/", "\nReceived: from "+m.host()+" (x [192.0.2.1])\n\tby "+m.host()+" with SMTP\n", "=65=66", "\xb0\xa1\xb0\xa2\xb0\xa3",
			"http://www.example.net/x", "https://ok.example.net/", "http://bad.example.org/a?u=http://other.example.com/", "http://203.0.113.7/", "trading date: 5\nsymbol: ABC\ncompany: x\n",
			"\n\u00a0\n\u00a0 \n", "\n\xa0\n\v\n", "\u2003", "x\u0085y", "CAF\u00c9", "http\u017f://www.example.net/", "\u212aarl@gmail.com", "ann@gmail.com\u00a0wrote:"))
		b.WriteString(m.of(" ", " ", " ", "  ", "\n", "\n\n"))
	}
	return b.String()
}

func (m maker) address() string {
	return m.of("ann@gmail.com", "bob7@yahoo.com", "carl@hotmail.com", "dora@juno.com", "x@eudoramail.com", "eve@bad.example.com", "ann@some.net", "ann@example.com", "friend@example.com",
		"victim@example.com", "more@example.com", "all@example.com", "joe@good.example.org", "it@bank.example.com", "boss@example.net", "chief@example.net", "a@shop.example.com", "b@relayed.example.com", "zed@freemail.example", "list@groups.msn.com", "notifications@groups.msn.com")
}

func (m maker) named() string {
	a := m.address()
	name := m.of("", "Ann", "\"Ann, B.\"", "\"boss@example.net\"", "\"ann@gmail.com\"", "\"ann at gmail dot com\"", "=?gb2312?B?yMs=?=", "=?iso-8859-1?q?J=F6rg?=", "J\xf6r\xfcg", "\"joe@good.example.org (via x)\"", "\""+a+"\"", "=?utf-8?Q?"+strings.ReplaceAll(a, "@", "=C2=A0@")+"?=", "\"Ann\u00a0B.\"", "=?utf-8?Q?=C3=89ve=E2=80=83?=", "\u00a0\v")
	if name == "" {
		return a
	}
	return name + " <" + a + ">"
}

func (m maker) addresses() string {
	var out []string
	for range 1 + m.IntN(3)*m.IntN(4) {
		out = append(out, m.named())
	}
	if m.IntN(5) == 0 {
		out = []string{"aa1@example.com", "aa2@example.com", "ab@example.net", "ac@example.org", "ad@example.com", "ae@example.com", "af@example.com"}
		switch m.IntN(3) {
		case 0:
			slices.Reverse(out)
		case 1:
			out = []string{"ann1@example.com", "ann2@example.com", "ann3@exile.com", "ann4@exit.com", "ann5@extra.com"}
		}
	}
	return strings.Join(out, ", ")
}

func (m maker) host() string {
	return m.of("mail.example.com", "smtp.bank.example.com", "shop.example.com", "mx.hotmail.com", "web1.mail.yahoo.com", "yahoo.com", "rly-xa01.mx.aol.com", "aol.com", "[198.51.100.5]", "203.0.113.20", "localhost", "x", "m1.juno.com", "unknown")
}

func (m maker) ip() string {
	return m.of("203.0.113.9", "198.51.100.5", "192.0.2.77", "10.1.2.3", "127.0.0.1", "66.218.1.1", "2001:db8::1")
}

func (m maker) date() string {
	return m.of("Thu, 26 Nov 2026 10:00:00 +0000", "Thu, 26 Nov 2026 15:30:00 +0100", "Wed, 25 Nov 2026 05:00:00 -0800", "1 Dec 2026 10:00:00 +0000", "Thu, 01 Jan 2015 00:00:00 +0000", "Thu Nov 26 10:00:00 2026", "nonsense", "26 Nov 0102 10:00:00 EST", "Thu, 26 Nov 26 09:00:00 CET")
}

func (m maker) received() string {
	return "Received: " + m.of(
		"from "+m.host()+" ("+m.host()+" ["+m.ip()+"]) by "+m.host()+" with ESMTP id A1B2C3D4",
		"from "+m.host()+" ("+m.host()+" ["+m.ip()+"])\n\tby "+m.host()+" (8.12.1/8.12.1) with ESMTP id A1B2",
		"from unknown (HELO "+m.host()+") ("+m.ip()+") by "+m.host()+" with SMTP",
		"from "+m.host()+" by web"+m.of("1", "x")+".mail.yahoo.com via HTTP",
		"from mail pickup service by hotmail.com with Microsoft SMTPSVC",
		"from mail pickup service by p01.groups.msn.com with Microsoft SMTPSVC",
		"from mx by gw05 with ESMTP",
		"by 10.1.2.3 with SMTP id abc",
		"(qmail 123 invoked from network); 26 Nov 2026 10:00:00 -0000",
		"garbage",
	) + "; " + m.date() + "\n"
}

func (m maker) head() string {
	var b strings.Builder
	b.WriteString(m.maybe(3, "Return-Path: <"+m.of("", "bounce@example.com", "x-example.com-friend@bad.example.com", "list-bounce@groups.msn.com", m.address())+">\n"))
	for range m.IntN(4) {
		b.WriteString(m.received())
	}
	b.WriteString(m.maybe(12, "From: "+m.named()+"\n") + m.maybe(6, "To: "+m.addresses()+"\n") + m.maybe(2, "Cc: "+m.addresses()+"\n") + m.maybe(2, "Reply-To: "+m.named()+"\n"))
	for range 1 + m.IntN(8)/7 {
		b.WriteString("Subject: " + m.of("hello", "[ok] it", "BUY THESE PILLS NOW", "Re: ALL CAPS HERE", "ann", "ann, look", "fw: hi ann@gmail.com", "=?koi8-r?B?8NLJ18XU?=", "=?gb2312?Q?=B0=A1?= x", "a\x80\x81b", "\xa3 1", "pills", "{NAME} you won", "%%FIRSTNAME%% hi", "VERY LOUD SUBJECT INDEED", "for ann@gmail.com only", "for friend@example.com", "\u00a0LOUD \u00c9TUDE AGAIN\u00a0", "VERY\u00a0LOUD\u00a0SUBJECT", "ann\u00a0, look", "re:\u00a0ann", "\v", "\u212a K pills") + "\n")
	}
	b.WriteString(m.maybe(4, "Date: "+m.date()+"\n"))
	b.WriteString(m.maybe(4, "Message-ID: "+m.of("<a.b@example.com>", "<000501c2d1ab$12345678$0100a8c0@x>", "<list-123@groups.msn.com>", "<ann>", "<20261126.A1B2C3D4@mail.example.com>", "<1@[192.0.2.1]>", "<ABCDEFGHIJKLMNOPQRSTUVWXYZAB.joe@good.example.org>", "<list-9@groups.msn.com>", "<x@p01.groups.msn.com>")+"\n"))
	for _, f := range []string{"X-Originating-IP: [203.0.113.9]", "X-Mailer: Juno 5.0", "X-Mailer: Webmail Version 2.0", "X-Sender-Ip: 203.0.113.9", "X-OriginatorOrg: hotmail.com",
		"Mailing-List: contact x-help@example.com; run by ezmlm", "Delivered-To: mailing list x@example.com", "X-Received: by 10.1.2.3 with SMTP id x", "Bcc: " + m.addresses(), "Apparently-To: x@example.com", "X-Odd: %FIRST_NAME", "X-Long: " + strings.Repeat("word ", 2500)} {
		b.WriteString(m.maybe(1+m.IntN(8)/7, "")) // keeps the draw even
		if m.IntN(9) == 0 {
			b.WriteString(f + "\n")
		}
	}
	return b.String()
}

func (m maker) html() string {
	var b strings.Builder
	b.WriteString(m.of("<html><head><title>"+m.of("Free offer", "", "A title that is long enough")+"</title>"+m.maybe(2, "<meta http-equiv=\"content-type\" content=\"text/html; charset="+m.of("big5", "utf-8")+"\">")+"</head><body>", "<html>", "", "<body bgcolor=black>"))
	for range m.IntN(8) {
		b.WriteString(m.of("<p>"+m.words(5)+"</p>", "<b>"+m.words(3), "</b>", "<font color=white>x y</font>", "<font color=#ffff>z</font>", "<font color=nocolor>z</font>", "<font face=\"F*o\">z</font>", "<font face=\"Foo, Bar\" size=7>big</font>", "<!-- x comment -->", "<foo>", "te<!-- -->xt",
			"<a href=\"http://www.example.net/\">https://www.example.com/</a>", "<a href=\"http://203.0.113.7/\">https://bank.example.com here</a>", "<img src=\"cid:1\" width=300 height="+m.of("200", "1%", "x")+">", "<iframe src=\"http://x.example.com/\"></iframe>",
			"<form action=\"mailto:a@b.com\">", "<script>x</script>", "<embed src=a>", "<center>", "<table width=600 height=400 background=x>", "<span style=\"font-size:40px;color:#fefefe\">w</span>", "<a href=\"mailto:ann@gmail.com\">here</a>", "&copy; caf&eacute; &#160;\n&#160; x", "CAF&Eacute;&euro; "))
	}
	if m.IntN(30) == 0 {
		b.WriteString("<a href=\"http://www.example.com/" + strings.Repeat("x", 9000) + "\">x</a>")
	}
	b.WriteString(m.of("</body></html>", "", "</html>"))
	return b.String()
}

func picture(kind string, w, h int) []byte {
	switch kind {
	case "gif":
		return []byte{'G', 'I', 'F', '8', '9', 'a', byte(w), byte(w >> 8), byte(h), byte(h >> 8), 0, 0, 0}
	case "png":
		return append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), 0, 0, byte(w>>8), byte(w), 0, 0, byte(h>>8), byte(h), 8, 2, 0, 0, 0)
	}
	return append([]byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xc0, 0, 17, 8}, byte(h>>8), byte(h), byte(w>>8), byte(w), 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1)
}

// leaf is a part without parts.
func (m maker) leaf() (head, body string) {
	switch m.IntN(5) {
	case 0, 1:
		text := m.words(m.IntN(60))
		if m.IntN(10) == 0 {
			text = strings.ToUpper(text)
		}
		if m.IntN(10) == 0 {
			text = strings.Repeat("\xb0\xa1\xb0\xa2 ", 20)
		}
		text += m.of("", "\n-- \nAnn\nExample Ltd\n", "\n--\nx")
		cte := m.of("", "7bit", "8bit", "quoted-printable", "base64")
		switch cte {
		case "base64":
			text = wrap(base64.StdEncoding.EncodeToString([]byte(text)), []int{76, 60, 77}[m.IntN(3)])
		case "quoted-printable":
			text = strings.NewReplacer("=", "=3D", "e", m.of("e", "=65"), "\xc3", "=C3", "\xa9", "=A9").Replace(text)
		}
		return "Content-Type: text/plain" + m.of("", "; charset=us-ascii", "; charset=iso-8859-1", "; charset=big5", "; charset=iso-abc-1", "; charset=\"utf-8\"") + "\n" + m.maybe(1+count(cte != ""), "Content-Transfer-Encoding: "+cte+"\n"), text
	case 2, 3:
		return "Content-Type: text/html" + m.of("", "; charset=utf-8") + "\n", m.html()
	}
	kind := m.of("gif", "png", "jpeg")
	size := [][2]int{{20, 30}, {300, 200}, {1, 1}, {640, 480}, {150, 100}}[m.IntN(5)]
	return "Content-Type: image/" + kind + m.maybe(3, "; name=\""+m.of("image1.gif", "photo.jpg", "image9.png")+"\"") + "\nContent-Transfer-Encoding: base64\n" + m.of("", "Content-Disposition: attachment; filename=image1.gif\n", "Content-Disposition: inline\n"),
		wrap(base64.StdEncoding.EncodeToString(picture(kind, size[0], size[1])), 76)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func wrap(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return b.String() + s + "\n"
}

// part is a part, or several in one.
func (m maker) part(depth int) (head, body string) {
	if depth > 1 || m.IntN(3) == 0 {
		return m.leaf()
	}
	bound := fmt.Sprintf("b%d_%d", depth, m.IntN(100))
	var b strings.Builder
	b.WriteString(m.of("", "preamble\n"))
	for range 1 + m.IntN(3) {
		h, t := m.part(depth + 1)
		b.WriteString("--" + bound + "\n" + m.maybe(15, h) + m.maybe(15, "\n") + t + "\n")
	}
	b.WriteString(m.maybe(6, "--"+bound+"--\n") + m.maybe(2, "epilogue\n"))
	return "Content-Type: multipart/" + m.of("mixed", "alternative", "alternative", "related") + "; boundary=\"" + bound + "\"\n", b.String()
}

func (m maker) message() []byte {
	h, b := m.part(0)
	return []byte(m.head() + m.maybe(8, "MIME-Version: 1.0\n"+h) + m.maybe(20, "\n") + b)
}

// TestFunctionsAsPerl calls functions over messages made at random, and compares with
// SpamAssassin.
func TestFunctionsAsPerl(t *testing.T) {
	mtatest.Program(t, "spamassassin")
	for _, kinds := range [][]string{{"header", "body", "uri"}, {"freemail"}} {
		t.Run(kinds[0], func(t *testing.T) {
			t.Parallel()
			callAll(t, kinds)
		})
	}
}

func callAll(t *testing.T, kinds []string) {
	seed, n := spamtest.Cases(400, 4000)
	text, names := rulesText(kinds...)
	file := filepath.Join(t.TempDir(), "eval.cf")
	mtatest.Write(t, file, text)
	o := spamtest.Start(t, "..", "../rules", spamtest.Site, "text="+text)
	rs, err := conf.Load([]string{"../rules", spamtest.Site, file}, conf.Options{Local: true})
	mtatest.Check(t, err)
	e := spam.New(rs, spam.Options{})
	for name, why := range e.Cannot() {
		t.Errorf("%s %s: %s", name, names[name], why)
	}
	m := maker{rand.New(rand.NewPCG(seed, 1))}
	hits, wrong := map[string]int{}, map[string]int{}
	for range n {
		msg := m.message()
		var v struct{ Hits map[string]float64 }
		o.About(t, "check", msg, &v)
		mine := map[string]bool{}
		for _, h := range e.Check(context.Background(), msg, scan.Facts{}).Hits {
			mine[h.Rule] = true
		}
		for name, call := range names {
			_, theirs := v.Hits[name]
			if theirs {
				hits[call]++
			}
			if mine[name] == theirs {
				continue
			}
			if wrong[call]++; wrong[call] == 1 {
				t.Errorf("%s: %v, SpamAssassin %v, of\n%s", call, mine[name], theirs, msg)
			}
		}
	}
	var never []string
	for _, call := range names {
		if hits[call] == 0 {
			never = append(never, call)
		}
	}
	slices.Sort(never)
	t.Logf("%d messages, %d calls, %d never hit: %s", n, len(names), len(never), strings.Join(never, " "))
	for call, n := range wrong {
		t.Logf("%d times: %s", n, call)
	}
	if n >= 400 && len(never) > 10 {
		t.Errorf("%d of %d calls never hit: too many to mean much", len(never), len(names))
	}
}

// Every function is one that rules may call here: there is none of which nothing is known.
func TestEveryFunctionIsCalled(t *testing.T) {
	called := calls["header"] + calls["body"] + calls["uri"] + calls["freemail"]
	for name := range eval.Functions() {
		if strings.Contains(called, name+"(") || strings.Contains(name, "whitelist") || strings.Contains(name, "blacklist") {
			continue
		}
		if !slices.ContainsFunc([]string{"spf", "dkim", "dmarc", "arc_", "bayes", "senders_reputation"}, func(s string) bool { return strings.Contains(name, s) }) {
			t.Errorf("%s is not compared with SpamAssassin", name)
		}
	}
}
