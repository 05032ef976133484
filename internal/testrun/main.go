// Command testrun runs `go test -json` with the arguments it is given, prints
// what failed, and ends with the names of what was skipped and one line of
// counts. With MTAD_PEERS=required in the environment a skipped test fails the
// run: there everything that tests may need is installed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is what `go test -json` prints (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
	t := newTally(os.Stdout)
	if err := t.read(out); err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
	}
	exit := cmd.Wait()
	if !t.report(os.Getenv("MTAD_PEERS") == "required", exit) {
		os.Exit(1)
	}
}

// tally counts tests as they end.
type tally struct {
	w       io.Writer
	passed  int
	failed  []string
	skipped []string
	output  map[string][]string // of tests that have not ended, by package and test
}

func newTally(w io.Writer) *tally { return &tally{w: w, output: map[string][]string{}} }

func (t *tally) read(r io.Reader) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Fprintln(t.w, sc.Text()) // of the compiler
			continue
		}
		t.take(e)
	}
	return sc.Err()
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		t.output[key] = append(t.output[key], e.Output)
		return
	case "pass":
		if e.Test != "" {
			t.passed++
		} else {
			fmt.Fprintf(t.w, "ok    %-40s %6.1fs\n", e.Package, e.Elapsed)
		}
	case "fail":
		if e.Test != "" {
			t.failed = append(t.failed, key)
		}
		fmt.Fprintf(t.w, "FAIL  %s\n%s", key, strings.Join(t.output[key], ""))
	case "build-fail":
		t.failed = append(t.failed, e.Package+" (does not build)")
		fmt.Fprintf(t.w, "FAIL  %s\n%s", e.Package, strings.Join(t.output[key], ""))
	case "skip":
		if e.Test != "" {
			t.skipped = append(t.skipped, key+": "+reason(t.output[key]))
		}
	default:
		return
	}
	delete(t.output, key)
}

// reason is what a test gave t.Skip.
func reason(lines []string) string {
	for _, l := range slices.Backward(lines) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "---") || strings.HasPrefix(l, "===") {
			continue
		}
		if _, text, ok := strings.Cut(l, ".go:"); ok {
			_, l, _ = strings.Cut(text, ": ")
		}
		return l
	}
	return "no reason given"
}

// report prints what remains to be said and reports whether the run is good.
func (t *tally) report(required bool, exit error) bool {
	good := exit == nil && len(t.failed) == 0
	if len(t.failed) > 0 {
		fmt.Fprintf(t.w, "\nfailed:\n  %s\n", strings.Join(t.failed, "\n  "))
	}
	if len(t.skipped) > 0 {
		fmt.Fprintf(t.w, "\nskipped:\n  %s\n", strings.Join(t.skipped, "\n  "))
		if required {
			fmt.Fprintln(t.w, "\nMTAD_PEERS=required: a skipped test is a failure")
			good = false
		}
	}
	if exit != nil && len(t.failed) == 0 {
		fmt.Fprintf(t.w, "\ngo test: %v\n", exit)
	}
	fmt.Fprintf(t.w, "\n%d passed, %d failed, %d skipped\n", t.passed, len(t.failed), len(t.skipped))
	return good
}
