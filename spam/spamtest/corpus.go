package spamtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
)

// Message is one made-up message.
type Message struct {
	Name string
	Text []byte
}

// Corpus makes n messages in all the shapes that mail has: plain and HTML, with
// attachments, forwarded, newsletters, phishing, broken. The same n and seed make the same messages.
func Corpus(seed uint64, n int) []Message { return corpus(seed, n, 1) }

// LongCorpus is the same with longer texts and files: 10 KiB a message in the mean, for
// what measures time.
func LongCorpus(seed uint64, n int) []Message { return corpus(seed, n, longTimes) }

const longTimes = 10

func corpus(seed uint64, n, times int) []Message {
	out := make([]Message, n)
	for i := range out {
		g := &maker{rand.New(rand.NewPCG(seed, uint64(i))), times}
		kind := kinds[i%len(kinds)]
		text := kind.make(g)
		if g.one(12) {
			text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
		}
		if g.one(40) {
			text = append([]byte("From someone@example.net Thu Nov 26 10:00:00 2026\n"), text...)
		}
		out[i] = Message{fmt.Sprintf("%04d-%s", i, kind.name), text}
	}
	return out
}

// maker makes parts of messages.
type maker struct {
	r     *rand.Rand
	times int // how much longer texts are than those of Corpus
}

func (g *maker) one(in int) bool { return g.r.IntN(in) == 0 }

// sentence is one of a list; in long texts every second one is of its words in any order.
func (g *maker) sentence(from []string) string {
	s := g.pick(from)
	if g.times == 1 || g.one(2) {
		return s
	}
	words := strings.Fields(s + " " + g.pick(ham) + " " + g.pick(ham))
	g.r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return strings.Join(words[:len(words)/2], " ")
}

func (g *maker) pick(list []string) string { return list[g.r.IntN(len(list))] }

func (g *maker) n(from, to int) int { return from + g.r.IntN(to-from+1) }

var kinds = []struct {
	name string
	make func(*maker) []byte
}{
	{"plain", func(g *maker) []byte { return g.whole("text/plain", g.prose(ham), g.charset(), g.cte()) }},
	{"spam", func(g *maker) []byte { return g.whole("text/plain", g.prose(spam), g.charset(), g.cte()) }},
	{"html", func(g *maker) []byte { return g.whole("text/html", g.html(ham), g.charset(), g.cte()) }},
	{"spamhtml", func(g *maker) []byte { return g.whole("text/html", g.html(spam), g.charset(), g.cte()) }},
	{"alternative", func(g *maker) []byte { return g.alternative(ham) }},
	{"spamalternative", func(g *maker) []byte { return g.alternative(spam) }},
	{"phish", (*maker).phish}, {"fraud", (*maker).fraud}, {"newsletter", (*maker).newsletter}, {"attachment", (*maker).attachment},
	{"forward", (*maker).forward}, {"charset", (*maker).foreign}, {"broken", (*maker).broken}, {"bounce", (*maker).bounce},
	{"gtube", (*maker).gtube}, {"list", (*maker).list}, {"hidden", (*maker).hidden}, {"links", (*maker).linky}, {"tagsoup", (*maker).soup}, {"odd", (*maker).odd},
}

// whole puts a header before one part.
func (g *maker) whole(typ, body, charset, cte string) []byte {
	return []byte(g.head(fmt.Sprintf("MIME-Version: 1.0\nContent-Type: %s; charset=%s\nContent-Transfer-Encoding: %s\n", typ, g.quote(charset), cte)) + "\n" + encode(body, charset, cte))
}

func (g *maker) quote(s string) string {
	if g.one(2) {
		return `"` + s + `"`
	}
	return s
}

func encode(body, charset, cte string) string {
	if strings.EqualFold(charset, "iso-8859-1") || strings.EqualFold(charset, "windows-1252") {
		var b strings.Builder
		for _, r := range body {
			b.WriteByte(byte(r))
		}
		body = b.String()
	}
	switch cte {
	case "quoted-printable":
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		w.Write([]byte(body))
		w.Close()
		return strings.ReplaceAll(b.String(), "\r\n", "\n") + "\n"
	case "base64":
		s := base64.StdEncoding.EncodeToString([]byte(body))
		var b strings.Builder
		for len(s) > 76 {
			b.WriteString(s[:76] + "\n")
			s = s[76:]
		}
		return b.String() + s + "\n"
	}
	return body + "\n"
}

func (g *maker) charset() string {
	return g.pick([]string{"utf-8", "utf-8", "UTF-8", "us-ascii", "iso-8859-1", "windows-1252"})
}

func (g *maker) cte() string {
	return g.pick([]string{"7bit", "8bit", "quoted-printable", "base64", "quoted-printable"})
}

