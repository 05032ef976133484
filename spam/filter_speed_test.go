package spam

import (
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/regex"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// BenchmarkFilter looks for the rules that the texts of 100 messages can match.
func BenchmarkFilter(b *testing.B) {
	mtatest.Program(b, "spamassassin")
	rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(b, err)
	e := New(rs, Options{})
	var body, raw, full [][]byte
	for _, m := range spamtest.LongCorpus(1, 100) {
		s := e.Check(b.Context(), m.Text, scan.Facts{}).Scan
		body = append(body, s.Body()...)
		raw = append(raw, s.Mail.RawText()...)
		full = append(full, m.Text)
	}
	for _, g := range []struct {
		name  string
		g     *group
		texts [][]byte
	}{{"body", e.body[0], body}, {"rawbody", e.raw[0], raw}, {"full", e.full[0], full}} {
		b.Run(g.name, func(b *testing.B) {
			var c regex.Candidates
			size := 0
			for _, text := range g.texts {
				size += len(text)
			}
			b.SetBytes(int64(size))
			for b.Loop() {
				c.Renew()
				for _, text := range g.texts {
					g.g.filter.Scan(text, &c)
				}
			}
		})
	}
}
