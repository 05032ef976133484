package routes

import (
	"reflect"
	"slices"
	"testing"

	"mtad/deliver/route"
	"mtad/monitor/grant"
)

// What the monitor is allowed is what is configured.
func TestGrants(t *testing.T) {
	_, s := root(t, `aliases = ["file:/etc/aliases", store(), "hash:/etc/mailman/aliases", "regexp:/etc/x"]
system_users = true
home_mailbox = "Maildir/"
mailbox_command = "cat"
default_privs = "daemon"`)
	local := func(via route.Via, command []string, path string) route.Named {
		return route.Named{Name: string(via), Way: route.Way{Via: via, Local: route.Local{User: "vmail", Command: command, Path: path}}}
	}
	ways := []route.Named{
		local(route.ViaPipe, []string{"/bin/cat", "$user"}, ""), local(route.ViaMaildir, nil, "/srv/$user"), local(route.ViaMbox, nil, "/srv/b"),
		{Name: "out", Way: route.Way{Via: route.ViaSMTP}},
	}
	want := grant.Config{
		Aliases: []string{"/etc/aliases", "/etc/mailman/aliases"}, DefaultPrivs: "daemon", SystemUsers: true, MailboxCommand: "cat",
		HomeMailbox: "Maildir/", Spool: "/var/mail",
		Routes: map[string]grant.Route{
			"pipe": {User: "vmail", Command: []string{"/bin/cat", "$user"}}, "maildir": {User: "vmail", Path: "/srv/$user/"}, "mbox": {User: "vmail", Path: "/srv/b"},
		},
	}
	if got := s.Grants(ways); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := s.NeedMonitor(ways); !slices.Equal(got, []string{"system_users", "route pipe", "route maildir", "route mbox"}) {
		t.Errorf("needs: %q", got)
	}
	if _, s := root(t, ""); len(s.NeedMonitor(ways[3:])) != 0 {
		t.Error("nothing needs the monitor")
	}
}
