package dns

import (
	"context"
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
	for range 2 * maxAsked {
		d.Lookup(ctx, "a.test", A)
	}
	if n := len(r.Asked()); n != maxAsked {
		t.Errorf("kept %d", n)
	}
}
