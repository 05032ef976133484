package main

import (
	"slices"
	"time"

	"mtad/cmd/mtad/local"
	"mtad/cmd/mtad/logs"
	"mtad/cmd/mtad/routes"
	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins"
)

// The structs below are what the configuration decodes into; schema describes
// the same options for everything else. A test holds them together.

type topSettings struct {
	routes.Settings
	local.Intake
	logs.Place

	Hostname       string        `mtad:"hostname"`
	DataDir        string        `mtad:"data_dir"`
	User           string        `mtad:"user"`
	Postmaster     string        `mtad:"postmaster"`
	DeliveryName   string        `mtad:"delivery_pipeline"`
	Zone           string        `mtad:"dns_zone"`
	Nameservers    []string      `mtad:"nameservers"`
	HTTP           string        `mtad:"http"`
	MessageSize    config.Size   `mtad:"message_size_limit"`
	Recipients     int           `mtad:"recipient_limit"`
	PerAddress     int           `mtad:"client_connection_limit"`
	Connections    int           `mtad:"connection_limit"`
	SoftErrors     int           `mtad:"soft_error_limit"`
	HardErrors     int           `mtad:"hard_error_limit"`
	AuthFailures   int           `mtad:"auth_failure_limit"`
	CommandLine    int           `mtad:"line_length_limit"`
	HeaderSize     config.Size   `mtad:"header_size_limit"`
	HeaderFields   int           `mtad:"header_field_limit"`
	HeaderLines    int           `mtad:"header_line_limit"`
	MIMEDepth      int           `mtad:"mime_nesting_limit"`
	MIMEParts      int           `mtad:"mime_part_limit"`
	Hops           int           `mtad:"hopcount_limit"`
	CommandTimeout time.Duration `mtad:"command_timeout"`
	DataTimeout    time.Duration `mtad:"data_timeout"`
	MessageTimeout time.Duration `mtad:"message_timeout"`
	SessionTimeout time.Duration `mtad:"session_timeout"`
	OutConnect     time.Duration `mtad:"smtp_connect_timeout"`
	OutHelo        time.Duration `mtad:"smtp_helo_timeout"`
	OutMail        time.Duration `mtad:"smtp_mail_timeout"`
	OutRcpt        time.Duration `mtad:"smtp_rcpt_timeout"`
	OutDataStart   time.Duration `mtad:"smtp_data_init_timeout"`
	OutBlock       time.Duration `mtad:"smtp_data_xfer_timeout"`
	OutDone        time.Duration `mtad:"smtp_data_done_timeout"`
	Retries        []string      `mtad:"retry_schedule"`
	MaxAge         time.Duration `mtad:"maximal_queue_lifetime"`
	MaxAgeNull     time.Duration `mtad:"bounce_queue_lifetime"`
	WarnLocal      time.Duration `mtad:"delay_warning_local"`
	WarnOther      time.Duration `mtad:"delay_warning_time"`
	PerDest        int           `mtad:"destination_concurrency_limit"`
}

type listenerSettings struct {
	Protocol   string        `mtad:"protocol"`
	Addr       []string      `mtad:"addr"`
	TLS        string        `mtad:"tls"`
	Auth       string        `mtad:"auth"`
	Pipeline   string        `mtad:"pipeline"`
	Submission bool          `mtad:"submission"`
	Strict     bool          `mtad:"strict"`
	GreetDelay time.Duration `mtad:"greet_delay"`
	XClient    []string      `mtad:"xclient"`
	Allow      []string      `mtad:"allow"`
	AllowTell  bool          `mtad:"allow_tell"`
	SocketMode string        `mtad:"socket_mode"`
}

type tlsSettings struct {
	block config.Block // for errors about the files

	Cert string `mtad:"cert"`
	Key  string `mtad:"key"`
}

type stepSettings struct {
	When          *config.When  `mtad:"when"`
	Timeout       time.Duration `mtad:"timeout"`
	OnError       string        `mtad:"on_error"`
	Mode          string        `mtad:"mode"`
	Always        bool          `mtad:"always"`
	MaxConcurrent int           `mtad:"max_concurrent"`
}

