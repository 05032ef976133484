package eval_test

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"mtad/spam/spamtest/cases"
)

func hit(rule, message string) cases.Case  { return cases.Hit(rule, message) }
func miss(rule, message string) cases.Case { return cases.Miss(rule, message) }

func header(call string) string { return "header %s eval:" + call }
func body(call string) string   { return "body %s eval:" + call }

// fields is a message with these in its header.
func fields(f ...string) string { return strings.Join(f, "\n") + "\n\nbody\n" }

// TestHeaderLimits: what is cut short is said to be.
func TestHeaderLimits(t *testing.T) {
	cut := header("check_msg_parse_flags('truncated_header')")
	long := func(n int, each string) string { return strings.Repeat(each, n) }
	cases.Check(t, "..", "",
		miss(cut, fields(long(256, "n")+": x")), hit(cut, fields(long(257, "n")+": x")),
		miss(cut, fields("X: "+long(8190, "v"))), hit(cut, fields("X: "+long(8191, "v"))),
		miss(cut, fields("X:"+long(8191, "v"))), hit(cut, fields("X:"+long(8192, "v"))),
	)
}

func text(s string) string {
	return "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + s + "\n"
}

func html(s string) string {
	return "Subject: x\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n" + s + "\n"
}

// parts is a multipart of a kind.
func parts(kind string, part ...string) string {
	return "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/" + kind + "; boundary=b\n\n--b\n" + strings.Join(part, "\n--b\n") + "\n--b--\n"
}

