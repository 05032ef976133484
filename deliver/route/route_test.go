package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/deliver/relay"
	"mtad/directory"
	"mtad/lookup"
	"mtad/smtp"
	"mtad/store"
)

// world is a router with a directory of example.test and a few others.
type world struct {
	testing.TB
	dir    *directory.Directory
	router *Router
	config Config
	root   string
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, root: t.TempDir()}
	db, err := store.Open(filepath.Join(w.root, "db"), store.Options{}, directory.Schema())
	w.must(err)
	t.Cleanup(func() { w.must(db.Close()) })
	w.dir, err = directory.New(db, directory.Options{Settings: directory.Settings{DefaultDomain: "example.test", Postmaster: "root"}})
	w.must(err)
	for name, class := range map[string]directory.DomainClass{"example.test": directory.Local, "catch.test": directory.Local, "relay.test": directory.Relay} {
		w.must(w.dir.AddDomain(t.Context(), name, class))
	}
	w.must(w.dir.AddAliasDomain(t.Context(), "also.test", "catch.test"))
	for _, u := range []string{"alice", "bob", "root", "a+b", "carol@catch.test"} {
		_, err := w.dir.AddUser(t.Context(), u, "secret secret")
		w.must(err)
	}
	w.config = Config{Hostname: "mx.example.test", Origin: "example.test", Separator: "+", Aliases: []AliasSource{nil}}
	w.router = New(w.dir, &w.config)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) alias(address string, targets ...string) {
	w.Helper()
	w.must(w.dir.AddAlias(w.Context(), address, targets...))
}

// configure changes the configuration.
func (w *world) configure(change func(*Config)) {
	c := w.config
	change(&c)
	w.router.Configure(&c)
}

