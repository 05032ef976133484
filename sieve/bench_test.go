package sieve_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"mtad/sieve"
)

// exampleScript is a user's script of twenty rules.
const exampleScript = `require ["fileinto", "envelope", "imap4flags", "variables", "copy"];
if header :contains "X-Spam-Flag" "YES" { fileinto "Junk"; stop; }
if address :is "from" "boss@example.com" { addflag "\\Flagged"; }
if address :is "from" ["al@example.net", "bo@example.net", "cy@example.net"] { addflag "$Friend"; }
if header :matches "subject" "[*] *" { set "list" "${1}"; }
if header :contains "list-id" "golang-nuts" { fileinto "lists/go"; stop; }
if header :contains "list-id" "linux-kernel" { fileinto "lists/lkml"; stop; }
if header :contains "list-id" "debian-devel" { fileinto "lists/debian"; stop; }
if header :contains "list-id" "postfix-users" { fileinto "lists/postfix"; stop; }
if header :contains "subject" ["invoice", "receipt", "order"] { fileinto "bills"; stop; }
if header :contains "subject" "newsletter" { fileinto "news"; stop; }
if header :matches "subject" "*unsubscribe*now*" { discard; stop; }
if allof (header :contains "subject" "build", header :contains "subject" "failed") { fileinto "ci"; stop; }
if address :domain :is "from" ["github.example", "gitlab.example"] { fileinto "code"; stop; }
if address :localpart :is "from" ["no-reply", "noreply", "donotreply"] { fileinto "robots"; stop; }
if anyof (address :contains "to" "+shop", address :contains "cc" "+shop") { fileinto "shop"; stop; }
if envelope :is "from" "" { fileinto "bounces"; stop; }
if size :over 20M { fileinto "large"; stop; }
if header :is "precedence" "bulk" { fileinto "bulk"; stop; }
if not exists "date" { fileinto "odd"; stop; }
if address :is ["to", "cc"] "me@example.org" { addflag "$ToMe"; } else { fileinto :copy "others"; }
`

const exampleMessage = `From: Dora <dora@example.com>
To: me@example.org
Cc: x@example.com
Subject: Re: The plan for next week, and some questions about the house
Date: Mon, 2 Nov 2026 10:00:00 +0000
Message-ID: <1@example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

text
`

func compile(t testing.TB, text string) *sieve.Script {
	t.Helper()
	s, problems := sieve.Compile(text, sieve.Options{})
	if s == nil {
		t.Fatalf("%s", problems.String())
	}
	return s
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(exampleScript)))
	for b.Loop() {
		if s, problems := sieve.Compile(exampleScript, sieve.Options{}); s == nil {
			b.Fatal(problems)
		}
	}
}

// BenchmarkCompileLong compiles a hundred rules.
func BenchmarkCompileLong(b *testing.B) {
	require, rules, _ := strings.Cut(exampleScript, "\n")
	text := require + "\n" + strings.Repeat(rules, 5)
	b.ReportAllocs()
	for b.Loop() {
		compile(b, text)
	}
}

// BenchmarkBody looks for a word in a text of 10 KiB.
func BenchmarkBody(b *testing.B) {
	s := compile(b, `require "body"; if body :text :contains "needle" { discard; }`)
	env := sieve.Env{Message: parseRaw(b, "Subject: x\n\n"+strings.Repeat("Some text of a letter, and more of it.\n", 260))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Run(context.Background(), env); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	s := compile(b, exampleScript)
	env := sieve.Env{Message: parseRaw(b, exampleMessage), Envelope: sieve.Envelope{From: addr("dora@example.com"), To: addr("me@example.org")}}
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Run(context.Background(), env)
		if err != nil || len(r.Actions) != 1 {
			b.Fatal(r, err)
		}
	}
}

