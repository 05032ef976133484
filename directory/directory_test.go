package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/smtp"
	"mtad/store"
)

func bg() context.Context { return context.Background() }

func open(t testing.TB) (*Directory, *mtatest.Clock) {
	t.Helper()
	db, err := store.Open(t.TempDir(), store.Options{}, Schema())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c := mtatest.NewClock(time.Unix(1_800_000_000, 0))
	d, err := New(db, Options{Settings: Settings{DefaultDomain: "example.test"}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddDomain(bg(), "Example.TEST.", Local); err != nil {
		t.Fatal(err)
	}
	return d, c
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func addUser(t testing.TB, d *Directory, address string) User {
	t.Helper()
	u, err := d.AddUser(bg(), address, "pw of "+address)
	must(t, err)
	return u
}

func TestDomains(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddDomain(bg(), "relay.test", Local), d.AddDomain(bg(), "relay.test", Relay), d.AddDomain(bg(), "bücher.test", Local))
	got, err := d.Domains(bg())
	if err != nil || fmt.Sprint(got) != "[{example.test local } {relay.test relay } {xn--bcher-kva.test local }]" {
		t.Error(got, err)
	}
	addUser(t, d, "a@bücher.test")
	for _, tc := range []struct {
		name string
		want error
	}{{"bücher.test", ErrInUse}, {"none.test", ErrNoDomain}, {"relay.test", nil}, {"a b", ErrBadAddress}, {"", ErrBadAddress}} {
		if err := d.RemoveDomain(bg(), tc.name); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v", tc.name, err)
		}
	}
}

func TestUsers(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddDomain(bg(), "relay.test", Relay))
	u := addUser(t, d, "Alice@EXAMPLE.test")
	if u.Address != "alice@example.test" || u.ID == 0 || !strings.HasPrefix(u.Hash, "$argon2id$v=19$m=19456,t=2,p=1$") || u.Created.Unix() != 1_800_000_000 {
		t.Errorf("%+v", u)
	}
	for _, tc := range []struct {
		address, password string
		want              error
	}{
		{"alice", "x", ErrExists}, {"bob@relay.test", "x", ErrNoDomain}, {"bob@other.test", "x", ErrNoDomain},
		{"bob", "", ErrWeak}, {"bob", strings.Repeat("x", 1025), ErrWeak}, {"b ob", "x", ErrBadAddress},
	} {
		if _, err := d.AddUser(bg(), tc.address, tc.password); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.address, err)
		}
	}
	addUser(t, d, "bob")
	list, err := d.Users(bg(), "")
	if err != nil || len(list) != 2 || list[1].Address != "bob@example.test" {
		t.Errorf("%+v, %v", list, err)
	}
	if byID, err := d.UserByID(bg(), u.ID); err != nil || byID != u {
		t.Errorf("%+v, %v", byID, err)
	}
	must(t, d.PutScript(bg(), u.ID, Sieve, "s", "keep;"))
	removed, err := d.RemoveUser(bg(), "ALICE")
	if err != nil || removed.ID != u.ID {
		t.Errorf("%+v, %v", removed, err)
	}
	if _, err := d.User(bg(), "alice"); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
	if again := addUser(t, d, "alice"); again.ID == u.ID {
		t.Error("the ID was used again")
	}
	if err := d.Disable(bg(), "nobody", true); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
}

func TestAuthenticate(t *testing.T) {
	d, _ := open(t)
	u := addUser(t, d, "alice")
	check := func(login, password string, want error) {
		t.Helper()
		got, err := d.Authenticate(bg(), login, password)
		if !errors.Is(err, want) || want == nil && got.ID != u.ID {
			t.Errorf("%s %s: %+v, %v", login, password, got, err)
		}
	}
	good := "pw of alice"
	for range 2 { // the second time from memory
		check("alice", good, nil)
		check("Alice@Example.Test", good, nil)
		check("alice", "wrong", ErrBadPassword)
		check("alice", "", ErrBadPassword)
		check("alice", strings.Repeat("x", 2000), ErrBadPassword)
		check("nobody", good, ErrBadPassword)
		check("not an address", good, ErrBadPassword)
	}
	must(t, d.SetPassword(bg(), "alice", "new"))
	check("alice", good, ErrBadPassword)
	check("alice", "new", nil)
	must(t, d.Disable(bg(), "alice", true))
	check("alice", "new", ErrBadPassword)
	must(t, d.Disable(bg(), "alice", false))
	check("alice", "new", nil)
	if len(d.known) != 1 {
		t.Errorf("%d logins remembered", len(d.known))
	}
}

