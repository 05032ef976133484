package main

import (
	"os"
	"strings"
	"time"

	"mtad/deliver/hand"
	"mtad/deliver/route"
)

// useMonitor has the monitor take mail for programs and files of the system, and
// read what its users say of theirs.
func (h *house) useMonitor(c *loaded) {
	client := h.start.Client()
	if client == nil {
		if need := c.top.NeedMonitor(c.names.Routes); len(need) > 0 {
			h.log.Warn("there is no monitor: mail for programs and files waits, users of the system are nobody here",
				"settings", strings.Join(need, ", "), "do", "start `mtad serve` as root")
		}
		return
	}
	h.system = hand.NewSystem(client, h.log)
	h.hand = hand.New(hand.Config{
		Monitor: client, Log: h.log,
		TimeLimit: func() time.Duration { return h.config.Load().top.CommandTime },
	}).Hand
}

// routing is the router's configuration.
func (h *house) routing(c *loaded) *route.Config {
	out := c.names.Config
	out.Relay, out.Ours = h.relay, ours
	if c.top.SystemUsers {
		out.System = h.system
	}
	return &out
}

// monitorWarning says what of a configuration would do nothing if the server were
// started by whoever asks; "" if all is well.
func monitorWarning(c *loaded) string {
	need := c.top.NeedMonitor(c.names.Routes)
	if len(need) == 0 || os.Geteuid() == 0 {
		return ""
	}
	return strings.Join(need, ", ") + ": mail for programs, files and users of the system needs the monitor, that is, `mtad serve` started as root"
}
