package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mtad/spam/regex"
)

var (
	errMissing = errors.New("there is no value")
	errInvalid = errors.New("the value can not be understood")
)

// ruleCommands are those whose first word is a rule's name.
var ruleCommands = map[string]bool{"header": true, "body": true, "rawbody": true, "full": true, "uri": true, "meta": true, "mimeheader": true,
	"uri_detail": true, "askdns": true, "uridnsbl": true, "uridnssub": true, "urirhsbl": true, "urirhssub": true, "urinsrhsbl": true,
	"urinsrhssub": true, "urifullnsrhsbl": true, "urifullnsrhssub": true, "score": true, "describe": true, "tflags": true, "priority": true}

// byteOrderMark is what some editors begin a file of UTF-8 with.
const byteOrderMark = "\ufeff"

// command obeys one line.
func (p *parser) command(key, value string) error {
	key = aliasOf(key)
	if p.user && (ruleCommands[key] && key != "score" && key != "describe" || strings.HasPrefix(key, "replace_") || key == "redirector_pattern" || key == "reuse") &&
		!p.Bool("allow_user_rules") {
		return errors.New("rules are not for users' preferences: allow_user_rules is 0")
	}
	f, stopword := p.find(key), strings.HasPrefix(key, "bayes_stopword_")
	o, known := options[key]
	_, unused := unusedBecause[key]
	if f != nil || known || stopword || unused {
		if plugin := p.unloaded(key); plugin != "" {
			return errors.New(notLoaded(key, plugin))
		}
	}
	if p.user && (f != nil || known || stopword) {
		p.own(key)
	}
	switch {
	case f != nil:
		return f(value)
	case known:
		return p.set(key, o, value)
	case stopword:
		p.words[key] = append(p.words[key], value)
		return nil
	case unused:
		p.unused(key, value)
		return nil
	case strings.HasPrefix(key, byteOrderMark):
		return errors.New("the line begins with a byte order mark (EF BB BF), so that neither SpamAssassin nor this program obeys it: save the file as UTF-8 without one")
	}
	for prefix, plugin := range notDone {
		if strings.HasPrefix(key, prefix) {
			return fmt.Errorf("%s is of the plugin %s, which this program does not do", key, plugin)
		}
	}
	return fmt.Errorf("%s is no setting that SpamAssassin %v has", key, "4.0")
}

// notDone are how settings of plugins begin that are not part of this program.
var notDone = map[string]string{"extracttext_": "ExtractText", "uri_block_": "URILocalBL", "trigger_": "PhishTag"}

// find gives the function of a command with a form of its own.
func (p *parser) find(key string) func(string) error {
	if f := p.ruleCommand(key); f != nil {
		return f
	}
	if f := p.netCommand(key); f != nil {
		return f
	}
	switch key {
	case "include":
		return p.include
	case "require_version":
		return nothing
	case "loadplugin", "tryplugin":
		return p.plugin
	case "enable_compat":
		return p.compat
	case "unwelcomelist_from", "unblocklist_from", "unwelcomelist_auth", "unwelcomelist_from_rcvd", "unwelcomelist_from_spf", "unwelcomelist_from_dkim":
		return func(v string) error { return p.unlist(key, v) }
	case "enlist_uri_host", "delist_uri_host":
		return func(v string) error { return p.uriHost(key, v) }
	case "blocklist_uri_host":
		return func(v string) error { return p.uriHost("enlist_uri_host", "(BLOCK) "+v) }
	case "welcomelist_uri_host":
		return func(v string) error { return p.uriHost("enlist_uri_host", "(WELCOME) "+v) }
	case "enlist_addrlist":
		return p.addrList
	case "fns_add_addrlist", "fns_remove_addrlist":
		return func(v string) error { return p.ownerList(key, v) }
	case "util_rb_tld", "util_rb_2tld", "util_rb_3tld":
		return func(v string) error { return p.registry(key, v) }
	case "redirector_pattern":
		return p.redirector
	}
	return p.headerCommand(key)
}

// headerCommand are the commands about what is written into messages, and those that clear.
func (p *parser) headerCommand(key string) func(string) error {
	switch key {
	case "rewrite_header":
		return p.rewrite
	case "subjprefix":
		return func(v string) error { return named(p.prefixes, v) }
	case "add_header":
		return p.addHeader
	case "remove_header":
		return p.removeHeader
	case "report_safe":
		return p.reportSafe
	}
	target, ok := strings.CutPrefix(key, "clear_")
	if !ok {
		return nil
	}
	return func(value string) error {
		if value != "" {
			return fmt.Errorf("%s takes no value", key)
		}
		return p.clear(target)
	}
}

func nothing(string) error { return nil }

