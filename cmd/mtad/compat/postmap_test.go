package compat

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mtad/config"
)

// does runs a command with input; exit codes besides 0 stand before the output.
func does(t *testing.T, env *Env, in, name string, args ...string) (out, errs string, code int) {
	t.Helper()
	c, ok := Find(name)
	if !ok {
		t.Fatalf("no command %s", name)
	}
	var stdout, stderr bytes.Buffer
	env.In, env.Out, env.Err = strings.NewReader(in), &stdout, &stderr
	code = c.Run(t.Context(), env, args)
	return stdout.String(), stderr.String(), code
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBesidePostmap has Postfix's own programs do the same.
func TestBesidePostmap(t *testing.T) {
	for _, name := range []string{"/usr/sbin/postmap", "/usr/sbin/postalias"} {
		if _, err := os.Stat(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("compatibility_level = 3.6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	table := file(t, "table", "b two\na one, uno\n")
	list := file(t, "aliases", "root: alice, \"|/bin/cat -n\"\nalice: \\alice, /var/mail/x\n")
	if out, err := exec.Command("/usr/sbin/postalias", "-c", dir, "hash:"+list).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range []struct {
		in, theirs string
		args       []string
	}{
		{"", "texthash:" + table, []string{"postmap", "-q", "a"}}, {"", "texthash:" + table, []string{"postmap", "-q", "none"}}, {"b\nnone\nA\n", "texthash:" + table, []string{"postmap", "-q", "-"}},
		{"none\n", "texthash:" + table, []string{"postmap", "-q", "-"}}, {"", "hash:" + list, []string{"postalias", "-q", "Root"}}, {"", "hash:" + list, []string{"postalias", "-q", "nobody"}},
		{"", "inline:{x=y}", []string{"postmap", "-q", "x"}}, {"", "cidr:" + file(t, "c", "10.0.0.0/8 ten\n"), []string{"postmap", "-q", "10.1.1.1"}},
	} {
		cmd := exec.Command("/usr/sbin/"+c.args[0], append(append([]string{"-c", dir}, c.args[1:]...), c.theirs)...)
		cmd.Stdin = strings.NewReader(c.in)
		want, err := cmd.Output()
		wantCode := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			wantCode = exit.ExitCode()
		}
		got, errs, code := does(t, &Env{}, c.in, c.args[0], append(c.args[1:], c.theirs)...)
		if got != string(want) || code != wantCode || errs != "" {
			t.Errorf("%v %s: %q %s, exit %d; theirs says %q, exit %d", c.args, c.theirs, got, errs, code, want, wantCode)
		}
	}
}

// What is wrong with a file is told with its line.
func TestTablesAreChecked(t *testing.T) {
	bad, twice := file(t, "bad", "a b\n\"open\n"), file(t, "twice", "a b\na c\n")
	list := file(t, "list", "root: alice\nbroken\n")
	env := &Env{Aliases: func(string) ([]string, error) { return []string{"tcp:127.0.0.1:1", "file:" + list}, nil }}
	for _, c := range []struct {
		words string
		code  int
		says  string
	}{
		{"postmap " + bad, 1, "postmap: fatal: table file:" + bad + ": " + bad + ":2: the key's quotes"}, {"postmap hash:" + twice, 0, "postmap: warning: " + twice + ":2: a is there already"},
		{"postmap " + file(t, "good", "a b\n"), 0, ""}, {"postmap /nonexistent/none", 1, "no such file"}, {"postmap", 1, "usage: postmap"}, {"postmap -d a " + twice, 1, "taken out of the file itself"},
		{"postmap mysql:/x", 1, "no such file"}, {"postalias " + list, 1, list + ":2: "}, {"newaliases", 1, list + ":2: "}, {"newaliases x", 1, "usage: newaliases"}, {"postmap -s tcp:127.0.0.1:1", 1, "no rows"},
	} {
		words := strings.Fields(c.words)
		if _, errs, code := does(t, env, "", words[0], words[1:]...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, %q; want %d and %q", c.words, code, errs, c.code, c.says)
		}
	}
	if out, _, code := does(t, env, "", "postmap", "-s", twice); code != 0 || out != "a\tb\na\tc\n" {
		t.Errorf("-s: exit %d %q", code, out)
	}
	if out, _, code := does(t, env, "", "postalias", "-s", file(t, "l", "a: b, \"|c d\"\n")); code != 0 || out != "a\tb, \"|c d\"\n" {
		t.Errorf("-s: exit %d %q", code, out)
	}
}

func TestPostconf(t *testing.T) {
	set := ""
	env := &Env{
		Settings: func(_ string, dovecot bool) ([]config.Setting, error) {
			if dovecot {
				return []config.Setting{{Name: "ssl", Key: "listener.mx.tls", Value: "required", Written: true}}, nil
			}
			return []config.Setting{
				{Name: "message_size_limit", Key: "message_size_limit", Value: "52428800", Default: "52428800"},
				{Name: "myhostname", Key: "hostname", Value: "mx.example.org", Default: "localhost", Written: true}, {Name: "relayhost", Key: "relayhost"},
			}, nil
		},
		Set: func(_, key, value string) error { set += key + "=" + value + ";"; return nil },
	}
	for words, want := range map[string]string{
		"postconf": "message_size_limit = 52428800\nmyhostname = mx.example.org\nrelayhost =\n", "postconf -n": "myhostname = mx.example.org\n", "postconf -d myhostname": "myhostname = localhost\n",
		"postconf -h myhostname": "mx.example.org\n", "postconf relayhost myhostname": "relayhost =\nmyhostname = mx.example.org\n", "doveconf -n": "ssl = required\n", "doveconf -h ssl": "required\n",
	} {
		f := strings.Fields(words)
		if out, errs, code := does(t, env, "", f[0], f[1:]...); out != want || errs != "" || code != 0 {
			t.Errorf("%s: exit %d\n%s%s", words, code, out, errs)
		}
	}
	if out, errs, code := does(t, env, "", "postconf", "nothing"); out != "" || errs != "postconf: warning: nothing: unknown parameter\n" || code != 0 {
		t.Errorf("exit %d %q %q", code, out, errs)
	}
	if _, errs, code := does(t, env, "", "postconf", "-e", "myhostname = a.test", "relayhost=[b.test]:25"); code != 0 || set != "hostname=a.test;relayhost=[b.test]:25;" {
		t.Errorf("exit %d %q %q", code, set, errs)
	}
	for _, bad := range []string{"relayhost", "nothing=x"} {
		if _, _, code := does(t, env, "", "postconf", "-e", bad); code != 1 {
			t.Errorf("-e %s: exit %d", bad, code)
		}
	}
}
