package table

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# people\nAnn@example.org  one two\n\nbob@example.org\n")
	tab, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if v, ok := tab.Get("ann@EXAMPLE.org", now); v != "one two" || !ok {
		t.Errorf("got %q %v", v, ok)
	}
	if v, ok := tab.Get("bob@example.org", now); v != "" || !ok {
		t.Errorf("got %q %v", v, ok)
	}
	write("carol@example.org\n")
	if keys := tab.Keys(now); len(keys) != 2 {
		t.Errorf("the file was looked at again at once: %q", keys)
	}
	if keys := tab.Keys(now.Add(every)); !slices.Equal(keys, []string{"carol@example.org"}) {
		t.Errorf("got %q", keys)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if keys := tab.Keys(now.Add(2 * every)); len(keys) != 1 {
		t.Errorf("a file that is gone took its rows along: %q", keys)
	}
	if _, err := Open(path); err == nil {
		t.Error("opened a file that is not there")
	}
}
