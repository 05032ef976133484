package managesieved

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"mtad/sieve"
)

// TestGolden runs the dialogues in testdata/dialogue. Commands:
//
//	script NAME   defines a text; its lines end in CRLF
//	sieve NAME    sends the input on the connection NAME, which is opened when it is first used, as alice unless the
//	              name begins with "raw", and shows what comes back. "{NAME+}" is that text as a literal, the line "."
//	              the end of the connection.
//
// The extensions of SIEVE are shown as EXTENSIONS.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/dialogue", func(t *testing.T, path string) {
		s := newSite(t, nil)
		clients, texts := map[string]*client{}, map[string]string{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			name := d.CmdArgs[0].Key
			if d.Cmd == "script" {
				texts[name] = strings.ReplaceAll(d.Input+"\n", "\n", "\r\n")
				return "ok\n"
			}
			var out strings.Builder
			c := clients[name]
			if c == nil {
				c = dial(t, s)
				clients[name] = c
				hello := c.answer()
				if strings.HasPrefix(name, "raw") {
					out.WriteString(hello)
				} else {
					c.ok(aliceIn)
				}
			}
			for _, l := range strings.Split(d.Input, "\n") {
				c.say(l, texts, &out)
			}
			return show(out.String())
		})
	})
}

var (
	placeholder = regexp.MustCompile(`\{([a-z]+)\+\}`)
	challenged  = regexp.MustCompile(`^AUTHENTICATE "[A-Z]+"$`)
)

// say sends a line with the texts it names, and reads the answer.
func (c *client) say(l string, texts map[string]string, out *strings.Builder) {
	c.t.Helper()
	if l == "." {
		out.WriteString(c.eof() + "(closed)\n")
		return
	}
	c.send(placeholder.ReplaceAllStringFunc(l, func(m string) string {
		text := texts[m[1:len(m)-2]]
		return "{" + strconv.Itoa(len(text)) + "+}\r\n" + text
	}) + "\r\n")
	if challenged.MatchString(l) {
		out.WriteString(c.line())
		return
	}
	out.WriteString(c.answer())
}

func show(answers string) string {
	answers = strings.ReplaceAll(answers, "\r\n", "\n")
	answers = regexp.MustCompile(`(?m)^"SIEVE" "[^"]+"`).ReplaceAllString(answers, `"SIEVE" "EXTENSIONS"`)
	return "S: " + strings.ReplaceAll(strings.TrimSuffix(answers, "\n"), "\n", "\nS: ") + "\n"
}

// What SIEVE announces can be required, and nothing else.
func TestExtensions(t *testing.T) {
	s := newSite(t, nil)
	c := login(t, s)
	m := regexp.MustCompile(`(?m)^"SIEVE" "([^"]+)"`).FindStringSubmatch(c.do("CAPABILITY"))
	offered := map[string]bool{}
	for _, e := range strings.Fields(m[1]) {
		offered[e] = true
	}
	for _, e := range sieve.Extensions() {
		want := "OK"
		if e == "imapsieve" || e == "ereject" {
			want = "NO"
		}
		if offered[e] != (want == "OK") {
			t.Errorf("%s: offered %v", e, offered[e])
		}
		text := `require "` + e + `"; keep;`
		c.want("CHECKSCRIPT {"+strconv.Itoa(len(text))+"+}\r\n"+text, want)
	}
}
