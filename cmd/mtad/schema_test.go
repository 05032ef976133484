package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/cmd/mtad/routes"
	"mtad/config"
	"mtad/lookup"
	"mtad/plugins"
)

func TestSchemaIsWhole(t *testing.T) {
	check(t, config.CheckSchema(schema()))
}

func TestStructsFitTheirOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		options []config.Option
		dst     any
	}{
		"top":      {topOptions, &topSettings{}},
		"listener": {listenerOptions, &listenerSettings{}},
		"tls":      {tlsOptions, &tlsSettings{}},
		"route":    {routes.RouteOptions, &routes.RouteSettings{}},
		"step":     {stepOptions, &stepSettings{}},
	} {
		if err := config.CheckStruct(tc.options, tc.dst); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKindsOfFilters(t *testing.T) {
	seen := map[string]bool{}
	common := map[string]bool{}
	for _, o := range stepOptions {
		common[o.Name] = true
	}
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		if k.Name == "" || k.Doc == "" || k.Stages == 0 || k.New == nil || seen[k.Name] {
			t.Errorf("kind %q lacks something, or is there twice", k.Name)
		}
		seen[k.Name] = true
		for _, o := range k.Options {
			if common[o.Name] {
				t.Errorf("%s: option %s is one that every filter has", k.Name, o.Name)
			}
		}
		if found, _ := filterType(k.Name); found == nil || found.Name != k.Name {
			t.Errorf("%s is not found by its name", k.Name)
		}
	}
	if found, names := filterType("nothing"); found != nil || len(names) != len(seen) {
		t.Errorf("found %v, %v", found, names)
	}
}

// TestEveryFilterIsDocumented prints the page of every kind.
func TestEveryFilterIsDocumented(t *testing.T) {
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		out, errs, code := runMtad("", "filter", "doc", k.Name)
		if code != 0 || errs != "" {
			t.Errorf("%s: exit %d %s", k.Name, code, errs)
		}
		for _, o := range k.Options {
			if !containsLine(out, "pipeline.filter."+k.Name+"."+o.Name) {
				t.Errorf("%s: nothing of %s", k.Name, o.Name)
			}
		}
	}
	out, _, _ := runMtad("", "filter", "list", "-o", "ndjson")
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		if !containsText(out, `"name":"`+k.Name+`"`) {
			t.Errorf("%s is not listed", k.Name)
		}
	}
}

// What would stop a start, or never match anything, is found by `config check`.
func TestCheckFindsWhatCanNotBe(t *testing.T) {
	const good = "listener \"mx\" {\n  addr = [\":25\"]\n  pipeline = \"in\"\n}\npipeline \"in\" {}\n"
	for text, want := range map[string]string{
		good:                           "",
		good + `postmaster = "a b@@c"`: `"a b@@c" is no address`,
		good + `nameservers = ["ns"]`:  `"ns" is no address of a name server`,
		good + `nameservers = ["192.0.2.1", "[::1]:53"]`:                                                                           "",
		strings.Replace(good, `"mx"`, `"http"`, 1):                                                                                 `can not be named "http"`,
		good + `http = "nowhere"`:                                                                                                  `"nowhere" is not host:port`,
		good + `relay_domains = ["a b"]`:                                                                                           `"a b" is no domain name`,
		good + `relay_domains = [".a.test", "b.test"]`:                                                                             "",
		good + `virtual_alias_domains = ["a b"]`:                                                                                   `"a b" is no domain name`,
		good + `transport_maps = "nothing"`:                                                                                        `"nothing" is no table`,
		good + `relay_domains = store()`:                                                                                           `store() has no such list`,
		good + `route "r" { to = ["h"] }`:                                                                                          `"h" is not host:port`,
		good + `route "r" { protocol = "pipe" }`:                                                                                   `command is required`,
		good + "route \"r\" {\n  protocol = \"pipe\"\n  command = [\"/bin/cat\", \"$nothing\"]\n}":                                 `$nothing is nothing`,
		good + "route \"r\" {\n  protocol = \"pipe\"\n  command = [\"/bin/cat\"]\n  flags = \"x\"\n}":                              `there is no flag "x"`,
		good + "route \"r\" {\n  protocol = \"pipe\"\n  command = [\"/bin/cat\"]\n  flags = \"D\"\n}":                              `need single_recipient`,
		good + "route \"r\" {\n  protocol = \"pipe\"\n  command = [\"/bin/cat\"]\n  user = \"root\"\n}":                            `a user other than root`,
		good + "route \"r\" {\n  protocol = \"mbox\"\n  path = \"/srv/$user\"\n  flags = \"R\"\n}":                                 `flags mean nothing`,
		good + `route "smtp" { to = ["h:25"] }`:                                                                                    `a transport of its own`,
		good + `virtual_alias_maps = "file:/nonexistent/none"`:                                                                     `no such file`,
		good + `virtual_alias_maps = "regexp:/dev/null/x"`:                                                                         `not a directory`,
		good + `mynetworks = ["10.0.0.1/8"]`:                                                                                       `want 10.0.0.0/8`,
		good + "route \"r\" { to = [\"h:x\"] }":                                                                                    `"h:x" is not host:port`,
		strings.Replace(good, `":25"`, `":99999"`, 1):                                                                              `":99999" is not host:port`,
		strings.Replace(good, "pipeline =", "xclient = [\"x\"]\n  pipeline =", 1):                                                  `"x" is no network`,
		strings.Replace(good, "pipeline =", "auth = \"required\"\n  pipeline =", 1):                                                "nobody could log in",
		strings.Replace(strings.Replace(good, "pipeline =", "auth = \"required\"\n  pipeline =", 1), `":25"`, `"127.0.0.1:25"`, 1): "",
		good + "listener \"sieve\" {\n  protocol = \"managesieve\"\n  addr = [\"127.0.0.1:4190\"]\n}":                              "",
		good + "listener \"sieve\" {\n  protocol = \"managesieve\"\n  addr = [\":4190\"]\n}":                                       "nobody could log in",
	} {
		path := filepath.Join(t.TempDir(), "mtad.hcl")
		check(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
		out, errs, code := runMtad("", "config", "check", "-c", path)
		if (code == 0) != (want == "") || !strings.Contains(out+errs, want) {
			t.Errorf("%s\nexit %d %s%s", text, code, out, errs)
		}
	}
}

// Every type of lookup table may be named in the configuration, and its file is
// relative to the configuration's.
func TestEveryTableCanBeNamed(t *testing.T) {
	for _, typ := range append(lookup.Types(), "mysql") {
		f, diags := config.Parse("/etc/mtad/mtad.hcl", []byte(`virtual_alias_maps = "`+typ+`:x"`), schema(), config.Options{})
		if diags != nil {
			t.Fatal(diags)
		}
		var top topSettings
		check(t, f.Root().Decode(&top))
		want := typ + ":x"
		if _, file := lookup.Path(want); file || typ == "mysql" {
			want = typ + ":/etc/mtad/x"
		}
		if got := top.VirtualAliases.Tables(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", typ, got, want)
		}
	}
}
