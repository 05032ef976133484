package spamtest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

var ham = []string{
	"The meeting on Tuesday is moved to 3 pm, please bring the figures of the last quarter.", "Attached you find the minutes; corrections are welcome until Friday.",
	"I read your patch and have two remarks about the locking in the second function.", "Grüße aus München, das Wetter ist schön und wir wandern jeden Tag.",
	"Could you send me the report again? The file you sent was empty.", "Thanks for the photos, the children were delighted.", "On Mon, Nov 23, 2026 at 10:12 AM Bob wrote:",
	"> I think we should wait for the release.", "The train leaves at 7:42 from platform 9.", "Voilà le texte que tu m'as demandé, à bientôt à Genève.", "See https://www.example.com/docs/index.html for details.",
	"Your parcel has been shipped and will arrive on Thursday.", "-- \nJohn Smith\nExample Ltd., 12 High Street, London", "The invoice number is 2026-1189, payable within 30 days.", "Let me know what you think.",
	"We tested the new build on three machines and found no regression.", "Café, naïve, façade: words with accents.", "Die Rechnung über 1.200,00 EUR liegt bei.",
}

var spam = []string{
	"Buy Viagra and Cialis online, no prescription needed, best prices guaranteed!", "Click here to claim your FREE gift worth $1,000 now!!!", "You have been selected as a winner of the international lottery.",
	"100% satisfaction guaranteed or your money back.", "Lose 30 pounds in 30 days without exercise or diet.", "Earn $5,000 per week working from home, no experience necessary.", "Refinance your mortgage at the lowest rates, bad credit OK.",
	"This is not spam. You received this email because you subscribed to our list.", "To be removed from future mailings, reply with REMOVE in the subject.", "Dear friend, I am the widow of the late General and I need your assistance in transferring the sum of $25,000,000 (twenty five million United States dollars).",
	"Enlarge your p3nis naturally, increase your size up to 3 inches.", "Replica Rolex watches at www.replica-watches.biz, order today!", "ACT NOW! Limited time offer, call 1-800-555-0199.", "University diplomas, no required tests, classes, books or interviews.",
	"Your account has been suspended. Please verify your information at http://203.0.113.9/login.php within 24 hours.", "V!agra, C1alis, X@nax, Val1um - all meds here http://cheap-pills.xyz/", "Hot stock pick: this penny stock is about to explode, strong buy!", "Meet singles in your area tonight.",
	"Once in a lifetime opportunity, be your own boss, financial freedom.", "Risk free trial, no obligation, no credit card required.", "I have hacked your device and recorded you through your webcam; send $900 in bitcoin to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2.",
	"We have unclaimed inheritance funds in the bank, please reply with your full name, address, and telephone number.", "SEO services: we can place your website on top of Google's first page.", "The transaction is 100% risk free and requires utmost confidentiality.", "Online casino, $500 welcome bonus, play now.",
}

func (g *maker) prose(from []string) string {
	var b strings.Builder
	for range g.n(1, 12) * g.times {
		b.WriteString(g.sentence(from))
		b.WriteString(g.pick([]string{" ", "\n", "\n\n", "  ", "\n \n", "\t"}))
	}
	if g.one(15) {
		b.WriteString(strings.Repeat(g.pick([]string{"x", "word ", "ünï ", "= "}), g.n(500, 3000)))
	}
	return b.String()
}

func (g *maker) url() string {
	return g.pick([]string{"http://www.example.com/", "https://shop.top/buy?id=1&amp;x=2", "http://203.0.113.9/login.php", "http://cheap-pills.xyz/%76iagra", "https://paypa1-secure.com/signin", "http://bit.ly/3abcd", "mailto:info@example.com?subject=hi", "http://user:pass@evil.click.info:8080/a/../b",
		"https://www.google.com/url?q=http://click.info/x&sa=D", "//cdn.example.net/i.png", "/relative/path.html", "cid:image001@x", "javascript:void(0)", "ftp://ftp.example.org/pub", "http://EXAMPLE.com./x", "https://xn--mnchen-3ya.de/", "www.noscheme.com/page", "tel:+491234", "http://0x7f000001/", "#top", "", "https://t.co/aBc123", "http://a.b.c.foo.co.uk/index.html?u=http%3A%2F%2Fx.biz"})
}

func (g *maker) color() string {
	return g.pick([]string{"#ff0000", "#FFF", "white", "black", "#fffffe", "rgb(1,2,3)", "red", "notacolor", "#12345", "transparent", "gray", "#000", "fefefe"})
}

