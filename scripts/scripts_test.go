// Package scripts holds ready-made Lua rules. Each says at its top what it does
// and where it belongs; the tests here run them.
package scripts

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua"
)

// run asks a script about a message.
func run(t *testing.T, script string, s pipeline.Stage, mail string) string {
	t.Helper()
	b, diags := config.ParseBlock(`script = "`+script+`"`, config.BlockType{Options: lua.Kind().Options})
	if diags != nil {
		t.Fatal(diags)
	}
	f, err := lua.Kind().New(b, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.Parse(message.FromBytes([]byte(strings.ReplaceAll(mail, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Filter(context.Background(), s, pipeline.NewView(pipeline.Client{}, pipeline.Mailing{}, m))
	if err != nil {
		t.Fatal(err)
	}
	return v.String()
}

func TestScripts(t *testing.T) {
	attached := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Disposition: attachment; filename=\"%\"\n\nx\n--b--\n"
	tested := map[string]bool{}
	for _, c := range []struct {
		script string
		stage  pipeline.Stage
		mail   string
		want   string
	}{
		{"lists.lua", pipeline.Deliver, "List-Id: Go Nuts <golang-nuts.googlegroups.com>\n\n", `continue; file-into "Lists/golang-nuts"`},
		{"lists.lua", pipeline.Deliver, "List-Unsubscribe: <mailto:u@example.org>\n\n", `continue; file-into "Newsletters"`},
		{"lists.lua", pipeline.Deliver, "List-Unsubscribe: <mailto:u@example.org>\nIn-Reply-To: <a@b>\n\n", "continue"},
		{"attachments.lua", pipeline.Message, strings.Replace(attached, "%", "Invoice.PDF.exe", 1), "reject 554 5.7.1 Programs are not taken here: Invoice.PDF.exe"},
		{"attachments.lua", pipeline.Message, strings.Replace(attached, "%", "exe.pdf", 1), "continue"},
		{"impostor.lua", pipeline.Message, "From: \"Jane Director\" <jane@evil.test>\n\n", `continue; add-score impostor 8.0 "jane director from evil.test"`},
		{"impostor.lua", pipeline.Message, "From: \"Jane Director\" <jane@example.org>\n\n", "continue"},
	} {
		tested[c.script] = true
		if got := run(t, c.script, c.stage, c.mail); got != c.want {
			t.Errorf("%s: %s; want %s", c.script, got, c.want)
		}
	}
	files, err := filepath.Glob("*.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !tested[f] {
			t.Errorf("%s has no test", f)
		}
	}
}