func (p *parser) clear(target string) error {
	switch target {
	case "headers":
		p.Ham, p.Spam = p.Ham[:min(1, len(p.Ham))], p.Spam[:min(1, len(p.Spam))]
	case "util_rb":
		*p.domains = Domains{}
	case "report_template":
		p.settings["report"] = setting{}
	case "unsafe_report_template":
		p.settings["unsafe_report"] = setting{}
	case "trusted_networks", "internal_networks", "msa_networks":
		p.nets[target] = newNets(target != "msa_networks")
	case "originating_ip_headers", "url_shortener":
		delete(p.words, target)
	default:
		return fmt.Errorf("clear_%s is no setting that SpamAssassin has", target)
	}
	return nil
}

// set changes a setting.
func (p *parser) set(name string, o option, value string) error {
	if p.user && o.admin {
		return fmt.Errorf("%s is the administrator's, not for users' preferences", name)
	}
	if value == "" && o.kind != template {
		return errMissing
	}
	s, ok := p.setting(name), true
	switch o.kind {
	case number:
		s.number, ok = readNumber(value)
	case boolean:
		s.number, ok = readBool(value)
	case duration:
		s.number, ok = readDuration(value)
	case text:
		s.text = value
	case template:
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		s.text += value + "\n"
	default:
		return p.gather(name, o.kind, value)
	}
	if !ok {
		return errInvalid
	}
	p.settings[name] = s
	return nil
}

// gather adds to a list.
func (p *parser) gather(name string, k kind, value string) error {
	switch k {
	case words:
		p.words[name] = append(p.words[name], strings.Fields(value)...)
	case latest:
		p.words[name] = strings.Fields(value)
	case values:
		if p.pairs[name] == nil {
			p.pairs[name] = map[string]string{}
		}
		return named(p.pairs[name], value)
	case addresses:
		p.enlist(name, strings.Fields(value))
	case paired:
		return p.pair(name, value)
	case networks:
		return p.networks(name, value)
	}
	return nil
}

func named(m map[string]string, value string) error {
	name, rest := cut(value)
	if rest == "" {
		return errMissing
	}
	m[name] = rest
	return nil
}

func (p *parser) enlist(name string, patterns []string) {
	l := p.lists[name]
	for _, pattern := range patterns {
		l.add(pattern)
	}
	p.lists[name] = l
}

func (p *parser) pair(name, value string) error {
	f := strings.Fields(strings.ToLower(value))
	dkim := strings.HasSuffix(name, "_dkim")
	if len(f) > 2 || len(f) < 2 && !dkim {
		return errors.New("want an address pattern and a domain")
	}
	f = append(f, "")
	for i, x := range p.rcvd[name] {
		if x.Pattern == f[0] {
			p.rcvd[name][i].Domains = append(x.Domains, f[1])
			return nil
		}
	}
	p.rcvd[name] = append(p.rcvd[name], Pair{f[0], []string{f[1]}})
	return nil
}

func (p *parser) unlist(key, value string) error {
	if value == "" {
		return errMissing
	}
	name := strings.TrimPrefix(key, "un")
	for _, pattern := range strings.Fields(value) {
		for _, list := range []string{name, "def_" + name} {
			l := p.lists[list]
			l.remove(pattern)
			p.lists[list] = l
			p.rcvd[list] = slices.DeleteFunc(p.rcvd[list], func(x Pair) bool { return x.Pattern == strings.ToLower(pattern) })
		}
	}
	return nil
}

func (p *parser) networks(name, value string) error {
	var errs []error
	for _, word := range strings.Fields(value) {
		net, excluded, ok := readNet(word)
		if !ok {
			errs = append(errs, fmt.Errorf("%q is no network: want 192.0.2.0/24, 192.0.2. or 2001:db8::/32", word))
			continue
		}
		p.nets[name].add(net, excluded)
		p.nets[name].Configured = true
	}
	return errors.Join(errs...)
}

// listName parts "(NAME) words".
func listName(value string) (name string, rest []string, ok bool) {
	inner, ok := strings.CutPrefix(value, "(")
	if !ok {
		return "", strings.Fields(value), false
	}
	name, after, ok := strings.Cut(inner, ")")
	rest = strings.Fields(after)
	return name, rest, ok && name != "" && len(rest) > 0
}

func (p *parser) uriHost(key, value string) error {
	name, hosts, ok := listName(strings.TrimSpace(value))
	if !ok && (key == "enlist_uri_host" || len(hosts) == 0) {
		return errors.New("want (LIST) and hosts")
	}
	for _, host := range hosts {
		host, not := strings.CutPrefix(strings.ToLower(host), "!")
		if key == "delist_uri_host" {
			for list := range p.hosts {
				if !ok || list == name {
					delete(p.hosts[list], host)
				}
			}
			continue
		}
		if p.hosts[name] == nil {
			p.hosts[name] = map[string]bool{}
		}
		p.hosts[name][host] = !not
	}
	return nil
}

func (p *parser) addrList(value string) error {
	name, patterns, ok := listName(value)
	if !ok {
		return errors.New("want (LIST) and address patterns")
	}
	p.enlist(name, patterns)
	return nil
}

