package relay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/spamtest"
)

// seen is what SpamAssassin makes of the relays of a message.
type seen struct {
	Get         map[string]*spamtest.Bytes
	Unparseable int
	Last        [2]int
}

// rules are few: relays depend on none.
const rules = "../rules"

// perl asks for the relays of messages.
type perl struct {
	oracle *spamtest.Oracle
	nets   Networks
}

func newPerl(t *testing.T, networks string) *perl {
	s, err := conf.Load([]string{rules, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	n := Networks{Origins: s.Words("originating_ip_headers")}
	own := conf.Parse("test", networks, conf.Options{})
	n.Trusted, n.Internal, n.MSA = own.Nets("trusted_networks"), own.Nets("internal_networks"), own.Nets("msa_networks")
	return &perl{spamtest.Start(t, "..", rules, spamtest.Site, "text="+networks), n}
}

func (p *perl) compare(t *testing.T, text []byte) {
	t.Helper()
	var want seen
	p.oracle.About(t, "head", text, &want)
	got := Parse(mail.Parse(text, mail.Limits{}), p.nets)
	for name, list := range map[string][]*Relay{"Trusted": got.Trusted, "Untrusted": got.Untrusted, "Internal": got.Internal, "External": got.External} {
		w := ""
		if v := want.Get["X-Spam-Relays-"+name]; v != nil {
			w = string(*v)
		}
		if g := Join(list); g != w {
			t.Errorf("%s\n got %q\nwant %q\nof %q", name, g, w, text)
		}
	}
	if got.Unparseable != want.Unparseable || got.LastTrusted != want.Last[0] || got.LastInternal != want.Last[1] {
		t.Errorf("%d not read, last %d %d; want %d, %v\nof %q", got.Unparseable, got.LastTrusted, got.LastInternal, want.Unparseable, want.Last, text)
	}
}

// examples are those of all forms, as a field has them.
func examples() []string {
	var out []string
	add := func(before string, forms []form) {
		for _, f := range forms {
			out = append(out, before+f.example)
		}
	}
	add("from ", webmail)
	for _, f := range families {
		add("from ", f.forms)
	}
	add("from ", common)
	add("from ", apart)
	add("FROM ", capital)
	add("(from ", bracketed)
	return out
}

// others are lines that no form is for, or a part outside of the forms.
var others = []string{
	"by 2002:a05:6214:2b0c:b0:1 with SMTP id x1", "(qmail 27981 invoked by uid 225)", "From a.example.com ([192.0.2.7]) by mx.example.org",
	"from a.example.com by mx.example.org ;", "from [192.0.2.7] by mx.example.org; Thu, 26 Nov 2026 10:00:00 -0200", "from ann by mx.example.org with local for u@example.org",
	"FROM a BY b ; Fri, 07 Feb 2003", "from a.example.com (192.0.2.7)by mx.example.org (Postfix) with ESMTP id 846CF2117", "from nothing that is known",
	"from a [192.0.2.7] nothing", "from a id x by [192.0.2.7]", "from a.example.com (rdns.example.com. [192.0.2.7]) by mx.google.com with ESMTPS id ab12sm1234567abc.12.2026.11.26.10.00.00 for <u@example.org> (version=TLS1_3 cipher=TLS_AES bits=256/256)",
	"from pc7 (rdns.example.com [192.0.2.7]) (AUTH: LOGIN ann, SSL: TLSv1) by mx.example.org with esmtp", "from pc7 (rdns.example.com [192.0.2.7]) (authenticated bits=0) by mx.example.org (8.17.1/8.17.1) with ESMTP id A1",
	"from rdns.example.com (EHLO pc7) [192.0.2.7] by mail.gmx.com (mp010) with ESMTP", "from pc7 (192.0.2.7) by mx.example.org (7.2.069.1) (authenticated as ann) id 40A1",
	"from pc7 (rdns.example.com [192.0.2.7]) (Authenticated sender: ann) by mx.example.org (Postfix) with ESMTP id A1", "from pc7 (rdns.example.com [192.0.2.7]) (Authenticated sender: ann) by mx.example.org (Mailer) with ESMTP id A1",
	"from [192.0.2.7] (account ann) by mx.example.org (CommuniGate Pro XIMSS 6.2) with XIMSS id 1", "from pc7 ([192.0.2.7]) by mx.example.org with Microsoft Exchange Server HTTP-DAV",
	"from [192.0.2.7] by mx.example.org (via HTTPS); Thu, 26 Nov 2026 10:00:00 +0000", "from pc7 ([192.0.2.7]) by mx.example.org WITH esmtpsa", "from pc7 ([192.0.2.7]) by mx.example.org (a) with utf8smtpa;",
	"from a.example.com (softdnserr [192.0.2.7]) by mx.example.org with esmtp", "from unknown (HELO a.example.com) (ann@[192.0.2.7]) (envelope-sender <a@example.com>) by mx.example.org (qmail-ldap-1.03) with SMTP for <u@example.org>",
	"from 192.0.2.7 (EHLO ) (192.0.2.7) by mx.example.org with SMTP", "from unknown (192.0.2.7) by mx.example.org with QMQP", "from a.example.com (ann@192.0.2.7) by mx.example.org with AES encrypted SMTP",
	"from x (HELO a(b)c) (192.0.2.7) by mx.example.org with SMTP", "from a.example.com ([192.0.2.7]) by mx.example.org (qmail-1) with ESMTP (envelope-from <>)", "from a (b [192.0.2.7]) by mx.example.org (x) (return-path: <a@example.com>)",
	"from a (b [192.0.2.7]) by mx.example.org (x) (Envelope-Sender=<\"a b\"@example.com>) id <ab>", "from [IPv6:2001:db8::7] (helo=[IPv6:2001:db8::7]) by mx.example.org with esmtp (Exim 4.96) id 1",
	"from a.example.com ([2001:db8::7%eth0]) by mx.example.org with mapi id 15.20.1943.023", "from UNKNOWN(192.0.2.7) via SMTP by mx.example.org, id smtpd1", "from a.example.com by mx.example.org with POP3 (fetchmail)",
	"from x([192.0.2.7]) by y by z.hotmail.msn.com q", "from localhost (localhost [127.0.0.1]) (uid 500) by mail with local", "from a HELO=x helo=y.example (EHLO z) by 0 [192.0.2.7]", "from 0 ([192.0.2.7]) by 0 x", "from a(b) c by mx [192.0.2.7]",
	"from a ([192.0.2.7]) with SMTP id 0 (envelope-from 0)", "from [192.0.2.7", "from ", "(from )", "FROM x", "(from a.example.com [192.0.2.7]) by mx", "from a.example.com (Exim) [192.0.2.7] z",
	"from x.example.com (Exim) by mx.example.org then with", "from a (Exim) by (b) [192.0.2.7]) (c [192.0.2.8]) by mx.example.org with x",
}

// addresses to be put for 192.0.2.7.
var testAddresses = []string{"10.1.2.3", "127.0.0.1", "::1", "2001:db8::7", "IPv6:2001:db8:1:2:3:4:5:6", "::ffff:192.0.2.7", "IPv6:::ffff:10.0.0.1", "fe80::1%eth0", "192.0.2.256", "192.0.2.07", "1.2.3", "::", "0:0:0:0:0:ffff:172.16.0.1",
	"203.0.113.77", "100.64.1.1", "1:2:3:4:5:6:7::", "1::2::3", "localhost", "[192.0.2.7]", "192.0.2.7:25", "::FFFF:192.0.2.7", "2001:DB8::192.0.2.33"}

var ends = []string{"", "; Thu, 26 Nov 2026 10:00:00 +0000", "; 26 Nov 2026 10:00 -0000", "; Thu, 26 Nov 2026 10:00:00 +0000 (UTC)", " ;", "\n\tfor <u@example.org>; Thu, 26 Nov 2026 10:00:00 GMT", " (envelope-from <a@example.com>)", " id <4711abc>;", " with ESMTPSA", ";;  ;"}

var junk = []string{" ", "(", ")", "[", "]", "<", ">", " by ", " with ", "@", "x", "1.2.3.4", ";", "helo=z", " HELO q ", "\t", "unknown", "IDENT:", ".", ":25", "\xe9", "\"", " (", ") ", " id ", "Exim", " (Postfix) with ", "0"}

// change makes another line of one.
func change(r *rand.Rand, s string) string {
	switch r.IntN(9) {
	case 0, 1, 2:
		return strings.ReplaceAll(s, "192.0.2.7", testAddresses[r.IntN(len(testAddresses))])
	case 3:
		return s[:r.IntN(len(s)+1)]
	case 4:
		f := strings.Split(s, " ")
		i := r.IntN(len(f))
		return strings.Join(slices.Delete(f, i, i+1), " ")
	case 5:
		f := strings.Split(s, " ")
		i, j := r.IntN(len(f)), r.IntN(len(f))
		f[i], f[j] = f[j], f[i]
		return strings.Join(f, " ")
	}
	i := r.IntN(len(s) + 1)
	return s[:i] + junk[r.IntN(len(junk))] + s[i:]
}

func field(s string) string { return "Received: " + s + "\n" }

// Configurations of networks that are compared.
var networks = []string{"", "trusted_networks 192.0.2.0/24 2001:db8::/32 10/8 203.0.113.64/26\ninternal_networks 192.0.2.0/28 198.51.100.0/24\nmsa_networks 203.0.113.64/26", "internal_networks 192.0.2.0/24 10/8 203.0.113/24\nmsa_networks 203.0.113.0/24", "trusted_networks !192.0.2.7 192.0.2.0/24 198.51.100.0/24 203.0.113/24\nmsa_networks 192.0.2.7 10.1.2.3"}

// TestAgainstPerl compares with SpamAssassin: the corpus, all forms, and many lines
// made of them.
func TestAgainstPerl(t *testing.T) {
	lines := append(examples(), others...)
	seed, times := spamtest.Cases(2, 40)
	for c, text := range networks {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			p := newPerl(t, text)
			for _, m := range spamtest.Corpus(seed+uint64(c), mtatest.Fewer(100/(1+2*min(c, 1)))) {
				p.compare(t, m.Text)
			}
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for i, l := range lines {
				p.compare(t, []byte(field(l)+"\nbody\n"))
				p.compare(t, []byte(field(l+ends[i%len(ends)])+"\nbody\n"))
				for range times {
					changed := change(r, l)
					if times > 2 && r.IntN(2) == 0 {
						changed = change(r, changed)
					}
					p.compare(t, []byte(field(changed+ends[r.IntN(len(ends))])+"\nbody\n"))
				}
			}
			for range mtatest.Fewer(100) {
				var b strings.Builder
				for range 1 + r.IntN(6) {
					l := lines[r.IntN(len(lines))]
					if r.IntN(2) == 0 {
						l = change(r, l)
					}
					b.WriteString(field(l + ends[r.IntN(len(ends))]))
				}
				if r.IntN(4) == 0 {
					b.WriteString("X-Originating-IP: [" + testAddresses[r.IntN(len(testAddresses))] + "]\n")
				}
				p.compare(t, []byte(b.String()+"\nbody\n"))
			}
		})
	}
}