// TestHeaders: functions that look at fields.
func TestHeaders(t *testing.T) {
	caps, toUser, toAddress := header("subject_is_all_caps()"), header("check_for_to_in_subject('user')"), header("check_for_to_in_subject('address')")
	illegal := header("check_illegal_chars('Subject','0.25','2')")
	same, count := header("check_for_matching_env_and_hdr_from()"), header("check_header_count_range('Subject','2','3')")
	sorted, similar := header("sorted_recipients()"), header("similar_recipients('0.65','undef')")
	shifted, months := header("check_for_shifted_date('3','6')"), header("received_within_months('6','undef')")
	outlook, template, unique := header("check_outlook_message_id()"), header("check_unresolved_template()"), header("check_for_unique_subject_id()")
	missing := header("check_for_missing_to_header()")
	received := func(date string) string {
		return "Received: from a.example.com (a.example.com [192.0.2.1]) by mx.example.org (Postfix) with SMTP id A1; " + date
	}
	cases.Check(t, "..", "",
		hit(caps, fields("Subject: BUY THIS NOW")), miss(caps, fields("Subject: BUY THIs NOW")),
		miss(caps, fields("Subject: BUYTHISNOW")),                                          // one word
		miss(caps, fields("Subject: BUY IT NO")), hit(caps, fields("Subject: BUY IT NOW")), // less than ten, and ten octets
		hit(caps, fields("Subject: Re: fwd: BUY THIS NOW")),        // marks are not the sender's
		miss(caps, fields("Subject: 12 34 567 89")),                // no letter
		miss(caps, fields("Subject: =?koi8-r?Q?BUY_THIS_NOW?=")),   // in some charsets capitals are others' letters
		miss(caps, fields("Subject: VERY\u00a0LOUD\u00a0SUBJECT")), // a no-break space parts no words
		hit(caps, fields("Subject: VERY LOUD \u00c9TUDE")),         // only letters of ASCII count
		hit(toUser, fields("To: ann@example.com", "Subject: ann, look")), miss(toUser, fields("To: ann@example.com", "Subject: Ann, look")), hit(toUser, fields("To: ann@example.com", "Subject: , ann!")),
		hit(toUser, fields("To: ann@example.com", "Subject: Re: ann")), miss(toUser, fields("To: ann@example.com", "Subject: anna, look")),
		hit(toUser, fields("To: ann@example.com", "Subject: re: hello ann")), miss(toUser, fields("To: ann@example.com", "Subject: dear ann")),
		hit(toAddress, fields("To: ann@example.com", "Subject: for ANN@example.com only")), miss(toAddress, fields("To: ann@example.com", "Subject: for ann@example.comx")),
		miss(illegal, fields("Subject: abcd")), hit(illegal, fields("Subject: a\xe9\xe9b")), miss(illegal, fields("Subject: \xe9bc")),
		hit(same, fields("Return-Path: <a@example.com>", "From: A <A@Example.com>")), miss(same, fields("Return-Path: <b@example.com>", "From: a@example.com")), hit(same, fields("X: y")),
		miss(count, fields("Subject: a")), hit(count, fields("Subject: a", "Subject: b")), hit(count, fields("Subject: a", "Subject: b", "Subject: c")),
		miss(count, fields("Subject: a", "Subject: a")), // the same twice counts once
		miss(count, fields("Subject: a", "Subject: b", "Subject: c", "Subject: d")),
		hit(sorted, fields("To: a@x.example.com, b@x.example.com, c@x.example.com, d@x.example.com, e@x.example.com, f@x.example.com, g@x.example.com")),
		miss(sorted, fields("To: b@x.example.com, a@x.example.com, c@x.example.com, d@x.example.com, e@x.example.com, f@x.example.com, g@x.example.com")),
		miss(sorted, fields("To: a@x.example.com, b@x.example.com")),
		hit(similar, fields("To: ann1@example.com, ann2@example.com, ann3@example.com, ann4@example.com, ann5@example.com")),
		miss(similar, fields("To: ann1@example.com, bob@other.net, carl@third.org, dora@fourth.com, eve@fifth.net")),
		hit(shifted, fields(received("Thu, 26 Nov 2026 10:00:00 +0000"), "Date: Thu, 26 Nov 2026 14:00:00 +0000")),
		hit(shifted, fields(received("Thu, 26 Nov 2026 10:00:00 +0000"), "Date: Thu, 26 Nov 2026 13:00:00 +0000")),
		miss(shifted, fields(received("Thu, 26 Nov 2026 10:00:00 +0000"), "Date: Thu, 26 Nov 2026 12:59:59 +0000")),
		miss(shifted, fields(received("Thu, 26 Nov 2026 10:00:00 +0000"), "Date: Thu, 26 Nov 2026 16:00:00 +0000")),
		miss(shifted, fields("Date: Thu, 26 Nov 2026 14:00:00 +0000")),
		hit(months, fields(received("Thu, 26 Nov 2015 10:00:00 +0000"))),
		hit(outlook, fields("Message-ID: <000501c2d1ab$12345678$0100a8c0@x>", "Date: Thu, 26 Nov 2026 10:00:00 +0000")),
		miss(outlook, fields("Message-ID: <1@x>")),
		hit(template, fields("X-Odd: %FIRST_NAME")), miss(template, fields("X-Odd: %first")), miss(template, fields("Subject: %FIRST_NAME")),
		miss(unique, fields("Subject: hello   [abc1234567]")), // SpamAssassin looks no longer
		hit(missing, fields("From: a@example.com")), miss(missing, fields("To: a@example.com")), miss(missing, fields("Apparently-To: a@example.com")),
	)
}

