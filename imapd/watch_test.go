package imapd

import (
	"testing"
)

// Who watches logins is told of each that is good, and of connections that end
// after bad ones.
func TestWatch(t *testing.T) {
	seen := make(chan Attempt, 10)
	s := newSite(t, func(c *Config) { c.Watch = func(a Attempt) { seen <- a } })
	c := dial(t, s.addr)
	c.line()
	c.do("LOGIN alice wrong")
	c.do("LOGIN alice alice")
	c.do("LOGOUT")
	quiet := dial(t, s.addr)
	quiet.line()
	quiet.do("LOGOUT")
	bad := dial(t, s.addr)
	bad.line()
	bad.do("LOGIN nobody wrong")
	bad.do("LOGIN alice worse")
	bad.conn.Close()
	for _, want := range []Attempt{{OK: true, Login: "alice", Failures: 1}, {Login: "alice", Failures: 2}} {
		got := <-seen
		if got.OK != want.OK || got.Login != want.Login || got.Failures != want.Failures || got.Mechanism != "PLAIN" || got.TLS ||
			!got.Remote.IsValid() || got.Local.String() != s.addr {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if len(seen) != 0 {
		t.Errorf("told of %+v too", <-seen)
	}
}
