package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/spam"
)

// TestSpamCheckFaults: what is wrong with rules that are named is told of, some of it, and
// is the exit code where the verdict is none.
func TestSpamCheckFaults(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const rules = "body MONEY /money/\nscore MONEY 7\n"
	for _, c := range []struct {
		name, rules, prefs, body, errs string
		code                           int
	}{
		{"fine", rules, "", "hello", "", 0},
		{"spam", rules + "bogus\n", "", "money", "spam:3: bogus is no setting", exitNo},
		{"line", rules + "bogus\n", "", "hello", "line:3: bogus is no setting that SpamAssassin 4.0 has\nmtad: the rules have faults: 1\n", exitData},
		{"function", rules + "header X eval:nothing_like_it()\n", "", "hello", "function:3: X: can not run: the function nothing_like_it is not offered", exitData},
		{"preferences", rules, "score\n", "hello", "prefs:1: ", exitData},
		{"many", rules + strings.Repeat("x", 1) + strings.Repeat("\nx", 99), "", "hello", "and 90 more: `mtad spam rules --lint`", exitData},
		{"binary", "\x7fELF\x00", "", "hello", "binary: this is no file of rules", exitData},
		{"settings", "required_score 4\n", "", "hello", "there are no rules in " + dir + "/settings: every message would score 0", exitData},
		{"circle", rules + "bogus\ninclude circle\n", "", "hello", "circle:3: bogus is no setting that SpamAssassin 4.0 has\n" + dir + "/circle:4: " + dir + "/circle includes itself: take the line out\nmtad: the rules have faults: 2\n", exitData},
	} {
		args := []string{"spam", "check", "--rules", file(c.name, c.rules), "-"}
		if c.prefs != "" {
			args = append(args, "--prefs", file("prefs", c.prefs))
		}
		_, errs, code := runMtad("Subject: x\n\n"+c.body+"\n", args...)
		if code != c.code || !strings.Contains(errs, c.errs) || strings.Count(errs, "\n") > maxFaults+2 || c.errs == "" && errs != "" {
			t.Errorf("%s: exit %d, %q; want %d, %q", c.name, code, errs, c.code, c.errs)
		}
	}
}

// TestSpamCheckCut: what of a message was cut short is told of, with and without -o.
func TestSpamCheckCut(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "10.cf")
	check(t, os.WriteFile(rules, []byte("body X /x/\n"), 0o600))
	text := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 1001) + "--b--\n"
	const cut = "parts: 1000 of a multipart"
	if out, _, code := runMtad(text, "spam", "check", "--rules", rules, "-"); code != 0 || !strings.Contains(out, "\nunknown is what was cut short: "+cut+"\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	out, _, _ := runMtad(text, "spam", "check", "--rules", rules, "-o", "json", "-")
	var got []spamVerdict
	if err := json.Unmarshal([]byte(out), &got); err != nil || fmt.Sprint(got[0].Cut) != "["+cut+"]" {
		t.Errorf("%v: %s", err, out)
	}
	if out, _, _ := runMtad("Subject: x\n\nx\n", "spam", "check", "--rules", rules, "-o", "json", "-"); strings.Contains(out, "cut") {
		t.Error(out)
	}
}

// TestConfigCheckRules: what is wrong in the site's own rules is a warning of `mtad config check`
// and `mtad check`, told once however many filters have them; what is wrong in SpamAssassin's is not.
func TestConfigCheckRules(t *testing.T) {
	dir := t.TempDir()
	const head = "hostname = \"mx.example.test\"\npostmaster = \"a@example.test\"\n"
	path, rules, other := filepath.Join(dir, "mtad.hcl"), filepath.Join(dir, "local.cf"), filepath.Join(dir, "other.cf")
	check(t, os.WriteFile(rules, []byte("body MONEY /money/\nshortcircuit MONEY on\nheader X eval:nothing_like_it()\nmeta M MONEY / NONE\n"), 0o600))
	check(t, os.WriteFile(other, []byte("body OTHER /x/\n"+strings.Repeat("bogus\n", 20)), 0o600))
	pipe := func(name, filters string) string { return fmt.Sprintf("pipeline %q {\n%s}\n", name, filters) }
	filter := func(name, mode string, files ...string) string {
		return fmt.Sprintf("  filter \"spamscore\" %q {\n    mode = %q\n    rules = [\"%s\"]\n  }\n", name, mode, strings.Join(files, `", "`))
	}
	warning := func(line int, text string) string { return fmt.Sprintf("warning: %s:%d: %s", rules, line, text) }
	for _, c := range []struct {
		text, last string
		warnings   int
	}{
		{pipe("inbound", filter("rules", "enforce", rules)) + pipe("outbound", filter("rules", "shadow", rules)), warning(4, "M: it divides by zero"), 3},
		{pipe("inbound", filter("rules", "off", rules)), "", 0},
		{pipe("inbound", filter("many", "enforce", other)), fmt.Sprintf("warning: 10 more in the rules of filter \"many\" in pipeline \"inbound\": `mtad spam rules --lint --net --rules %s` tells of all\n", other), maxFaults + 1},
	} {
		check(t, os.WriteFile(path, []byte(head+c.text), 0o600))
		out, errs, code := runMtad("", "config", "check", "-c", path)
		if code != 0 || out != path+" is good\n" || strings.Count(errs, "warning: ") != c.warnings || strings.Count(errs, "\n") != c.warnings || !strings.Contains(errs, c.last) {
			t.Errorf("%s: exit %d, %q, %q", c.text, code, out, errs)
		}
		out, _, _ = runMtad("", "check", "-c", path, "-o", "json")
		if strings.Count(out, `"area": "rules"`) != c.warnings {
			t.Errorf("%s: mtad check: %s", c.text, out)
		}
	}
	for file, own := range map[string]bool{"/usr/share/spamassassin/72_active.cf": false, "/var/lib/spamassassin/4.000001/updates_spamassassin_org/72_active.cf": false, "builtin:10_mtad.cf": false,
		"/etc/spamassassin/local.cf": true, "/usr/share/spamassassin-own/x.cf": true} {
		if spam.Own(file) != own {
			t.Errorf("%s is the site's: not %v", file, own)
		}
	}
}
