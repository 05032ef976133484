package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestGolden runs the files of testdata:
//
//	load                      parse the input and keep it; print what is wrong
//	show [n] | json [n]       of what was loaded last
//	get | explain             one key a line
//	reference                 of the test schema
//	when                      compile one condition a line; print the value or what is wrong
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var file *File
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out bytes.Buffer
			switch d.Cmd {
			case "load":
				f, diags := Parse("mtad.hcl", []byte(d.Input+"\n"), mailSchema(), outsideWorld())
				if diags != nil {
					diags.Write(&out, d.HasArg("color"))
					return out.String()
				}
				file = f
				return "ok"
			case "show":
				check(t, Show(&out, file, d.HasArg("n")))
			case "json":
				check(t, ShowJSON(&out, file, d.HasArg("n")))
			case "get":
				forLines(d.Input, func(key string) {
					v, err := Get(file, key)
					answer(&out, v+"\n", err)
				})
			case "explain":
				forLines(d.Input, func(key string) { answer(&out, "", Explain(&out, mailSchema(), file, key)) })
			case "reference":
				check(t, Reference(&out, mailSchema()))
			case "when":
				forLines(d.Input, func(text string) { runWhen(&out, text) })
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return out.String()
		})
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func answer(out *bytes.Buffer, text string, err error) {
	if err != nil {
		text = "error: " + err.Error() + "\n"
	}
	out.WriteString(text)
}

func forLines(input string, f func(string)) {
	for line := range strings.Lines(input) {
		f(strings.TrimSpace(line))
	}
}
