package routes

import (
	"time"

	"mtad/config"
)

// Settings are the top-level options of this package.
type Settings struct {
	Origin           string        `mtad:"myorigin"`
	Destination      config.Source `mtad:"mydestination"`
	Networks         config.Source `mtad:"mynetworks"`
	NetworksStyle    string        `mtad:"mynetworks_style"`
	Interfaces       []string      `mtad:"inet_interfaces"`
	RelayDomains     config.Source `mtad:"relay_domains"`
	RelayRecipients  config.Source `mtad:"relay_recipient_maps"`
	Delimiter        string        `mtad:"recipient_delimiter"`
	VirtualAliases   config.Source `mtad:"virtual_alias_maps"`
	VirtualDomains   config.Source `mtad:"virtual_alias_domains"`
	VirtualMailboxes config.Source `mtad:"virtual_mailbox_maps"`
	MailboxDomains   config.Source `mtad:"virtual_mailbox_domains"`
	Relocated        config.Source `mtad:"relocated_maps"`
	Aliases          config.Source `mtad:"aliases"`
	LuserRelay       string        `mtad:"luser_relay"`
	SystemUsers      bool          `mtad:"system_users"`
	HomeMailbox      string        `mtad:"home_mailbox"`
	MailSpool        string        `mtad:"mail_spool_directory"`
	MailboxCommand   string        `mtad:"mailbox_command"`
	DefaultPrivs     string        `mtad:"default_privs"`
	CommandTime      time.Duration `mtad:"command_time_limit"`
	Transports       config.Source `mtad:"transport_maps"`
	SenderTransports config.Source `mtad:"sender_dependent_default_transport_maps"`
	SenderRelayhosts config.Source `mtad:"sender_dependent_relayhost_maps"`
	Passwords        config.Source `mtad:"smtp_sasl_password_maps"`
	SenderPasswords  bool          `mtad:"smtp_sender_dependent_authentication"`
	Relayhost        string        `mtad:"relayhost"`
	DefaultTransport string        `mtad:"default_transport"`
	RelayTransport   string        `mtad:"relay_transport"`
	VirtualTransport string        `mtad:"virtual_transport"`
}

// none is a source that is not written.
var none = config.Source{}

