//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// 20 sessions at a time, 500 messages each of its own: all are in the mailbox,
// each once, and the queue is empty.
func TestSMTPSource(t *testing.T) {
	t.Parallel()
	source := program(t, "smtp-source")
	s := start(t)
	const messages = 500
	must(t, source, "-s", "20", "-m", fmt.Sprint(messages), "-l", "4000",
		"-f", "ann@good.test", "-t", "bob@example.test", local(s.SMTP))
	bob := s.login("bob")
	eventually(t, "delivery of all", time.Minute, func() bool { return bob.count("INBOX") >= messages })
	ids := map[string]int{}
	for _, msg := range bob.fetch("INBOX") {
		ids[field(msg, "Message-ID")]++
		if len(msg) < 4000 {
			t.Fatalf("a message was cut:\n%s", msg)
		}
	}
	if len(ids) != messages {
		t.Errorf("%d different messages, want %d", len(ids), messages)
	}
	s.awaitEmptyQueue()
}

// What is relayed to smtp-sink is what was sent, under our Received.
func TestSMTPSink(t *testing.T) {
	t.Parallel()
	sink := program(t, "smtp-sink")
	port := freePort(t)
	s := start(t, toHop(port))
	dumps := filepath.Join(s.dir, "dumps")
	check(t, os.Mkdir(dumps, 0o700))
	argv := []string{sink, "-d", "dump.", local(port), "100"}
	if os.Getuid() == 0 {
		argv = append([]string{sink, "-u", "root"}, argv[1:]...)
	}
	spawn(t, dumps, argv...).AwaitSocket(t, "tcp", local(port))

	var want []string
	for i, text := range []string{
		"plain", ".\n..\n.dots\n", "eight bits \xe4\xf6\xfc", strings.Repeat("long ", 2000), "trailing  \n\n\n", "",
	} {
		data := letter("alice@example.test", "x@far.test", fmt.Sprintf("relayed %d", i), text)
		data = strings.Replace(data, "Subject:", "X-Odd:\r\nSubject :", 1)
		if i == 0 {
			data = "From: alice@example.test\r\nDate: Sun, 1 Mar 2026 12:00:00 +0000\r\nSubject: only a header\r\n\r\n"
		}
		want = append(want, data)
		check(t, submit(t, local(s.SMTP), "alice@example.test", []string{"x@far.test"}, data))
	}
	var got map[string]bool
	eventually(t, "relay of all", timeLimit, func() bool { got = dumped(t, dumps); return len(got) == len(want) })
	for _, w := range want {
		if !got[w] {
			t.Errorf("%q did not arrive as it was sent; there are\n%q", w, slices.Collect(maps.Keys(got)))
		}
	}
	s.awaitEmptyQueue()
}

// dumped reads what smtp-sink wrote: its own lines above, ours, the message.
// It writes LF for CRLF.
func dumped(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "dump.*"))
	check(t, err)
	for _, f := range files {
		text := crlf(read(t, f))
		i := strings.Index(text, "Received: from client.test")
		if i < 0 {
			continue // not all of it is there yet
		}
		out[strings.TrimSuffix(afterField(text[i:]), "\r\n")] = true // it ends each with an empty line
	}
	return out
}

// afterField is what follows the first header field.
func afterField(s string) string {
	for {
		i := strings.Index(s, "\r\n")
		if i < 0 {
			return ""
		}
		s = s[i+2:]
		if !strings.HasPrefix(s, " ") && !strings.HasPrefix(s, "\t") {
			return s
		}
	}
}
