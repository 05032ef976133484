package main

import (
	"errors"
	"strings"
	"testing"
)

const sample = `{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestPeer","Output":"    a_test.go:7: swaks not installed\n"}
{"Action":"output","Package":"a","Test":"TestPeer","Output":"--- SKIP: TestPeer (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestPeer"}
{"Action":"pass","Package":"a","Elapsed":0.2}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    b_test.go:9: broken\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
not json
`

func TestTally(t *testing.T) {
	var b strings.Builder
	tl := newTally(&b)
	if err := tl.read(strings.NewReader(sample)); err != nil {
		t.Fatal(err)
	}
	if tl.report(false, errors.New("exit status 1")) {
		t.Error("a failed test made a good run")
	}
	out := b.String()
	for _, want := range []string{"broken", "a TestPeer: swaks not installed", "not json"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if !strings.HasSuffix(out, "\n1 passed, 1 failed, 1 skipped\n") {
		t.Errorf("last line:\n%s", out)
	}
}

func TestRequired(t *testing.T) {
	for _, required := range []bool{false, true} {
		tl := newTally(&strings.Builder{})
		if err := tl.read(strings.NewReader(strings.SplitAfter(sample, "{\"Action\":\"output\",\"Package\":\"b\"")[0])); err != nil {
			t.Fatal(err)
		}
		tl.failed = nil
		if got := tl.report(required, nil); got == required {
			t.Errorf("required=%v: good=%v with a skipped test", required, got)
		}
	}
}

func TestBuildFailure(t *testing.T) {
	tl := newTally(&strings.Builder{})
	in := `{"ImportPath":"c","Action":"build-output","Output":"c.go:1: syntax error\n"}
{"ImportPath":"c","Action":"build-fail"}
`
	if err := tl.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	if tl.report(false, nil) {
		t.Error("a package that does not build made a good run")
	}
}
