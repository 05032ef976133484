package directory

import (
	"fmt"
	"sync"
	"testing"

	"mtad/smtp"
)

// What is remembered must never outlive a change: whoever made the change sees
// it at once, while others ask all the time.
func TestLookupSeesEveryChange(t *testing.T) {
	d, _ := open(t)
	addUser(t, d, "alice")
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for range 2 {
		askers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					d.Lookup(bg(), "x", "example.test")
					d.Lookup(bg(), "postmaster", "example.test")
				}
			}
		})
	}
	steps := []struct {
		what   string
		change func() error
		asked  string
		want   string
	}{
		{"add alias", func() error { return d.AddAlias(bg(), "x", "alice") }, "x", "local x@example.test alias alice@example.test"},
		{"add target", func() error { return d.AddAlias(bg(), "x", "y@far.test") }, "x", "local x@example.test alias alice@example.test y@far.test"},
		{"remove alias", func() error { return d.RemoveAlias(bg(), "x") }, "x", "local"},
		{"add user", func() error { _, err := d.AddUser(bg(), "x", "secret secret"); return err }, "x", "local x@example.test user x@example.test"},
		{"remove user", func() error { _, err := d.RemoveUser(bg(), "x"); return err }, "x", "local"},
		{"postmaster", func() error {
			return d.Configure(Settings{DefaultDomain: "example.test", Postmaster: "alice"})
		}, "postmaster", "local postmaster@example.test alias alice@example.test for nobody"},
		{"no postmaster", func() error { return d.Configure(Settings{DefaultDomain: "example.test"}) }, "postmaster", "local"},
		{"relay domain", func() error { return d.AddDomain(bg(), "example.test", Relay) }, "x", "relay"},
		{"local domain", func() error { return d.AddDomain(bg(), "example.test", Local) }, "x", "local"},
	}
	for round := range 4 {
		for _, s := range steps {
			must(t, s.change())
			r, err := d.Lookup(bg(), s.asked, "example.test")
			if got := describe(r, err); got != s.want {
				t.Fatalf("round %d: after %s: %s, want %s", round, s.what, got, s.want)
			}
		}
	}
	close(stop)
	askers.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	for i := range 2 * maxCached {
		c.put(smtp.Address{Local: fmt.Sprint(i), Domain: "x.test"}, c.generation(), Result{})
	}
	c.put(smtp.Address{Local: "many"}, c.generation(), Result{Targets: make([]string, maxCachedTargets+1)})
	if _, ok := c.get(smtp.Address{Local: "many"}); ok || len(c.known) != maxCached {
		t.Errorf("%d are remembered", len(c.known))
	}
	if _, ok := c.get(smtp.Address{Local: fmt.Sprint(2*maxCached - 1), Domain: "x.test"}); !ok {
		t.Error("the newest is not")
	}
}
