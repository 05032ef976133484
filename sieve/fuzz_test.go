package sieve_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/sieve"
)

// seeds are the scripts of the other tests.
func seeds(f *testing.F) []string {
	f.Helper()
	out := []string{exampleScript}
	for _, s := range peerScripts(f) {
		out = append(out, s.text)
	}
	files, err := filepath.Glob("testdata/golden/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for block := range strings.SplitSeq(string(b), "\n\n") {
			if _, script, ok := strings.Cut(block, "\n"); ok && strings.HasPrefix(block, "run ") {
				script, _, _ = strings.Cut(script, "----")
				out = append(out, script)
			}
		}
	}
	return out
}

// FuzzCompile: whatever the text, sieve.Compile ends soon, and its problems can be
// shown.
func FuzzCompile(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		begin := time.Now()
		s, problems := sieve.Compile(text, sieve.Options{})
		if (s == nil) != (problems.Err() != nil) {
			t.Errorf("script %v, problems %v", s, problems)
		}
		if len(problems) > 25 {
			t.Errorf("%d problems", len(problems))
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Message == "" || strings.ContainsAny(p.Source, "\n\x1b") {
				t.Errorf("problem %#v", p)
			}
		}
		if strings.Count(problems.String(), "\n") > 4*len(problems) {
			t.Errorf("problems of too many lines: %q", problems.String())
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// FuzzRun: whatever the script and the message, a run ends soon, keeps its
// limits, does the same when repeated, and never loses mail by failing.
func FuzzRun(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, "Hello [dev] World", "a+b@example.org")
	}
	f.Fuzz(func(t *testing.T, text, value, address string) {
		limits := sieve.Limits{Steps: 2_000_000}
		s, _ := sieve.Compile(text, sieve.Options{Limits: limits})
		if s == nil {
			return
		}
		m := parseRaw(t, "Subject: "+value+"\nSubject: x\nFrom: "+address+"\nTo: "+address+", "+value+"\nX-Empty:\n\n"+value)
		env := sieve.Env{Message: m, Envelope: sieve.Envelope{From: addr(address)}}
		begin := time.Now()
		r, err := s.Run(context.Background(), env)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
		again, err2 := s.Run(context.Background(), env)
		if one, two := outcome(r, err), outcome(again, err2); one != two {
			t.Errorf("first %s, then %s", one, two)
		}
		if err != nil && (len(r.Actions) != 1 || !r.Actions[0].Implicit) {
			t.Errorf("after %v: %v", err, r.Actions)
		}
		redirects := 0
		for _, a := range r.Actions {
			if a.Kind == sieve.Redirect {
				redirects++
				if strings.ContainsAny(a.Address.String(), "\r\n\x00") {
					t.Errorf("address %q", a.Address)
				}
			}
		}
		if len(r.Actions) > 33 || redirects > 5 {
			t.Errorf("%d actions, %d redirects", len(r.Actions), redirects)
		}
	})
}
