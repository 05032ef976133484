package jsonout

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestWriter(t *testing.T) {
	var w Writer
	w.Open('{')
	w.String("a", "")
	w.Text("none", "")
	w.Text("b", "x")
	w.Flag("no", false)
	w.Flag("c", true)
	w.Int("d", -1)
	w.Key("e")
	w.Open('[')
	for range 2 {
		w.Open('{')
		w.Close('}')
	}
	w.Close(']')
	w.Time("f", time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600)))
	w.Any("g", []string{"<"})
	w.Texts("none", nil)
	w.Texts("i", []string{"x", "", "["})
	w.Close('}')
	w.Newline()
	w.Open('[')
	w.Close(']')
	got, err := w.Bytes()
	want := `{"a":"","b":"x","c":true,"d":-1,"e":[{},{}],"f":"2026-01-02T03:04:05.0000006+01:00","g":["\u003c"],"i":["x","","["]}` + "\n[]"
	if string(got) != want || err != nil {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	w.Any("bad", math.NaN())
	if _, err := w.Bytes(); err == nil {
		t.Error("no error of a value that JSON has not")
	}
	w.Reset()
	if got, err := w.Bytes(); len(got) > 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Any string is read as encoding/json's own text of it is read.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a<b>&", "\"\\\n\r\t\b\x00\x1f\x7f", "ä\u2028\xff\xc3", "\xed\xa0\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var w Writer
		w.Open('{')
		w.String("s", s)
		w.Close('}')
		text, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(map[string]string{"s": s})
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := json.Unmarshal(plain, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