func (g *maker) html(from []string) string {
	var b strings.Builder
	if !g.one(4) {
		b.WriteString(g.pick([]string{"<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html><head><title>" + g.pick(from) + "</title></head><body>", "<html>\n<body bgcolor=\"" + g.color() + "\" text=" + g.color() + ">", "<HTML><HEAD>\n<META http-equiv=Content-Type content=\"text/html; charset=iso-8859-1\">\n<STYLE>p { color: red }</STYLE></HEAD>\n<BODY>", "<html><head><base href=\"http://base.example.com/dir/page.html\"></head><body>"}))
	}
	for range g.n(2, 14) * g.times {
		g.element(&b, from)
	}
	if !g.one(4) {
		b.WriteString("</body></html>\n")
	}
	return b.String()
}

func (g *maker) element(b *strings.Builder, from []string) {
	text := g.sentence(from)
	switch g.n(0, 21) {
	case 0:
		fmt.Fprintf(b, "<p>%s</p>\n", text)
	case 1:
		fmt.Fprintf(b, "<a href=\"%s\">%s</a> ", g.url(), text)
	case 2:
		fmt.Fprintf(b, "<a href='%s'><img src=\"%s\" width=%d height=\"%d\" alt=x></a>", g.url(), g.url(), g.n(1, 800), g.n(1, 600))
	case 3:
		fmt.Fprintf(b, "<font color=\"%s\" size=%s face=\"%s\">%s</font><br>\n", g.color(), g.pick([]string{"1", "+2", "-3", "7", "\"5\""}), g.pick([]string{"Arial", "Verdana, sans-serif", "'Times New Roman'", "x;y", "Comic Sans MS"}), text)
	case 4:
		fmt.Fprintf(b, "<table bgcolor=%s><tr><td>%s<td style=\"color: %s; background-color:%s\">%s</table>\n", g.color(), text, g.color(), g.color(), g.pick(from))
	case 5:
		fmt.Fprintf(b, "<div style=\"display: none\">%s</div>", text)
	case 6:
		fmt.Fprintf(b, "<span style='font-size:1px;color:%s'>%s</span>", g.color(), text)
	case 7:
		fmt.Fprintf(b, "<!-- %s --> %s", g.pick(from), text)
	case 8:
		fmt.Fprintf(b, "<script>document.write(\"<b>%s</b>\")</script>", text)
	case 9:
		fmt.Fprintf(b, "%s<br/>%s<BR>", text, g.pick(from))
	case 10:
		fmt.Fprintf(b, "<ul><li>%s<li>%s</ul>", text, g.pick(from))
	case 11:
		fmt.Fprintf(b, "<h%d>%s</h%d>\n", g.n(1, 6), text, g.n(1, 6))
	case 12:
		fmt.Fprintf(b, "Vi<b></b>agra Ci<!-- x -->al<i>is</i> %s", text)
	case 13:
		fmt.Fprintf(b, "&lt;%s&gt; &nbsp;&copy; &#8364; &#x41; &amp &eacute;&unknown; ", text)
	case 14:
		fmt.Fprintf(b, "<form action=\"%s\"><input type=text name=a></form>", g.url())
	case 15:
		fmt.Fprintf(b, "<iframe src=%s></iframe>%s", g.url(), text)
	case 16:
		fmt.Fprintf(b, "<o:p>%s</o:p><st1:place>x</st1:place>", text)
	case 17:
		fmt.Fprintf(b, "<big><small>%s</small></big> <center>%s</center>", text, text)
	case 18:
		fmt.Fprintf(b, "<area href=\"%s\"><link href=%s><td background=\"%s\">", g.url(), g.url(), g.url())
	case 19:
		fmt.Fprintf(b, "<a href=\"http://www.bank.example/\">http://%s/</a>", g.domain())
	case 20:
		fmt.Fprintf(b, "<p style=\"background: url('x.png') no-repeat, %s; visibility:%s\">%s", g.color(), g.pick([]string{"hidden", "visible"}), text)
	default:
		b.WriteString(text + "\n")
	}
}

func (g *maker) boundary() string {
	return g.pick([]string{"----=_NextPart_000_0001_01C00001.12345678", "b1_abc", "=-=xyz=-=", "0000000000001234", "simple boundary"})
}

func part(head, body string) string { return head + "\n" + body }

