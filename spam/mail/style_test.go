package mail

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// What elements and their styles are made of.
var (
	styleTags   = strings.Fields("font span p div td table tr body b big small basefont marquee th a center ul li h1 br img style title blink nosuch o:p iframe embed form object")
	styleColors = []string{"white", "black", "#fff", "#fefefe", "fefefe", "#ffffff", "red", "nocolor", "#12345", "rgb(255,255,255)", "rgb(100%, 100%,99%)", "", "transparent", "#000001", "inherit", "WHITE", " white ", "#gggggg", "currentcolor"}
	styleSizes  = []string{"1", "7", "+2", "-1", "-9", "0", "x", "10px", "1px", "0", "50%", "1pt", "small", "99", "+99", "xx-large", "1em", " 2", "2 "}
	styleRules  = []string{"color:", "background-color:", "background:", "font-size:", "display:", "visibility:", "Color : ", "font:", "line-height:"}
	styleValues = []string{"none", "hidden", "inline", "block", "visible", "url(x) white", "white url(x)", "bold 1px arial", "red !important", "none ! important"}
	styleText   = []string{"word ", "text", " ", "\n", "&nbsp;", "\u00a0", "ab", "caf\u00e9", "&copy;", "1", "-", "\u00c2\u00a0"}
	styleFaces  = []string{"Arial", "Arial, Helvetica", "F*o", "'Times New Roman'", "", "x", "a1", "sans-serif;"}
)

func styledText(r *rand.Rand) string {
	of := func(list []string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	for range 1 + r.IntN(14) {
		tag := of(styleTags)
		switch r.IntN(5) {
		case 0:
			b.WriteString("</" + tag + ">")
		case 1:
			b.WriteString(of(styleText))
		default:
			b.WriteString("<" + tag)
			for range r.IntN(3) {
				switch r.IntN(8) {
				case 0, 1:
					b.WriteString(" color=\"" + of(styleColors) + "\"")
				case 2:
					b.WriteString(" bgcolor=\"" + of(styleColors) + "\"")
				case 3:
					b.WriteString(" size=\"" + of(styleSizes) + "\"")
				case 4:
					b.WriteString(" face=\"" + of(styleFaces) + "\" width=" + strconv.Itoa(r.IntN(700)) + " height=" + of([]string{"1", "200", "50%", "x", ""}))
				default:
					b.WriteString(" style=\"")
					for range 1 + r.IntN(3) {
						b.WriteString(of(styleRules) + of([]string{of(styleColors), of(styleSizes), of(styleValues)}) + of([]string{";", "; ", "", ";;"}))
					}
					b.WriteString("\"")
				}
			}
			b.WriteString(">" + of(styleText))
		}
	}
	return b.String()
}

// TestStylesAsPerl compares with SpamAssassin what of styled HTML is visible, and what
// is measured of it.
func TestStylesAsPerl(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	seed, n := spamtest.Cases(400, 8000)
	r := rand.New(rand.NewPCG(seed, 10))
	for range n {
		html := styledText(r)
		text := []byte("Subject: x\nContent-Type: text/html; charset=utf-8\n\n" + html + "\n")
		t.Run("", func(t *testing.T) {
			var want seen
			o.About(t, "check", text, &want)
			compare(t, text, &want)
			h := Parse(text, Limits{}).Leaves()[0].HTML()
			for _, name := range []string{"length", "html_length", "non_space_len", "ratio", "image_area", "min_size", "max_size", "backhair_count", "closed_extra_ratio", "bad_tag_ratio", "non_element_ratio", "obfuscation_ratio",
				"font_low_contrast", "font_invalid_color", "font_face_bad", "form_action_mailto", "embeds"} {
				theirs, set := want.HTML[name]
				v, _ := strconv.ParseFloat(string(theirs), 64)
				if got, ok := h.Value(name); (ok || set) && (math.Abs(got-v) > 1e-9 || ok != set && v != 0) {
					t.Errorf("%s: %v %v, want %q %v", name, got, ok, theirs, set)
				}
			}
			if t.Failed() {
				t.Logf("of %q", html)
			}
		})
	}
}
