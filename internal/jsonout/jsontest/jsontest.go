// Package jsontest holds what is written by jsonout against encoding/json's
// reading of the same struct: a field that was added and forgotten is found.
package jsontest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"mtad/internal/jsonout"
)

// rounds is how many values Check tries.
const rounds = 2000

// Check fills a T at random, again and again, and fails if what write makes of it
// is not what encoding/json makes of it, the order and the escapes apart.
func Check[T any](t *testing.T, write func(*T, *jsonout.Writer)) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		var v T
		fill(rnd, reflect.ValueOf(&v).Elem())
		var w jsonout.Writer
		write(&v, &w)
		got, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(&v)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(read(t, got), read(t, want)) {
			t.Fatalf("%T is written as\n%s\nand not as\n%s", v, got, want)
		}
	}
}

func read(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// fill sets the exported fields of v, or leaves them zero, at random.
func fill(rnd *rand.Rand, v reflect.Value) {
	if rnd.IntN(3) == 0 {
		return
	}
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.Unix(rnd.Int64N(1e10), rnd.Int64N(1e9)).In(time.FixedZone("", 60*rnd.IntN(600)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(rnd, f)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(3), 3))
		for i := range v.Len() {
			fill(rnd, v.Index(i))
		}
	case reflect.String:
		v.SetString([]string{"word", "<a@b.test>", "two\nlines \"\\", "ä\xff\u2028"}[rnd.IntN(4)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64N(1 << 40))
	default:
		panic(fmt.Sprintf("jsontest: %s can not be filled", v.Type()))
	}
}
