package compat

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mtad/admin"
	"mtad/maildrop"
	"mtad/message"
	"mtad/smtp"
)

func TestParseMailing(t *testing.T) {
	for args, want := range map[string]string{
		"a b":                                  "m f= [a b]",
		"-t":                                   "m f= [] t",
		"-ti":                                  "m f= [] t i",
		"-i -FCronDaemon -B8BITMIME -oem root": "m f= F=CronDaemon B=8BITMIME [root] i",
		"-oi -f ann@x.test -- b@y.test":        "m f=ann@x.test [b@y.test] i",
		"-fann@x.test -r bob b@y.test":         "m f=bob [b@y.test]",
		"-f <> b":                              "m f=<> [b]",
		"-f <a@b> <c@d>,e":                     "m f=a@b [c@d e]",
		"-N never -R hdrs -V x b":              "m f= R=HDRS V=x N=[NEVER] [b]",
		"-N success,delay b":                   "m f= N=[SUCCESS DELAY] [b]",
		"-v b":                                 "m f= N=[SUCCESS FAILURE DELAY] [b]",
		"-G -U -n -m -em -h 3 -L l -p x -X f -O a=b b": "m f= [b]",
		"-bp":              "p f= []",
		"-bs":              "s f= []",
		"-bi":              "i f= []",
		"-I":               "i f= []",
		"-bv a":            "v f= [a]",
		"-q":               "m f= [] q=f",
		"-q -v":            "m f= N=[SUCCESS FAILURE DELAY] [] q=f",
		"-qIabc":           "m f= [] q=Iabc",
		"-qRx.test":        "m f= [] q=Rx.test",
		"-o7 a":            "m f= B=7BIT [a]",
		"a -f":             "64 Recipient addresses must not start with '-'",
		"-bd":              "64 unsupported: -bd; mtad serve runs the server",
		"-N x b":           `m f= [b] ! unknown DSN NOTIFY command value "X" ! bad -N option value -- ignored`,
		"-N never,delay b": "m f= [b] ! bad -N option value -- ignored",
		"-R x b":           "m f= [b] ! bad -R option value -- ignored",
		"-B x b":           "64 -B option needs 8BITMIME or 7BIT",
		"-qS b":            "64 -qS is not implemented",
		"-Z":               "64 usage: sendmail [options] (invalid option -- 'Z')",
		"-bv -t a":         "64 -t option cannot be used with -bv",
		"-bv -N never a":   "64 -N option cannot be used with -bv",
		"-bv -v a":         "v f= [a]",
		"a@b@c":            "65 bad address syntax: a@b@c",
		"-f a,b c":         "65 bad sender address: a,b",
	} {
		m, err := parseMailing(strings.Fields(args))
		var c *coded
		got := ""
		switch {
		case errors.As(err, &c):
			got = fmt.Sprint(c.code, " ", c)
		case err != nil:
			got = err.Error()
		default:
			got = m.show()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

// show is what was understood.
func (m *mailing) show() string {
	var b strings.Builder
	e := m.env
	fmt.Fprintf(&b, "%c f=%s", m.mode, e.Sender)
	for _, p := range [][2]string{{"F", e.Name}, {"B", e.Body}, {"R", e.Return}, {"V", e.ID}} {
		if p[1] != "" {
			fmt.Fprintf(&b, " %s=%s", p[0], p[1])
		}
	}
	if e.Notify != nil {
		fmt.Fprint(&b, " N=", e.Notify)
	}
	fmt.Fprint(&b, " ", m.rcpts)
	if m.extract {
		b.WriteString(" t")
	}
	if m.dots {
		b.WriteString(" i")
	}
	if m.flush != nil {
		fmt.Fprintf(&b, " q=%c%s", m.flush.flag, m.flush.arg)
	}
	for _, w := range m.warnings {
		b.WriteString(" ! " + w)
	}
	return b.String()
}

func TestCollect(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		in, want string
		dots     bool
	}{
		{"", "", false}, {"a\n.\nb\n", "a\n", false}, {"a\n.\nb\n", "a\n.\nb\n", true}, {"a\r\n.\r\nb", "a\r\n", false},
		{".", "", false}, {"..\n. \n", "..\n. \n", false}, {"From a b\n>From c\nSubject: x\nFrom d\n", "Subject: x\nFrom d\n", false},
		{"a\n" + long + "\n.\nb", "a\n" + long + "\n", false}, {long + ".\nb", long + ".\nb", false}, {"From " + long + "\nb\n", "b\n", false},
	} {
		spool := &message.Spool{}
		err := collect(strings.NewReader(c.in), spool, c.dots)
		got, _ := message.ReadAll(spool.Bytes())
		if err != nil || string(got) != c.want {
			t.Errorf("%.20q: %.40q, %v", c.in, got, err)
		}
	}
	var c *coded
	if err := collect(strings.NewReader("0123456789"), &message.Spool{Limit: 5}, false); !errors.As(err, &c) || c.code != 65 {
		t.Error(err)
	}
}

func TestExtract(t *testing.T) {
	for text, want := range map[string]string{
		"To: a, B C <b@c>\nCc: g: d, e@f;\nBcc: h\n\nTo: i\n": "[a b@c d e@f h]",
		"To: a\nResent-To: b\nResent-Bcc: c\n\n":              "[b c]",
		"Subject: x\n\n":                                      "[]",
		"To: undisclosed-recipients:;\nTo: a\n  (x), <b>\n\n": "[a b]",
	} {
		if got, err := extract(message.FromBytes([]byte(text))); fmt.Sprint(got) != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// Without a server mail goes into the directory; where there is none it is kept by
// who sent it.
func TestHandInWithoutServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	if err := maildrop.Make(dir, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	in := func(where, input string, args ...string) (string, int) {
		var out bytes.Buffer
		env := &Env{
			In: strings.NewReader(input), Out: &out, Err: &out,
			Connect: func(string) (*admin.Client, error) { return admin.NewClient(filepath.Join(dir, "none")), nil },
			Local:   func(string) Local { return Local{where, 100, 3} },
		}
		code := sendmail(context.Background(), env, args)
		return out.String(), code
	}
	files := func() int {
		list, err := filepath.Glob(filepath.Join(dir, "*.mail"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if out, code := in(dir, "x\n", "a"); code != 0 || out != "" || files() != 1 {
		t.Errorf("%d %s", code, out)
	}
	session := "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
	if out, code := in(dir, session, "-bs"); code != 0 || files() != 2 || !strings.Contains(out, "\r\n250 2.0.0 Ok: queued") || !strings.Contains(out, "\r\n221 ") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := in(dir, "HELO x\r\n", "-bs"); code != 0 || !strings.HasPrefix(out, "220 ") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := in(dir, strings.ReplaceAll(session, "\r\n", "\n"), "-bs"); code != 0 || files() != 3 || !strings.Contains(out, "\r\n250 2.0.0 Ok: queued") {
		t.Errorf("lines that end in LF: %d %s", code, out)
	}
	if out, code := in(dir, "x", "a", "b", "c", "d"); code != 65 || !strings.Contains(out, "4 recipients, at most 3") {
		t.Errorf("%d %s", code, out)
	}
	for _, c := range []struct {
		where, input string
		code         int
	}{{"", "x", 75}, {dir + "/none", "x", 75}, {dir, strings.Repeat("x", 200), 65}} {
		if out, code := in(c.where, c.input, "a"); code != c.code || !strings.HasPrefix(out, "sendmail: fatal: ") || files() != 3 {
			t.Errorf("%q: %d %s", c.where, code, out)
		}
	}
}

// readDropped reads what was put into a directory.
func readDropped(t *testing.T, dir string) (e maildrop.Envelope, body string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.mail"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	f, err := os.Open(list[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spool := &message.Spool{}
	defer spool.Close()
	if e, err = maildrop.Read(f, spool); err != nil {
		t.Fatal(err)
	}
	octets, err := message.ReadAll(spool.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return e, string(octets)
}

// Each recipient of a dialogue keeps what was asked for them, and dots are taken off.
func TestDialogue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	if err := maildrop.Make(dir, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	session := "EHLO x\nMAIL FROM:<> RET=HDRS ENVID=a+2Bb\nRCPT TO:<c@d.test> NOTIFY=NEVER\nRCPT TO:<e@d.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;f@d.test\n" +
		"RCPT TO:<g@d.test>\nRCPT TO:<h@d.test>\nDATA\nSubject: x\n\n..\r\ny\n.\nVRFY c\nQUIT\n"
	var out, errs bytes.Buffer
	env := &Env{
		In: strings.NewReader(session), Out: &out, Err: &errs,
		Connect: func(string) (*admin.Client, error) { return admin.NewClient(filepath.Join(dir, "none")), nil },
		Local:   func(string) Local { return Local{dir, 1000, 3} },
	}
	if code := sendmail(context.Background(), env, []string{"-bs"}); code != 0 || errs.Len() > 0 || !strings.Contains(out.String(), "\r\n452 ") {
		t.Errorf("exit %d %s\n%s", code, &errs, &out)
	}
	e, body := readDropped(t, dir)
	e.Key = ""
	if got, want := fmt.Sprintf("%+v", e), "{Key: Sender:<> Rcpts:[c@d.test e@d.test g@d.test] Name: Notify:[] "+
		"Each:[{Notify:[NEVER] Type: Original:} {Notify:[SUCCESS DELAY] Type:RFC822 Original:f@d.test} {Notify:[] Type: Original:}] Return:HDRS ID:a+b Body: Verify:false}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !strings.HasSuffix(body, "Subject: x\r\n\r\n.\r\ny\r\n") {
		t.Errorf("%q", body)
	}
}

// Where the connection breaks before the answer, what goes into the directory has the
// key that the server may have taken it under.
func TestBrokenAnswer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drop")
	if err := maildrop.Make(dir, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "control")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := maildrop.Read(r.Body, &message.Spool{})
		if err != nil {
			t.Error(err)
		}
		keys <- e.Key
		panic(http.ErrAbortHandler) // which closes the connection
	})}
	go srv.Serve(l)
	defer srv.Close()
	var out bytes.Buffer
	env := &Env{
		In: strings.NewReader("x\n"), Out: &out, Err: &out,
		Connect: func(string) (*admin.Client, error) { return admin.NewClient(socket), nil },
		Local:   func(string) Local { return Local{dir, 1000, 3} },
	}
	if code := sendmail(context.Background(), env, []string{"a"}); code != 0 || out.Len() > 0 {
		t.Errorf("exit %d %s", code, &out)
	}
	if e, _ := readDropped(t, dir); e.Key == "" || e.Key != <-keys {
		t.Errorf("%+v", e)
	}
}

// FuzzExtract looks that what -t takes from a header are addresses, and nothing
// else: no line breaks, and nothing that a header's end lies before.
func FuzzExtract(f *testing.F) {
	for _, s := range []string{"To: a, B C <b@c>\nCc: g: d, e@f;\nBcc: h\n\nTo: i\n", "To: a\nResent-To: b\n\n", "To: \"a\r\nb\"@c, =?utf-8?q?x=0Ay?= <d@e>\n\n", "Bcc: <@a,@b:c@d>, \x00@e, (f) g (h)\n", "\nTo: x\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := extract(message.FromBytes([]byte(text)))
		if err != nil {
			return
		}
		for _, a := range found {
			if _, err := smtp.ParseAddress(a); err != nil || strings.ContainsAny(a, "\r\n\x00") {
				t.Errorf("%q from %q: %v", a, text, err)
			}
		}
		if strings.HasPrefix(text, "\n") && len(found) > 0 {
			t.Errorf("%q from the body of %q", found, text)
		}
	})
}

// FuzzLines looks that a dialogue's lines all end in CR LF, and that nothing else of
// them changes, however they come.
func FuzzLines(f *testing.F) {
	f.Add("a\nb\r\nc\r\r\n\n\n\r", uint8(1))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		c := &crlf{in: bufio.NewReaderSize(strings.NewReader(text), 16)}
		var got strings.Builder
		b := make([]byte, int(size)%7+1)
		for {
			n, err := c.Read(b)
			got.Write(b[:n])
			if err != nil {
				break
			}
			if n == 0 {
				t.Fatal("a read of nothing")
			}
		}
		if want := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"); got.String() != want {
			t.Errorf("%q became %q, want %q", text, got.String(), want)
		}
	})
}
