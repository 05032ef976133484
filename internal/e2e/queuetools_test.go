//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// queueTools are the commands of one of two servers, as a shell finds them.
type queueTools struct {
	t   testing.TB
	env []string
}

// sh runs a script; what it says of errors stands in its output.
func (q *queueTools) sh(script string) string {
	q.t.Helper()
	argv := slices.Concat([]string{"env"}, q.env, []string{"sh", "-c", "exec 2>&1; " + script})
	out, _ := run(q.t, "", "", argv...)
	return out
}

// volatileQueue is what two servers differ in, whatever they are.
var volatileQueue = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`\b(0[0-9a-z]{12}|[0-9A-F]{9,12})(\b|[*!])`), "ID$2"},
	{regexp.MustCompile(`(ID[*!]?) +\d+ [A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d `), "$1 SIZE DATE "},
	{regexp.MustCompile(`deferred/[0-9A-F]/ID`), "deferred/ID"}, // hashed
	{regexp.MustCompile(`-- \d+ Kbytes`), "-- N Kbytes"},
	{regexp.MustCompile(`(?m)^ *\(.*\)$`), "(reason)"},
}

func normalQueue(s string) string {
	for _, v := range volatileQueue {
		s = v.pattern.ReplaceAllString(s, v.to)
	}
	return s
}

// sortedBy cuts text and puts the pieces in order.
func sortedBy(s, sep string) string {
	pieces := strings.Split(strings.TrimSpace(s), sep)
	slices.Sort(pieces)
	return strings.Join(pieces, sep)
}

// entries are the lines of postqueue -j, with the values that differ made one.
func (q *queueTools) entries() string {
	q.t.Helper()
	out := normalQueue(q.sh("postqueue -j"))
	for _, v := range []struct{ pattern, to string }{
		{`"queue_id": "[^"]*"`, `"queue_id": "ID"`}, {`"(arrival_time|message_size)": \d+`, `"$1": 0`}, {`"delay_reason": "(\\"|[^"])*"`, `"delay_reason": "R"`},
	} {
		out = regexp.MustCompile(v.pattern).ReplaceAllString(out, v.to)
	}
	return sortedBy(out, "\n")
}

// settled waits until so many messages are in the queue and none is being tried.
func (q *queueTools) settled(n int) {
	q.t.Helper()
	var out string
	defer func() {
		if q.t.Failed() {
			q.t.Logf("the queue:\n%s", out)
		}
	}()
	eventually(q.t, fmt.Sprintf("%d messages that wait", n), timeLimit, func() bool {
		out = q.sh("postqueue -j")
		return strings.Count(out, "\n") == n && !strings.Contains(out, `"active"`) && !strings.Contains(out, `"incoming"`) && !strings.Contains(out, `"maildrop"`)
	})
}

// The same mail waits in Postfix's queue and in ours, and its commands and ours
// say the same of it: in lists, in JSON, by age, and to the scripts that people have.
func TestQueueBesidePostfix(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postfix", "qshape", "jq", "python3"} {
		program(t, name)
	}
	port := freePort(t) // where nobody listens
	etc, addrs := mtatest.PostfixWith(t, "", local(port), "")
	s := start(t, toHop(port))
	links := filepath.Join(t.TempDir(), "sbin")
	check(t, os.Mkdir(links, 0o755))
	mustSay(t, s.do("compat", "install", "--dir", links), "mailq linked")
	both := map[string]*queueTools{
		addrs[0]:      {t, []string{"MAIL_CONFIG=" + etc, "PATH=/usr/sbin:/usr/bin:/bin"}},
		local(s.SMTP): {t, []string{"MTAD_CONFIG=" + s.config(), "PATH=" + links + ":/usr/bin:/bin"}},
	}
	theirs, ours := both[addrs[0]], both[local(s.SMTP)]
	sendQueued(t, both)
	compare := func(what string, see func(*queueTools) string) {
		t.Helper()
		if a, b := see(theirs), see(ours); a != b {
			t.Errorf("%s: Postfix says\n%s\nwe say\n%s", what, a, b)
		}
	}
	for _, cmd := range []string{
		"qshape", "qshape deferred", "qshape -s deferred hold", "qshape -p -m 1 deferred", "qshape -b 5 -t 1 -l deferred hold", "qshape -w 100 hold", "qshape -b 1 deferred",
	} {
		compare(cmd, func(q *queueTools) string { return sortedBy(q.sh(cmd), "\n") })
	}
	list := func(cmd string) func(*queueTools) string {
		return func(q *queueTools) string {
			out := normalQueue(q.sh(cmd))
			head, rest, _ := strings.Cut(out, "\n")
			return head + "\n" + sortedBy(rest, "\n\n")
		}
	}
	compare("mailq", list("mailq"))
	compare("postqueue -p", list("postqueue -p"))
	compare("postqueue -j", (*queueTools).entries)
	for line := range strings.Lines(ours.sh("postqueue -j")) {
		var v map[string]any
		check(t, json.Unmarshal([]byte(line), &v))
	}
	for _, script := range queueScripts {
		compare(script, func(q *queueTools) string { return sortedBy(normalQueue(q.sh(script)), "\n") })
		if strings.HasPrefix(script, "postsuper -H") || strings.HasPrefix(script, "postsuper -r") {
			for _, q := range both {
				q.settled(3)
			}
		}
	}
}

