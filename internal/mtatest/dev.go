package mtatest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

// Build builds a package of the repository at root, with build tags.
func Build(root, to, pkg string, tags ...string) error {
	cmd := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", to, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// DependOn lets go test know that a test depends on every file of the repository,
// for it runs a program that was built from them: else an old result would be
// taken for good when the program has changed, and not the test.
func DependOn(t testing.TB, root string) {
	t.Helper()
	Check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() {
			_, err = os.Stat(path) // which the test's log has
		}
		return err
	}))
}

// Ports are those of mtad's dev mode.
type Ports struct {
	Base                                                                      int
	SMTP, LMTP, Submission, Submissions, IMAP, IMAPS, ManageSieve, HTTP, Sink int
	DKIM                                                                      string
}

// PortsFrom are the ports above a base.
func PortsFrom(base int) Ports {
	return Ports{
		Base: base, SMTP: base + 25, LMTP: base + 24, Submission: base + 587, Submissions: base + 465,
		IMAP: base + 143, IMAPS: base + 993, ManageSieve: base + 4190, HTTP: base + 80, Sink: base + 2525,
	}
}

// DevPorts are ports of dev mode that nobody has.
func DevPorts(t testing.TB) Ports {
	t.Helper()
	return PortsFrom(FreeBase(t, 24, 25, 80, 143, 465, 587, 993, 2525, 4190))
}

// DevConfig is the configuration that dev mode would write for the ports.
func DevConfig(t testing.TB, root string, p Ports) string {
	t.Helper()
	tmpl, err := template.ParseFiles(filepath.Join(root, "cmd/mtad/dev/files/mtad.hcl.tmpl"))
	Check(t, err)
	var b strings.Builder
	Check(t, tmpl.Execute(&b, p))
	return b.String()
}