// schema is everything that may be written.
func schema() config.Schema {
	return config.Schema{
		Options: topOptions,
		Blocks: []config.BlockType{
			{Name: "listener", Labels: []string{"name"}, Repeat: true, Options: listenerOptions, Doc: "A place where clients connect."},
			{Name: "tls", Options: tlsOptions, Doc: "The server's certificate."},
			{Name: "route", Labels: []string{"name"}, Repeat: true, Options: routes.RouteOptions, Doc: "A way for mail that is not delivered to an account here: a smarthost, another server's LMTP, a program."},
			{Name: "pipeline", Labels: []string{"name"}, Repeat: true, Doc: "An ordered list of filters, run as written.", Blocks: []config.BlockType{{
				Name: "filter", Labels: []string{"type", "name"}, Optional: 1, Repeat: true, Options: stepOptions,
				Doc: "A step of the pipeline. The name defaults to the type.", Resolve: filterType,
			}}},
		},
	}
}

// filterType finds the options of a kind of filter.
func filterType(label string) (*config.BlockType, []string) {
	var names []string
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		if k.Name == label {
			return &config.BlockType{Name: k.Name, Doc: k.Doc, Options: k.Options}, nil
		}
		names = append(names, k.Name)
	}
	return nil, names
}

var topOptions = slices.Concat(ownOptions, logs.Options, local.Options, routes.Options)

