//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/spamtest"
)

// TestSpamMemory goes a part of the way whose figures docs/performance.md has: a server takes
// mail for users with preferences, changed rules, a backup and lessons.
func TestSpamMemory(t *testing.T) {
	mtatest.Program(t, "spamassassin") // whose rules they are
	if _, err := os.Stat(spamtest.Stock); err != nil {
		t.Fatal(err)
	}
	mtatest.DependOn(t, "../..")
	b := &bench{binary: filepath.Join(t.TempDir(), "mtad"), dir: t.TempDir()}
	mtatest.Check(t, mtatest.Build("../..", b.binary, "./cmd/mtad"))
	d, err := b.startDev(filepath.Join(b.dir, "memory"), mtatest.DevPorts(t).Base)
	mtatest.Check(t, err)
	defer d.stop()
	before := d.memory()
	for _, do := range []func() error{func() error { return d.send(30) }, func() error { return d.reload(1) }, func() error { return d.send(10) }, func() error { return d.importTokens(1000) }, func() error { return d.learn(4) }} {
		mtatest.Check(t, do())
	}
	inUse, err := d.inUse()
	mtatest.Check(t, err)
	if rss := rollup(d.family(), rssLine); before < 20<<20 || rss < before/2 || inUse == "0" || d.sent < 5 || d.sent+d.refused != 40 {
		t.Error(fmt.Sprint(before, rss, inUse, d.sent, d.refused))
	}
}
