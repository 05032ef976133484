package routes

import (
	"slices"
	"strings"

	"mtad/config"
	"mtad/deliver/route"
	"mtad/monitor"
	"mtad/monitor/grant"
)

// checkLocal finds what programs and files can not be given.
func (s *RouteSettings) checkLocal(b config.Block, diags *config.Diagnostics) {
	for _, arg := range s.Command {
		if err := monitor.CheckNames(arg); err != nil {
			diags.Add(b.Errorf("command", "%v", err))
		}
	}
	if err := monitor.CheckNames(s.Path); err != nil {
		diags.Add(b.Errorf("path", "%v", err))
	}
	const known = "FRODBhuq>"
	for _, c := range s.Flags {
		if !strings.ContainsRune(known, c) {
			diags.Add(b.Errorf("flags", "there is no flag %q: there are %s", string(c), known))
		}
	}
	local := slices.Contains([]string{"pipe", "maildir", "mbox"}, s.Protocol)
	switch {
	case s.Flags != "" && s.Protocol != "pipe":
		diags.Add(b.Errorf("flags", "flags mean nothing for protocol = %q", s.Protocol))
	case strings.ContainsAny(s.Flags, "DO") && !s.Single:
		diags.Add(b.Errorf("flags", "the flags D and O tell the recipient: they need single_recipient = true"))
	case local && (s.User == "" || s.User == "root"):
		diags.Add(b.Errorf("user", "%q: name a user other than root", s.User))
	}
}

// Grants is what the monitor may do, as root has read the configuration.
func (s *Settings) Grants(routes []route.Named) grant.Config {
	out := grant.Config{
		Aliases: s.aliasFiles(), DefaultPrivs: s.DefaultPrivs, SystemUsers: s.SystemUsers, MailboxCommand: s.MailboxCommand,
		HomeMailbox: s.HomeMailbox, Spool: s.MailSpool, Routes: map[string]grant.Route{},
	}
	for _, r := range routes {
		to := grant.Route{User: r.Way.Local.User}
		switch r.Way.Via {
		case route.ViaPipe:
			to.Command = r.Way.Local.Command
		case route.ViaMaildir:
			to.Path = strings.TrimSuffix(r.Way.Local.Path, "/") + "/"
		case route.ViaMbox:
			to.Path = r.Way.Local.Path
		default:
			continue
		}
		out.Routes[r.Name] = to
	}
	return out
}

// aliasFiles are the paths of the files of aliases.
func (s *Settings) aliasFiles() (out []string) {
	for _, l := range s.Aliases {
		if path, ok := route.AliasFile(l.Text); ok && l.Kind != config.LookupStore {
			out = append(out, path)
		}
	}
	return out
}

// NeedMonitor names the settings that do nothing without a monitor: their mail
// waits.
func (s *Settings) NeedMonitor(routes []route.Named) (out []string) {
	if s.SystemUsers {
		out = append(out, "system_users")
	}
	for _, r := range routes {
		if slices.Contains([]route.Via{route.ViaPipe, route.ViaMaildir, route.ViaMbox}, r.Way.Via) {
			out = append(out, "route "+r.Name)
		}
	}
	return out
}