func (g *maker) host() string {
	return g.pick([]string{"mail", "mx1", "smtp", "out-23", "server", "pool-12-34-56-78.dsl", "host-203-0-113-9", "m", "dynamic-ip-198-51-100-7", "web01", "unknown"}) + "." + g.domain()
}

func (g *maker) domain() string {
	return g.pick([]string{"example.net", "example.com", "mail.ru", "gmail.com", "yahoo.com", "hotmail.com", "corp.example.org", "foo.co.uk", "bank.example", "shop.top",
		"cheap-pills.xyz", "click.info", "aol.com", "outlook.com", "firma.de", "uni.edu", "site.biz", "best4you.club", "list.example.org", "paypa1-secure.com"})
}

func (g *maker) ip() string {
	return fmt.Sprintf("%s.%d.%d", g.pick([]string{"192.0", "203.0", "198.51", "10.1", "85.14", "117.3", "61.2", "172.20", "8.8", "127.0"}), g.n(0, 254), g.n(1, 254))
}

func (g *maker) person() string {
	return g.pick([]string{"John Smith", "Maria Garcia", "Dr. Ahmed Musa", "PayPal Service", "\"Support, Team\"", "Jürgen Müller", "info", "Anna", "MR JAMES OKORO", "Amazon.com", "news", "=?utf-8?B?SsO8cmdlbiBNw7xsbGVy?=", "=?iso-8859-1?Q?Andr=E9_Dupont?=", "", "bob"})
}

func (g *maker) local() string {
	return g.pick([]string{"john", "maria.garcia", "info", "support", "noreply", "dr.ahmed", "j_smith123", "sales", "xk29fj3k2", "bounce+123", "admin", "a", "newsletter-7732", "MAILER-DAEMON"})
}

func (g *maker) address() string {
	p, a := g.person(), g.local()+"@"+g.domain()
	switch g.n(0, 6) {
	case 0:
		return a
	case 1:
		return "<" + a + ">"
	case 2:
		return a + " (" + strings.Trim(p, `"`) + ")"
	}
	if p == "" {
		return a
	}
	return p + " <" + a + ">"
}

func (g *maker) date() string {
	switch g.n(0, 12) {
	case 0:
		return "Thu, 1 Jan 1970 00:00:00 +0000"
	case 1:
		return "26 Nov 2026 10:00:00 GMT"
	case 2:
		return fmt.Sprintf("Fri, %d Feb 2031 12:00:00 -0500", g.n(1, 28))
	case 3:
		return "2026/11/26 10:00"
	}
	return fmt.Sprintf("Thu, 26 Nov 2026 %02d:%02d:%02d %s", g.n(0, 23), g.n(0, 59), g.n(0, 59), g.pick([]string{"+0000", "+0100", "-0800", "+0530", "GMT", "+0000 (UTC)", "-0000", "EST"}))
}

func (g *maker) received() string {
	h, ip, by := g.host(), g.ip(), g.pick([]string{"mx.example.org", "mail.example.org", "localhost", "filter.local"})
	id := fmt.Sprintf("%08X", g.r.Uint32())
	d := g.date()
	switch g.n(0, 11) {
	case 0:
		return fmt.Sprintf("from %s (%s [%s])\n\tby %s (Postfix) with ESMTP id %s\n\tfor <u@example.org>; %s", h, h, ip, by, id, d)
	case 1:
		return fmt.Sprintf("from %s (unknown [%s]) by %s (Postfix) with SMTP id %s; %s", h, ip, by, id, d)
	case 2:
		return fmt.Sprintf("from [%s] (helo=%s) by %s with esmtp (Exim 4.96) (envelope-from <%s@%s>) id 1abcDE-0001; %s", ip, h, by, g.local(), g.domain(), d)
	case 3:
		return fmt.Sprintf("from %s ([%s]) by %s with Microsoft SMTPSVC(6.0.3790.4675); %s", h, ip, by, d)
	case 4:
		return fmt.Sprintf("(qmail %d invoked from network); 26 Nov 2026 10:00:00 -0000", g.n(100, 30000))
	case 5:
		return fmt.Sprintf("from unknown (HELO %s) (%s) by %s with SMTP; 26 Nov 2026 10:00:00 -0000", h, ip, by)
	case 6:
		return fmt.Sprintf("by 2002:a05:6214:2b0c:b0:%x with SMTP id x%d; %s", g.n(1, 65535), g.n(1, 99999), d)
	case 7:
		return fmt.Sprintf("from %s (%s. [%s]) by mx.google.com with ESMTPS id a1-%d.2026 for <u@gmail.com> (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256); %s", h, h, ip, g.n(1, 1000), d)
	case 8:
		return fmt.Sprintf("from %s ([%s]:%d helo=%s) by %s with esmtpsa (TLS1.2) tls TLS_ECDHE (Exim 4.92) id %s; %s", h, ip, g.n(1024, 65000), g.host(), by, id, d)
	case 9:
		return fmt.Sprintf("from %s (%s [%s]) (Authenticated sender: %s) by %s (Postfix) with ESMTPSA id %s; %s", h, h, ip, g.local(), by, id, d)
	case 10:
		return fmt.Sprintf("from DM6PR01MB1234.prod.outlook.com (2603:10b6:5:1::%d) by BN8.prod.outlook.com (2603:10b6:408::2) with Microsoft SMTP Server (version=TLS1_2) id 15.20.1; %s", g.n(1, 99), d)
	}
	return fmt.Sprintf("from %s [%s] by %s; %s", h, ip, by, d)
}