// budgets are the worst kinds of work: a test, or commands behind a semicolon,
// and what the message is made of.
var budgets = map[string]struct{ work, message string }{
	"glob":      {`header :matches "x" "*` + strings.Repeat("?b", 2000) + `c*"`, longField},
	"marks":     {`header :matches "x" "*?b?c*"`, longField},
	"contains":  {`header :contains "x" "` + strings.Repeat("ab", 1000) + `c"`, longField},
	"is":        {`header :is "x" "c"`, longField},
	"octet":     {`header :contains :comparator "i;octet" "x" "bb"`, longField},
	"unicode":   {`header :contains :comparator "i;unicode-casemap" "x" "bb"`, longField},
	"regex":     {`header :regex "x" "(a|ab)(c|bcd)(d*)$"`, longField},
	"regex big": {`header :regex "x" "((a?b?){30}){30}c"`, longField},
	"address":   {`address :mime :is "from" "c"`, "From: " + strings.Repeat("a <a@example.org>, ", 10_000) + "b@example.org\n\n"},
	"mime":      {`header :mime :anychild :param "filename" "content-type" "c"`, manyParts},
	"media":     {`header :mime :param "n" "content-type" "c"`, "Content-Type: text/plain" + strings.Repeat("; n*0*=utf-8''%41", 10_000) + "\n\n"},
	"words":     {`header :mime "x" "c"`, "X: " + strings.Repeat("=?utf-8?b?/w==?= =?nonesuch?q?=FF?= =?x", 5000) + "\n\n"},
	"raw":       {`body :raw :is "c"`, "\n" + strings.Repeat("text and text\n", 50_000)},
	"text":      {`body :text :is "c"`, "\n" + strings.Repeat("text and text\n", 50_000)},
	"latin":     {`body :text :is "c"`, "Content-Type: text/plain; charset=iso-8859-15\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=E4=F6=FC and text\n", 50_000)},
	"shrunk":    {`body :text :is "c"`, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=\n", 300_000)},
	"html":      {`body :text :is "c"`, "Content-Type: text/html\n\n" + strings.Repeat("<p>&amp;</p> <", 50_000)},
	"parts":     {`body :text :is "c"`, manyParts},
	"date":      {`date "date" "year" "c"`, "Date: Mon, 2 Nov 2026 10:00:00 +0000\n\n"},
	"dates":     {`date "date" "year" "c"`, "Date: " + strings.Repeat("(", 200_000) + "\n\n"},
	"loop":      {`; foreverypart { set "a" "x"; }`, manyParts},
	"extract":   {`; foreverypart { extracttext :first 1 "a"; }`, "\n" + strings.Repeat("text and text\n", 50_000)},
	"set":       {`; set :upper :lowerfirst :quotewildcard :length "a" "` + strings.Repeat("b*", 8000) + `";`, "\n"},
	"flags":     {`; addflag "a" "` + flags(0) + `"; removeflag "a" "` + flags(50) + `";`, "\n"},
	"hasflag":   {`hasflag :contains "` + flags(50) + `"`, "\n"},
	"strings":   {`string :contains ["` + strings.Repeat(`", "`, 1000) + `"] "c"`, "\n"},
	"edits":     {`; addheader "Y" "c";`, "X: " + strings.Repeat("ab", 50_000) + "\n" + strings.Repeat("Z: y\n", 5000) + "\n"},
	"replace":   {`; foreverypart { replace "c"; }`, "\n" + strings.Repeat("text and text\n", 50_000)},
	"enclose":   {`; enclose "c";`, "\n" + strings.Repeat("text and text\n", 50_000)},
}

var (
	longField = "X: " + strings.Repeat("ab", 120_000) + "\n\n"
	manyParts = "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: text/html; filename=x\n\n<p>x\n", 5000) + "--b--\n"
)

// flags are a hundred, the first with the number from.
func flags(from int) string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "f%d ", from+i)
	}
	return strings.TrimSpace(b.String())
}

// budgetScript does the work twenty times.
func budgetScript(work string) string {
	const all = `require ["mime", "foreverypart", "extracttext", "replace", "enclose", "editheader", "body", "variables", "date", "regex",
		"imap4flags", "comparator-i;unicode-casemap"];`
	if commands, ok := strings.CutPrefix(work, ";"); ok {
		return all + strings.Repeat(commands, 20)
	}
	return all + "if anyof (" + strings.Repeat(work+", ", 20) + "false) { discard; }"
}

// BenchmarkBudget is the time that the default budget of steps is worth, in the
// worst kinds of work. What a limit ends before counts as it is: "capped".
func BenchmarkBudget(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(budgets)) {
		b.Run(name, func(b *testing.B) {
			s := compile(b, budgetScript(budgets[name].work))
			env := sieve.Env{Message: parseRaw(b, budgets[name].message)}
			if _, err := s.Run(context.Background(), env); err != nil {
				b.Log(err)
			}
			var steps int64
			for b.Loop() {
				r, _ := s.Run(context.Background(), env)
				steps += r.Steps
			}
			b.ReportMetric(float64(b.Elapsed().Seconds())/float64(steps)*float64(sieve.DefaultLimits.Steps), "s/budget")
		})
	}
}

// BenchmarkGlob is the slowest a pattern can make a message's header.
func BenchmarkGlob(b *testing.B) {
	s := compile(b, `if header :matches "subject" "*?b?b?b?b?b?b?b?c*" { discard; }`)
	long := make([]byte, 64<<10)
	for i := range long {
		long[i] = "ab"[i%2]
	}
	env := sieve.Env{Message: parseRaw(b, "Subject: "+string(long)+"\n\n")}
	b.SetBytes(int64(len(long)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Run(context.Background(), env); err != nil {
			b.Fatal(err)
		}
	}
}