// ownOptions are those that no other room has.
var ownOptions = []config.Option{
	{Name: "hostname", Type: config.TypeString, Default: "localhost", Doc: "This server's name: in the banner, in EHLO, in Received, and as authserv-id.", Example: `"mx.example.org"`, Postfix: "myhostname"},
	{Name: "data_dir", Type: config.TypePath, Default: "/var/lib/mtad", Doc: "Where database, journal, spool and control socket are.", Example: `"/var/lib/mtad"`, Postfix: "queue_directory"},
	{Name: "user", Type: config.TypeString, Default: "mtad", Doc: "Whom the server runs as when root starts it; root keeps the monitor alone. Started by somebody else, the server is that user's.", Example: `"mtad"`, Postfix: "mail_owner", Dovecot: "default_internal_user"},
	{Name: "postmaster", Type: config.TypeString, Default: "", Reload: true, Doc: "Who gets the mail for postmaster and abuse of domains that have none of their own.", Example: `"alice@example.org"`},
	{Name: "delivery_pipeline", Type: config.TypeString, Default: "delivery", Reload: true, Doc: "The pipeline that each local recipient's mail runs through.", Example: `"delivery"`},
	{Name: "dns_zone", Type: config.TypePath, Default: "", Doc: "A file of records that answers every DNS question instead of the name servers: for trying things out.", Example: `"zone.txt"`},
	{Name: "nameservers", Type: config.TypeStrings, Default: []string{}, Doc: "The name servers to ask. Empty means those of /etc/resolv.conf.", Example: `["127.0.0.1:53"]`},
	{Name: "http", Type: config.TypeString, Default: "", Doc: "Where /metrics is served. Empty means nowhere.", Example: `"127.0.0.1:8025"`},
	{Name: "message_size_limit", Type: config.TypeSize, Default: 50 * config.MB, Min: 64 * config.KB, Doc: "The largest message taken (RFC 1870).", Example: "50 * MB", Postfix: "message_size_limit", Dovecot: "quota_max_mail_size"},
	{Name: "recipient_limit", Type: config.TypeInt, Default: 1000, Min: 100, Unit: "recipients", Doc: "Recipients of one transaction (RFC 5321, 4.5.3.1.8: at least 100).", Example: "1000", Postfix: "smtpd_recipient_limit"},
	{Name: "client_connection_limit", Type: config.TypeInt, Default: 20, Min: 1, Unit: "connections", Doc: "Connections of one IPv4 address or IPv6 /64.", Example: "20", Postfix: "smtpd_client_connection_count_limit", Dovecot: "mail_max_userip_connections"},
	{Name: "connection_limit", Type: config.TypeInt, Default: 1000, Min: 1, Unit: "connections", Doc: "Connections of one SMTP listener.", Example: "1000", Postfix: "default_process_limit"},
	{Name: "soft_error_limit", Type: config.TypeInt, Default: 10, Min: 1, Unit: "errors", Doc: "Errors after which a client's commands are answered slowly.", Example: "10", Postfix: "smtpd_soft_error_limit"},
	{Name: "hard_error_limit", Type: config.TypeInt, Default: 20, Min: 1, Unit: "errors", Doc: "Errors after which a client is disconnected.", Example: "20", Postfix: "smtpd_hard_error_limit"},
	{Name: "auth_failure_limit", Type: config.TypeInt, Default: 3, Min: 1, Unit: "logins", Doc: "Failed logins after which an SMTP client is disconnected.", Example: "3"},
	{Name: "line_length_limit", Type: config.TypeInt, Default: 2048, Min: 512, Max: 4096, Unit: "octets", Doc: "The longest command with its CR LF (RFC 5321, 4.5.3.1.4: at least 512). Lines of messages may have any length.", Example: "2048", Postfix: "line_length_limit"},
	{Name: "header_size_limit", Type: config.TypeSize, Default: 256 * config.KB, Min: 8 * config.KB, Max: 16 * config.MB, Doc: "The largest header of a message that is taken.", Example: "256 * KB", Postfix: "header_size_limit"},
	{Name: "header_field_limit", Type: config.TypeInt, Default: 1000, Min: 50, Unit: "fields", Doc: "Fields of a header.", Example: "1000"},
	{Name: "header_line_limit", Type: config.TypeInt, Default: 10000, Min: 100, Unit: "lines", Doc: "Lines of a header.", Example: "10000"},
	{Name: "mime_nesting_limit", Type: config.TypeInt, Default: 100, Min: 1, Max: message.MaxDepth, Unit: "levels", Doc: "How deep MIME parts in parts are looked at; what lies deeper is text of the part that holds it.", Example: "100", Postfix: "mime_nesting_limit"},
	{Name: "mime_part_limit", Type: config.TypeInt, Default: 1000, Min: 1, Max: 100000, Unit: "parts", Doc: "How many MIME parts are looked at; what comes after is text of the part that holds it.", Example: "1000"},
	{Name: "hopcount_limit", Type: config.TypeInt, Default: 100, Min: 20, Unit: "fields", Doc: "Received fields after which a message is taken to loop (RFC 5321, 6.3).", Example: "100", Postfix: "hopcount_limit"},
	{Name: "command_timeout", Type: config.TypeDuration, Default: "5m", Min: "1s", Doc: "How long a client may think between commands (RFC 5321, 4.5.3.2: 5 minutes).", Example: `"5m"`, Postfix: "smtpd_timeout"},
	{Name: "data_timeout", Type: config.TypeDuration, Default: "3m", Min: "1s", Doc: "How long a client may pause within a message (RFC 5321, 4.5.3.2.5: 3 minutes).", Example: `"3m"`},
	{Name: "message_timeout", Type: config.TypeDuration, Default: "4m", Min: "1s", Max: "9m", Doc: "How long all filters together may take for one message. A client waits 10 minutes for the answer (RFC 5321, 4.5.3.2.6).", Example: `"4m"`},
	{Name: "session_timeout", Type: config.TypeDuration, Default: "30m", Min: "1s", Doc: "How long a session may last.", Example: `"30m"`},
	{Name: "smtp_connect_timeout", Type: config.TypeDuration, Default: "30s", Min: "100ms", Doc: "How long connecting to another host may take, and its TLS.", Example: `"30s"`, Postfix: "smtp_connect_timeout"},
	{Name: "smtp_helo_timeout", Type: config.TypeDuration, Default: "5m", Min: "100ms", Doc: "How long another host's greeting is waited for (RFC 5321, 4.5.3.2.1: 5 minutes).", Example: `"5m"`, Postfix: "smtp_helo_timeout"},
	{Name: "smtp_mail_timeout", Type: config.TypeDuration, Default: "5m", Min: "100ms", Doc: "How long its answer to EHLO, STARTTLS, AUTH, MAIL and RSET is waited for (RFC 5321, 4.5.3.2.2: 5 minutes).", Example: `"5m"`, Postfix: "smtp_mail_timeout"},
	{Name: "smtp_rcpt_timeout", Type: config.TypeDuration, Default: "5m", Min: "100ms", Doc: "How long its answer to RCPT is waited for (RFC 5321, 4.5.3.2.3: 5 minutes).", Example: `"5m"`, Postfix: "smtp_rcpt_timeout"},
	{Name: "smtp_data_init_timeout", Type: config.TypeDuration, Default: "2m", Min: "100ms", Doc: "How long its answer to DATA is waited for (RFC 5321, 4.5.3.2.4: 2 minutes).", Example: `"2m"`, Postfix: "smtp_data_init_timeout"},
	{Name: "smtp_data_xfer_timeout", Type: config.TypeDuration, Default: "3m", Min: "100ms", Doc: "How long it may take to take a block of the message (RFC 5321, 4.5.3.2.5: 3 minutes).", Example: `"3m"`, Postfix: "smtp_data_xfer_timeout"},
	{Name: "smtp_data_done_timeout", Type: config.TypeDuration, Default: "10m", Min: "100ms", Doc: "How long its answer to the whole message is waited for (RFC 5321, 4.5.3.2.6: 10 minutes). Less makes duplicates.", Example: `"10m"`, Postfix: "smtp_data_done_timeout"},
	{Name: "retry_schedule", Type: config.TypeStrings, Default: []string{"5m", "10m", "20m", "40m", "1h", "2h", "4h"}, Doc: "How long the queue waits before each retry, give or take a fifth; the last goes on until the mail is given up.", Example: `["5m", "30m", "4h"]`},
	{Name: "maximal_queue_lifetime", Type: config.TypeDuration, Default: "5d", Min: "0s", Doc: "How long delivery is tried (RFC 5321, 4.5.4.1: 4 to 5 days).", Example: `"5d"`, Postfix: "maximal_queue_lifetime"},
	{Name: "bounce_queue_lifetime", Type: config.TypeDuration, Default: "1d", Min: "0s", Doc: "How long delivery of a bounce is tried.", Example: `"1d"`, Postfix: "bounce_queue_lifetime"},
	{Name: "delay_warning_local", Type: config.TypeDuration, Default: "4h", Min: "1m", Doc: "When users of this server are told that their mail is delayed.", Example: `"4h"`},
	{Name: "delay_warning_time", Type: config.TypeDuration, Default: "24h", Min: "1m", Doc: "When other senders are told.", Example: `"24h"`, Postfix: "delay_warning_time"},
	{Name: "destination_concurrency_limit", Type: config.TypeInt, Default: 20, Min: 1, Unit: "connections", Doc: "Deliveries to one destination at a time.", Example: "20", Postfix: "default_destination_concurrency_limit"},
}

