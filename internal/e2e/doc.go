// Package e2e runs the mtad program itself against programs that other people
// wrote: each test starts servers of its own, on loopback and free ports, in a
// directory of its own.
//
// The tests have the build tag e2e, which `make test` sets. Alone they are run
// by
//
//	go test -tags e2e ./internal/e2e
//
// A test whose program is not installed is skipped, and says which; `make peers`
// installs them all (Debian, root). What needs root says so.
//
//	harness_test.go    the server, its ports, commands and processes
//	mail_test.go       reading mailboxes, sending, a host that takes mail
//	telnet_test.go     the seed dialogue of a mail course, by telnet
//	swaks_test.go      swaks: TLS, AUTH, refusals, addresses
//	load_test.go       smtp-source and smtp-sink, of Postfix
//	python_test.go     smtplib and imaplib of Python
//	curl_test.go       curl: IMAP, IMAPS, SMTP
//	managesieve_test.go sieve-connect: users' scripts
//	mutt_test.go       mutt on a terminal of tmux
//	mbsync_test.go     mbsync both ways, 500 varied messages
//	goclient_test.go   the clients of go-smtp and go-imap
//	milter_test.go     OpenDKIM, spamass-milter, and Postfix with the same
//	milterpeers_test.go OpenDMARC, ClamAV, Rspamd, libmilter, python3-milter: the same
//	milterkit_test.go  every case of package milterkit, played to mtad and to Postfix
//	milterask_test.go  package milterkit and miltertest ask mtad as a milter
//	postfix_test.go    a private Postfix; mail by way of it
//	filters_test.go    every kind of filter in one run; rules and reloads
//	restart_test.go    the queue after kill -9, and stopping (package crash kills more)
//	reload_test.go     reloads under load; a database of a newer program
//	bounce_test.go     notices of failure
//	limits_test.go     sizes, recipients, VRFY
//	limitoptions_test.go every limit, set low
//	hostile_test.go    hostile clients, and what others notice of them
//	relaycontrol_test.go what testers of open relays try
//	hostilehop_test.go hostile hosts that mail is relayed to
//	smuggling_test.go  false ends of data, from and to Postfix
//	seeing_test.go     traces, metrics, the queue, accounts
//	start_test.go      errors of the start
//	root_test.go       root's monitor, systemd's sockets and readiness
//	package_test.go    the Debian package
//	systemd_test.go    the package under a systemd that is booted for it (machine_test.go)
//	late_test.go       clients that leave at each boundary of acceptance
//	modes_test.go      who may read what is written; the control socket
//	secret_test.go     no secret in logs, traces or answers
//	readme_test.go     the README's first minute
package e2e
