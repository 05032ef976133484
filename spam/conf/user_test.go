package conf

import (
	"reflect"
	"strings"
	"testing"
)

const siteRules = `
# UPDATE version 1
allow_user_rules 1
body A /aaa/
score A 1
describe A is a
body R /<T>/
replace_rules R
replace_tag T t
meta M A && R
priority A 5
util_rb_tld com org
util_rb_2tld co.uk
required_score 7
report first
rewrite_header Subject SPAM
welcomelist_from a@example.org *@example.net
def_welcomelist_from_rcvd b@example.org example.org
welcomelist_from_dkim c@example.org example.org
trusted_networks 192.0.2.0/24
internal_networks 192.0.2.0/25
enlist_uri_host (LIST) example.org
enlist_addrlist (LIST) d@example.org
freemail_domains example.org
uridnsbl_skip_domain example.org
urirhsbl U list.example. A
body U eval:check_uridnsbl('U')
subjprefix A [A]
shortcircuit A spam
`

// Whatever users' preferences say, the site's rules stay as they are.
func TestWithUserChangesNothing(t *testing.T) {
	site, same := Parse("site", siteRules, Options{}), Parse("site", siteRules, Options{})
	for line := range strings.Lines(`# UPDATE version 2
score A 3
score A (1)
score NEW 1
describe A is b
body A /zzz/
body NEW /new/
tflags A nice
priority M 7
clear_util_rb
util_rb_tld net
util_rb_3tld a.b.c
required_score 2
report second
clear_report_template
rewrite_header Subject HAM
rewrite_header From HAM
welcomelist_from e@example.org
unwelcomelist_from a@example.org
unwelcomelist_from_rcvd b@example.org
welcomelist_from_dkim c@example.org example.net
welcomelist_from_rcvd f@example.org example.org
clear_trusted_networks
trusted_networks 198.51.100.0/24
internal_networks 203.0.113.0/24
enlist_uri_host (LIST) example.net
delist_uri_host example.org
enlist_addrlist (LIST) g@example.org
freemail_domains example.net
clear_uridnsbl_skip_domain example.org
urirhsbl U other.example. A
subjprefix A [B]
shortcircuit A off
add_header all Name text
remove_header all Name
clear_headers
report_safe 0
replace_tag T u
bayes_stopword_en x
`) {
		site.WithUser("one", line, Options{})
		mine := site.WithUser("two", line, Options{}).WithUser("three", line, Options{})
		mine.WithUser("four", siteRules, Options{})
		if !reflect.DeepEqual(site, same) {
			t.Fatalf("%q has changed the site's rules", line)
		}
	}
	mine := site.WithUser("one", "score A 3\nscore B (1)\nscore A (0.5)\nwelcomelist_from e@example.org\nrequired_score 2", Options{})
	if len(mine.Problems) != 1 || mine.Whole() || !mine.SameRules(site) || !reflect.DeepEqual(mine.OwnScores(), []string{"A"}) || !mine.Touches("welcome") || mine.Touches("bayes_") {
		t.Errorf("%+v", mine)
	}
	yes := func(address string) bool { _, ok := mine.Addresses("welcomelist_from").Match(address); return ok }
	if mine.Score("A", 0) != 3.5 || mine.Number("required_score") != 2 || mine.String("report") != "first\n" || !yes("e@example.org") || !yes("a@example.org") || len(mine.Lists("")) != len(site.Lists("")) {
		t.Errorf("%+v", mine)
	}
	if mine = site.WithUser("one", "freemail_domains b", Options{}); !mine.Whole() || !mine.SameRules(site) {
		t.Errorf("a list of words: %+v", mine)
	}
	if mine = site.WithUser("one", "no_such_setting 1\nbayes_path /x", Options{}); mine.Whole() || len(mine.Problems) != 1 || len(mine.Notes) != 1 {
		t.Errorf("what is no setting, and one that changes nothing: %+v", mine)
	}
	if mine = site.WithUser("one", "describe A b\nunwelcomelist_from a@example.org\nwelcomelist_from_rcvd x y\nclear_headers", Options{}); mine.Whole() || mine.Description("A") != "b" || len(mine.Pairs("welcomelist_from_rcvd")) != 1 {
		t.Errorf("%+v", mine)
	}
	if mine = site.WithUser("one", "body A /b/", Options{}); mine.SameRules(site) {
		t.Error("another rule is the same")
	}
}
