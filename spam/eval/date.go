package eval

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/spam/conf"
	"mtad/spam/scan"
)

// zones are the names of time zones that senders use, and minutes east of Greenwich.
var zones = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "WET": 0, "NDT": -150, "AST": -240, "ADT": -180, "NST": -210, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300,
	"MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "HST": -600, "AKST": -540, "AKDT": -480, "HADT": -540, "HAST": -600,
	"BST": 60, "IST": 60, "WEST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180, "MSK": 180, "MSD": 240, "MET": 60, "MEZ": 60, "MEST": 120, "MESZ": 120,
	"BRST": -120, "BRT": -180, "AEST": 600, "AEDT": 660, "ACST": 570, "ACDT": 630, "AWST": 480, "NZST": 720, "NZDT": 780,
	"JST": 540, "KST": 540, "HKT": 480, "SGT": 480, "PHT": 480, "IDT": 180,
}

const monthNames = "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"

var (
	dayMonth  = regexp.MustCompile(`(?i) (\d+) ` + monthNames + ` (\d{4}) `)
	ctime     = regexp.MustCompile(`(?i) ` + monthNames + ` +(\d+) \d+:\d+:\d+ (\d{4}) `)
	shortYear = regexp.MustCompile(`(?i) (\d+) ` + monthNames + ` (\d{2,3}) `)
	clock     = regexp.MustCompile(` (\d?\d):(\d\d)(?::(\d\d))? `)
	offset    = regexp.MustCompile(` ([-+])(\d\d)(\d\d) `)
	zoneName  = regexp.MustCompile(`\b([A-Z]{2,4}(?:-DST)?)\b`)
	commas    = regexp.MustCompile(`, *`)
)

// parseDate reads a date of a message as seconds since 1970, generously; ok is false
// if there is none.
func parseDate(s string) (sec int64, ok bool) {
	s = strings.Join(strings.Fields(commas.ReplaceAllString(s, " ")), " ")
	s = " " + s + " "
	var day, year int
	var month string
	take := func(re *regexp.Regexp) []string {
		m := re.FindStringSubmatch(s)
		if m != nil {
			s = strings.Replace(s, m[0], " ", 1)
		}
		return m
	}
	if m := take(dayMonth); m != nil {
		day, month, year = atoi(m[1]), m[2], atoi(m[3])
	} else if m := take(ctime); m != nil {
		// The clock went with the rest.
		day, month, year = atoi(m[2]), m[1], atoi(m[3])
	} else if m := take(shortYear); m != nil {
		day, month, year = atoi(m[1]), m[2], longYear(m[3])
	} else {
		return 0, false
	}
	var hour, minute, second int
	if m := take(clock); m != nil {
		hour, minute, second = min(atoi(m[1]), 23), min(atoi(m[2]), 59), min(atoi(m[3]), 59)
	}
	east := 0
	if m := offset.FindStringSubmatch(s); m != nil {
		if east = atoi(m[2])*60 + atoi(m[3]); m[1] == "-" {
			east = -east
		}
	} else if m := zoneName.FindStringSubmatch(s); m != nil {
		east = zones[m[1]]
	}
	mon := time.Month(strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(month))/3 + 1)
	if last := time.Date(year, mon+1, 0, 0, 0, 0, 0, time.UTC).Day(); day > last {
		day, mon = 1, mon+1
		if mon > 12 {
			mon, year = 1, year+1
		}
	}
	if day == 0 {
		return 0, false
	}
	year = max(1970, min(2037, year))
	return time.Date(year, mon, day, hour, minute, second, 0, time.UTC).Unix() - int64(east)*60, true
}

func longYear(s string) int {
	n := atoi(s)
	if len(s) == 2 && n < 50 {
		return n + 2000
	}
	return n + 1900
}

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
				d.header, d.hasHeader = parseDate(v)
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
	if fromLocal.MatchString(lines[0]) || byUID.MatchString(lines[0]) {
		local, lines = lines[:1:1], lines[1:]
	}
	if len(lines) > 0 && byFetchmail.MatchString(lines[0]) {
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

func dateIn(line string) (int64, bool) {
	m := receivedDate.FindString(line)
	if m == "" {
		return 0, false
	}
	return parseDate(m)
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