// Options describes Settings.
var Options = []config.Option{
	{Name: "myorigin", Type: config.TypeString, Default: "", Reload: true, Doc: "The domain of addresses and login names without one. Empty means hostname.", Example: `"example.org"`, Postfix: "myorigin"},
	{Name: "mydestination", Type: config.TypeSource, Default: config.Store(), Reload: true, Doc: "The local domains: store() are those of `mtad domain`, each with its own names; a domain that is named here, or in a table, has the names of myorigin.", Example: `[store(), "localhost"]`, Postfix: "mydestination"},
	{Name: "mynetworks", Type: config.TypeSource, Default: none, Reload: true, Doc: "Clients that may send anywhere without a login: networks, or cidr: tables. Unwritten, it is what mynetworks_style says.", Example: `["127.0.0.0/8", "[::1]/128"]`, Postfix: "mynetworks"},
	{Name: "mynetworks_style", Type: config.TypeString, Default: "host", Values: []string{"host", "subnet", "class"}, Reload: true, Doc: "Which clients are in mynetworks where that is not written: this machine's own addresses, its networks, or their classes A, B and C (which lets strangers in, as a rule).", Example: `"subnet"`, Postfix: "mynetworks_style"},
	{Name: "inet_interfaces", Type: config.TypeStrings, Default: []string{"all"}, Doc: "Where listeners listen whose addr has no host, such as \":25\": \"all\", \"loopback-only\", or addresses.", Example: `["127.0.0.1", "192.0.2.1"]`, Postfix: "inet_interfaces"},
	{Name: "relay_domains", Type: config.TypeSource, Default: none, Reload: true, Doc: "Domains whose mail is taken from anybody and sent on; \".example.org\" is every subdomain. Strangers may not name a further hop there: user%host, host!user, user@host.", Example: `["backup.example"]`, Postfix: "relay_domains"},
	{Name: "relay_recipient_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of the addresses that exist in relay_domains; others are refused. None means that every address is taken.", Example: `"file:/etc/mtad/relay_recipients"`, Postfix: "relay_recipient_maps"},
	{Name: "recipient_delimiter", Type: config.TypeString, Default: "+", Reload: true, Doc: "What stands between a user's name and a detail: alice+lists. Each character is one.", Example: `"+-"`, Postfix: "recipient_delimiter"},
	{Name: "virtual_alias_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables that lead addresses of any domain to others, again and again: user@domain, user, @domain (virtual(5)).", Example: `"file:/etc/mtad/virtual"`, Postfix: "virtual_alias_maps"},
	{Name: "virtual_alias_domains", Type: config.TypeSource, Default: none, Reload: true, Doc: "Domains that have nothing but the addresses of virtual_alias_maps.", Example: `["example.net"]`, Postfix: "virtual_alias_domains"},
	{Name: "virtual_mailbox_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of the addresses that exist in virtual_mailbox_domains. None means that every address is taken.", Example: `"pgsql:/etc/mtad/mailboxes.cf"`, Postfix: "virtual_mailbox_maps"},
	{Name: "virtual_mailbox_domains", Type: config.TypeSource, Default: none, Reload: true, Doc: "Domains whose mailboxes another server has, behind virtual_transport.", Example: `["example.com"]`, Postfix: "virtual_mailbox_domains"},
	{Name: "relocated_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of addresses that have moved; senders are told where to (relocated(5)).", Example: `"file:/etc/mtad/relocated"`, Postfix: "relocated_maps"},
	{Name: "aliases", Type: config.TypeSource, Default: config.Store(), Reload: true, Doc: "Where the aliases of local names are looked for, in order: files in the form of aliases(5), other tables with such values, and store(), which `mtad alias` fills. Local names are those of myorigin and of the domains that mydestination names. Programs and files in a file that is named since the start wait for a restart.", Example: `["file:/etc/aliases", store()]`, Postfix: "alias_maps"},
	{Name: "luser_relay", Type: config.TypeString, Default: "", Reload: true, Doc: "Who gets mail for local names that are nobody's; $user, $extension, $local, $domain and $recipient may stand in it. Empty means that it is refused.", Example: `"admin+$user@example.org"`, Postfix: "luser_relay"},
	{Name: "system_users", Type: config.TypeBool, Default: false, Doc: "Whether users of the system with an ID of 1000 and more get mail at local names, and may have a .forward. Needs the monitor: start mtad as root.", Example: "true", Postfix: "local_recipient_maps"},
	{Name: "home_mailbox", Type: config.TypeString, Default: "", Doc: "Where below their home directories users of the system have mail: a Maildir if it ends in a slash. Empty means mail_spool_directory.", Example: `"Maildir/"`, Postfix: "home_mailbox", Dovecot: "mail_location"},
	{Name: "mail_spool_directory", Type: config.TypePath, Default: "/var/mail", Doc: "Where users of the system have mail otherwise: a file with their name.", Example: `"/var/mail"`, Postfix: "mail_spool_directory"},
	{Name: "mailbox_command", Type: config.TypeString, Default: "", Doc: "A program that takes the mail of users of the system, run as the user: procmail, say. Empty means none.", Example: `"/usr/bin/procmail -a \"$EXTENSION\""`, Postfix: "mailbox_command"},
	{Name: "default_privs", Type: config.TypeString, Default: "nobody", Doc: "As whom the programs and files of aliases that root owns are run and written.", Example: `"nobody"`, Postfix: "default_privs"},
	{Name: "command_time_limit", Type: config.TypeDuration, Default: "1000s", Min: "1s", Max: "30m", Reload: true, Doc: "How long a program that takes mail may run.", Example: `"1000s"`, Postfix: "command_time_limit"},
	{Name: "transport_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of the ways of single recipients and domains: user@domain, domain, .domain for every subdomain, * for the rest. The value is a route's name, or transport:nexthop (transport(5)).", Example: `{ "example.net" = "smarthost", ".example.com" = "smtp:[192.0.2.7]" }`, Postfix: "transport_maps"},
	{Name: "sender_dependent_default_transport_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of the ways of mail to other hosts by its sender: user@domain, @domain, <> for none.", Example: `"file:/etc/mtad/sender_transport"`, Postfix: "sender_dependent_default_transport_maps"},
	{Name: "sender_dependent_relayhost_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of relayhosts by sender: user@domain, @domain, <> for none; DUNNO leaves relayhost as it is.", Example: `"file:/etc/mtad/relayhosts"`, Postfix: "sender_dependent_relayhost_maps"},
	{Name: "smtp_sasl_password_maps", Type: config.TypeSource, Default: none, Reload: true, Doc: "Tables of names and passwords, name:password, by nexthop as it is written in relayhost or transport_maps. Those of a route block go first.", Example: `"file:/etc/mtad/sasl_passwd"`, Postfix: "smtp_sasl_password_maps"},
	{Name: "smtp_sender_dependent_authentication", Type: config.TypeBool, Default: false, Reload: true, Doc: "Whether smtp_sasl_password_maps is asked for the sender first.", Example: "true", Postfix: "smtp_sender_dependent_authentication"},
	{Name: "relayhost", Type: config.TypeString, Default: "", Reload: true, Doc: "The way of mail to other hosts: a route's name, [host]:port, or a domain whose MX takes it. Empty means the MX of each domain.", Example: `"smarthost"`, Postfix: "relayhost"},
	{Name: "default_transport", Type: config.TypeString, Default: "smtp", Reload: true, Doc: "The way of mail to other hosts where nothing else is said.", Example: `"smtp"`, Postfix: "default_transport"},
	{Name: "relay_transport", Type: config.TypeString, Default: "relay", Reload: true, Doc: "The way of mail for relay_domains.", Example: `"lmtp:unix:/run/dovecot/lmtp"`, Postfix: "relay_transport"},
	{Name: "virtual_transport", Type: config.TypeString, Default: "smtp", Reload: true, Doc: "The way of mail for virtual_mailbox_domains.", Example: `"lmtp:unix:/run/dovecot/lmtp"`, Postfix: "virtual_transport", Dovecot: "lmtp"},
}

