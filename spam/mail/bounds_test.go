package mail

import (
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// TestLineBounds cuts lines, and runs of blank ones, as SpamAssassin does.
func TestLineBounds(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for name, text := range map[string]string{
		"20 blank lines":      "Subject: x\n\na\n" + strings.Repeat("\n", 20) + "b\n",
		"21 blank lines":      "Subject: x\n\na\n" + strings.Repeat("\n", 21) + "b\n",
		"21 at the beginning": "Subject: x\n\n" + strings.Repeat("\n", 21) + "b\n",
		"22 at the beginning": "Subject: x\n\n" + strings.Repeat("\n", 22) + "b\n",
		"a line of 2048":      "Subject: x\n\n" + strings.Repeat("x", 2048) + "\nb\n",
		"a line of 2049":      "Subject: x\n\n" + strings.Repeat("x", 2049) + "\nb\n",
		"2048 with a space":   "Subject: x\n\n" + strings.Repeat("x", 1024) + " " + strings.Repeat("y", 1023) + "\nb\n",
		"2049 with a space":   "Subject: x\n\n" + strings.Repeat("x", 1024) + " " + strings.Repeat("y", 1024) + "\nb\n",
		"HTML of 2049":        "Content-Type: text/html\n\n<p>" + strings.Repeat("x", 2049) + "</p>\n",
	} {
		t.Run(name, func(t *testing.T) {
			var want seen
			o.About(t, "check", []byte(text), &want)
			compare(t, []byte(text), &want)
		})
	}
}

// TestHeaderBounds cuts names, values and whole headers.
func TestHeaderBounds(t *testing.T) {
	for _, c := range []struct {
		name, value string
		cut         bool
	}{
		{strings.Repeat("n", 256), "x", false}, {strings.Repeat("n", 257), "x", true},
		{"X-Long", strings.Repeat("v", 8190), false}, {"X-Long", strings.Repeat("v", 8191), true}, // with its space and its end
	} {
		m := Parse([]byte(c.name+": "+c.value+"\n\nbody\n"), Limits{})
		if len(m.Fields) != 1 {
			t.Fatalf("%d fields", len(m.Fields))
		}
		name, value := m.Fields[0].Name, m.Fields[0].Value
		if m.TruncatedHeader != c.cut || !strings.HasPrefix(c.name, name) || !strings.HasPrefix(c.value, value) || len(name) > 256 || len(value) > 8192 {
			t.Errorf("a name of %d and a value of %d octets: %d and %d, cut %v", len(c.name), len(c.value), len(name), len(value), m.TruncatedHeader)
		}
	}
}
