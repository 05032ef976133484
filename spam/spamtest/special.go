package spamtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Special makes n messages with what plugins look at that are not loaded by default:
// results of authentication, files of PDF, texts in many languages.
func Special(seed uint64, n int) []Message {
	out := make([]Message, n)
	for i := range out {
		g := &maker{rand.New(rand.NewPCG(seed, uint64(i)+1<<32)), 1}
		kind := specialKinds[i%len(specialKinds)]
		out[i] = Message{fmt.Sprintf("%04d-%s", i, kind.name), kind.make(g)}
	}
	return out
}

var specialKinds = []struct {
	name string
	make func(*maker) []byte
}{
	{"authres", (*maker).authres}, {"pdf", (*maker).withPDF}, {"language", (*maker).inLanguage}, {"office", (*maker).office},
}

// authres makes a message with fields of results, well formed and not.
func (g *maker) authres() []byte {
	var b strings.Builder
	for range g.n(0, 3) {
		b.WriteString(g.pick([]string{"Authentication-Results: ", "Authentication-Results: ", "ARC-Authentication-Results: i=1; ", "authentication-results:", "ARC-Authentication-Results: "}) + g.authField() + "\n")
		if g.one(3) {
			b.WriteString("Received: " + g.received() + "\n")
		}
	}
	return []byte(b.String() + string(g.whole("text/plain", g.prose(ham), "utf-8", "8bit")))
}

func (g *maker) authField() string {
	if !g.one(3) {
		return g.goodAuthField()
	}
	var b strings.Builder
	b.WriteString(g.pick([]string{"mx.example.org", "mx.example.org 1", "other.example.net", "mx.example.org (a (nested) comment)", "spf=pass", ""}) + g.pick([]string{"; ", ";", ";\n\t", " ;", " "}))
	for range g.n(0, 4) {
		b.WriteString(g.pick([]string{"spf", "dkim", "dmarc", "arc", "iprev", "auth", "SPF", "dkim-adsp", "nosuch", "mx.example.org; spf", "dkim/1", "none"}) + g.pick([]string{"=", " = ", "=", "=", ""}) +
			g.pick([]string{"pass", "fail", "none", "neutral", "softfail", "temperror", "permerror", "Pass", "policy"}))
		if g.one(3) {
			b.WriteString(g.pick([]string{" (comment)", " (open", ` reason="a \"quoted\" reason"`, " reason=because", " action=none", ` reason="open`}))
		}
		for range g.n(0, 2) {
			b.WriteString(g.pick([]string{" smtp.mailfrom=", " header.d=", " header.i=@", " header.from=", " smtp.helo=", " policy.dmarc=", " header.x=", " policy.iprev=", " smtp.auth ="}) +
				g.pick([]string{"example.com", "a@example.com", `"quoted@example.com"`, "1.2.3.4", "a..b", "x=y", "<a@b.c>", ""}))
		}
		b.WriteString(g.pick([]string{";", "; ", ";\n\t", ""}))
	}
	return b.String()
}

// goodAuthField is one that can be read.
func (g *maker) goodAuthField() string {
	var b strings.Builder
	b.WriteString(g.pick([]string{"mx.example.org;", "mx.example.org 1;\n\t", "mx.example.org (a (nested) comment) ;", "other.example.net; "}))
	for range g.n(1, 4) {
		b.WriteString(g.pick([]string{
			"spf=pass smtp.mailfrom=example.com", "spf=softfail (no) smtp.helo=mx.example.com", "spf=fail reason=\"not \\\"here\\\"\"", "SPF = none", "dkim=pass header.d=example.com header.s=s1", "dkim = fail\n\t(bad) header.i=@example.com",
			"dkim=policy header.b=\"ab;c\"", "dmarc=pass (p=none) header.from=example.com", "dmarc=fail action=none header.from=example.com", "iprev=pass policy.iprev=192.0.2.1", "auth=pass smtp.auth=a@example.com", "dkim-adsp=none header.from=a..b",
			"dkim/1=neutral", "arc=pass smtp.remote-ip=192.0.2.1", "dkim-adsp=fail",
		}))
		b.WriteString(g.pick([]string{";", "; ", " ;\n\t"}))
	}
	return b.String()
}

