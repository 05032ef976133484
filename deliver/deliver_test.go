package deliver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/journal"
	"mtad/mailbox"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

const hello = "Subject: hi\n\nhello\n.dot\n"

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestLocal(t *testing.T) {
	w := newWorld(t)
	expect(t, "reply", w.send("s@far.test", "ann@x.test bob", hello), "250 2.0.0 Ok: queued")
	head := "Return-Path: <s@far.test>\nDelivered-To: %s@x.test\n"
	expect(t, "ann", w.box("ann"), []string{"INBOX 0[]\n" + fmt.Sprintf(head, "ann") + hello})
	expect(t, "bob", w.box("bob"), []string{"INBOX 0[]\n" + fmt.Sprintf(head, "bob") + hello})
	// Twice the same mailbox, by case, detail and alias: one copy.
	w.must(w.dir.AddAlias(t.Context(), "all@x.test", "cid@x.test", "ann@x.test", "out@far.test"))
	w.send("s@far.test", "cid@x.test CID@X.test all@x.test cid+tag@x.test", hello)
	if n := len(w.box("cid")); n != 1 {
		t.Errorf("cid has %d copies", n)
	}
	w.until("the alias to reach out", func() bool { return len(w.remote.got()) == 1 })
	expect(t, "outside", w.remote.got()[0], "s@far.test > out@far.test\n"+strings.ReplaceAll(hello, "\n", "\r\n"))
	expect(t, "nobody", w.send("s@far.test", "nobody@x.test", hello), "550 5.1.1 No recipients are left")
}

func TestPlans(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		var mods []pipeline.Modification
		switch v.Mailbox().Local {
		case "ann":
			mods = []pipeline.Modification{pipeline.FileInto{Folder: "A/B", Flags: []string{`\Seen`, "work", "ä", "bad flag", ""}}, pipeline.FileInto{Folder: "a/b"}, pipeline.FileInto{Folder: "", Copy: true}}
		case "bob":
			mods = []pipeline.Modification{pipeline.SetFlags{Flags: []string{`\Flagged`}}, pipeline.AddHeader{Name: "X-Bob", Value: "yes"}, pipeline.SetFolder{Folder: "Junk"}}
		case "cid":
			return pipeline.Verdict{Action: pipeline.Discard}
		}
		return pipeline.Verdict{Mods: mods}
	})
	w.send("s@far.test", "ann@x.test bob@x.test cid@x.test", hello)
	boxes := map[string]string{}
	for _, u := range []string{"ann", "bob", "cid"} {
		for _, m := range w.box(u) {
			line, _, _ := strings.Cut(m, "\n")
			boxes[u] += line + ";"
		}
	}
	expect(t, "folders", boxes, map[string]string{"ann": "A/B 1[work];INBOX 0[];", "bob": "Junk 4[];"})
	if b := w.box("bob")[0]; !strings.Contains(b, "\nX-Bob: yes\n\nhello\n") {
		t.Error(b)
	}
	if a := w.box("ann")[1]; strings.Contains(a, "X-Bob") {
		t.Error("bob's edit is in ann's copy")
	}
}

// Rules are asked for each detail: what one of them does does not happen to mail
// for another, and what comes out the same is stored once.
func TestDetails(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		switch v.Rcpt().Addr.Local {
		case "ann+trap":
			return pipeline.Verdict{Action: pipeline.Discard}
		case "ann+a":
			return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.FileInto{Folder: "A"}}}
		}
		return pipeline.Verdict{}
	})
	w.send("s@far.test", "ann+trap@x.test ann+a@x.test ann+b@x.test ann@x.test", hello)
	var folders []string
	for _, m := range w.box("ann") {
		line, _, _ := strings.Cut(m, "\n")
		folders = append(folders, line)
	}
	expect(t, "folders", folders, []string{"A 0[]", "INBOX 0[]"})
}

func TestPoisonousFlagsDoNotStopTheServer(t *testing.T) {
	w := newWorld(t)
	var flags []string
	for i := range 200 {
		flags = append(flags, fmt.Sprint("k", i), strings.Repeat("x", 200))
	}
	w.onDeliver.set(func(*pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.FileInto{Folder: strings.Repeat("x/", 500), Flags: flags}}}
	})
	w.send("s@far.test", "ann@x.test", hello)
	if n := len(w.box("ann")); n != 1 {
		t.Errorf("%d messages", n)
	}
	if notes := w.notes(); !strings.Contains(notes, `stored in INBOX as UID 1; it can't be stored in "x/x/`) {
		t.Error(notes)
	}
}

