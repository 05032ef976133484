package spam_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// TestCut: what was cut is in the result. Rules about links that were not all looked at
// are unknown, and what is built on them; others are as SpamAssassin has them.
func TestCut(t *testing.T) {
	rs := conf.Parse("x.cf", "util_rb_tld com\nuri LAST /last\\.example/\nuri FIRST /h1\\.example/\nuri_detail DETAIL domain =~ /last/\nmeta NOT_LAST !LAST\nbody END /the end/\nmeta NO_END !END\nheader ALL_ ALL =~ /zzz/\n", conf.Options{})
	e := spam.New(rs, spam.Options{})
	var links strings.Builder
	for i := range 20100 {
		fmt.Fprintf(&links, "http://h%d.example.com/\n", i)
	}
	var parts strings.Builder // each short enough not to be cut
	for at := 0; at < links.Len(); at += 40000 {
		fmt.Fprintf(&parts, "--b\n\n%s\n", links.String()[at:min(at+40000, links.Len())])
	}
	const dropped = "links: 20000, and 200 forms of each"
	for _, c := range []struct {
		text               string
		cut, unknown, hits []string
	}{
		{"Subject: x\n\nhttp://h1.example.com/\n", nil, nil, []string{"FIRST", "NOT_LAST", "NO_END"}},
		{"Content-Type: multipart/mixed; boundary=b\n\n" + parts.String() + "--b--\n", []string{dropped}, []string{"DETAIL", "LAST", "NOT_LAST"}, []string{"FIRST", "NO_END"}},
		{"Subject: x\n\n" + strings.Repeat("a b ", 20000) + "the end\n", []string{"text: 50000 characters of a part"}, nil, []string{"NOT_LAST", "NO_END"}},
		{strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", 70) + "\nx\n", []string{"header: 65536 octets"}, nil, []string{"NOT_LAST", "NO_END"}},
		{"Received: from " + strings.Repeat("(a [", 20000) + "\n\nx\n", []string{"field: 8192 octets"}, nil, []string{"NOT_LAST", "NO_END"}},
	} {
		r := e.Check(context.Background(), []byte(c.text), scan.Facts{})
		var unknown []string
		for _, u := range r.Unknown {
			unknown = append(unknown, u.Rule)
		}
		if !slices.Equal(r.Cut, c.cut) || !slices.Equal(unknown, c.unknown) || !slices.Equal(r.Names(), c.hits) {
			t.Errorf("%.60q: cut %q, unknown %q, hits %q; want %q, %q, %q", c.text, r.Cut, unknown, r.Names(), c.cut, c.unknown, c.hits)
		}
	}
	many := spam.Result{Cut: []string{"a", "b", "c", "d", "e", "f", "g"}}
	if got := many.CutNote(); got != "a; b; c; d; e and 2 more" {
		t.Error(got)
	}
}
