package netrule

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
	"mtad/spam/uri"
)

// hashEval are the functions of HashBL: lists of what may be no name, by its hash.
var hashEval = map[string]eval.Func{
	"check_hashbl_emails": hashRule(hashEmails, 3, "sha1/notag/noquote/max=10/shuffle"), "check_hashbl_uris": hashRule(hashURIs, 2, "sha1/max=10/shuffle"),
	"check_hashbl_bodyre": hashRule(hashBody, 3, "sha1/max=10/shuffle"), "check_hashbl_tag": hashRule(hashTag, 3, "sha1/max=10/shuffle"),
	"check_hashbl_attachments": hashRule(hashFiles, 2, "sha1/max=10/shuffle"),
}

// hashOptions are a rule's: "sha1/max=10".
type hashOptions map[string]string

func (o hashOptions) has(name string) bool { _, ok := o[name]; return ok }

func parseHashOptions(text string) hashOptions {
	out := hashOptions{}
	for o := range strings.SplitSeq(strings.ToLower(text), "/") {
		k, v, _ := strings.Cut(strings.TrimSpace(o), "=")
		out[k] = v
	}
	return out
}

// hash is what is asked for.
func (o hashOptions) hash(value []byte) string {
	switch {
	case o.has("sha256"):
		sum := sha256.Sum256(value)
		return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	case o.has("sha1"):
		sum := sha1.Sum(value)
		return hex.EncodeToString(sum[:])
	case o.has("md5"):
		sum := md5.Sum(value)
		return hex.EncodeToString(sum[:])
	}
	return string(value)
}

// hashCall is one call.
type hashCall struct {
	inquirer
	rule *conf.Rule
	args []string
	o    hashOptions
}

// hashed is a value that is asked for, as text or as a hash already.
type hashed struct {
	value string
	ready bool
}

// hashRule makes a function of one that finds the values; which argument is the subtest
// and what the options are by default differs.
func hashRule(values func(c *hashCall) ([]hashed, error), subtestAt int, standard string) eval.Func {
	return func(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
		if s.Ask == nil || eval.Arg(args, 0) == "" {
			return 0, nil
		}
		options := eval.Arg(args, 1)
		if options == "" {
			options = standard
		}
		c := &hashCall{inquirer{s: s}, r, args, parseHashOptions(options)}
		want := eval.Arg(args, subtestAt)
		if want == "" {
			want = `^127\.`
		}
		re, err := eval.Pattern(s, want)
		if err != nil {
			return 0, err
		}
		list, err := values(c)
		if err != nil {
			return 0, err
		}
		most := 10
		if n, err := strconv.Atoi(c.o["max"]); err == nil && n > 0 {
			most = n
		}
		return c.askAll(list[:min(most, len(list))], &subtest{re: re})
	}
}

var listType = regexp.MustCompile(`(?i)/(A|TXT)$`)

func (c *hashCall) askAll(list []hashed, t *subtest) (float64, error) {
	zone, typ := eval.Arg(c.args, 0), "A"
	if m := listType.FindStringSubmatch(zone); m != nil {
		zone, typ = strings.TrimSuffix(zone, m[0]), strings.ToUpper(m[1])
	}
	ignored := ignoredHashes(c.s)
	var found []finding
	for _, h := range list {
		hash := h.value
		if !h.ready {
			if ignored[strings.ToLower(h.value)] {
				continue
			}
			hash = c.o.hash([]byte(h.value))
		}
		if ignored[strings.ToLower(hash)] {
			continue
		}
		reply, _ := c.ask(uri.ASCII(hash)+"."+zone, typ)
		for _, rec := range reply.Records {
			if rec.Type != typ {
				continue
			}
			hit, err := t.matches(c.s, rec.Type, rec.Text)
			if err != nil {
				return 0, err
			}
			if hit {
				found = append(found, finding{c.rule.Name, strings.ReplaceAll(h.value, "@", "[at]")})
				break
			}
		}
	}
	return c.tell(found)
}

// ignoredHashes are the values that hashbl_ignore names.
func ignoredHashes(s *scan.Scan) map[string]bool {
	return s.Once("hashbl_ignore", func() any {
		out := map[string]bool{}
		for _, v := range s.Rules.Words("hashbl_ignore") {
			out[strings.ToLower(v)] = true
		}
		return out
	}).(map[string]bool)
}

// unique keeps the first of what is there twice.
func unique(list []string) (out []hashed) {
	seen := map[string]bool{}
	for _, v := range list {
		if !seen[v] {
			seen[v] = true
			out = append(out, hashed{value: v})
		}
	}
	return out
}