// sendQueued gives both servers mail for hosts that are not there; one message is held.
func sendQueued(t *testing.T, both map[string]*queueTools) {
	t.Helper()
	for addr, q := range both {
		for i, m := range []struct {
			from string
			to   []string
		}{
			{"ann@good.test", []string{"bob@far.test", "eve@far.test", "x@other.test"}},
			{"", []string{"bob@far.test"}},
			{"ann@good.test", []string{"x@a.b.far.test"}},
			{"dan@good.test", []string{"hold@far.test"}},
			{"dan@good.test", []string{"user@far.test"}},
		} {
			check(t, submit(t, addr, m.from, m.to, letter("ann@good.test", m.to[0], fmt.Sprintf("waits %d", i), "Text.")))
		}
		q.settled(5)
		id := strings.TrimSpace(q.sh(`postqueue -j | jq -r 'select(.recipients[0].address == "hold@far.test") | .queue_id'`))
		mustSay(t, q.sh("postsuper -h "+id), "postsuper: "+id+": placed on hold\npostsuper: Placed on hold: 1 message\n")
	}
}

// queueScripts are pipelines as they are found in manuals, on wikis and in
// monitoring. They run in this order, on what those before have left.
var queueScripts = []string{
	`mailq | awk '/^[0-9A-F]/ {print $1}' | tr -d '*!' | wc -l`,
	`mailq | grep -c '^[A-Z0-9]'`,
	`mailq | tail -n 1 | awk '{print $5}'`,
	`postqueue -p | tail -n 1 | cut -d' ' -f5,6`,
	`mailq | grep '^[A-F0-9]' | awk '{print $7}' | sort | uniq -c | sort -n`,
	`postqueue -p | egrep -v '^ *\(|-Queue ID-' | awk 'BEGIN { RS = "" } { print $7, $8 }' | sort`,
	`postqueue -j | jq -r '.recipients[].address' | sort | uniq -c`,
	`postqueue -j | jq -s 'group_by(.queue_name) | map({(.[0].queue_name): length}) | add' -c`,
	`postqueue -j | jq -r 'select(.sender == "MAILER-DAEMON") | .queue_id'`,
	`postqueue -j | python3 -c 'import json,sys
for m in map(json.loads, sys.stdin): print(m["queue_name"], m["sender"], len(m["recipients"]), m["arrival_time"] > 10**9, all("refused" in r["delay_reason"] for r in m["recipients"] if m["queue_name"] != "hold"))'`,
	`for id in $(postqueue -p | awk '/^[0-9A-F]/ {print $1}' | tr -d '*!'); do postcat -hq $id | grep '^Subject:'; postcat -bq $id; done`,
	`for id in $(mailq | awk '/^[0-9A-F].*dan@good/ {print $1}' | tr -d '*!'); do postcat -eq $id | egrep '^(sender|recipient):|^\*\*\*'; done`,
	`mailq | grep -c '^[0-9A-Za-z]*!'`,
	// postsuper(1)'s own example.
	`mailq | tail -n +2 | grep -v '^ *(' | awk 'BEGIN { RS = "" } { if ($8 == "user@far.test" && $9 == "") print $1 }' | tr -d '*!' | postsuper -d -`,
	`postqueue -p | grep MAILER-DAEMON | awk '{print $1}' | tr -d '*!' | xargs -n1 postsuper -d`,
	`postsuper -h ALL; echo $?; mailq | grep -c '^[0-9A-Za-z]*!'`,
	`postqueue -i $(postqueue -j | jq -r .queue_id | head -n 1); echo $?`,
	`postsuper -d ALL deferred; postsuper -d ALL nowhere; echo $?`,
	`postsuper -H ALL`,
	`postsuper -r ALL; postqueue -f`, // which has pickup look
	`postsuper -d $(postqueue -j | jq -r 'select(.recipients[].address == "x@a.b.far.test") | .queue_id')`,
	`postqueue -j | jq -r .queue_id | postsuper -d -`,
	`mailq; postqueue -j; postqueue; echo $?; postsuper -d ALL; postcat -q 0000000000; echo $?`,
	`postqueue -f; echo $?`,
}
