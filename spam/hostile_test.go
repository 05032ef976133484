package spam_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// hostile are messages that are made to take long.
func hostile(mb int) map[string]string {
	n := mb << 20
	if mtatest.Race {
		n /= 64
	}
	head := "From: a@example.com\nSubject: x\n"
	html := head + "Content-Type: text/html\n\n"
	nested := head
	for i := range mtatest.Fewer(3000) {
		nested += fmt.Sprintf("Content-Type: multipart/mixed; boundary=\"b%d\"\n\n--b%d\n", i, i)
	}
	return map[string]string{
		"one line":       head + "\n" + strings.Repeat("a", n),
		"words":          head + "\n" + strings.Repeat("the quick fox ", n/14),
		"spaces":         head + "\n" + strings.Repeat(" ", n),
		"newlines":       head + "\n" + strings.Repeat("\n", n),
		"tags":           html + strings.Repeat("<b><font color=red><p>", n/22),
		"open tag":       html + "<a href=\"" + strings.Repeat("x", n),
		"less than":      html + strings.Repeat("<", n),
		"comments":       html + strings.Repeat("<!--", n/4),
		"entities":       html + strings.Repeat("&amp", n/4),
		"links":          html + strings.Repeat("<a href=\"http://a.example.com/x\">y</a>", n/40),
		"kinds of links": html + links(n/40),
		"text links":     head + "\n" + links(n/40),
		"addresses":      head + "\n" + strings.Repeat("a@b.com ", n/8),
		"at signs":       head + "\n" + strings.Repeat("@", n),
		"dots":           head + "\n" + strings.Repeat("a.", n/2),
		"nested":         nested,
		"folds":          head + "X-A:" + strings.Repeat("\n a", n/3) + "\n\nx",
		"anchor":         html + "<a href=http://a.example.com>" + strings.Repeat("a<b>", n/4),
		"boundaries":     head + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", n/6),
		"fields":         strings.Repeat("X: y\n", n/5) + "\nx",
		"received":       strings.Repeat("Received: from a (b [192.0.2.1]) by c with SMTP id d; Thu, 26 Nov 2026 10:00:00 +0000\n", mtatest.Fewer(20000)) + "\nx",
		"long field":     "Subject: " + strings.Repeat("=?utf-8?q?a?= ", n/14) + "\n\nx",
		"long to":        "To: " + strings.Repeat("\"a\" <a@b.com>, ", n/15) + "\n\nx",
		"quotes":         "From: " + strings.Repeat("\"\\", n/2) + "\n\nx",
		"parentheses":    "To: " + strings.Repeat("(", mtatest.Fewer(8000)) + "\nFrom: " + strings.Repeat("<", mtatest.Fewer(8000)) + "\n\nx",
		"form":           head + "\n" + strings.Repeat("1) your full name: address: ", n/28),
		"form half":      head + "\n" + strings.Repeat("a copy of your present full current valid ", n/42),
		"money":          head + "\n" + strings.Repeat("$1,000,000 USD ", n/15),
		"base64":         head + "Content-Transfer-Encoding: base64\n\n" + strings.Repeat("QUFB", n/4),
		"nul":            head + "\n" + strings.Repeat("\x00\xff", n/2),
	}
}

func links(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "http://h%d.example.com/p%d?u=%%41 ", i, i)
	}
	return b.String()
}

// TestHostile: messages that are made to take long are cut short, and say so.
func TestHostile(t *testing.T) {
	e := engine(t)
	mb := 1
	if os.Getenv("MTAD_LONG") != "" {
		mb = 100
	}
	for name, text := range hostile(mb) {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			r := e.Check(context.Background(), []byte(text), scan.Facts{})
			r.Report(spam.Host{}).Rewrite()
			runtime.ReadMemStats(&after)
			grown := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d MiB: %v, %d MiB allocated, %d hits, %d unknown", len(text)>>20, time.Since(start).Round(time.Millisecond), grown>>20, len(r.Hits), len(r.Unknown))
			if limit := 400*uint64(len(text)) + 200<<20; grown > limit && !mtatest.Race {
				t.Errorf("%d MiB allocated: more than %d", grown>>20, limit>>20)
			}
		})
	}
}

// TestTimeOver: what has not run when the time is over is unknown, and none of it a hit.
func TestTimeOver(t *testing.T) {
	e := engine(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := e.Check(ctx, []byte("Subject: Viagra\n\nViagra\n"), scan.Facts{})
	if got := strings.Join(r.Names(), ","); got != "TIME_LIMIT_EXCEEDED" || len(r.Unknown) < 1000 {
		t.Errorf("hits %s, %d unknown", got, len(r.Unknown))
	}
}

// FuzzCheck: there is no message that the engine can not read.
func FuzzCheck(f *testing.F) {
	for _, m := range spamtest.Corpus(5, 40) {
		f.Add(m.Text)
	}
	rs, err := spam.LoadRules([]string{}, conf.Options{})
	mtatest.Check(f, err)
	e := spam.New(rs, spam.Options{Net: true})
	f.Fuzz(func(t *testing.T, text []byte) {
		r := e.Check(t.Context(), text, scan.Facts{})
		p := r.Report(spam.Host{})
		p.Text()
		p.Headers()
	})
}
