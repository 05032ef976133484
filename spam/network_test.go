package spam_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/resolve"
	"mtad/spam/scan"
	"mtad/spam/spamtest"
)

// nameServer answers on loopback with what f says of a name.
func nameServer(t testing.TB, f func(name string, typ uint16) (records []string, code int)) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	mtatest.Check(t, err)
	ready := make(chan struct{})
	srv := &mdns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(ready) }, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(r)
		q := r.Question[0]
		records, code := f(strings.ToLower(strings.TrimSuffix(q.Name, ".")), q.Qtype)
		m.Rcode = code
		for _, text := range records {
			if rr, err := mdns.NewRR(q.Name + " 300 IN " + text); err == nil && (q.Qtype == mdns.TypeANY || rr.Header().Rrtype == q.Qtype) {
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})}
	go srv.ActivateAndServe()
	<-ready
	t.Cleanup(func() { srv.Shutdown() })
	return pc.LocalAddr().String()
}

// codes are what lists answer. None says that the list is closed to whoever asks: then
// SpamAssassin would not ask for the messages that follow.
var codes = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.18", "127.0.0.14", "127.0.0.20", "127.0.0.64", "127.0.0.8", "127.0.0.16",
	"127.0.1.2", "127.0.1.4", "127.0.1.6", "127.0.1.102", "127.0.1.104", "127.2.0.2", "127.2.0.14", "127.2.0.28", "127.9.3.4", "127.9.2.4", "127.9.1.4", "127.0.5.2", "127.0.10.2"}

// some is what a name server says of names that nobody knows: of each name always the same.
func some(name string, typ uint16) (records []string, code int) {
	h := fnv.New64a()
	h.Write([]byte(name))
	n := binary.BigEndian.Uint64(h.Sum(nil))
	pick := func(list []string) string { n = n*6364136223846793005 + 1; return list[n>>33%uint64(len(list))] }
	if strings.HasPrefix(name, "_adsp.") && n>>9%2 == 0 {
		return []string{`TXT "dkim=` + pick([]string{"all", "discardable", "unknown"}) + `"`}, 0
	}
	if n>>8%3 == 0 || strings.Contains(name, "_domainkey") {
		return nil, mdns.RcodeNameError
	}
	records = []string{"A " + pick(codes)}
	if strings.HasSuffix(name, "uribl.com") || strings.HasSuffix(name, "surbl.org") {
		records = []string{"A 127.0.0." + fmt.Sprint(2*(n>>33%60))}
		return records, 0
	}
	if n>>16%4 == 0 {
		records = append(records, "A "+pick(codes))
	}
	if strings.Count(name, ".") < 3 && !strings.HasSuffix(name, ".test") {
		records = []string{"A 198.51.100." + fmt.Sprint(n>>40%250), "MX 10 mx." + name + "."}
	}
	records = append(records, "NS ns1.host"+fmt.Sprint(n>>50%7)+".net.", "NS ns2.example.co.uk.", `TXT "`+pick([]string{"v=spf1 +all", "v=spf1 -all", "Blocked - see https://www.spamcop.net/bl.shtml?x", "listed, see <http://x.example/>", "list", "24940 | 213.239.192.0/18 | DE | ripencc"})+`"`)
	if n>>24%5 == 0 {
		records = append(records, `TXT "1103" "192.0.2.0" "24"`)
	}
	return records, 0
}

