package spam

import (
	_ "embed"
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

func dir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

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
		case err != nil || rs.Files() > 0:
			return rs, err
		case !installed:
			return nil, fmt.Errorf("there are no rules in %s: want files with names like 50_site.cf", strings.Join(paths, ", "))
		}
	}
	return conf.Parse("builtin:10_mtad.cf", ownRules, o), nil
}

// Changed reports whether LoadRules would read other rules of those paths than an
// engine has.
func (e *Engine) Changed(paths []string) bool {
	if paths == nil {
		paths = Sources()
	}
	return e.settings.Rules.Changed(paths)
}
