package dns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func parse(t testing.TB, s string) *Zone {
	t.Helper()
	z, err := ParseZone(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestZone(t *testing.T) {
	z := parse(t, `
; a comment
a.test.  A 192.0.2.1 ; behind
A.test   A 192.0.2.2
semi.test TXT "a;b" "c"
loop.test CNAME loop.test
alias.test CNAME Next.test.
next.test CNAME a.test
broken.test FAIL
tofail.test CNAME broken.test
*.wild.test A 192.0.2.9
`)
	for q, want := range map[string]string{
		"a.test A": "A 192.0.2.1 0, A 192.0.2.2 0", "A.TEST. A": "A 192.0.2.1 0, A 192.0.2.2 0", "a.test MX": "no data",
		"semi.test TXT": "TXT a;bc 0", "alias.test A": "A 192.0.2.1 0, A 192.0.2.2 0", "alias.test CNAME": "CNAME Next.test 0",
		"loop.test A": "temporary", "broken.test A": "temporary", "tofail.test A": "temporary", "x.wild.test A": "no name", "alias.test MX": "no data",
	} {
		name, typ, _ := strings.Cut(q, " ")
		types := map[string]Type{"A": A, "MX": MX, "TXT": TXT, "CNAME": CNAME}
		if got := show(z.Lookup(t.Context(), name, types[typ])); got != want {
			t.Errorf("%s: got %s, want %s", q, got, want)
		}
	}
}

func TestZoneErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a.test A\n":               `dns: zone line 1: want a name, a type and data, got "a.test A"`,
		"\n\na.test A nonsense\n":  "dns: zone line 3: ",
		"a.test HINFO a b\n":       "dns: zone line 1: type of",
		"a.test fail\n":            "dns: zone line 1: want a name",
		strings.Repeat("x", 70000): "bufio.Scanner: token too long",
	} {
		if _, err := ParseZone(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "%!") {
			t.Errorf("%.30q: %v", text, err)
		}
	}
	if _, err := ReadZone("nowhere"); err == nil {
		t.Error("a missing file is no error")
	}
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte("bad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadZone(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestTypeNames(t *testing.T) {
	if A.String() != "A" || Type(65000).String() != "TYPE65000" {
		t.Error(A, Type(65000))
	}
}

// What a zone takes, it can answer.
func FuzzParseZone(f *testing.F) {
	for _, s := range []string{reverse, `a TXT "x;y" ; z`, "a MX 10 b", "a FAIL", `a TXT "\195\"\\"`, "$INCLUDE /etc/passwd a b", "a A (\n192.0.2.1)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		z, err := ParseZone(strings.NewReader(s))
		if err != nil {
			if strings.Contains(err.Error(), "%!") && !strings.Contains(s, "%!") {
				t.Error(err)
			}
			return
		}
		for name := range z.records {
			for _, typ := range []Type{A, MX, TXT, CNAME} {
				a, err := z.Lookup(t.Context(), name, typ)
				if err == nil && len(a.Records) == 0 {
					t.Errorf("%q %s: an answer without records", name, typ)
				}
			}
		}
	})
}