// ownerList reads "(OWNER) patterns" of FromNameSpoof.
func (p *parser) ownerList(key, value string) error {
	name, patterns, ok := listName(value)
	if !ok {
		return errors.New("want (OWNER) and address patterns")
	}
	name = "FNS_" + strings.ToLower(name)
	if key == "fns_add_addrlist" {
		p.enlist(name, patterns)
		return nil
	}
	l := p.lists[name]
	for _, pattern := range patterns {
		l.remove(pattern)
	}
	p.lists[name] = l
	return nil
}

func (p *parser) registry(key, value string) error {
	if value == "" {
		return errMissing
	}
	want := map[string]int{"util_rb_tld": 0, "util_rb_2tld": 1, "util_rb_3tld": 2}[key]
	for _, name := range strings.Fields(value) {
		if strings.Count(name, ".") != want {
			return fmt.Errorf("%q has not %d dots", name, want)
		}
		p.domains.add(key, name)
	}
	return nil
}

func (p *parser) redirector(value string) error {
	if value == "" {
		return errMissing
	}
	if _, _, err := regex.FromRule(value); err != nil {
		return err
	}
	p.words["redirector_pattern"] = append(p.words["redirector_pattern"], value)
	return nil
}

func (p *parser) plugin(value string) error {
	name, _ := cut(value)
	name = pluginName(name)
	if p.user || name == "" {
		return errInvalid
	}
	if !p.o.Known(name) {
		return fmt.Errorf("the plugin %s is not part of this program: its rules can not run", name)
	}
	if why := missing[strings.TrimPrefix(name, perlRoom+"Plugin::")]; why != "" {
		return fmt.Errorf("the plugin %s is left out: %s", name, why)
	}
	p.Plugins[name] = true
	return nil
}

// missing are plugins whose rules would miss without a word.
var missing = map[string]string{
	"RelayCountry": "there is no database of countries; rules about X-Relay-Countries do not hit",
	"ExtractText":  "no programs are run that take text out of attachments; rules do not see it",
}

func (p *parser) compat(value string) error {
	if !validName(value) {
		return errInvalid
	}
	if p.user {
		return errInvalid
	}
	p.compats["Conf::compat_"+value] = true
	return nil
}

func (p *parser) rewrite(value string) error {
	name, with := cut(value)
	name = strings.ToUpper(name[:min(1, len(name))]) + strings.ToLower(name[min(1, len(name)):])
	switch {
	case name != "From" && name != "Subject" && name != "To":
		return fmt.Errorf("%q can not be rewritten: want Subject, From or To", name)
	case with == "":
		delete(p.Rewrite, name)
		return nil
	case name != "Subject":
		with = strings.NewReplacer("(", "[", ")", "]").Replace(with)
	}
	p.Rewrite[name] = with
	return nil
}

// kinds gives the lists that "ham", "spam" or "all" names.
func (p *parser) headerLists(kind string) []*[]Field {
	switch kind {
	case "ham":
		return []*[]Field{&p.Ham}
	case "spam":
		return []*[]Field{&p.Spam}
	case "all":
		return []*[]Field{&p.Ham, &p.Spam}
	}
	return nil
}

func (p *parser) addHeader(value string) error {
	kind, rest := cut(value)
	name, line := cut(rest)
	lists := p.headerLists(kind)
	if lists == nil || name == "" || !fieldName(name) {
		return errors.New("want ham, spam or all, a name without X-Spam-, and a text")
	}
	if len(line) > 1 && line[0] == '"' && line[len(line)-1] == '"' {
		line = line[1 : len(line)-1]
	}
	for _, l := range lists {
		*l = append(without(*l, name), Field{name, unescape(line)})
	}
	return nil
}

// unescape reads \t, \n and \\; every other escape is removed.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case '\\':
			out.WriteByte('\\')
		}
	}
	return out.String()
}

func without(l []Field, name string) []Field {
	return slices.DeleteFunc(slices.Clone(l), func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

func fieldName(s string) bool {
	return strings.Trim(s, "-") != "" && validName("_"+strings.ReplaceAll(s, "-", "_"))
}

func (p *parser) removeHeader(value string) error {
	kind, rest := cut(value)
	lists := p.headerLists(kind)
	if lists == nil || !fieldName(rest) {
		return errors.New("want ham, spam or all, and a name")
	}
	if strings.EqualFold(rest, "Checker-Version") {
		return nil // always there
	}
	for _, l := range lists {
		*l = without(*l, rest)
	}
	return nil
}

func (p *parser) reportSafe(value string) error {
	if value != "0" && value != "1" && value != "2" {
		return errors.New("want 0, 1 or 2")
	}
	p.settings["report_safe"] = setting{number: float64(value[0] - '0')}
	if value == "0" && len(without(p.Spam, "Report")) == len(p.Spam) {
		p.Spam = append(slices.Clone(p.Spam), Field{"Report", "_REPORT_"})
	}
	return nil
}
