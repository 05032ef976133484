package mtatest

import (
	"strings"
	"testing"

	"mtad/internal/invariants"
)

// Breaks checks that f breaks an invariant, and which: that a check fires.
func Breaks(t testing.TB, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		v, ok := recover().(invariants.Violation)
		if !ok || !strings.Contains(string(v), text) {
			t.Errorf("%q, want a violation with %q", v, text)
		}
	}()
	f()
}
