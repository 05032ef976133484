package lookup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is a peer's path; the test is skipped without it.
func program(t *testing.T, places ...string) string {
	t.Helper()
	for _, p := range places {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", filepath.Base(places[0]))
	return ""
}

// postmap is Postfix's own view of tables.
type postmap struct{ program, config string }

func newPostmap(t *testing.T) postmap {
	p := postmap{program(t, "postmap", "/usr/sbin/postmap"), t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.config, "main.cf"), []byte("compatibility_level = 3.6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// query asks for a key: the value, "-" if it is not there, "!" if that can not be
// known.
func (p postmap) query(t *testing.T, spec, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.program, "-c", p.config, "-q", key, spec).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "fatal:"):
		return "!"
	case errors.As(err, &exit):
		return "-"
	case err != nil:
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// all asks for many keys in one run, where none of them fails.
func (p postmap) all(t *testing.T, spec string, keys []string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, "-c", p.config, "-q", "-", spec)
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	out := map[string]string{}
	text, err := cmd.Output()
	var exit *exec.ExitError
	failed := errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "fatal:")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		out[key] = value
	}
	var mu sync.Mutex
	var asking sync.WaitGroup // it sleeps for a second before it gives up
	for _, key := range keys {
		mu.Lock()
		_, ok := out[key]
		mu.Unlock()
		switch {
		case !ok && (failed || strings.Contains(key, "\n")):
			asking.Go(func() {
				value := p.query(t, spec, key)
				mu.Lock()
				defer mu.Unlock()
				out[key] = value
			})
		case !ok:
			mu.Lock()
			out[key] = "-"
			mu.Unlock()
		}
	}
	asking.Wait()
	return out
}

// agree compares our answers with postmap's, which knows the table as theirs.
func agree(t *testing.T, p postmap, theirs, ours string, keys []string) {
	t.Helper()
	table := open(t, ours)
	found, all := 0, p.all(t, theirs, keys)
	for _, key := range keys {
		want, got := all[key], get(table, key)
		if strings.HasPrefix(got, "!") {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %q: %q, postmap has %q (we say %s)", ours, key, got, want, get(table, key))
		}
		if got != "-" && got != "!" {
			found++
		}
	}
	if found == 0 || found == len(keys) && len(keys) > 1 {
		t.Errorf("%s: %d of %d keys were found: that compares little", ours, found, len(keys))
	}
}

func TestAgainstPostmap(t *testing.T) {
	t.Parallel()
	p := newPostmap(t)
	file := write(t, "virtual", "# c\nalice@a.test  bob,\n  carol\n\n \t \nUPPER@A.test\tx  y\n  # in between\n  z\n@a.test rest\n\"with space\" v\n\"q\\\"uote\" w\nalice@a.test second\n")
	agree(t, p, "texthash:"+file, "file:"+file, []string{"alice@a.test", "ALICE@A.TEST", "upper@a.test", "@a.test", "nobody@a.test", "#", "z"})
	regex := write(t, "regexp", `
/^([^@+]*)\+?([^@]*)@(old|older)\.test$/   $1@new.test, ${2}x $(3) $$
/^Case@/i      exact
!/@/           word
if /\.lists$/
if !/^owner/
/^(.*)@(.*)\.lists$/   list $1 at $2
endif
/^owner-(.*)@/   owner of $1
endif
/[[:digit:]]{3,}/  digits
/^a(b|bc)(c|cd)*$/ nothing
/x\/y@/        slash
%a/b@%         other delimiter
/^$/           empty
/=.*@/ equals = sign
`)
	agree(t, p, "regexp:"+regex, "regexp:"+regex, []string{
		"joe@old.test", "JOE+d@OLDER.test", "Case@x", "case@x", "word", "u@some.lists", "owner-u@some.lists", "n1234@x", "n12@x", "x/y@z", "a/b@c", "a=b@c", "none@z", "u@old.tests",
	})
	cidr := write(t, "cidr", "10.1.2.3 one\n10.0.0.0/8 ten $1\nif 2001:db8::/32\n2001:db8:1::/48 a\n!2001:db8:2::/48 b\nendif\n!192.0.0.0/8  not 192\n::1 six\n")
	agree(t, p, "cidr:"+cidr, "cidr:"+cidr, []string{"10.1.2.3", "10.1.2.4", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "::1", "192.0.2.1", "127.0.0.1"})
	inline := "inline:{ a=b, {c = d e}, {f = }, {k=x=y} }"
	agree(t, p, inline, inline, []string{"a", "A", "c", "k", "e"})
}

