package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/config"
	"mtad/directory"
	"mtad/mailbox"
	"mtad/message"
	"mtad/pipeline"
	"mtad/queue"
	"mtad/selector"
	"mtad/store"
)

func TestStatus(t *testing.T) {
	h := newHarness(t)
	h.enqueue(t, 5, "x", "a@b.test", time.Now(), "looks odd", "c@d.test")
	st, err := h.Status(t.Context())
	check(t, err)
	if st.Version != "1.2" || st.PID != 42 || len(st.Listeners) != 3 || st.Queue != (QueueStatus{1, 1}) {
		t.Errorf("got %+v", st)
	}
	s := st.Steps[0]
	if s.Calls != 7 || s.Mean != time.Millisecond || s.Actions["reject"] != 2 || !s.BreakerOpen || s.Faults != 1 || s.Skipped != 3 {
		t.Errorf("step %+v", s)
	}
}

func TestReload(t *testing.T) {
	h := newHarness(t)
	h.reload = func() ([]string, error) { return []string{"hostname"}, nil }
	r, err := h.Reload(t.Context())
	if err != nil || len(r.NeedsRestart) != 1 || r.NeedsRestart[0] != "hostname" {
		t.Errorf("got %+v, %v", r, err)
	}
	diag := &config.Diagnostic{Pos: config.Range{File: "mtad.hcl", Line: 3, Col: 2}, Message: "unknown option", Hint: `did you mean "x"?`}
	for name, bad := range map[string]error{
		"many": config.Diagnostics{diag, {Message: "second"}}, "one": errors.Join(diag),
	} {
		h.reload = func() ([]string, error) { return nil, bad }
		_, err = h.Reload(t.Context())
		if code(t, err) != BadConfig || !strings.Contains(err.Error(), "mtad.hcl:3:2: unknown option") {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.reload = func() ([]string, error) { return nil, errors.New("boom") }
	if _, err = h.Reload(t.Context()); code(t, err) != Bug {
		t.Errorf("got %v", err)
	}
}

func TestStopWaitsForTheEnd(t *testing.T) {
	h := newHarness(t)
	stopped := make(chan error, 1)
	go func() {
		info, err := h.Stop(t.Context())
		if err == nil && info.PID != 42 {
			err = errors.New("another process")
		}
		stopped <- err
	}()
	for h.stops.Load() == 0 {
		if _, err := h.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("Stop returned while the server was there: %v", err)
	default:
	}
	h.close(t)
	check(t, <-stopped)
	if _, err := os.Stat(h.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestStopThatTakesTooLong(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Stop(ctx); code(t, err) != Temporary {
		t.Errorf("got %v", err)
	}
}

func TestTraces(t *testing.T) {
	h := newHarness(t)
	if got, err := h.LastTraces(t.Context(), 3); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no traces: %v, %v", got, err)
	}
	for id := range message.ID(3) {
		h.cfg.Traces.Add(pipeline.Trace{ID: id + 1, Events: []pipeline.Event{{Time: time.Unix(9, 0), Kind: pipeline.EventMail, Note: "hello"}}})
	}
	got, err := h.LastTraces(t.Context(), 2)
	if err != nil || len(got) != 2 || got[0].ID != message.ID(3).String() {
		t.Errorf("got %v, %v", got, err)
	}
	one, err := h.Trace(t.Context(), 2)
	if err != nil || len(one.Events) != 1 || one.Events[0].Note != "hello" {
		t.Errorf("got %v, %v", one, err)
	}
	if _, err := h.Trace(t.Context(), 77); code(t, err) != No {
		t.Errorf("got %v", err)
	}
	for _, n := range []int{0, -1, 5000} {
		if _, err := h.LastTraces(t.Context(), n); code(t, err) != Usage {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestLiveTraces(t *testing.T) {
	h := newHarness(t)
	got := make(chan Trace)
	done := make(chan error, 1)
	go func() {
		done <- h.LiveTraces(t.Context(), func(tr Trace) error {
			got <- tr
			if tr.ID == message.ID(2).String() {
				return errors.New("enough")
			}
			return nil
		})
	}()
	add := func(id message.ID) {
		h.cfg.Traces.Add(pipeline.Trace{ID: id, Events: []pipeline.Event{{Note: "x"}}})
	}
	// Until it is subscribed, it sees nothing.
	for first := true; first; {
		add(1)
		select {
		case tr := <-got:
			first = tr.ID != message.ID(1).String()
		case <-time.After(10 * time.Millisecond):
		}
	}
	add(2)
	for tr := range got {
		if tr.ID == message.ID(2).String() {
			break
		}
	}
	if err := <-done; err == nil || err.Error() != "enough" {
		t.Errorf("got %v", err)
	}
}

func TestLiveTracesEnd(t *testing.T) {
	h := newHarness(t)
	done := make(chan error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- h.LiveTraces(ctx, func(Trace) error { return nil }) }()
	cancel()
	if err := <-done; err != nil && code(t, err) != Temporary {
		t.Errorf("the caller left: %v", err)
	}
	seen := make(chan struct{})
	go func() {
		done <- h.LiveTraces(t.Context(), func(Trace) error {
			select {
			case <-seen:
			default:
				close(seen)
			}
			return nil
		})
	}()
	for waiting := true; waiting; {
		h.cfg.Traces.Add(pipeline.Trace{ID: 1, Events: []pipeline.Event{{Note: "x"}}})
		select {
		case <-seen:
			waiting = false
		case <-time.After(10 * time.Millisecond):
		}
	}
	h.server.Drain()
	check(t, <-done)
	if _, err := h.Status(t.Context()); err != nil {
		t.Errorf("drained, it should still answer: %v", err)
	}
}

func TestQueueSelectors(t *testing.T) {
	h := newHarness(t)
	now := time.Now()
	h.enqueue(t, 1, "one", "ann@good.test", now.Add(-3*time.Hour), "", "x@a.test", "y@b.test")
	h.enqueue(t, 2, "two", "bob@evil.test", now, "quarantine", "z@a.test")
	for name, tc := range map[string]struct {
		sel  selector.Selector
		want string
	}{
		"all":         {selector.Selector{}, "ann@good.test>x@a.test ann@good.test>y@b.test bob@evil.test>z@a.test "},
		"ID":          {selector.Selector{IDs: []string{strings.ToUpper(message.ID(2).String())}}, "bob@evil.test>z@a.test "},
		"from":        {selector.Selector{From: "ANN@good.test"}, "ann@good.test>x@a.test ann@good.test>y@b.test "},
		"from domain": {selector.Selector{From: "@evil.test"}, "bob@evil.test>z@a.test "},
		"to":          {selector.Selector{To: "y@b.test"}, "ann@good.test>y@b.test "},
		"domain":      {selector.Selector{Domain: "a.test", From: "@good.test"}, "ann@good.test>x@a.test "},
		"ready":       {selector.Selector{Status: "ready"}, "ann@good.test>x@a.test "},
		"deferred":    {selector.Selector{Status: "deferred"}, "ann@good.test>y@b.test "},
		"held":        {selector.Selector{Status: "held"}, "bob@evil.test>z@a.test "},
		"old":         {selector.Selector{Before: now.Add(-2 * time.Hour)}, "ann@good.test>x@a.test ann@good.test>y@b.test "},
		"young":       {selector.Selector{After: now.Add(-2 * time.Hour)}, "bob@evil.test>z@a.test "},
		"nothing":     {selector.Selector{To: "nobody@a.test"}, ""},
	} {
		got, err := h.QueueItems(t.Context(), tc.sel)
		if err != nil || ids(got) != tc.want {
			t.Errorf("%s: %q, %v", name, ids(got), err)
		}
	}
	for _, sel := range []selector.Selector{{Status: "sleepy"}, {Filter: "age >"}, {Filter: "weight > 3"}, {IDs: []string{"xx"}}} {
		if _, err := h.QueueItems(t.Context(), sel); code(t, err) != Usage {
			t.Errorf("%+v: %v", sel, err)
		}
	}
	got, err := h.QueueItems(t.Context(), selector.Selector{Status: "deferred"})
	if err != nil || got[0].Attempts != 2 || got[0].Reply != "451 later" || got[0].Dest != "route:smart" || got[0].Host != "mx" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestQueueChanges(t *testing.T) {
	h := newHarness(t)
	now := time.Now()
	h.enqueue(t, 1, "one", "ann@good.test", now, "", "x@a.test", "y@b.test")
	h.enqueue(t, 2, "two", "bob@evil.test", now, "quarantine", "z@a.test")
	if _, err := h.ChangeQueue(t.Context(), "delete", Change{}); code(t, err) != Usage {
		t.Errorf("everything, unasked: %v", err)
	}
	if _, err := h.ChangeQueue(t.Context(), "delete", Change{Selector: selector.Selector{Status: "?"}}); code(t, err) != Usage {
		t.Errorf("a bad status: %v", err)
	}
	if _, err := h.ChangeQueue(t.Context(), "delete", Change{Selector: selector.Selector{To: "no@where.test"}}); code(t, err) != No {
		t.Errorf("nothing: %v", err)
	}
	c, err := h.ChangeQueue(t.Context(), "delete", Change{All: true, DryRun: true})
	if err != nil || c != (Counts{3, 2, true}) {
		t.Errorf("dry run: %+v, %v", c, err)
	}
	c, err = h.ChangeQueue(t.Context(), "release", Change{Selector: selector.Selector{Status: "held"}})
	if err != nil || c != (Counts{1, 1, false}) {
		t.Errorf("retry: %+v, %v", c, err)
	}
	if got, _ := h.QueueItems(t.Context(), selector.Selector{IDs: []string{message.ID(2).String()}}); len(got) != 1 || got[0].State != "ready" || got[0].Next.After(time.Now()) {
		t.Errorf("after retry %+v", got)
	}
	c, err = h.ChangeQueue(t.Context(), "delete", Change{Selector: selector.Selector{From: "@good.test"}})
	if err != nil || c != (Counts{2, 1, false}) {
		t.Errorf("delete: %+v, %v", c, err)
	}
	if got, err := h.QueueItems(t.Context(), selector.Selector{}); err != nil || len(got) != 1 {
		t.Errorf("left: %+v, %v", got, err)
	}
	if err := h.Message(t.Context(), 1, io.Discard); code(t, err) != No {
		t.Errorf("octets of a message that is gone: %v", err)
	}
}

func TestQueueMessage(t *testing.T) {
	h := newHarness(t)
	body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef", 20000) + "\x00\xff\n"
	h.enqueue(t, 1, body, "a@b.test", time.Now(), "", "c@d.test")
	var b bytes.Buffer
	if err := h.Message(t.Context(), 1, &b); err != nil || b.String() != body {
		t.Errorf("%d octets of %d, %v", b.Len(), len(body), err)
	}
	if err := h.Message(t.Context(), 2, &b); code(t, err) != No {
		t.Errorf("got %v", err)
	}
}

func TestDomainsAndAliases(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "Example.test"}))
	check(t, h.AddDomain(ctx, Domain{Name: "backup.test", Class: "relay"}))
	if err := h.AddDomain(ctx, Domain{Name: "x.test", Class: "odd"}); code(t, err) != Usage {
		t.Errorf("class: %v", err)
	}
	if err := h.AddDomain(ctx, Domain{Name: "@"}); code(t, err) != BadData {
		t.Errorf("name: %v", err)
	}
	got, err := h.Domains(ctx)
	if err != nil || len(got) != 2 || got[0] != (Domain{Name: "backup.test", Class: "relay"}) || got[1] != (Domain{Name: "example.test", Class: "local"}) {
		t.Errorf("got %v, %v", got, err)
	}
	check(t, h.AddAlias(ctx, Alias{"info", []string{"a@far.test", "b@far.test"}}))
	for want, a := range map[Code]Alias{
		Usage: {"x", nil}, NoHost: {"x@nowhere.test", []string{"a"}}, BadData: {"x@example.test", []string{"a b@c"}},
	} {
		if err := h.AddAlias(ctx, a); code(t, err) != want {
			t.Errorf("%v: %v", a, err)
		}
	}
	check(t, h.RemoveAlias(ctx, Alias{"info", []string{"b@far.test"}}))
	list, err := h.Aliases(ctx, "example.test")
	if err != nil || len(list) != 1 || strings.Join(list[0].Targets, " ") != "a@far.test" {
		t.Errorf("got %v, %v", list, err)
	}
	if list, err := h.Aliases(ctx, "other.test"); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
	check(t, h.RemoveAlias(ctx, Alias{Address: "info"}))
	if err := h.RemoveAlias(ctx, Alias{Address: "info"}); code(t, err) != NoUser {
		t.Errorf("got %v", err)
	}
	check(t, h.RemoveDomain(ctx, "backup.test"))
	if err := h.RemoveDomain(ctx, "backup.test"); code(t, err) != NoHost || !strings.HasPrefix(err.Error(), "backup.test: not one of") {
		t.Errorf("got %v", err)
	}
}

func TestUsers(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	u, err := h.AddUser(ctx, Credentials{"Alice", "one"})
	if err != nil || u.Address != "alice@example.test" || u.ID == 0 {
		t.Fatalf("got %+v, %v", u, err)
	}
	for name, tc := range map[string]struct {
		c    Credentials
		want Code
	}{
		"again":     {Credentials{"alice", "x"}, No},
		"no domain": {Credentials{"alice@nowhere.test", "x"}, NoHost},
		"empty":     {Credentials{"bob", ""}, BadData},
		"address":   {Credentials{"a b", "x"}, BadData},
	} {
		if _, err := h.AddUser(ctx, tc.c); code(t, err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, h.SetPassword(ctx, Credentials{"alice", "two"}))
	if _, err := h.cfg.Directory.Authenticate(ctx, "alice", "two"); err != nil {
		t.Error(err)
	}
	check(t, h.Disable(ctx, Disable{"alice", true}))
	if _, err := h.cfg.Directory.Authenticate(ctx, "alice", "two"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("disabled: %v", err)
	}
	one, err := h.User(ctx, "alice")
	if err != nil || !one.Disabled || len(one.Folders) != 6 {
		t.Errorf("got %+v, %v", one, err)
	}
	if list, err := h.Users(ctx, ""); err != nil || len(list) != 1 {
		t.Errorf("got %v, %v", list, err)
	}
	if err := h.RemoveDomain(ctx, "example.test"); code(t, err) != No || !strings.Contains(err.Error(), "still has accounts") {
		t.Errorf("got %v", err)
	}
	if _, err := h.RemoveUser(ctx, "alice"); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"show":     second(h.User(ctx, "alice")),
		"remove":   second(h.RemoveUser(ctx, "alice")),
		"password": h.SetPassword(ctx, Credentials{"alice", "x"}),
		"disable":  h.Disable(ctx, Disable{"alice", true}),
		"scripts":  second(h.Scripts(ctx, "sieve", "alice")),
		"script":   second(h.Script(ctx, "sieve", "alice", "x")),
		"put":      h.PutScript(ctx, "sieve", "alice", "x", "keep;"),
		"activate": h.ActivateScript(ctx, "sieve", "alice", "x"),
		"delete":   h.DeleteScript(ctx, "sieve", "alice", "x"),
	} {
		if code(t, err) != NoUser || !strings.HasPrefix(err.Error(), "alice: no such user") {
			t.Errorf("%s of a user that is gone: %v", name, err)
		}
	}
	if folders, err := h.cfg.Mailboxes.Folders(ctx, 1); err != nil || len(folders) != 0 {
		t.Errorf("mail is left: %v, %v", folders, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestScripts(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	must[User](t)(h.AddUser(ctx, Credentials{"alice", "x"}))
	check(t, h.PutScript(ctx, "sieve", "alice", "a/b & c", "keep;\r\n"))
	if err := h.PutScript(ctx, "sieve", "alice", "x", "bad"); code(t, err) != BadData || err.Error() != "1:1: bad" {
		t.Errorf("got %v", err)
	}
	if err := h.PutScript(ctx, "sieve", "alice", "", "keep;"); code(t, err) != BadData {
		t.Errorf("got %v", err)
	}
	if err := h.PutScript(ctx, "sieve", "alice", "big", strings.Repeat("#", 1<<20+1)); code(t, err) != BadData {
		t.Errorf("got %v", err)
	}
	check(t, h.ActivateScript(ctx, "sieve", "alice", "a/b & c"))
	list, err := h.Scripts(ctx, "sieve", "alice")
	if err != nil || len(list) != 1 || !list[0].Active || list[0].Size != 7 {
		t.Errorf("got %+v, %v", list, err)
	}
	if u, err := h.User(ctx, "alice"); err != nil || u.Script != "a/b & c" {
		t.Errorf("got %+v, %v", u, err)
	}
	if s, err := h.Script(ctx, "sieve", "alice", "a/b & c"); err != nil || s.Text != "keep;\r\n" {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := h.DeleteScript(ctx, "sieve", "alice", "a/b & c"); code(t, err) != No {
		t.Errorf("the active one: %v", err)
	}
	check(t, h.ActivateScript(ctx, "sieve", "alice", ""))
	check(t, h.DeleteScript(ctx, "sieve", "alice", "a/b & c"))
	if _, err := h.Script(ctx, "sieve", "alice", "a/b & c"); code(t, err) != NoInput {
		t.Errorf("got %v", err)
	}
	if err := h.ActivateScript(ctx, "sieve", "alice", "none"); code(t, err) != NoInput {
		t.Errorf("got %v", err)
	}
}

// Scripts of different languages are apart; one that does not exist is an error.
func TestScriptLanguages(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	must[User](t)(h.AddUser(ctx, Credentials{"alice", "x"}))
	check(t, h.PutScript(ctx, "lua", "alice", "main", "-- lua"))
	check(t, h.ActivateScript(ctx, "lua", "alice", "main"))
	if list, err := h.Scripts(ctx, "", "alice"); err != nil || len(list) != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
	if u, err := h.User(ctx, "alice"); err != nil || u.Script != "" || u.Lua != "main" {
		t.Errorf("got %+v, %v", u, err)
	}
	if _, err := h.Scripts(ctx, "perl", "alice"); code(t, err) != Usage {
		t.Errorf("got %v", err)
	}
}

func TestMail(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	u := must[User](t)(h.AddUser(ctx, Credentials{"alice", "x"}))
	inbox, err := h.cfg.Mailboxes.Folder(ctx, mailbox.AccountID(u.ID), "INBOX")
	check(t, err)
	for i := range 3 {
		must[mailbox.UID](t)(h.cfg.Mailboxes.Append(ctx, inbox.ID, message.FromBytes([]byte(fmt.Sprintf("Subject: %d\r\n\r\n", i))), mailbox.Flags{}, time.Now()))
	}
	list, err := h.Messages(ctx, "alice", "INBOX")
	if err != nil || len(list) != 3 || list[0].Size != 14 {
		t.Fatalf("got %+v, %v", list, err)
	}
	var b strings.Builder
	if err := h.MailOctets(ctx, "alice", "INBOX", list[1].UID, &b); err != nil || b.String() != "Subject: 1\r\n\r\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	check(t, h.ChangeMail(ctx, MailChange{User: "alice", Folder: "INBOX", UID: list[0].UID, Remove: true, Files: []Filing{{Folder: "A/B", Flags: []string{`\Flagged`, "work"}}, {Folder: "C"}}}))
	check(t, h.ChangeMail(ctx, MailChange{User: "alice", Folder: "INBOX", UID: list[1].UID, Remove: true, Files: []Filing{{Folder: "", Flags: []string{`\Seen`}}}}))
	check(t, h.ChangeMail(ctx, MailChange{User: "alice", Folder: "INBOX", UID: list[2].UID, Flags: []string{`\Answered`, "not a flag"}}))
	for folder, want := range map[string]string{"INBOX": "2", "A/B": "1", "C": "1"} {
		if list, err := h.Messages(ctx, "alice", folder); err != nil || fmt.Sprint(len(list)) != want {
			t.Errorf("%s: %+v, %v", folder, list, err)
		}
	}
	f, err := h.cfg.Mailboxes.Folder(ctx, mailbox.AccountID(u.ID), "A/B")
	check(t, err)
	items, _, err := h.cfg.Mailboxes.Snapshot(ctx, f.ID)
	if err != nil || !items[0].Flags.System.Has(mailbox.Flagged) || len(items[0].Flags.Keywords) != 1 {
		t.Errorf("%+v, %v", items, err)
	}
	for i, err := range []error{
		second(h.Messages(ctx, "nobody", "INBOX")), second(h.Messages(ctx, "alice", "None")), h.MailOctets(ctx, "alice", "INBOX", 999, &b),
		h.ChangeMail(ctx, MailChange{User: "alice", Folder: "INBOX", UID: 999, Files: []Filing{{Folder: "C"}}}),
	} {
		if want := []Code{NoUser, NoInput, No, No}[i]; code(t, err) != want {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestRoute(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	must[User](t)(h.AddUser(ctx, Credentials{"alice", "x"}))
	check(t, h.AddAlias(ctx, Alias{"list", []string{"alice", "bob@far.test"}}))
	check(t, h.AddAlias(ctx, Alias{"one", []string{"two@example.test"}}))
	check(t, h.AddAlias(ctx, Alias{"two", []string{"one@example.test"}}))
	r, err := h.Route(ctx, "", "list@example.test")
	if err != nil || r.Class != "alias" || len(r.Targets) != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r.Targets[0].Account == 0 || r.Targets[1].Way != "smtp to 127.0.0.1:2525" || r.Targets[1].TLS != "none" {
		t.Errorf("got %+v", r)
	}
	for address, class := range map[string]string{"nobody@example.test": "unknown", "x@far.test": "denied", "alice": "local"} {
		if r, err := h.Route(ctx, "", address); err != nil || r.Class != class {
			t.Errorf("%s: %+v, %v", address, r, err)
		}
	}
	if _, err := h.Route(ctx, "", "a b"); code(t, err) != BadData {
		t.Errorf("got %v", err)
	}
	if r, err := h.Route(ctx, "", "one@example.test"); err != nil || !r.Circle || r.Class != "unknown" {
		t.Errorf("a circle: %+v, %v", r, err)
	}
}

func TestBadCalls(t *testing.T) {
	h := newHarness(t)
	for name, tc := range map[string]struct {
		method, path string
		in           any
		want         Code
	}{
		"no such call":  {"GET", "/v1/nothing", nil, Usage},
		"wrong method":  {"GET", "/v1/reload", nil, Usage},
		"no version":    {"GET", "/", nil, Usage},
		"unknown field": {"POST", "/v1/users/add", map[string]string{"name": "x"}, Usage},
		"wrong type":    {"POST", "/v1/users/add", []int{1}, Usage},
		"bad ID":        {"GET", "/v1/traces/one", nil, Usage},
		"bad message":   {"GET", "/v1/queue/message", nil, Usage},
		"huge":          {"POST", "/v1/users/add", Credentials{Password: strings.Repeat("x", maxRequest)}, Usage},
	} {
		_, err := h.do(t.Context(), tc.method, tc.path, nil, tc.in)
		if code(t, err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.do(t.Context(), "GET", "/v1/queue", map[string][]string{"before": {"yesterday"}}, nil); code(t, err) != Usage {
		t.Errorf("a bad time: %v", err)
	}
}

func TestOnlyRootAndItself(t *testing.T) {
	asked := false
	h := admitPeers(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	for _, tc := range []struct {
		p    peer
		want bool
	}{
		{peer{0, 1, true}, true},
		{peer{myUID(), 1, true}, true},
		{peer{myUID() + 4711, 1, true}, false},
		{peer{0, 0, false}, false},
	} {
		asked = false
		r := httptest.NewRequest("GET", "/v1/status", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(withPeer(r.Context(), &peerConn{peer: tc.p})))
		if asked != tc.want {
			t.Errorf("%v: asked %v", tc.p, asked)
		}
		var e Error
		if !tc.want && (w.Code != http.StatusForbidden || json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Code != Permission) {
			t.Errorf("%v: %d %s", tc.p, w.Code, w.Body)
		}
	}
	asked = false
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/status", nil))
	if asked {
		t.Error("somebody of whom nothing is known was let in")
	}
}

func TestPeerIsWhoWeAre(t *testing.T) {
	l := must[*socket](t)(listenSocket(filepath.Join(t.TempDir(), "s")))
	defer l.Close()
	c := must[net.Conn](t)(net.Dial("unix", l.path))
	defer c.Close()
	s := must[net.Conn](t)(l.Accept())
	defer s.Close()
	p, ok := s.RemoteAddr().(peer)
	if !ok || !p.known || p.uid != myUID() || int(p.pid) != os.Getpid() {
		t.Errorf("got %v", s.RemoteAddr())
	}
	if p.Network() != "unix" || !strings.Contains(p.String(), "pid=") || (peer{}).String() != "unknown" {
		t.Errorf("got %v", p)
	}
	if p := peerOf(struct{ net.Conn }{}); p.known {
		t.Errorf("a stranger: %v", p)
	}
}

func TestSocketFile(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	check(t, os.MkdirAll(long, 0o700))
	for _, path := range []string{filepath.Join(t.TempDir(), "s"), filepath.Join(long, "s")} {
		check(t, os.WriteFile(path, nil, 0o600)) // what a crash left
		l := must[*socket](t)(listenSocket(path))
		info := must[os.FileInfo](t)(os.Stat(path))
		if info.Mode()&os.ModeSocket == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}()
		c := NewClient(path)
		_, err := c.Status(t.Context())
		if code(t, err) != Unavailable || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("a server that hangs up: %v", err)
		}
		check(t, l.Close())
		check(t, l.Close())
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
		_, err = c.Status(t.Context())
		if code(t, err) != Unavailable || !strings.Contains(err.Error(), "mtad is not running") {
			t.Errorf("nobody: %v", err)
		}
	}
	if l, err := Listen(filepath.Join(t.TempDir(), "missing", "s")); err == nil {
		l.Close()
		t.Error("listens in a directory that does not exist")
	}
}

func TestServersThatAreNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := must[net.Listener](t)(net.Listen("unix", path))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		io.WriteString(w, "no JSON")
	})}
	go srv.Serve(l)
	defer srv.Close()
	c := NewClient(path)
	defer c.Close()
	if _, err := c.Status(t.Context()); code(t, err) != Bug || !strings.Contains(err.Error(), "another version") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Domains(t.Context()); code(t, err) != Unavailable {
		t.Errorf("got %v", err)
	}
	if err := c.LiveTraces(t.Context(), func(Trace) error { return nil }); code(t, err) != Unavailable {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Users(ctx, ""); code(t, err) != Temporary {
		t.Errorf("got %v", err)
	}
}

func TestPermissionDenied(t *testing.T) {
	c := NewClient("/x")
	if err := c.unreachable(os.ErrPermission); code(t, err) != Permission {
		t.Errorf("got %v", err)
	}
}

func TestCodesHaveStatuses(t *testing.T) {
	for _, s := range sentinels {
		if s.text == "" || s.code.status() == http.StatusInternalServerError {
			t.Errorf("%v: %q %d", s.err, s.text, s.code.status())
		}
	}
	if Bug.status() != http.StatusInternalServerError {
		t.Error("a bug is an internal error")
	}
	if e := errorOf(about("a@b", store.ErrClosed)); e.Text != "a@b: the server is stopping" || e.Code != Temporary {
		t.Errorf("got %+v", e)
	}
	if about("x", nil) != nil {
		t.Error("nothing is about nothing")
	}
	if err := about("x", queue.ErrNone); err.Error() != "x: "+queue.ErrNone.Error() {
		t.Errorf("got %v", err)
	}
}
