package conf

import (
	"slices"
	"strings"
)

// withoutEffect are settings of SpamAssassin that are known and change nothing here, and why.
var withoutEffect = []struct{ why, names string }{
	{"what was learned is in the server's own store", `lock_method bayes_path bayes_file_mode bayes_store_module bayes_sql_dsn bayes_sql_username bayes_sql_password
		bayes_sql_username_authorized bayes_sql_override_username bayes_learn_to_journal bayes_journal_max_size bayes_token_ttl bayes_seen_ttl
		auto_welcomelist_factory auto_welcomelist_path auto_welcomelist_db_modules auto_welcomelist_file_mode user_awl_dsn user_awl_sql_username
		user_awl_sql_password user_awl_sql_table user_awl_sql_override_username txrep_factory`},
	{"users' preferences are in the server's own store", `user_scores_dsn user_scores_sql_username user_scores_sql_password user_scores_sql_custom_query
		user_scores_ldap_username user_scores_ldap_password user_scores_fallback_to_global`},
	{"the server has a resolver of its own, whose ports the kernel picks", "dns_local_ports_permit dns_local_ports_avoid dns_local_ports_none dns_test_interval dns_options uridnsbl_timeout"},
	{"SPF is what filter spf has found", "always_trust_envelope_sender ignore_received_spf_header use_newest_received_spf_header spf_timeout do_not_use_mail_spf do_not_use_mail_spf_query"},
	{"DKIM is what filter dkim has found", "dkim_timeout"},
	{"DMARC is what filter dmarc has found", "dmarc_save_reports"},
	{"there is no database of countries here", `geodb_module country_db_type geodb_options geodb_search_path country_db_path uri_country_db_path
		uri_country_db_isp_path asn_use_geodb asn_prefer_geodb`},
	{"AWL is not done here; TxRep does the same and more", "use_auto_welcomelist auto_welcomelist_factor auto_welcomelist_ipv4_mask_len auto_welcomelist_ipv6_mask_len"},
	{"senders that were silent for a year are forgotten", "txrep_expiry_days"},
	{"SpamAssassin 4.0 does not read it either", "txrep_dilution_factor"},
	{"senders learn of what somebody calls spam or ham, and not once more of what is learned unasked", "txrep_autolearn"},
	{"a filter remembers senders for the site or for each user, not for both", "txrep_user2global_ratio"},
	{"mtad spam check -o json has it", "txrep_report_details"},
	{"DCC is asked through its daemon, dccifd", "dcc_path dcc_options dccifd_options dcc_learn_score"},
	{"Pyzor is asked as a program", "pyzor_max pyzor_fork pyzor_perl pyzor_server_file"},
	{"Razor is not done here", "razor_fork razor_config razor_timeout"},
	{"nothing is reported to others", "spamcop_from_address spamcop_to_address spamcop_max_report_size spamcop_relayhost"},
	{"short links are not followed", `url_shortener_cache_type url_shortener_cache_dsn url_shortener_cache_username url_shortener_cache_password url_shortener_cache_ttl
		url_shortener_cache_autoclean url_shortener_loginfo url_shortener_timeout url_shortener_user_agent max_short_urls max_short_url_redirections`},
	{"the text of a message is always decoded", "normalize_charset"},
	{"the server's service manager bounds it", "resource_limit_mem resource_limit_cpu"},
	{"mailboxes begin their messages as mbox(5) says", "mbox_format_from_regex"},
	{"the version is SpamAssassin's, whose rules these are", "version_tag"},
	{"", "test run_reuse_tests_only"}, // of SpamAssassin's own tests: there is nothing to tell
}

// unusedBecause says why a setting changes nothing here.
var unusedBecause = func() map[string]string {
	out := map[string]string{}
	for _, x := range withoutEffect {
		for name := range strings.FieldsSeq(x.names) {
			out[name] = x.why
		}
	}
	return out
}()

// asHere is what some of these settings may say: it is what is done here.
var asHere = map[string][]string{
	"use_auto_welcomelist": {"0", "no"}, "normalize_charset": {"1", "yes"}, "bayes_learn_to_journal": {"0", "no"}, "asn_use_geodb": {"0", "no"}, "asn_prefer_geodb": {"0", "no"},
	"txrep_user2global_ratio": {"0"}, "txrep_autolearn": {"0"}, "txrep_report_details": {"0", "no"}, "always_trust_envelope_sender": {"0", "no"},
	"ignore_received_spf_header": {"1", "yes"}, "do_not_use_mail_spf": {"1", "yes"}, "do_not_use_mail_spf_query": {"1", "yes"},
}

// unused notes that a setting changes nothing here, once for each file.
func (p *parser) unused(key, value string) {
	why := unusedBecause[key]
	if why == "" || slices.Contains(asHere[key], strings.ToLower(strings.TrimSpace(value))) {
		return
	}
	said := func(x Problem) bool { return x.File == p.file && strings.HasPrefix(x.Text, key+" ") }
	if !slices.ContainsFunc(p.Notes, said) {
		p.note("", "%s changes nothing here: %s", key, why)
	}
}