func (g *maker) textPart(typ, body string) string {
	c, e := g.charset(), g.cte()
	return part(fmt.Sprintf("Content-Type: %s; charset=%s\nContent-Transfer-Encoding: %s\n", typ, g.quote(c), e), encode(body, c, e))
}

func (g *maker) multi(kind string, parts ...string) []byte {
	bnd := g.boundary()
	var b strings.Builder
	b.WriteString(g.head(fmt.Sprintf("MIME-Version: 1.0\nContent-Type: multipart/%s;\n boundary=\"%s\"\n", kind, bnd)))
	b.WriteString("\n" + g.pick([]string{"", "This is a multi-part message in MIME format.\n"}))
	for _, p := range parts {
		b.WriteString("\n--" + bnd + "\n" + p)
	}
	if !g.one(10) {
		b.WriteString("\n--" + bnd + "--\n")
	}
	if g.one(10) {
		b.WriteString("epilogue text\n")
	}
	return []byte(b.String())
}

func (g *maker) alternative(from []string) []byte {
	text := g.prose(from)
	if g.one(3) {
		from = spam
	}
	return g.multi("alternative", g.textPart("text/plain", text), g.textPart("text/html", g.html(from)))
}

func (g *maker) phish() []byte {
	body := "<html><body><p>Dear customer,</p><p>Your " + g.pick([]string{"PayPal", "bank", "Amazon", "Netflix", "mailbox"}) + " account has been " + g.pick([]string{"suspended", "limited", "locked"}) +
		" due to unusual activity. Please <a href=\"" + g.url() + "\">" + g.pick([]string{"https://www.paypal.com/signin", "click here", "verify your account"}) + "</a> within 24 hours or it will be closed.</p>" + g.html(spam) + "</body></html>"
	return g.whole("text/html", body, g.charset(), g.cte())
}

func (g *maker) fraud() []byte {
	body := "FROM THE DESK OF DR. AHMED MUSA\nFOREIGN REMITTANCE DEPARTMENT, BANK OF AFRICA\n\nDear Friend,\n\nI am the manager of bills and exchange. I discovered an abandoned sum of $" + fmt.Sprint(g.n(5, 50)) +
		",500,000.00 (US Dollars) in an account that belongs to one of our foreign customers who died along with his entire family in a plane crash. The owner has no next of kin.\nI want you to stand as the beneficiary; 40% will be for you.\nPlease send your Full Name: Address: Telephone: Occupation: Age:\nThis transaction is 100% risk free, keep it confidential.\nGod bless you,\n" + g.prose(spam)
	return g.whole("text/plain", body, "us-ascii", "7bit")
}

func (g *maker) newsletter() []byte {
	html := g.html(ham) + "<p>You are receiving this because you signed up at example.com. <a href=\"https://example.com/unsubscribe?u=1\">Unsubscribe</a> | <a href=\"https://example.com/view\">View in browser</a></p><img src=\"https://example.com/open.gif\" width=1 height=1>"
	return g.multi("alternative", g.textPart("text/plain", g.prose(ham)+"\nUnsubscribe: https://example.com/unsubscribe\n"), g.textPart("text/html", html))
}

// pictures are the beginnings of files.
var pictures = map[string]string{
	"gif":  "GIF89a\x2c\x01\xc8\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
	"png":  "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x02\x80\x00\x00\x01\xe0\x08\x06\x00\x00\x00",
	"jpeg": "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00H\x00H\x00\x00\xff\xc0\x00\x11\x08\x01\xe0\x02\x80\x03\x01\"\x00\x02\x11\x01\x03\x11\x01",
}

func (g *maker) file() string {
	kind := g.pick([]string{"image/gif", "image/png", "image/jpeg", "application/pdf", "application/octet-stream", "application/zip", "application/msword", "text/x-vcard", "text/calendar", "text/csv"})
	ext := kind[strings.IndexByte(kind, '/')+1:]
	data := pictures[ext]
	if data == "" {
		data = g.pick([]string{"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n/MediaBox [0 0 612 792]\n/URI (http://pdf.example.com/x)\n%%EOF\n", "PK\x03\x04data", "MZ\x90\x00", "BEGIN:VCARD\nFN:John\nEND:VCARD\n"})
	}
	name := g.pick([]string{"photo", "invoice", "document", "r\u00e9sum\u00e9", "setup"}) + "." + g.pick([]string{ext, "exe", "html", "pdf.exe", "doc"})
	return fmt.Sprintf("Content-Type: %s; name=\"%s\"\nContent-Transfer-Encoding: base64\nContent-Disposition: %s; filename=\"%s\"\nContent-ID: <image001@x>\n\n%s", kind, name, g.pick([]string{"attachment", "inline"}), name, encode(data+strings.Repeat("data\x00", g.n(0, 200)*g.times), "", "base64"))
}

