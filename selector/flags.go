package selector

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mtad/config"
	"mtad/message"
)

// All is the argument that stands for everything there is.
const All = "ALL"

// Flags are a command's flags that choose.
type Flags struct {
	sel Selector
	age string
}

// Add gives a command the flags; statuses are the words of --status.
func (f *Flags) Add(fs *pflag.FlagSet, statuses string) {
	fs.StringVar(&f.sel.From, "from", "", "mail of this sender, or of @domain; <> is the null sender")
	fs.StringVar(&f.sel.To, "to", "", "mail for this recipient, or for @domain")
	fs.StringVar(&f.sel.Domain, "domain", "", "mail for recipients of this domain")
	fs.StringVar(&f.sel.Status, "status", "", statuses)
	fs.StringVar(&f.sel.Reason, "reason", "", "a part of why it is held, or of the last reply")
	fs.StringVar(&f.age, "age", "", "older or younger than: '>2h', '<10m', '>3d'")
	fs.StringVar(&f.sel.Filter, "filter", "", `a condition: 'attempts > 3 && endswith(domain, ".example")'`)
}

// Selector is what the flags and a command's arguments, IDs or ALL, choose. all
// says that ALL was among them.
func (f *Flags) Selector(args []string, now time.Time) (sel Selector, all bool, err error) {
	sel = f.sel
	for _, arg := range args {
		if arg == All {
			all = true
			continue
		}
		id, err := message.ParseID(arg)
		if err != nil {
			return sel, false, &Error{err.Error()}
		}
		sel.IDs = append(sel.IDs, id.String())
	}
	if all && len(sel.IDs) > 0 {
		return sel, false, Errorf("%s and IDs: which of them?", All)
	}
	if _, err := sel.Filtered(); err != nil {
		return sel, false, err
	}
	if f.age == "" {
		return sel, all, nil
	}
	d, err := config.ParseDuration(strings.TrimLeft(f.age, "<>"))
	if err != nil {
		return sel, false, Errorf("--age: %v", err)
	}
	switch f.age[0] {
	case '>':
		sel.Before = now.Add(-d)
	case '<':
		sel.After = now.Add(-d)
	default:
		return sel, false, Errorf("--age: want '>%s' or '<%s'", f.age, f.age)
	}
	return sel, all, nil
}
