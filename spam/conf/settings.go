package conf

import (
	"strconv"
	"strings"
)

type kind int

const (
	number kind = iota
	boolean
	text
	duration // seconds
	template
	words  // gathered
	latest // words of the last line
	values
	addresses // patterns
	paired    // pattern and domain
	networks
)

type setting struct {
	number float64
	text   string
}

// option says how a setting is read.
type option struct {
	kind  kind
	value setting // the default
	admin bool    // not in users' preferences
}

func num(v float64) option { return option{kind: number, value: setting{number: v}} }
func dur(v float64) option { return option{kind: duration, value: setting{number: v}} }
func str(v string) option  { return option{kind: text, value: setting{text: v}} }
func yes(v bool) option {
	o := option{kind: boolean}
	if v {
		o.value.number = 1
	}
	return o
}

func admin(o option) option {
	o.admin = true
	return o
}

// options are the settings of Mail::SpamAssassin::Conf(3) and of its plugins'
// pages, but for those that have a command of their own.
var options = map[string]option{
	"required_score":    num(5),
	"report_wrap_width": num(75), "ok_locales": str("all"), "ok_languages": str("all"), "fold_headers": yes(true),
	"envelope_sender_header": str(""), "report_charset": str("UTF-8"), "report": {kind: template}, "unsafe_report": {kind: template},
	"report_contact": str("the administrator of that system"), "report_hostname": str(""),
	"report_safe_copy_headers": {kind: words}, "parse_dkim_uris": yes(true),
	"time_limit": dur(300), "allow_user_rules": admin(yes(false)),
	"body_part_scan_size": admin(num(50000)), "rawbody_part_scan_size": admin(num(500000)),
	"ignore_always_matching_regexps": admin(yes(false)),
	"originating_ip_headers":         {kind: words},

	"welcomelist_from": {kind: addresses}, "blocklist_from": {kind: addresses}, "welcomelist_allows_relays": {kind: addresses},
	"welcomelist_to": {kind: addresses}, "more_spam_to": {kind: addresses}, "all_spam_to": {kind: addresses}, "blocklist_to": {kind: addresses},
	"welcomelist_auth": {kind: addresses}, "def_welcomelist_auth": {kind: addresses},
	"welcomelist_from_spf": {kind: addresses}, "def_welcomelist_from_spf": {kind: addresses},
	"welcomelist_subject": {kind: addresses}, "blocklist_subject": {kind: addresses}, "welcomelist_bounce_relays": {kind: addresses},
	"bayes_ignore_from": {kind: addresses}, "bayes_ignore_to": {kind: addresses},
	"welcomelist_from_rcvd": {kind: paired}, "def_welcomelist_from_rcvd": {kind: paired},
	"welcomelist_from_dkim": {kind: paired}, "def_welcomelist_from_dkim": {kind: paired},

	"trusted_networks": {kind: networks}, "internal_networks": {kind: networks}, "msa_networks": {kind: networks},
	"authres_networks": str("internal"), "authres_trusted_authserv": {kind: words}, "authres_ignored_authserv": {kind: words},

	"skip_rbl_checks": yes(false), "skip_uribl_checks": yes(false), "uridnsbl_skip_mailto": yes(true), "uridnsbl_max_domains": num(20),
	"uridnsbl_skip_domain": {kind: words}, "dns_available": str("yes"), "dns_block_time": num(300), "dns_server": admin(option{kind: words}),
	"rbl_headers": str("EnvelopeFrom,Reply-To,Disposition-Notification-To,X-WebmailclientIP,X-Source-IP"),

	"use_learner": yes(true), "use_bayes": yes(true), "use_bayes_rules": yes(true), "bayes_auto_learn": yes(true),
	"bayes_token_sources": {kind: words}, "bayes_ignore_header": {kind: words}, "bayes_min_ham_num": num(200), "bayes_min_spam_num": num(200),
	"bayes_use_hapaxes": yes(true), "bayes_learn_during_report": yes(true), "bayes_expiry_max_db_size": num(150000), "bayes_auto_expire": yes(true),
	"bayes_max_token_length": num(15), "bayes_stopword_languages": {kind: latest},
	"bayes_auto_learn_threshold_nonspam": num(0.1), "bayes_auto_learn_threshold_spam": num(12), "bayes_auto_learn_on_error": yes(false),

	"use_txrep": yes(false), "txrep_factor": num(0.5),
	"txrep_learn_penalty": num(20), "txrep_learn_bonus": num(20), "txrep_track_messages": yes(true),
	"txrep_welcomelist_out": num(10), "txrep_ipv4_mask_len": num(16), "txrep_ipv6_mask_len": num(48),
	"txrep_spf": yes(true), "txrep_weight_email": num(3), "txrep_weight_email_ip": num(10), "txrep_weight_domain": num(2), "txrep_weight_ip": num(4),
	"txrep_weight_helo": num(0.5), "auto_welcomelist_distinguish_signed": yes(true),

	"use_dcc": yes(true), "use_dcc_rep": yes(true), "dcc_body_max": num(999999), "dcc_fuz1_max": num(999999), "dcc_fuz2_max": num(999999),
	"dcc_rep_percent": num(90), "dcc_timeout": dur(5), "dcc_home": str(""), "dcc_dccifd_path": str(""), "use_pyzor": yes(true), "pyzor_path": admin(str("")), "pyzor_options": admin(str("")), "pyzor_count_min": num(5),
	"pyzor_timeout": dur(5), "pyzor_welcomelist_min": num(10), "pyzor_welcomelist_factor": num(0.2), "use_razor2": yes(true),
	"dkim_minimum_key_bits": num(1024),

	"freemail_domains": {kind: words}, "freemail_welcomelist": {kind: words}, "freemail_max_body_emails": num(5), "freemail_max_body_freemails": num(3),
	"freemail_skip_when_over_max": yes(true), "freemail_skip_bulk_envfrom": yes(true), "freemail_add_describe_email": yes(true),
	"freemail_import_welcomelist_auth": yes(false), "freemail_import_def_welcomelist_auth": yes(false),
	"fns_extrachars": num(50), "fns_ignore_dkim": {kind: words}, "fns_ignore_headers": {kind: words}, "fns_check": num(1),
	"hashbl_ignore": {kind: words}, "hashbl_email_welcomelist": str(""), "hashbl_email_regex": str(""),

	"shortcircuit_spam_score": num(100), "shortcircuit_ham_score": num(-100),
	"shortcircuit_min_ham_score": str(""), "shortcircuit_max_spam_score": str(""),
	"replace_tag": {kind: values}, "replace_pre": {kind: values}, "replace_inter": {kind: values}, "replace_post": {kind: values}, "replace_rules": {kind: words},
	"replace_start": str("<"), "replace_end": str(">"),
	"report_safe": num(1), "url_shortener": {kind: words}, "url_shortener_get": {kind: words},
	"asn_prefix": str("AS"), "asn_use_dns": yes(true),
	"textcat_max_languages": num(3), "textcat_optimal_ngrams": num(0), "textcat_max_ngrams": num(400), "textcat_acceptable_score": num(1.02),
	"inactive_languages":      str("bs cy eo et eu fy ga gd is la lt lv rm sa sco sl yi"),
	"phishing_openphish_feed": admin(str("")), "phishing_phishtank_feed": admin(str("")), "phishing_phishstats_feed": admin(str("")),
	"phishing_phishstats_minscore": admin(num(6)), "phishing_uri_noparam": admin(yes(false)),
	"olemacro_num_mime": num(5), "olemacro_num_zip": num(8), "olemacro_zip_depth": num(2), "olemacro_extended_scan": yes(false),
	"olemacro_prefer_contentdisposition": yes(true), "olemacro_max_file": num(1024000),
	"olemacro_exts":       str(`(?:doc|docx|dot|pot|ppa|pps|ppt|rtf|sldm|xl|xla|xls|xlsx|xlt|xltx|xslb)$`),
	"olemacro_macro_exts": str(`(?:docm|dotm|ppam|potm|ppst|ppsm|pptm|sldm|xlm|xlam|xlsb|xlsm|xltm|xps)$`),
	"olemacro_skip_exts":  str(`(?:dotx|potx|ppsx|pptx|sldx)$`), "olemacro_skip_ctypes": str(`^(?:text\/)`), "olemacro_zips": str(`(?:zip)$`),
	"olemacro_download_marker": str(`(?:cmd(?:\.exe)? \/c ms\^h\^ta ht\^tps?:\/\^\/)`),
}