func (c *hashCall) small(s string) string {
	if c.o.has("case") {
		return s
	}
	return strings.ToLower(s)
}

// hashEmails are the addresses of the message.
func hashEmails(c *hashCall) ([]hashed, error) {
	from := eval.Arg(c.args, 2)
	if from == "" {
		from = "ALLFROM/Reply-To/body"
	}
	acl, hasACL := eval.Arg(c.args, 4), len(c.args) > 4
	allowed := aclOf(c.s, acl)
	if hasACL && acl != "all" && allowed == nil {
		return nil, eval.Unknown("there is no hashbl_acl_" + acl)
	}
	skip := skippedDomains(c.s)
	var out []string
	for source := range strings.SplitSeq(from, "/") {
		emails, err := c.emails(strings.TrimSpace(source))
		if err != nil {
			return nil, err
		}
		for _, e := range emails {
			user, domain, ok := cutLast(e)
			if !ok {
				continue
			}
			if a := c.s.Rules.Values("hashbl_email_domain_alias")[strings.ToLower(domain)]; a != "" {
				domain = a
			}
			welcome, err := c.welcome(user + "@" + domain)
			if err != nil {
				return nil, err
			}
			_, trimmed := c.s.Rules.Domains().Split(domain)
			if welcome || hasACL && acl != "all" && !allowed[domain] || !hasACL && (skip[strings.ToLower(domain)] || skip[trimmed]) {
				continue
			}
			out = append(out, c.small(c.address(user, domain, trimmed)))
		}
	}
	return unique(out), nil
}

func cutLast(email string) (user, domain string, ok bool) {
	i := strings.LastIndexByte(email, '@')
	if i < 0 || i+1 == len(email) {
		return "", "", false
	}
	return email[:i], email[i+1:], true
}

// address is what is asked of an address.
func (c *hashCall) address(user, domain, trimmed string) string {
	if c.o.has("nodot") {
		user = strings.ReplaceAll(user, ".", "")
	}
	if c.o.has("notag") {
		user, _, _ = strings.Cut(user, "+")
	}
	switch {
	case c.o.has("domain"):
		return trimmed
	case c.o.has("host"):
		return domain
	case c.o.has("user"):
		return user
	}
	return user + "@" + domain
}

// aclOf are the domains that hashbl_acl_NAME allows, nil if there is no such list.
func aclOf(s *scan.Scan, name string) map[string]bool {
	words := s.Rules.Words("hashbl_acl_" + name)
	if words == nil {
		return nil
	}
	return s.Once("hashbl_acl_"+name, func() any {
		out := map[string]bool{}
		for _, w := range words {
			if d, not := strings.CutPrefix(strings.ToLower(w), "!"); not {
				out[d] = false
			} else if _, there := out[d]; !there {
				out[d] = true
			}
		}
		return out
	}).(map[string]bool)
}

// welcome reports whether an address is not asked for: a recipient's, or one that is
// nobody's.
func (c *hashCall) welcome(email string) (bool, error) {
	for _, name := range []string{"X-Original-To", "Apparently-To", "Delivered-To", "Envelope-To"} {
		if slices.Contains(eval.Lower(c.s.Get(name+":addr")), email) {
			return true, nil
		}
	}
	if own := c.s.Rules.String("hashbl_email_welcomelist"); own != "" {
		re, err := eval.Pattern(c.s, own)
		if err != nil {
			return false, err
		}
		return re.Match([]byte(email), c.s.Budget)
	}
	return eval.RoleAddress(email), nil
}

// emails are the addresses in one place.
func (c *hashCall) emails(source string) ([]string, error) {
	switch source {
	case "ALLFROM":
		return c.s.AllFrom(), nil
	case "body":
		return c.find(c.bodyText())
	}
	v, _ := c.s.Joined(source)
	return c.find(v)
}

// bodyText is what links of mail name, and the text.
func (c *hashCall) bodyText() string {
	var b strings.Builder
	for u, d := range c.s.Links().Details {
		if d.Types["a"] && !d.Types["parsed"] && len(u) > 7 && strings.EqualFold(u[:7], "mailto:") {
			b.WriteString(u[7:] + "\n")
		}
	}
	start := b.Len()
	for _, line := range c.s.Body() {
		b.Write(line)
	}
	text := b.String()
	links, body := text[:start], text[start:]
	if c.o.has("nouri") {
		body = eval.WithoutLinks(body)
	}
	if c.o.has("noquote") {
		body = eval.WithoutQuoted(body)
	}
	return links + body
}