// RouteSettings are those of a route block.
type RouteSettings struct {
	Protocol string        `mtad:"protocol"`
	To       []string      `mtad:"to"`
	Security string        `mtad:"security"`
	Username string        `mtad:"username"`
	Password config.Secret `mtad:"password"`
	Command  []string      `mtad:"command"`
	Path     string        `mtad:"path"`
	User     string        `mtad:"user"`
	Timeout  time.Duration `mtad:"timeout"`
	Single   bool          `mtad:"single_recipient"`
	Flags    string        `mtad:"flags"`
}

// RouteOptions describes RouteSettings.
var RouteOptions = []config.Option{
	{Name: "protocol", Type: config.TypeString, Default: "smtp", Values: []string{"smtp", "lmtp", "pipe", "maildir", "mbox", "discard"}, Reload: true, Doc: "How mail is handed over: to another host, to a program, into a Maildir or file, or not at all.", Example: `"lmtp"`},
	{Name: "to", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "smtp and lmtp: the hosts to try, in order: host:port; for lmtp also unix:/path.", Example: `["smtp.relay.example:587"]`},
	{Name: "security", Type: config.TypeString, Default: "opportunistic", Values: []string{"none", "opportunistic", "encrypt", "verify", "implicit"}, Reload: true, Doc: "What is demanded of TLS: nothing, use it if offered, some, a certificate that fits, or from the first octet with such a certificate.", Example: `"verify"`, Postfix: "smtp_tls_security_level",
		PostfixValues: []string{"none", "may", "encrypt", "verify"}},
	{Name: "username", Type: config.TypeString, Default: "", Reload: true, Doc: "The login name there.", Example: `"mx"`},
	{Name: "password", Type: config.TypeSecret, Default: config.Secret(""), Secret: true, Reload: true, Doc: "The password.", Example: `env("RELAY_PASSWORD")`},
	{Name: "command", Type: config.TypeStrings, Default: []string{}, Doc: "pipe: the program and its arguments, which reads the message. $user, $extension, $domain, $recipient, $sender, $original_recipient, $size, $queue_id and others of pipe(8) stand for what they say, $$ for a dollar; an argument with a part of the recipient in it is repeated for each.", Example: `["/usr/bin/maildrop", "-d", "$user"]`, Postfix: "pipe"},
	{Name: "path", Type: config.TypeString, Default: "", Doc: "maildir and mbox: where to, with $user and the like.", Example: `"/srv/mail/$domain/$user/"`, Postfix: "virtual_mailbox_base"},
	{Name: "flags", Type: config.TypeString, Default: "", Reload: true, Doc: "pipe: what is put before the message: F a \"From \" line, R Return-Path, O X-Original-To, D Delivered-To (with O it needs single_recipient); B an empty line behind, > quotes \"From \" lines; h and u make the recipient's domain and local-part lower case, q quotes addresses in arguments (pipe(8)).", Example: `"DRhu"`},
	{Name: "user", Type: config.TypeString, Default: "nobody", Doc: "pipe, maildir and mbox: as whom; never root, nor the server's own user.", Example: `"vmail"`},
	{Name: "timeout", Type: config.TypeDuration, Default: "0s", Max: "30m", Reload: true, Doc: "pipe: how long the program may run. 0 is command_time_limit.", Example: `"1m"`},
	{Name: "single_recipient", Type: config.TypeBool, Default: false, Reload: true, Doc: "pipe: run the program for each recipient.", Example: "true", Postfix: "transport_destination_recipient_limit"},
}
