package lookup

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// FuzzParse reads anything as each form of file: errors, never more. What is read
// can be asked.
func FuzzParse(f *testing.F) {
	f.Add("/^(.*)@a$/i $1@b\nif !/x/\n1.2.3.4/8 x\nendif\n", "u@a")
	f.Add("key value\n \"q\" v\n", "key")
	f.Add("query = SELECT '%s' FROM \"t\"\ndomain = a\n", "x@y")
	f.Fuzz(func(t *testing.T, text, key string) {
		if _, err := ParseRows("f", text); err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("no place: %v", err)
		}
		for _, pattern := range []pattern{regexpPattern, pcrePattern, cidrPattern} {
			if rs, err := parseRules("f", text, pattern); err == nil {
				rs.find(key)
			}
		}
		if table, err := parseInline(text); err == nil {
			get(table, key)
		}
		s, err := parseStatement(text, func(n int) string { return fmt.Sprintf("?%d", n) })
		if err != nil {
			return
		}
		// What a key puts in is in the arguments alone.
		before := s.sql
		if args, ok := s.arguments(splitKey(key)); ok && len(args) != len(s.params) || s.sql != before {
			t.Errorf("%d arguments for %d parameters", len(args), len(s.params))
		}
	})
}

// FuzzAnswer reads anything as a daemon's answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("200 a%20b\n"))
	f.Add([]byte("5:OK ab,"))
	f.Add([]byte("9:NOTFOUND ,"))
	f.Fuzz(func(t *testing.T, b []byte) {
		over := func() *bufio.ReadWriter {
			return bufio.NewReadWriter(bufio.NewReader(bytes.NewReader(b)), bufio.NewWriter(&bytes.Buffer{}))
		}
		for _, ask := range []func() (answer, error){
			func() (answer, error) { return tcpExchange(over(), "k") },
			func() (answer, error) { return socketmapExchange(over(), "map", "k") },
		} {
			if a, err := ask(); err == nil && (len(a.value) > 2*maxReply || a.ok && a.fault != nil) {
				t.Errorf("%+v", a)
			}
		}
	})
}
