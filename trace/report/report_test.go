package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// after is an event some seconds after noon.
func after(seconds float64, e pipeline.Event) pipeline.Event {
	e.Time = noon.Add(time.Duration(seconds * float64(time.Second)))
	return e
}

func count(traces ...pipeline.Trace) *Report {
	c := New(Options{From: noon.Add(-time.Hour), To: noon.Add(time.Hour), Top: 10})
	for _, t := range traces {
		c.Add(t)
	}
	return c.Report()
}

// session is how a connection's traces begin.
func session() []pipeline.Event {
	return []pipeline.Event{
		after(0, pipeline.Event{Kind: pipeline.EventSession, Host: "192.0.2.1:4711", Note: "connected to mx"}),
		after(0.1, pipeline.Event{Kind: pipeline.EventStep, Step: "rbl", Filter: "rbl", Action: "continue", Took: time.Millisecond}),
	}
}

func TestCounts(t *testing.T) {
	a, b, c := message.NewID(noon), message.NewID(noon), message.NewID(noon)
	first := pipeline.Trace{ID: a, Events: append(session(),
		after(1, pipeline.Event{Kind: pipeline.EventMail, Note: "from <Ann@A.Example>"}),
		after(1, pipeline.Event{Kind: pipeline.EventMail, Rcpt: "no@b.example", Reply: "550 5.1.1 No such user here [" + a.String() + "]"}),
		after(1, pipeline.Event{Kind: pipeline.EventMail, Rcpt: "x@far.example", Reply: "250"}),
		after(2, pipeline.Event{Kind: pipeline.EventStep, Step: "dkim", Action: "tempfail", Err: "no answer", Took: time.Second}),
		after(2, pipeline.Event{Kind: pipeline.EventTaken, Size: 1000}),
		after(2, pipeline.Event{Kind: pipeline.EventReply, Reply: "250 2.0.0 Ok"}),
		after(2, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "y@b.example", Host: "y@b.example", Note: "stored in INBOX"}),
		after(2, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "y@b.example", Host: "y@b.example", Note: "stored in Copies"}),
		after(2, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: "z@b.example", Host: "z@b.example", Action: "redirected"}),
		after(2, pipeline.Event{Kind: pipeline.EventMade, Host: "z@b.example", Rcpt: "z@home.example", Note: "redirect " + c.String()}),
		after(3, pipeline.Event{Kind: pipeline.EventRelay, Rcpt: "x@far.example", Action: "deferred", Reply: "450 4.2.0 later", Host: "mx.far.example"}),
		after(9, pipeline.Event{Kind: pipeline.EventRelay, Rcpt: "x@far.example", Action: "deferred", Reply: "450 4.2.0 later", Host: "mx.far.example"}),
		after(7200, pipeline.Event{Kind: pipeline.EventRelay, Rcpt: "x@far.example", Action: "failed", Reply: "550 5.1.1 gone"}),
	)}
	// The second of the same connection: what is the connection's own is not counted again.
	second := pipeline.Trace{ID: b, Events: append(session(),
		after(5, pipeline.Event{Kind: pipeline.EventMail, Note: "from <>"}),
		after(5, pipeline.Event{Kind: pipeline.EventMail, Rcpt: "y@b.example", Reply: "250"}),
		after(6, pipeline.Event{Kind: pipeline.EventStep, Step: "lua", Action: "discard", Mods: []string{`add-score lua 1.0 "x"`}}),
		after(6, pipeline.Event{Kind: pipeline.EventReply, Reply: "250 2.0.0 Ok"}),
	)}
	login := pipeline.Trace{ID: c, Events: []pipeline.Event{after(7, pipeline.Event{Kind: pipeline.EventLogin, Action: "failed", Host: "[2001:db8::1]:1", Stage: "smtp"})}}
	r := count(first, second, login)
	want := Totals{
		Received: 1, Delivered: 1, Forwarded: 1, Deferred: 1, Deferrals: 2, Rejected: 1, Discarded: 1, BytesReceived: 1000, BytesDelivered: 1000,
		Senders: 1, SendingDomains: 1, Recipients: 1, RecipientDomains: 1, FailedLogins: 1,
	}
	if r.Totals != want {
		t.Errorf("totals\n%+v, want\n%+v", r.Totals, want)
	}
	if got := r.SendersByCount[0]; got != (Entry{"Ann@a.example", 1, 1000}) {
		t.Errorf("sender %+v", got)
	}
	if got := r.Rejects[0].Name; got != "550 5.1.1 No such user here" {
		t.Errorf("reject %q", got)
	}
	steps := map[string]Filter{}
	for _, f := range r.Filters {
		f.took = histogram{}
		steps[f.Step] = f
	}
	if f := steps["rbl"]; f.Seen != 1 || f.Pass != 1 || f.P50 < 900*time.Microsecond || f.P50 > 1200*time.Microsecond {
		t.Errorf("rbl %+v", f)
	}
	if f := steps["dkim"]; f.Errors != 1 || f.Tempfail != 0 || f.Failed != a.String() {
		t.Errorf("dkim %+v", f)
	}
	var look []string
	for _, x := range r.Attention {
		look = append(look, x.What+" -> "+x.Command)
	}
	if got := strings.Join(look, "\n"); got != "nothing got to far.example: 2 times put off, the last reply: 450 4.2.0 later -> mtad queue list --domain far.example\n"+
		"filter dkim failed once of 1 -> mtad trace "+a.String() {
		t.Errorf("attention:\n%s", got)
	}
	var out strings.Builder
	if err := r.Print(&out, func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"       1  received\n", "       1  deferred (2 deferrals)\n", "far.example: 450 4.2.0 later\n", "2001:db8::1\n", "      mtad queue list --domain far.example\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Names without end cost no memory without end, and what comes often is found.
func TestManyNames(t *testing.T) {
	c := New(Options{From: noon, To: noon.Add(time.Hour), Top: 3})
	for i := range 3 * maxNames {
		for _, name := range []string{fmt.Sprintf("u%d@x.example", i), "often@x.example"} {
			c.Add(pipeline.Trace{ID: message.NewID(noon), Events: []pipeline.Event{after(1, pipeline.Event{Kind: pipeline.EventDeliver, Rcpt: name, Host: name})}})
		}
		if n := len(c.lists[recipients].m); n > maxNames {
			t.Fatalf("%d names are kept", n)
		}
	}
	r := c.Report()
	if top := r.RecipientsByCount; len(top) != 3 || top[0] != (Entry{"often@x.example", 3 * maxNames, 0}) {
		t.Errorf("top %+v", top)
	}
	if n := r.Totals; !n.AtLeast || n.Recipients != maxNames || n.Delivered != 6*maxNames || n.RecipientDomains != 1 {
		t.Errorf("totals %+v", n)
	}
}

func TestForgotten(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := New(Options{From: noon.Add(-time.Hour), To: noon.Add(time.Hour), Top: 1, Full: full})
		c.Add(pipeline.Trace{ID: message.NewID(noon), Events: session()})
		if r := c.Report(); r.Since.IsZero() == full || full != (len(r.Attention) == 1) {
			t.Errorf("full %v: since %v, %+v", full, r.Since, r.Attention)
		}
	}
}

func TestPeriod(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	now := time.Date(2026, 3, 30, 10, 0, 0, 0, berlin) // the day before had 23 hours
	for text, want := range map[string]string{
		"today": "2026-03-30 00:00 2026-03-30 10:00", "yesterday": "2026-03-29 00:00 2026-03-30 00:00",
		"2026-03-29": "2026-03-29 00:00 2026-03-30 00:00", "90m": "2026-03-30 08:30 2026-03-30 10:00", "7d": "2026-03-23 09:00 2026-03-30 10:00",
		"0h": "", "-1h": "", "d": "", "0d": "", "tomorrow": "", "9999999999d": "",
	} {
		const form = "2006-01-02 15:04"
		from, to, err := Period(text, now)
		if got := from.Format(form) + " " + to.Format(form); (want == "") != (err != nil) || want != "" && got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}
