package main

import "mtad/config"

// postfixWords are settings of Postfix that are no option's name, and what is here
// in their place.
var postfixWords = []config.Word{
	{Theirs: "alias_database", Text: "not needed: files are read as they are, and again when they change; `newaliases` checks them"},
	{Theirs: "append_dot_mydomain", Text: "no: a name without a domain gets `myorigin`, one with a domain stays"},
	{Theirs: "authorized_submit_users", Ours: "trusted_users", Text: "every user may hand in mail by sendmail; who may do so under any sender is said"},
	{Theirs: "biff", Text: "no; IMAP's IDLE tells users of mail"},
	{Theirs: "broken_sasl_auth_clients", Text: "no: AUTH is announced as RFC 4954 has it; clients of 1999 that want AUTH= do not log in"},
	{Theirs: "content_filter", Ours: "pipeline.filter", Text: "filters run in the session, before the reply; what can not is a transport"},
	{Theirs: "disable_vrfy_command", Text: "VRFY answers 252 always, and tells nothing"},
	{Theirs: "header_checks", Ours: "pipeline.filter.lua", Text: "a rule in Lua; or `sieve` for all"},
	{Theirs: "inet_protocols", Ours: "inet_interfaces", Text: "the addresses say it: 0.0.0.0 is IPv4, [::] is IPv6"},
	{Theirs: "local_transport", Text: "local names are delivered here: to accounts, users of the system, what aliases say"},
	{Theirs: "mailbox_size_limit", Text: "files of users are bounded by the file system's quota"},
	{Theirs: "mydomain", Text: "no: write domains whole"},
	{Theirs: "mail_name", Text: "no: the greeting says the host's name"},
	{Theirs: "setgid_group", Ours: "maildrop_directory", Text: "no program has privileges: all may add to the directory, the server believes nothing in it"},
	{Theirs: "smtpd_helo_required", Text: "always: MAIL before HELO or EHLO is 503"},
	{Theirs: "smtpd_helo_restrictions", Ours: "pipeline.filter", Text: "HELO must be well-formed; more is a filter's, with `when = client.helo == ...`"},
	{Theirs: "smtpd_client_restrictions", Ours: "pipeline.filter", Text: "`rbl`, `lua`, and `when` conditions over client.addr and client.name"},
	{Theirs: "smtpd_milters", Ours: "pipeline.filter.milter", Text: "a step of the listener's pipeline"},
	{Theirs: "non_smtpd_milters", Ours: "pipeline.filter.milter", Text: "a step of the pipeline \"generated\""},
	{Theirs: "smtpd_recipient_restrictions", Ours: "pipeline", Text: "unknown recipients and relaying are refused always; the rest are filters, in their order"},
	{Theirs: "smtpd_relay_restrictions", Text: "mynetworks, logins and relay_domains; nothing else opens the relay"},
	{Theirs: "smtpd_reject_unlisted_recipient", Text: "always"},
	{Theirs: "smtpd_sender_login_maps", Ours: "listener.auth", Text: "on submission the sender must be the login's, or granted to it"},
	{Theirs: "smtpd_tls_auth_only", Text: "always, except on loopback: there is no AUTH before TLS"},
	{Theirs: "smtpd_tls_wrappermode", Ours: "listener.tls", Text: "tls = \"implicit\""},
	{Theirs: "smtpd_sasl_type", Text: "accounts are the directory's"},
	{Theirs: "unknown_local_recipient_reject_code", Text: "550, always"},
}

// dovecotWords are settings of Dovecot.
var dovecotWords = []config.Word{
	{Theirs: "auth_mechanisms", Text: "PLAIN, and LOGIN for SMTP; passwords are kept hashed by argon2id, so no mechanism that needs them in the clear"},
	{Theirs: "disable_plaintext_auth", Text: "always, except on loopback: there is no login before TLS"},
	{Theirs: "passdb", Text: "accounts are `mtad user`'s"},
	{Theirs: "protocols", Ours: "listener.protocol", Text: "what has a listener is served: imap, managesieve, lmtp"},
	{Theirs: "sieve_before", Ours: "pipeline.filter.sieve.script", Text: "a step of the pipeline \"delivery\" before the users' own"},
	{Theirs: "sieve_after", Ours: "pipeline.filter.sieve.script", Text: "a step behind it"},
	{Theirs: "userdb", Text: "accounts are `mtad user`'s; mail is in the store"},
}
