package conf

import "strings"

// Type is what a rule looks at.
type Type int

// The types of rules. The Eval ones call a function of the engine.
const (
	Header Type = iota
	HeaderEval
	Body // the text as a reader sees it
	BodyEval
	RawBody // the decoded text parts
	RawBodyEval
	Full // the message as it came
	FullEval
	URI
	Meta
	RBLEval    // asks a list in the DNS
	MIMEHeader // the fields of each part
	URIDetail
	AskDNS
	Empty // reuse: a name, and no test
)

var typeNames = []string{"header", "header eval", "body", "body eval", "rawbody", "rawbody eval", "full", "full eval",
	"uri", "meta", "rbl eval", "mimeheader", "uri_detail", "askdns", "empty"}

func (t Type) String() string { return typeNames[t] }

// Area is what SpamAssassin's reports put before the description.
func (r *Rule) Area() string {
	switch f := r.Call.Func; {
	case f == "check_uridnsbl", f == "check_dns_sender", strings.HasPrefix(f, "check_hashbl_"):
		return ""
	}
	switch r.Type {
	case Body, BodyEval:
		return "BODY: "
	case RawBody, RawBodyEval:
		return "RAW: "
	case Full:
		return "FULL: "
	case URI, URIDetail:
		return "URI: "
	case RBLEval:
		return "RBL: "
	case AskDNS:
		return "ASKDNS: "
	}
	return ""
}

// Rule is one rule. It is not changed once read.
type Rule struct {
	Name     string
	Type     Type
	Text     string // all that follows the name
	File     string
	Line     int
	Priority int
	Flags    Flags

	Header HeaderTest // Header and MIMEHeader
	// Pattern and Modifiers are a regular expression of Perl (Header, Body,
	// RawBody, Full, URI, MIMEHeader).
	Pattern, Modifiers string
	Call               Call       // the Eval types
	Expr               *Expr      // Meta
	Detail             []PartTest // URIDetail
	DNS                Question   // AskDNS
	// Wants are templates of captures in Pattern, "NAME" of "%{NAME}", that other
	// rules must have set.
	Wants []string

	replaced bool // its tags (replace_rules)
}

// HeaderTest is what a header or mimeheader rule compares.
type HeaderTest struct {
	Name      string   // as it stands: "Subject", "ALL", "X-Spam-Relays-External"
	Modifiers []string // "raw", "addr", "name", "host", "domain", "ip", "revip", "first", "last"
	Negate    bool     // !~
	Exists    bool     // exists:Name
	// Unset stands for a field that is not there; without it such a field matches
	// nothing (and everything if Negate).
	Unset    string
	HasUnset bool
}

// Call is a function's name and its arguments.
type Call struct {
	Func string
	Args []string
}

// PartTest is one comparison of uri_detail.
type PartTest struct {
	Key                string // raw, type, cleaned, text, domain, host
	Negate             bool
	Pattern, Modifiers string
}

// Question is what askdns asks.
type Question struct {
	Name  string // a template: "_SENDERDOMAIN_._list.example"
	Types []string
	// Answer is "", a pattern of Perl, a number, a range or a mask of one, or a list of reply codes in brackets.
	Answer string
}

// URIList is a list of hosts or domains in the DNS, of which check_uridnsbl asks.
type URIList struct {
	Command string // uridnsbl, uridnssub, urirhsbl, urirhssub, urinsrhsbl, ...
	Zone    string
	Type    string // of the records: A or TXT
	Answer  string // of the sub forms: a number, a range, a mask, an address
}

// Flags are a rule's tflags.
type Flags struct {
	Net, Nice, Learn, UserConf, NoAutoLearn, NoLog bool
	Multiple, NoTrim, NoSubject, Range, Concat     bool
	DomainsOnly, IPsOnly, A, NS                    bool
	AutoLearnBody, AutoLearnHeader                 bool
	MaxHits                                        int // of Multiple; 0 is no bound
	Text                                           string
}

func parseFlags(text string) Flags {
	f := Flags{Text: text}
	for _, word := range strings.Fields(text) {
		if n, ok := strings.CutPrefix(word, "maxhits="); ok {
			f.MaxHits = atoi(n)
			continue
		}
		if b := f.flag(word); b != nil {
			*b = true
		}
	}
	return f
}

func (f *Flags) flag(word string) *bool {
	return map[string]*bool{
		"net": &f.Net, "nice": &f.Nice, "learn": &f.Learn, "userconf": &f.UserConf, "noautolearn": &f.NoAutoLearn, "nolog": &f.NoLog,
		"multiple": &f.Multiple, "notrim": &f.NoTrim, "nosubject": &f.NoSubject, "range": &f.Range, "concat": &f.Concat,
		"domains_only": &f.DomainsOnly, "ips_only": &f.IPsOnly, "a": &f.A, "ns": &f.NS,
		"autolearn_body": &f.AutoLearnBody, "autolearn_header": &f.AutoLearnHeader,
	}[word]
}

// Sub reports whether the rule is only for metas: its name begins with "__".
func (r *Rule) Sub() bool { return strings.HasPrefix(r.Name, "__") }

// validName: letters, digits and underscores, no digit first, 128 at most.
func validName(s string) bool {
	if s == "" || len(s) > 128 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !wordByte(s[i]) {
			return false
		}
	}
	return true
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func atoi(s string) int {
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9' && n < 1<<20; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
