package svtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mtad/sieve"
)

// TestSuites runs every suite of testdata: each of its tests must hold.
func TestSuites(t *testing.T) {
	files, err := filepath.Glob("testdata/*.svtest")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if filepath.Base(file) == "failing.svtest" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			var out bytes.Buffer
			got, err := Run(t.Context(), file, &out)
			if err != nil || len(got.Failures) > 0 || got.Tests == 0 {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}

// A test that fails is reported, with its line, and the others run.
func TestFailing(t *testing.T) {
	var out bytes.Buffer
	got, err := Run(t.Context(), "testdata/failing.svtest", &out)
	want := []Failure{{"fails", 2, "as it should"}, {"breaks", 3, "broken"},
		{"a setting", 7, `test_config_set: nothing here stands for the setting "sieve_nonesuch"`}}
	if err != nil || got.Tests != 5 || !slices.Equal(got.Failures, want) {
		t.Errorf("%+v %v", got, err)
	}
	if !strings.Contains(out.String(), "goes on: ok") || !strings.Contains(out.String(), "fails: FAILED, line 2: as it should") {
		t.Errorf("%s", &out)
	}
}

// Every capability that scripts can require is required by a suite: it must show
// what the extension does, and what it refuses.
func TestCapabilities(t *testing.T) {
	files, err := filepath.Glob("testdata/*.svtest")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	require := regexp.MustCompile(`(?s)require\s+(\[.*?\]|".*?")\s*;`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range require.FindAllStringSubmatch(string(text), -1) {
			for name := range strings.SplitSeq(strings.Trim(m[1], "[]"), ",") {
				used[strings.Trim(name, " \n\"")] = true
			}
		}
	}
	for _, name := range sieve.Extensions() {
		if !used[name] {
			t.Errorf("no suite in testdata requires %q", name)
		}
		if _, err := os.Stat("testdata/refused/" + name + ".sieve"); err != nil && name != "imapsieve" && !strings.HasPrefix(name, "comparator-") {
			t.Errorf("what %q refuses is not in testdata/refused", name)
		}
	}
}

func TestNoSuite(t *testing.T) {
	if _, err := Run(t.Context(), "testdata/none", &bytes.Buffer{}); err == nil {
		t.Error("a file that is not there")
	}
	if _, err := Run(t.Context(), "testdata/bad.sieve", &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("got %v", err)
	}
}
