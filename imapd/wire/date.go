package wire

import (
	"strings"
	"time"
)

const (
	dateLayout     = "2-Jan-2006"
	dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"
)

// Date takes a date, quoted or not: midnight UTC of that day (RFC 3501, 9: date).
func (r *Reader) Date() time.Time {
	s := r.AString()
	if r.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil {
		r.Fail("expected a date such as 1-Feb-2026")
	}
	return t
}

// DateTime takes a quoted date and time (RFC 3501, 9: date-time).
func (r *Reader) DateTime() time.Time {
	r.Expect('"')
	if r.err != nil {
		return time.Time{}
	}
	s := r.quoted()
	t, err := time.Parse(dateTimeLayout, s)
	if err != nil {
		// Some clients leave out the leading blank.
		t, err = time.Parse(strings.TrimPrefix(dateTimeLayout, "_"), strings.TrimSpace(s))
	}
	if err != nil {
		r.Fail(`expected a date and time such as " 1-Feb-2026 10:00:00 +0000"`)
	}
	return t
}
