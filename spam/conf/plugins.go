package conf

import (
	"fmt"
	"strings"
)

// plugins are SpamAssassin's plugins with what works only where one is loaded: settings and
// kinds of rules ("x*": all that begin so), and the functions that rules call.
var plugins = []struct{ name, settings, functions string }{
	{"ASN", "asn_* clear_asn_lookups", "check_asn"},
	{"AWL", "use_auto_welcomelist auto_welcomelist_* user_awl_*", "check_from_in_auto_welcomelist check_from_in_auto_whitelist"},
	{"AccessDB", "", "check_access_database"},
	{"AntiVirus", "", "check_microsoft_executable check_suspect_name"},
	{"AskDNS", "askdns", ""},
	{"AuthRes", "authres_*", "check_authres_result"},
	{"AutoLearnThreshold", "bayes_auto_learn_threshold_* bayes_auto_learn_on_error", ""},
	{"Bayes", "bayes_max_token_length bayes_stopword_*", "check_bayes"},
	{"BodyEval", "", `check_blank_line_ratio check_body_length check_stock_info multipart_alternative_difference multipart_alternative_difference_count
		plaintext_body_length plaintext_body_sig_ratio plaintext_sig_length tvd_vertical_words`},
	{"DCC", "use_dcc use_dcc_rep dcc_* dccifd_options", "check_dcc check_dcc_reputation_range"},
	{"DKIM", "welcomelist_from_dkim def_welcomelist_from_dkim unwelcomelist_from_dkim adsp_override dkim_*", `check_arc_signed check_arc_valid check_dkim_adsp check_dkim_dependable check_dkim_signall check_dkim_signed check_dkim_signsome check_dkim_testing
		check_dkim_valid check_dkim_valid_author_sig check_dkim_valid_envelopefrom check_dkim_verified check_for_def_dkim_welcomelist_from
		check_for_def_dkim_whitelist_from check_for_dkim_welcomelist_from check_for_dkim_whitelist_from`},
	{"DMARC", "dmarc_save_reports", "check_dmarc_missing check_dmarc_none check_dmarc_pass check_dmarc_quarantine check_dmarc_reject"},
	{"DNSEval", "rbl_headers", `check_dns_sender check_rbl check_rbl_accreditor check_rbl_envfrom check_rbl_from_domain check_rbl_from_host check_rbl_headers check_rbl_ns_from
		check_rbl_rcvd check_rbl_sub check_rbl_txt`},
	{"DecodeShortURLs", "url_shortener* clear_url_shortener max_short_url*", "short_url short_url_200 short_url_404 short_url_chained short_url_code short_url_loop short_url_maxchain short_url_redir short_url_tests"},
	{"FreeMail", "freemail_*", "check_freemail_body check_freemail_from check_freemail_header check_freemail_replyto"},
	{"FromNameSpoof", "fns_*", `check_fromname_contains_email check_fromname_different check_fromname_domain_differ check_fromname_equals_replyto check_fromname_equals_to
		check_fromname_owners_differ check_fromname_spoof`},
	{"HTMLEval", "", `check_iframe_src html_charset_faraway html_eval html_image_only html_image_ratio html_range html_tag_balance html_tag_exists html_test html_text_match
		html_text_not_match html_title_subject_ratio`},
	{"HTTPSMismatch", "", "check_https_http_mismatch"},
	{"HashBL", "hashbl_*", "check_hashbl_attachments check_hashbl_bodyre check_hashbl_emails check_hashbl_tag check_hashbl_uris"},
	{"HeaderEval", "", `check_equal_from_domains check_for_fake_aol_relay_in_rcvd check_for_faraway_charset_in_headers check_for_forged_eudoramail_received_headers
		check_for_forged_gmail_received_headers check_for_forged_gw05_received_headers check_for_forged_hotmail_received_headers
		check_for_forged_juno_received_headers check_for_forged_yahoo_received_headers check_for_matching_env_and_hdr_from check_for_missing_to_header
		check_for_msn_groups_headers check_for_no_hotmail_received_headers check_for_shifted_date check_for_to_in_subject check_for_unique_subject_id
		check_header_count_range check_illegal_chars check_messageid_not_usable check_outlook_message_id check_ratware_envelope_from check_ratware_name_id
		check_unresolved_template gated_through_received_hdr_remover received_within_months similar_recipients sorted_recipients subject_is_all_caps`},
	{"ImageInfo", "", "image_count image_name_regex image_named image_size_exact image_size_range image_to_text_ratio pixel_coverage"},
	{"MIMEEval", "", `check_abundant_unicode_ratio check_base64_length check_for_ascii_text_illegal check_for_faraway_charset check_for_mime check_for_mime_html
		check_for_mime_html_only check_for_uppercase check_ma_non_text check_mime_multipart_ratio check_msg_parse_flags check_qp_ratio`},
	{"MIMEHeader", "mimeheader", ""},
	{"OLEVBMacro", "olemacro_*", `check_olemacro check_olemacro_csv check_olemacro_download_exe check_olemacro_encrypted check_olemacro_malice check_olemacro_mhtml_uri
		check_olemacro_redirect_uri check_olemacro_renamed check_olemacro_zip_password check_oleobject check_olertfobject`},
	{"PDFInfo", "", `pdf_count pdf_image_count pdf_image_size_exact pdf_image_size_range pdf_image_to_text_ratio pdf_is_empty_body pdf_is_encrypted pdf_match_details
		pdf_match_fuzzy_md5 pdf_match_md5 pdf_name_regex pdf_named pdf_pixel_coverage`},
	{"Phishing", "phishing_*", "check_phishing"},
	{"Pyzor", "use_pyzor pyzor_*", "check_pyzor"},
	{"Razor2", "use_razor2 razor_*", "check_razor2 check_razor2_range"},
	{"RelayEval", "", `check_all_trusted check_for_forged_received_ip_helo check_for_forged_received_trail check_for_from_domain_in_received_headers check_for_illegal_ip
		check_for_no_rdns_dotcom_helo check_for_numeric_helo check_for_sender_no_reverse check_no_relays check_relays_unparseable helo_ip_mismatch`},
	{"ReplaceTags", "replace_*", ""},
	{"ResourceLimits", "resource_limit_*", ""},
	{"Reuse", "run_reuse_tests_only", ""},
	{"SPF", "welcomelist_from_spf def_welcomelist_from_spf unwelcomelist_from_spf spf_timeout ignore_received_spf_header use_newest_received_spf_header do_not_use_mail_spf*", `check_for_def_spf_welcomelist_from check_for_def_spf_whitelist_from check_for_spf_fail check_for_spf_helo_fail check_for_spf_helo_neutral
		check_for_spf_helo_none check_for_spf_helo_pass check_for_spf_helo_permerror check_for_spf_helo_softfail check_for_spf_helo_temperror
		check_for_spf_neutral check_for_spf_none check_for_spf_pass check_for_spf_permerror check_for_spf_softfail check_for_spf_temperror
		check_for_spf_welcomelist_from check_for_spf_whitelist_from check_spf_skipped_noenvfrom`},
	{"Shortcircuit", "shortcircuit*", "check_shortcircuit"},
	{"SpamCop", "spamcop_*", ""},
	{"TextCat", "ok_languages inactive_languages textcat_*", "check_body_8bits check_language"},
	{"TxRep", "use_txrep txrep_*", "check_senders_reputation"},
	{"URIDNSBL", "skip_uribl_checks clear_uridnsbl_skip_domain uridns* urirhs* urinsrhs* urifullnsrhs*", "check_uridnsbl"},
	{"URIDetail", "uri_detail", "check_uri_detail"},
	{"URIEval", "", "check_for_http_redirector check_https_ip_mismatch check_uri_truncated"},
	{"URILocalBL", "", "check_uri_local_bl"},
	{"VBounce", "welcomelist_bounce_relays", "check_welcomelist_bounce_relays check_whitelist_bounce_relays have_any_bounce_relays"},
	{"WLBLEval", "", `check_forged_in_default_welcomelist check_forged_in_default_whitelist check_forged_in_welcomelist check_forged_in_whitelist check_from_in_blacklist
		check_from_in_blocklist check_from_in_default_welcomelist check_from_in_default_whitelist check_from_in_list check_from_in_welcomelist
		check_from_in_whitelist check_mailfrom_matches_rcvd check_replyto_in_list check_to_in_all_spam check_to_in_blacklist check_to_in_blocklist
		check_to_in_list check_to_in_more_spam check_to_in_welcomelist check_to_in_whitelist check_uri_host_in_blacklist check_uri_host_in_blocklist
		check_uri_host_in_welcomelist check_uri_host_in_whitelist check_uri_host_listed`},
	{"WelcomeListSubject", "welcomelist_subject blocklist_subject", "check_subject_in_blacklist check_subject_in_blocklist check_subject_in_welcomelist check_subject_in_whitelist"},
}

