package monitor

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParsePacket(t *testing.T) {
	for _, tc := range []struct {
		b    []byte
		fds  int
		good bool
	}{
		{[]byte{version, 'c'}, 1, true},
		{[]byte{version, 'r'}, 0, true},
		{[]byte{version, 'c'}, 0, false},
		{[]byte{version, 'c'}, 2, false},
		{[]byte{version, 's'}, 1, false},
		{[]byte{version, 'x'}, 0, false},
		{[]byte{version + 1, 'c'}, 1, false},
		{[]byte{version}, 0, false},
		{[]byte{version, 'c', 0}, 1, false},
		{nil, 0, false},
	} {
		if _, err := parsePacket(tc.b, tc.fds); (err == nil) != tc.good {
			t.Errorf("%v with %d descriptors: %v", tc.b, tc.fds, err)
		}
	}
}

func TestParseRequest(t *testing.T) {
	const mail = `"mail":{"recipients":[{"address":"a@b","local":"a","user":"a"}]}`
	good := []string{
		`{"version":1,"op":"run","user":"alice","command":"x y",` + mail + `,"size":3,"millis":1}`,
		`{"version":1,"op":"run","route":"r",` + mail + `,"size":3,"millis":1}`,
		`{"version":1,"op":"deliver","user":"alice","path":"/var/mail/alice",` + mail + `,"size":0,"millis":1800000}`,
		`{"version":1,"op":"deliver","path":"/srv/x/",` + mail + `,"millis":10}`,
		`{"version":1,"op":"forward","user":"a.b-c_d","path":".forward","millis":10}`,
		`{"version":1,"op":"forward","user":"alice","path":".forward+lists","millis":10}`,
	}
	for _, g := range good {
		if _, err := parseRequest([]byte(g)); err != nil {
			t.Errorf("%s: %v", g, err)
		}
	}
	for old, bad := range map[string]string{
		`"version":1`:         `"version":2`,
		`"alice"`:             `"../alice"`,
		`"x y"`:               `"x\u0000"`,
		`"x y`:                `"` + strings.Repeat("x", maxArg+1),
		`"size":3`:            `"size":-1`,
		`"size":3,`:           `"size":1073741825,`,
		`"millis":1`:          `"millis":0`,
		`"millis":1}`:         `"millis":1800001}`,
		`"op":"run"`:          `"op":"deliver"`,
		`"op":"run",`:         `"op":"forward",`,
		`"version":1,`:        `"version":1,"extra":1,`,
		`1}`:                  `1}{}`,
		`"command":"x y",`:    ``,
		`"command"`:           `"path"`,
		`"command":`:          `"route":"r","command":`,
		`,` + mail:            ``,
		`"user":"a"`:          `"user":"a\n"`,
		`[{"address":"a@b",`:  `[` + strings.Repeat(`{},`, MaxRecipients) + `{"address":"a@b",`,
		`{"address":"a@b",`:   `{"address":"` + strings.Repeat("a", maxFact+1) + `",`,
		`"mail":{"recipients`: `"mail":{"other":1,"recipients`,
	} {
		text := strings.Replace(good[0], old, bad, 1)
		if r, err := parseRequest([]byte(text)); err == nil {
			t.Errorf("%s -> %s: taken as %+v", old, bad, r)
		}
	}
	for _, name := range []string{".forward/x", ".forward+../x", ".forward+", ".forwardx", "forward", ""} {
		if isForward(name) {
			t.Errorf("%q is a .forward file", name)
		}
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	if err := writeFrame(&b, Answer{Version: version, Output: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	frame, err := readFrame(&b)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := parseAnswer(frame); err != nil || string(a.Output) != "x" {
		t.Errorf("%+v %v", a, err)
	}
	for _, bad := range []string{"", "\x00\x00\x00\x00", "\x7f\x00\x00\x00{}", "\x00\x00\x00\x09{}"} {
		if _, err := readFrame(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is a frame", bad)
		}
	}
	if err := writeFrame(&b, strings.Repeat("x", maxFrame)); err == nil {
		t.Error("a frame without bound")
	}
	for _, bad := range []string{`{}`, `{"version":1,"exit":-1}`, `{"version":1,"exit":256}`} {
		if _, err := parseAnswer([]byte(bad)); err == nil {
			t.Errorf("%s is an answer", bad)
		}
	}
}

// What comes from the child is read without harm, and what is taken means the
// same when it is written again.
func FuzzProtocol(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"), []byte{version, 'c'}, 1)
	f.Add([]byte("\x00\x00\x00\x4e"+`{"version":1,"op":"forward","user":"alice","path":".forward+lists","millis":10}`), []byte{version, 'r'}, 0)
	f.Add([]byte("\x00\x00\x00\x7b"+`{"version":1,"op":"run","user":"alice","command":"x y","mail":{"recipients":[{"address":"a@b","local":"a"}]},"size":3,"millis":1}`), []byte{1, 'l'}, 0)
	f.Fuzz(func(t *testing.T, stream, packet []byte, descriptors int) {
		if k, err := parsePacket(packet, descriptors); err == nil && (k == call) != (descriptors == 1) {
			t.Errorf("%v with %d descriptors", packet, descriptors)
		}
		frame, err := readFrame(bytes.NewReader(stream))
		if err != nil {
			return
		}
		if len(frame) > maxFrame {
			t.Fatal("a frame without bound")
		}
		if a, err := parseAnswer(frame); err == nil && len(a.Output) > maxOutput {
			t.Error("an answer without bound")
		}
		r, err := parseRequest(frame)
		if err != nil {
			return
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRequest(b)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%+v is %+v when written again: %v", r, again, err)
		}
	})
}