// find finds addresses in a text, each once.
func (c *hashCall) find(text string) (out []string, err error) {
	add := func(e string) {
		if !slices.Contains(out, e) && len(out) < 200 {
			out = append(out, e)
		}
	}
	own := c.s.Rules.String("hashbl_email_regex")
	if own == "" {
		for _, e := range eval.MailAddresses(c.s, text) {
			add(e)
		}
		return out, nil
	}
	err = c.each(own, text, func(m []int) { add(text[m[0]:m[1]]) })
	return out, err
}

// each calls f for every match of a pattern.
func (c *hashCall) each(pattern, text string, f func(m []int)) error {
	re, err := eval.Pattern(c.s, pattern)
	if err != nil {
		return err
	}
	octets := []byte(text)
	for at := 0; at <= len(text); {
		m, err := re.Find(octets, at, nil, c.s.Budget)
		if m == nil || err != nil {
			return err
		}
		f(m)
		if at = m[1]; m[0] == m[1] {
			at++
		}
	}
	return nil
}

// hashURIs are the links.
func hashURIs(c *hashCall) ([]hashed, error) {
	if c.o.has("raw") {
		return nil, eval.Unknown("links can not be asked for raw")
	}
	skip := skippedDomains(c.s)
	var out []string
	for u, d := range c.s.Links().Details {
		skipped := false
		for host, domain := range d.Hosts {
			skipped = skipped || skip[host] || skip[domain]
		}
		// SpamAssassin's other functions give every link hosts, perhaps none.
		if skipped || !d.Types["a"] && !d.Types["parsed"] || len(u) > 6 && strings.EqualFold(u[:7], "mailto:") {
			continue
		}
		for _, cleaned := range d.Cleaned {
			out = append(out, c.small(cleaned))
		}
	}
	slices.Sort(out)
	return unique(out), nil
}

// hashBody are what a pattern finds in the text.
func hashBody(c *hashCall) ([]hashed, error) {
	texts := c.s.Body()
	switch c.rule.Type {
	case conf.RawBodyEval:
		texts = c.s.Mail.RawText()
	case conf.FullEval:
		texts = [][]byte{c.s.Mail.Head, c.s.Mail.Body}
	}
	var out []string
	for _, line := range texts {
		text := string(line)
		err := c.each(eval.Arg(c.args, 2), text, func(m []int) {
			if len(m) < 4 || m[2] < 0 {
				return
			}
			v := c.small(text[m[2]:m[3]])
			if c.o.has("num") {
				v = digitsOf(v)
			}
			if v != "" {
				out = append(out, v)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return unique(out), nil
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// hashTag are the values of a tag.
func hashTag(c *hashCall) ([]hashed, error) {
	tag := strings.ToUpper(strings.Trim(eval.Arg(c.args, 2), "_"))
	var out []string
	for _, v := range c.tagValues(tag) {
		if v = c.tagValue(c.small(v)); v != "" {
			out = append(out, v)
		}
	}
	return unique(out), nil
}

// tagValue is a value in the form that the options want, "" if they do not want it.
func (c *hashCall) tagValue(v string) string {
	ip, v4 := uri.IsIP(v), eval.IsIPv4(v)
	if c.o.has("ip") && !ip || c.o.has("ipv4") && !v4 || c.o.has("ipv6") && (!ip || v4) {
		return ""
	}
	if ip {
		if c.o.has("revip") {
			return scan.Reverse(v)
		}
		return v
	}
	ascii := uri.ASCII(v)
	fqdn, trim := uri.ValidHost(ascii), c.o.has("trim")
	if (c.o.has("fqdn") || trim) && !fqdn {
		return ""
	}
	domain := ""
	if fqdn {
		_, domain = c.s.Rules.Domains().Split(v)
		if skip := skippedDomains(c.s); skip[strings.ToLower(v)] || skip[domain] {
			return ""
		}
	}
	if (c.o.has("tld") || trim) && !c.s.Rules.Domains().Valid(ascii) {
		return ""
	}
	if trim && domain != "" {
		return domain
	}
	return v
}

// hashFiles are the hashes of the parts.
func hashFiles(c *hashCall) ([]hashed, error) {
	if c.o.has("raw") {
		return nil, eval.Unknown("attachments can not be asked for raw")
	}
	ignored := ignoredHashes(c.s)
	least, _ := strconv.Atoi(c.o["minsize"])
	most, _ := strconv.Atoi(c.o["maxsize"])
	var out []string
	for _, p := range c.s.Mail.Leaves() {
		body := p.Decoded()
		if len(body) == 0 || ignored[p.Type] || ignored[strings.ToLower(p.Name)] || len(body) < least || most > 0 && len(body) > most {
			continue
		}
		out = append(out, c.o.hash(body))
	}
	list := unique(out)
	for i := range list {
		list[i].ready = true
	}
	return list, nil
}