func TestAuthenticateWaitsItsTurn(t *testing.T) {
	d, _ := open(t)
	addUser(t, d, "alice")
	for range cap(d.verify) {
		d.verify <- struct{}{}
	}
	ctx, cancel := context.WithCancel(bg())
	cancel()
	if _, err := d.Authenticate(ctx, "alice", "pw of alice"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestKnownLoginsAreBounded(t *testing.T) {
	d, _ := open(t)
	for id := range int64(maxKnown + 10) {
		d.remember(User{ID: id}, "x")
	}
	if len(d.known) != maxKnown || !d.recall(User{ID: maxKnown + 9}, "x") {
		t.Errorf("%d", len(d.known))
	}
}

func TestPHC(t *testing.T) {
	const known = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$6nH5hvS1ZPDtqXOLJ4F8eTBFaXqZNgZ5NnGWNX1DvGI"
	if _, err := parsePHC(known); err != nil {
		t.Fatal(err)
	}
	h, err := parsePHC(hashPassword("secret"))
	if err != nil || !h.matches("secret") || h.matches("Secret") {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "secret", "{PLAIN}x", strings.Replace(known, "argon2id", "argon2i", 1), strings.Replace(known, "v=19", "v=16", 1),
		strings.Replace(known, "m=64", "m=99999999", 1), strings.Replace(known, "t=1", "t=0", 1), strings.Replace(known, "p=1", "p=200", 1),
		strings.Replace(known, "c29tZXNhbHQ", "!", 1), strings.Replace(known, "c29tZXNhbHQ", "", 1), known + "$x", strings.Replace(known, "m=64,", "", 1),
	} {
		if _, err := parsePHC(bad); !errors.Is(err, errHash) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzPHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$6nH5hvS1ZPDtqXOLJ4F8eTBFaXqZNgZ5NnGWNX1DvGI")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err == nil && (h.memory > maxHashMemory || h.time == 0 || h.time > maxHashTime || h.threads == 0 || len(h.sum) > 64) {
			t.Errorf("%q passed as %+v", s, h)
		}
	})
}

