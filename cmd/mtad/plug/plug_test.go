package plug

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// try verifies a new plugin and runs a message through it.
func try(t *testing.T, p Program) {
	t.Helper()
	var log bytes.Buffer
	_, st, err := p.Verify(t.Context(), &log)
	if err != nil || st.Name != "marker" || st.Protocol != 2 || !st.Pure {
		t.Fatalf("verify: %+v, %v\n%s", st, err, log.String())
	}
	p.Config = map[string]string{"word": "hello ${x}"}
	res, _, err := p.Run(t.Context(), []byte("Subject: well, Hello ${x}\r\n\r\nbody\r\n"), io.Discard)
	if err != nil || res.Fate != "continue" || !strings.Contains(strings.Join(res.Events, "\n"), "X-marker") {
		t.Errorf("run: %+v, %v", res, err)
	}
	p.Config = map[string]string{"color": "red"}
	if _, _, err := p.Verify(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), `"color", which the manifest does not declare`) {
		t.Errorf("an option that it has not: %v", err)
	}
}

// A new plugin in Go builds outside this tree, with nothing but what go.sum has.
func TestNewGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "marker")
	mtatest.Check(t, New("go", dir))
	cmd := exec.Command("go", "build", "-mod=readonly", "-o", "marker", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	try(t, Program{Path: filepath.Join(dir, "marker")})
}

func TestNewPython(t *testing.T) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Skipf("python3-grpcio is not installed (`make peers` does): %v %s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "marker")
	mtatest.Check(t, New("python", dir))
	try(t, Program{Path: filepath.Join(dir, "filter.py"), Plain: true})
}

func TestNewErrors(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	mtatest.Check(t, os.Mkdir(there, 0o700))
	for dir, want := range map[string]string{there: "exists", filepath.Join(there, "no-name"): "no name for a plugin"} {
		if err := New("go", dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := New("rust", filepath.Join(there, "x")); err == nil || !strings.Contains(err.Error(), "go and python") {
		t.Error(err)
	}
}

// What is not a plugin is told apart.
func TestVerifyNoPlugin(t *testing.T) {
	if _, _, err := (Program{Path: "/bin/true"}).Verify(t.Context(), io.Discard); err == nil {
		t.Error("/bin/true is a plugin")
	}
}

// A new plugin stands on the versions that mtad does.
func TestVersions(t *testing.T) {
	ours, err := os.ReadFile("../../../go.mod")
	mtatest.Check(t, err)
	line := regexp.MustCompile(`(?m)^\s+(\S+\.\S+/\S+) (v\S+)`)
	for _, path := range []string{"files/go/go.mod.tmpl", "files/go/mtad/go.mod.tmpl"} {
		text, err := os.ReadFile(path)
		mtatest.Check(t, err)
		found := line.FindAllStringSubmatch(string(text), -1)
		for _, m := range found {
			if !strings.Contains(string(ours), m[1]+" "+m[2]) {
				t.Errorf("%s: %s %s is not mtad's version", path, m[1], m[2])
			}
		}
		if len(found) < 10 {
			t.Errorf("%s names %d modules", path, len(found))
		}
	}
}
