package scan

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/spamtest"
)

// seen is what SpamAssassin makes of a message.
type seen struct {
	Get                   map[string]*spamtest.Bytes
	From, FromDomains, To []spamtest.Bytes
	URIs                  []spamtest.Bytes
	Details               map[spamtest.Bytes]struct {
		Types                  []string
		Cleaned, Domains, Text []spamtest.Bytes
	}
}

// perl compares with SpamAssassin.
type perl struct {
	oracle   *spamtest.Oracle
	settings *Settings
}

func newPerl(t *testing.T) *perl {
	rules, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	return &perl{spamtest.Start(t, "..", spamtest.Stock, spamtest.Site), &Settings{Rules: rules}}
}

func (p *perl) ask(t *testing.T, verb string, text []byte) (*seen, *Scan) {
	t.Helper()
	var want seen
	return &want, p.askFor(t, verb, text, &want)
}

func (p *perl) askFor(t *testing.T, verb string, text []byte, want any) *Scan {
	t.Helper()
	p.oracle.About(t, verb, text, want)
	return New(context.Background(), p.settings, text, Facts{}, &regex.Budget{Steps: 1 << 40})
}

// foreign reports whether a text has hosts with letters that the DNS has not: a
// SpamAssassin without LibIDN, as that of these tests, does not find them.
func foreign(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) || strings.Contains(s, "xn--")
}

func (p *perl) compareFields(t *testing.T, text []byte) {
	t.Helper()
	want, c := p.ask(t, "head", text)
	for _, name := range slices.Sorted(maps.Keys(want.Get)) {
		got, ok := c.Joined(name)
		w := want.Get[name]
		if ok != (w != nil) || w != nil && got != string(*w) {
			if strings.Contains(name, ":host") && foreign(got) {
				continue
			}
			text := "nothing"
			if w != nil {
				text = strconv.Quote(string(*w))
			}
			t.Errorf("%s:\n got %q %v\nwant %s", name, got, ok, text)
		}
	}
	domains := c.FromDomains()
	for i := range domains {
		domains[i] = "dummy@" + domains[i]
	}
	for what, lists := range map[string][2][]string{"AllFrom": {c.AllFrom(), list(want.From)}, "AllTo": {c.AllTo(), list(want.To)}, "FromDomains": {domains, list(want.FromDomains)}} {
		slices.Sort(lists[0])
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s: %q, want %q", what, lists[0], lists[1])
		}
	}
	spamtest.Keep(t, t.Name(), text)
}

// TestGetAsPerl compares what rules may ask of headers: of the corpus, and of headers
// with odd fields.
func TestGetAsPerl(t *testing.T) {
	p := newPerl(t)
	seed, n := spamtest.Cases(100, 3000)
	for _, m := range spamtest.Corpus(seed, n) {
		t.Run(m.Name, func(t *testing.T) { p.compareFields(t, m.Text) })
	}
	r := rand.New(rand.NewPCG(seed, 9))
	for i := range n {
		t.Run(fmt.Sprintf("odd%d", i), func(t *testing.T) { p.compareFields(t, oddHeader(r)) })
	}
}

var oddNames = []string{"From", "To", "Cc", "Subject", "Reply-To", "Sender", "Received", "Message-ID", "X-Message-Id", "Resent-Message-Id", "X-Original-Message-ID", "References", "Return-Path", "X-Envelope-From", "Envelope-Sender",
	"X-Originating-IP", "List-Unsubscribe", "Date", "subject", "FROM", "X-Sender", "Content-Type", "Resent-From", "X-Yahoo-Post-IP", "To ", "Subject\t"}

var oddValues = []string{"Ann <a@example.com>", "a@example.com, \"B, C\" <b@example.org>", "=?utf-8?Q?=C3=BC_x?= =?utf-8?B?w7w=?= <u@example.org>", "<20261126.1@mail.example.com>", "", " ", "  x  ", "\t", "x\n y", "x\n\ty\n  z", "\n x", "x \n \n y", "http://www.example.com/ x",
	"from a.example.com (b.example.com [192.0.2.7]) by mx.example.org (Postfix) with ESMTP id ABC; Thu, 26 Nov 2026 10:00:00 +0000", "from [10.1.2.3] by localhost with HTTP", "from a.example.com ([127.0.0.1]) by mx.example.org (Exim 4.96) (envelope-from <e@example.com>)",
	"from a.example.com (192.0.2.7) by mx.example.org with POP3 (fetchmail-6.4)", "[192.0.2.1]", "2001:db8::1", "1.2.3.4 5.6.7.8", "<e@example.com>", "<>", "J\xfcrgen", "\xe4\xbd\xa0\xe5\xa5\xbd", "=?iso-8859-1?Q?Andr=E9?=", "=?utf-8?Q?a?=x=?utf-8?Q?b?=", "=?big5?B?p0GmbQ==?=", "=?utf-8?b?!!?=", "=?x?q?y", "a.b@c.example.co.uk (x y)",
	"'Ann' <a@example.com>", "\"'Ann  B'\" <a@example.com>", "undisclosed-recipients:;", "\x00x", "x\r", "a\\b \"c\\\"d\" <e@example.com>", "mail.example.com text/plain",
	"=?utf-8?Q?Ann=C2=A0B?= <a@example.com>", "=?utf-8?Q?=C2=A0Ann=E2=80=83?= <a@example.com>", "=?utf-8?Q?=C3=89TIENNE?= <\u00c9@EXAMPLE.COM>", "\u00a0Ann\u00a0 <a@example.com>\u00a0", "\"Ann\x85\" <a@example.com>", "\xc9COLE <A\xc9@EXAMPLE.COM>", "\v<a@example.com>\v"}

func oddHeader(r *rand.Rand) []byte {
	var b strings.Builder
	for range 1 + r.IntN(10) {
		b.WriteString(oddNames[r.IntN(len(oddNames))] + ":" + []string{" ", "", "\t", "  "}[r.IntN(4)] + oddValues[r.IntN(len(oddValues))] + "\n")
	}
	b.WriteString("\nbody\n")
	if r.IntN(5) == 0 {
		return []byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))
	}
	return []byte(b.String())
}