// Edits for single recipients reach them and nobody else, in mailboxes, at other
// hosts, and after a hold.
func TestForks(t *testing.T) {
	for _, hold := range []bool{false, true} {
		w := newWorld(t)
		w.onMessage.set(func(v *pipeline.View) pipeline.Verdict {
			var out pipeline.Verdict
			for _, r := range v.Rcpts() {
				if strings.HasPrefix(r.Addr.Local, "plain") || r.Addr.Local == "cid" {
					continue
				}
				mods := []pipeline.Modification{pipeline.AddHeader{Name: "X-For", Value: r.Addr.Local}}
				if r.Addr.Local == "bob" || r.Addr.Local == "two" {
					mods = append(mods, pipeline.ReplaceBody{Body: message.FromBytes([]byte("new\r\n"))})
				}
				out.Rcpts = append(out.Rcpts, pipeline.RcptVerdict{Rcpt: r.ID, Mods: mods})
			}
			if hold {
				out.Mods = []pipeline.Modification{pipeline.Hold{Reason: "look"}}
			}
			return out
		})
		w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
			return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.AddHeader{Name: "X-Last", Value: fmt.Sprint(v.Message().Header().Values("X-For"))}}}
		})
		w.send("s@far.test", "ann@x.test bob@x.test cid@x.test one@far.test two@far.test plain1@far.test plain2@far.test", hello)
		if hold {
			expect(t, "held", len(w.quiet(7)), 7)
			w.retry("held")
		}
		w.quiet(0)
		for user, want := range map[string]string{
			"ann": "Subject: hi\nX-For: ann\nX-Last: [ann]\n\nhello\n.dot\n", "bob": "Subject: hi\nX-For: bob\nX-Last: [bob]\n\nnew\n",
			"cid": "Subject: hi\nX-Last: []\n\nhello\n.dot\n",
		} {
			got := w.box(user)
			if len(got) != 1 || !strings.HasSuffix(got[0], "Delivered-To: "+user+"@x.test\n"+want) {
				t.Errorf("hold %v: %s got %q", hold, user, got)
			}
		}
		far := strings.Join(w.remote.got(), "\n---\n")
		for _, want := range []string{
			"> one@far.test\nSubject: hi\r\nX-For: one\r\n\r\nhello\r\n.dot\r\n", "> two@far.test\nSubject: hi\r\nX-For: two\r\n\r\nnew\r\n",
			"> plain1@far.test, plain2@far.test\nSubject: hi\r\n\r\nhello\r\n.dot\r\n",
		} {
			if !strings.Contains(far, want) {
				t.Errorf("hold %v: no %q in\n%s", hold, want, far)
			}
		}
		w.stop()
	}
}

func TestLoops(t *testing.T) {
	w := newWorld(t)
	expect(t, "hops", w.send("s@far.test", "ann@x.test", strings.Repeat("Received: x\n", 101)+hello), replyHops)
	expect(t, "loop", w.send("s@far.test", "ann@x.test", "Delivered-To: Ann@x.test\n"+hello), replyLoop)
	expect(t, "else", w.send("s@far.test", "ann@x.test", "Delivered-To: bob@x.test\n"+hello), replyQueued)
}

// A recipient who was removed between RCPT and the end of the message is not
// dropped in silence: the client comes again and is told.
func TestRemovedMeanwhile(t *testing.T) {
	w := newWorld(t)
	for _, class := range []pipeline.Class{pipeline.Local, pipeline.Alias} {
		expect(t, string(class), w.transact(pipeline.Client{Protocol: "smtp"}, "s@far.test", smtp.MailParams{}, []pipeline.Recipient{
			{Addr: w.addr("ann@x.test"), Class: pipeline.Local}, {Addr: w.addr("gone@x.test"), Class: class},
		}, hello), replyVanished)
	}
	expect(t, "ann", len(w.box("ann")), 0)
}