// file writes a file and returns its path.
func (w *world) file(name, text string) string {
	w.Helper()
	path := filepath.Join(w.root, name)
	w.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

func (w *world) tables(specs ...string) lookup.Tables {
	w.Helper()
	ts, err := lookup.OpenAll(specs, lookup.Options{})
	w.must(err)
	return ts
}

func (w *world) aliases(spec string) AliasSource {
	w.Helper()
	s, err := OpenAliases(spec, lookup.Options{})
	w.must(err)
	return s
}

// resolve is what becomes of an address: its class, and its targets.
func (w *world) resolve(addr string, may bool) string {
	w.Helper()
	a, err := smtp.ParseAddress(addr)
	w.must(err)
	res, err := w.router.Resolve(w.Context(), a, may)
	if errors.Is(err, ErrTooMany) {
		return "too many"
	}
	w.must(err)
	out := string(res.Class)
	if res.Circle {
		out += " circle"
	}
	if res.Exempt {
		out += " exempt"
	}
	if !res.Reply.IsZero() {
		out += " " + res.Reply.String()
	}
	for _, t := range res.Targets {
		out += " " + w.describe(t)
	}
	return out
}

func (w *world) describe(t Target) string {
	out := t.Addr.String()
	switch t.Kind {
	case Mailbox:
		if u, err := w.dir.UserByID(w.Context(), t.Account); err != nil || u.Address != t.Addr.String() {
			w.Errorf("account %d is not %s: %+v, %v", t.Account, t.Addr, u, err)
		}
		out = "mailbox:" + out
		if t.Detail != "" {
			out += "+" + t.Detail
		}
	case File:
		out = fmt.Sprintf("%s:%s", t.User, strings.TrimPrefix(t.Text, w.root))
	case Command:
		out = fmt.Sprintf("%s|%s", t.User, t.Text)
	}
	if !t.Owner.IsZero() {
		out += " by " + t.Owner.String()
	}
	return out
}

// each checks what becomes of addresses.
func (w *world) each(want map[string]string) {
	w.Helper()
	for addr, want := range want {
		if got := w.resolve(addr, false); got != want {
			w.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestDirectory(t *testing.T) {
	w := newWorld(t)
	w.alias("info", "alice", "bob+info", "ext@other.test")
	w.alias("all", "info", "alice+again", "catch@relay.test", "nobody")
	w.alias("bob", "bob", "ext@other.test") // keeps a copy
	w.alias("loop1", "loop2")
	w.alias("loop2", "loop1")
	w.alias("half1", "half2", "alice")
	w.alias("half2", "half1")
	w.alias("@catch.test", "alice")
	w.alias("sales@relay.test", "alice")
	w.each(map[string]string{
		"alice@example.test": "local mailbox:alice@example.test", "ALICE+Foo@EXAMPLE.TEST": "local mailbox:alice@example.test+Foo", "alice": "local mailbox:alice@example.test",
		"a+b@example.test": "local mailbox:a+b@example.test", "a+c@example.test": "unknown", "nobody@example.test": "unknown",
		"x@other.test": "denied x@other.test", "x@relay.test": "relay x@relay.test", "sales@relay.test": "alias mailbox:alice@example.test",
		"a%far.test@relay.test": "denied a%far.test@relay.test",
		"info@example.test":     "alias mailbox:alice@example.test mailbox:bob@example.test+info ext@other.test",
		"bob@example.test":      "alias mailbox:bob@example.test ext@other.test",
		"bob+x@example.test":    "alias mailbox:bob@example.test+x ext@other.test",
		"all@example.test":      "alias mailbox:alice@example.test+again catch@relay.test mailbox:alice@example.test mailbox:bob@example.test+info ext@other.test",
		"loop1@example.test":    "unknown circle", "half1@example.test": "alias mailbox:alice@example.test",
		"whoever@catch.test": "alias mailbox:alice@example.test", "carol@catch.test": "local mailbox:carol@catch.test", "carol+z@ALSO.test": "local mailbox:carol@catch.test+z",
		"postmaster@example.test": "alias exempt mailbox:root@example.test", "PostMaster": "alias exempt mailbox:root@example.test", "abuse@also.test": "alias exempt mailbox:root@example.test",
	})
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	for i := range maxDepth + 1 {
		w.alias(fmt.Sprintf("a%d", i), fmt.Sprintf("a%d", i+1))
	}
	w.alias(fmt.Sprintf("a%d", maxDepth+1), "alice")
	var many []string
	for i := range maxTargets {
		many = append(many, fmt.Sprintf("x%d@other.test", i))
	}
	w.alias("many", many...)
	w.alias("more", "many", "zz@other.test")
	w.each(map[string]string{"a0@example.test": "too many", "a2@example.test": "alias mailbox:alice@example.test", "more@example.test": "too many"})
}

// TestVirtual is virtual(5): any domain, whole domains, details, recursion.
func TestVirtual(t *testing.T) {
	w := newWorld(t)
	path := w.file("virtual", `
sales@shop.test      alice, bob@example.test  x@far.test
info@shop.test       sales@shop.test
@moved.test          @example.test
self@example.test    self@example.test, alice
alice+old@example.test  bob
carol@catch.test     carol@catch.test
circle1@shop.test    circle2@shop.test
circle2@shop.test    circle1@shop.test
everybody            alice bob
@shop.test           root
`)
	w.configure(func(c *Config) {
		c.VirtualAliases = w.tables("hash:"+path, "regexp:"+w.file("patterns", "/^(.*)-owner@lists\\.test$/ $1+owner@example.test\n"))
		c.VirtualAliasDomains = Domains{Names: []string{"shop.test", "lists.test"}}
	})
	w.each(map[string]string{
		"sales@shop.test":        "alias mailbox:alice@example.test mailbox:bob@example.test x@far.test",
		"Sales+x@SHOP.test":      "alias mailbox:alice@example.test+x mailbox:bob@example.test+x x+x@far.test",
		"info@shop.test":         "alias mailbox:alice@example.test mailbox:bob@example.test x@far.test",
		"alice+y@moved.test":     "alias mailbox:alice@example.test+y",
		"self@example.test":      "alias mailbox:alice@example.test",
		"alice+old@example.test": "alias mailbox:bob@example.test", "alice@example.test": "local mailbox:alice@example.test",
		"carol@catch.test": "alias mailbox:carol@catch.test", "circle1@shop.test": "unknown circle",
		"everybody@example.test": "alias mailbox:alice@example.test mailbox:bob@example.test",
		"nobody@shop.test":       "alias mailbox:root@example.test", "nobody@lists.test": "unknown",
		"alice-owner@lists.test": "alias mailbox:alice@example.test+owner",
	})
}

// fakeSystem has users in homes below a directory.
type fakeSystem struct{ root string }

func (s fakeSystem) User(name string) (string, bool, error) {
	_, err := os.Stat(filepath.Join(s.root, name))
	return filepath.Join(s.root, name), err == nil, nil
}

func (s fakeSystem) Forward(_ context.Context, user, file string) ([]byte, bool, string, error) {
	text, err := os.ReadFile(filepath.Join(s.root, user, file))
	if strings.HasPrefix(string(text), "!") {
		return nil, true, "it may be written by others", nil
	}
	return text, err == nil, "", nil
}

// TestLocal is aliases(5) and .forward.
func TestLocal(t *testing.T) {
	w := newWorld(t)
	list := w.file("list", "alice, dave\n# nobody\nx@far.test\n:include:"+filepath.Join(w.root, "list")+"\n")
	file := w.file("aliases", `# a comment
MAILER-DAEMON: postmaster
postmaster: root
root:	dave,
	alice
archive: /var/mail/archive, "/srv/mail dir/"
tickets: "|/usr/bin/rt --queue 'a, b'"
staff: :include:`+list+`
owner-staff: bob
dave: dave, bob
"odd name": alice
alice: \alice, x@far.test
gone: nowhere
`)
	for user, forward := range map[string]string{
		"dave": "", "erin": "alice\n\\erin, \"|/usr/bin/vacation erin\"\n", "frank": "frank, x@far.test", "grace": "!", "heidi": ":include:/etc/shadow\nbad \x01 <\n",
	} {
		w.must(os.MkdirAll(filepath.Join(w.root, "home", user), 0o700))
		if forward != "" {
			w.file("home/"+user+"/.forward", forward)
		}
	}
	w.file("home/erin/.forward+list", "/tmp/list.mbox")
	w.configure(func(c *Config) {
		c.Destination = Domains{Names: []string{"localhost", "mx.example.test", ".sub.test"}}
		c.Aliases = []AliasSource{w.aliases("file:" + file), nil}
		c.System, c.Mailbox = fakeSystem{filepath.Join(w.root, "home")}, SystemMailbox{Spool: "/var/mail"}
		c.Ours = func(a netip.Addr) bool { return a.IsLoopback() }
	})
	const alice = "mailbox:alice@example.test x@far.test"
	const dave = "dave:/var/mail/dave"
	w.each(map[string]string{
		"mailer-daemon@localhost": "alias " + dave + " mailbox:bob@example.test " + alice, "postmaster": "alias exempt " + dave + " mailbox:bob@example.test " + alice,
		"archive@localhost": "alias :/var/mail/archive :/srv/mail dir/", "tickets@a.sub.test": "alias |/usr/bin/rt --queue 'a, b'",
		"alice@localhost": "alias " + alice, "alice+x@example.test": "alias " + alice,
		"dave@[127.0.0.1]": "alias " + dave + " mailbox:bob@example.test", "dave@[192.0.2.1]": "denied dave@[192.0.2.1]",
		`"odd name"@localhost`: "alias " + alice, "gone@localhost": "unknown", "bob@mx.example.test": "local mailbox:bob@example.test",
		"erin@localhost":      "local " + alice + " erin:/var/mail/erin erin|/usr/bin/vacation erin",
		"erin+list@localhost": "local erin:/tmp/list.mbox",
		"frank@localhost":     "local frank:/var/mail/frank x@far.test", "grace@localhost": "local grace:/var/mail/grace", "heidi@localhost": "local heidi:/var/mail/heidi",
		"dave@catch.test": "unknown", "nobody@localhost": "unknown",
		"staff@localhost": "alias mailbox:alice@example.test by owner-staff@example.test x@far.test by owner-staff@example.test " +
			dave + " by owner-staff@example.test mailbox:bob@example.test by owner-staff@example.test",
	})
	w.configure(func(c *Config) {
		c.Destination, c.LuserRelay = Domains{Names: []string{"localhost"}}, "bob+$user@example.test"
	})
	w.each(map[string]string{"who@localhost": "alias mailbox:bob@example.test+who", "who@example.test": "alias mailbox:bob@example.test+who", "who@catch.test": "unknown"})
}

// Where mail goes that has moved, that lists of addresses do not have, and that
// other servers' domains have.
func TestListed(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *Config) {
		c.Relocated = w.tables("inline:{ {old@example.test = new@far.test} }")
		c.RelayDomains, c.RelayRecipients = Domains{Names: []string{"backup.test"}}, w.tables("inline:{ known@backup.test=x, @relay.test=x }")
		c.VirtualMailboxDomains = Domains{Tables: w.tables("inline:{ box.test=x }")}
		c.VirtualMailboxes = w.tables("inline:{ ann@box.test=ann/ }")
	})
	w.each(map[string]string{
		"old@example.test": "unknown 550 5.1.6 User has moved to new@far.test", "known+x@backup.test": "relay known+x@backup.test", "unknown@backup.test": "unknown",
		"any@relay.test": "relay any@relay.test", "ann@box.test": "local ann@box.test", "bea@box.test": "unknown",
	})
}

// A table that can not be asked now is an error, never "nobody".
func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	broken := w.tables("tcp:127.0.0.1:1")
	for what, change := range map[string]func(*Config){
		"virtual_alias_maps":   func(c *Config) { c.VirtualAliases = broken },
		"mydestination":        func(c *Config) { c.Destination.Tables = broken },
		"aliases":              func(c *Config) { c.Aliases = []AliasSource{w.aliases("tcp:127.0.0.1:1")} },
		"relocated_maps":       func(c *Config) { c.Relocated = broken },
		"relay_recipient_maps": func(c *Config) { c.RelayRecipients = broken },
	} {
		w.configure(change)
		for _, addr := range []string{"alice@example.test", "x@relay.test"} {
			a, err := smtp.ParseAddress(addr)
			w.must(err)
			_, err = w.router.Resolve(w.Context(), a, false)
			asked := !(what == "aliases" && addr == "x@relay.test" || what == "relay_recipient_maps" && addr == "alice@example.test")
			if (err != nil) != asked {
				t.Errorf("%s: %s: %v", what, addr, err)
			}
		}
	}
}

func TestWay(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *Config) {
		c.RelayDomains = Domains{Names: []string{"backup.test"}}
		c.VirtualMailboxDomains = Domains{Names: []string{"box.test"}}
		c.VirtualTransport, c.Relayhost = "lmtp:unix:/run/lmtp", "[smart.test]:587"
		c.Routes = []Named{
			{"far", Way{Via: ViaSMTP, Route: relay.Route{Name: "far", Hosts: []string{"192.0.2.1:25"}}}},
			{"procmail", Way{Via: ViaPipe, Local: Local{Name: "procmail", Command: []string{"/usr/bin/procmail"}}}},
		}
		c.Transports = w.tables("hash:" + w.file("transport", `
bob@a.test       discard:
a.test           far
.a.test          smtp:[mail.a.test]
lists.test       procmail:
mx.test          smtp:other.test:26
bad.test         error:5.7.1 not from here
slow.test        retry:4.3.2 later
box2.test        lmtp:inet:127.0.0.1:24
next.test        :[192.0.2.9]
`))
		c.SenderRelayhosts = w.tables("inline:{ ann@example.test=[ann.test], @plain.test=DUNNO, <>=[null.test]:2525 }")
		c.Passwords, c.SenderPasswords = w.tables("inline:{ {[smart.test]:587 = mx:secret}, {ann@example.test = ann:hers} }"), true
	})
	for _, c := range []struct{ from, to, want string }{
		{"x@example.test", "bob@a.test", "discard "}, {"x@example.test", "BOB+x@A.test", "discard "}, {"x@example.test", "eve@a.test", "smtp to 192.0.2.1:25"},
		{"x@example.test", "eve@b.c.a.test", "smtp to [mail.a.test]:25"}, {"x@example.test", "l@lists.test", "pipe to /usr/bin/procmail"},
		{"x@example.test", "l@mx.test", "smtp by the MX of other.test"}, {"x@example.test", "l@bad.test", "error 5.7.1 not from here"}, {"x@example.test", "l@slow.test", "retry 4.3.2 later"},
		{"x@example.test", "l@box.test", "lmtp to unix:/run/lmtp"}, {"x@example.test", "l@box2.test", "lmtp to 127.0.0.1:24"}, {"x@example.test", "l@next.test", "smtp to [192.0.2.9]:25"},
		{"x@example.test", "l@else.test", "smtp to [smart.test]:587 mx:secret"}, {"ann+z@example.test", "l@else.test", "smtp to [ann.test]:25 ann:hers"},
		{"x@plain.test", "l@else.test", "smtp to [smart.test]:587 mx:secret"}, {"", "l@else.test", "smtp to [null.test]:2525"},
		{"x@example.test", "l@backup.test", "smtp to [smart.test]:587 mx:secret"}, {"ann@example.test", "l@backup.test", "smtp to [ann.test]:25 ann:hers"},
	} {
		from, err := senderOf(c.from)
		w.must(err)
		to, err := smtp.ParseAddress(c.to)
		w.must(err)
		way, err := w.router.Way(t.Context(), from, to)
		got := way.String()
		if way.Route.Username != "" {
			got += " " + way.Route.Username + ":" + way.Route.Password
		}
		if err != nil || got != c.want {
			t.Errorf("from %s to %s: %s, %v; want %s", c.from, c.to, got, err, c.want)
		}
	}
	to := smtp.Address{Local: "x", Domain: "bad.test"}
	if way, err := w.router.Way(t.Context(), to, to); err != nil || way.Refusal().String() != "550 5.7.1 not from here" {
		t.Errorf("%v, %v", way.Refusal(), err)
	}
	w.configure(func(c *Config) { c.Transports = w.tables("inline:{ x.test=nothing: }") })
	if _, err := w.router.Way(t.Context(), to, smtp.Address{Local: "x", Domain: "x.test"}); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("a transport that is not there: %v", err)
	}
}