var listenerOptions = []config.Option{
	{Name: "protocol", Type: config.TypeString, Default: "smtp", Values: []string{protocolSMTP, protocolLMTP, protocolIMAP, protocolManageSieve, protocolMilter, protocolSpamd}, Doc: "What is spoken: mail servers of others deliver to mailboxes here by LMTP, to some mtad is a milter, and spamc and its like have messages judged as by spamd; users read their mail by IMAP and write their scripts by ManageSieve.", Example: `"imap"`},
	{Name: "addr", Type: config.TypeStrings, Required: true, Doc: "Where to listen: host:port, or :port for inet_interfaces; for protocol = \"lmtp\", \"milter\" and \"spamd\" also unix:/path.", Example: `["0.0.0.0:25", "[::]:25"]`, Dovecot: "listen"},
	{Name: "tls", Type: config.TypeString, Default: "none", Values: []string{"none", "opportunistic", "required", "implicit"}, Doc: "Whether TLS is offered, demanded before mail or login, or spoken from the first octet.", Example: `"opportunistic"`, Postfix: "smtpd_tls_security_level", Dovecot: "ssl",
		PostfixValues: []string{"none", "may", "encrypt"}, DovecotValues: []string{"no", "yes", "required"}},
	{Name: "auth", Type: config.TypeString, Default: "none", Values: []string{"none", "optional", "required"}, Doc: "Whether clients may, or must, log in. SMTP and LMTP only; LMTP clients on this machine need not.", Example: `"required"`, Postfix: "smtpd_sasl_auth_enable",
		PostfixValues: []string{"no", "yes", "yes"}},
	{Name: "pipeline", Type: config.TypeString, Default: "", Reload: true, Doc: "The pipeline that this listener's mail runs through. Required where mail comes in: for SMTP, LMTP and milter; for spamd it is the one whose filter spamscore judges.", Example: `"inbound"`},
	{Name: "submission", Type: config.TypeBool, Default: false, Doc: "Clients are users: their addresses are not recorded, Date and Message-ID are added (RFC 6409). auth = \"required\" implies it. SMTP only.", Example: "true"},
	{Name: "strict", Type: config.TypeBool, Default: false, Doc: "Refuse what only people typing by hand send, such as addresses without brackets. Otherwise loopback and submission may.", Example: "true", Postfix: "strict_rfc821_envelopes"},
	{Name: "greet_delay", Type: config.TypeDuration, Default: "0s", Max: "1m", Doc: "How long the greeting waits for clients that talk first.", Example: `"2s"`, Postfix: "postscreen_greet_wait"},
	{Name: "xclient", Type: config.TypeStrings, Default: []string{}, Doc: "Networks whose clients may say by XCLIENT that they are others: a proxy, or someone trying things out.", Example: `["127.0.0.1"]`, Postfix: "smtpd_authorized_xclient_hosts"},
	{Name: "allow", Type: config.TypeStrings, Default: []string{}, Doc: "Networks whose clients may ask a listener with protocol = \"spamd\". None is this machine alone.", Example: `["192.0.2.0/24"]`},
	{Name: "allow_tell", Type: config.TypeBool, Default: false, Doc: "Whether those clients may teach Bayes (TELL, `spamc -L`): whoever may, can spoil it for all. spamd only.", Example: "true"},
	{Name: "socket_mode", Type: config.TypeString, Default: defaultSocketMode, Doc: "Who may connect to a socket with a path: its mode, in octal. The socket is the server's user's and group's.", Example: `"0666"`},
}