// Of recipients who disagree: who refuses is bounced to a sender that is proven,
// and kept for people if not; who can't say now is asked again.
func TestMixedRefusals(t *testing.T) {
	refuse := func(action pipeline.Action) func(*pipeline.View) pipeline.Verdict {
		return func(v *pipeline.View) pipeline.Verdict {
			if v.Mailbox().Local == "bob" {
				return pipeline.Verdict{Action: action}
			}
			return pipeline.Verdict{}
		}
	}
	w := newWorld(t)
	w.onDeliver.set(refuse(pipeline.Reject))
	expect(t, "alone", w.send("ann@x.test", "bob@x.test", hello), pipeline.DefaultReply(pipeline.Reject))

	w.send("cid@x.test", "ann@x.test bob@x.test", hello, proved)
	if got := w.box("cid"); len(got) != 1 || !strings.Contains(got[0], "Final-Recipient: rfc822; bob@x.test\nAction: failed\nStatus: 5.7.1\n") {
		t.Errorf("no bounce: %q", got)
	}
	w.send("cid@x.test", "ann@x.test bob@x.test", hello)
	items := w.quiet(1)
	if len(w.box("cid")) != 1 || !strings.HasPrefix(items[0].Hold, "quarantine: refused for this recipient: 550 5.7.1") {
		t.Errorf("%d mails at the sender, %+v", len(w.box("cid")), items[0])
	}
	// A release is the administrator's word: it is delivered though the rules
	// still say no.
	w.retry("held")
	w.quiet(0)
	expect(t, "released", len(w.box("bob")), 1)

	// Nobody can be told of a report that is refused, by whom it may come.
	w.send("", "ann@x.test bob@x.test", hello, proved)
	if it := w.quiet(1)[0]; !strings.HasPrefix(it.Hold, refusedHold+"550") {
		t.Errorf("a refused report: %+v", it)
	}
	w.retry("held")
	w.quiet(0)
	expect(t, "released", len(w.box("bob")), 2)

	w.onDeliver.set(refuse(pipeline.TempFail))
	w.send("cid@x.test", "ann@x.test bob@x.test", hello)
	expect(t, "reply", w.quiet(1)[0].Reply, pipeline.DefaultReply(pipeline.TempFail))
	w.onDeliver.set(nil)
	w.retry("deferred")
	w.quiet(0)
	expect(t, "after a fault", len(w.box("bob")), 3)
}

// Rules that put mail off for so long that it is given up: nobody hears of it who
// may not have sent it, neither of the delay nor of the end.
func TestPutOffForEver(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local == "bob" {
			return pipeline.Verdict{Action: pipeline.TempFail}
		}
		return pipeline.Verdict{}
	})
	w.send("cid@x.test", "ann@x.test bob@x.test", hello)
	w.quiet(1)
	w.clock.Add(25 * time.Hour)
	w.retry("deferred")
	w.until("a second attempt", func() bool { return w.quiet(1)[0].Attempts == 2 })
	w.clock.Add(5 * 24 * time.Hour)
	w.retry("deferred")
	w.until("the end", func() bool { return w.quiet(1)[0].State() == "held" })
	expect(t, "reports", len(w.box("cid")), 0)
	if it := w.quiet(1)[0]; !strings.HasPrefix(it.Hold, refusedHold+"451") {
		t.Errorf("%+v", it)
	}
	w.retry("held")
	w.quiet(0)
	expect(t, "released", len(w.box("bob")), 1)
}

// A relay recipient refused singly by unproven mail stays one after its release.
func TestQuarantinedRelay(t *testing.T) {
	w := newWorld(t)
	w.onMessage.set(func(*pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Rcpts: []pipeline.RcptVerdict{{Rcpt: 2, Action: pipeline.Reject}}}
	})
	w.send("s@far.test", "ann@x.test out@far.test", hello)
	w.quiet(1)
	w.retry("held")
	w.quiet(0)
	expect(t, "remote", len(w.remote.got()), 1)
}

func TestQuarantine(t *testing.T) {
	w := newWorld(t)
	w.onMessage.set(func(*pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Quarantine{Reason: "bad"}}}
	})
	expect(t, "reply", w.send("s@far.test", "ann@x.test out@far.test", hello), replyQueued)
	for _, it := range w.quiet(2) {
		expect(t, "hold", it.Hold, "quarantine: bad")
	}
	if len(w.box("ann"))+len(w.remote.got()) != 0 {
		t.Error("quarantined mail is delivered")
	}
	w.retry("held")
	w.quiet(0)
	if len(w.box("ann")) != 1 || len(w.remote.got()) != 1 {
		t.Error("released mail is not delivered")
	}
}

