#!/bin/sh
# Makes mtad_VERSION_ARCH.deb with Debian's own dpkg-deb: build.sh [DIRECTORY [BINARY]]
# Without BINARY one is built that needs no library.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$(mkdir -p "${1:-$root}" && cd "${1:-$root}" && pwd)
version=${VERSION:-$(cd "$root" && git log -1 --format=0~%cd.%h --date=format:%Y%m%d%H%M 2>/dev/null || echo 0~devel)}
arch=$(dpkg --print-architecture)
umask 022
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"

mkdir -p "$tree/usr/bin" "$tree/usr/lib/systemd/system" "$tree/etc/mtad/conf.d" "$tree/usr/share/doc/mtad/examples" "$tree/DEBIAN"
if [ $# -ge 2 ]; then
	install -m 755 "$2" "$tree/usr/bin/mtad"
else
	(cd "$root" && CGO_ENABLED=0 ${GO:-go} build -trimpath -ldflags '-s -w' -o "$tree/usr/bin/mtad" ./cmd/mtad)
fi
install -m 644 "$here/../systemd/mtad.service" "$tree/usr/lib/systemd/system/"
install -m 644 "$here/../systemd/mtad.socket" "$here/../systemd/unprivileged.conf" "$tree/usr/share/doc/mtad/examples/"
install -m 644 "$here/../mtad.hcl" "$tree/etc/mtad/mtad.hcl"
install -m 644 "$root/README.md" "$root/PLUGINS.md" "$root/docs/running.md" "$root/docs/reference/configuration.md" "$tree/usr/share/doc/mtad/"
install -m 644 "$root/LICENSE" "$tree/usr/share/doc/mtad/copyright"
gzip -9nc "$root/CHANGELOG.md" >"$tree/usr/share/doc/mtad/changelog.gz"

install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$tree/DEBIAN/"
echo /etc/mtad/mtad.hcl >"$tree/DEBIAN/conffiles"
size=$(du -k -s --exclude=DEBIAN "$tree" | cut -f1)
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$here/control" >"$tree/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip --build "$tree" "$out/mtad_${version}_$arch.deb"
