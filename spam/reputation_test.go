package spam_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
	"mtad/spam/txrep"
)

// senders is a scan.Reputations in memory.
type senders map[string]scan.Reputation

func (s senders) Look(_ context.Context, keys []string) ([]scan.Reputation, error) {
	var out []scan.Reputation
	for _, k := range keys {
		out = append(out, s[k])
	}
	return out, nil
}

func (s senders) Change(_ context.Context, changes []scan.ReputationChange) error {
	for _, c := range changes {
		r := s[c.Key]
		if c.Remove {
			r = scan.Reputation{}
		}
		r.Count, r.Total = r.Count+c.Count, r.Total+c.Total
		if s[c.Key] = r; r == (scan.Reputation{}) {
			delete(s, c.Key)
		}
	}
	return nil
}

// vouchers are who may vouch for a message, by DKIM and by SPF, as SpamAssassin is told and
// as the engine is.
var vouchers = []struct {
	there string
	here  scan.Facts
}{
	{"- -", scan.Facts{}}, {"- -", scan.Facts{SPF: &scan.SPF{MailFrom: "fail"}, DKIM: []scan.Signature{{Domain: "bad.example", Result: "fail"}}}},
	{"list.example -", scan.Facts{DKIM: []scan.Signature{{Domain: "list.example", Result: "pass"}, {Domain: "list.example", Selector: "2", Result: "pass"}, {Domain: "x.example", Result: "neutral"}}}},
	{"list.example,example.com bounce@list.example", scan.Facts{SPF: &scan.SPF{MailFrom: "pass"}, DKIM: []scan.Signature{{Domain: "list.example", Result: "pass"}, {Domain: "example.com", Result: "pass"}}}},
	{"- bounce@list.example", scan.Facts{SPF: &scan.SPF{MailFrom: "pass"}}}, {"- -", scan.Facts{SPF: &scan.SPF{Helo: "pass", MailFrom: "none"}}},
}

// TestTxRepAsPerl judges mail of a few senders, vouched for by different domains, again and
// again, and now and then learns or forgets some of it: each score must be SpamAssassin's.
func TestTxRepAsPerl(t *testing.T) {
	rules := t.TempDir()
	const text = "loadplugin Mail::SpamAssassin::Plugin::TxRep\nuse_txrep 1\nuse_auto_welcomelist 0\nbayes_auto_learn 0\nbayes_min_spam_num 10000\n" +
		"header TXREP eval:check_senders_reputation()\ntflags TXREP userconf noautolearn\npriority TXREP 1000\n"
	mtatest.Write(t, filepath.Join(rules, "10.cf"), obvious+text)
	o := spamtest.Start(t, ".", rules, spamtest.Site, "state="+t.TempDir())
	rs, err := conf.Load([]string{rules, spamtest.Site}, conf.Options{Local: true})
	mtatest.Check(t, err)
	e := spam.New(rs, spam.Options{})
	known := senders{}
	messages := spamtest.Corpus(6, mtatest.Fewer(100))
	hits := 0
	for i := range 3 * len(messages) {
		m := messages[(i*7+i/len(messages))%len(messages)] // those that are learned are judged in other rounds
		if i%5 == 4 {
			class := []string{"spam", "ham", "forget"}[i/5%3]
			o.About(t, "learn "+class, m.Text, nil)
			o.Ask(t, "close", nil)
			l := map[string]txrep.Learning{"spam": txrep.Spam, "ham": txrep.Ham, "forget": txrep.Forget}[class]
			mtatest.Check(t, e.LearnSenders(context.Background(), known, m.Text, l))
			continue
		}
		var want verdict
		v := vouchers[i%len(vouchers)]
		o.Ask(t, "vouched "+v.there, nil)
		o.About(t, "check", m.Text, &want)
		facts := v.here
		facts.Reputation = known
		r := e.Check(context.Background(), m.Text, facts)
		mtatest.Check(t, known.Change(context.Background(), r.Senders()))
		if math.Abs(r.Score-want.Score) > 0.0015 {
			t.Fatalf("%d, %s: score %v %v, want %v %v", i, m.Name, r.Score, r.Names(), want.Score, want.Hits)
		}
		for _, h := range r.Hits {
			if h.Rule == "TXREP" {
				hits++
			}
		}
	}
	t.Logf("%d of %d messages were drawn, %d senders are known", hits, 3*len(messages), len(known))
}
