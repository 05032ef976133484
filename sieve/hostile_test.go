package sieve_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/sieve"

	"mtad/internal/mtatest"
)

// everything is a script that looks at, and changes, as much as one can.
const everything = `require ["mime", "foreverypart", "extracttext", "replace", "enclose", "editheader", "body", "variables", "index", "date",
	"duplicate", "fileinto", "regex", "relational", "comparator-i;ascii-numeric", "comparator-i;unicode-casemap", "copy", "imap4flags"];
if body :text :contains "nowhere" { stop; }
if body :content "" :matches :comparator "i;unicode-casemap" "*nowhere*" { stop; }
if body :raw :regex "no(w|W)here$" { stop; }
if address :mime :anychild :comparator "i;unicode-casemap" ["from", "content-from"] "x" { addflag "a"; }
if header :mime :anychild :param ["name", "filename", "charset"] :matches ["Content-Type", "Content-Disposition"] "*.exe" { addflag "b"; }
if exists :mime :anychild ["X-None", "Content-ID"] { addflag "c"; }
if date "date" "year" "2000" { addflag "d"; }
if duplicate { addflag "e"; }
if header :matches "subject" "*" { set "s" "${1}"; addheader "X-Subject" "${s}"; }
set "n" "";
foreverypart :name "a" {
	extracttext :first 10 "t";
	set "n" "${n}x";
	if header :mime :type "content-type" "image" { replace "no picture"; }
	if string "${n}" "xxxxxxxxxxxxxxxxxxxx" { break :name "a"; }
	foreverypart { if header :mime :subtype "content-type" "html" { extracttext "h"; break; } }
}
deleteheader :matches "X-*" "*";
if header :count "gt" :comparator "i;ascii-numeric" "received" "50" { addflag "loop"; }
fileinto :copy "t${n}";
`

// deep is n multiparts inside each other.
func deep(n int) string {
	var b strings.Builder
	b.WriteString("Subject: deep\n")
	for i := range n {
		fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	b.WriteString("\ntext\n")
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--b%d--\n", i)
	}
	return b.String()
}

// hostile are messages as nobody sends them who means well.
func hostile() map[string]string {
	const multi = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
	return map[string]string{
		"parts":      multi + strings.Repeat("--b\nContent-Type: image/png\n\nx\n", 12_000) + "--b--\n",
		"empty":      "\n",
		"no header":  "just text\nand more\n",
		"no end":     "Subject: x\n",
		"deep":       deep(500),
		"letters":    strings.Repeat("Subject: x\nContent-Type: message/rfc822\n\n", 500) + "\nx\n",
		"field":      "Subject: " + strings.Repeat("a ", 500_000) + "\n\nx\n",
		"fields":     strings.Repeat("Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\n", 20_000) + "\nx\n",
		"folded":     "Subject: x" + strings.Repeat("\n\ty", 100_000) + "\n\nx\n",
		"addresses":  "From: " + strings.Repeat("a@example.org, ", 50_000) + "b@example.org\n\nx\n",
		"comments":   "From: " + strings.Repeat("(", 100_000) + "\nTo: " + strings.Repeat("<", 100_000) + "\n\nx\n",
		"params":     "Content-Type: text/plain" + strings.Repeat("; name*0*=utf-8''%41", 20_000) + "\n\nx\n",
		"words":      "Subject: " + strings.Repeat("=?utf-8?b?/w==?= =?nonesuch?q?=FF?= =?x", 20_000) + "\n\nx\n",
		"nul":        "Subject: a\x00b\nFrom: \x00@\x00\nContent-Type: text/plain; charset=\"\x00\"\n\n\x00\x00nowher\x00\n",
		"octets":     "Subject: \xff\xfe\xf0\x28\nFrom: \xff@\xff\nContent-Type: text/html; charset=iso-2022-jp\n\n<p \xff\x1b$B\xff\xff<\xff",
		"charset":    "Content-Type: text/plain; charset=" + strings.Repeat("x", 10_000) + "\nContent-Transfer-Encoding: base64\n\n!!!!=====\n",
		"html":       "Content-Type: text/html\n\n" + strings.Repeat("<", 300_000) + strings.Repeat("<script></", 50_000) + strings.Repeat("&#x110000;&", 50_000),
		"boundary":   "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n",
		"boundaries": strings.ReplaceAll(multi, "=b", "="+strings.Repeat("b", 5000)) + "--" + strings.Repeat("b", 5000) + "\n\nx\n",
		"qp":         "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=", 300_000),
		"same":       "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b--\n",
	}
}

