package spam

import (
	_ "embed"
	"os"
	"path/filepath"
	"slices"

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
	if paths == nil {
		paths = Sources()
	}
	if len(paths) == 0 {
		return conf.Parse("builtin:10_mtad.cf", ownRules, o), nil
	}
	return conf.Load(paths, o)
}

// Changed reports whether LoadRules would read other rules of those paths than an
// engine has.
func (e *Engine) Changed(paths []string) bool {
	if paths == nil {
		paths = Sources()
	}
	return e.settings.Rules.Changed(paths)
}
