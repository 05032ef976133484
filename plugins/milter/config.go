package milter

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"mtad/config"
)

type settings struct {
	Connect        string            `mtad:"connect"`
	Protocol       int               `mtad:"protocol"`
	ConnectTimeout time.Duration     `mtad:"connect_timeout"`
	CommandTimeout time.Duration     `mtad:"command_timeout"`
	ContentTimeout time.Duration     `mtad:"content_timeout"`
	Idle           int               `mtad:"idle_connections"`
	BodyLimit      config.Size       `mtad:"body_limit"`
	DaemonName     string            `mtad:"daemon_name"`
	Macros         map[string]string `mtad:"macros"`
	Define         map[string]string `mtad:"define"`
	Pure           bool              `mtad:"pure"`
}

var options = []config.Option{
	{Name: "connect", Type: config.TypeString, Required: true, Reload: true, Doc: "Where the milter listens: unix:/path (or a name relative to the file that this is written in), inet:host:port, inet6:[address]:port; Sendmail's inet:port@host is understood too.", Example: `"unix:/run/opendkim/opendkim.sock"`, Postfix: "smtpd_milters"},
	{Name: "protocol", Type: config.TypeInt, Default: 6, Min: 2, Max: 6, Reload: true, Doc: "The highest version of the milter protocol that is offered.", Example: "6", Postfix: "milter_protocol"},
	{Name: "connect_timeout", Type: config.TypeDuration, Default: "10s", Min: "100ms", Max: "5m", Reload: true, Doc: "How long making a connection may take.", Example: `"3s"`, Postfix: "milter_connect_timeout"},
	{Name: "command_timeout", Type: config.TypeDuration, Default: "10s", Min: "100ms", Max: "10m", Reload: true, Doc: "How long the milter may take to answer a command. The step's own timeout bounds the whole stage.", Example: `"30s"`, Postfix: "milter_command_timeout"},
	{Name: "content_timeout", Type: config.TypeDuration, Default: "60s", Min: "100ms", Max: "30m", Reload: true, Doc: "How long it may be silent while it has the message. A milter that reports progress begins anew, within the step's own timeout.", Example: `"5m"`, Postfix: "milter_content_timeout"},
	{Name: "idle_connections", Type: config.TypeInt, Default: 10, Min: 0, Max: 1000, Unit: "connections", Reload: true, Doc: "How many connections are kept for the next session. Only milters of version 6 can be used again.", Example: "0"},
	{Name: "body_limit", Type: config.TypeSize, Default: 64 * config.MB, Min: 64 * config.KB, Reload: true, Doc: "The largest body that a milter may put in place of a message's own.", Example: "64 * MB"},
	{Name: "daemon_name", Type: config.TypeString, Default: "", Reload: true, Doc: "The macro {daemon_name}. Empty means the hostname.", Example: `"ORIGINATING"`, Postfix: "milter_macro_daemon_name"},
	{Name: "macros", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Which macros are sent at a stage, in place of the usual ones and of those that the milter asks for: stages are connect, helo, mail, rcpt, data, eoh, eom.", Example: `{ connect = "j {daemon_name} v _" }`, Postfix: "milter_connect_macros"},
	{Name: "define", Type: config.TypeStringMap, Default: map[string]string{}, Reload: true, Doc: "Values of macros that have none otherwise, or another.", Example: `{ "{if_name}" = "mx0" }`, Postfix: "milter_macro_defaults"},
	{Name: "pure", Type: config.TypeBool, Default: false, Reload: true, Doc: "The milter does nothing but judge: it learns nothing, counts nothing, keeps no copy. Then it is asked while earlier filters still are, if they change nothing that it sees, and gets a message without a pause for each answer.", Example: "true"},
}

// endpoint is where a milter listens.
type endpoint struct{ network, addr string }

// String is the endpoint as Postfix writes it.
func (e endpoint) String() string {
	switch e.network {
	case "unix":
		return "unix:" + e.addr
	case "tcp6":
		return "inet6:" + e.addr
	}
	return "inet:" + e.addr
}

var networks = map[string]string{"unix": "unix", "local": "unix", "inet": "tcp", "inet6": "tcp6"}

// within makes a socket's name relative to the folder of the configuration, as the
// names of files are.
func (e endpoint) within(dir string) endpoint {
	if e.network == "unix" && !filepath.IsAbs(e.addr) {
		e.addr = filepath.Join(dir, e.addr)
	}
	return e
}

var errEndpoint = errors.New(`must be "unix:/path", "inet:host:port" or "inet6:[address]:port"`)

func parseEndpoint(s string) (endpoint, error) {
	family, addr, ok := strings.Cut(s, ":")
	if strings.HasPrefix(s, "/") {
		family, addr, ok = "unix", s, true
	}
	network := networks[family]
	if !ok || network == "" || addr == "" {
		return endpoint{}, fmt.Errorf("%q %w", s, errEndpoint)
	}
	if network == "unix" {
		return endpoint{network, addr}, nil
	}
	if port, host, sendmail := strings.Cut(addr, "@"); sendmail {
		addr = net.JoinHostPort(strings.Trim(host, "[]"), port)
	} else if !strings.Contains(addr, ":") {
		addr = net.JoinHostPort("localhost", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return endpoint{}, fmt.Errorf("%q %w", s, errEndpoint)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return endpoint{}, fmt.Errorf("%q: %q is not a port", s, port)
	}
	return endpoint{network, addr}, nil
}
