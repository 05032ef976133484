package sieve_test

import (
	"context"
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

// BenchmarkBudget is the time that the default budget of steps is worth, in the
// worst kinds of work.
func BenchmarkBudget(b *testing.B) {
	long := strings.Repeat("ab", 120_000)
	for name, test := range map[string]string{
		"glob":     `header :matches "x" "*` + strings.Repeat("?b", 2000) + `c*"`,
		"marks":    `header :matches "x" "*?b?c*"`,
		"contains": `header :contains "x" "` + strings.Repeat("ab", 1000) + `c"`,
		"is":       `header :is "x" "c"`,
		"octet":    `header :contains :comparator "i;octet" "x" "bb"`,
	} {
		b.Run(name, func(b *testing.B) {
			s := compile(b, "if anyof ("+strings.Repeat(test+", ", 20)+"false) { discard; }")
			env := sieve.Env{Message: parseRaw(b, "X: "+long+"\n\n")}
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