// What says a nexthop goes before what says a relayhost, and the sender before
// everybody (postconf(5), default_transport and relay_transport).
func TestPrecedence(t *testing.T) {
	w := newWorld(t)
	w.must(w.dir.AddDomain(t.Context(), "backup.test", directory.Relay))
	way := func(from, domain string) string {
		got, err := w.router.Way(t.Context(), smtp.Address{Local: "x", Domain: from}, smtp.Address{Local: "x", Domain: domain})
		w.must(err)
		return got.String()
	}
	for _, c := range []struct {
		change             func(*Config)
		far, other, backup string
	}{
		{func(*Config) {}, "smtp to [far]:25", "smtp to [all]:25", "smtp to [all]:25"},
		{func(c *Config) { c.DefaultTransport = "smtp:[def]" }, "smtp to [def]:25", "smtp to [def]:25", "smtp to [all]:25"},
		{func(c *Config) { c.RelayTransport = "smtp:[rel]" }, "smtp to [far]:25", "smtp to [all]:25", "smtp to [rel]:25"},
		{func(c *Config) { c.SenderTransports = w.tables("inline:{ @far.test=smtp:[own], @b.test=DUNNO }") }, "smtp to [own]:25", "smtp to [all]:25", "smtp to [all]:25"},
		{func(c *Config) { c.SenderTransports = w.tables("inline:{ @far.test=smtp: }") }, "smtp to [far]:25", "smtp to [all]:25", "smtp to [all]:25"},
		{func(c *Config) { c.DefaultTransport = "error" }, "error mail is undeliverable", "error mail is undeliverable", "smtp to [all]:25"},
		{func(c *Config) { c.DefaultTransport, c.Relayhost = "prog", "hub" }, "pipe to /bin/cat", "pipe to /bin/cat", "smtp to [192.0.2.1]:25"},
	} {
		w.configure(func(k *Config) {
			k.DefaultTransport, k.RelayTransport, k.Relayhost = "smtp", "relay", "[all]"
			k.SenderRelayhosts = w.tables("inline:{ @far.test=[far] }")
			k.Routes = []Named{
				{"hub", Way{Via: ViaSMTP, Route: relay.Route{Name: "hub", Hosts: []string{"[192.0.2.1]:25"}}}}, {"prog", Way{Via: ViaPipe, Local: Local{Name: "prog", Command: []string{"/bin/cat"}}}},
			}
			c.change(k)
		})
		if far, other, backup := way("far.test", "x.test"), way("b.test", "x.test"), way("b.test", "backup.test"); far != c.far || other != c.other || backup != c.backup {
			t.Errorf("%s, %s, %s; want %s, %s, %s", far, other, backup, c.far, c.other, c.backup)
		}
	}
}

