package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/plugins/spamscore"
	"mtad/spam"
)

// Filters with the same rules have one engine, also a listener for spamc; after a reload
// a new one, and the old is let go.
func TestSpamscoreSharesRules(t *testing.T) {
	socket := filepath.Join(mtatest.OpenDir(t), "spamd.sock")
	rules := filepath.Join(t.TempDir(), "10.cf")
	write := func(n int) {
		check(t, os.WriteFile(rules, []byte("body MONEY /money/\nscore MONEY 0."+strings.Repeat("1", n)+"\n"), 0o644))
	}
	write(1)
	filter := fmt.Sprintf("  filter \"spamscore\" \"%%s\" {\n    rules = [%q]\n%%s  }\n", rules)
	r := startHouse(t, func(text string) string {
		text = strings.Replace(text, "pipeline \"delivery\" {\n", "pipeline \"delivery\" {\n"+fmt.Sprintf(filter, "theirs", "    preferences = store()\n"), 1)
		return text + "pipeline \"judged\" {\n" + fmt.Sprintf(filter, "rules", "    headers = false\n") + fmt.Sprintf(filter, "without", "    bayes = \"off\"\n") +
			fmt.Sprintf("}\nlistener \"spamd\" {\n  protocol = \"spamd\"\n  addr = [\"unix:%s\"]\n  pipeline = \"judged\"\n}\n", socket)
	})
	engine := func() *spam.Engine {
		var e *spam.Engine
		n := 0
		for _, p := range r.house.set.Pipelines() {
			for _, step := range p.Steps() {
				if j, ok := spamscore.Judge(step.Filter); ok {
					if n++; e != nil && j.Engine != e {
						t.Errorf("%s has an engine of its own", step.Name)
					}
					e = j.Engine
				}
			}
		}
		if n != 3 {
			t.Fatalf("%d filters", n)
		}
		return e
	}
	const reloads = 4
	freed := make(chan int, reloads)
	for i := range reloads {
		runtime.AddCleanup(engine(), func(i int) { freed <- i }, i)
		c, err := net.DialTimeout("unix", socket, 10*time.Second)
		check(t, err)
		_, err = fmt.Fprint(c, "CHECK SPAMC/1.5\r\nContent-length: 7\r\n\r\n\nmoney\n")
		check(t, err)
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "EX_OK") {
			t.Errorf("%q, %v", buf[:n], err)
		}
		check(t, c.Close())
		write(i + 2)
		r.want(t, "reloaded", "reload")
	}
	engine()
	mtatest.Eventually(t, "the engines of old rules are freed", 30*time.Second, func() bool {
		runtime.GC()
		return len(freed) == reloads
	})
}
