//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"mtad/internal/e2e/milterkit"
	"mtad/internal/mtatest"
)

// kitTimes are the time-outs of milters that are not honest.
const (
	kitPostfix = "milter_connect_timeout = 2s\nmilter_command_timeout = 2s\nmilter_content_timeout = 2s\nsmtpd_delay_reject = no\nsmtpd_delay_open_until_valid_rcpt = no\n"
	kitOptions = "connect_timeout = \"2s\"\ncommand_timeout = \"2s\"\ncontent_timeout = \"2s\"\nidle_connections = 0\n"
)

// side is a mail server that asks a milter of its own.
type side struct {
	milterkit.MTA
	milter *milterkit.Milter
}

// sides are mtad and Postfix with a milter each.
func sides(t *testing.T) (all [2]side) {
	t.Helper()
	hops, ports := twoHops(t)
	for i := range all {
		all[i].milter = milterkit.NewMilter(t, milterkit.All)
	}
	s := start(t, toHop(ports[0]), withFilter("inbound", `connect = "inet:`+all[0].milter.Addr+`"`+"\n"+kitOptions))
	_, addrs := mtatest.PostfixWith(t, kitPostfix, hops[1].Addr, "inet:"+all[1].milter.Addr)
	all[0].MTA = milterkit.MTA{Name: "mtad", Addr: local(s.SMTP), Hop: hops[0]}
	all[1].MTA = milterkit.MTA{Name: "Postfix", Addr: addrs[0], Hop: hops[1]}
	return all
}

// twoHops are a next hop for each side.
func twoHops(t *testing.T) (hops [2]*mtatest.Hop, ports [2]int) {
	t.Helper()
	for i := range hops {
		ports[i] = freePort(t)
		hops[i] = mtatest.StartHop(t, local(ports[i]), nil)
	}
	return hops, ports
}

// withFilter puts a milter, and nothing else, into a pipeline.
func withFilter(pipeline, options string) func(*server, string) string {
	re := regexp.MustCompile(`(?ms)^pipeline "` + pipeline + `" \{.*?^\}`)
	return func(_ *server, text string) string {
		return re.ReplaceAllLiteralString(text, "pipeline \""+pipeline+"\" {\n  filter \"milter\" {\n"+options+"\n  }\n}")
	}
}

// calm ends a row of faults, of which some more would make mtad leave the milter
// alone.
func (a *side) calm(t *testing.T) {
	a.milter.Play(milterkit.Case{Terms: milterkit.Terms{Version: 6}})
	a.Play(t, milterkit.Session{Say: []string{"EHLO client.test", "QUIT"}})
	a.milter.AwaitIdle(t)
	a.milter.Take()
}

// TestMilterKit plays every case to mtad and to Postfix; two of each share them.
func TestMilterKit(t *testing.T) {
	t.Parallel()
	cases := milterkit.Cases()
	at := len(cases) * 2 / 3 // the last take longer
	for _, part := range [][]milterkit.Case{cases[:at], cases[at:]} {
		t.Run("from "+part[0].Name, func(t *testing.T) {
			t.Parallel()
			all := sides(t)
			for _, c := range part {
				t.Run(c.Name, func(t *testing.T) { playCase(t, &all, c) })
			}
			t.Run("down", func(t *testing.T) { playDown(t, &all) })
		})
	}
}

// playDown is the case of a milter that is not there.
func playDown(t *testing.T, all *[2]side) {
	for i := range all {
		all[i].milter.Close()
	}
	playCase(t, all, milterkit.Case{Session: milterkit.Plain(milterkit.Letter, "bob@far.test"), Differ: milterkit.Sooner})
}

func playCase(t *testing.T, all *[2]side, c milterkit.Case) {
	var came, fates [2]string
	for i := range all {
		a := &all[i]
		a.milter.Play(c)
		came[i] = a.Play(t, c.Session)
		fates[i] = milterkit.Fate(came[i])
		a.milter.AwaitIdle(t)
		came[i] += "\nthe milter saw\n" + milterkit.Events(a.milter.Take())
	}
	if strings.Contains(came[0], "FAULT") {
		all[0].calm(t)
	}
	diff := milterkit.Differ(all[0].Name, came[0], all[1].Name, came[1])
	switch {
	case diff != "" && c.Differ == "":
		t.Error(diff)
	case diff == "" && c.Differ != "":
		t.Errorf("both come to the same: it is no longer true that %s", c.Differ)
	case c.Differ == milterkit.Sooner && fates[0] != fates[1]:
		t.Errorf("the mail was %s here, %s by Postfix", fates[0], fates[1])
	}
}
