package relay

import (
	"fmt"
	"strings"
	"testing"

	"mtad/spam/conf"
	"mtad/spam/mail"
)

// from is a Received field of a client with an address; more is what the server adds.
func from(ip, more string) string {
	return field("from a.example.com (a.example.com [" + ip + "]) by mx.example.org (Postfix) with ESMTP id A1" + more)
}

// ways say which relays can be trusted, which are of one's own network, and how many Received
// fields, counted from 0, are those of such relays.
var ways = []struct{ what, networks, fields, want string }{
	{"no field at all", "", "", "trusted  internal  untrusted  external  last -1 -1"},
	{"nothing configured: private addresses are trusted up to the first that is not", "",
		from("10.0.0.1", "") + from("192.0.2.1", "") + from("10.0.0.2", ""), "trusted 10.0.0.1 internal 10.0.0.1 untrusted 192.0.2.1 10.0.0.2 external 192.0.2.1 10.0.0.2 last 0 0"},
	{"nothing configured: nor is a client that has authenticated", "",
		from("192.0.2.1", " (authenticated)") + field("from pc ([192.0.2.2]) by mx.example.org (Postfix) with ESMTPA id B"), "trusted  internal  untrusted 192.0.2.1 192.0.2.2 external 192.0.2.1 192.0.2.2 last -1 -1"},
	{"a client that has authenticated is trusted, and what is before it judged", "",
		field("from pc ([192.0.2.2]) by mx.example.org (Postfix) with ESMTPA id B") + from("192.0.2.1", ""), "trusted 192.0.2.2 internal 192.0.2.2 untrusted 192.0.2.1 external 192.0.2.1 last 0 0"},
	{"trusted networks alone are internal too", "trusted_networks 192.0.2.0/24",
		from("192.0.2.1", "") + from("10.0.0.1", ""), "trusted 192.0.2.1 internal 192.0.2.1 untrusted 10.0.0.1 external 10.0.0.1 last 0 0"},
	{"internal networks alone are trusted too", "internal_networks 192.0.2.0/24",
		from("192.0.2.1", "") + from("198.51.100.1", ""), "trusted 192.0.2.1 internal 192.0.2.1 untrusted 198.51.100.1 external 198.51.100.1 last 0 0"},
	{"a trusted relay that is not internal", "trusted_networks 192.0.2.0/24 198.51.100.0/24\ninternal_networks 192.0.2.0/24",
		from("192.0.2.1", "") + from("198.51.100.1", "") + from("192.0.2.2", ""), "trusted 192.0.2.1 198.51.100.1 192.0.2.2 internal 192.0.2.1 untrusted  external 198.51.100.1 192.0.2.2 last 2 0"},
	{"an address that is taken out", "trusted_networks !192.0.2.7 192.0.2.0/24",
		from("192.0.2.6", "") + from("192.0.2.7", "") + from("192.0.2.8", ""), "trusted 192.0.2.6 internal 192.0.2.6 untrusted 192.0.2.7 192.0.2.8 external 192.0.2.7 192.0.2.8 last 0 0"},
	{"the first and the last address of a network", "trusted_networks 192.0.2.128/25",
		from("192.0.2.128", "") + from("192.0.2.255", "") + from("192.0.2.127", ""), "trusted 192.0.2.128 192.0.2.255 internal 192.0.2.128 192.0.2.255 untrusted 192.0.2.127 external 192.0.2.127 last 1 1"},
	{"this machine is always one's own", "trusted_networks 192.0.2.0/24",
		from("127.0.0.1", "") + from("::1", "") + from("192.0.2.1", ""), "trusted 127.0.0.1 ::1 192.0.2.1 internal 127.0.0.1 ::1 192.0.2.1 untrusted  external  last 2 2"},
	{"all are trusted behind a server for submission", "trusted_networks 192.0.2.0/24\nmsa_networks 192.0.2.9",
		from("192.0.2.9", "") + from("198.51.100.1", "") + from("203.0.113.1", ""), "trusted 192.0.2.9 198.51.100.1 203.0.113.1 internal 192.0.2.9 198.51.100.1 203.0.113.1 untrusted  external  last 2 2"},
	{"but not behind one that is not trusted itself", "trusted_networks 192.0.2.0/24\nmsa_networks 203.0.113.9",
		from("203.0.113.9", "") + from("198.51.100.1", ""), "trusted  internal  untrusted 203.0.113.9 198.51.100.1 external 203.0.113.9 198.51.100.1 last -1 -1"},
	{"a field that tells of no relay counts as one of those before it", "trusted_networks 192.0.2.0/24",
		from("192.0.2.1", "") + field("(qmail 27981 invoked by uid 225)") + from("198.51.100.1", "") + field("by x with SMTP id 1"), "trusted 192.0.2.1 internal 192.0.2.1 untrusted 198.51.100.1 external 198.51.100.1 last 1 1"},
	{"one that can not be read too", "trusted_networks 192.0.2.0/24",
		field("from nowhere that is known") + from("192.0.2.1", ""), "trusted 192.0.2.1 internal 192.0.2.1 untrusted  external  last 1 1 unread 1"},
	{"mail that was fetched begins anew", "trusted_networks 192.0.2.0/24",
		from("192.0.2.1", "") + field("from pop.example.org (192.0.2.7) by localhost with POP3 (fetchmail-6.4)") + from("198.51.100.1", ""), "trusted  internal  untrusted 198.51.100.1 external 198.51.100.1 last 1 1"},
	{"a field with the address of its origin is the last relay", "",
		from("192.0.2.1", "") + "X-Originating-IP: [198.51.100.1]\n", "trusted  internal  untrusted 192.0.2.1 198.51.100.1 external 192.0.2.1 198.51.100.1 last -1 -1"},
}