func (g *maker) attachment() []byte {
	from := ham
	if g.one(2) {
		from = spam
	}
	parts := []string{g.textPart(g.pick([]string{"text/plain", "text/html"}), g.html(from))}
	for range g.n(1, 3) {
		parts = append(parts, g.file())
	}
	return g.multi(g.pick([]string{"mixed", "related", "mixed"}), parts...)
}

func (g *maker) forward() []byte {
	inner := string(g.whole("text/plain", g.prose(spam), "utf-8", "8bit"))
	if g.one(2) {
		inner = string(g.alternative(ham))
	}
	head := "Content-Type: message/rfc822\n"
	if g.one(4) {
		return g.multi("digest", "\n"+inner, "\n"+inner)
	}
	return g.multi("mixed", g.textPart("text/plain", "See below.\n"), part(head, inner))
}

func (g *maker) foreign() []byte {
	type sample struct{ charset, octets string }
	s := []sample{
		{"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4, \xcb\xc1\xcb \xc4\xc5\xcc\xc1?\n"}, {"windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2, \xe4\xf0\xf3\xe3\n"}, {"iso-2022-jp", "\x1b$B$3$s$K$A$O\x1b(B hello\n"},
		{"shift_jis", "\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd\n"}, {"euc-kr", "\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4\n"}, {"big5", "\xa7A\xa6n\n"}, {"gb2312", "\xc4\xe3\xba\xc3\n"}, {"iso-8859-2", "\xb3\xf3d\xbc\n"},
		{"iso-8859-15", "price 5 \xa4\n"}, {"utf-16", "\xff\xfeH\x00i\x00 \x00!\x00"}, {"x-unknown", "caf\xe9 \x81\n"}, {"utf-8", "bad \xff\xfe utf\n"}, {"utf-7", "+AGE-bc\n"}, {"windows-1252", "\x93quoted\x94 \x80 5\n"}, {"", "na\xefve without charset\n"},
	}[g.n(0, 14)]
	body := strings.Repeat(s.octets, g.n(1, 20)) + g.pick(spam)
	cte := g.pick([]string{"8bit", "base64", "quoted-printable"})
	typ := "text/" + g.pick([]string{"plain", "html"})
	if s.charset != "" {
		typ += "; charset=" + g.quote(s.charset)
	}
	return []byte(g.head("MIME-Version: 1.0\nContent-Type: "+typ+"\nContent-Transfer-Encoding: "+cte+"\n") + "\n" + encode(body, "", cte))
}

func (g *maker) broken() []byte {
	whole := g.alternative(spam)
	switch g.n(0, 8) {
	case 0:
		return whole[:len(whole)*2/3]
	case 1:
		return []byte(strings.ReplaceAll(string(whole), "boundary=", "bundary="))
	case 2:
		return []byte(strings.Replace(string(whole), "\n\n", "\n", 1))
	case 3:
		return []byte("no header at all\njust text\nand more\nand http://x.biz/ more\n\nbody " + g.prose(spam))
	case 4:
		return []byte(g.head("Content-Type: multipart/mixed; boundary=\"x\"\n") + "\nno boundary here at all\n" + g.prose(ham))
	case 5:
		return []byte(g.head("Content-Type: text/html\nContent-Transfer-Encoding: base64\n") + "\nthis is not base64 !!! <b>x</b>\n")
	case 6:
		return []byte(g.head("Bad Header Line Without Colon\nX-Long: "+strings.Repeat("a", 9000)+"\n") + "\n" + g.prose(ham))
	case 7:
		return []byte(strings.ReplaceAll(string(whole), "\n--", "\n --"))
	}
	return []byte(g.head("Content-Type: text/plain; charset=\nContent-Type: TEXT/HTML\n") + "\n<b>" + g.prose(spam))
}