func (g *maker) messageID() string {
	switch g.n(0, 7) {
	case 0:
		return fmt.Sprintf("<%d@%s>", g.n(1, 999999), g.domain())
	case 1:
		return fmt.Sprintf("<%08X.%04X@%s>", g.r.Uint32(), g.n(0, 65535), g.host())
	case 2:
		return fmt.Sprintf("<CA+abc%dXYZ=%d@mail.gmail.com>", g.n(1, 9999), g.n(1, 9999))
	case 3:
		return fmt.Sprintf("<%012d$%08x$0100007f@%s>", g.n(1, 1<<30), g.r.Uint32(), g.pick([]string{"pc", "mydomain", "localhost"}))
	case 4:
		return fmt.Sprintf("%d.%d", g.n(1, 999), g.n(1, 999))
	case 5:
		return "<>"
	}
	return fmt.Sprintf("<20261126100000.%d.%s@%s>", g.n(1, 99999), g.local(), g.domain())
}

func (g *maker) subject() string {
	return g.pick([]string{"Re: Meeting tomorrow", "Your order 12345", "URGENT BUSINESS PROPOSAL", "Cheap VIAGRA here!!!", "FREE MONEY $$$ GUARANTEED", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_Berlin?=", "=?UTF-8?B?0J/RgNC40LLQtdGC?=",
		"hi", "Fwd: photos", "Account suspended - verify now", "[list] patch v2", "You have won 1,000,000 EUR", "", "Invoice #8821", "Lose weight fast, no exercise", "V1AGRA C1ALIS", "Newsletter November", "undelivered mail",
		"=?iso-8859-1?Q?R=E9union?=   =?iso-8859-1?Q?_demain?=", "Get your degree today", "S p a c e d  o u t", "Re:", "RE: FW: RE: bank statement", "work from home $5000 a week", "\u4f60\u597d", "100% free trial", "Dear friend", "LOW RATES on your mortgage", "Rolex replica watches"})
}

// head makes a header; more goes before its end.
func (g *maker) head(more string) string {
	var b strings.Builder
	for range g.n(0, 4) {
		b.WriteString("Received: " + g.received() + "\n")
	}
	if g.one(3) {
		b.WriteString("Return-Path: <" + g.local() + "@" + g.domain() + ">\n")
	}
	field := func(in int, name, value string) {
		if !g.one(in) {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	some := func(in int, name, value string) {
		if g.one(in) {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	field(30, "From", g.address())
	field(15, "To", g.pick([]string{"u@example.org", "<u@example.org>", "undisclosed-recipients:;", "User <u@example.org>, Other <o@example.org>", "u@example.org, a@example.org, b@example.org, c@example.org, d@example.org, e@example.org", ""}))
	some(6, "Cc", g.address())
	some(4, "Reply-To", g.address())
	field(20, "Subject", g.subject())
	field(15, "Date", g.date())
	field(12, "Message-ID", g.messageID())
	some(5, "X-Mailer", g.pick([]string{"Microsoft Outlook Express 6.00.2600.0000", "The Bat! (v2.00)", "Microsoft Outlook 16.0", "Apple Mail (2.3445)", "PHPMailer 5.2.9 (https://github.com/PHPMailer/PHPMailer/)", "MIME-tools 5.41", "iPhone Mail (15E148)"}))
	some(7, "X-Priority", g.pick([]string{"1 (Highest)", "3", "1"}))
	some(9, "X-MSMail-Priority", "High")
	some(9, "X-MimeOLE", "Produced By Microsoft MimeOLE V6.00.2600.0000")
	some(6, "In-Reply-To", g.messageID())
	some(6, "References", g.messageID()+"\n "+g.messageID())
	some(8, "List-Unsubscribe", "<mailto:leave@"+g.domain()+">, <https://"+g.domain()+"/u>")
	some(9, "Precedence", g.pick([]string{"bulk", "list", "junk"}))
	some(9, "Sender", g.address())
	some(9, "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.5.0")
	some(12, "X-Originating-IP", "["+g.ip()+"]")
	some(12, "Content-Language", "en")
	some(15, "X-PHP-Originating-Script", "33:mail.php")
	some(15, "Errors-To", g.address())
	some(10, "Thread-Index", "AdVx1xyz")
	b.WriteString(more)
	return b.String()
}
