package mail

import (
	"fmt"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// nested is a part in so many multiparts.
func nested(depth int) string {
	var head strings.Builder
	for i := range depth {
		fmt.Fprintf(&head, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return head.String() + "Content-Type: text/plain\n\ninnermost\n"
}

func flat(parts int) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: text/plain\n\nx\n", parts) + "--b--\n"
}

// TestBounds takes messages apart at each bound and one past it, as SpamAssassin does.
func TestBounds(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for name, c := range map[string]struct {
		text  string
		parts int // leaves
	}{
		"20 levels": {nested(20), 1}, "21 levels": {nested(21), 1}, "22 levels": {nested(22), 1},
		"1000 parts": {flat(1000), 1000}, "1001 parts": {flat(1001), 1000},
		"20 blank lines":      {"Subject: x\n\na\n" + strings.Repeat("\n", 20) + "b\n", 1},
		"21 blank lines":      {"Subject: x\n\na\n" + strings.Repeat("\n", 21) + "b\n", 1},
		"21 at the beginning": {"Subject: x\n\n" + strings.Repeat("\n", 21) + "b\n", 1},
		"22 at the beginning": {"Subject: x\n\n" + strings.Repeat("\n", 22) + "b\n", 1},
		"a line of 2048":      {"Subject: x\n\n" + strings.Repeat("x", 2048) + "\nb\n", 1},
		"a line of 2049":      {"Subject: x\n\n" + strings.Repeat("x", 2049) + "\nb\n", 1},
		"2048 with a space":   {"Subject: x\n\n" + strings.Repeat("x", 1024) + " " + strings.Repeat("y", 1023) + "\nb\n", 1},
		"2049 with a space":   {"Subject: x\n\n" + strings.Repeat("x", 1024) + " " + strings.Repeat("y", 1024) + "\nb\n", 1},
		"HTML of 2049":        {"Content-Type: text/html\n\n<p>" + strings.Repeat("x", 2049) + "</p>\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var want seen
			o.About(t, "check", []byte(c.text), &want)
			compare(t, []byte(c.text), &want)
			if got := len(Parse([]byte(c.text), Limits{}).Leaves()); got != c.parts {
				t.Errorf("%d parts, want %d", got, c.parts)
			}
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
