package lookup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/smtp"
)

func open(t *testing.T, spec string) Table {
	t.Helper()
	table, err := Open(spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get is a key's value, "-" if it is not there, "! and the error" if that can not
// be known.
func get(table Table, key string) string {
	value, ok, err := table.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return "! " + err.Error()
	case !ok:
		return "-"
	}
	return value
}

func expect(t *testing.T, table Table, want map[string]string) {
	t.Helper()
	for key, want := range want {
		if got := get(table, key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestFile(t *testing.T) {
	table := open(t, "hash:"+write(t, "t", `# a comment
  # another
alice@example.test	bob,
    carol
Key value with spaces
alone
"key with spaces" value
"a \"b" quoted
"a b"@example.test local
key second
`))
	expect(t, table, map[string]string{
		"alice@example.test": "bob,    carol", "KEY": "value with spaces", "alone": "", "key with spaces": "value", `a "b`: "quoted",
		`"a b"@example.test`: "local", "#": "-", "": "-", "no": "-", "key\x00": "-", strings.Repeat("k", MaxKey+1): "-",
	})
	for text, want := range map[string]string{`"open`: ":1: the key's quotes are not closed", "a b\n\"\" x": ":2: the key is empty"} {
		if _, err := Open("file:"+write(t, "bad", text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestChange: a file that changes is read again; one that becomes bad, or goes,
// leaves what was there.
func TestChange(t *testing.T) {
	now := time.Unix(1000, 0)
	path := write(t, "t", "/a/ one\n")
	table, err := Open("regexp:"+path, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string, after time.Duration) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(after)
	}
	for _, c := range []struct {
		text  string
		after time.Duration
		want  string
	}{
		{"/a/ one, two\n", every / 2, "one"}, {"/a/ three, four\n", every, "three, four"}, {"/a\n", every, "three, four"}, {"/a/ five\n", every, "five"},
		{strings.Repeat("#", 100) + "\n/a/ six\n", -time.Hour, "six"}, // a clock that is set back
	} {
		change(c.text, c.after)
		if got := get(table, "a"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if got := get(table, "a"); got != "six" {
		t.Errorf("without its file: %q", got)
	}
}

func TestPatterns(t *testing.T) {
	table := open(t, "regexp:"+write(t, "t", `
/^(.*)@old\.test$/      ${1}@new.test
/^CASE@x$/i             exact
!/@/                    no at sign, $$1
if /@lists\.test$/
/^owner-(.*)@/          $(1)
if !/^all/
/^.+@/                  members
endif
/^all@/                 everybody
endif
=eq\=als@=              equals
/(x|xy)(z|yz)?@l$/      $1-$2
`))
	expect(t, table, map[string]string{
		"Bob@OLD.test": "Bob@new.test", "CASE@x": "exact", "case@x": "-", "word": "no at sign, $1", "owner-x@lists.test": "x", "some@lists.test": "members",
		"all@lists.test": "everybody", "eq=als@": "equals", "xyz@l": "x-yz", "@other": "-",
	})
	if !table.Whole() {
		t.Error("parts of addresses would be asked for")
	}
	perl := open(t, "pcre:"+write(t, "p", "/^(?<n>\\d+)@/ number $1\n/^a.b$/s dotall\n/^x(a+?)/U lazy $1\n/b/A first\n"))
	expect(t, perl, map[string]string{"12@x": "number 12", "a\nb": "-", "axb": "dotall", "bx": "first", "xb": "-"})
	if _, err := Open("pcre:"+write(t, "bad", "/(?=x)/ v"), Options{}); err == nil || !strings.Contains(err.Error(), "look-around") {
		t.Errorf("look-ahead: %v", err)
	}
	for text, want := range map[string]string{
		"/a":              ":1: \"/a\": the pattern has no closing /",
		"/(/ x":           "missing closing )",
		"/a/ $1":          "has 0 parts",
		"/a/ $":           "written $$",
		"/a/":             "value is missing",
		"if /a/\n/b/ c":   "1 if without endif",
		"/a/ b\nendif":    ":2: endif without if",
		"/a/k x":          "unknown flag",
		"plain x":         "between delimiters",
		"/a/x v":          "basic expressions",
		"if /a/ b\nendif": "behind the pattern",
		"!/(a)/ $1":       "has 0 parts",
		"endif x":         "behind endif",
	} {
		if _, err := Open("regexp:"+write(t, "bad", text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestCIDR(t *testing.T) {
	table := open(t, "cidr:"+write(t, "t", `
192.0.2.1          one
192.0.2.0/24       net $1
if 2001:db8::/32
!2001:db8:1::/48   not one
endif
[2001:db8::]/32    six
::/0               rest
`))
	expect(t, table, map[string]string{
		"192.0.2.1": "one", "192.0.2.200": "net $1", "192.0.3.1": "-", "2001:db8:1::1": "six", "2001:db8:2::1": "not one", "[2001:db8:1::9]": "six",
		"::ffff:192.0.2.1": "one", "fe80::1": "rest", "host.test": "-",
	})
	for text, want := range map[string]string{"10.0.0.1/8 x": "want 10.0.0.0/8", "300.0.0.0/8 x": "is no network", "10.0.0.0/8": "value is missing"} {
		if _, err := Open("cidr:"+write(t, "bad", text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSimple(t *testing.T) {
	expect(t, open(t, "inline:{ a=b, C=d, { e f = g, h i } , x=}"), map[string]string{"A": "b", "e f": "g, h i", "x": "", "c": "d", "d": "-"})
	expect(t, open(t, "static:{some text}"), map[string]string{"any": "some text"})
	expect(t, open(t, "unix:passwd.byname"), map[string]string{"root@x": "-", "no-such-user-here": "-"})
	if got := get(open(t, "unix:passwd.byname"), "root"); !strings.HasPrefix(got, "root:x:0:0:") {
		t.Error(got)
	}
	if got := get(open(t, "unix:group.byname"), "root"); !strings.HasPrefix(got, "root:x:0:") {
		t.Error(got)
	}
	for spec, want := range map[string]string{
		"nothing": "is no table", "what:ever": "is no table", "mysql:/x": "is not to be had", "file:": "names no table", "inline:a=b": "want {key=value",
		"inline:{a}": "no key=value", "inline:{ {a=b }": "no closing }", "unix:shadow": "there are passwd.byname", "file:/nonexistent/x": "no such file", "file:/": "no plain file",
		"tcp:localhost": "no address", "socketmap:inet:x:y": "no address", "socketmap:unix:/x": "no address",
	} {
		if _, err := Open(spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

// TestFind asks all tables for one key before the next, and patterns for whole
// keys alone.
func TestFind(t *testing.T) {
	ts := Tables{open(t, "inline:{ b=first, @x=domain }"), open(t, "static:any"), open(t, "inline:{ a=second }")}
	for _, c := range []struct {
		keys []string
		want string
	}{{[]string{"a", "b"}, "a any"}, {[]string{"b"}, "b first"}} {
		value, key, ok, err := ts.Find(t.Context(), c.keys...)
		if got := key + " " + value; err != nil || !ok || got != c.want {
			t.Errorf("%v: %q, %v, %v", c.keys, got, ok, err)
		}
	}
	value, key, ok, err := Tables{ts[0], ts[2]}.Find(t.Context(), "u@x", "u", "@x")
	if err != nil || !ok || key != "@x" || value != "domain" {
		t.Errorf("%q %q %v %v", key, value, ok, err)
	}
	if _, _, ok, err := (Tables{open(t, "regexp:"+write(t, "p", "/^@x$/ no\n"))}).Find(t.Context(), "u@x", "@x"); ok || err != nil {
		t.Errorf("a pattern was asked for a part: %v, %v", ok, err)
	}
}

func TestStatement(t *testing.T) {
	mark := func(n int) string { return "?" + string(rune('0'+n)) }
	for text, want := range map[string]string{
		"SELECT a FROM b WHERE c = '%s'":                        "SELECT a FROM b WHERE c = ?1",
		"SELECT '%u-%d', 'it''s', 5%%2 WHERE x LIKE '%%%s%%'":   "SELECT ?1, 'it''s', 5%2 WHERE x LIKE ?2",
		`SELECT "odd col"::text FROM t WHERE d='%d' AND u='%1'`: `SELECT "odd col"::text FROM t WHERE d=?1 AND u=?2`,
	} {
		s, err := parseStatement(text, mark)
		if err != nil || s.sql != want {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
	for text, want := range map[string]string{
		"SELECT %s": "must stand in quotes", "SELECT '%s": "not closed", `SELECT "%s"`: "a name can not", "SELECT '%z'": "there are %s", "SELECT ?1": "parameters are not", "SELECT $1": "parameters are not",
		"SELECT :a": "parameters are not", " ": "empty", "SELECT 'x%'": "written %%",
	} {
		if _, err := parseStatement(text, mark); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	s, err := parseStatement("'%s' '%u' '%d' '%1' '%2'", mark)
	if err != nil {
		t.Fatal(err)
	}
	args, ok := s.arguments(splitKey("Jo@mail.Example.test"))
	if want := []any{"Jo@mail.Example.test", "Jo", "mail.Example.test", "test", "Example"}; !ok || len(args) != 5 || args[3] != want[3] || args[4] != want[4] || args[2] != want[2] {
		t.Errorf("%v, %v", args, ok)
	}
	for _, key := range []string{"jo", "jo@", "@test", "jo@test"} {
		if args, ok := s.arguments(splitKey(key)); ok {
			t.Errorf("%s: %v", key, args)
		}
	}
}

func TestResults(t *testing.T) {
	p := &params{values: map[string]string{"result_format": "%u+%U@%d %S", "domain": "a.test b.test", "expansion_limit": "2"}, asked: map[string]bool{}}
	r := p.results()
	if err := p.err(); err != nil {
		t.Fatal(err)
	}
	in := splitKey("key@a.test")
	value, ok, err := r.join(in, []string{"x@y", "", "nodomain", "z@w"})
	if value != "x+key@y key@a.test,z+key@w key@a.test" || !ok || err != nil {
		t.Errorf("%q, %v, %v", value, ok, err)
	}
	if _, _, err := r.join(in, []string{"a@a", "b@b", "c@c"}); !errors.Is(err, errTooMany) {
		t.Errorf("over the limit: %v", err)
	}
	for key, want := range map[string]bool{"x@A.test": true, "x@c.test": false, "@a.test": false, "x": false} {
		if r.eligible(splitKey(key)) != want {
			t.Errorf("%s: %v", key, !want)
		}
	}
}

// TestAddress: the parts of an address in their order, and the detail that a key
// did not have, also where the same letters stand in the key.
func TestAddress(t *testing.T) {
	ts := Tables{open(t, "inline:{ {alice@a.test = bob@b.test}, {alice+al@a.test = exact@b.test}, {root = admin@b.test}, {@c.test = @d.test}, {owner-x@a.test = o@b.test}, {full@a.test = f+g@b.test} }")}
	for text, want := range map[string]string{
		"alice@a.test": "bob@b.test", "alice+ice@A.test": "bob+ice@b.test", "alice+al@a.test": "exact@b.test", "root+x@a.test": "admin+x@b.test", "any+y@c.test": "any+y@d.test",
		"owner-x@a.test": "o@b.test", "full+h@a.test": "f+g@b.test", "nobody@a.test": "-",
	} {
		a, err := smtp.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		hit, ok, err := ts.FindAddress(t.Context(), a, AddressQuery{Separator: "+-", Name: true, Domain: true})
		got := "-"
		if ok {
			to, aerr := hit.Address(hit.Value)
			got, err = to.String(), aerr
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	if keys := (AddressQuery{Separator: "+"}).Keys(smtp.Address{Local: "postmaster"}); len(keys) != 1 || keys[0] != "postmaster" {
		t.Errorf("a name without a domain: %q", keys)
	}
}
