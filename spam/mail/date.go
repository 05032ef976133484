package mail

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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

// ParseDate reads a date of a message as seconds since 1970, generously; ok is false
// if there is none.
func ParseDate(s string) (sec int64, ok bool) {
	words := Words(commas.ReplaceAllString(s, " "))
	s = " " + strings.Join(words, " ") + " "
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
	t := time.Date(max(1970, min(2037, year)), mon, day, hour, minute, second, 0, time.UTC)
	if t.Day() != day {
		return 0, false // a 29th of February that went with its year
	}
	sec = t.Unix() - int64(east)*60
	if east > 0 {
		sec = max(0, sec)
	}
	return sec, true
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

var (
	receivedLine = regexp.MustCompile(`(?im)^Received:(.*)`)
	byUID        = regexp.MustCompile(`qmail \d+ invoked by uid \d+|\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)`)
	byFetchmail  = regexp.MustCompile(`\bby localhost with \w+ \(fetchmail-[\d.]+`)
	mboxLine     = regexp.MustCompile(`(?im)^(?:From|X-From-Line:)\s+(.+)$`)
	hasZone      = regexp.MustCompile(`[-+]\d{4}|\b[A-Z]{2,4}\b`)
	resentDate   = regexp.MustCompile(`(?im)^Resent-Date:\s*(.+)$`)
	dateLine     = regexp.MustCompile(`(?im)^Date:\s*(.+)$`)
)

// Received is when the message came, as its header tells it: by the uppermost Received
// field that is not of this machine, the line of an mbox, the date. Without any it is now.
func (m *Message) Received(now time.Time) time.Time {
	var head strings.Builder
	head.WriteString(m.Separator)
	for _, f := range m.Fields {
		head.WriteString(f.Name + ": " + f.Value + "\n")
	}
	text := head.String()
	var lines []string
	for _, l := range receivedLine.FindAllStringSubmatch(text, -1) {
		lines = append(lines, l[1])
	}
	first, local := uppermost(lines)
	said := append(slices.Clone(first[:min(1, len(first))]), local...)
	said = append(said, mboxDate(text, now)...)
	said = append(said, first[min(1, len(first)):]...)
	for _, re := range []*regexp.Regexp{resentDate, dateLine} {
		if f := re.FindStringSubmatch(text); f != nil {
			said = append(said, f[1])
		}
	}
	for _, s := range said {
		if t, ok := ParseDate(s); ok && t != 0 {
			return time.Unix(t, 0)
		}
	}
	return now
}

// uppermost parts Received fields from those on top that programs of this machine have added.
func uppermost(lines []string) (from, local []string) {
	at := 0
	if len(lines) > 0 && byUID.MatchString(lines[0]) {
		at = 1
	}
	if len(lines) > at && byFetchmail.MatchString(lines[at]) {
		at++
	} else {
		at = 0
	}
	return lines[at:], lines[:at]
}

// mboxDate is what the line of an mbox says, in this machine's time if it has no zone.
func mboxDate(text string, now time.Time) []string {
	f := mboxLine.FindStringSubmatch(text)
	switch {
	case f == nil:
		return nil
	case hasZone.MatchString(f[1]):
		return f[1:]
	}
	return []string{f[1] + now.Format(" -0700")}
}
