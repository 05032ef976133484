package compat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mtad/admin"
	"mtad/queue"
)

func TestGetopt(t *testing.T) {
	for args, want := range map[string]string{
		"":               "[] []",
		"-p":             "[p] []",
		"-hq ID":         "[h q] [ID]",
		"-d ID -dX -v -": "[d=ID d=X v] [-]",
		"-v -- -d":       "[v] [-d]",
		"-d -":           "[d=-] []",
		"ID -v":          "[] [ID -v]",
		"-x":             "invalid option -- 'x'",
		"-:":             "invalid option -- ':'",
		"-vd":            "option requires an argument -- 'd'",
	} {
		opts, rest, err := getopt(strings.Fields(args), "hqvpd:")
		var words []string
		for _, o := range opts {
			w := string(o.flag)
			if o.arg != "" {
				w += "=" + o.arg
			}
			words = append(words, w)
		}
		got := fmt.Sprint(words, " ", rest)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
}

// A message is where the first of its recipients is: due, waiting, or held.
func TestEntry(t *testing.T) {
	now := time.Unix(1000, 0)
	held := &admin.Item{ID: "i", Rcpt: "h@x", State: "held", Hold: "look\nat me", Created: now.Add(-time.Hour)}
	later := &admin.Item{ID: "i", Rcpt: "l@x", State: "deferred", Next: now.Add(time.Hour), Reply: "451 no", Host: "mx", Created: now}
	due := &admin.Item{ID: "i", Rcpt: "d@x", State: "ready", Next: now, Ended: "x", Created: now}
	for _, c := range []struct {
		items []*admin.Item
		queue string
	}{{[]*admin.Item{held}, "hold"}, {[]*admin.Item{later, held}, "deferred"}, {[]*admin.Item{held, later, due}, "active"}} {
		e := &entry{id: "i", created: now}
		for _, it := range c.items {
			e.add(it, now)
		}
		if e.queue != c.queue || !e.created.Equal(held.Created) || e.ended != (len(c.items) == 3) {
			t.Errorf("%+v", e)
		}
		if len(c.items) == 3 && fmt.Sprint(e.rcpts) != "[{h@x look at me} {l@x host mx said: 451 no} {d@x }]" {
			t.Errorf("%v", e.rcpts)
		}
	}
}

// qshape's widths: counts that are wide, names that are long.
func TestQshapeWidths(t *testing.T) {
	long := strings.Repeat("x", 80)
	s := &queue.Shape{Edges: []time.Duration{5 * time.Minute}, Total: queue.Slot{Total: 123456, Buckets: []int{123450, 6}}}
	for _, key := range []string{long + ".test", "." + long + ".test", "a.test"} {
		s.Lines = append(s.Lines, &queue.Slot{Key: key, Total: 1, Buckets: []int{1, 0}})
	}
	var b bytes.Buffer
	if err := printQshape(&b, s, 80); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat(" ", 63) + "      T      5 5+\n" +
		strings.Repeat(" ", 58) + "TOTAL 123456 123450  6\n" +
		"+" + strings.Repeat("x", 57) + ".test      1      1  0\n" +
		".+" + strings.Repeat("x", 56) + ".test      1      1  0\n" +
		strings.Repeat(" ", 57) + "a.test      1      1  0\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "mtad")
	bin := filepath.Join(dir, "bin")
	for _, err := range []error{os.WriteFile(binary, nil, 0o755), os.Mkdir(bin, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	done := func(steps []Step, err error) string {
		t.Helper()
		if err != nil {
			return "error: " + err.Error()
		}
		seen := map[string]int{}
		for _, s := range steps {
			seen[s.Done]++
		}
		return strings.Trim(fmt.Sprint(seen), "map[]")
	}
	all := len(Commands())
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	is(done(Install(bin, binary, false, true)), fmt.Sprint("linked:", all))
	is(done(Remove(bin, binary, false)), "")
	is(done(Install(bin, binary, false, false)), fmt.Sprint("linked:", all))
	is(done(Install(bin, binary, false, false)), fmt.Sprint("kept:", all))
	if to, err := os.Readlink(filepath.Join(bin, "mailq")); to != binary || err != nil {
		t.Error(to, err)
	}
	// Somebody else's program, and a link to one.
	os.Remove(filepath.Join(bin, "mailq"))
	os.Remove(filepath.Join(bin, "qshape"))
	for _, err := range []error{os.WriteFile(filepath.Join(bin, "mailq"), []byte("theirs"), 0o755), os.Symlink("/bin/true", filepath.Join(bin, "qshape"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(bin, "postcat"))
	got := done(Install(bin, binary, false, false))
	is(got, "error: "+bin+"/mailq is there already, and no link, "+bin+"/qshape is a link to /bin/true; --force replaces what is there, --dir takes another folder")
	if _, err := os.Lstat(filepath.Join(bin, "postcat")); !errors.Is(err, os.ErrNotExist) {
		t.Error("half of it was installed")
	}
	is(done(Remove(bin, binary, true)), fmt.Sprint("removed:", all-3))
	is(done(Remove(bin, binary, false)), fmt.Sprint("removed:", all-3))
	is(done(Install(bin, binary, true, false)), fmt.Sprint("linked:", all-2, " replaced:2"))
	is(done(Remove(bin, binary, false)), fmt.Sprint("removed:", all))
	if got := done(Install(filepath.Join(dir, "nowhere"), binary, false, false)); !strings.Contains(got, "no such file") {
		t.Error(got)
	}
}

func TestTableIsInOrder(t *testing.T) {
	last := ""
	for _, c := range Commands() {
		if c.Name <= last || c.Run == nil || c.Short == "" {
			t.Errorf("%s behind %s", c.Name, last)
		}
		last = c.Name
	}
	if _, ok := Find("mtad"); ok {
		t.Error("mtad is taken for another")
	}
}
