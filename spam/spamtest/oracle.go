// Package spamtest asks SpamAssassin itself what it makes of its configuration and of
// messages, for tests that compare this program with it.
package spamtest

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mtad/internal/mtatest"
)

// Where Debian has SpamAssassin's rules and their configuration.
const (
	Stock = "/usr/share/spamassassin"
	Site  = "/etc/spamassassin"
)

// Bytes are octets, which JSON carries as the characters of the same numbers.
type Bytes string

// UnmarshalJSON reads null as "".
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = append(out, byte(r))
	}
	*b = Bytes(out)
	return nil
}

// Oracle is a running SpamAssassin.
type Oracle struct {
	in      io.WriteCloser
	out     *bufio.Reader
	message string // the file in which it finds messages
}

// Start starts one; it ends with the test. room is the way to the directory "spam",
// rules and site are directories, and options are those of testdata/oracle.pl. The
// test is skipped where SpamAssassin is not installed.
func Start(t testing.TB, room, rules, site string, options ...string) *Oracle {
	t.Helper()
	mtatest.Program(t, "spamassassin")
	args := append([]string{filepath.Join(room, "testdata/oracle.pl"), rules, site}, options...)
	cmd := exec.CommandContext(t.Context(), "perl", args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	mtatest.Check(t, err)
	out, err := cmd.StdoutPipe()
	mtatest.Check(t, err)
	mtatest.Check(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &Oracle{in, bufio.NewReader(out), filepath.Join(t.TempDir(), "message")}
}

// Ask asks for a line and reads the answer.
func (o *Oracle) Ask(t testing.TB, line string, to any) {
	t.Helper()
	_, err := io.WriteString(o.in, line+"\n")
	mtatest.Check(t, err)
	head, err := o.out.ReadString('\n')
	mtatest.Check(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(head))
	mtatest.Check(t, err)
	text := make([]byte, n+1)
	_, err = io.ReadFull(o.out, text)
	mtatest.Check(t, err)
	var failed struct{ Error string }
	mtatest.Check(t, json.Unmarshal(text, &failed))
	if failed.Error != "" {
		t.Fatalf("SpamAssassin, asked %.100q: %s", line, failed.Error)
	}
	if to != nil {
		mtatest.Check(t, json.Unmarshal(text, to))
	}
}

// About asks for what concerns a message.
func (o *Oracle) About(t testing.TB, verb string, message []byte, to any) {
	t.Helper()
	mtatest.Check(t, os.WriteFile(o.message, message, 0o600))
	o.Ask(t, verb+" "+o.message, to)
}

// Call asks what one of SpamAssassin's functions, by its name in testdata/oracle.pl, gives.
func (o *Oracle) Call(t testing.TB, name string, args ...string) (list []string) {
	t.Helper()
	for _, a := range args {
		name += " " + hex.EncodeToString([]byte(a))
	}
	var v struct{ List []Bytes }
	o.Ask(t, "call "+name, &v)
	for _, s := range v.List {
		list = append(list, string(s))
	}
	return list
}

// Cases says which cases a comparison makes, and how many: few of seed 1, or, where the
// environment has SEED, many of that.
func Cases(few, many int) (seed uint64, n int) {
	if v, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		return v, many
	}
	return 1, mtatest.Fewer(few)
}

// Keep keeps a message on which a test has failed in the directory that KEEP in the
// environment names.
func Keep(t testing.TB, name string, message []byte) {
	t.Helper()
	if dir := os.Getenv("KEEP"); dir != "" && t.Failed() {
		mtatest.Check(t, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")), message, 0o600))
	}
}
