package scan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mtad/spam/bayes"
	"mtad/spam/spamtest"
)

// learned is what SpamAssassin's Bayes would learn of a message.
type learned struct {
	Tokens map[string]spamtest.Bytes
	IDs    []spamtest.Bytes
	Date   int64
}

// TestBayesInputAsPerl compares the tokens of whole messages, and when they came.
func TestBayesInputAsPerl(t *testing.T) {
	p := newPerl(t)
	p.settings.Redirects = redirects(t, p.settings.Rules.Words("redirector_pattern"))
	s := bayes.NewSettings(p.settings.Rules)
	seed, n := spamtest.Cases(100, 3000)
	r := rand.New(rand.NewPCG(seed, 11))
	messages := spamtest.Corpus(seed, n)
	for i := range n {
		messages = append(messages, spamtest.Message{Name: fmt.Sprint("links", i), Text: oddLinks(r)}, spamtest.Message{Name: fmt.Sprint("header", i), Text: oddHeader(r)})
	}
	same := 0
	for _, m := range messages {
		t.Run(m.Name, func(t *testing.T) {
			var want learned
			c := p.askFor(t, "tokens", m.Text, &want)
			got := map[string]string{}
			in := c.BayesInput(s, false)
			in.URIs, in.HTMLURIs = slices.DeleteFunc(in.URIs, translated), slices.DeleteFunc(in.HTMLURIs, translated)
			for _, token := range s.Tokens(in) {
				got[token.Hash.String()] = token.Text
			}
			for h, text := range want.Tokens {
				if _, ok := got[h]; !ok {
					t.Errorf("only there: %q", string(text))
				}
			}
			for h, text := range got {
				if _, ok := want.Tokens[h]; !ok {
					t.Errorf("only here: %q", text)
				}
			}
			var ids []string
			for _, id := range want.IDs {
				ids = append(ids, string(id))
			}
			if got := bayes.MessageIDs(c.Mail); !slices.Equal(got, ids) {
				t.Errorf("names %q, want %q", got, ids)
			}
			now := time.Now()
			if got := c.Mail.Received(now).Unix(); got != want.Date && now.Unix()-want.Date > 10 {
				t.Errorf("received %d, want %d", got, want.Date)
			}
			same += len(got)
			if t.Failed() {
				t.Logf("%q", m.Text)
			}
		})
	}
	t.Logf("%d messages, %d tokens", len(messages), same)
}

// translated reports whether a link has the corpus's host of letters that the DNS has
// not: a SpamAssassin without LibIDN does not find it.
func translated(link string) bool { return strings.Contains(link, "xn--r8jz45g") }
