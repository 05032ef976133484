package aliases

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// render is entries and errors, a line each.
func render(entries []Entry, errs []error) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %s:", e.Line, e.Name)
		for _, t := range e.Targets {
			fmt.Fprintf(&b, " %d<%s>", t.Kind, t.Text)
		}
		b.WriteString("\n")
	}
	for _, e := range errs {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// The first file is Debian's, as its installer writes it.
func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"# See man 5 aliases for format\npostmaster:    root\n":                                                          "2 postmaster: 0<root>\n",
		"a: b, c@d.test,\n   e\n# comment\n\t, f\nG : h\n":                                                               "1 a: 0<b> 0<c@d.test> 0<e> 0<f>\n5 g: 0<h>\n",
		`p: "|/usr/bin/prog -x \"a, b\"", |/bin/cat, |"/bin/sh -c x"` + "\n":                                             `1 p: 3</usr/bin/prog -x "a, b"> 3</bin/cat> 3</bin/sh -c x>` + "\n",
		"f: /var/mail/f, \"/srv/a b/\", :include:/etc/list, \":Include:/x y\"\n":                                         "1 f: 2</var/mail/f> 2</srv/a b/> 4</etc/list> 4</x y>\n",
		`"odd: name": \Alice, "quo ted"@x.test, <full@x.test>, Full Name <n@x.test>, c@x.test (Comment (nested))` + "\n": `1 odd: name: 1<alice> 0<"quo ted"@x.test> 0<full@x.test> 0<n@x.test> 0<c@x.test>` + "\n",
		"a: b # the rest\nx: y\n": "2 x: 0<y>\nf:1: a: b # the rest: targets are separated by commas\n",
		"a: b, # the rest\n":      "1 a: 0<b>\n",
		"a: b\na: c\nno colon\n: x\nb@c: d\ne:\ng: \"open\nh: i\n": "1 a: 0<b>\n8 h: 0<i>\n" +
			"f:2: a is there already, in line 1, which counts\nf:3: \"no colon\": want name: target, target\nf:4: \": x\": the name is missing\n" +
			"f:5: b@c: a name here has no domain; addresses with one are for virtual_alias_maps\nf:6: e: there are no targets\nf:7: g: \"\\\"open\": the quote is not closed\n",
		"a: |\nb: :include:x\nc: ~/x\nd: :other:\ne: \\\nf: <x\ng: (x\n": "f:1: a: a command is missing behind |\nf:2: b: :include:x: the path must be absolute\n" +
			"f:3: c: ~/x: want an address, /file, |command, or :include:/path\nf:4: d: :other:: there is :include:/path\nf:5: e: a name is missing behind \\\n" +
			"f:6: f: \"<x\": < without >\nf:7: g: \"(x\": ( without )\n",
	} {
		if got := render(Parse("f", text)); got != want {
			t.Errorf("%q:\n%swant\n%s", text, got, want)
		}
	}
}

func TestParseList(t *testing.T) {
	targets, errs := ParseList("l", "# mine\n\\bob, \"|vacation bob\"\n/home/bob/mbox\nbad one\n")
	if len(errs) != 1 || errs[0].Error() != "l:4: bad one: targets are separated by commas" ||
		!slices.Equal(targets, []Target{{User, "bob"}, {Command, "vacation bob"}, {File, "/home/bob/mbox"}}) {
		t.Errorf("%v, %v", targets, errs)
	}
	if _, errs := ParseList("l", strings.Repeat("a,", MaxTargets+1)); len(errs) != 1 {
		t.Errorf("too many: %v", errs)
	}
}

// What is written out reads as the same.
func FuzzParse(f *testing.F) {
	f.Add("a: b, \"|c \\\"d\\\"\", :include:/e\n")
	f.Add("\"x y\": \\z, <q@r> (s)\n t\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, errs := Parse("f", text)
		for _, e := range errs {
			if !strings.HasPrefix(e.Error(), "f:") {
				t.Errorf("no place: %v", e)
			}
		}
		for _, e := range entries {
			for _, target := range e.Targets {
				again, errs := ParseList("f", target.String()+"\n")
				if len(errs) > 0 || len(again) != 1 || again[0] != target {
					t.Errorf("%+v written %s reads as %+v, %v", target, target, again, errs)
				}
			}
		}
	})
}