// A nexthop alone goes with the transport, whatever route relayhost names.
func TestNexthopAlone(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *Config) {
		c.Relayhost, c.DefaultTransport = "smart", "smtp"
		c.Routes = []Named{{"smart", Way{Via: ViaSMTP, Route: relay.Route{Name: "smart", Hosts: []string{"192.0.2.1:25"}}}}}
		c.Transports = w.tables("inline:{ next.test=:[192.0.2.9] }")
	})
	for domain, want := range map[string]string{"next.test": "smtp to [192.0.2.9]:25", "else.test": "smtp to 192.0.2.1:25"} {
		way, err := w.router.Way(t.Context(), smtp.Address{}, smtp.Address{Local: "x", Domain: domain})
		if err != nil || way.String() != want {
			t.Errorf("%s: %s, %v; want %s", domain, way, err, want)
		}
	}
}

func senderOf(s string) (smtp.Address, error) {
	if s == "" {
		return smtp.Address{}, nil
	}
	return smtp.ParseAddress(s)
}

// Explain says why, and a walk nobody asked about says nothing.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.alias("info", "alice", "x@far.test")
	res, err := w.router.Explain(t.Context(), smtp.Address{Local: "info", Domain: "example.test"}, false)
	w.must(err)
	var got []string
	for _, s := range res.Steps {
		got = append(got, s.Address+" "+s.Where+": "+s.What)
	}
	want := []string{
		"info@example.test aliases of the directory: info@example.test leads to alice@example.test, x@far.test",
		"alice@example.test directory: mailbox of alice@example.test",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if res, err := w.router.Resolve(t.Context(), smtp.Address{Local: "info", Domain: "example.test"}, false); err != nil || res.Steps != nil {
		t.Errorf("%+v, %v", res.Steps, err)
	}
}