func TestLookup(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddDomain(bg(), "relay.test", Relay), d.AddDomain(bg(), "catch.test", Local), d.AddDomain(bg(), "bare.test", Local))
	must(t, d.AddAliasDomain(bg(), "also.test", "catch.test"))
	for _, u := range []string{"alice", "bob", "a+b", "root", "carol@catch.test", "postmaster@catch.test"} {
		addUser(t, d, u)
	}
	for _, a := range [][]string{
		{"info", "alice", "bob+info", "ext@other.test"},
		{"bob", "bob", "ext@other.test"}, // keeps a copy
		{"@catch.test", "alice"},
		{"sales@relay.test", "alice"},
	} {
		must(t, d.AddAlias(bg(), a[0], a[1:]...))
	}
	must(t, d.Configure(Settings{DefaultDomain: "example.test", Postmaster: "root"}))
	for addr, want := range map[string]string{
		"alice@example.test": "local alice@example.test user alice@example.test", "ALICE+Foo@EXAMPLE.TEST": "local alice@example.test user alice@example.test +Foo",
		"alice@":           "local alice@example.test user alice@example.test",
		"a+b@example.test": "local a+b@example.test user a+b@example.test", "a+c@example.test": "local", "nobody@example.test": "local", "+x@example.test": "local",
		"x@other.test": "unknown", "x@bad domain": "unknown", "x@relay.test": "relay", "sales@relay.test": "relay sales@relay.test alias alice@example.test",
		"info@example.test":       "local info@example.test alias alice@example.test bob+info@example.test ext@other.test",
		"info+x@example.test":     "local info@example.test alias alice@example.test bob+info@example.test ext@other.test +x",
		"bob@example.test":        "local bob@example.test alias bob@example.test ext@other.test user bob@example.test",
		"whoever@catch.test":      "local @catch.test alias alice@example.test for nobody",
		"carol@catch.test":        "local carol@catch.test user carol@catch.test",
		"Carol+y@ALSO.test":       "alias carol@catch.test user carol@catch.test +y",
		"whoever@also.test":       "alias @catch.test alias alice@example.test for nobody",
		"postmaster@example.test": "local postmaster@example.test alias root@example.test for nobody",
		"abuse@example.test":      "local abuse@example.test alias root@example.test for nobody",
		"abuse@catch.test":        "local postmaster@catch.test user postmaster@catch.test for nobody",
		"abuse@bare.test":         "local abuse@bare.test alias root@example.test for nobody", "postmaster@relay.test": "relay",
	} {
		i := strings.LastIndex(addr, "@")
		r, err := d.Lookup(bg(), addr[:i], addr[i+1:])
		if got := describe(r, err); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func describe(r Result, err error) string {
	if err != nil {
		return err.Error()
	}
	out := r.Class.String()
	if r.Found() {
		out += " " + strings.TrimPrefix(r.Key.String(), `""`)
	}
	if r.Targets != nil {
		out += " alias " + strings.Join(r.Targets, " ")
	}
	if r.User != nil {
		out += " user " + r.User.Address
	}
	if r.Detail != "" {
		out += " +" + r.Detail
	}
	if r.StandIn && r.Found() {
		out += " for nobody"
	}
	return out
}

// An alias domain has nothing of its own, and what it stands for stays.
func TestAliasDomain(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddDomain(bg(), "main.test", Local), d.AddAliasDomain(bg(), "also.test", "Main.test"), d.AddDomain(bg(), "relay.test", Relay))
	alice := addUser(t, d, "alice@main.test")
	for what, err := range map[string]error{
		"missing": d.AddAliasDomain(bg(), "x.test", "no.test"), "remove": d.RemoveDomain(bg(), "main.test"),
		"of a stand": d.AddAliasDomain(bg(), "x.test", "also.test"), "itself": d.AddAliasDomain(bg(), "main.test", "main.test"),
		"with users": d.AddAliasDomain(bg(), "main.test", "example.test"), "of a relay": d.AddAliasDomain(bg(), "x.test", "relay.test"),
		"an alias": d.AddAlias(bg(), "info@also.test", "alice@main.test"),
	} {
		want := ErrInUse
		switch what {
		case "missing":
			want = ErrNoDomain
		case "an alias":
			want = ErrStands
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	if _, err := d.AddUser(bg(), "bob@also.test", "secret secret"); !errors.Is(err, ErrStands) {
		t.Errorf("a user: %v", err)
	}
	if u, err := d.User(bg(), "alice@also.test"); err != nil || u.ID != alice.ID {
		t.Errorf("user by the other name: %+v, %v", u, err)
	}
	domains, err := d.Domains(bg())
	if err != nil || domains[0] != (Domain{"also.test", Stand, "main.test"}) {
		t.Errorf("%+v, %v", domains, err)
	}
	must(t, d.AddDomain(bg(), "also.test", Local))
	if r, err := d.Lookup(bg(), "alice", "also.test"); err != nil || r.Found() {
		t.Errorf("after it became a domain of its own: %+v, %v", r, err)
	}
}

func TestAliasBounds(t *testing.T) {
	d, _ := open(t)
	many := make([]string, maxTargets)
	for i := range many {
		many[i] = fmt.Sprintf("x%d@other.test", i)
	}
	must(t, d.AddAlias(bg(), "many", many...))
	if err := d.AddAlias(bg(), "many", "y@other.test"); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
}

func TestAliasesAreListedAndRemoved(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddAlias(bg(), "x", "b@other.test", "a@other.test"), d.AddAlias(bg(), "@example.test", "c@other.test"))
	got, err := d.Aliases(bg(), "")
	if err != nil || fmt.Sprint(got) != "[{@example.test [c@other.test]} {x@example.test [a@other.test b@other.test]}]" {
		t.Error(got, err)
	}
	must(t, d.RemoveAlias(bg(), "x", "a@other.test"), d.RemoveAlias(bg(), "@example.test"))
	got, _ = d.Aliases(bg(), "example.test")
	if fmt.Sprint(got) != "[{x@example.test [b@other.test]}]" {
		t.Error(got)
	}
	for _, err := range []error{d.RemoveAlias(bg(), "nobody"), d.RemoveAlias(bg(), "x", "zz@other.test")} {
		if !errors.Is(err, ErrNoAlias) {
			t.Error(err)
		}
	}
	if err := d.AddAlias(bg(), "x@other.test", "a"); !errors.Is(err, ErrNoDomain) {
		t.Error(err)
	}
	if err := d.AddAlias(bg(), "x", "not an address"); !errors.Is(err, ErrBadAddress) {
		t.Error(err)
	}
}

func TestScripts(t *testing.T) {
	d, _ := open(t)
	id := addUser(t, d, "alice").ID
	if _, _, _, err := d.ActiveScript(bg(), id, Sieve); !errors.Is(err, ErrNoScript) {
		t.Error(err)
	}
	must(t, d.PutScript(bg(), id, Sieve, "a", "keep;"), d.PutScript(bg(), id, Sieve, "b", "discard;"), d.ActivateScript(bg(), id, Sieve, "a"))
	_, _, v1, _ := d.ActiveScript(bg(), id, Sieve)
	must(t, d.ActivateScript(bg(), id, Sieve, "b"), d.PutScript(bg(), id, Sieve, "b", "stop;"))
	name, text, v2, err := d.ActiveScript(bg(), id, Sieve)
	if err != nil || name != "b" || text != "stop;" || v1 == v2 {
		t.Error(name, text, v1, v2, err)
	}
	list, err := d.Scripts(bg(), id, Sieve)
	if err != nil || len(list) != 2 || list[0].Active || !list[1].Active || list[1].Size != 5 || list[1].Version != v2 {
		t.Errorf("%+v, %v", list, err)
	}
	for i, tc := range []struct{ err, want error }{
		{d.DeleteScript(bg(), id, Sieve, "b"), ErrInUse},
		{d.DeleteScript(bg(), id, Sieve, "zz"), ErrNoScript},
		{d.ActivateScript(bg(), id, Sieve, "zz"), ErrNoScript},
		{d.RenameScript(bg(), id, Sieve, "a", "b"), ErrExists},
		{d.RenameScript(bg(), id, Sieve, "a", "a"), ErrExists},
		{d.RenameScript(bg(), id, Sieve, "zz", "zz"), ErrNoScript},
		{d.RenameScript(bg(), id, Sieve, "zz", "c"), ErrNoScript},
		{d.RenameScript(bg(), id, Sieve, "a", "c"), nil},
		{d.PutScript(bg(), id, Sieve, "", "x"), ErrBadName},
		{d.PutScript(bg(), id, Sieve, "a\n", "x"), ErrBadName},
		{d.PutScript(bg(), id, Sieve, "big", strings.Repeat("#", MaxScript+1)), ErrTooBig},
		{d.PutScript(bg(), id, Sieve, "a\u2028b", "x"), ErrBadName},
		{d.HasSpace(bg(), id, Sieve, "a", MaxScript), nil},
		{d.HasSpace(bg(), id, Sieve, "a", MaxScript+1), ErrTooBig},
		{d.HasSpace(bg(), id, Sieve, "", 1), ErrBadName},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%d: %v, want %v", i, tc.err, tc.want)
		}
	}
	if _, _, _, err := d.ActiveScript(bg(), id, Sieve); err != nil {
		t.Errorf("a failed activation took the active script away: %v", err)
	}
	must(t, d.ActivateScript(bg(), id, Sieve, ""), d.DeleteScript(bg(), id, Sieve, "b"))
	if text, err := d.ScriptText(bg(), id, Sieve, "c"); err != nil || text != "keep;" {
		t.Error(text, err)
	}
	for i := range maxScripts - 1 {
		must(t, d.PutScript(bg(), id, Sieve, fmt.Sprint(i), ""))
	}
	if err := d.PutScript(bg(), id, Sieve, "one more", ""); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if err := d.HasSpace(bg(), id, Sieve, "one more", 1); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	must(t, d.HasSpace(bg(), id, Sieve, "c", 1)) // it would be replaced
}

