package spam

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mtad/spam/conf"
)

//go:embed rules/10_mtad.cf
var ownRules string

// Sources are the places where SpamAssassin's rules and their configuration are on this
// machine, in the order in which they are read: what sa-update has fetched or else
// what the package brought, and the site's. There may be none.
func Sources() []string {
	var out []string
	updates, _ := filepath.Glob("/var/lib/spamassassin/4.*/updates_spamassassin_org")
	slices.Sort(updates)
	if n := len(updates); n > 0 {
		out = append(out, updates[n-1])
	} else if dir("/usr/share/spamassassin") {
		out = append(out, "/usr/share/spamassassin")
	}
	for _, site := range []string{"/etc/spamassassin", "/etc/mail/spamassassin"} {
		if dir(site) {
			return append(out, site)
		}
	}
	return out
}

// stock begins the names of files that SpamAssassin, sa-update or this program brings.
var stock = []string{"/usr/share/spamassassin/", "/var/lib/spamassassin/", builtin}

// Own reports whether a file of rules is the site's.
func Own(file string) bool {
	return !slices.ContainsFunc(stock, func(room string) bool { return strings.HasPrefix(file, room) })
}

const builtin = "builtin:"

func dir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// ErrNoRules is for files that have no rule.
var ErrNoRules = errors.New("there are no rules")

// LoadRules reads the rules of the named files and directories; of Sources if none is
// named. Where there are none at all, a small set of our own takes their place.
func LoadRules(paths []string, o conf.Options) (*conf.Ruleset, error) {
	installed := paths == nil
	if installed {
		paths = Sources()
	}
	if len(paths) > 0 {
		rs, err := conf.Load(paths, o)
		switch {
		case err != nil || len(rs.Rules()) > 0:
			return rs, err
		case installed: // what the site says of rules is there, but no rules are
		case rs.Files() == 0:
			return nil, fmt.Errorf("%w in %s: want files with names like 50_site.cf", ErrNoRules, strings.Join(paths, ", "))
		default:
			return nil, fmt.Errorf("%w in %s%s: every message would score 0. Name SpamAssassin's before them, or none for those that are installed or built in", ErrNoRules, strings.Join(paths, ", "), firstFault(rs))
		}
	}
	return conf.LoadOver(builtin+"10_mtad.cf", ownRules, paths, o)
}

// firstFault is the first line that can not be obeyed, as a part of a sentence.
func firstFault(rs *conf.Ruleset) string {
	if len(rs.Problems) == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d lines that can not be obeyed, the first %s", len(rs.Problems), rs.Problems[0])
}

// Changed reports whether LoadRules would read other rules of those paths than an
// engine has.
func (e *Engine) Changed(paths []string) bool {
	if paths == nil {
		paths = Sources()
	}
	return e.settings.Rules.Changed(paths)
}