// pdfLines are pieces of files of PDF.
var pdfLines = []string{"<< /Type /Catalog /Pages 2 0 R >>", "/MediaBox [0 0 612 792]", "/Width 320", "/Height 240", "<</Subtype/Image/Width 320/Height 240>>", "/Subtype /Image", "200 0 0 300 0 0 cm", "630 0 0 149 0 0 cm",
	"stream", "endstream", "/Encrypt 5 0 R", "<</Producer(GPL Ghostscript 8.15)", "/Producer (GNU Ghostscript 7.07)", "<</CreationDate(D:20070226165054-06'00')/Creator( Adobe Photoshop CS2 Windows)/Producer(PowerPdf 0.9)>>",
	"/Author(col\\(e\\)t)>>endobj", "/Title <FEFF005700720069>", "/Creator<48 65 6c 6C>", "/Author(\\376\\377\\000H\\000P)", "/Title(open", "/ModDate(D:20070703144220)", "<</S/URI/URI(http://pdf.example.com/x)>>", "/URI (http://second.example.net/y\\)z)",
	"/S /URI /URI <687474703a2f2f6865782e6578616d706c652e6f7267>", "(https://plain.example.org/path)>>", "/URI(nodot)", "endobj", "% comment", "binary \xff\x00\xfe /Title(x\x00y)", "/Kids [3 0 R]\r", "/F1 12 Tf"}

func (g *maker) withPDF() []byte {
	var parts []string
	if !g.one(3) {
		parts = append(parts, g.textPart("text/plain", g.prose(ham)))
	} else {
		parts = append(parts, g.textPart("text/plain", "\n"))
	}
	for range g.n(1, 2) {
		var b strings.Builder
		b.WriteString(g.pick([]string{"%PDF-1.4\n", "%PDF-1.4\n", "\xef\xbb\xbf%PDF-1.6\n", "junk\n%PDF-1.2\n", "no pdf\n", strings.Repeat("x", 1100) + "%PDF-1.4\n"}))
		for range g.n(3, 90) {
			b.WriteString(g.pick(pdfLines) + "\n")
		}
		name := g.pick([]string{"invoice.pdf", "a.PDF", "b.fdf", "data.dat", "statement.pdf"})
		typ := g.pick([]string{"application/pdf", "application/octet-stream", "image/pdf", "application/pdf", "application/x-pdf"})
		parts = append(parts, fmt.Sprintf("Content-Type: %s; name=\"%s\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"%s\"\n\n%s", typ, name, name, encode(b.String(), "", "base64")))
	}
	return g.multi("mixed", parts...)
}

// officeBits are pieces of documents.
var officeBits = []string{"\x00Attribut\x00", "\x01\x00O\x00l\x00e\x001\x000\x00N\x00a\x00", "\\objemb", "{\\rtf1 \\ objdat", "w:macrosPresent=\"yes\"", "vbaProject.bin.rels", "Document_Open", "AutoOpen", "W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00",
	"E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e", "<encryption xmlns=\"x\">", "\x00http://www.example.com/downloads/setup.exe\x00", "URLDownloadToFileA", "cmd /c ms^h^ta ht^tp:/^/x", "=MSEXCEL|'\\..\\Windows\\System32\\cmd.exe", "text ", "\x00\x00\x00"}

func (g *maker) office() []byte {
	var parts []string
	parts = append(parts, g.textPart("text/plain", g.prose(ham)))
	for range g.n(1, 3) {
		var b strings.Builder
		b.WriteString(g.pick([]string{"\xd0\xcf\x11\xe0\xa1\xb1", "\xd0\xcf\x11\xe0\xa1\xb1", "{\\rtf1", "plain"}))
		if g.one(3) {
			b.WriteString(strings.Repeat("\xfe", 0x220))
		}
		for range g.n(0, 6) {
			b.WriteString(g.pick(officeBits))
		}
		name := "file." + g.pick([]string{"doc", "docm", "xls", "rtf", "csv", "dotx", "dat", "DOC", "bin"})
		parts = append(parts, fmt.Sprintf("Content-Type: %s; name=\"%s\"\nContent-Transfer-Encoding: %s\nContent-Disposition: attachment; filename=\"%s\"\n\n%s", g.pick([]string{"application/msword", "application/octet-stream", "text/csv"}), name, "base64", g.pick([]string{name, "other.doc", "=?utf-8?Q?x=2Exls?="}), encode(b.String(), "", "base64")))
	}
	return g.multi("mixed", parts...)
}

