package netrule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/regex"
	"mtad/spam/scan"
)

// nobody answers nothing.
type nobody struct{}

func (nobody) Lookup(context.Context, ask.Question) (ask.Answer, error) {
	return ask.Answer{}, errors.New("nobody is there")
}

const text = "Received: from a.example.com (a.example.com [198.51.100.7]) by mx.example.org (Postfix) with ESMTP id ABC; Thu, 26 Nov 2026 10:00:00 +0000\nFrom: a@example.com\nSubject: x\n\nx\n"

func message(t testing.TB, rules string) *scan.Scan {
	t.Helper()
	rs := conf.Parse("x.cf", rules, conf.Options{})
	if len(rs.Problems) > 0 {
		t.Fatal(rs.Problems)
	}
	s := scan.New(t.Context(), &scan.Settings{Rules: rs, Resolver: nobody{}}, []byte(text), scan.Facts{}, &regex.Budget{Steps: 1 << 30})
	t.Cleanup(s.Close)
	return s
}

// call calls a function until it has what it has asked for.
func call(s *scan.Scan, name string, args ...string) (float64, error) {
	for {
		v, err := Functions()[name](s, &conf.Rule{Name: "R", Call: conf.Call{Func: name, Args: args}}, args)
		if !errors.Is(err, ask.ErrPending) {
			return v, err
		}
		s.Ask.Wait()
	}
}

// dccifd answers one client after the other, and keeps what it was asked.
func dccifd(t *testing.T, answer string) (path string, asked chan string) {
	path = filepath.Join(t.TempDir(), "dccifd")
	l, err := net.Listen("unix", path)
	mtatest.Check(t, err)
	t.Cleanup(func() { l.Close() })
	asked = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			asked <- string(b)
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	return path, asked
}

func TestDCC(t *testing.T) {
	path, asked := dccifd(t, "A\nA\nX-DCC-brand-Metrics: mx.example.org 1234; bulk Body=many\n\tFuz1=3 Fuz2=ok2 rep=95%\n\nreported: 0\n")
	s := message(t, "dcc_dccifd_path "+path+"\n")
	for _, c := range []struct {
		name string
		args []string
		want float64
	}{{"check_dcc", nil, 1}, {"check_dcc_reputation_range", []string{"90", "94"}, 0}, {"check_dcc_reputation_range", []string{"95", "98"}, 1}, {"check_dcc_reputation_range", []string{"95"}, 1}} {
		if v, err := call(s, c.name, c.args...); v != c.want || err != nil {
			t.Errorf("%s %v: %v %v", c.name, c.args, v, err)
		}
	}
	if got, want := <-asked, "cksums grey-off\n198.51.100.7\ra.example.com\na.example.com\n\nunknown\n\n"+text; got != want {
		t.Errorf("asked %q,\nwant %q", got, want)
	}
	if len(asked) > 0 {
		t.Error("asked more than once")
	}
	if got := fmt.Sprint(s.Tag("DCCB"), s.Tag("DCCR"), s.Tag("DCCREP")); got != "[brand] [mx.example.org 1234; bulk Body=many Fuz1=3 Fuz2=ok2 rep=95%] [95]" {
		t.Error(got)
	}
	path, _ = dccifd(t, "A\nA\n")
	if _, err := call(message(t, "dcc_dccifd_path "+path+"\n"), "check_dcc"); err == nil || !strings.Contains(err.Error(), "X-DCC") {
		t.Errorf("an answer without a field: %v", err)
	}
	if v, err := call(message(t, "use_dcc 0\n"), "check_dcc"); v != 0 || err != nil {
		t.Error(v, err)
	}
}

func TestPyzor(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pyzor")
	mtatest.Check(t, os.WriteFile(program, []byte("#!/bin/sh\ncat > $0.in\necho \"$@\" > $0.args\ncat $0.out\nexit 1\n"), 0o700))
	for _, c := range []struct {
		out  string
		want float64
		err  string
	}{
		{"public.pyzor.org:24441\t(200, 'OK')\t7\t0\n", 1, ""}, {"a:1\t(200, 'OK')\t3\t0\nb:1\t(200, 'OK')\t3\t0\n", 1, ""}, {"a:1\t(200, 'OK')\t4\t0\n", 0, ""},
		{"a:1\t(200, 'OK')\t20\t10\n", 0, ""}, {"a:1\t(200, 'OK')\t100\t10\n", 1, ""}, {"a:1\t(200, 'OK')\t1000000\t0\n", 0, ""}, {"Traceback (most recent)\n", 0, "failed"}, {"", 0, "no server"},
	} {
		mtatest.Check(t, os.WriteFile(program+".out", []byte(c.out), 0o600))
		v, err := call(message(t, "pyzor_path "+program+"\npyzor_options --homedir /etc/pyzor\n"), "check_pyzor")
		if v != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v %v", c.out, v, err)
		}
	}
	in, err := os.ReadFile(program + ".in")
	mtatest.Check(t, err)
	args, err := os.ReadFile(program + ".args")
	mtatest.Check(t, err)
	if string(in) != text || string(args) != "--homedir /etc/pyzor check\n" {
		t.Errorf("%q %q", args, in)
	}
}