// What listeners speak.
const (
	protocolSMTP        = "smtp"
	protocolLMTP        = "lmtp"
	protocolIMAP        = "imap"
	protocolManageSieve = "managesieve"
	protocolMilter      = "milter"
	protocolSpamd       = "spamd"
)

var tlsOptions = []config.Option{
	{Name: "cert", Type: config.TypePath, Required: true, Reload: true, Doc: "The certificate with its chain, PEM.", Example: `"/etc/mtad/cert.pem"`, Postfix: "smtpd_tls_cert_file", Dovecot: "ssl_cert"},
	{Name: "key", Type: config.TypePath, Required: true, Reload: true, Doc: "Its private key, PEM.", Example: `"/etc/mtad/key.pem"`, Postfix: "smtpd_tls_key_file", Dovecot: "ssl_key"},
}

// stepOptions are those of every filter.
var stepOptions = []config.Option{
	{Name: "when", Type: config.TypeWhen, Reload: true, Doc: "Run the filter only if this holds.", Example: "!auth.ok && size < 1 * MB"},
	{Name: "timeout", Type: config.TypeDuration, Default: "0s", Min: "0s", Max: "10m", Reload: true, Doc: "How long the filter may take for one answer. 0 is 10 s for a command and 60 s for a message.", Example: `"3s"`, Postfix: "milter_command_timeout"},
	{Name: "on_error", Type: config.TypeString, Default: pipeline.TempFail.String(), Values: []string{"tempfail", "continue", "reject"}, Reload: true, Doc: "What a fault of the filter means.", Example: `"continue"`, Postfix: "milter_default_action"},
	{Name: "mode", Type: config.TypeString, Default: "enforce", Values: []string{"enforce", "shadow", "off"}, Reload: true, Doc: "Whether the filter's verdicts are obeyed, only recorded, or the filter is not asked.", Example: `"shadow"`},
	{Name: "always", Type: config.TypeBool, Default: false, Reload: true, Doc: "Whether its refusals count for postmaster and abuse too, as those of a virus scanner should.", Example: "true"},
	{Name: "max_concurrent", Type: config.TypeInt, Default: 0, Min: 0, Unit: "calls", Reload: true, Doc: "How many calls of the filter may run at once. 0 is no limit.", Example: "8"},
}