func (g *maker) bounce() []byte {
	return []byte("Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net (Mail Delivery System)\nTo: u@example.org\nSubject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"B\"\nMessage-Id: <1@mx.example.net>\nDate: " + g.date() + "\n\n--B\nContent-Type: text/plain\n\nI'm sorry to have to inform you that your message could not be delivered.\n\n--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; x@example.net\nAction: failed\nStatus: 5.1.1\n\n--B\nContent-Type: message/rfc822\n\n" + string(g.whole("text/plain", g.prose(spam), "utf-8", "8bit")) + "\n--B--\n")
}

func (g *maker) gtube() []byte {
	const mark = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	return g.whole("text/"+g.pick([]string{"plain", "html"}), g.prose(ham)+"\n"+mark+"\n", "us-ascii", "7bit")
}

func (g *maker) list() []byte {
	return []byte(g.head("List-Id: <dev.list.example.org>\nList-Post: <mailto:dev@list.example.org>\nPrecedence: list\nX-Mailman-Version: 2.1.39\n") + "\n" + g.prose(ham) + "\n_______________________________________________\ndev mailing list\ndev@list.example.org\nhttps://list.example.org/mailman/listinfo/dev\n")
}

func (g *maker) hidden() []byte {
	html := "<html><body>" + strings.Repeat("<span style=\"color:"+g.color()+";font-size:0\">"+g.pick(ham)+"</span>", g.n(1, 6)) + "<font color=#ffffff>" + g.pick(ham) + "</font>" + g.html(spam)
	return g.whole("text/html", html, g.charset(), g.cte())
}

func (g *maker) linky() []byte {
	var b strings.Builder
	for range g.n(3, 20) {
		b.WriteString(g.pick([]string{"visit ", "see: ", "(", "<", "\"", "go to ", ""}) + strings.ReplaceAll(g.url(), "&amp;", "&") + g.pick([]string{".", ")", ">", "\"", ", ", "!", "\n", " now"}) + " ")
		b.WriteString(g.pick([]string{"example.org", "foo@bar.com", "www.x.co.uk/a?b=c", "HTTP://UPPER.COM/", "http:/one.slash.com", "hxxp://defang.com", "h t t p : / / s p a c e . com", "1.2.3.4/x", "sub.domain.info:8080/p", "http://[::1]/", "https://例え.jp/パス", "ftp.gnu.org", "a.b"}) + " ")
	}
	return g.whole(g.pick([]string{"text/plain", "text/html"}), b.String(), "utf-8", g.cte())
}

func (g *maker) soup() []byte {
	pieces := []string{"<", ">", "</", "<b", "<a href=", "\"", "'", "<!--", "-->", "<!", "<![CDATA[", "]]>", "<?xml ?>", "&", "&amp", "&#", "&#x", ";", " ", "\n", "text", "<p>", "</p>", "<script>", "</script>", "<style>", "</style", "<title>", "</title>", "<br/>", "<img src=x", "=", "/", "<td>", "</td>", "<font color=white>", "</font>", "word ", "<textarea>", "<xmp>", "</xmp>", "<plaintext>", "\u00a0", "é", "<![if !mso]>", "<![endif]>", "<!DOCTYPE", "- -", "--", "<1>", "<_x>", "< b>"}
	var b strings.Builder
	for range g.n(10, 120) {
		b.WriteString(g.pick(pieces))
	}
	return g.whole("text/html", b.String(), "utf-8", g.pick([]string{"8bit", "base64", "quoted-printable"}))
}

func (g *maker) odd() []byte {
	switch g.n(0, 7) {
	case 0:
		return []byte(g.head("") + "\n")
	case 1:
		return []byte("\n\n\n")
	case 2:
		return []byte(g.head("") + "\n" + strings.Repeat("\n", 60) + g.prose(spam))
	case 3:
		return []byte(g.head("") + "\nbegin 644 file.txt\n#0V%T\n`\nend\n" + g.prose(ham))
	case 4:
		return []byte(g.head("") + "\n" + strings.Repeat("ALL CAPITALS HERE ", 40) + g.prose(spam))
	case 5:
		return []byte(g.head("Content-Type: text/plain; charset=utf-8; name=\"x.html\"\n") + "\n<b>bold</b> " + g.pick(spam) + "\x00 nul \x07\n")
	case 6:
		return []byte(g.head("Content-Type: image/png\nContent-Transfer-Encoding: base64\n") + "\n" + base64.StdEncoding.EncodeToString([]byte(pictures["png"])) + "\n")
	}
	return []byte(g.head("X-Spam-Flag: YES\nX-Spam-Status: Yes, score=20\nX-Spam-Level: *****\n") + "\n" + g.prose(ham))
}