// shared are settings of AWL that are TxRep's too.
const shared = " auto_welcomelist_db_modules auto_welcomelist_distinguish_signed auto_welcomelist_file_mode auto_welcomelist_path user_awl_dsn user_awl_sql_override_username user_awl_sql_password user_awl_sql_table user_awl_sql_username "

// pluginOf is the plugin of each function, and of each setting; those of settings that only
// begin so are under "x*".
var pluginOf = func() map[string]string {
	out := map[string]string{}
	for _, x := range plugins {
		for word := range strings.FieldsSeq(x.settings + " " + x.functions) {
			out[word] = x.name
		}
	}
	return out
}()

// settingOf is the plugin of a setting, "" if it is of none.
func settingOf(key string) string {
	if name := pluginOf[key]; name != "" {
		return name
	}
	for n := len(key); n > 0; n-- {
		if name := pluginOf[key[:n]+"*"]; name != "" {
			return name
		}
	}
	return ""
}

// unloaded says which plugin has to be loaded for a setting, "" if that is so, or if
// no plugin is: then these are no files of SpamAssassin's, which loads them by .pre files. Only
// what ends a check is not done unasked.
func (p *parser) unloaded(key string) string {
	name := settingOf(key)
	switch {
	case name == "", p.loaded(name), strings.Contains(shared, " "+key+" ") && p.loaded("TxRep"):
		return ""
	case len(p.Plugins) == 0 && name != "Shortcircuit":
		return ""
	}
	return name
}

func (s *Ruleset) loaded(plugin string) bool { return s.Plugins[perlRoom+"Plugin::"+plugin] }

// Unloaded says why a function can not be called: no line has loaded its plugin. "" if it can.
func (s *Ruleset) Unloaded(function string) string {
	name := pluginOf[function]
	if len(s.Plugins) == 0 || name == "" || s.loaded(name) {
		return ""
	}
	return notLoaded(function, name)
}

func notLoaded(what, plugin string) string {
	return fmt.Sprintf("%s is of the plugin %s, which no line loads: want loadplugin %sPlugin::%s", what, plugin, perlRoom, plugin)
}
