package sieve

import "strconv"

// spamtest, spamtestplus and virustest are RFC 5235.
var (
	spamtest = extension{
		name: "spamtest", rfc: "5235",
		tests: []testRow{{
			signature: signature{name: "spamtest", groups: []group{groupComparator, groupMatch}, params: []param{{name: "value", kind: kindString}}},
			build:     buildSpamTest,
		}},
	}
	spamtestplus = extension{
		name: "spamtestplus", rfc: "5235",
		tags: []tagRow{{name: "percent", on: []string{"spamtest"}}},
	}
	virustest = extension{
		name: "virustest", rfc: "5235",
		tests: []testRow{{
			signature: signature{name: "virustest", groups: []group{groupComparator, groupMatch}, params: []param{{name: "value", kind: kindString}}},
			build:     buildVirusTest,
		}},
	}
)

// buildSpamTest is 0 for what was not looked at, else 1 to 10, or with :percent
// 0 to 100 (RFC 5235, 3.2).
func buildSpamTest(c *checker, b *bound) test {
	percent, q := b.tag("percent"), c.matcher(b, b.vals[0])
	return q.test(func(m *machine, to *seeker) error {
		value, tested := 0, false
		if m.env.Spam != nil {
			var p float64
			if p, tested = m.env.Spam(); tested {
				p = min(max(p, 0), 100)
				if value = int(p + 1e-9); !percent {
					value = 1 + int(p*9/100+1e-9)
				}
			}
		}
		// With :percent, only :count tells what is no spam from what was not
		// looked at (RFC 5235, 3.2.2).
		return to.one(subject{text: strconv.Itoa(value), empty: percent && !tested})
	})
}

// buildVirusTest is 0 for what was not looked at, else 1 to 5 (RFC 5235, 3.3).
func buildVirusTest(c *checker, b *bound) test {
	q := c.matcher(b, b.vals[0])
	return q.test(func(m *machine, to *seeker) error {
		value := 0
		if m.env.Virus != nil {
			if v, ok := m.env.Virus(); ok {
				value = min(max(v, 1), 5)
			}
		}
		return to.one(subject{text: strconv.Itoa(value)})
	})
}