// TestRelays: functions that look at the way of a message.
func TestRelays(t *testing.T) {
	numeric, trusted, none, unread := header("check_for_numeric_helo()"), header("check_all_trusted()"), header("check_no_relays()"), header("check_relays_unparseable()")
	other, illegal, dotcom := header("helo_ip_mismatch()"), header("check_for_illegal_ip()"), header("check_for_no_rdns_dotcom_helo()")
	client := func(helo, name, ip string) string {
		return fields("Received: from " + helo + " (" + name + " [" + ip + "]) by mx.example.org (Postfix) with SMTP id A1")
	}
	cases.Check(t, "..", "",
		hit(numeric, client("192.0.2.1", "unknown", "192.0.2.1")), miss(numeric, client("[192.0.2.1]", "unknown", "192.0.2.1")), miss(numeric, client("a.example.com", "unknown", "192.0.2.1")),
		hit(numeric, client("10.0.0.1", "unknown", "192.0.2.1")), // meant to be left out
		hit(trusted, client("a", "a", "10.0.0.1")), miss(trusted, client("a", "a", "192.0.2.1")), miss(trusted, fields("X: y")),
		hit(none, fields("X: y")), miss(none, client("a", "a", "192.0.2.1")),
		hit(unread, fields("Received: from nowhere that is known")), miss(unread, client("a", "a", "192.0.2.1")),
		hit(other, client("192.0.3.1", "unknown", "192.0.2.1")), miss(other, client("192.0.2.99", "unknown", "192.0.2.1")),
		miss(illegal, client("a", "a", "0.1.2.3")), // SpamAssassin looks no longer
		hit(dotcom, client("hotmail.com", "unknown", "192.0.2.1")), miss(dotcom, client("hotmail.com", "mail.hotmail.com", "192.0.2.1")), miss(dotcom, client("example.com", "unknown", "192.0.2.1")),
	)
}

// TestBodies: functions that look at texts.
func TestBodies(t *testing.T) {
	blank, upper, shortest := body("check_blank_line_ratio('50','100','4')"), body("check_for_uppercase('50','101')"), body("check_body_length('4')")
	sig, vertical, stock := body("plaintext_sig_length('5','100')"), body("tvd_vertical_words('0','15')"), body("check_stock_info('2')")
	unicode, difference := body("check_abundant_unicode_ratio('0.02')"), body("multipart_alternative_difference('99','100')")
	cases.Check(t, "..", "",
		hit(blank, text("a\n\nb\n\nc\n\n")), miss(blank, text("a\nb\nc\n\nd")), miss(blank, text("a\n")),
		miss(blank, text("a\n\u00a0\nb\n\u00a0\nc\n\u00a0\nd\n\u00a0")),                        // a no-break space is something
		hit(blank, text("a\n\v\nb\n\f \nc\n\t\n \n")), miss(blank, text("a\n\nb\n\nc\n\nd\n")), // half is not more than half
		hit(upper, text(strings.Repeat("THIS IS ALL LOUD ", 20))), miss(upper, text(strings.Repeat("this is not loud ", 20))), miss(upper, text("LOUD BUT SHORT")),
		hit(shortest, text("a")), miss(shortest, text(strings.Repeat("long ", 20))),
		hit(sig, text("hello\n-- \nAnn of Example Ltd")), hit(sig, text("hello\n--\nAnn of Example Ltd")), miss(sig, text("hello\n---\nAnn of Example Ltd")), miss(sig, text("hello")),
		hit(vertical, text("some sentences without shortwords")), miss(vertical, text("a b c d e f")), miss(vertical, text("")),
		hit(stock, text("trading date: 5\nsymbol: ABC\ncompany: x\n")), miss(stock, text("trading date: 5\nhello\n")),
		hit(unicode, text("&#x0041;&#x0042;")), miss(unicode, html("&#x0041;&#x0042;")), miss(unicode, text("plain and long text of many words, with one &#x0041;"+strings.Repeat(" and more of it", 30))),
		miss(difference, parts("alternative", "Content-Type: text/plain\n\none two three", "Content-Type: text/html\n\n<p>one two three</p>")),
		hit(difference, parts("alternative", "Content-Type: text/plain\n\none two three", "Content-Type: text/html\n\n<p>four five six</p>")),
		miss(difference, parts("mixed", "Content-Type: text/plain\n\none two three", "Content-Type: text/html\n\n<p>four five six</p>")),
	)
}