// Mail that waits for an account which is removed is told of, or kept for people;
// an account made anew gets it.
func TestRemovedWhileMailWaits(t *testing.T) {
	w := newWorld(t)
	w.onMessage.set(func(*pipeline.View) pipeline.Verdict {
		return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Hold{Reason: "look"}}}
	})
	w.send("ann@x.test", "bob@x.test", "Subject: proven\n\nx\n", proved)
	w.send("eve@evil.test", "bob@x.test", "Subject: unproven\n\nx\n")
	w.onMessage.set(nil)
	w.quiet(2)
	_, err := w.dir.RemoveUser(t.Context(), "bob@x.test")
	w.must(err)
	w.retry("held")
	if it := w.quiet(1)[0]; it.Sender != "eve@evil.test" || !strings.Contains(it.Hold, "mailbox was removed") {
		t.Errorf("%+v", it)
	}
	w.until("the report", func() bool { return len(w.box("ann")) == 1 })
	if got := w.box("ann")[0]; !strings.Contains(got, "550 5.1.1 The mailbox was removed") {
		t.Error(got)
	}
	if len(w.remote.got()) > 0 {
		t.Error("somebody got a report for mail that may not be theirs")
	}
	_, err = w.dir.AddUser(t.Context(), "bob@x.test", "secret")
	w.must(err)
	w.retry("held")
	w.quiet(0)
	if got := w.box("bob"); len(got) != 1 || !strings.Contains(got[0], "unproven") {
		t.Errorf("%q", got)
	}
}

func TestRedirectAndRespond(t *testing.T) {
	w := newWorld(t)
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		switch v.Mailbox().Local {
		case "ann":
			return pipeline.Verdict{Mods: []pipeline.Modification{
				pipeline.Redirect{Addr: w.addr("bob@x.test")}, pipeline.AddHeader{Name: "X-Ann", Value: "1"},
				pipeline.Respond{To: w.addr("s@far.test"), Data: []byte("Subject: away\r\n\r\nx\r\n"), Why: "vacation"},
			}}
		case "cid":
			return pipeline.Verdict{Mods: []pipeline.Modification{pipeline.Redirect{Addr: w.addr("cid@x.test")}}}
		}
		return pipeline.Verdict{}
	})
	w.send("s@far.test", "ann@x.test", hello)
	w.quiet(0)
	expect(t, "ann", len(w.box("ann")), 0)
	if got := w.box("bob"); len(got) != 1 || !strings.Contains(got[0], "Return-Path: <s@far.test>\nDelivered-To: bob@x.test\nDelivered-To: ann@x.test\nSubject: hi\nX-Ann: 1\n") {
		t.Errorf("%q", got)
	}
	expect(t, "response", w.remote.got(), []string{" > s@far.test\nSubject: away\r\n\r\nx\r\n"})
	for _, want := range []string{"session    made here: redirect of ", ", from <s@far.test> to <bob@x.test>", "session    made here: vacation of ", ", from <> to <s@far.test>"} {
		if got := w.notes(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// A redirect in a circle leaves the mail where it is.
	w.send("s@far.test", "cid@x.test", hello)
	expect(t, "circle", len(w.box("cid")), 1)
}

// More mailboxes than the session has time for are served from the queue, once.
func TestManyRecipients(t *testing.T) {
	w := newWorld(t)
	var rcpts []string
	for i := range MaxPlans + 5 {
		_, err := w.dir.AddUser(t.Context(), fmt.Sprintf("u%d@x.test", i), "secret")
		w.must(err)
		rcpts = append(rcpts, fmt.Sprintf("u%d@x.test", i))
	}
	w.onDeliver.set(func(v *pipeline.View) pipeline.Verdict {
		if v.Mailbox().Local == "u24" {
			return pipeline.Verdict{Action: pipeline.Reject}
		}
		return pipeline.Verdict{}
	})
	w.send("s@far.test", strings.Join(rcpts, " "), hello)
	if it := w.quiet(1)[0]; !strings.HasPrefix(it.Hold, refusedHold) {
		t.Errorf("%+v", it)
	}
	for i := range MaxPlans + 4 {
		if n := len(w.box(fmt.Sprintf("u%d", i))); n != 1 {
			t.Errorf("u%d has %d messages", i, n)
		}
	}
	w.retry("held")
	w.quiet(0)
	expect(t, "released", len(w.box("u24")), 1)
}

// What the journal accepted before the process died is acted on at the next
// start, once.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	m, err := message.Parse(message.FromBytes([]byte("Subject: x\r\n\r\nx\r\n")))
	w.must(err)
	v := pipeline.NewView(pipeline.Client{Protocol: "smtp"}, pipeline.Mailing{
		ID: message.NewID(time.Now()), Time: w.clock.Now(), Sender: w.addr("s@far.test"), Rcpts: []pipeline.Recipient{{ID: 1, Addr: w.addr("ann@x.test")}, {ID: 2, Addr: w.addr("out@far.test")}},
	}, m)
	acts, reply := w.agent.decide(t.Context(), v, func(pipeline.Event) {}, nil)
	if !reply.IsZero() {
		t.Fatal(reply)
	}
	meta, err := encodeRecord(v, acts)
	w.must(err)
	_, err = w.db.Journal().Append(t.Context(), journal.Record{ID: v.ID(), Kind: KindMessage, Meta: meta, Body: m.Bytes()})
	w.must(err)
	for range 2 {
		w.stop()
		w.start()
		w.quiet(0)
		expect(t, "ann", len(w.box("ann")), 1)
		expect(t, "remote", len(w.remote.got()), 1)
	}
}

