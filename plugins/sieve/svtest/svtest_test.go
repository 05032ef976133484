package svtest

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
	want := []Failure{{"fails", 2, "as it should"}, {"breaks", 3, "broken"}}
	if err != nil || got.Tests != 3 || !slices.Equal(got.Failures, want) {
		t.Errorf("%+v %v", got, err)
	}
	if !strings.Contains(out.String(), "goes on: ok") || !strings.Contains(out.String(), "fails: FAILED, line 2: as it should") {
		t.Errorf("%s", &out)
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
