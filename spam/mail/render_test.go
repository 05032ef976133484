package mail

import (
	"strings"
	"testing"

	"mtad/spam/spamtest"
)

// renderings are documents of HTML, what body rules see of them, and what Bayes takes for
// visible.
var renderings = []struct{ what, html, text, visible string }{
	{"white space", "a \n\t b<b>c </b> d", "a bc d \n", "a bc d \n"},
	{"elements that part words", "a<br>b<div>c</div>d<td>e", "a b c d e \n", "a b c d e \n"},
	{"elements that part paragraphs", "a<p>b</p><hr>c<title>t</title>d", "a\\n\nb\\n\nc\\n\nt\\n\nd \n", "a\\n\nb\\n\nc\\n\nt\\n\nd \n"},
	{"a no-break space", "a&nbsp;b\u00a0c&#160;d", "a b c d \n", "a b c d \n"},
	{"one that was decoded twice", "a\u00c2\u00a0b", "a b \n", "a b \n"},
	{"and nothing else but such", "a<font color=white>\u00c2\u00a0</font>b", "a b \n", "a b \n"},
	{"signs by name and number", "&lt;a&gt; &eacute;&#8364;&#x41;", "<a> é€A \n", "<a> é€A \n"},
	{"scripts, styles and comments", "a<script>b</script><style>c</style><!-- d -->e", "ae \n", "ae \n"},
	{"white on white", "a<font color=white>b</font>c", "abc \n", "ac \n"},
	{"nearly white on white", "a<span style=\"color:#fefefe\">b</span>c", "abc \n", "ac \n"},
	{"white on black", "<body bgcolor=black>a<font color=white>b</font>", "ab \n", "a \n"},
	{"too small to be seen", "a<span style=\"font-size:1px\">b</span>c", "abc \n", "abc \n"},
	{"not displayed", "a<span style=\"display:none\">b</span><div style=\"visibility:hidden\">c</div>d", "ab c d \n", "a\\n\nd \n"},
	{"tags within words", "v<i></i>ia<b>g</b>ra", "viagra \n", "viagra \n"},
	{"a list", "<ul><li>a<li>b</ul>", " a b \n", " a b \n"},
	{"preformatted", "<pre>a\n  b\n\nc</pre>", "\\n\na b c\\n\n", "\\n\na b c\\n\n"},
	{"a picture and a link say nothing", "<a href=\"http://example.com/\">a</a><img alt=b src=c>", "a \n", "a \n"},
}

// TestRendering renders documents, and asks SpamAssassin whether it renders them so.
func TestRendering(t *testing.T) {
	message := func(html string) []byte {
		return []byte("Subject: x\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + html + "\n")
	}
	for _, c := range renderings {
		m := Parse(message(c.html), Limits{})
		for which, want := range map[Which]string{All: c.text, Visible: c.visible} {
			if got := strings.TrimPrefix(lines(m.Text(which)), "x\\n\n"); got != want {
				t.Errorf("%s: %q: %q, want %q", c.what, c.html, got, want)
			}
		}
	}
	t.Run("as Perl", func(t *testing.T) {
		o := spamtest.Start(t, "..", "../rules", spamtest.Site)
		for _, c := range renderings {
			var perl seen
			o.About(t, "check", message(c.html), &perl)
			for which, p := range map[string][2]string{"all": {perlLines(perl.Body), c.text}, "visible": {perlLines(perl.Visible), c.visible}} {
				if got := strings.TrimPrefix(p[0], "x\\n\n"); got != p[1] {
					t.Errorf("%s: %q: SpamAssassin has of %s %q", c.what, c.html, which, got)
				}
			}
		}
	})
}