// TestMIME: functions that look at how parts are written.
func TestMIME(t *testing.T) {
	mime := func(what string) string { return body("check_for_mime('" + what + "')") }
	base64 := func(line int) string {
		return "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("QUJD", (line+3)/4)[:line]+"\n", 2)
	}
	qp := func(s string) string {
		return "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" + s + "\n"
	}
	cases.Check(t, "..", "",
		hit(body("check_base64_length('78','79')"), base64(77)), hit(body("check_base64_length('78','79')"), base64(78)), // with its end
		miss(body("check_base64_length('78','79')"), base64(76)), miss(body("check_base64_length('78','79')"), base64(79)),
		hit(mime("mime_base64_count"), base64(76)), miss(mime("mime_base64_count"), text("a")),
		hit(mime("mime_qp_long_line"), qp(strings.Repeat("x", 79))), miss(mime("mime_qp_long_line"), qp(strings.Repeat("x", 78))),
		hit(mime("mime_qp_count"), qp("=41=42=43=44")), miss(mime("mime_qp_count"), qp("=3D")),
		hit(mime("mime_body_html_count"), html("<p>x")), miss(mime("mime_body_html_count"), text("x")),
		miss(mime("mime_missing_boundary"), parts("mixed", "\nx")),
		hit(mime("mime_attachment"), parts("mixed", "Content-Type: text/plain\nContent-Disposition: attachment; filename=a\n\nx")), miss(mime("mime_attachment"), parts("mixed", "Content-Type: text/plain\n\nx")),
		hit(body("check_for_mime_html_only()"), html("<p>x")), miss(body("check_for_mime_html_only()"), parts("alternative", "Content-Type: text/plain\n\nx", "Content-Type: text/html\n\n<p>x")),
		hit(body("check_ma_non_text()"), parts("alternative", "Content-Type: application/x\n\nx", "Content-Type: text/html\n\n<p>x")), miss(body("check_ma_non_text()"), parts("mixed", "Content-Type: application/x\n\nx")),
	)
}

// TestPictures: a picture may claim any size.
func TestPictures(t *testing.T) {
	png := func(width, height uint32) string {
		file := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
		file = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(file, width), height)
		return parts("mixed", "Content-Type: text/plain\n\nbody", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString(append(file, "\x08\x02\x00\x00\x00\x01\x02\x03\x04"...)))
	}
	large, ratio := body("pixel_coverage('png','60000')"), body("image_to_text_ratio('all','0.0','0.001')")
	cases.Check(t, "..", "",
		hit(large, png(200, 300)), miss(large, png(200, 299)), hit(large, png(1<<32-1, 1<<32-1)),
		hit(ratio, png(200, 300)), miss(ratio, png(20, 30)), hit(ratio, png(1<<32-1, 1<<32-1)),
	)
}

// TestFreemail: addresses in the text, each once; too many of them mean nothing.
func TestFreemail(t *testing.T) {
	free := header("check_freemail_body()")
	config := "util_rb_tld com net\nfreemail_domains gmail.com yahoo.com\nfreemail_max_body_freemails 3\n"
	cases.Check(t, "..", config,
		hit(free, text("ann@gmail.com")), miss(free, text("ann@example.com")), miss(free, text("ann@gmail.nosuch")),
		miss(free, text("Ann <ann@gmail.com>")), miss(free, text("ann@gmail.com wrote:")), hit(free, text("ann@gmail.com fax: 1")), // who is quoted is not offered
		miss(free, text("http://example.com/?ann@gmail.com")),
		hit(free, text("a@gmail.com b@gmail.com")), miss(free, text("a@gmail.com b@gmail.com c@yahoo.com")),
		hit(free, text("arl@gmail.com \u212aarl@gmail.com b@gmail.com")),                                                       // the sign of Kelvin is no letter of an address
		hit(free, text("ann@gmail.com http\u017f://example.com/")), hit(free, text("http\u017f://example.com/?ann@gmail.com")), // and the long s none of a scheme
	)
}
