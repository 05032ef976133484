package dns

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestRecorder(t *testing.T) {
	z, err := ParseZone(strings.NewReader("a.test A 192.0.2.1\nslow.test FAIL\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{}
	ctx := WithRecorder(context.Background(), r)
	d := Recorded{z}
	for _, name := range []string{"A.test.", "none.test", "slow.test"} {
		d.Lookup(ctx, name, A)
	}
	d.Lookup(context.Background(), "a.test", A) // nobody listens
	got := r.Asked()
	if len(got) != 3 || got[0].Name != "a.test" || got[0].Type != "A" || got[0].Answers[0] != "192.0.2.1" || got[1].Err == "" || got[2].Err == "" {
		t.Errorf("%+v", got)
	}
	many := &Recorder{}
	zone := "many.test TXT " + strings.Repeat("x", 2000) + "\n"
	for i := range 99 {
		zone += fmt.Sprintf("many.test TXT %d\n", i)
	}
	if z, err = ParseZone(strings.NewReader(zone)); err != nil {
		t.Fatal(err)
	}
	Recorded{z}.Lookup(WithRecorder(context.Background(), many), "many.test", TXT)
	if a := many.Asked()[0].Answers; len(a) != maxAnswers || len(a[0]) != maxText+3 || many.Asked()[0].More != 80 {
		t.Errorf("%q", a)
	}
	for range 2 * maxAsked {
		d.Lookup(ctx, "a.test", A)
	}
	if n := len(r.Asked()); n != maxAsked {
		t.Errorf("kept %d", n)
	}
}
