package relay

import (
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

// TestForms reads each form's example, and looks whether it is read by that form.
func TestForms(t *testing.T) {
	for _, f := range families {
		testForms(t, f.forms, func(l *line) bool {
			for _, o := range families {
				if o.mark(l) {
					return l.firstOf(webmail) == nil && &o.forms[0] == &f.forms[0]
				}
			}
			return false
		})
	}
	noFamily := func(l *line) bool {
		for _, f := range families {
			if f.mark(l) && l.firstOf(f.forms) != nil {
				return false
			}
		}
		return l.firstOf(webmail) == nil
	}
	testForms(t, webmail, func(*line) bool { return true })
	testForms(t, common, noFamily)
	testForms(t, apart, func(l *line) bool { return noFamily(l) && l.firstOf(common) == nil })
	testForms(t, capital, func(*line) bool { return true })
	testForms(t, bracketed, func(*line) bool { return true })
}

// firstOf finds the first form that fits.
func (l *line) firstOf(forms []form) *form {
	for i := range forms {
		try := *l
		if try.try(&forms[i]) != differs {
			return &forms[i]
		}
	}
	return nil
}

func testForms(t *testing.T, forms []form, reached func(*line) bool) {
	t.Helper()
	for i := range forms {
		f := &forms[i]
		l := &line{matcher: matcher{s: f.example, steps: maxSteps}}
		if !reached(l) {
			t.Errorf("%s: %q is read by others before", f.server, f.example)
		}
		if first := l.firstOf(forms); first == nil || first != f {
			name := "none"
			if first != nil {
				name = first.server
			}
			t.Errorf("%s: %q is read by %s", f.server, f.example, name)
		}
	}
}

// TestReadLine reads lines as they are.
func TestReadLine(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"from a.example.com (rdns.example.com [192.0.2.7])\n\tby mx.example.org (Postfix) with ESMTPS id 4F7E21BD97\n\tfor <u@example.org>; Thu, 26 Nov 2026 10:00:00 +0000 (UTC)",
			"[ ip=192.0.2.7 rdns=rdns.example.com helo=a.example.com by=mx.example.org ident= envfrom= intl=0 id=4F7E21BD97 auth= msa=0 ]"},
		{"from pc7 (unknown [192.0.2.7]) (Authenticated sender: ann) by mx.example.org (Postfix) with ESMTPSA id A1B2; Thu, 26 Nov 2026 10:00:00 +0000",
			"[ ip=192.0.2.7 rdns= helo=pc7 by=mx.example.org ident= envfrom= intl=0 id=A1B2 auth=ESMTPSA msa=0 ]"},
		{"from [192.0.2.7] (helo=a.example.com ident=ann) by mx.example.org with smtp (Exim 4.96) (envelope-from <a@example.com>) id 194BE5-0005Zh-00",
			"[ ip=192.0.2.7 rdns= helo=a.example.com by=mx.example.org ident=ann envfrom=a@example.com intl=0 id=194BE5-0005Zh-00 auth= msa=0 ]"},
		{"from [IPv6:2001:db8::7] (helo=[IPv6:2001:db8::7]) by mx.example.org with esmtpsa (Exim 4.96)",
			"[ ip=2001:db8::7 rdns= helo=!IPv6:2001:db8::7! by=mx.example.org ident= envfrom= intl=0 id= auth=esmtpsa msa=0 ]"},
		{"from unknown (HELO a.example.com) (ann@192.0.2.7) by mx.example.org with SMTP; 26 Nov 2026 10:00:00 -0000",
			"[ ip=192.0.2.7 rdns= helo=a.example.com by=mx.example.org ident=ann envfrom= intl=0 id= auth= msa=0 ]"},
		{"from A.prod.example.com ([fe80::19bd:c588:dd17:5226%6]) by B.prod.example.com ([fe80::1]) with mapi id 15.20.1943.023; Thu, 26 Nov 2026 10:00:00 +0000",
			"[ ip=fe80::19bd:c588:dd17:5226 rdns= helo=A.prod.example.com by=B.prod.example.com ident= envfrom= intl=0 id= auth= msa=0 ]"},
		{"from a.example.com (a.example.com. [192.0.2.7]) by mx.google.com with ESMTPS id a1-20020a05.2026 for <u@example.org>",
			"[ ip=192.0.2.7 rdns=a.example.com helo=a.example.com by=mx.google.com ident= envfrom= intl=0 id=a1-20020a05.2026 auth= msa=0 ]"},
		{"from pc7 (softdnserr [::ffff:192.0.2.7]) by mx.example.org with esmtp", "[ ip=192.0.2.7 rdns= helo=pc7 by=mx.example.org ident= envfrom= intl=0 id= auth= msa=0 ]"},
		{"by mx.example.org with SMTP id x1", "ignored"},
		{"from a.example.com by mx.example.org ; Thu, 20 Nov 2026 23:32:58 +0100", "ignored"},
		{"from pop.example.org (192.0.2.7) by localhost with POP3 id 1", "ignored"},
		{"from nowhere that is known", "unknown"},
	} {
		l, o := readLine(c.line)
		got := map[outcome]string{ignored: "ignored", unknown: "unknown"}[o]
		if o == found {
			got = l.relay().String()
		}
		if got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestFindIP(t *testing.T) {
	for line, want := range map[string]string{
		"[192.0.2.7]": "192.0.2.7", "x 1.2.3.4.5 192.0.2.7": "192.0.2.7", "256.1.1.1": "", "1.2.3": "", "at IPv6:2001:db8::1.": "", "at IPv6:2001:db8::1 ": "IPv6:2001:db8::1",
		"::ffff:192.0.2.7": "", "2001:db8::ffff:192.0.2.7 x": "2001:db8::ffff:192.0.2.7", "1::2::3": "", "12:30:45": "", "(fe80::1)": "fe80::1", "a:b:c:d:e:f:1:2": "a:b:c:d:e:f:1:2", "": "",
	} {
		if got := FindIP(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestPrivate(t *testing.T) {
	for ip, want := range map[string]bool{"10.1.2.3": true, "127.0.0.1": true, "169.254.1.1": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true, "100.64.0.1": true, "100.128.0.1": false,
		"8.8.8.8": false, "::1": true, "0:0:0:0:0:0:0:1": true, "fe80::1": true, "fec0::1": false, "2001:db8::1": false, "::ffff:10.0.0.1": true, "IPv6:::1": true, "::1:2": false, "": false} {
		if got := Private(ip); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

// hard lines cost much to read.
var hard = []string{
	"from " + strings.Repeat("(", 8000), "from x (HELO " + strings.Repeat(")", 8000), "from x (a) by b (" + strings.Repeat(") with ", 1100), "from x (HELO " + strings.Repeat("1.2.3.4@", 1000) + ") by ",
	"from x (y [192.0.2.7]" + strings.Repeat(") by a ", 1100), "from x " + strings.Repeat("SquirrelMail authenticated user 1.2.3.4 by ", 180), "from " + strings.Repeat("1.2.3.4 ", 1000) + "Exim",
	"from x (1.2.3.4) by b (" + strings.Repeat(") with ", 1100), "from " + strings.Repeat(" authenticated (", 500), "from " + strings.Repeat("[::1]", 1600),
}

func FuzzReceived(f *testing.F) {
	for _, e := range append(append(examples(), others...), hard...) {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8192 {
			return
		}
		spent := mtatest.CPU(t)
		l, o := readLine(text)
		if o == found {
			_ = l.relay().String()
		}
		if d := spent(); d > time.Second {
			t.Errorf("%v", d)
		}
	})
}

func BenchmarkReadLine(b *testing.B) {
	for name, line := range map[string]string{"postfix": "from a.example.com (rdns.example.com [192.0.2.7])\n\tby mx.example.org (Postfix) with ESMTPS id 4F7E21BD97\n\tfor <u@example.org>; Thu, 26 Nov 2026 10:00:00 +0000 (UTC)",
		"exim":  "from rdns.example.com ([192.0.2.7]:52313 helo=a.example.com) by mx.example.org with esmtps (TLS1.3) (Exim 4.96) (envelope-from <a@example.com>) id 1GzVLs-0002Oz-7b; Thu, 26 Nov 2026 10:00:00 +0000",
		"apart": "from a.example.com by mx.example.org (PMDF V4.3-10 #8779) id <01KTSSR50NSW001MXN@mx.example.org>; Thu, 26 Nov 2026 10:00:00 +0000", "none": "from nowhere that is known at all by anyone; Thu, 26 Nov 2026 10:00:00 +0000"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if l, o := readLine(line); o == found {
					l.relay()
				}
			}
		})
	}
	for i, line := range hard {
		b.Run("hard"+string(rune('0'+i)), func(b *testing.B) {
			for range b.N {
				readLine(line)
			}
		})
	}
}
