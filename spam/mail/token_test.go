package mail

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// events write down what a tokenizer finds.
type events struct {
	list   []string
	inside map[string]int
}

func (e *events) tag(name string, attrs map[string]string, start bool) {
	if !start {
		e.inside[name] = max(0, e.inside[name]-1)
		e.list = append(e.list, "end "+name)
		return
	}
	e.inside[name]++
	s := "start " + name
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		s += " " + key + "=" + attrs[key]
	}
	e.list = append(e.list, s)
}

func (e *events) words(text []byte)       { e.list = append(e.list, "text "+string(text)) }
func (e *events) comment(text []byte)     { e.list = append(e.list, "comment "+string(text)) }
func (e *events) declaration(text []byte) { e.list = append(e.list, "declaration "+string(text)) }

func tokens(text string) []string {
	e := &events{inside: map[string]int{}}
	(&tokenizer{h: e}).run([]byte(text), func() string {
		for _, name := range []string{"style", "script"} {
			if e.inside[name] > 0 {
				return "</" + name + ">"
			}
		}
		return ""
	})
	return e.list
}

// documents say what HTML::Parser, as SpamAssassin drives it, makes of HTML that is as it
// should be, and of what spammers write.
var documents = []struct{ name, text, want string }{
	{"a tag, its attributes, text", `<A Href="x" TITLE='y z' n=1 Checked>b c</A >`, `start a checked=Checked href=x n=1 title=y z|text b c|end a`},
	{"of two attributes of a name the first", `<p a=1 a=2>`, `start p a=1`},
	{"an attribute with spaces around its sign", `<p a = "b"  c= d>`, `start p a=b c=d`},
	{"an attribute without a value, before the end", `<p a=>x`, `start p a=|text x`},
	{"a slash is a name, or of a value", `<br /><a href=x/>`, `start br /=/|start a href=x/`},
	{"a quote where a name should be", `<p '>'>`, `start p '='|text '>`},
	{"vertical tabs are white space", "<p\va=1></p\v>", `start p a=1|end p`},
	{"tags in capitals, with signs, no tags", `<TD.x><o:p><1>< b><_>`, `start td.x|start o:p|text <1>|text < b>|start _`},
	{"a tag without an end is a comment", `a <b c`, `text a |comment <b c`},
	{"a quote that nothing closes makes one of the rest", `<p a="x>y`, `comment <p a="x>y`},
	{"entities, with and without their end", `&amp;&lt;&lt&copyx &euro;&euro &bogus;&`, `text &<<©x €&euro|text  &bogus;&`},
	{"entities by number", `&#65;&#x41;&#65&#0;&#xfffe;&#1114112;`, `text AAA&#0;&#xfffe;&#1114112;`},
	{"entities in attributes need their end", `<p a="&amp;&lt&copyx">`, `start p a=&<&copyx`},
	{"the end tag of nothing is a comment", `x</>y</ b>`, `text x|comment </>|text y|comment </ b>`},
	{"comments", `<!--a--><!---->x<!-- a - -- ><!>`, `comment <!--a-->|comment <!---->|text x|comment <!-- a - -- >|comment <!>`},
	{"a comment without an end ends at the next bracket", `a<!-- b > c --`, `text a|comment <!-- b >|text  c|text  --`},
	{"such a declaration is a comment", `<!x><!1><![if !mso]><!- a>`, `comment <!x>|comment <!1>|comment <![if !mso]>|comment <!- a>`},
	{"a declaration, with quotes and comments", `<!DOCTYPE html PUBLIC "a>b" --c>-->x`, `declaration <!DOCTYPE html PUBLIC "a>b" --c>-->|text x`},
	{"a declaration that is none after all ends late", `<!DOCTYPE --a>--->x<b>`, `comment <!DOCTYPE --a>--->|text x|start b`},
	{"instructions are nothing", `a<?xml ?>b`, `text a|text b`},
	{"a script is no markup, and has no entities", `<script>a<b>&amp;</scr></script >&amp;`, `start script|text a<b>&amp;</scr>|end script|text &`},
	{"a title is no markup, and has entities", `<title>a<b>&amp;</title>`, `start title|text a<b>&|end title`},
	{"plaintext has no end", `<plaintext>a</plaintext>&amp;`, `start plaintext|text a</plaintext>&amp;`},
	{"the rest of xmp is its text", `<xmp>a<b>&amp;`, `start xmp|text a<b>&amp;`},
	{"a script without an end is closed behind the text", `<script>a&amp;<b>c&amp;</b>`, `start script|text a&amp;<b>c&amp;</b>|end script`},
	{"a title without an end is read again, and closed by the first tag", `<title>a<b>c`, `start title|text a|end title|start b|text c`},
	{"but not by a comment", `<title>a<!--b-->c`, `start title|text a|comment <!--b-->|text c|end title`},
	{"a script in a title without an end is empty, and text after it keeps its entities", `<title>a&amp;<script>b&amp;<i>c&amp;`, `start title|text a&|end title|start script|end script|text b&amp;|start i|text c&amp;`},
	{"until another element ends", `<title>a<script>b&amp;<xmp>c&amp;</xmp>&amp;`, `start title|text a|end title|start script|end script|text b&amp;|start xmp|text c&amp;|end xmp|text &`},
	{"a section of text", `<![CDATA[a<b>&amp;]]&gt;]]>&amp;`, `text a<b>&amp;]]&gt;|text &`},
	{"of text and entities", `<![ RCDATA [a<b>&amp;]]>&amp;`, `text a<b>&|text &`},
	{"of markup", `<![INCLUDE[<b>&amp;]]>&amp;`, `start b|text &|text &`},
	{"that is ignored, but for a script in it", `<![IGNORE[<b>a]]>c<![IGNORE[<script>]]></script>d]]>e`, `text c|text e`},
	{"sections in one another", `<![INCLUDE[a<![CDATA[<b>]]>c]]>d]]>`, `text a|text <b>|text c|text d]]>`},
	{"names that nobody knows end nothing", `<![x[a]]>b`, `text a]]>b`},
	{"text behind a bracket in a section", `<![INCLUDE[]<b>]] >]]]>a]]>c`, `text ]<b>]] >]]]>a|text c`},
	{"a section that nothing ends", `<![CDATA[<1>`, `text <1>`},
	{"and one that begins with markup", `<![CDATA[<b>`, `comment <b>`},
}