func addressesOf(relays []*Relay) string {
	var out []string
	for _, r := range relays {
		out = append(out, r.IP)
	}
	return strings.Join(out, " ")
}

// TestWays: of which relays a message's way is believed.
func TestWays(t *testing.T) {
	for _, c := range ways {
		own := conf.Parse("test", c.networks, conf.Options{})
		n := Networks{Trusted: own.Nets("trusted_networks"), Internal: own.Nets("internal_networks"), MSA: own.Nets("msa_networks"), Origins: []string{"X-Originating-IP"}}
		p := Parse(mail.Parse([]byte(c.fields+"\nbody\n"), mail.Limits{}), n)
		got := fmt.Sprintf("trusted %s internal %s untrusted %s external %s last %d %d", addressesOf(p.Trusted), addressesOf(p.Internal), addressesOf(p.Untrusted), addressesOf(p.External), p.LastTrusted, p.LastInternal)
		if p.Unparseable > 0 {
			got += fmt.Sprintf(" unread %d", p.Unparseable)
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

// TestWaysAsPerl asks SpamAssassin about the same, and about clients that have named
// themselves.
func TestWaysAsPerl(t *testing.T) {
	started := map[string]*perl{"": newPerl(t, "")}
	for _, c := range ways {
		if started[c.networks] == nil {
			started[c.networks] = newPerl(t, c.networks)
		}
		started[c.networks].compare(t, []byte(c.fields+"\nbody\n"))
	}
	for line := range authenticated {
		started[""].compare(t, []byte(field(line)+"\nbody\n"))
	}
}

// authenticated are lines of servers that say that a client has named itself, and of such
// that say nearly so.
var authenticated = map[string]string{
	"from a ([192.0.2.7]) by mx.example.org with ESMTPSA id 1":           "ESMTPSA",
	"from a ([192.0.2.7]) by mx.example.org with utf8smtpa;":             "utf8smtpa",
	"from a ([192.0.2.7]) by mx.example.org with ESMTPSAX id 1":          "",
	"from a ([192.0.2.7]) with ESMTPA id 1":                              "", // nobody has received it
	"from a ([192.0.2.7]) by mx.example.org with SMTP with HTTPS id 1":   "HTTPS",
	"from a (b [192.0.2.7]) (AUTH: LOGIN ann, SSL: x) by mx.example.org": "LOGIN", "from a (b [192.0.2.7]) (AUTH: OTHER ann) by mx.example.org": "",
	"from a (b [192.0.2.7]) (authenticated bits=0) by mx.example.org (8.17)": "Sendmail", "from a (b [192.0.2.7] (may be forged)) (x authenticated y) by mx": "Sendmail",
	"from b (EHLO a) [192.0.2.7] by mail.gmx.net (mp010) with SMTP":    "GMX (SMTP / mail.gmx.net)",
	"from b (HELO a) [192.0.2.7] by mail.gmx.com (mp010) with ESMTP":   "GMX (ESMTP / mail.gmx.com)",
	"from b (HELO a) [192.0.2.7] by mail.gmx.org (mp010) with ESMTP":   "",
	"from a (192.0.2.7) by mx (7.2.069.1) (authenticated as ann) id 4": "CriticalPath", "from a (192.0.2.7) by mx (7.2.69.1) (authenticated as ann) id 4": "",
	"from a (b [192.0.2.7]) (Authenticated sender: ann) by mx (Postfix) with ESMTP id 1": "Postfix", "from a (b [192.0.2.7]) (Authenticated sender: ann) by mx (Mailer) with ESMTP id 1": "Postfix (Mailer)",
	"from [192.0.2.7] (account ann HELO a) by mx (CommuniGate Pro SMTP 6.2) with ESMTP id 1": "Communigate", "from [192.0.2.7] (HELO a) by mx (CommuniGate Pro SMTP 6.2) with ESMTP id 1": "",
	"from a ([192.0.2.7]) by mx with Microsoft Exchange Server HTTP-DAV": "HTTP-DAV", "from [192.0.2.7] by mx (via HTTPS); Thu": "HTTPS", "from [192.0.2.7] by mx (via HTTPSX); Thu": "",
	"from a (b. [192.0.2.7]) by mx.google.com with ESMTPS id ab12sm1234567abc.12.2026.11.26.10.00.00 for <u@example.org> (version=TLS1_3 cipher=X bits=256/256)": "GMail - transport=TLS1_3 cipher=X bits=256/256",
	"from a (b. [192.0.2.7]) by mx.google.com with ESMTPS id ab12si1234567abc.12.2026.11.26.10.00.00 for <u@example.org> (version=TLS1_3 cipher=X bits=256/256)": "",
}

// TestAuthentication: how servers say that a client has named itself.
func TestAuthentication(t *testing.T) {
	for line, want := range authenticated {
		if got := authentication(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