// Scripts of one language know nothing of the other's.
func TestLanguages(t *testing.T) {
	d, _ := open(t)
	id := addUser(t, d, "alice").ID
	must(t, d.PutScript(bg(), id, Sieve, "a", "keep;"), d.PutScript(bg(), id, Lua, "a", "-- lua"), d.ActivateScript(bg(), id, Sieve, "a"), d.ActivateScript(bg(), id, Lua, "a"))
	_, sieve, _, err1 := d.ActiveScript(bg(), id, Sieve)
	_, lua, _, err2 := d.ActiveScript(bg(), id, Lua)
	if sieve != "keep;" || lua != "-- lua" || err1 != nil || err2 != nil {
		t.Errorf("%q %q %v %v", sieve, lua, err1, err2)
	}
	must(t, d.ActivateScript(bg(), id, Lua, ""), d.DeleteScript(bg(), id, Lua, "a"))
	if _, _, _, err := d.ActiveScript(bg(), id, Sieve); err != nil {
		t.Error(err)
	}
}

// Scripts of a database from before there were languages are Sieve.
func TestScriptMigration(t *testing.T) {
	dir, old := t.TempDir(), Schema()
	old.Migrations = old.Migrations[:1]
	db, err := store.Open(dir, store.Options{}, old)
	must(t, err)
	must(t, db.Update(bg(), func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO script VALUES (7, 'a', 'keep;', 'v', 1, 0), (7, 'b', 'stop;', 'w', 0, 0)")
		return err
	}), db.Close())
	db, err = store.Open(dir, store.Options{}, Schema())
	must(t, err)
	defer db.Close()
	d, err := New(db, Options{Settings: Settings{DefaultDomain: "example.test"}})
	must(t, err)
	if name, text, _, err := d.ActiveScript(bg(), 7, Sieve); name != "a" || text != "keep;" || err != nil {
		t.Error(name, text, err)
	}
	if _, _, _, err := d.ActiveScript(bg(), 7, Lua); !errors.Is(err, ErrNoScript) {
		t.Error(err)
	}
	must(t, d.PutScript(bg(), 7, Lua, "a", "-- lua"), d.ActivateScript(bg(), 7, Lua, "a"))
}

