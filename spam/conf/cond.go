package conf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// features are what "if can(Mail::SpamAssassin::...)" asks for and is answered with yes.
var features = func() map[string]bool {
	out := map[string]bool{"Conf::perl_min_version_5010000": true, "Conf::has_tflags_nolog": true, "Conf::has_tflags_nosubject": true}
	for name := range strings.FieldsSeq(`originating_ip_headers dns_local_ports_permit_avoid bayes_auto_learn_on_error uri_host_listed yesno_takes_args bug6558_free edns
			dns_query_restriction registryboundaries geodb dns_block_rule compile_regexp meta_rules_matching subjprefix bayes_stopwords get_host
			blocklist_welcomelist welcomelist_blocklist header_address_parser local_tests_only header_first_last header_match_many capture_rules`) {
		out["Conf::feature_"+name] = true
	}
	for plugin, names := range map[string]string{
		"BodyEval": "has_check_body_length has_plaintext_body_sig_ratio", "MIMEEval": "has_check_abundant_unicode_ratio has_check_for_ascii_text_illegal has_check_qp_ratio",
		"DKIM": "has_arc", "SPF": "has_check_for_spf_errors has_check_spf_skipped_noenvfrom", "AskDNS": "has_tag_header",
		"DNSEval": "has_tflags_domains_only has_tflags_ips_only", "OLEVBMacro": "has_olemacro_mhtml_uri has_olemacro_redirect_uri has_olertfobject",
		"Pyzor": "has_fork has_perl", "Razor2": "has_fork",
		"URIDNSBL":        "has_tflags_notrim has_tflags_domains_only has_tflags_ips_only has_subtest_for_ranges has_uridnsbl_for_a has_uridnsbl_a_ns has_uridnsbl_skip_mailto",
		"MIMEHeader":      "has_all_header has_tflags_multiple has_tflags_range has_tflags_concat has_capture_rules",
		"URIDetail":       "has_host_key",
		"DecodeShortURLs": "has_short_url has_autoclean has_short_url_code has_user_agent has_get has_clear has_timeout has_max_redirections has_short_url_redir",
		"HashBL": `has_hashbl_bodyre has_hashbl_bodyre_num has_hashbl_emails has_hashbl_uris has_hashbl_ignore has_hashbl_email_regex
			has_hashbl_email_welcomelist has_hashbl_email_whitelist has_hashbl_tag has_hashbl_sha256 has_hashbl_attachments
			has_hashbl_email_domain has_hashbl_email_domain_alias`,
		"ASN": "has_asn_lookup_ipv6 has_check_asn has_check_asn_tag has_asn_geodb",
	} {
		for name := range strings.FieldsSeq(names) {
			out["Plugin::"+plugin+"::"+name] = true
		}
	}
	return out
}()

const perlRoom = "Mail::SpamAssassin::"

// condition evaluates what stands after if: "version >= 4.000000",
// "plugin(NAME)", "can(NAME)", "has(NAME)", "local_tests_only", with !, && and ||.
func (p *parser) condition(text string) (bool, error) {
	text, err := p.calls(text)
	if err != nil {
		return false, err
	}
	e, err := ParseExpr(text)
	if err != nil {
		return false, err
	}
	unknown := ""
	v := e.Eval(func(slot int) Span {
		name := e.Rules()[slot]
		switch name {
		case "version":
			return Known(Version)
		case "perl_version":
			return Known(5.036)
		case "local_tests_only":
			return yesNo(p.o.Local)
		}
		unknown = name
		return Known(0)
	})
	if unknown != "" {
		return false, fmt.Errorf("%s is not known here: want version, plugin(), can(), has() or local_tests_only", unknown)
	}
	if v.Undefined() {
		return false, errors.New("it divides by zero")
	}
	return v.True(), nil
}

func yesNo(b bool) Span {
	if b {
		return Known(1)
	}
	return Known(0)
}

// calls replaces plugin(X), can(X) and has(X) by 1 or 0.
func (p *parser) calls(text string) (string, error) {
	var out strings.Builder
	for text != "" {
		n := 0
		for n < len(text) && wordByte(text[n]) {
			n++
		}
		word := text[:n]
		rest := strings.TrimLeft(text[n:], space)
		if word != "plugin" && word != "can" && word != "has" || !strings.HasPrefix(rest, "(") {
			n = max(n, 1)
			out.WriteString(text[:n])
			text = text[n:]
			continue
		}
		arg, after, ok := strings.Cut(rest[1:], ")")
		if !ok {
			return "", errors.New(`a ")" is missing`)
		}
		out.WriteString(strconv.Itoa(int(yesNo(p.call(word, strings.Trim(arg, space))).Lo)))
		text = after
	}
	return out.String(), nil
}

func (p *parser) call(fn, arg string) bool {
	if fn == "plugin" {
		return p.Plugins[pluginName(arg)] || arg == perlRoom+"Plugin::RaciallyCharged"
	}
	name, ok := strings.CutPrefix(arg, perlRoom)
	if !ok {
		return false
	}
	known := features[name] || p.compats[name]
	plugin, method, ok := strings.Cut(strings.TrimPrefix(name, "Plugin::"), "::")
	if !ok || !strings.HasPrefix(name, "Plugin::") {
		return known
	}
	// can calls the method, and the functions of rules are not at home then.
	return p.loaded(plugin) && (known || fn == "has" && pluginOf[method] == plugin)
}

// pluginName gives a plugin's present name.
func pluginName(s string) string {
	switch s {
	case perlRoom + "Plugin::Dmarc":
		return perlRoom + "Plugin::DMARC"
	case perlRoom + "Plugin::WhiteListSubject":
		return perlRoom + "Plugin::WelcomeListSubject"
	}
	return s
}
