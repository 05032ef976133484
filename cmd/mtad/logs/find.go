package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mtad/admin"
	"mtad/message"
	"mtad/trace/postfix"
)

// Filter chooses lines; zero values choose all.
type Filter struct {
	ID      string
	Address string
	Level   string
	Since   time.Duration
	Text    string

	ids []string // the forms of ID
	min int
}

// Flags gives a command the filter's.
func (f *Filter) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.ID, "id", "", "lines about a message, by its ID in either form")
	fs.StringVar(&f.Address, "address", "", "lines that have a mail or IP address")
	fs.StringVar(&f.Level, "level", "", "debug, info, warn or error: lines that are at least so important")
	fs.DurationVar(&f.Since, "since", 0, "lines of the last 90m, 24h")
}

var levels = []string{"debug", "info", "warn", "error"}

// Check reads the values.
func (f *Filter) Check() error {
	if f.min = slices.Index(levels, f.Level); f.Level != "" && f.min < 0 {
		return fmt.Errorf("--level: want %s", strings.Join(levels, ", "))
	}
	if f.ID != "" {
		id, err := message.ParseID(f.ID)
		if err != nil {
			return err
		}
		f.ids = []string{id.String(), postfix.ID(id)}
	}
	f.Address, f.Text = strings.ToLower(f.Address), strings.ToLower(f.Text)
	return nil
}

// Match reports whether a line is chosen.
func (f *Filter) Match(l admin.LogLine, now time.Time) bool {
	has := func(id string) bool { return strings.Contains(l.Text, id) }
	text := strings.ToLower(l.Text)
	return slices.Index(levels, l.Level) >= f.min &&
		(f.Since == 0 || now.Sub(l.Time) <= f.Since) &&
		(len(f.ids) == 0 || slices.ContainsFunc(f.ids, has)) &&
		(f.Address == "" || whole(text, f.Address)) && strings.Contains(text, f.Text)
}

// whole reports whether an address stands in a text, not as a part of another.
func whole(text, addr string) bool {
	part := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '.' || c == '-' || c == '_' || c == '+'
	}
	for at := 0; ; at++ {
		i := strings.Index(text[at:], addr)
		if i < 0 {
			return false
		}
		at += i
		end := at + len(addr)
		if (at == 0 || !part(text[at-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
	}
}

// Elsewhere says where lines are that the server does not keep any more.
func Elsewhere(l admin.Log) string {
	from := "it has logged none yet"
	if len(l.Lines) > 0 {
		from = "now those since " + l.Lines[0].Time.Local().Format(time.DateTime)
	}
	where := "where its standard error goes: `journalctl -u mtad` under systemd"
	if _, ok := socketOf(l.To); ok {
		where = "where the syslog daemon writes them"
	}
	return fmt.Sprintf("the server keeps only its newest lines, %s; older ones, and those of root's monitor, are %s", from, where)
}

// followEvery is how often a log that is followed is asked for.
const followEvery = 300 * time.Millisecond

// Follow shows lines behind one as they come, until ctx ends. missed is told how
// many came too fast.
func Follow(ctx context.Context, c *admin.Client, after uint64, show func([]admin.LogLine) error, missed func(uint64)) error {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		l, err := c.LogLines(ctx, after)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if len(l.Lines) == 0 {
			continue
		}
		if n := l.Lines[0].Seq - after - 1; n > 0 && l.Lines[0].Seq > after {
			missed(n)
		}
		after = l.Lines[len(l.Lines)-1].Seq
		if err := show(l.Lines); err != nil {
			return err
		}
	}
}