// TestTokenizer reads documents, and asks HTML::Parser whether it reads them so.
func TestTokenizer(t *testing.T) {
	for _, c := range documents {
		if got := strings.Join(tokens(c.text), "|"); got != c.want {
			t.Errorf("%s: %q:\n got %s\nwant %s", c.name, c.text, got, c.want)
		}
	}
	t.Run("as Perl", func(t *testing.T) {
		o := spamtest.Start(t, "..", "../rules", spamtest.Site)
		for _, c := range documents {
			if perl, _ := perlTokens(t, o, c.text); strings.Join(perl, "|") != c.want {
				t.Errorf("%s: %q: HTML::Parser has\n%s", c.name, c.text, strings.Join(perl, "|"))
			}
		}
	})
}

// perlTokens are what HTML::Parser finds; ok is false where it fails.
func perlTokens(t *testing.T, o *spamtest.Oracle, text string) (out []string, ok bool) {
	t.Helper()
	var perl struct {
		Events []spamtest.Bytes
		Died   string
	}
	o.About(t, "markup", []byte(text), &perl)
	for _, e := range perl.Events {
		out = append(out, string(e))
	}
	return out, perl.Died == ""
}

var soupPieces = []string{"<", ">", "</", "<b", "<a href=", "\"", "'", "<!--", "-->", "<!", "<![CDATA[", "<![ignore[", "<![ include [", "<![x[", "]]>", "]] >", "<?xml ?>", "<?", "?>", "&", "&amp", "&amp;", "&lt", "&nbsp", "&copyx", "&euro", "&euro;", "&hearts;", "&#", "&#x", "&#65", "&#x41;", "&#0;", "&#128;", "&#xfffe;", "&#1114112;", ";",
	" ", " ", "\n", "\t", "\v", "text", "x", "1", "<p>", "</p>", "</p x='>'>", "<script>", "</script>", "</script >", "<style>", "</style", "</style>", "<title>", "</title>", "</TITLE>", "<br/>", "<br />", "<img src=x", "<img src=\"a b\" alt='c' d>", "=", "/", "<td>", "</td>", "<font color=white>", "word ", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<iframe>", "</iframe>", "<plaintext>",
	"\u00a0", "é", "<![if !mso]>", "<![endif]>", "<!DOCTYPE", "<!DOCTYPE html>", "<!doctype html -- x -- \"y>z\">", "- -", "--", "<!-->", "<!--->", "<!---->", "<!-- a -- >", "<!>", "<!- ", "<1>", "<_x>", "<:y>", "< b>", "</>", "</ x>", "<a.b-c d.e=f>", "\x00", "]", "]]", "]]]>", "<![include[", "<![rcdata[", "<![cdata include[", "<![include x[", "<p a=1 A=2 b = '3' c>", "<p=q>", "<p/>", "<a href=x/>", "<p '>'>", "<p \"x\"=y>"}

// TestSoupAsPerl compares with HTML::Parser what pieces in any order are read as.
func TestSoupAsPerl(t *testing.T) {
	o := spamtest.Start(t, "..", "../rules", spamtest.Site)
	seed, n := spamtest.Cases(1500, 60000)
	r := rand.New(rand.NewPCG(seed, 3))
	wrong := 0
	for i := range n {
		var b strings.Builder
		for range 1 + r.IntN(1+r.IntN(30)) {
			b.WriteString(soupPieces[r.IntN(len(soupPieces))])
		}
		got := tokens(b.String())
		want, ok := perlTokens(t, o, b.String())
		if ok && !slices.Equal(got, want) {
			t.Errorf("%d: %q:\n got %q\nwant %q", i, b.String(), got, want)
			if wrong++; wrong == 10 {
				t.Fatal("and so on")
			}
		}
	}
}
