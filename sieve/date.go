package sieve

import (
	"fmt"
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// date is the tests date and currentdate (RFC 5260, 4 and 5).
var date = extension{
	name: "date", rfc: "5260",
	tests: []testRow{
		{signature: signature{
			name: "date", groups: []group{groupZone, groupComparator, groupMatch},
			params: []param{{name: "header name", kind: kindString}, {name: "date part", kind: kindString}, {name: "keys", kind: kindList}},
		}, build: buildDate},
		{signature: signature{
			name: "currentdate", groups: []group{groupZone, groupComparator, groupMatch},
			params: []param{{name: "date part", kind: kindString}, {name: "keys", kind: kindList}},
		}, build: buildCurrentDate},
	},
	tags: []tagRow{
		{name: "zone", group: groupZone, takes: kindString, check: func(c *checker, v value) {
			if s, ok := v.constant(); ok {
				if _, err := parseZone(s); err != nil {
					c.errorf(v.at, "%v", err).Hint = `write "+0100"`
				}
			}
		}},
		{name: "originalzone", on: []string{"date"}},
	},
}

const groupZone group = "zone"

// dateParts are what a time can be asked for (RFC 5260, 4.2).
var dateParts = map[string]func(time.Time) string{
	"year":    func(t time.Time) string { return t.Format("2006") },
	"month":   func(t time.Time) string { return t.Format("01") },
	"day":     func(t time.Time) string { return t.Format("02") },
	"date":    func(t time.Time) string { return t.Format("2006-01-02") },
	"julian":  julian,
	"hour":    func(t time.Time) string { return t.Format("15") },
	"minute":  func(t time.Time) string { return t.Format("04") },
	"second":  func(t time.Time) string { return t.Format("05") },
	"time":    func(t time.Time) string { return t.Format("15:04:05") },
	"iso8601": func(t time.Time) string { return t.Format("2006-01-02T15:04:05-07:00") },
	"std11":   func(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") },
	"zone":    func(t time.Time) string { return t.Format("-0700") },
	"weekday": func(t time.Time) string { return strconv.Itoa(int(t.Weekday())) },
}

var datePartNames = []string{"year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601", "std11", "zone", "weekday"}

// julian is the Modified Julian Day of the local date.
func julian(t time.Time) string {
	const epoch = 40587 // 1970-01-01
	y, m, d := t.Date()
	return strconv.FormatInt(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400+epoch, 10)
}

// parseZone reads an offset from UTC: "+0100".
func parseZone(s string) (*time.Location, error) {
	if len(s) == 5 && (s[0] == '+' || s[0] == '-') && isDigit(s[1]) && isDigit(s[2]) && isDigit(s[3]) && isDigit(s[4]) {
		n := (int(s[1]-'0')*10+int(s[2]-'0'))*3600 + (int(s[3]-'0')*10+int(s[4]-'0'))*60
		if s[0] == '-' {
			n = -n
		}
		return time.FixedZone("", n), nil
	}
	return nil, fmt.Errorf("%s is no time zone", quoted(s))
}

// zone is where a test wants its time: in a zone, in the one it came with, or
// in the owner's.
type zone struct {
	text     *text
	original bool
}

func (c *checker) zone(b *bound) zone {
	original := b.tag("originalzone")
	t := b.option("zone")
	if t == nil {
		return zone{original: original}
	}
	if original {
		c.errorf(t.at, ":zone can not stand with :originalzone")
	}
	return zone{text: &t.val.texts[0]}
}

func (z zone) in(m *machine, t time.Time) (time.Time, error) {
	switch {
	case z.original:
		return t, nil
	case z.text == nil:
		return t.In(m.clock().Location()), nil
	}
	s, err := z.text.value(m)
	if err != nil {
		return t, err
	}
	loc, err := parseZone(s)
	if err != nil {
		return t, err
	}
	return t.In(loc), nil
}

// datePart is the function for the part that an argument names.
func (c *checker) datePart(v value) func(m *machine, t time.Time) (string, error) {
	if s, ok := v.constant(); ok {
		part := dateParts[asciiLower(s)]
		if part == nil {
			c.errorf(v.at, "%s is no part of a date", quoted(s)).Hint = or2(didYouMean(asciiLower(s), datePartNames), "there are "+strings.Join(datePartNames, ", "))
		}
		return func(_ *machine, t time.Time) (string, error) { return part(t), nil }
	}
	name := v.texts[0]
	return func(m *machine, t time.Time) (string, error) {
		s, err := name.value(m)
		if err != nil {
			return "", err
		}
		part := dateParts[asciiLower(s)]
		if part == nil {
			return "", fmt.Errorf("%s is no part of a date", quoted(s))
		}
		return part(t), nil
	}
}

func or2(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func buildDate(c *checker, b *bound) test {
	name, part, q, zone, at := b.vals[0].texts[0], c.datePart(b.vals[1]), c.matcher(b, b.vals[2]), c.zone(b), c.index(b)
	if at.n == 0 {
		at.n = 1 // only the first field counts (RFC 5260, 4)
	}
	c.checkNames(b.vals[0])
	return q.test(func(m *machine, to *seeker) error {
		field, err := name.value(m)
		if err != nil {
			return err
		}
		fields, err := m.header(field)
		if err != nil {
			return err
		}
		for _, f := range pick(fields, at) {
			if err := m.spend(1000 + 8*len(f.text)); err != nil {
				return err
			}
			t, ok := parseDate(f.text)
			if !ok {
				continue
			}
			if t, err = zone.in(m, t); err != nil {
				return err
			}
			s, err := part(m, t)
			if err != nil {
				return err
			}
			return to.one(subject{text: s})
		}
		return nil
	})
}

// parseDate reads the date of a field, or the one behind the last semicolon, as
// in Received (RFC 5260, 4).
func parseDate(s string) (time.Time, bool) {
	if i := strings.LastIndexByte(s, ';'); i >= 0 {
		s = s[i+1:]
	}
	t, err := mail.ParseDate(strings.TrimSpace(s))
	return t, err == nil
}

func buildCurrentDate(c *checker, b *bound) test {
	part, q, zone := c.datePart(b.vals[0]), c.matcher(b, b.vals[1]), c.zone(b)
	return q.test(func(m *machine, to *seeker) error {
		t, err := zone.in(m, m.clock())
		if err != nil {
			return err
		}
		s, err := part(m, t)
		if err != nil {
			return err
		}
		return to.one(subject{text: s})
	})
}
