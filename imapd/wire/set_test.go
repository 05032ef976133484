package wire

import (
	"slices"
	"strings"
	"testing"
)

func readSet(s string) (Set, error) {
	r := NewReader(strings.NewReader(s+"\r\n"), &Buffers{}, Limits{}, nil)
	r.Begin()
	set := r.Set()
	return set, r.End()
}

func TestSetResolve(t *testing.T) {
	tests := []struct {
		in   string
		last uint32
		want Set
	}{
		{"1", 9, Set{{1, 1}}},
		{"1:*", 9, Set{{1, 9}}},
		{"*", 9, Set{{9, 9}}},
		{"*:4", 9, Set{{4, 9}}},
		{"12:*", 9, Set{{9, 12}}},
		{"5:3", 9, Set{{3, 5}}},
		{"1:*", 0, Set{}},
		{"7,1:3,2:5,6", 9, Set{{1, 7}}},
		{"4294967295,1", 9, Set{{1, 1}, {4294967295, 4294967295}}},
		{"4294967295,4294967294", 9, Set{{4294967294, 4294967295}}},
	}
	for _, tt := range tests {
		set, err := readSet(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got := set.Resolve(tt.last); !slices.Equal(got, tt.want) {
			t.Errorf("%s of %d: got %v, want %v", tt.in, tt.last, got, tt.want)
		}
	}
	for _, bad := range []string{"", "0", "1:0", "1,", ",1", "a", "1:", "-1", "1::2"} {
		if set, err := readSet(bad); err == nil {
			t.Errorf("%q was taken as %v", bad, set)
		}
	}
}

func TestSetContains(t *testing.T) {
	set := Set{{2, 4}, {8, 8}}.Resolve(0)
	for n := range uint32(10) {
		want := n >= 2 && n <= 4 || n == 8
		if set.Contains(n) != want {
			t.Errorf("contains %d: %v", n, !want)
		}
	}
}

func TestAppendSet(t *testing.T) {
	tests := []struct {
		in   []uint32
		want string
	}{
		{nil, ""},
		{[]uint32{7}, "7"},
		{[]uint32{1, 2, 3, 5, 9, 10}, "1:3,5,9:10"},
		{[]uint32{3, 2, 1}, "3,2,1"},
	}
	for _, tt := range tests {
		if got := string(AppendSet(nil, tt.in)); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