// tongues are texts of people who write to one another.
var tongues = [][]string{
	{"The meeting has been moved to Thursday afternoon because the larger room is being painted this week.", "Please bring the figures of the last quarter, and tell me whether you need a projector.", "I have read your letter with great interest and would like to know more about the house."},
	{"Die Besprechung wurde auf Donnerstagnachmittag verschoben, weil der große Raum diese Woche gestrichen wird.", "Bitte bringen Sie die Zahlen des letzten Quartals mit und sagen Sie mir, ob Sie einen Beamer brauchen.", "Ich habe Ihren Brief mit großem Interesse gelesen und möchte mehr über das Haus wissen."},
	{"La réunion a été déplacée à jeudi après-midi parce que la grande salle est repeinte cette semaine.", "Veuillez apporter les chiffres du dernier trimestre et dites-moi si vous avez besoin d'un projecteur.", "J'ai lu votre lettre avec beaucoup d'intérêt et je voudrais en savoir plus sur la maison."},
	{"La reunión se ha trasladado al jueves por la tarde porque esta semana están pintando la sala grande.", "Por favor, traiga las cifras del último trimestre y dígame si necesita un proyector.", "He leído su carta con gran interés y me gustaría saber más sobre la casa."},
	{"Встреча перенесена на четверг после обеда, потому что большой зал на этой неделе красят.", "Пожалуйста, возьмите с собой цифры за последний квартал и скажите, нужен ли вам проектор.", "Я с большим интересом прочитал ваше письмо и хотел бы узнать больше о доме."},
	{"Spotkanie zostało przeniesione na czwartek po południu, ponieważ w tym tygodniu malują dużą salę.", "Proszę przynieść dane z ostatniego kwartału i powiedzieć, czy potrzebny jest rzutnik.", "Przeczytałem Pana list z dużym zainteresowaniem i chciałbym dowiedzieć się więcej o domu."},
	{"会议改到星期四下午，因为这个星期大会议室在粉刷。请带上上个季度的数字，并告诉我你是否需要投影仪。", "我怀着极大的兴趣读了您的来信，想了解更多关于这所房子的情况。"},
	{"この会議は木曜日の午後に変更されました。今週は大きな部屋を塗り替えているためです。", "前の四半期の数字を持って来てください。プロジェクターが必要かどうか教えてください。"},
	{"De vergadering is verplaatst naar donderdagmiddag omdat de grote zaal deze week wordt geschilderd.", "Neem de cijfers van het laatste kwartaal mee en laat me weten of je een projector nodig hebt."},
	{"Toplantı perşembe öğleden sonraya alındı, çünkü büyük salon bu hafta boyanıyor.", "Lütfen son çeyreğin rakamlarını getirin ve projektöre ihtiyacınız olup olmadığını söyleyin."},
}

func (g *maker) inLanguage() []byte {
	from := tongues[g.r.IntN(len(tongues))]
	var b strings.Builder
	for range g.n(1, 12) {
		b.WriteString(g.pick(from) + g.pick([]string{" ", "\n", "\n\n"}))
		if g.one(6) {
			b.WriteString(g.pick([]string{"http://www.example.com/a?b=c ", "someone@example.org ", "www.example.net/x "}))
		}
		if g.one(12) {
			from = tongues[g.r.IntN(len(tongues))]
		}
	}
	if g.one(3) {
		return g.whole("text/html", "<html><body><p>"+b.String()+"</p></body></html>", "utf-8", g.cte())
	}
	return g.whole("text/plain", b.String(), g.pick([]string{"utf-8", "utf-8", "us-ascii"}), g.pick([]string{"8bit", "base64"}))
}
