package wire

import (
	"bufio"
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReadPacket(t *testing.T) {
	for _, c := range []struct {
		name, in string
		code     byte
		data     string
		err      error
	}{
		{"empty data", "\x00\x00\x00\x01c", 'c', "", nil},
		{"data", "\x00\x00\x00\x04hab\x00", 'h', "ab\x00", nil},
		{"no code", "\x00\x00\x00\x00c", 0, "", ErrProtocol},
		{"too long", "\x04\x00\x00\x01c", 0, "", ErrProtocol},
		{"end", "", 0, "", ErrHungUp},
		{"end in the length", "\x00\x00", 0, "", ErrHungUp},
		{"end before the code", "\x00\x00\x00\x01", 0, "", ErrHungUp},
		{"end in the data", "\x03\xff\xff\xffcab", 'c', "", ErrHungUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, data, err := Read(bufio.NewReader(strings.NewReader(c.in)), nil, MaxPacket)
			if !errors.Is(err, c.err) || err == nil && (code != c.code || string(data) != c.data) {
				t.Errorf("%q %q %v, want %q %q %v", code, data, err, c.code, c.data, c.err)
			}
		})
	}
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01c"))
	f.Add([]byte("\x00\x00\x00\x04hab\x00\x00\x00\x00\x01c"))
	f.Add([]byte("\x03\xff\xff\xffcab"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		total := 0
		for {
			_, data, err := Read(r, nil, MaxPacket)
			if err != nil {
				return
			}
			if total += 5 + len(data); total > len(in) {
				t.Fatal("more octets than came")
			}
		}
	})
}

func FuzzNegotiation(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00\x00\x00\x00\x05i {a}\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours := Offer(6)
		got, err := Agree(ours, in)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		if got.Actions&^ours.Actions != 0 || got.Steps&^ours.Steps != 0 || got.Version > 6 || got.Version < 2 {
			t.Fatalf("agreed on more than was offered: %+v", got)
		}
		again, err := ParseTerms(got.Append(nil))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("written and read again: %+v, %v; was %+v", again, err, got)
		}
	})
}
