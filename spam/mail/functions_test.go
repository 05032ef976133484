package mail

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// shuffled makes a text of some of pieces.
func shuffled(r *rand.Rand, pieces []string, most int) string {
	var b strings.Builder
	for range 1 + r.IntN(most) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func date(s string) []string {
	sec, ok := ParseDate(s)
	if !ok {
		return nil
	}
	return []string{strconv.FormatInt(sec, 10)}
}

func decodedText(charset, insist, text string) string {
	return string(toUTF8([]byte(text), charset, insist == "1"))
}

// TestFunctions: what single functions give, here and in SpamAssassin.
func TestFunctions(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	seed, n := spamtest.Cases(1000, 50000)
	r := rand.New(rand.NewPCG(seed, 5))
	same := func(name string, got []string, args ...string) {
		t.Helper()
		if want := o.Call(t, name, args...); !slices.Equal(got, want) {
			t.Errorf("%s %q: %q, want %q", name, args, got, want)
		}
	}
	for range n {
		s := shuffled(r, []string{"Thu", "Mon", "26", "1", "31", "29", "0", "Nov", "feb", "APR", "Feb", "2026", "2024", "2040", "1970", "1969", "99", "49", "50", "100", "26 Nov 2026", "29 Feb 2040", "31 Apr 2026", "1 Jan 1970", "Nov 26 10:00:00 2026", "10:00:00", "10:00", "25:61:61", "1:2", "9:08:07", "+0100", "-0800", "+9999", "GMT", "EST", "XYZ", "CET-DST", "(UTC)", "EET", "A", ",", ", ", "\n", "\t", ":", "\xa0", "\u00a0"}, 12)
		s = strings.Join(strings.SplitAfter(s, ","), " ")
		same("date", date(s), s)
		c := shuffled(r, []string{"#", "red", "White", "rgb(", "1", "255", "256", "10%", ",", ", ", ")", "ff", "0", "a", "xyz", " ", "\t", "rgb(1,2,3)", "rgb(10%, 20%,300%)", "#fff", "#12345", "#1234567", "rgb(1, 2, 3 )"}, 6)
		same("color", []string{rgb(c)}, c)
		e := shuffled(r, []string{"QUJD", "QQ==", "QQ", "=", "A", "/+", "\n", " ", "-", "\r\n", "z", "ABCDEFGH"}, 30)
		same("base64", []string{string(decodeBase64([]byte(e)))}, e)
		q := shuffled(r, []string{"a", "=", "=\n", "=\r\n", " ", "\t", " \n", " =\n", "=41", "=c3=A9", "=4", "=4g", "\n", "\r", "\r\n", "=3D41", "=\t \r\n"}, 12)
		same("qp", []string{string(decodeQP([]byte(q)))}, q)
		for _, insist := range []string{"0", "1"} {
			// What follows what is wrong at once, Perl takes for a part of it or not, as it likes.
			u := strings.Join(strings.Split(shuffled(r, []string{"a ", "\xc3\xa9 ", "\xc3 ", "\xe4\xbd\xa0 ", "\xe4 ", "\xe4\xbd ", "\xf0\x9f\x98\x80 ", "\xf0\x9f ", "\x80 ", "\xff ", "\xfe ", "\xf8 ", "\xfc ", "\xc0\xaf ", "\xed\xa0\x80 ", "\xef\xbf\xbf ", "\xef\xb7\x90 ", "\xef\xbf\xbd ", "\xf4\x90\x80\x80 "}, 8), " "), "a")
			same("decode", []string{decodedText("utf-8", insist, u)}, "utf-8", insist, u)
		}
	}
}

// singleOctet are charsets of senders with a character an octet.
var singleOctet = strings.Fields(`iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-9 iso-8859-10 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16
	latin1 latin2 windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258 cp1250 cp1251 koi8-r koi8-u ibm866 cp866 ibm437 cp437 ibm850 cp850 tis-620 iso-8859-11 macintosh us-ascii x-unknown`)

// TestCutCharacters: a character that the end has cut off is left out, and one that is
// wrong in the middle makes Windows-1252 of a text, and a mark of a field.
func TestCutCharacters(t *testing.T) {
	cases := []struct{ charset, insist, text, want string }{
		{"gb2312", "0", "a\xc4\xe3", "a\u4f60"}, {"gb2312", "0", "a\xc4", "a"}, {"gb2312", "1", "a\xc4", "a"},
		{"gb2312", "0", "a\xc4a", "a\u00c4a"}, {"gb2312", "1", "a\xc4a", "a\ufffda"},
		{"big5", "0", "\xa4\xa4\xa4", "\u4e2d"}, {"big5", "1", "\xa4\xa4\xa4", "\u4e2d"}, {"shift_jis", "0", "\x82\xa0\x82", "\u3042"}, {"euc-kr", "1", "\xb0\xa1\xb0", "\uac00"},
		{"euc-jp", "0", "\xa4\xa2\xa4", "\u3042"}, {"gbk", "0", "\xc4", ""},
	}
	for _, c := range cases {
		if got := decodedText(c.charset, c.insist, c.text); got != c.want {
			t.Errorf("%s, %s, %q: %q, want %q", c.charset, c.insist, c.text, got, c.want)
		}
	}
	t.Run("as Perl", func(t *testing.T) {
		o := spamtest.Start(t, "..", "../rules", spamtest.Site)
		for _, c := range cases {
			if got := strings.Join(o.Call(t, "decode", c.charset, c.insist, c.text), ""); got != c.want {
				t.Errorf("SpamAssassin: %s, %s, %q: %q, want %q", c.charset, c.insist, c.text, got, c.want)
			}
		}
	})
}

// newer are letters that Perl's tables do not have yet.
const newer = "windows-1255 a\xcab, koi8-u a\xaeb, koi8-u a\xbeb"

// TestCharsets decodes every octet of them, as text and in a field, where what is declared
// counts.
func TestCharsets(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	for _, set := range singleOctet {
		for _, insist := range []string{"0", "1"} {
			for c := range 128 {
				text := "a" + string([]byte{byte(c + 128)}) + "b"
				if strings.Contains(newer, set+" "+text) {
					continue
				}
				got := decodedText(set, insist, text)
				if want := strings.Join(o.Call(t, "decode", set, insist, text), ""); got != want {
					t.Errorf("%s, %s, %q: %q, want %q", set, insist, text, got, want)
				}
			}
		}
	}
}