// TestOff: what is not on this machine says so, and is no miss.
func TestOff(t *testing.T) {
	rs := conf.Parse("x.cf", "dcc_dccifd_path /nonexistent/dccifd\npyzor_path /nonexistent/pyzor\n", conf.Options{})
	for f, want := range map[string]string{"check_dcc": "DCC: no dccifd at /nonexistent/dccifd", "check_pyzor": "Pyzor: no program", "check_razor2": "Razor", "check_rbl": ""} {
		if got := Off(rs, f); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", f, got)
		}
	}
	s := message(t, "dcc_dccifd_path 127.0.0.1:1\n")
	for _, f := range []string{"check_dcc", "check_razor2"} {
		if _, err := call(s, f); err == nil {
			t.Errorf("%s is known", f)
		}
	}
	var why eval.Unknown
	if _, err := call(s, "check_rbl", "x-lastexternal", "bl.test."); !errors.As(err, &why) || !strings.Contains(string(why), "nobody is there") {
		t.Errorf("a list that does not answer: %v", err)
	}
	if v, err := call(message(t, "skip_rbl_checks 1\n"), "check_rbl", "x-lastexternal", "bl.test."); v != 0 || err != nil {
		t.Error(v, err)
	}
	if v, err := call(message(t, "dns_query_restriction deny test\n"), "check_rbl", "x-lastexternal", "bl.test."); v != 0 || err != nil {
		t.Errorf("a list that is not to be asked: %v %v", v, err)
	}
}

func TestASNRecord(t *testing.T) {
	for _, c := range []struct {
		strings         []string
		numbers, routes string
	}{
		{[]string{"1103", "192.88.99.0", "24"}, "1103", "192.88.99.0/24"}, {[]string{"559 1103 | 192.88.99.0/24 | US | iana"}, "559 1103", "192.88.99.0/24"},
		{[]string{"192.88.99.0/24 | AS1103 | SURFnet"}, "1103", "192.88.99.0/24"}, {[]string{"as1103"}, "1103", ""}, {[]string{"4294967295", "0.0.0.0", "0"}, "", ""}, {[]string{"no numbers"}, "", ""}, {[]string{""}, "", ""},
	} {
		numbers, routes := asnRecord(ask.Record{Type: "TXT", Text: strings.Join(c.strings, ""), Strings: c.strings})
		if strings.Join(numbers, " ") != c.numbers || strings.Join(routes, " ") != c.routes {
			t.Errorf("%q: %q %q", c.strings, numbers, routes)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		test    string
		hit, no []string
	}{
		{"16", []string{"127.0.0.16", "127.0.0.17"}, []string{"127.0.0.15", "10.0.0.16", "x"}}, {"0x10", []string{"127.0.0.16"}, []string{"127.0.0.8"}},
		{"127.0.0.2", []string{"127.0.0.2"}, []string{"127.0.0.3"}}, {"127.0.1.20-127.0.1.39", []string{"127.0.1.20", "127.0.1.39"}, []string{"127.0.1.40", "127.0.1.19"}}, {"0.0.0.16/0.0.0.16", []string{"1.2.3.16"}, []string{"1.2.3.15"}},
	} {
		n, ok := numbers(c.test)
		if !ok {
			t.Fatal(c.test)
		}
		for i, list := range [][]string{c.hit, c.no} {
			for _, a := range list {
				if got, err := n.matches(nil, "A", a); got != (i == 0) || err != nil {
					t.Errorf("%s of %s: %v", c.test, a, got)
				}
			}
		}
	}
	for _, bad := range []string{"", "x", "1-", "/2", "127.0.0.300", "99999999999"} {
		if _, ok := numbers(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzRecords: what zones of networks, dccifd and pyzor answer is read within bounds.
func FuzzRecords(f *testing.F) {
	f.Add("1103", "192.0.2.0", "24")
	f.Add("1 2 | 192.0.2.0/24 | X", "", "")
	f.Add("A\nA\nX-DCC-x-Metrics: y; Body=many\n\tFuz1=1\n", "a:1\t(200, 'OK')\t7\t0\n", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		numbers, _ := asnRecord(ask.Record{Type: "TXT", Text: a + b + c, Strings: []string{a, b, c}})
		for _, n := range numbers {
			if strings.Trim(n, "0123456789") != "" {
				t.Errorf("%q is no number", n)
			}
		}
		if line, err := dccField(a); err == nil && strings.Contains(line, "\n") {
			t.Errorf("%q", line)
		}
		if n := readDCC(a); n.body < 0 || n.fuz1 < 0 || n.rep < -1 {
			t.Errorf("%+v", n)
		}
		if r, w, err := readPyzor(b); err == nil && (r < 0 || w < 0) {
			t.Errorf("%d %d", r, w)
		}
		if codes, ok := answerCodes(c); ok && (len(codes) == 0 || slices.Min(codes) < 0) {
			t.Errorf("%q: %v", c, codes)
		}
		rblText("X", ask.Reply{Question: ask.Question{Name: a, Type: "A"}}, ask.Record{Type: "A", Text: b})
	})
}