// TestSQLite asks a database that the sqlite3 shell made.
func TestSQLite(t *testing.T) {
	t.Parallel()
	shell := program(t, "sqlite3")
	p := newPostmap(t)
	db := filepath.Join(t.TempDir(), "odd ?mode=rwc#name.db")
	sql := `CREATE TABLE alias (address TEXT, goto TEXT, active INTEGER);
INSERT INTO alias VALUES ('alice@a.test','bob@a.test',1),('alice@a.test','carol@b.test',1),('off@a.test','x',0),('it''s@a.test','quote',1),('%@a.test','percent',1),('null@a.test',NULL,1);`
	if out, err := exec.Command(shell, db, sql).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keys := []string{"alice@a.test", "off@a.test", "it's@a.test", "%@a.test", "null@a.test", "x' OR '1'='1", `a\'; DROP TABLE alias; --@a.test`, "alice@c.test", "alice"}
	for name, settings := range map[string]string{
		"plain":  "query = SELECT goto FROM alias WHERE address = '%s' AND active = 1 ORDER BY goto",
		"parts":  "query = SELECT goto, active FROM alias WHERE address = '%u@%d' AND '%1' = 'test'\nresult_format = %u at %D\nexpansion_limit = 5",
		"domain": "query = SELECT goto FROM alias WHERE address LIKE '%%%u%%'\ndomain = a.test, b.test",
		"limit":  "query = SELECT goto FROM alias WHERE address = '%s'\nexpansion_limit = 1",
		"old":    "table = alias\nselect_field = goto\nwhere_field = address\nadditional_conditions = AND active = 1",
	} {
		cf := write(t, name, "dbpath = "+db+"\n"+settings+"\n")
		agree(t, p, "sqlite:"+cf, "sqlite:"+cf, keys)
	}
	table := open(t, "sqlite:"+write(t, "w", "dbpath = "+db+"\nquery = DELETE FROM alias WHERE address <> '%s'\n"))
	if got := get(table, "x@y"); !strings.HasPrefix(got, "!") {
		t.Errorf("a query that writes: %q", got)
	}
	agree(t, p, "sqlite:"+write(t, "again", "dbpath = "+db+"\nquery = SELECT goto FROM alias WHERE address = '%s'"), "sqlite:"+write(t, "again2", "dbpath = "+db+"\nquery = SELECT goto FROM alias WHERE address = '%s'"), []string{"alice@a.test", "no"})
	for text, want := range map[string]string{
		"query = SELECT 1": "dbpath is missing", "dbpath = /x": "query is missing", "dbpath = /x\nquery = SELECT %s": ":2: query: ", "dbpath = /x\nquery = a\nhosts = b": ":3: unknown setting \"hosts\"",
		"no equals sign": ":1: want name = value", "dbpath = /x\nquery = a\nexpansion_limit = many": ":3: expansion_limit", "dbpath=/x\nquery=a\nresult_format=%z": ":3: result_format",
	} {
		if _, err := Open("sqlite:"+write(t, "bad", text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// as runs a command as another user, if it must be one that is not root.
func as(t *testing.T, name string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		return cmd
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("no user %s", name)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: number(t, u.Uid), Gid: number(t, u.Gid)}}
	return cmd
}

func number(t *testing.T, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// room is a directory that another user can work in.
func room(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtad-lookup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		u, err := user.Lookup(name)
		if err != nil {
			t.Skipf("no user %s", name)
		}
		if err := os.Chown(dir, int(number(t, u.Uid)), int(number(t, u.Gid))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// port is a port of loopback that is free.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, p, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve runs a server until the test ends, and waits until it answers.
func serve(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	deadline := time.Now().Add(time.Minute)
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v: %s", cmd.Path, err, out)
		case <-time.After(20 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %s", cmd.Path, out)
		}
	}
}

// TestPostgreSQL asks a server of Debian's.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	initdb := program(t, "initdb", "/usr/lib/postgresql/15/bin/initdb")
	p := newPostmap(t)
	bin := filepath.Dir(initdb)
	if real, err := filepath.EvalSymlinks(initdb); err == nil {
		bin = filepath.Dir(real)
	}
	dir := room(t, "postgres")
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("top secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := as(t, "postgres", exec.Command(initdb, "-D", filepath.Join(dir, "data"), "-A", "scram-sha-256", "-U", "boss", "--pwfile", filepath.Join(dir, "password"), "-E", "UTF8", "--locale", "C", "-N"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	at := port(t)
	cmd = as(t, "postgres", exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-p", at, "-k", dir, "-h", "127.0.0.1", "-F"))
	cmd.Dir = dir
	serve(t, cmd, "127.0.0.1:"+at)
	sql := `CREATE DATABASE mail; `
	run := func(db, sql string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "psql"), "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", at, "-U", "boss", "-d", db, "-c", sql)
		cmd.Env = append(os.Environ(), "PGPASSWORD=top secret")
		out, err := cmd.CombinedOutput()
		for i := 0; err != nil && strings.Contains(string(out), "starting up") && i < 100; i++ {
			time.Sleep(100 * time.Millisecond) // it answers before it is ready, and says so
			cmd = exec.Command(cmd.Path, cmd.Args[1:]...)
			cmd.Env = append(os.Environ(), "PGPASSWORD=top secret")
			out, err = cmd.CombinedOutput()
		}
		if err != nil {
			t.Fatalf("psql: %v: %s", err, out)
		}
	}
	run("postgres", sql)
	run("mail", `CREATE TABLE alias (id int, address varchar(200), goto text, active boolean);
INSERT INTO alias VALUES (1,'alice@a.test','bob@a.test',true),(2,'alice@a.test','carol@b.test',true),(3,'off@a.test','x',false),(4,'it''s@a.test','quote',true),(5,'back\slash@a.test','back',true),(6,'null@a.test',NULL,true),(7,'müller@a.test','umlaut',true);
CREATE FUNCTION find(text) RETURNS SETOF text AS 'SELECT goto FROM alias WHERE address = $1 ORDER BY id' LANGUAGE SQL;`)
	login := "hosts = 127.0.0.1:1 127.0.0.1:" + at + "\nuser = boss\npassword = top secret\ndbname = mail\n"
	keys := []string{
		"alice@a.test", "off@a.test", "it's@a.test", `back\slash@a.test`, "null@a.test", "x' OR '1'='1", `a\'; DROP TABLE alias; --@a.test`, "alice@c.test", "alice", "alice@a.test\xff",
	}
	for name, settings := range map[string]string{
		"plain":    "query = SELECT goto FROM alias WHERE address = '%s' AND active ORDER BY id",
		"parts":    "query = SELECT id, goto FROM alias WHERE address = '%u@%d' AND '%1' = 'test' ORDER BY id\nresult_format = %s of %U",
		"domain":   "query = SELECT goto FROM alias WHERE address LIKE '%%%u%%' ORDER BY id\ndomain = a.test, b.test",
		"function": "select_function = find",
		"numbers":  "query = SELECT id FROM alias WHERE address = '%s' ORDER BY id",
		"old":      "table = alias\nselect_field = goto\nwhere_field = address\nadditional_conditions = AND active ORDER BY id",
	} {
		cf := write(t, name, login+settings+"\n")
		agree(t, p, "pgsql:"+cf, "pgsql:"+cf, keys)
	}
	socket := "hosts = unix:" + dir + "/.s.PGSQL." + at + "\nuser = boss\npassword = top secret\ndbname = mail\nquery = SELECT goto FROM alias WHERE address = '%s'"
	expect(t, open(t, "pgsql:"+write(t, "socket", socket)), map[string]string{"it's@a.test": "quote", "no": "-", "müller@a.test": "umlaut"})
	uri := "hosts = postgresql://boss:top%20secret@127.0.0.1:" + at + "/mail\nquery = SELECT goto FROM alias WHERE address = '%s'"
	expect(t, open(t, "pgsql:"+write(t, "uri", uri)), map[string]string{"it's@a.test": "quote", "no": "-"})
	for what, text := range map[string]string{
		"a wrong password":     strings.Replace(login, "top secret", "wrong", 1) + "query = SELECT '%s'",
		"a table that is none": login + "query = SELECT x FROM nothing WHERE a = '%s'",
		"a query that writes":  login + "query = DELETE FROM alias WHERE address <> '%s'",
		"a slow query":         login + "query = SELECT pg_sleep(100)::text || '%s'",
	} {
		table := open(t, "pgsql:"+write(t, "bad", text))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if value, ok, err := table.Lookup(ctx, "x@a.test"); err == nil || ok {
			t.Errorf("%s: %q", what, value)
		}
		cancel()
	}
	asked := open(t, "pgsql:"+write(t, "first", login+"query = SELECT '%s'"))
	if got := get(asked, "x@a.test"); got != "x@a.test" || asked.(named).Table.(*pgsql).begin(-1) != 1 {
		t.Errorf("%s; the host that is down would be asked first again", got)
	}
	table := open(t, "pgsql:"+write(t, "many", login+"query = SELECT goto FROM alias WHERE address = '%s' ORDER BY id"))
	var askers sync.WaitGroup
	for range 20 {
		askers.Go(func() {
			if got := get(table, "alice@a.test"); got != "bob@a.test,carol@b.test" {
				t.Error(got)
			}
		})
	}
	askers.Wait()
	run("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mtad'")
	if got := get(table, "alice@a.test"); got != "bob@a.test,carol@b.test" {
		t.Errorf("after the server dropped the connections: %s", got)
	}
}

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
database mdb
suffix "dc=a,dc=test"
rootdn "cn=boss,dc=a,dc=test"
rootpw secret
directory %[1]s
access to attrs=userPassword by * auth
access to * by users read by anonymous auth
`

const people = `dn: dc=a,dc=test
objectClass: domain
dc: a

dn: cn=alice,dc=a,dc=test
objectClass: inetOrgPerson
cn: alice
sn: A
mail: alice@a.test
mail: ally@a.test
employeeType: bob@b.test
employeeType: carol@b.test

dn: cn=star,dc=a,dc=test
objectClass: inetOrgPerson
cn: star
sn: star
mail: *(x)\@a.test
employeeType: star@b.test

dn: cn=bob,dc=a,dc=test
objectClass: inetOrgPerson
cn: bob
sn: B
mail: bob@a.test

dn: cn=team,dc=a,dc=test
objectClass: groupOfNames
cn: team
member: cn=alice,dc=a,dc=test
member: cn=bob,dc=a,dc=test

dn: cn=circle,dc=a,dc=test
objectClass: groupOfNames
cn: circle
member: cn=bob,dc=a,dc=test
member: cn=circle,dc=a,dc=test

dn: cn=all,dc=a,dc=test
objectClass: groupOfURLs
objectClass: top
cn: all
memberURL: ldap:///dc=a,dc=test??sub?(sn=B)
`

// TestLDAP asks OpenLDAP's server.
func TestLDAP(t *testing.T) {
	t.Parallel()
	slapd := program(t, "slapd", "/usr/sbin/slapd")
	p := newPostmap(t)
	dir := t.TempDir()
	text := fmt.Sprintf(slapdConf, dir)
	entries := people[:strings.Index(people, "dn: cn=all")]
	if _, err := os.Stat("/etc/ldap/schema/dyngroup.schema"); err == nil {
		text, entries = "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/dyngroup.schema\n"+strings.TrimPrefix(text, "include /etc/ldap/schema/core.schema\n"), people
	}
	conf, ldif := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "people.ldif")
	for path, content := range map[string]string{conf: text, ldif: entries} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(program(t, "slapadd", "/usr/sbin/slapadd"), "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v: %s", err, out)
	}
	at := port(t)
	serve(t, exec.Command(slapd, "-f", conf, "-h", "ldap://127.0.0.1:"+at, "-d", "0"), "127.0.0.1:"+at)
	login := "server_host = ldap://127.0.0.1:" + at + "\nversion = 3\nbind_dn = cn=boss,dc=a,dc=test\nbind_pw = secret\nsearch_base = dc=a,dc=test\n"
	keys := []string{"alice@a.test", "ALLY@a.test", `*(x)\@a.test`, "*", "*)(mail=*", "bob@a.test", "team@a.test", "all@a.test", "nobody@a.test", "alice"}
	for name, settings := range map[string]string{
		"plain":  "query_filter = (mail=%s)\nresult_attribute = employeeType",
		"group":  "query_filter = (|(mail=%s)(cn=%u))\nresult_attribute = mail\nspecial_result_attribute = member, memberURL",
		"leaf":   "query_filter = (|(mail=%s)(cn=%u))\nspecial_result_attribute = member\nleaf_result_attribute = mail",
		"format": "query_filter = (&(mail=%s)(objectClass=inetOrgPerson))\nresult_attribute = employeeType\nresult_format = %u at %d for %U\ndomain = a.test",
		"base":   "query_filter = (objectClass=*)\nresult_attribute = mail\nscope = base\nsearch_base = cn=%u,dc=a,dc=test",
	} {
		if strings.Contains(settings, "search_base") {
			login := strings.Replace(login, "search_base = dc=a,dc=test\n", "", 1)
			cf := write(t, name, login+settings+"\n")
			agree(t, p, "ldap:"+cf, "ldap:"+cf, keys)
			continue
		}
		cf := write(t, name, login+settings+"\n")
		agree(t, p, "ldap:"+cf, "ldap:"+cf, keys)
	}
	circle := open(t, "ldap:"+write(t, "circle", login+"query_filter = (cn=%u)\nresult_attribute = mail\nspecial_result_attribute = member"))
	if got := get(circle, "circle@a.test"); got != "bob@a.test" { // where Postfix gives up
		t.Errorf("a group in itself: %q", got)
	}
	for what, text := range map[string]string{
		"a wrong password": strings.Replace(login, "secret", "wrong", 1) + "query_filter = (mail=%s)",
		"nobody there":     strings.Replace(login, at, "1", 1) + "query_filter = (mail=%s)",
		"too many":         login + "query_filter = (mail=*)\nsize_limit = 1\nresult_attribute = mail",
	} {
		if got := get(open(t, "ldap:"+write(t, "bad", text)), "alice@a.test"); !strings.HasPrefix(got, "!") {
			t.Errorf("%s: %q", what, got)
		}
	}
	for text, want := range map[string]string{
		"query_filter = (a=%s)": "search_base is missing", login + "query_filter = (mail=%s": "query_filter: ", login + "scope = all": "want base, one, sub", login + "bind = sasl": "SASL is not",
		login + "tls_ca_cert_file = /nonexistent": "no such file", login + "sasl_mechs = x": "unknown setting", strings.Replace(login, "ldap://", "http://", 1): "is no server",
		strings.Replace(login, "bind_pw = secret\n", "", 1): "without bind_pw",
	} {
		if _, err := Open("ldap:"+write(t, "bad", text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestPostSRSd asks a daemon that speaks tcp_table(5): what it rewrites forth it
// rewrites back.
func TestPostSRSd(t *testing.T) {
	t.Parallel()
	postsrsd := program(t, "postsrsd", "/usr/sbin/postsrsd")
	p := newPostmap(t)
	secret := write(t, "secret", "a long secret of the test\n")
	forth, back := port(t), port(t)
	serve(t, exec.Command(postsrsd, "-4", "-s", secret, "-d", "here.test", "-f", forth, "-r", back), "127.0.0.1:"+back)
	agree(t, p, "tcp:127.0.0.1:"+forth, "tcp:127.0.0.1:"+forth, []string{"alice@far.test", "bob@here.test", "no address", "a b%@far.test"})
	srs := get(open(t, "tcp:127.0.0.1:"+forth), "alice@far.test")
	if !strings.HasPrefix(srs, "SRS0=") || get(open(t, "tcp:127.0.0.1:"+back), srs) != "alice@far.test" {
		t.Errorf("%s is %s", srs, get(open(t, "tcp:127.0.0.1:"+back), srs))
	}
}

// TestDaemonsAsked: a server is told the same by us and by postmap, and its
// answers mean the same to both.
func TestDaemonsAsked(t *testing.T) {
	t.Parallel()
	p := newPostmap(t)
	answers := map[string]string{
		"get alice@x\n": "200 bob,%20carol%25\n", "get none\n": "500 no\n", "get later\n": "400 try%20later\n", "get odd\n": "999 what\n", "get a%20b%0Ac\n": "200 x\n",
		"9:map alice,": "OK bob, carol", "8:map none,": "NOTFOUND ", "9:map later,": "TEMP later", "8:map perm,": "PERM no", "8:map time,": "TIMEOUT x", "7:map odd,": "WHAT", "9:map empty,": "OK ",
	}
	var mu sync.Mutex
	var asked []string
	answer := func(question string) string {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, question)
		return answers[question]
	}
	lines := listen(t, func(r *bufio.Reader, w net.Conn) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(w, answer(line))
		}
	})
	netstrings := listen(t, func(r *bufio.Reader, w net.Conn) {
		for {
			text, err := readNetstring(r)
			if err != nil {
				return
			}
			reply := answer(fmt.Sprintf("%d:%s,", len(text), text))
			fmt.Fprintf(w, "%d:%s,", len(reply), reply)
		}
	})
	for spec, keys := range map[string][]string{
		"tcp:" + lines: {"alice@x", "none", "later", "a b\nc"}, "socketmap:inet:" + netstrings + ":map": {"alice", "none", "later", "perm", "time"},
	} {
		agree(t, p, spec, spec, keys)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(asked)
	if asked = slices.Compact(asked); len(asked) != 9 { // each in one form
		t.Errorf("asked %q", asked)
	}
}

// listen serves connections until the test ends.
func listen(t *testing.T, conversation func(*bufio.Reader, net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conversation(bufio.NewReader(conn), conn)
			}()
		}
	}()
	return l.Addr().String()
}

// TestDaemonGoes: a connection that was kept and closed by the daemon is replaced,
// and a daemon that says nothing is not waited for.
func TestDaemonGoes(t *testing.T) {
	var mu sync.Mutex
	count := 0
	once := listen(t, func(r *bufio.Reader, w net.Conn) {
		if _, err := r.ReadString('\n'); err == nil {
			mu.Lock()
			count++
			mu.Unlock()
			fmt.Fprint(w, "200 ok\n")
		}
	})
	table := open(t, "tcp:"+once)
	for range 3 {
		if got := get(table, "k"); got != "ok" {
			t.Error(got)
		}
	}
	if mu.Lock(); count != 3 {
		t.Errorf("%d connections", count)
	}
	mu.Unlock()
	silent := open(t, "tcp:"+listen(t, func(r *bufio.Reader, _ net.Conn) { r.ReadByte(); r.ReadBytes(0) }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := silent.Lookup(ctx, "k"); err == nil {
		t.Error("silence was an answer")
	}
	for _, reply := range []string{"200 two\n200 answers\n", "200 " + strings.Repeat("x", maxReply+1) + "\n", "200 %z\n", "hello\n"} {
		chatty := open(t, "tcp:"+listen(t, func(r *bufio.Reader, w net.Conn) {
			if _, err := r.ReadString('\n'); err == nil {
				fmt.Fprint(w, reply)
				r.ReadByte()
			}
		}))
		if got := get(chatty, "k"); !strings.HasPrefix(got, "!") {
			t.Errorf("%.40q: %.40q", reply, got)
		}
	}
}
