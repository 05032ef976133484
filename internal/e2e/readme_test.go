//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
)

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks are the fenced texts of a Markdown page that have one language.
func blocks(page, language string) (out []string) {
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	return out
}

// blockWith is the first block that has a text.
func blockWith(t *testing.T, all []string, text string) string {
	t.Helper()
	for _, b := range all {
		if strings.Contains(b, text) {
			return b
		}
	}
	t.Fatalf("README.md has no block with %q", text)
	return ""
}

var (
	masks = []struct {
		re *regexp.Regexp
		to string
	}{
		{regexp.MustCompile(`(?m)^[0-9a-z]{10,}  \w{3} .*$`), "ID  DATE"},
		{regexp.MustCompile(`\[[0-9a-z]{10,}\]`), "[ID]"},
		{regexp.MustCompile(`\(<?[0-9.]+ (µs|ms|s)\)`), "(T)"},
		{regexp.MustCompile(`(?m)^ *(\+[0-9.]+ (µs|ms|s)|0)  `), "T  "},
		{regexp.MustCompile(`\bp=[A-Za-z0-9+/]{40,}=*`), "p=KEY"},
		{regexp.MustCompile(`(192\.0\.2\.10):\d+`), "$1:PORT"},
	}
	userCommand = regexp.MustCompile(`(\./mtad|curl) .*`)
)

// mask replaces what differs between two runs.
func mask(s string) string {
	for _, m := range masks {
		s = m.re.ReplaceAllString(s, m.to)
	}
	return s
}

// The first minute, as README.md has it: the screen of dev mode is the one that
// is shown there, and its commands do what it says. Only the ports are others.
func TestREADME(t *testing.T) {
	t.Parallel()
	curl := program(t, "curl")
	page := read(t, filepath.Join(root, "README.md"))
	first := blockWith(t, blocks(page, "sh"), "serve --dev")
	if first != "go build ./cmd/mtad && ./mtad serve --dev\n" {
		t.Errorf("the first command is %q", first)
	}
	screen := blockWith(t, blocks(page, ""), "mtad runs.")
	trace := blockWith(t, blocks(page, ""), "stored in INBOX")

	dir, is := mtatest.OpenDir(t), mtatest.DevPorts(t)
	check(t, os.Symlink(mtadPath, filepath.Join(dir, "mtad")))
	was := mtatest.PortsFrom(10000)
	ports := strings.NewReplacer(
		fmt.Sprint(was.SMTP), fmt.Sprint(is.SMTP), fmt.Sprint(was.Submission), fmt.Sprint(is.Submission),
		fmt.Sprint(was.Submissions), fmt.Sprint(is.Submissions), fmt.Sprint(was.IMAP), fmt.Sprint(is.IMAP),
		fmt.Sprint(was.IMAPS), fmt.Sprint(is.IMAPS), fmt.Sprint(was.ManageSieve), fmt.Sprint(is.ManageSieve),
		fmt.Sprint(was.HTTP), fmt.Sprint(is.HTTP))
	screen = strings.TrimSpace(ports.Replace(screen))
	p := spawn(t, dir, "./mtad", "serve", "--dev", "--base-port", fmt.Sprint(is.Base))
	p.Await(t, "msg=serving")
	if !strings.Contains(p.Out.String(), screen) {
		t.Fatalf("the screen is\n%s\nREADME.md has\n%s", p.Out, screen)
	}
	var commands []string
	for _, line := range strings.Split(screen, "\n") {
		if c := userCommand.FindString(line); c != "" {
			commands = append(commands, strings.Replace(c, "curl ", curl+" ", 1))
		}
	}
	if len(commands) != 6 {
		t.Fatalf("commands: %q", commands)
	}
	want := []struct {
		code int
		text string
	}{
		{0, "250 2.0.0 Ok"},
		{0, "stored in INBOX as UID 1"},
		{0, "Subject: A good mail"},
		{1, "550 5.7.23 SPF: boss@forged.test may not be sent from 203.0.113.5"},
		{0, "250 2.0.0 Ok"},
		{0, "stored in Invoices"},
	}
	for i, c := range commands {
		if i == 4 {
			rules := filepath.Join(dir, "mtad-dev/rules/sort.lua")
			write(t, rules, strings.ReplaceAll(read(t, rules), "  -- if", "  if"))
		}
		out, code := run(t, "", dir, "/bin/sh", "-c", c)
		// Storing comes after the reply: a story that is asked for at once may
		// lack its end.
		for end := time.Now().Add(time.Minute); strings.Contains(c, "trace") && !strings.Contains(out, want[i].text) && time.Now().Before(end); {
			out, code = run(t, "", dir, "/bin/sh", "-c", c)
		}
		if code != want[i].code || !strings.Contains(out, want[i].text) {
			t.Errorf("%s\nexit %d, want %d and %q\n%s", c, code, want[i].code, want[i].text, out)
		}
		if i == 1 && mask(out) != mask(trace) {
			t.Errorf("mtad trace last says\n%s\nREADME.md has\n%s", out, trace)
		}
	}
}

// Every command that README.md names is there.
func TestREADMECommands(t *testing.T) {
	t.Parallel()
	page := read(t, filepath.Join(root, "README.md"))
	block := blockWith(t, blocks(page, ""), "mtad status | reload")
	n := 0
	for _, line := range strings.Split(block, "\n") {
		for _, column := range regexp.MustCompile(`\bmtad ([^m].*?)(?:  +|$)`).FindAllStringSubmatch(line, -1) {
			for _, words := range alternatives(column[1]) {
				n++
				out, err := exec.Command(mtadPath, append(words, "--help")...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "mtad "+strings.Join(words, " ")) {
					t.Errorf("mtad %s: %v\n%s", strings.Join(words, " "), err, out)
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d commands found", n)
	}
}

// alternatives are the commands that "queue list | show" stands for.
func alternatives(s string) (out [][]string) {
	var noun []string
	for i, alt := range strings.Split(s, "|") {
		var words []string
		for _, w := range strings.Fields(alt) {
			if strings.ToLower(w) != w || strings.HasPrefix(w, "-") || w == "..." || strings.Contains(w, "@") {
				break // an argument
			}
			words = append(words, w)
		}
		if i == 0 && len(words) > 1 {
			noun = words[:1]
		} else if i > 0 && len(noun) > 0 {
			words = append(append([]string(nil), noun...), words...)
		}
		out = append(out, words)
	}
	if strings.HasPrefix(s, "domain | user | alias ") { // nouns with one verb
		return [][]string{{"domain", "add"}, {"user", "add"}, {"alias", "add"}}
	}
	return out
}
