package route

import (
	"testing"

	"mtad/smtp"
)

// BenchmarkResolve is what each recipient costs, twice a message.
func BenchmarkResolve(b *testing.B) {
	w := newWorld(b)
	w.alias("info", "alice", "bob", "x@far.test")
	virtual := w.tables("inline:{ sales@shop.test=info@example.test }")
	for _, c := range []struct {
		name, addr string
		change     func(*Config)
	}{
		{"mailbox", "alice@example.test", func(*Config) {}},
		{"alias", "info@example.test", func(*Config) {}},
		{"remote", "x@far.test", func(*Config) {}},
		{"mailbox-virtual", "alice@example.test", func(c *Config) { c.VirtualAliases = virtual }},
		{"alias-virtual", "sales@shop.test", func(c *Config) { c.VirtualAliases = virtual }},
	} {
		b.Run(c.name, func(b *testing.B) {
			w.configure(c.change)
			a, err := smtp.ParseAddress(c.addr)
			w.must(err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.router.Resolve(b.Context(), a, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
