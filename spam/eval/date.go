package eval

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil && s != "" {
		return 1 << 20
	}
	return n
}

// dates are the times that a message says it was sent and taken.
type dates struct {
	header     int64
	hasHeader  bool
	received   []int64
	fetched    int64 // by fetchmail
	hasFetched bool
	diff       int64
}

var (
	receivedDate = regexp.MustCompile(`(\s.?\d+ \S\S\S \d+ \d+:\d+:\d+ \S+)`)
	fromLocal    = regexp.MustCompile(`\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)`)
	byUID        = regexp.MustCompile(`qmail \d+ invoked by uid \d+`)
	byFetchmail  = regexp.MustCompile(`\bby localhost with \w+ \(fetchmail-[\d.]+`)
)

func datesOf(s *scan.Scan) *dates {
	if d, ok := s.Keep["dates"].(*dates); ok {
		return d
	}
	d := &dates{}
	s.Keep["dates"] = d
	for _, name := range []string{"Resent-Date", "Date"} {
		for _, v := range s.Get(name) {
			if v = strings.TrimSuffix(v, "\n"); v != "" {
				d.header, d.hasHeader = mail.ParseDate(v)
			}
			if d.hasHeader {
				break
			}
		}
		if d.hasHeader {
			break
		}
	}
	d.readReceived(s)
	d.compare()
	return d
}

func (d *dates) readReceived(s *scan.Scan) {
	all, _ := s.Joined("Received")
	var lines, local []string
	for _, l := range strings.Split(all, "\n") {
		if strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return
	}
	if isLocal(lines[0]) {
		local, lines = lines[:1:1], lines[1:]
	}
	if len(lines) > 0 && strings.Contains(lines[0], "fetchmail-") && byFetchmail.MatchString(lines[0]) {
		local, lines = append(local, lines[0]), lines[1:]
	} else if len(local) > 0 {
		lines, local = append(slices.Clone(local[:1]), lines...), nil
	}
	for _, l := range local {
		if t, ok := dateIn(l); ok && t <= s.Facts.Now.Unix() {
			if !d.hasFetched || t > d.fetched {
				d.fetched, d.hasFetched = t, true
			}
		}
	}
	for _, l := range lines {
		if t, ok := dateIn(l); ok {
			d.received = append(d.received, t)
		}
	}
}

// isLocal reports whether a Received field says that the message comes from the machine.
func isLocal(line string) bool {
	if strings.Contains(line, "localhost") || strings.Contains(line, "127.0.0.1") {
		return fromLocal.MatchString(line) || byUID.MatchString(line)
	}
	return strings.Contains(line, "invoked by uid") && byUID.MatchString(line)
}

func dateIn(line string) (int64, bool) {
	m := receivedDate.FindString(line)
	if m == "" {
		return 0, false
	}
	return mail.ParseDate(m)
}

// compare finds by how much the header's date is off: by the nearest Received field.
func (d *dates) compare() {
	if !d.hasHeader || len(d.received) == 0 {
		return
	}
	diffs := make([]int64, len(d.received))
	for i, t := range d.received {
		diffs[i] = d.header - t
	}
	if n := len(diffs); n > 1 && diffs[n-1] == 0 {
		diffs = diffs[:n-1] // the sender's own server
	}
	slices.SortStableFunc(diffs, func(a, b int64) int { return int(max(-1, min(1, abs(a)-abs(b)))) })
	d.diff = diffs[0]
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// within compares a number with bounds of which "undef" is none.
func within(v, unit float64, lo, hi string) bool {
	if a, err := strconv.ParseFloat(lo, 64); err == nil && v < a*unit {
		return false
	}
	if b, err := strconv.ParseFloat(hi, 64); err == nil && v >= b*unit {
		return false
	}
	return true
}

func shiftedDate(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	return hit(within(float64(datesOf(s).diff), 3600, arg(args, 0), arg(args, 1)))
}

// receivedWithinMonths compares the age of the message, by the median of its dates.
func receivedWithinMonths(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	d := datesOf(s)
	var all []int64
	if d.hasHeader {
		all = append(all, d.header)
	}
	if len(d.received) > 0 {
		all = append(all, d.received[0])
	}
	if d.hasFetched {
		all = append(all, d.fetched)
	}
	if d.hasHeader && len(d.received) > 0 {
		all = append(all, d.header-d.diff)
	}
	var chosen int64
	if len(all) > 0 {
		slices.Sort(all)
		slices.Reverse(all)
		chosen = all[(len(all)-1)/2]
	}
	const month = 31556952.0 / 12
	return hit(within(float64(s.Facts.Now.Unix()-chosen), month, arg(args, 0), arg(args, 1)))
}

// arg is an argument, "" if it is not there.
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
