#!/bin/sh
# Installs, on Debian and as root, the programs that the end-to-end tests talk
# to, without letting any of them start a service.
set -eu
[ "$(id -u)" = 0 ] || { echo "make peers: needs root, it installs Debian packages" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "make peers: needs apt-get, that is, Debian" >&2; exit 1; }

packages="postfix swaks libnet-ssleay-perl mutt libsasl2-modules isync curl tmux telnet expect python3 procps strace systemd iproute2 sqlite3 procmail maildrop lua5.1
	dovecot-imapd dovecot-lmtpd dovecot-sieve sieve-connect opendkim opendkim-tools spamass-milter spamassassin spamd spamc
	opendmarc clamav-daemon clamav-milter rspamd python3-milter gcc libmilter-dev miltertest python3-grpcio python3-protobuf
	libclamav12 libical3 libxapian30 libjansson4 libldap-2.5-0 libpq5 libwrap0 libzephyr4 libgnutls-dane0 libidn12 libnsl2
	slapd ldap-utils postgresql postfix-pgsql postfix-ldap postfix-sqlite postsrsd maildrop pflogsumm mailgraph fail2ban rsyslog s-nail bsd-mailx cron"

# invoke-rc.d asks policy-rc.d whether a service may start: 101 is no. One that
# is there already is put back.
policy=/usr/sbin/policy-rc.d
if [ -e $policy ]; then
	saved=$(mktemp)
	cp -p $policy "$saved"
	trap 'cp -p "$saved" $policy; rm -f "$saved"' EXIT
else
	trap 'rm -f $policy' EXIT
fi
printf '#!/bin/sh\nexit 101\n' >$policy
chmod 755 $policy

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $packages

# Cyrus and Exim can not be installed beside Dovecot and Postfix: they are unpacked
# into .cache/peers, and find the libraries from above.
peers=$(cd "$(dirname "$0")/.." && pwd)/.cache/peers
unpack() {
	to=$peers/$1
	shift
	debs=$(mktemp -d)
	(cd "$debs" && apt-get download -q "$@")
	rm -rf "$to"
	mkdir -p "$to"
	for deb in "$debs"/*.deb; do
		dpkg -x "$deb" "$to"
	done
	rm -rf "$debs"
}
unpack cyrus cyrus-imapd cyrus-common
unpack exim exim4-base exim4-daemon-heavy libmariadb3 libspf2-2
# Without the user that its package makes Exim does not run, whoever it runs as.
getent passwd Debian-exim >/dev/null ||
	useradd --system --user-group --no-create-home --home-dir /var/spool/exim4 --shell /usr/sbin/nologin Debian-exim
