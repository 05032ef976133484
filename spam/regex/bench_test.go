package regex

import (
	"bytes"
	"strings"
	"testing"
)

// english is text like that of letters, 10 KiB.
func english() []byte {
	const letter = `Dear colleagues, thank you for your patience while we looked into what went wrong with the shipment of last
week. The carrier has now confirmed that both pallets left the warehouse on Tuesday morning, and that the delay was caused by a
missing customs form, which our office in Rotterdam has sent again in the meantime. You will find the new tracking number below;
please let me know if the delivery does not arrive by Friday afternoon. I have also attached the minutes of our meeting from
November 12, with the decisions about the budget for 2027: Anna will prepare the figures, Peter asks the two suppliers for
offers, and I will write to the committee before the end of the month. Some of you asked whether the summer school takes place
again next year. It does, from July 5 to 16, and registration opens in January at https://www.example.org/summer/2027 as usual.
If you have questions, call me at the number that you know, or simply answer this message. Kind regards, Maria Jansen. `
	text := strings.ReplaceAll(strings.Repeat(letter, 12), "\n", " ")
	return []byte(text[:10*1024])
}

// paragraphs cuts a text into pieces of 1 KiB.
func paragraphs() [][]byte {
	var out [][]byte
	for text := english(); len(text) > 0; text = text[1024:] {
		out = append(out, text[:1024])
	}
	return out
}

// bodyRules are the stock rules that body text is matched with.
func bodyRules(tb testing.TB) []*Regexp {
	var out []*Regexp
	for _, r := range stockRules(tb) {
		if r.kind != "body" {
			continue
		}
		re, err := CompileRule(r.text)
		if err != nil {
			tb.Fatalf("%s: %v", r.name, err)
		}
		out = append(out, re)
	}
	return out
}

func BenchmarkStockBodyAll(b *testing.B) {
	rules, texts := bodyRules(b), paragraphs()
	b.ReportAllocs()
	for b.Loop() {
		budget := Budget{Steps: 1 << 40}
		for _, text := range texts {
			for _, re := range rules {
				if _, err := re.Match(text, &budget); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

func BenchmarkStockBodyFiltered(b *testing.B) {
	rules, texts := bodyRules(b), paragraphs()
	f := NewFilter(rules, NewCache(0))
	var c Candidates
	f.Scan(texts[0], &c)
	tried := 0
	b.ReportAllocs()
	for b.Loop() {
		tried = 0
		budget := Budget{Steps: 1 << 40}
		for _, text := range texts {
			f.Scan(text, &c)
			c.Each(func(i int) bool {
				tried++
				_, err := rules[i].Match(text, &budget)
				return err == nil
			})
		}
	}
	b.ReportMetric(float64(tried), "candidates")
	b.ReportMetric(float64(len(rules)), "rules")
	b.ReportMetric(float64(f.Size())/1024, "KiB")
}

// The filter alone.
func BenchmarkStockBodyScan(b *testing.B) {
	f, texts := NewFilter(bodyRules(b), NewCache(0)), paragraphs()
	var c Candidates
	f.Scan(texts[0], &c)
	b.SetBytes(10 * 1024)
	b.ReportAllocs()
	for b.Loop() {
		for _, text := range texts {
			f.Scan(text, &c)
		}
	}
}

// allLiterals are those of all stock rules.
func allLiterals(tb testing.TB) []Literal {
	var out []Literal
	seen := map[Literal]bool{}
	for _, r := range stockRules(tb) {
		re, err := CompileRule(r.text)
		if err != nil {
			continue // it wants another plugin to fill it in
		}
		for _, clause := range re.Needs().All {
			for _, l := range clause {
				if !seen[l] {
					seen[l] = true
					out = append(out, l)
				}
			}
		}
	}
	return out
}

func BenchmarkSet(b *testing.B) {
	literals := allLiterals(b)
	s, text := NewSet(literals), english()
	hits := 0
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s.Scan(text, func(int) { hits++ })
	}
	b.ReportMetric(float64(len(literals)), "literals")
	b.ReportMetric(float64(s.Size())/1024, "KiB")
	b.ReportMetric(float64(hits)/float64(b.N), "hits")
}

func BenchmarkMatch(b *testing.B) {
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), 23)
	for _, c := range []struct{ name, pattern, modifiers string }{
		{"literal", `lazy cat`, ""},
		{"fold", `lazy cat`, "i"},
		{"class", `[0-9]{3}-[0-9]{4}`, ""},
		{"backref", `(\w)\1\1`, ""},
		{"exponential", `(?:a|b|\w)*(?:\w+)*!`, ""},
	} {
		re, err := Compile(c.pattern, c.modifiers)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := re.Match(text, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// All stock rules, from text to program.
func BenchmarkCompileStock(b *testing.B) {
	rules := stockRules(b)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range rules {
			_, _ = CompileRule(r.text)
		}
	}
	b.ReportMetric(float64(len(rules)), "rules")
}
