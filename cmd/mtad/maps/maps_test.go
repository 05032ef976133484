package maps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTable(t *testing.T) {
	path := write(t, "a b\nroot: x\nalone\nA c\n")
	note, warnings, err := Test(t.Context(), "hash:"+path)
	want := []string{":2: the key root: ends in a colon; is this a file of aliases?", ":3: alone has no value", ":4: a is there already, in line 1, which counts"}
	if err != nil || note != "3 rows" || strings.ReplaceAll(strings.Join(warnings, " "), path, "") != strings.Join(want, " ") {
		t.Errorf("%q, %q, %v", note, warnings, err)
	}
	for spec, want := range map[string]string{"regexp:" + write(t, "/a/ b\n/\n"): ":2: ", "tcp:127.0.0.1:1": "refused", "file:/nonexistent/none": "no such file"} {
		if note, _, err := Test(t.Context(), spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", spec, note, err)
		}
	}
}

func TestAliases(t *testing.T) {
	list := write(t, "bob\nbad one\n")
	if n, err := Aliases(write(t, "a: b\nc: :include:/nonexistent/none\nd: :include:"+list+"\ne\n")); n != 3 || err == nil ||
		strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), ":2: c: open /nonexistent/none") || !strings.Contains(err.Error(), list+":2: bad one") {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := Aliases(write(t, "postmaster: root\n")); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