// aliasOf gives an option's present name: the words "whitelist" and "blacklist" are its old ones.
func aliasOf(name string) string {
	if name == "required_hits" {
		return "required_score"
	}
	name = strings.Replace(name, "whitelist", "welcomelist", 1)
	return strings.Replace(name, "blacklist", "blocklist", 1)
}

func defaults() map[string]setting {
	out := make(map[string]setting, len(options))
	for name, o := range options {
		out[name] = o.value
	}
	return out
}

// number reads "[+-]digits[.digits]".
func readNumber(s string) (float64, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || digits[0] == '.' || strings.Trim(digits, "0123456789.") != "" || strings.Count(digits, ".") > 1 {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimPrefix(s, "+"), 64)
	return f, err == nil
}

// readDuration reads a number with or without one of s, m, h, d, w: seconds.
func readDuration(s string) (float64, bool) {
	units := map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}
	factor := 1.0
	if s != "" {
		if u, ok := units[s[len(s)-1]|0x20]; ok {
			factor, s = u, strings.TrimRight(s[:len(s)-1], " \t")
		}
	}
	f, ok := readNumber(s)
	return f * factor, ok && f >= 0
}

func readBool(s string) (float64, bool) {
	switch strings.ToLower(s) {
	case "yes", "1":
		return 1, true
	case "no", "0":
		return 0, true
	}
	return 0, false
}
