package external

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"mtad/internal/mtatest"
	"mtad/pipeline"
	"mtad/sdk/mtadpb"
)

// needPython skips a test where grpcio is not installed.
func needPython(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Skipf("python3-grpcio is not installed (`make peers` does): %v %s", err, out)
	}
}

var writePython = flag.Bool("write-python", false, "write the descriptor into sdk/python")

// The Python module speaks the protocol that filter.proto says.
func TestPythonDescriptor(t *testing.T) {
	const path = "../../sdk/python/mtad_filter.py"
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(mtadpb.File_filter_proto))
	mtatest.Check(t, err)
	var want strings.Builder
	for s := base64.StdEncoding.EncodeToString(b); s != ""; {
		n := min(len(s), 100)
		want.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	text, err := os.ReadFile(path)
	mtatest.Check(t, err)
	const mark = "DESCRIPTOR = \"\"\"\n"
	before, rest, ok := strings.Cut(string(text), mark)
	got, after, ok2 := strings.Cut(rest, "\"\"\"\n")
	if !ok || !ok2 {
		t.Fatalf("%s has no descriptor", path)
	}
	if *writePython {
		mtatest.Write(t, path, before+mark+want.String()+"\"\"\"\n"+after)
		return
	}
	if got != want.String() {
		t.Errorf("%s is older than filter.proto: go test ./plugins/external -run TestPythonDescriptor -write-python", path)
	}
}

// archive is a ZIP of one file.
func archive(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	mtatest.Check(t, err)
	_, err = w.Write(content)
	mtatest.Check(t, err)
	mtatest.Check(t, z.Close())
	return b.Bytes()
}

// attached is a message whose body is one attachment.
func attached(octets []byte) (subject, body string) {
	var b strings.Builder
	for s := base64.StdEncoding.EncodeToString(octets); s != ""; {
		n := min(len(s), 76)
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return "x\r\nMIME-Version: 1.0\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64", b.String()
}

// The Python example looks into archives, larger than one pull too.
func TestZippeek(t *testing.T) {
	needPython(t)
	path, err := filepath.Abs("../../examples/zippeek/zippeek.py")
	mtatest.Check(t, err)
	p, err := start(t, fmt.Sprintf("path = %q\nmtls = false\nconfig = { points = \"8\" }", path))
	mtatest.Check(t, err)
	if m := procOf(p).manifest.Load(); !m.pure || m.protocol != 2 {
		t.Errorf("manifest: %+v", m)
	}
	f := p.Open(pipeline.Client{})
	defer f.Close()
	program := archive(t, "invoice.pdf.exe", []byte("MZ"))
	stored := make([]byte, 400<<10)
	for i, x := 0, uint32(1); i < len(stored); i++ {
		x = x*1664525 + 1013904223
		stored[i] = byte(x >> 24)
	}
	for name, c := range map[string]struct {
		octets []byte
		want   float64
	}{
		"program":            {program, 8},
		"program in archive": {archive(t, "a.zip", program), 8},
		"text":               {archive(t, "a.txt", stored), 0},
		"broken":             {program[:40], 0},
	} {
		subject, body := attached(c.octets)
		fate, v, trace := send(t, f, subject, body)
		if got := v.Score(); got != c.want || fate.Action != pipeline.Continue {
			t.Errorf("%s: %v, score %v, want %v: %v", name, fate, got, c.want, trace.Events)
		}
	}
}

// What needs mtls = false is told so.
func TestPythonNeedsPlain(t *testing.T) {
	needPython(t)
	_, err := start(t, `path = "../../examples/zippeek/zippeek.py"`)
	if err == nil || !strings.Contains(err.Error(), "set mtls = false") {
		t.Error(err)
	}
}
