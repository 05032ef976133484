package report

import (
	"fmt"
	"strconv"
	"time"
)

// Periods is what Period takes, for people.
const Periods = "today, yesterday, a day like 2026-11-25, or a length back from now like 90m, 24h or 7d"

// Period finds out which time is meant; from is in it, to is not.
func Period(text string, now time.Time) (from, to time.Time, err error) {
	midnight := func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	}
	today := midnight(now)
	switch text {
	case "today":
		return today, now, nil
	case "yesterday":
		return midnight(today.Add(-12 * time.Hour)), today, nil // days have 23 to 25 hours
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day, midnight(day.Add(36 * time.Hour)), nil
	}
	if back, ok := length(text); ok {
		return now.Add(-back), now, nil
	}
	return from, to, fmt.Errorf("%q is no period: want %s", text, Periods)
}

// length reads "90m", "24h", "7d".
func length(text string) (time.Duration, bool) {
	if n := len(text) - 1; n > 0 && text[n] == 'd' {
		days, err := strconv.ParseUint(text[:n], 10, 12)
		return time.Duration(days) * 24 * time.Hour, err == nil && days > 0
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0
}
