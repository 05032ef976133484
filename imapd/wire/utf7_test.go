package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestName(t *testing.T) {
	tests := []struct{ name, encoded string }{
		{"INBOX", "INBOX"},
		{"a&b", "a&-b"},
		{"Entwürfe", "Entw&APw-rfe"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, // RFC 3501, 5.1.3
		{"😀", "&2D3eAA-"},
		{"ä&", "&AOQ-&-"},
	}
	for _, tt := range tests {
		if got := EncodeName(tt.name); got != tt.encoded {
			t.Errorf("encode %q: got %q, want %q", tt.name, got, tt.encoded)
		}
		if got, ok := DecodeName(tt.encoded); !ok || got != tt.name {
			t.Errorf("decode %q: got %q %v, want %q", tt.encoded, got, ok, tt.name)
		}
	}
}

func TestNameRefused(t *testing.T) {
	for _, s := range []string{
		"&", "&AOQ", "&AOQ-&AOQ-", "&AGE-", "&AO-", "&AOR-", "&2D0-", "&!!-", "a\x01b", "a\x7fb", "&AAo-", "\xff",
	} {
		if name, ok := DecodeName(s); ok {
			t.Errorf("%q was taken as %q", s, name)
		}
	}
}

func TestNameInUTF8(t *testing.T) {
	if name, ok := DecodeName("Entwürfe"); !ok || name != "Entwürfe" {
		t.Errorf("got %q %v", name, ok)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"&U,BTFw-", "a&-b", "&", "&2D3eAA-", "Entwürfe", "&AOQ-&AOQ-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := DecodeName(s)
		if ok {
			if !utf8.ValidString(name) {
				t.Fatalf("%q gave %q", s, name)
			}
			if again, ok := DecodeName(EncodeName(name)); !ok || again != name {
				t.Fatalf("%q came back as %q", name, again)
			}
		}
		if utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f || c == utf8.RuneError }) {
			if back, ok := DecodeName(EncodeName(s)); !ok || back != s {
				t.Fatalf("%q encoded as %q came back as %q", s, EncodeName(s), back)
			}
		}
	})
}