// netRules are rules beside the stock ones, of all that asks the DNS.
const netRules = `
dns_available yes
rbl_timeout 60 60
uridnsbl_max_domains 500
bayes_auto_learn 0
use_bayes 0
loadplugin Mail::SpamAssassin::Plugin::ASN
asn_lookup asn.test _ASN_ _ASNCIDR_
asn_lookup other.asn.test. _MYASN_ _MYCIDR_
header AS_NUMBER eval:check_asn('/^AS(?:24940|1103)\b/')
header AS_MINE eval:check_asn('/24940/', 'MYASN')
enlist_uri_host (MYLIST) nosuch.example
header URI_HOST eval:check_uri_host_listed('MYLIST')
priority URI_HOST -200
header RBL_PLAIN eval:check_rbl('plain', 'plain.test.')
header RBL_MASK eval:check_rbl('mask', 'mask.test.', '2')
header RBL_ONE eval:check_rbl('one', 'one.test.', '127.0.0.2')
header RBL_TXT eval:check_rbl_txt('txt', 'txt.test.', '(?i:spamcop)')
header RBL_UNTRUSTED eval:check_rbl('x-untrusted', 'untrusted.test.')
header RBL_NOTFIRST eval:check_rbl('x-notfirsthop', 'notfirst.test.')
header RBL_LAST eval:check_rbl('x-lastexternal', 'last.test.')
header RBL_FIRST eval:check_rbl('x-firsttrusted', 'first.test.')
header RBL_LAST_SUB eval:check_rbl_sub('x-lastexternal', '^127\.0\.1\.')
header RBL_PLAIN_SUB eval:check_rbl_sub('plain', '4')
header RBL_FROM_HOST eval:check_rbl_from_host('fromhost', 'fromhost.test.')
header RBL_FROM_DOMAIN eval:check_rbl_from_domain('fromdomain', 'fromdomain.test.', '^127\.0\.0\.')
header RBL_ENVFROM eval:check_rbl_envfrom('envfrom', 'envfrom.test.')
header RBL_HEADERS eval:check_rbl_headers('headers', 'headers.test', '^127\.', 'Reply-To,X-Originating-IP,Sender')
header RBL_RCVD eval:check_rbl_rcvd('rcvd', 'rcvd.test')
header RBL_RCVD_IP eval:check_rbl_rcvd('rcvdip', 'rcvd.test')
tflags RBL_RCVD_IP net ips_only
header RBL_ACCREDITOR eval:check_rbl_accreditor('acc-firsttrusted', 'acc.test.', '127.0.0.2', 'who')
meta RBL_META RBL_PLAIN && !RBL_MASK
urirhsbl URI_RHS rhs.test A
body URI_RHS eval:check_uridnsbl('URI_RHS')
tflags URI_RHS net
urirhssub URI_RHS_MASK rhs.test A 4
body URI_RHS_MASK eval:check_uridnsbl('URI_RHS_MASK')
tflags URI_RHS_MASK net ips_only
urirhssub URI_RHS_RANGE rhs.test A 127.0.1.0-127.0.1.255
body URI_RHS_RANGE eval:check_uridnsbl('URI_RHS_RANGE')
tflags URI_RHS_RANGE net domains_only notrim
urirhssub URI_RHS_ONE rhs.test A 127.0.0.2
body URI_RHS_ONE eval:check_uridnsbl('URI_RHS_ONE')
tflags URI_RHS_ONE net
urirhssub URI_RHS_UNDER rhs.test A 0.0.0.16/0.0.0.16
body URI_RHS_UNDER eval:check_uridnsbl('URI_RHS_UNDER')
tflags URI_RHS_UNDER net
urirhsbl URI_RHS_TXT rhs.test TXT
body URI_RHS_TXT eval:check_uridnsbl('URI_RHS_TXT')
tflags URI_RHS_TXT net
uridnsbl URI_IP ip.test A
body URI_IP eval:check_uridnsbl('URI_IP')
tflags URI_IP net
uridnsbl URI_IP_A ip.test A
body URI_IP_A eval:check_uridnsbl('URI_IP_A')
tflags URI_IP_A net a
uridnssub URI_IP_NS ip.test A 2
body URI_IP_NS eval:check_uridnsbl('URI_IP_NS')
tflags URI_IP_NS net a ns
urinsrhsbl URI_NS ns.test A
body URI_NS eval:check_uridnsbl('URI_NS')
tflags URI_NS net
urifullnsrhssub URI_FULLNS fullns.test A 127.0.0.2-127.0.0.20
body URI_FULLNS eval:check_uridnsbl('URI_FULLNS')
tflags URI_FULLNS net
askdns ASK_A _AUTHORDOMAIN_.ask.test A /^127\.0\.0\./
askdns ASK_MANY _AUTHORDOMAIN_._SENDERDOMAIN_.ask.test A,TXT 127.0.0.2
askdns ASK_IP _LASTEXTERNALREVIP_.ask.test A 127.0.1.0/255.255.255.0
askdns ASK_NONE _LASTEXTERNALREVIP_.ask.test A [NXDOMAIN]
askdns ASK_HEADER _HEADER(Reply-To:addr:domain)_.ask.test TXT "list"
askdns ASK_HOSTS _URIDOMAINS_.ask.test A 16
askdns ASK_ASN _ASN_.ask.test A
askdns ASK_MX _SENDERDOMAIN_ MX /^10 mx\./
askdns ASK_FIXED fixed3.ask.test
hashbl_acl_free gmail.com yahoo.com
hashbl_email_domain_alias gmail.com googlemail.com
hashbl_ignore a@example.com
header HASH_EMAIL eval:check_hashbl_emails('ebl.test', 'sha1/notag/noquote/max=1000')
header HASH_FROM eval:check_hashbl_emails('ebl2.test/A', 'md5/max=1000', 'From/Reply-To', '^127\.0\.', 'free')
header HASH_DOMAIN eval:check_hashbl_emails('ebl3.test', 'sha256/domain', 'ALLFROM')
header HASH_URI eval:check_hashbl_uris('ubl.test', 'sha1/max=1000')
body HASH_BODY eval:check_hashbl_bodyre('bbl.test', 'raw/max=1000', '\b(w[a-z]{3,8})\b')
body HASH_FILE eval:check_hashbl_attachments('abl.test', 'sha256/max=100')
header __CAPTURED From:addr =~ /^(?<WHO>[a-z]+)/
header HASH_TAG eval:check_hashbl_tag('tag.test', 'raw', 'WHO')
header HASH_TAG_IP eval:check_hashbl_tag('tag.test', 'raw/ipv4/revip', 'LASTEXTERNALIP')
`