func TestState(t *testing.T) {
	d, c := open(t)
	s, err := d.State("greylist")
	must(t, err)
	other, _ := d.State("other")
	must(t, s.Set(bg(), "k", []byte("v"), time.Minute), s.Set(bg(), "forever", nil, 0))
	get := func(s *State, key string) string {
		t.Helper()
		v, ok, err := s.Get(bg(), key)
		must(t, err)
		return fmt.Sprintf("%s %v", v, ok)
	}
	if get(s, "k") != "v true" || get(other, "k") != " false" || get(s, "forever") != " true" {
		t.Error(get(s, "k"), get(other, "k"), get(s, "forever"))
	}
	for i, want := range []int64{2, 4} {
		if n, err := s.Add(bg(), "n", 2, time.Minute); n != want || err != nil {
			t.Errorf("%d: %d, %v", i, n, err)
		}
		c.Add(20 * time.Second)
	}
	if get(s, "n") != "4 true" {
		t.Error(get(s, "n"))
	}
	c.Add(20 * time.Second) // a minute after the first Add, not the second
	if n, _ := s.Add(bg(), "n", 1, time.Minute); n != 1 {
		t.Errorf("after the expiry: %d", n)
	}
	if _, err := s.Add(bg(), "forever", 1, 0); !errors.Is(err, ErrNotCounter) {
		t.Error(err)
	}
	if n, err := d.Sweep(bg()); n != 1 || err != nil || get(s, "k") != " false" {
		t.Errorf("swept %d, %v", n, err)
	}
	must(t, s.Delete(bg(), "n"))
	if get(s, "n") != " false" {
		t.Error("not deleted")
	}
	for _, err := range []error{s.Set(bg(), strings.Repeat("k", 513), nil, 0), s.Set(bg(), "k", make([]byte, 65<<10), 0)} {
		if !errors.Is(err, ErrTooBig) {
			t.Error(err)
		}
	}
	if _, err := d.State(""); !errors.Is(err, ErrBadName) {
		t.Error(err)
	}
}

func TestStateIsBounded(t *testing.T) {
	d, _ := open(t)
	s, err := d.State("x")
	must(t, err)
	s.limit = 100
	must(t, s.Set(bg(), "soon", nil, time.Second))
	for i := range 150 {
		must(t, s.Set(bg(), fmt.Sprint(i), nil, time.Hour+time.Duration(i)*time.Second))
	}
	n := 0
	for i := range 150 {
		if _, ok, _ := s.Get(bg(), fmt.Sprint(i)); ok {
			n++
		}
	}
	if _, ok, _ := s.Get(bg(), "soon"); ok || n > 100 || n < 95 {
		t.Errorf("%d keys", n)
	}
	if _, ok, _ := s.Get(bg(), "149"); !ok {
		t.Error("the newest gave way")
	}
}

