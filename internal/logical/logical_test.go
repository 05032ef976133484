package logical

import (
	"fmt"
	"testing"
)

func TestLines(t *testing.T) {
	const text = "  # comment\n\n first\nsecond\r\n\t more \n#\n  and more\n \nthird"
	for glue, want := range map[string]string{
		"": `[{3 first} {4 second	 more  and more} {9 third}]`, "|": `[{3 first} {4 second|	 more|  and more} {9 third}]`,
	} {
		if got := fmt.Sprint(Lines(text, glue)); got != want {
			t.Errorf("%q: %s, want %s", glue, got, want)
		}
	}
}