// netSite is the site's directory with more rules in it.
func netSite(t *testing.T, more string) string {
	dir := t.TempDir()
	pres, err := filepath.Glob(spamtest.Site + "/*.pre")
	mtatest.Check(t, err)
	for _, p := range pres {
		text, err := os.ReadFile(p)
		mtatest.Check(t, err)
		mtatest.Check(t, os.WriteFile(filepath.Join(dir, filepath.Base(p)), text, 0o600))
	}
	mtatest.Check(t, os.WriteFile(filepath.Join(dir, "more.cf"), []byte(more), 0o600))
	return dir
}

// stockDir is the directory of the stock rules. Under the race detector it is one with the
// few of them that matter: all take too long to be made ready.
func stockDir(t *testing.T) string {
	if !mtatest.Race {
		return spamtest.Stock
	}
	dir := t.TempDir()
	for _, name := range []string{"10_default_prefs.cf", "20_aux_tlds.cf", "20_dnsbl_tests.cf", "25_dkim.cf", "25_uribl.cf", "50_scores.cf", "60_adsp_override_dkim.cf", "60_shortcircuit.cf", "languages"} {
		text, err := os.ReadFile(filepath.Join(spamtest.Stock, name))
		mtatest.Check(t, err)
		mtatest.Check(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return dir
}

// netPair are both engines, which ask the same name server.
func netPair(t *testing.T, more string, f func(string, uint16) ([]string, int)) (*spam.Engine, *spamtest.Oracle) {
	mtatest.Program(t, "spamassassin")
	t.Setenv("HOME", t.TempDir()) // where SpamAssassin keeps what dns_block_rule blocks
	addr := nameServer(t, f)
	site, rules := netSite(t, more+"\ndns_server "+addr+"\n"), stockDir(t)
	rs, err := conf.Load([]string{rules, site}, conf.Options{})
	mtatest.Check(t, err)
	client, err := dns.NewClient(dns.ClientConfig{Servers: []string{addr}, Timeout: time.Minute})
	mtatest.Check(t, err)
	return spam.New(rs, spam.Options{Net: true, Resolver: resolve.With(client)}), spamtest.Start(t, ".", rules, site, "net=1")
}

// known is what a server knows of messages that nothing vouches for.
var known = scan.Facts{SPF: &scan.SPF{}, DKIMChecked: true, DMARC: &scan.DMARC{Policy: "none"}, ARC: "none"}

// TestAskingAsPerl compares the hits of rules that ask the DNS.
func TestAskingAsPerl(t *testing.T) {
	e, o := netPair(t, netRules, some)
	n := max(60, *agreementSize-40)
	if mtatest.Race {
		n = 15
	}
	// The others are compared elsewhere, and SpamAssassin's FreeMail changes their text.
	asks := func(rule string) bool { return strings.Contains(netRules, " "+rule+" ") || e.Asks(rule) }
	both := map[string]int{}
	for _, m := range spamtest.Corpus(*agreementSeed, n) {
		var v verdict
		o.About(t, "check", m.Text, &v)
		r := e.Check(context.Background(), m.Text, known)
		compareHits(t, m.Name, r, &v, asks, both)
	}
	for _, name := range e.Rules() {
		if strings.Contains(netRules, " "+name+" ") && both[name] == 0 {
			t.Logf("%s has not hit", name)
		}
	}
}

// compareHits compares the hits of those rules that count.
func compareHits(t *testing.T, name string, r *spam.Result, v *verdict, counts func(rule string) bool, both map[string]int) {
	t.Helper()
	if v.Error != "" {
		t.Fatal(v.Error)
	}
	mine := map[string]bool{}
	for _, h := range append(slices.Clone(r.Hits), r.Sub...) {
		mine[h.Rule] = true
		_, theirs := v.Hits[h.Rule]
		switch {
		case theirs:
			both[h.Rule]++
		case strings.Contains(fmt.Sprint(h.Log), "xn--"):
			// A SpamAssassin without LibIDN, as that of these tests, has no such hosts.
		case counts(h.Rule):
			t.Errorf("%s: %s hits only here: %v", name, h.Rule, h.Log)
		}
	}
	for rule := range v.Hits {
		if !mine[rule] && counts(rule) {
			t.Errorf("%s: %s hits only there", name, rule)
		}
	}
}

// nothing is a DNS in which no name exists.
type nothing struct{}

func (nothing) Lookup(context.Context, ask.Question) (ask.Answer, error) {
	return ask.Answer{Code: mdns.RcodeNameError}, nil
}

func BenchmarkAsking(b *testing.B) {
	mtatest.Program(b, "spamassassin")
	rs, err := conf.Load([]string{spamtest.Stock, spamtest.Site}, conf.Options{})
	mtatest.Check(b, err)
	e := spam.New(rs, spam.Options{Net: true, Resolver: nothing{}})
	messages := spamtest.Corpus(1, 200)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e.Check(context.Background(), messages[i%len(messages)].Text, known)
		i++
	}
}