func TestLookupTables(t *testing.T) {
	d, _ := open(t)
	must(t, d.PutRow(bg(), "t", Row{"a", "1"}), d.PutRow(bg(), "t", Row{"b", "2"}), d.PutRow(bg(), "t", Row{"a", "3"}), d.PutRow(bg(), "u", Row{"c", "4"}))
	if v, ok, err := d.Row(bg(), "t", "a"); v != "3" || !ok || err != nil {
		t.Error(v, ok, err)
	}
	if _, ok, err := d.Row(bg(), "t", "c"); ok || err != nil {
		t.Error(ok, err)
	}
	rows, err := d.Rows(bg(), "t", "a", 10)
	if err != nil || fmt.Sprint(rows) != "[{b 2}]" {
		t.Error(rows, err)
	}
	must(t, d.DeleteRow(bg(), "t", "a"), d.DeleteRow(bg(), "t", "a"))
	if rows, _ := d.Rows(bg(), "t", "", 10); len(rows) != 1 {
		t.Error(rows)
	}
	if err := d.PutRow(bg(), "", Row{"a", ""}); !errors.Is(err, ErrBadName) {
		t.Error(err)
	}
	if err := d.PutRow(bg(), "t", Row{}); !errors.Is(err, ErrTooBig) {
		t.Error(err)
	}
}

func BenchmarkLookupUser(b *testing.B) {
	d, _ := open(b)
	addUser(b, d, "alice")
	b.ReportAllocs()
	for b.Loop() {
		d.Lookup(bg(), "alice", "example.test")
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	d, _ := open(b)
	addUser(b, d, "alice")
	for name, password := range map[string]string{"known": "pw of alice", "wrong": "x"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Authenticate(bg(), "alice", password)
			}
		})
	}
}

func TestGrants(t *testing.T) {
	d, _ := open(t)
	must(t, d.AddDomain(bg(), "other.test", Local))
	alice, bob := addUser(t, d, "alice"), addUser(t, d, "bob")
	for _, g := range []Grant{{"Info", SendAs}, {"@Other.test", OnBehalf}, {"boss@other.test", SendAs}, {"x@other.test", OnBehalf}, {"x@other.test", SendAs}} {
		must(t, d.AddGrant(bg(), "alice", g))
	}
	got, err := d.Grants(bg(), alice.ID)
	if want := "[{@other.test on-behalf} {boss@other.test send-as} {info@example.test send-as} {x@other.test send-as}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
	for addr, want := range map[string]GrantKind{
		"INFO@example.test": SendAs, "info+x@example.test": SendAs, "boss@other.test": SendAs, "any@OTHER.test": OnBehalf, "bob@example.test": 0, "info@third.test": 0,
	} {
		a, err := smtp.ParseAddress(addr)
		must(t, err)
		if kind, err := d.Granted(bg(), alice.ID, a); err != nil || kind != want {
			t.Errorf("%s: %v, %v", addr, kind, err)
		}
	}
	must(t, d.AddGrant(bg(), "bob", Grant{Any, SendAs}))
	if kind, err := d.Granted(bg(), bob.ID, smtp.Address{Local: "x", Domain: "any.test"}); err != nil || kind != SendAs {
		t.Errorf("any address: %v, %v", kind, err)
	}
	must(t, d.RemoveGrant(bg(), "alice", "@other.test"))
	for what, err := range map[string]error{
		"twice": d.RemoveGrant(bg(), "alice", "@other.test"), "nobody": d.AddGrant(bg(), "eve", Grant{"a@b.test", SendAs}), "no address": d.AddGrant(bg(), "bob", Grant{"a b", SendAs}), "no kind": d.AddGrant(bg(), "bob", Grant{"a@b.test", 0}),
	} {
		want := map[string]error{"twice": ErrNoGrant, "nobody": ErrNoUser, "no address": ErrBadAddress, "no kind": ErrBadName}[what]
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.RemoveUser(bg(), "bob"); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Grants(bg(), bob.ID); err != nil || len(got) != 0 {
		t.Errorf("of a user who is gone: %v, %v", got, err)
	}
}