// A record that can't be read does not keep the server from starting, nor other
// mail from its mailbox.
func TestReplayOfABadRecord(t *testing.T) {
	w := newWorld(t)
	m, err := message.Parse(message.FromBytes([]byte("Subject: x\r\n\r\nx\r\n")))
	w.must(err)
	v := pipeline.NewView(pipeline.Client{Protocol: "smtp"}, pipeline.Mailing{
		ID: message.NewID(time.Now()), Time: w.clock.Now(), Sender: w.addr("s@far.test"), Rcpts: []pipeline.Recipient{{ID: 1, Addr: w.addr("ann@x.test")}},
	}, m)
	acts, _ := w.agent.decide(t.Context(), v, func(pipeline.Event) {}, nil)
	good, err := encodeRecord(v, acts)
	w.must(err)
	for _, meta := range []string{`{"v":1,"view":{"v":1}}`, `{"v":99}`, "nonsense", string(good)} {
		_, err = w.db.Journal().Append(t.Context(), journal.Record{ID: v.ID(), Kind: KindMessage, Meta: []byte(meta), Body: m.Bytes()})
		w.must(err)
	}
	w.stop()
	w.start()
	expect(t, "ann", len(w.box("ann")), 1)
	n, err := w.agent.replay(t.Context())
	if n != 3 || err == nil || strings.Count(err.Error(), "journal record") != 3 {
		t.Errorf("%d are left: %v", n, err)
	}
	w.stop()
	w.start()
	expect(t, "ann", len(w.box("ann")), 1)
}

// A client that left before the commit has sent nothing.
func TestGone(t *testing.T) {
	w := newWorld(t)
	m, err := message.Parse(message.FromBytes([]byte("Subject: x\r\n\r\n")))
	w.must(err)
	f := w.listener.Open(pipeline.Client{})
	defer f.Close()
	f.Begin(1, smtp.Address{}, smtp.MailParams{})
	f.AddRcpt(pipeline.Recipient{Addr: w.addr("ann@x.test")})
	f.SetMessage(m, nil, nil)
	reply, _ := w.agent.Accept(t.Context(), f, func() error { return fmt.Errorf("gone") })
	expect(t, "reply", reply, replyGone)
	expect(t, "ann", len(w.box("ann")), 0)
}

// TestParseFlags leaves out what would break the list of flags in IMAP.
func TestParseFlags(t *testing.T) {
	got := parseFlags([]string{`\seen`, "$Junk", "a) UID 1 (b", "a)", `\Nonsense`, "ä"})
	if got.System != mailbox.Seen || !slices.Equal(got.Keywords, []string{"$Junk"}) {
		t.Errorf("%+v", got)
	}
}