// TestHostile runs everything over messages that are out to break it: it ends
// soon, and what fails does so as a script does.
func TestHostile(t *testing.T) {
	s := compile(t, everything)
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			m := parseRaw(t, text)
			spent := mtatest.CPU(t)
			r, err := s.Run(context.Background(), sieve.Env{Message: m, Envelope: sieve.Envelope{From: addr("a@example.net"), To: addr("user@example.org")}})
			var run *sieve.RunError
			if err != nil && !errors.As(err, &run) || len(r.Actions) == 0 {
				t.Errorf("got %v %v", r.Actions, err)
			}
			if err != nil {
				t.Logf("%v after %d steps", err, r.Steps)
			}
			if d := spent(); d > 10*time.Second {
				t.Errorf("took %v for %d steps", d, r.Steps)
			} else {
				t.Logf("%v, %d steps", d, r.Steps)
			}
			for _, a := range r.Actions {
				if a.Message != nil {
					shown(t, a)
				}
			}
		})
	}
}

// TestBudget: whatever the work, a hundredth of the default budget does not last
// long.
func TestBudget(t *testing.T) {
	for name, budget := range budgets {
		t.Run(name, func(t *testing.T) {
			s, _ := sieve.Compile(budgetScript(budget.work), sieve.Options{Limits: sieve.Limits{Steps: sieve.DefaultLimits.Steps / 100}})
			env := sieve.Env{Message: parseRaw(t, budget.message)}
			spent := mtatest.CPU(t)
			r, err := s.Run(context.Background(), env)
			if err != nil && !errors.Is(err, sieve.ErrLimit) {
				t.Error(err)
			}
			if d := spent(); d > 5*time.Second {
				t.Errorf("took %v for %d steps", d, r.Steps)
			}
		})
	}
}

// TestManyIncludes compiles 256 scripts, and chains and trees of them.
func TestManyIncludes(t *testing.T) {
	var all strings.Builder
	all.WriteString("require \"include\";\n")
	for i := range 256 {
		fmt.Fprintf(&all, "include \"s%d\";\n", i)
	}
	include := func(_, name string) (string, error) {
		switch {
		case strings.HasPrefix(name, "s"):
			return "keep;", nil
		case strings.HasPrefix(name, "chain"):
			return `require "include"; include "` + name + `x";`, nil
		case strings.HasPrefix(name, "tree") && len(name) < 30:
			return `require "include"; include "` + name + `x"; include "` + name + `x";`, nil
		case strings.HasPrefix(name, "tree"):
			return "keep;", nil
		}
		return "", fs.ErrNotExist
	}
	tests := []struct{ name, text, want string }{
		{"many", all.String(), "more than 255 scripts"},
		{"chain", `require "include"; include "chain";`, "more than 32 deep"},
		{"tree", `require "include"; include "tree";`, "steps"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spent := mtatest.CPU(t)
			s, problems := sieve.Compile(tt.text, sieve.Options{Include: include, Limits: sieve.Limits{Steps: 1_000_000}})
			got := problems.String()
			if s != nil {
				_, err := s.Run(context.Background(), sieve.Env{Message: parseRaw(t, exampleMessage)})
				got = fmt.Sprint(err)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %s", got)
			}
			if d := spent(); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestSharedParts runs one script over one message from many goroutines.
func TestSharedParts(t *testing.T) {
	s := compile(t, everything)
	m := parseRaw(t, peerMessages(t)["nested"])
	env := sieve.Env{Message: m}
	want := outcome(s.Run(context.Background(), env))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if got := outcome(s.Run(context.Background(), env)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}
